"""Operators that only move numbers, and those that do nothing at inference."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from ...graph.ops import Moved
from ...program.network import Concat, Pad, Shape, Slice, Transpose
from ..batch_layout import Layout, likeliest, placements
from ..onnx_node import OnnxNode
from .picks import with_offset


def identity(node: OnnxNode) -> None:
    """Nothing happens."""
    node.alias(node.value())


def dropout(node: OnnxNode) -> None:
    """At inference nothing happens."""
    training = node.constant(2)
    if node.has_input(2) and (training is None or bool(np.asarray(training).any())):
        raise node.refuse("training_mode is on", "export the model in evaluation mode")
    node.alias(node.value())


def cast(node: OnnxNode) -> None:
    """To a float type, of integers to wider ones, of places (ArgMax) to narrower ones: all of which keep the number."""
    to, source = ir.DataType(int(node.attr("to"))), node.node.inputs[0]
    whole = source is not None and source.dtype is not None and source.dtype.is_integer()
    wider = whole and to.is_integer() and _holds(to, source)  # type: ignore[arg-type]
    if not wider and to not in (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16):
        raise node.refuse(f"a Cast of computed values to {to.name} rounds them", "cast to FLOAT only")
    grid, value = node.grid(), node.value()
    if grid is None:
        return node.alias(value)
    plain = grid.scale.size == 1 and grid.scale.item() == 1 and grid.zero.item() == 0
    stored = value if plain else node.emit(node.affine(value, 1.0 / grid.scale, grid.zero), value)
    return node.real_alias(stored)  # from here on numbers like any others


def _holds(wide: ir.DataType, value: ir.Value) -> bool:
    """Return whether an integer type holds every number that an integer value can be."""
    made, narrow = value.producer(), value.dtype
    assert narrow is not None
    if made is not None and made.op_type in ("ArgMax", "ArgMin"):  # no tensor has 2**31 places along an axis
        return wide.bitwidth >= 32
    if wide.is_signed() == narrow.is_signed():
        return wide.bitwidth >= narrow.bitwidth
    return wide.is_signed() and wide.bitwidth > narrow.bitwidth


def flatten(node: OnnxNode) -> None:
    """Of any axes that leave the samples apart."""
    dims, batch = node.layout.dims(node.shape(), node.context.batch or 1), node.context.batch or 1
    axis = int(node.attr("axis", 1))
    axis = axis + len(dims) if axis < 0 else axis
    target = [math.prod(dims[:axis]), math.prod(dims[axis:])]
    found = placements(target, node.layout.before(node.shape()), batch)
    if not found or (axis == 0 and node.context.batch != 1):
        what = f"axis = {axis} merges axes of {node.shape()} into the batch"
        raise node.refuse(what, "use axis = 1", "SFN203")
    layout = likeliest(found, target, _behind(node), None)
    node.reshape(layout.sample_shape(target, batch), layout)


def reshape(node: OnnxNode) -> None:
    """To a constant shape that leaves the samples apart."""
    shape, batch, layout = node.shape(), node.context.batch or 1, node.layout
    dims, target = layout.dims(shape, batch), [int(d) for d in node.attr_or_input("shape", 1) or ()]
    if not node.attr("allowzero", 0):
        target = [(dims[i] if i < len(dims) else 0) if d == 0 else d for i, d in enumerate(target)]
    stated, total = target.index(-1) if -1 in target else None, math.prod(dims)
    known = math.prod(d for d in target if d != -1)
    if stated is not None and known and total % known == 0:
        target[stated] = total // known
    if min(target, default=1) < 0 or math.prod(target) != total:
        what = f"target shape {target} does not hold the {total} numbers of {_samples(batch)} of shape {shape}"
        raise node.refuse(what, "keep axis 0 for the samples", "SFN203")
    found = placements(target, layout.before(shape), batch)
    if not found:
        raise node.refuse(f"target shape {target} does not keep the batch as axis 0", "keep axis 0", "SFN203")
    placed = likeliest(found, target, _behind(node), stated)
    node.reshape(placed.sample_shape(target, batch), placed)


def _samples(batch: int) -> str:
    return "one sample" if batch == 1 else f"{batch} samples"


def _behind(node: OnnxNode) -> int | None:
    """Return the length of the axis right behind the batch; None where the batch is merged with what is behind it."""
    layout, dims = node.layout, node.layout.dims(node.shape())
    apart = layout.inner == 1 and not layout.whole and layout.axis + 1 < len(dims)
    return dims[layout.axis + 1] if apart else None


def transpose(node: OnnxNode) -> None:
    """Any permutation, the batch's axis included."""
    layout, rank = node.layout, node.rank()
    perm = [int(p) for p in node.attr("perm", tuple(reversed(range(rank))))]
    if sorted(perm) != list(range(rank)):
        raise node.refuse(f"perm = {perm} is not a permutation of {rank} axes")
    moved = layout if layout.whole else replace(layout, axis=perm.index(layout.axis))
    if layout.merged:
        return _permuted(node, tuple(perm), moved)
    return _permuted(node, tuple(a for p in perm if (a := layout.sample_axis(p)) is not None), moved)


