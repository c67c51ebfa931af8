"""hoist-activations: an activation moves in front of the moves and max pools before it.

``relu(maxpool(z)) = maxpool(relu(z))``, so the population fires before the pool and the pool sees codes. That needs a
function that never decreases. Every function moves in front of moves: of Pad where f(0) = 0, and of Concat of values
that nobody else reads; constants that differ from place to place move along where the move only permutes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from numpy.typing import NDArray

from ...graph.graph import Graph, Node, TensorType, rebuild, unique_name
from ...graph.ops import Activation, Add, Linear, MaxPool, Moved, Mul, Quantize
from ...graph.ops.activation import scalar
from ...program.broadcast import unmove_array
from ...program.network import MoveOp, Pad, Shape
from ..base import PassResult, only_user
from .fold_affine import FoldAffine
from .fuse_scalars import FuseScalars

Array = NDArray[Any]


@dataclass(frozen=True)
class HoistActivations:
    """Lets every activation that can read a linear value read one."""

    name: ClassVar[str] = "hoist-activations"
    needs: ClassVar[frozenset[str]] = frozenset({"affine-folded"})
    makes: ClassVar[frozenset[str]] = frozenset({"activations-early"})
    breaks: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = True

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with activations as early as they can be."""
        while (pair := next(iter(hoistable(graph)), None)) is not None:
            # A move that stood before the activation now is behind it, where an affine step can pass it in turn.
            graph = FuseScalars().run(FoldAffine().run(_swap(graph, *pair)).graph).graph
        return PassResult(graph)


def hoistable(graph: Graph) -> list[tuple[Node, Node]]:
    """Return the pairs (activation, the move or max pool before it) that can still change places."""
    users, nodes = graph.users(), graph.by_name()
    found = []
    for node in graph.nodes:
        before = nodes.get(node.inputs[0])
        if before is None or not isinstance(node.op, Activation | Quantize):
            continue
        sources = [nodes.get(s) for s in before.inputs]
        if only_user(users, graph, before.name) is not node or not all(_waits(s, users, graph) for s in sources):
            continue
        if _before(node.op, before, graph) is not None:
            found.append((node, before))
    return found


def _before(op: Activation | Quantize, before: Node, graph: Graph) -> Activation | Quantize | None:
    """Return the activation as it is in front of a move or max pool, None where they do not change places."""
    if isinstance(op, Quantize):
        inner = None if op.levels.step.size > 1 else _before(op.activation, before, graph)
        if not isinstance(inner, Activation):
            return None
        ones = (1,) * len(graph.types()[before.inputs[0]].shape)  # the move may have added or removed axes
        levels = replace(op.levels, step=op.levels.step.reshape(ones), dead=op.levels.dead.reshape(ones))
        return replace(op, levels=levels, activation=inner)
    constants = [] if op.body is None else op.body.constants()
    if isinstance(before.op, MaxPool):
        per_channel = all(c.ndim == len(before.type.shape) and c.size == c.shape[0] for c in constants)
        return op if op.rises() and per_channel else None
    if not isinstance(before.op, Moved) or (isinstance(before.op.op, Pad) and not op.keeps_zero()):
        return None
    if not constants or op.body is None:
        return op
    move, shape = before.op.op, graph.types()[before.inputs[0]].shape
    if len(before.inputs) > 1 or any(unmove_array(move, c, shape) is None for c in constants):
        return None
    return scalar(op.body.with_constants(lambda c: _unmoved(move, c, shape)))


def _unmoved(move: MoveOp, constant: Array, shape: Shape) -> Array:
    found = unmove_array(move, constant, shape)
    assert found is not None
    return found


def _waits(source: Node | None, users: dict[str, list[Node]], graph: Graph) -> bool:
    """Return whether a value is not spikes yet (so firing it here is no extra population) and has one reader."""
    if source is None or only_user(users, graph, source.name) is None:
        return False
    return isinstance(source.op, Linear | Add | Mul | Moved | MaxPool)


def _swap(graph: Graph, node: Node, before: Node) -> Graph:
    types = graph.types()
    assert isinstance(node.op, Activation | Quantize)
    op, fired = _before(node.op, before, graph), []
    assert op is not None
    for source in before.inputs:
        kind = op.kind if isinstance(op, Activation) else "quantize"
        name = unique_name(f"{source}/{kind}", types.__contains__)
        types[name] = TensorType(types[source].shape)
        fired.append(Node(name, op, (source,), types[name], node.origin.touched_by("hoist-activations")))
    moved = Node(node.name, before.op, tuple(f.name for f in fired), node.type,
                 before.origin.touched_by("hoist-activations"), node.tap)  # fmt: skip
    changed = {before.name: (*fired, moved), node.name: ()}
    nodes = [new for old in graph.nodes for new in changed.get(old.name, (old,))]
    return rebuild(graph, nodes)
