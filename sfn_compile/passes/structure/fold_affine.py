"""fold-affine: batch norm and constant arithmetic disappear into the weights and bias of their neighbours.

``s * (W x + b) + c = (s W) x + (s b + c)`` behind a linear map; ``W (s x + c) + b = (W s) x + (W c + b)`` before one,
there only where no zero padding lies between, or c differs from place to place anyway: padding is 0 and not c.
An affine step behind a move or a max pool changes places with it first, behind a max pool only where its scale is
positive.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...foundation.diagnostics import Origin
from ...graph.graph import Graph, Node, TensorType, rebuild, unique_name
from ...graph.ops import Add, Linear, MatMul, MaxPool, Moved, Mul
from ...graph.scaling import scale_input, scale_output
from ...program.broadcast import ROUNDING, channel_vector, compress, move_array, unmove_array
from ...program.network import Concat, Conv, Identity, Reshape, Slice, SumPool, Take, Transpose
from ..base import PassResult, only_user

Array = NDArray[Any]


_PICKS = Reshape | Transpose | Slice | Take  # every element of the result is one of the source's


@dataclass(frozen=True)
class FoldAffine:
    """Removes every affine step that can be folded into a linear neighbour."""

    name: ClassVar[str] = "fold-affine"
    needs: ClassVar[frozenset[str]] = frozenset({"quantizers-fused"})
    makes: ClassVar[frozenset[str]] = frozenset({"affine-folded"})
    breaks: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = True

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with nothing left to fold."""
        while (folded := _step(graph)) is not None:
            graph = folded
        return PassResult(graph)


def foldable(graph: Graph) -> list[str]:
    """Return the names of affine nodes that could still be folded (the checker of ``affine-folded``)."""
    users, nodes = graph.users(), graph.by_name()
    return [n.name for n in graph.nodes if _is_affine(n) and _fold(n, graph, users, nodes) is not None]


Change = tuple[dict[str, tuple[Node, ...]], dict[str, str]]  # what is in place of nodes; renamed values


def _step(graph: Graph) -> Graph | None:
    """Return the graph after one fold at every place that no other fold of this step has touched, None without any."""
    users, nodes = graph.users(), graph.by_name()
    changed: dict[str, tuple[Node, ...]] = {}
    renamed: dict[str, str] = {}
    touched: set[str] = set()
    for node in graph.nodes:
        found = _fold(node, graph, users, nodes) if _is_affine(node) else None
        if found is not None:
            names = {*found[0], *(s for name in found[0] for s in nodes[name].inputs)}
            if touched.isdisjoint(names):
                touched |= names
                changed.update(found[0])
                renamed.update(found[1])
    return rebuild(graph, _replace(graph, changed), renamed) if changed else None


def _is_affine(node: Node) -> bool:
    return isinstance(node.op, Linear) and isinstance(node.op.map, Identity)


def _fold(node: Node, graph: Graph, users: dict[str, list[Node]], nodes: dict[str, Node]) -> Change | None:
    before = nodes.get(node.inputs[0])
    if before is not None and only_user(users, graph, before.name) is node:
        folded = (
            _into_previous(node, before)
            or _swap(node, before, graph, users)
            or _into_branches(node, before, graph, users)
        )
        if folded is not None:
            return {before.name: folded[0], node.name: folded[1]}, folded[2]
    return _forward(node, graph, users)


def _forward(node: Node, graph: Graph, users: dict[str, list[Node]]) -> Change | None:
    """Return the change that folds the affine step into all linear maps behind it, through permuting moves."""
    assert isinstance(node.op, Linear)
    scale, bias = node.op.map.weight, node.op.bias
    at, after = node, only_user(users, graph, node.name)
    crossed: dict[str, tuple[Node, ...]] = {}
    while after is not None and isinstance(after.op, Moved) and isinstance(after.op.op, _PICKS):
        scale, bias = (move_array(after.op.op, a, at.type.shape) for a in (scale, bias))
        crossed[after.name] = (replace(after, tap=None),)  # it holds the numbers before the affine step from now on
        at, after = after, only_user(users, graph, after.name)
    if graph.is_output(at.name):
        return None
    merged = {n.name: _into_next(scale, bias, n, at.type.shape, node) for n in users[at.name]}
    changed: dict[str, tuple[Node, ...]] = {node.name: (), **crossed}
    changed |= {name: (after,) for name, after in merged.items() if after is not None}
    return (changed, {node.name: node.inputs[0]}) if merged and None not in merged.values() else None


Folded = tuple[tuple[Node, ...], tuple[Node, ...], dict[str, str]]


def _into_previous(node: Node, before: Node) -> Folded | None:
    """Return (nothing, the merged node, no renaming) where ``before`` is linear."""
    assert isinstance(node.op, Linear)
    if not isinstance(before.op, Linear):
        return None
    scale = node.op.map.weight
    merged = scale_output(before.op.map, scale, node.type.shape)
    if merged is None:
        return None
    bias = compress(np.asarray(before.op.bias * scale + node.op.bias))
    origin = Origin.merge(before.origin, node.origin).touched_by("fold-affine")
    unit = None if before.op.unit is None else np.abs(before.op.unit * scale)
    made = Node(node.name, Linear(merged, bias, unit), before.inputs, node.type, origin, node.tap)
    return (), (made,), {}


