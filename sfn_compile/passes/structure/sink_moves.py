"""sink-moves: swaps a permuting move between a linear value and a sum with the sum, which saves a site.

Given:  y = x + T(W z)       (a mixer's tokens, residuals in NHWC; x spikes)
Result: y = T(T'(x) + W z)   with T' the inverse of T: spikes move for free, a linear value would have to be fired
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...foundation.diagnostics import Origin
from ...graph.graph import Graph, Node, TensorType, rebuild, unique_name
from ...graph.ops import Add, Linear, Moved
from ...program.network import HostOp, MoveOp, Reshape, Shape, Transpose
from ..base import PassResult, only_user
from .fold_affine import FoldAffine
from .hoist_activations import HoistActivations


@dataclass(frozen=True)
class SinkMoves:
    """Lets sums read linear values directly where only a permuting move is between."""

    name: ClassVar[str] = "sink-moves"
    needs: ClassVar[frozenset[str]] = frozenset({"activations-early"})
    makes: ClassVar[frozenset[str]] = frozenset({"moves-sunk"})
    breaks: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = True

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with every such move behind its sum."""
        while (pair := next(iter(sinkable(graph)), None)) is not None:
            # The move now is behind the sum, where an affine step or an activation can pass it.
            graph = HoistActivations().run(FoldAffine().run(_sink(graph, *pair)).graph).graph
        return PassResult(graph)


def sinkable(graph: Graph) -> list[tuple[Node, int]]:
    """Return the sums with the number of the operand whose move can go behind them."""
    users, nodes, types = graph.users(), graph.by_name(), graph.types()
    found = []
    for node in graph.nodes:
        if not isinstance(node.op, Add) or (graph.is_output(node.name) and users[node.name]):
            continue
        if len({types[s].shape for s in node.inputs}) > 1:  # a move cannot be undone on an operand that is repeated
            continue
        for side, source in enumerate(node.inputs):
            if _linear_behind_moves(source, graph, users, nodes) and _fired(node.inputs[1 - side], graph, users, nodes):
                found.append((node, side))
                break
    return found


def _linear_behind_moves(value: str, graph: Graph, users: dict[str, list[Node]], nodes: dict[str, Node]) -> bool:
    """Return whether a value is permuting moves, one at least, of a linear value; nobody else reads any of them."""
    node, n = nodes.get(value), 0
    while node is not None and only_user(users, graph, node.name) is not None:
        if not isinstance(node.op, Moved) or not isinstance(node.op.op, Reshape | Transpose):
            return n > 0 and isinstance(node.op, Linear | Add)
        node, n = nodes.get(node.inputs[0]), n + 1
    return False


def _fired(value: str, graph: Graph, users: dict[str, list[Node]], nodes: dict[str, Node]) -> bool:
    """Return whether a value is spikes in any case: not a linear value that only the sum reads."""
    node = nodes.get(value)
    return node is None or not isinstance(node.op, Linear | Add) or only_user(users, graph, value) is None


def _sink(graph: Graph, total: Node, side: int) -> Graph:
    nodes, types = graph.by_name(), graph.types()
    moved, other = nodes[total.inputs[side]], total.inputs[1 - side]
    assert isinstance(moved.op, Moved)
    shape, origin = types[moved.inputs[0]].shape, Origin.merge(total.origin, moved.origin).touched_by("sink-moves")
    before = nodes.get(other)
    first: tuple[Node, ...] = ()
    if before is not None and before.op == moved.op and types[before.inputs[0]].shape == shape:
        other = before.inputs[0]
    else:
        name = unique_name(f"{other}/moved", types.__contains__)
        first = (Node(name, Moved(_inverse(moved.op.op, shape)), (other,), TensorType(shape), origin),)
        other = name
    name = unique_name(f"{total.name}/sum", types.__contains__)
    inner = Node(name, total.op, (moved.inputs[0], other), TensorType(shape), origin)
    last = Node(total.name, moved.op, (name,), total.type, origin, total.tap)
    changed: dict[str, tuple[Node, ...]] = {moved.name: (), total.name: (*first, inner, last)}
    made = [new for node in graph.nodes for new in changed.get(node.name, (node,))]
    host = HostOp("move", (("op", moved.op.op),))
    outputs = tuple(o.behind(total.name, name, host) for o in graph.outputs)
    return rebuild(replace(graph, outputs=outputs), made)


def _inverse(op: MoveOp, shape: Shape) -> MoveOp:
    """Return the move that undoes a permuting move of a sample of ``shape``."""
    return Transpose(tuple(int(p) for p in np.argsort(op.perm))) if isinstance(op, Transpose) else Reshape(shape)
