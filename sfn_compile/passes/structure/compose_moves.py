"""compose-moves: removes moves that change nothing; merges consecutive reshapes, and consecutive transposes.

Given:  y = Reshape(Reshape(x))     (attention windows, whose batch is split off and merged again)
Result: y = Reshape(x), or x itself
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...graph.graph import Graph, Node, rebuild
from ...graph.ops import Moved
from ...program.network import MoveOp, Reshape, Shape, Transpose
from ..base import PassResult


@dataclass(frozen=True)
class ComposeMoves:
    """Shortens chains of moves, so that the operators at their ends become neighbours."""

    name: ClassVar[str] = "compose-moves"
    needs: ClassVar[frozenset[str]] = frozenset()
    makes: ClassVar[frozenset[str]] = frozenset()  # later passes make moves again, which do no harm there
    breaks: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = True

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with every chain as short as it gets."""
        shapes = {name: t.shape for name, t in graph.types().items()}
        made: dict[str, Node] = {}
        renamed: dict[str, str] = {}
        for node in graph.nodes:
            node = replace(node, inputs=tuple(renamed.get(s, s) for s in node.inputs))
            before = made.get(node.inputs[0])
            if before is not None and isinstance(before.op, Moved) and isinstance(node.op, Moved):
                joined = _joined(before.op.op, node.op.op)
                if joined is not None:
                    node = replace(node, op=Moved(joined), inputs=before.inputs)
            if isinstance(node.op, Moved) and _is_still(node.op.op, shapes[node.inputs[0]]):
                renamed[node.name] = node.inputs[0]
            else:
                made[node.name] = node
        return PassResult(rebuild(graph, made.values(), renamed))


def _joined(first: MoveOp, second: MoveOp) -> MoveOp | None:
    """Return the one move that does both, None where there is none."""
    if isinstance(first, Reshape) and isinstance(second, Reshape):
        return second
    if isinstance(first, Transpose) and isinstance(second, Transpose):
        return Transpose(tuple(first.perm[p] for p in second.perm))
    return None


def _is_still(op: MoveOp, shape: Shape) -> bool:
    """Return whether a move leaves a sample of ``shape`` as it is."""
    if isinstance(op, Reshape):
        return op.shape == shape
    return isinstance(op, Transpose) and op.perm == tuple(range(len(shape)))
