"""What a pass is: a frozen dataclass that names the invariants it needs, makes and breaks, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from ..graph.graph import Graph, Node

# What is true of integers: whatever changes levels or populations has to make it true again.
INTEGERS = frozenset({"weights-integer", "bias-corrected", "thresholds-integer", "ranges-proved"})


class Fact(Protocol):
    """A frozen dataclass: what a pass found out beside the graph. ``proves``: the invariant it is the record of.

    It is forgotten where a later pass breaks that invariant; "" where it is the record of none and stays.
    """

    proves: ClassVar[str]


@dataclass(frozen=True, eq=False)
class PassResult:
    """The changed graph, and what the pass found out beside it, one object per kind."""

    graph: Graph
    facts: tuple[Fact, ...] = ()


class Pass(Protocol):
    """A pure function of a Graph. ``exact``: it computes the same real numbers as before (a probe input is compared).

    ``breaks``: invariants that no longer hold of its result, whatever it was given.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    makes: ClassVar[frozenset[str]]
    breaks: ClassVar[frozenset[str]]
    exact: ClassVar[bool]

    def run(self, graph: Graph) -> PassResult:
        """Return the changed graph and the facts. Invariants and facts of the graph are the runner's to change."""


def only_user(graph_users: dict[str, list[Node]], graph: Graph, value: str) -> Node | None:
    """Return the single reader of a value, or None where there are none, several, or it is a network output."""
    users = graph_users[value]
    return users[0] if len(users) == 1 and not graph.is_output(value) else None
