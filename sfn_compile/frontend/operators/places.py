"""Operators that name every place that they read or write: with constant indices they only move numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...graph.ops import Add, Linear, Moved
from ...program.network import Concat, Identity, MoveOp, Pad, Reshape, Shape, Take
from ..batch_layout import FRONT, WHOLE, Layout
from ..onnx_node import OnnxNode
from .picks import chain, pick

Array = NDArray[Any]
_READS = "where it reads depends on computed values"
_WRITES = "where it writes depends on computed values"
_FIX = "cut the model before this node and run the rest on the host"


def gather_elements(node: OnnxNode) -> None:
    """Constant indices, along any axis but the batch."""
    index, axis = _own_index(node, 1, _READS)
    shape = node.shape()
    _move(node, _along(_places(shape), index, axis), shape)


def gather_nd(node: OnnxNode) -> None:
    """Constant indices, of any axes; an index of the batch counts as that of one sample."""
    index, dims, b = _indices(node, 1, _READS), _dims(node, 0), int(node.attr("batch_dims", 0))
    k = index.shape[-1]
    if not 0 <= b < min(index.ndim, len(dims)) or b + k > len(dims) or index.shape[:b] != dims[:b]:
        raise node.refuse(f"its indices of shape {index.shape} with batch_dims = {b} do not fit {dims}")
    _check_range(node, index.reshape(-1, k), dims[b : b + k])
    picked = _named(_places(dims), index, b)
    old = node.layout_of(0)
    behind = old.axis - (b + k) + index.ndim - 1
    layout = replace(old, axis=behind) if old.axis >= b + k else _alone(node, picked.shape, old)
    _move(node, picked.reshape(layout.sample_shape(picked.shape)), node.shape(), layout)


def scatter_elements(node: OnnxNode) -> None:
    """Constant indices, along any axis but the batch, each place once; reduction none or add."""
    index, axis = _own_index(node, 1, _WRITES)
    data, updates = _Operand(node, 0, own=True), _Operand(node, 2, own=True)
    if updates.shape != index.shape:
        raise node.refuse(f"its updates of shape {updates.shape} do not fit indices of shape {index.shape}")
    _scatter(node, data, updates, _along(_places(data.shape), index, axis), node.layout, data.shape)


def scatter_nd(node: OnnxNode) -> None:
    """Constant indices, each place once; reduction none or add; an index of the batch counts as that of one sample."""
    index = _indices(node, 1, _WRITES)
    data, updates = _Operand(node, 0), _Operand(node, 2)
    k = index.shape[-1]
    if k > len(data.shape) or updates.shape != (*index.shape[:-1], *data.shape[k:]):
        raise node.refuse(f"its updates of shape {updates.shape} and indices of shape {index.shape} do not fit")
    _check_range(node, index.reshape(-1, k), data.shape[:k])
    layout = node.layout_of(0) if data.constant is None else _alone(node, data.shape, FRONT)
    _scatter(node, data, updates, _named(_places(data.shape), index, 0), layout, layout.sample_shape(data.shape))


def compress(node: OnnxNode) -> None:
    """A constant condition, along any axis but the batch."""
    condition = node.constant(1)
    if condition is None:
        raise node.refuse("how many numbers it keeps depends on computed values", _FIX)
    if "axis" not in node.node.attributes:
        raise node.refuse("without an axis it flattens the batch", "give it an axis", "SFN203")
    shape, axis = node.shape(), node.sample_axis(int(node.attr("axis")), node.rank())
    chosen = np.flatnonzero(condition[: shape[axis]]).tolist()
    node.check_size((*shape[:axis], len(chosen), *shape[axis + 1 :]))
    node.move(pick(axis, chosen, shape), node.value())


# -- operands ----------------------------------------------------------------------------------------------------------
class _Operand:
    """What is read or written into: a constant, or a value. ``shape`` is that of the tensor for a batch of one, or, as
    the node's ``own``, of one sample."""

    def __init__(self, node: OnnxNode, i: int, own: bool = False):
        found = node.constant(i)
        self.constant = None if found is None else np.asarray(found, np.float64)
        self.value = "" if found is not None else node.value(i)
        if self.constant is None:
            self.shape = node.shape(i) if own else _dims(node, i)
            return
        self.constant = node.one_sample(self.constant, self.constant.ndim, "operand") if own else self.constant
        self.shape = tuple(self.constant.shape)


def _indices(node: OnnxNode, i: int, why: str) -> Array:
    found = node.constant(i)
    if found is None:
        raise node.refuse(why, _FIX)
    if found.ndim < 1 or not found.size or not np.issubdtype(found.dtype, np.integer):
        raise node.refuse(f"its indices of shape {list(found.shape)} and type {found.dtype} name no place")
    return found.astype(np.int64)


def _own_index(node: OnnxNode, i: int, why: str) -> tuple[Array, int]:
    """Return the indices for one sample and the sample's axis that they count along."""
    index = _indices(node, i, why)
    source = 0 if node.constant(0) is None else 2
    rank = node.rank(source)
    axis = node.sample_axis(int(node.attr("axis", 0)), rank)
    index = node.one_sample(index, rank, "index")
    shape = node.shape(0) if source == 0 else _Operand(node, 0, own=True).shape
    fits = index.ndim == len(shape) and all(index.shape[a] <= d for a, d in enumerate(shape) if a != axis)
    if not fits:
        raise node.refuse(f"its indices of shape {index.shape} do not fit a sample of shape {shape}")
    _check_range(node, index.reshape(-1, 1), (shape[axis],))
    return index % shape[axis], axis


def _check_range(node: OnnxNode, rows: Array, lengths: Sequence[int]) -> None:
    if (rows < -np.array(lengths)).any() or (rows >= np.array(lengths)).any():
        raise node.refuse(f"its indices leave axes of lengths {list(lengths)}")