def _swap(node: Node, before: Node, graph: Graph, users: dict[str, list[Node]]) -> Folded | None:
    """Return the affine step in front of a move or max pool instead of behind it."""
    assert isinstance(node.op, Linear)
    if not isinstance(before.op, Moved | MaxPool):
        return None
    if isinstance(before.op, Moved) and not _linear_before(before, graph, users):
        return None  # in front of the move there is nothing that the step could be folded into
    shape = graph.types()[before.inputs[0]].shape
    scale, bias = node.op.map.weight, node.op.bias
    if isinstance(before.op, Moved):
        moved = unmove_array(before.op.op, scale, shape), unmove_array(before.op.op, bias, shape)
        if moved[0] is None or moved[1] is None:
            return None
        scale, bias = moved[0], moved[1]
    elif not (scale > 0).all() or not _per_channel(scale, bias, shape):
        return None
    name = unique_name(f"{before.inputs[0]}/affine", graph.types().__contains__)
    first = Node(name, Linear(Identity(scale), bias), before.inputs, TensorType(shape),
                 node.origin.touched_by("fold-affine"))  # fmt: skip
    second = Node(node.name, before.op, (name,), node.type, before.origin.touched_by("fold-affine"), node.tap)
    return (first,), (second,), {}


def _linear_before(move: Node, graph: Graph, users: dict[str, list[Node]]) -> bool:
    """Return whether moves that nobody else reads lead back to a linear value, a sum, a product or a Concat."""
    nodes = graph.by_name()
    before = nodes.get(move.inputs[0])
    while before is not None and only_user(users, graph, before.name) is not None:
        if isinstance(before.op, Linear | Add | Mul | MatMul | MaxPool):
            return True
        if not isinstance(before.op, Moved):
            return False
        if len(before.inputs) > 1:
            return True
        before = nodes.get(before.inputs[0])
    return False


def _into_branches(node: Node, concat: Node, graph: Graph, users: dict[str, list[Node]]) -> Folded | None:
    """Return the affine step in front of a Concat of linear values, each of which takes its part of it."""
    assert isinstance(node.op, Linear)
    nodes, types = graph.by_name(), graph.types()
    if not isinstance(concat.op, Moved) or not isinstance(concat.op.op, Concat):
        return None
    if not all(s in nodes and isinstance(nodes[s].op, Linear) and only_user(users, graph, s) for s in concat.inputs):
        return None
    axis, ends = concat.op.op.axis, np.cumsum([types[s].shape[concat.op.op.axis] for s in concat.inputs])[:-1]
    full = [np.broadcast_to(a, node.type.shape) for a in (node.op.map.weight, node.op.bias)]
    first = []
    for source, scale, bias in zip(concat.inputs, *(np.split(a, ends, axis) for a in full), strict=True):
        name = unique_name(f"{source}/affine", types.__contains__)
        op = Linear(Identity(compress(scale)), compress(bias))
        first.append(Node(name, op, (source,), types[source], node.origin.touched_by("fold-affine")))
    second = Node(node.name, concat.op, tuple(f.name for f in first), node.type,
                  concat.origin.touched_by("fold-affine"), node.tap)  # fmt: skip
    return tuple(first), (second,), {}


def _per_channel(scale: Array, bias: Array, shape: tuple[int, ...]) -> bool:
    return all(
        compress(np.broadcast_to(a, shape)).size in (1, shape[0])
        and compress(np.broadcast_to(a, shape)).shape[1:] == (1,) * (len(shape) - 1)
        for a in (scale, bias)
    )


def _into_next(scale: Array, bias: Array, after: Node, shape: tuple[int, ...], node: Node) -> Node | None:
    if not isinstance(after.op, Linear):
        return None
    padded = isinstance(after.op.map, Conv | SumPool) and any(b or e for b, e in after.op.map.pads)
    if padded and np.any(bias) and channel_vector(bias, shape, 0) is not None:
        return None  # exact with a bias per position, but then NIR unrolls the convolution: a signed site is cheaper
    merged = scale_input(after.op.map, scale, shape)
    if merged is None:
        return None
    total = compress(after.op.evaluate(np.broadcast_to(bias, shape)[None])[0], ROUNDING)
    origin = Origin.merge(node.origin, after.origin).touched_by("fold-affine")
    unit = after.op.unit * np.abs(scale).item() if after.op.unit is not None and scale.size == 1 else None
    return Node(after.name, Linear(merged, total, unit), after.inputs, after.type, origin, after.tap)


def _replace(graph: Graph, changed: dict[str, tuple[Node, ...]]) -> list[Node]:
    return [new for node in graph.nodes for new in changed.get(node.name, (node,))]
