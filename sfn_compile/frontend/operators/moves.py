"""Operators that only move numbers, and those that do nothing at inference."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...ops import Moved
from ...program import Concat, Pad, Shape, Slice, Transpose
from ..context import OnnxNode
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
    """Of everything behind the batch axis."""
    shape, axis = node.shape(), int(node.attr("axis", 1))
    rank = len(shape) + 1
    axis = axis + rank if axis < 0 else axis
    leading = int(np.prod(shape[: max(axis - 1, 0)]))
    if leading != 1 or (axis == 0 and node.context.batch != 1):
        raise node.refuse(f"axis = {axis} merges axes of {shape} into the batch", "use axis = 1", "SFN203")
    node.reshape((int(np.prod(shape)),))


def reshape(node: OnnxNode) -> None:
    """To a constant shape that keeps the batch axis."""
    shape, target = node.shape(), [int(d) for d in node.attr_or_input("shape", 1) or ()]
    if not node.attr("allowzero", 0):
        target = [([1, *shape][i] if i <= len(shape) else 0) if d == 0 else d for i, d in enumerate(target)]
    total = int(np.prod(shape))
    if target == [-1] and total > 1:
        return node.merge_batch()
    if not target or target[0] not in (-1, 1, node.context.batch):
        raise node.refuse(f"target shape {target} does not keep the batch as axis 0", "keep axis 0", "SFN203")
    rest = target[1:]
    known = int(np.prod([d for d in rest if d != -1])) if rest else 1
    if rest.count(-1) == 1 and target[0] != -1 and known and total % known == 0:
        rest[rest.index(-1)] = total // known
    if any(d < 0 for d in rest) or int(np.prod(rest)) != total:
        what = f"target shape {target} does not hold the {total} numbers of one sample {shape} behind the batch axis"
        raise node.refuse(what, "keep axis 0 for the samples", "SFN203")
    return node.reshape(tuple(rest))


def transpose(node: OnnxNode) -> None:
    """With a permutation that leaves the batch axis in place."""
    rank = len(node.shape()) + 1
    perm = [int(p) for p in node.attr("perm", tuple(reversed(range(rank))))]
    if sorted(perm) != list(range(rank)):
        raise node.refuse(f"perm = {perm} is not a permutation of {rank} axes")
    if perm[0] != 0:
        raise node.refuse(f"perm = {perm} moves the batch axis", "keep axis 0 in place", "SFN203")
    node.move(Transpose(tuple(p - 1 for p in perm[1:])), node.value())


def squeeze(node: OnnxNode) -> None:
    """Of axes of length 1 behind the batch axis."""
    shape = node.shape()
    given = node.attr_or_input("axes", 1)
    if given is None and node.context.batch == 1:
        raise node.refuse("without axes it removes the batch axis of length 1 too", "name the axes", "SFN203")
    axes = [i for i, d in enumerate(shape) if d == 1] if given is None else [
        node.sample_axis(a, len(shape) + 1) for a in given
    ]  # fmt: skip
    wrong = [a for a in axes if shape[a] != 1]
    if wrong:
        raise node.refuse(f"axis {wrong[0] + 1} has length {shape[wrong[0]]}, not 1")
    node.reshape(tuple(d for i, d in enumerate(shape) if i not in axes))


def unsqueeze(node: OnnxNode) -> None:
    """Adds axes of length 1 behind the batch axis."""
    shape = node.shape()
    given = node.attr_or_input("axes", 1) or ()
    axes = {node.sample_axis(a, len(shape) + 1 + len(given)) for a in given}
    rest = iter(shape)
    node.reshape(tuple(1 if i in axes else next(rest) for i in range(len(shape) + len(axes))))


def concat(node: OnnxNode) -> None:
    """Of computed values and constants, along any axis but the batch."""
    n = len(node.node.inputs)
    fixed = {i: np.asarray(c, np.float64) for i in range(n) if (c := node.constant(i)) is not None}
    if len(fixed) == n:
        raise node.refuse("all of its inputs are constants", "fold the constants of the model before")
    first = next(i for i in range(n) if i not in fixed)
    axis = node.sample_axis(int(node.attr("axis", 1)), len(node.shape(first)) + 1)
    if any(c.ndim != len(node.shape(first)) + 1 or c.shape[0] != 1 for c in fixed.values()):
        raise node.refuse("one of its constants differs along the batch or has another rank", code="SFN203")
    shapes = [fixed[i].shape[1:] if i in fixed else node.shape(i) for i in range(n)]
    if len({(*s[:axis], *s[axis + 1 :]) for s in shapes}) != 1:
        raise node.refuse(f"its inputs {shapes} differ in another axis than {axis + 1}")
    if not fixed:
        return node.move(Concat(axis), *(node.value(i) for i in range(n)))
    return _concat_constants(node, axis, fixed, shapes)


def _concat_constants(node: OnnxNode, axis: int, fixed: dict[int, np.ndarray], shapes: list[Shape]) -> None:
    """Join the computed values with zeros where the constants stand, which then are an offset."""
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
        node, joined, np.concatenate([fixed[i][0] if i in fixed else np.zeros(s) for i, s in enumerate(shapes)], axis)
    )


def _padded(node: OnnxNode, value: str, axis: int, before: int, after: int) -> str:
    if not before and not after:
        return value
    rank = len(node.context.types[value].shape)
    return node.emit(Moved(Pad(tuple((before, after) if a == axis else (0, 0) for a in range(rank)))), value)


def split(node: OnnxNode) -> None:
    """Into pieces of constant sizes, on any axis but the batch."""
    shape = node.shape()
    axis = node.sample_axis(int(node.attr("axis", 0)), len(shape) + 1)
    n, length = len(node.node.outputs), shape[axis]
    size = -(-length // n)
    sizes = node.attr_or_input("split", 1) or tuple(min(size, length - i * size) for i in range(n))
    if len(sizes) != n or sum(sizes) != length or min(sizes) < 1:
        raise node.refuse(f"pieces {list(sizes)} do not make up axis {axis + 1} of length {length}")
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