def _dims(node: OnnxNode, i: int) -> Shape:
    """Return the shape of a tensor for one sample. Refuses a batch that the model fixes at several."""
    if node.context.batch not in (None, 1):
        what = f"its indices name places in {node.context.batch} samples at once"
        raise node.refuse(what, "export with a batch of 1", "SFN203")
    return node.layout_of(i).dims(node.shape(i))


def _alone(node: OnnxNode, dims: Shape, old: Layout) -> Layout:
    """Return where the batch of one is in a result whose indices name it: on the first axis of length 1."""
    if old.whole or (node.context.batch == 1 and 1 not in dims):
        return WHOLE
    if old.merged or 1 not in dims:
        raise node.refuse("its indices name places in several samples", "keep axis 0 for the samples", "SFN203")
    return Layout(dims.index(1))


# -- places ------------------------------------------------------------------------------------------------------------
def _places(shape: Shape) -> Array:
    return np.arange(math.prod(shape)).reshape(shape)


def _along(places: Array, index: Array, axis: int) -> Array:
    """Return what GatherElements reads of ``places``."""
    cut = tuple(slice(None) if a == axis else slice(n) for a, n in enumerate(index.shape))
    return np.take_along_axis(places[cut], index, axis)


def _named(places: Array, index: Array, b: int) -> Array:
    """Return what GatherND reads of ``places``: the last axis of ``index`` names places of the axes from ``b`` on."""
    lead = np.indices(index.shape[:-1], sparse=True)[:b]
    return places[(*lead, *np.moveaxis(index, -1, 0))]


def _move(node: OnnxNode, picked: Array, shape: Shape, layout: Layout | None = None) -> None:
    """Let the node's output be the numbers at the places ``picked`` of its input of ``shape``."""
    node.check_size(picked.shape)
    chain(node, node.value(), _picks(picked, shape), layout)


def _picks(picked: Array, shape: Shape) -> list[MoveOp]:
    """Return the moves to the places ``picked``: a pick per axis where these are independent, else one of all."""
    apart = _per_axis(picked, shape)
    if apart is not None:
        return [pick(a, chosen, _cut(picked.shape, shape, a)) for a, chosen in enumerate(apart)
                if chosen != list(range(shape[a]))]  # fmt: skip
    flat = Take(0, tuple(picked.reshape(-1).tolist()))
    return [Reshape((math.prod(shape),)), flat, Reshape(tuple(picked.shape))]


def _cut(done: Shape, shape: Shape, axis: int) -> Shape:
    """Return the shape after the axes before ``axis`` were picked from."""
    return (*done[:axis], *shape[axis:])


def _per_axis(picked: Array, shape: Shape) -> list[list[int]] | None:
    if picked.ndim != len(shape):
        return None
    found = []
    for axis, along in enumerate(np.unravel_index(picked, shape)):
        line = np.moveaxis(along, axis, 0).reshape(along.shape[axis], -1)
        if (line != line[:, :1]).any():
            return None
        found.append(line[:, 0].tolist())
    return found


# -- writing -----------------------------------------------------------------------------------------------------------
def _scatter(node: OnnxNode, data: _Operand, updates: _Operand, targets: Array, layout: Layout, out: Shape) -> None:
    """Let the node's output be ``data`` with ``updates`` written at, or added to, the places ``targets``."""
    kind, flat = str(node.attr("reduction", "none")), targets.reshape(-1)
    if len(np.unique(flat)) < len(flat):
        raise node.refuse("it writes several numbers to one place", "write each place once")
    if kind not in ("none", "add"):
        raise node.refuse(f"reduction = {kind!r} joins computed values at places of its own", "use Mul, Max or Min")
    if kind == "add" and data.constant is None and updates.constant is None:
        spread = _written(node, None, updates, flat, math.prod(data.shape))
        moved = node.emit(Moved(Reshape(out)), spread)
        return node.result(Add(), data.value, moved, layout=layout)
    total = math.prod(data.shape)
    offset = np.zeros(total) if data.constant is None else data.constant.reshape(-1).copy()
    if kind == "none":
        offset[flat] = 0.0
    if updates.constant is not None:
        offset[flat] += updates.constant.reshape(-1)
    value = data.value if kind == "add" and data.constant is None else ""
    value = node.emit(Moved(Reshape((total,))), value) if value else _written(node, data, updates, flat, total)
    if not offset.any():
        return node.result(Moved(Reshape(out)), value, layout=layout)
    shaped = node.emit(Moved(Reshape(out)), value)
    return node.result(Linear(Identity(np.ones((1,) * len(out))), offset.reshape(out)), shaped, layout=layout)


def _written(node: OnnxNode, data: _Operand | None, updates: _Operand, targets: Array, total: int) -> str:
    """Return ``(total,)`` numbers: the data where it is computed, the updates at their targets where they are, else 0.

    One number 0 is behind what is read.
    """
    values = [o.value for o in (data, updates) if o is not None and o.value]
    flats = [node.emit(Moved(Reshape((math.prod(node.context.types[v].shape),))), v) for v in values]
    joined = flats[0] if len(flats) == 1 else node.emit(Moved(Concat(0)), *flats)
    n = node.context.types[joined].shape[0]
    computed = data is not None and bool(data.value)
    places = np.arange(total) if computed else np.full(total, n)
    places[targets] = (total if computed else 0) + np.arange(len(targets)) if updates.value else n
    padded = node.emit(Moved(Pad(((0, 1),))), joined) if (places == n).any() else joined
    return node.emit(Moved(Take(0, tuple(places.tolist()))), padded)


IMPORTERS = {
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "Compress": compress,
}
