"""The real value of one code, element by element: where steps come from and how they travel through moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ..program.broadcast import Axis, axes_of, compress, move_array
from ..program.network import (
    Conv,
    Dense,
    Elementwise,
    Gather,
    Identity,
    LinearMap,
    Matmul,
    ProductForm,
    Shape,
    SumPool,
    ValueInfo,
)
from .graph import Graph, Node
from .ops import Layer, MaxPool, Moved, Normalize
from .ops.layer import Terms, channel_rows
from .ops.stages import levels_of
from .scaling import scale_input, scale_product

Array = NDArray[Any]


def moved_step(node: Node, steps: dict[str, Array], shapes: dict[str, Shape]) -> Array:
    """Return the step of a move or max pool, broadcastable against its sample, from the steps of its sources."""
    if isinstance(node.op, MaxPool):
        return compress(steps[node.inputs[0]])  # equal where windows reach, and the map is smaller behind it
    assert isinstance(node.op, Moved)
    if len(node.inputs) == 1:
        filled = np.broadcast_to(steps[node.inputs[0]], shapes[node.inputs[0]])
        moved = node.op.op.apply(filled[None])[0]
        if (moved > 0).all():
            return move_array(node.op.op, steps[node.inputs[0]], shapes[node.inputs[0]])
        return _filled(moved)
    full = [np.broadcast_to(steps[s], shapes[s])[None] for s in node.inputs]
    return compress(node.op.op.apply(*full)[0])


def _filled(moved: Array) -> Array:
    """Return steps with padding (0) given a neighbour's step: a padded code is 0 whatever its step.

    A neighbour along an axis of which all other steps are a function, where there is one: nobody is tied by padding.
    """
    for axis in range(moved.ndim):
        others = tuple(a for a in range(moved.ndim) if a != axis)
        top = moved.max(axis=others, keepdims=True)
        if ((moved == top) | (moved == 0)).all():
            return compress(np.where(top > 0, top, moved.max()))
    rows = moved.reshape(moved.shape[0], -1).max(axis=1)
    rows = np.where(rows > 0, rows, moved.max())
    column = rows.reshape(-1, *(1,) * (moved.ndim - 1))
    return compress(np.where(moved > 0, moved, column))


def all_steps(graph: Graph) -> dict[str, Array]:
    """Return the step of every spike value whose levels are chosen, as arrays that broadcast against the sample."""
    shapes = {name: t.shape for name, t in graph.types().items()}
    steps: dict[str, Array] = {i.name: i.levels.step for i in graph.inputs if i.levels is not None}
    for node in graph.nodes:
        if isinstance(node.op, Layer | Normalize):
            levels = levels_of(node.op)
            if levels is not None:
                steps[node.name] = levels.step
        else:
            steps[node.name] = moved_step(node, steps, shapes)
    return steps


def effective(linear: LinearMap, step: Array, shape: Shape) -> LinearMap | None:
    """Return the map on codes instead of reals: weights times the step of what they read, None where steps differ
    along an axis that shares a weight."""
    ranked = step.reshape((1,) * (len(shape) - step.ndim) + step.shape)
    if isinstance(linear, Identity):
        widened = linear.weight.reshape((1,) * (len(shape) - linear.weight.ndim) + linear.weight.shape)
        return Identity(compress(np.multiply(*np.broadcast_arrays(widened, ranked))))
    if isinstance(linear, Dense | Conv | SumPool | Gather):
        return scale_input(linear, ranked, shape)
    assert_never(linear)


def effective_product(form: ProductForm, left: Array, right: Array, rank: int) -> ProductForm:
    """Return the product of codes instead of reals: its weight times the steps of both factors."""
    steps = [s.reshape((1,) * (rank - s.ndim) + s.shape) for s in (left, right)]
    return scale_product(form, np.multiply(*np.broadcast_arrays(*steps)))


def contracted(form: ProductForm, side: int, step: Array, shape: Shape) -> bool:
    """Return whether a matrix product sums over codes of different steps in its left (0) or right (1) factor."""
    if isinstance(form, Elementwise):
        return False
    if not isinstance(form, Matmul):
        assert_never(form)
    ranked = compress(step.reshape((1,) * (len(shape) - step.ndim) + step.shape))
    return ranked.shape[-1 - side] > 1


def on_codes(node: Node, layer: Layer, steps: Mapping[str, Array], infos: Mapping[str, ValueInfo]) -> Terms:
    """Return the projections and products of a node's Layer on codes instead of reals."""
    projections, products = layer.drivers(node.inputs)
    norm, rank = layer.norm(node.inputs), len(node.type.shape)
    unit = {} if norm is None else {norm.source: np.ones(())}  # a quotient does not know the step of its parts
    linear = []
    for p in projections:
        found = effective(p.map, unit.get(p.source, steps[p.source]), infos[p.source].shape)
        assert found is not None
        linear.append(replace(p, map=found))
    forms = [
        effective_product(p.form, unit.get(p.left, steps[p.left]), unit.get(p.right, steps[p.right]), rank)
        for p in products
    ]
    return tuple(linear), tuple(replace(p, form=f) for p, f in zip(products, forms, strict=True))


def top_code(info: ValueInfo) -> int:
    """Return the largest magnitude of a value's codes."""
    return max(abs(info.lo), abs(info.hi))


def rows_of(linear: LinearMap | ProductForm, shape: Shape, axis: Axis) -> Array:
    """Return the weights that drive each channel of an output sample of ``shape``: ``(n_channels, n_weights)``."""
    weight = linear.weight
    if isinstance(linear, Conv | Dense):
        return weight.reshape(weight.shape[0], -1)
    if not isinstance(linear, SumPool | Identity | Gather | Elementwise | Matmul):
        assert_never(linear)
    ranked = weight.reshape((1,) * (len(shape) - weight.ndim) + weight.shape)
    over = axes_of(axis, len(shape))
    full = np.broadcast_to(ranked, [shape[a] if a in over else d for a, d in enumerate(ranked.shape)])
    return channel_rows(full, axis)
