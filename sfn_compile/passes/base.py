"""What a pass is: a frozen dataclass that names the invariants it needs and makes, and whether it changes numbers."""

from __future__ import annotations

from typing import ClassVar, Protocol

from ..graph.graph import Graph, Node


class Pass(Protocol):
    """A pure ``Graph -> Graph``. ``exact``: it computes the same real numbers as before (a probe input is compared)."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    makes: ClassVar[frozenset[str]]
    exact: ClassVar[bool]

    def run(self, graph: Graph) -> Graph:
        """Return the changed graph."""


def only_user(graph_users: dict[str, list[Node]], graph: Graph, value: str) -> Node | None:
    """Return the single reader of a value, or None where there are none, several, or it is a network output."""
    users = graph_users[value]
    return users[0] if len(users) == 1 and not graph.is_output(value) else None