def _permuted(node: OnnxNode, perm: tuple[int, ...], layout: Layout) -> None:
    if layout != node.layout and perm == tuple(range(len(perm))):
        return node.alias(node.value(), layout)  # only the batch moved
    return node.move(Transpose(perm), node.value(), layout=layout)


def squeeze(node: OnnxNode) -> None:
    """Of axes of length 1 other than the batch."""
    shape, rank = node.shape(), node.rank()
    dims, given = node.layout.dims(shape), node.attr_or_input("axes", 1)
    if given is None:
        batch = () if node.context.batch == 1 or node.layout.merged else (node.layout.axis,)
        given = tuple(a for a, d in enumerate(dims) if d == 1 and a not in batch)
    axes = node.sample_axes(given, rank)
    wrong = [a % rank for a in given if dims[a] != 1]
    if wrong:
        raise node.refuse(f"axis {wrong[0]} has length {dims[wrong[0]]}, not 1")
    layout = node.layout.shifted(-sum(a % rank < node.layout.axis for a in given))
    node.reshape(tuple(d for i, d in enumerate(shape) if i not in axes), layout)


def unsqueeze(node: OnnxNode) -> None:
    """Adds axes of length 1 anywhere."""
    shape, old = node.shape(), node.layout
    given = node.attr_or_input("axes", 1) or ()
    rank = node.rank() + len(given)
    wrong = [a for a in given if not -rank <= a < rank]
    if wrong:
        raise node.refuse(f"axis {wrong[0]} is outside a tensor of rank {rank}")
    new = {a % rank for a in given}
    rest = iter(range(old.rank(shape)))
    where = [None if a in new else next(rest) for a in range(rank)]
    dims = [1 if a is None else old.dims(shape)[a] for a in where]
    layout = old if old.whole else replace(old, axis=where.index(old.axis))
    node.reshape(layout.sample_shape(dims), layout)


def concat(node: OnnxNode) -> None:
    """Of computed values and constants, along any axis but the batch."""
    n = len(node.node.inputs)
    fixed = {i: np.asarray(c, np.float64) for i in range(n) if (c := node.constant(i)) is not None}
    if len(fixed) == n:
        raise node.refuse("all of its inputs are constants", "fold the constants of the model before")
    first = next(i for i in range(n) if i not in fixed)
    given = int(node.attr("axis", 1))
    axis = node.sample_axis(given, node.rank(first))
    if any(c.ndim != node.rank(first) for c in fixed.values()):
        raise node.refuse("one of its constants has another rank than its other inputs", code="SFN203")
    fixed = {i: node.one_sample(c, c.ndim, "input") for i, c in fixed.items()}
    shapes = [fixed[i].shape if i in fixed else node.shape(i) for i in range(n)]
    if len({(*s[:axis], *s[axis + 1 :]) for s in shapes}) != 1:
        raise node.refuse(f"its inputs {shapes} differ in another axis than {given % node.rank(first)}")
    if not fixed:
        return node.move(Concat(axis), *(node.value(i) for i in range(n)))
    return _concat_constants(node, axis, fixed, shapes)


def _concat_constants(node: OnnxNode, axis: int, fixed: dict[int, np.ndarray], shapes: list[Shape]) -> None:
    """Join the computed values with zeros where the constants are, which then are an offset."""
    pieces: list[str] = []
    before = 0
    for i, shape in enumerate(shapes):
        length = shape[axis]
        if i not in fixed:
            pieces.append(_padded(node, node.value(i), axis, before, 0))
            before = 0
        elif pieces:
            pieces[-1] = _padded(node, pieces[-1], axis, 0, length)
        else:
            before += length
    joined = pieces[0] if len(pieces) == 1 else node.emit(Moved(Concat(axis)), *pieces)
    with_offset(
        node, joined, np.concatenate([fixed[i] if i in fixed else np.zeros(s) for i, s in enumerate(shapes)], axis)
    )


def _padded(node: OnnxNode, value: str, axis: int, before: int, after: int) -> str:
    if not before and not after:
        return value
    rank = len(node.context.types[value].shape)
    return node.emit(Moved(Pad(tuple((before, after) if a == axis else (0, 0) for a in range(rank)))), value)


def split(node: OnnxNode) -> None:
    """Into pieces of constant sizes, on any axis but the batch."""
    shape = node.shape()
    given, rank = int(node.attr("axis", 0)), node.rank()
    axis = node.sample_axis(given, rank)
    n, length = len(node.node.outputs), shape[axis]
    size = -(-length // n)
    sizes = node.attr_or_input("split", 1) or tuple(min(size, length - i * size) for i in range(n))
    if len(sizes) != n or sum(sizes) != length or min(sizes) < 1:
        raise node.refuse(f"pieces {list(sizes)} do not make up axis {given % rank} of length {length}")
    whole = [(0, d, 1) for d in shape]
    for i, start in enumerate(np.cumsum((0, *sizes[:-1]))):
        piece = [*whole[:axis], (int(start), int(start) + sizes[i], 1), *whole[axis + 1 :]]
        node.result(Moved(Slice(tuple(piece))), node.value(), output=i)


IMPORTERS = {
    "Identity": identity,
    "Dropout": dropout,
    "Cast": cast,
    "Flatten": flatten,
    "Reshape": reshape,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Concat": concat,
    "Split": split,
}
