"""Operators that only move numbers, and those that do nothing at inference."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...ops import Moved
from ...program import Concat, Pad, Reshape, Slice, Transpose
from ..context import OnnxNode


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
    """Of computed values, along any axis but the batch."""
    n = len(node.node.inputs)
    if any(node.constant(i) is not None for i in range(n)):
        raise node.refuse("one of its inputs is a constant", "only computed values can be joined yet")
    axis = node.sample_axis(int(node.attr("axis", 1)), len(node.shape()) + 1)
    shapes = [node.shape(i) for i in range(n)]
    if len({(*s[:axis], *s[axis + 1 :]) for s in shapes}) != 1:
        raise node.refuse(f"its inputs {shapes} differ in another axis than {axis + 1}")
    node.move(Concat(axis), *(node.value(i) for i in range(n)))


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


def gather(node: OnnxNode) -> None:
    """One constant index of an axis, or several that rise in equal steps; also what undoes dynamo's flat views."""
    index = np.asarray(node.need_constant(1, "indices"))
    merged = node.merged()
    if merged is not None:
        return _gather_merged(node, merged, index)
    shape = node.shape()
    axis = node.sample_axis(int(node.attr("axis", 0)), len(shape) + 1)
    chosen = np.where(index < 0, index + shape[axis], index).reshape(-1)
    gaps = set(np.diff(chosen).tolist()) or {1}
    inside = len(chosen) > 0 and 0 <= chosen[0] <= chosen[-1] < shape[axis]
    if index.ndim > 1 or not inside or len(gaps) != 1 or min(gaps) < 1:
        raise node.refuse("its indices are no slice of an axis", "only indices that rise in equal steps can be read")
    ranges = [(0, d, 1) for d in shape]
    ranges[axis] = (int(chosen[0]), int(chosen[-1]) + 1, int(min(gaps)))
    if index.ndim == 1:
        return node.move(Slice(tuple(ranges)), node.value())
    piece = node.emit(Moved(Slice(tuple(ranges))), node.value())
    return node.move(Reshape((*shape[:axis], *shape[axis + 1 :])), piece)


def _gather_merged(node: OnnxNode, source: str, index: np.ndarray) -> None:
    """Undo a flat view of the whole batch (``as_strided`` of a contiguous tensor): every element in its old place."""
    size = int(np.prod(node.context.types[source].shape))
    whole = index.ndim > 1 and int(np.prod(index.shape[1:])) == size
    if not whole or int(node.attr("axis", 0)) != 0 or not np.array_equal(index.reshape(-1), np.arange(index.size)):
        raise node.refuse("it picks from a view that merges the batch", "keep axis 0 for the samples", "SFN203")
    node.move(Reshape(tuple(int(d) for d in index.shape[1:])), source)


def slice_(node: OnnxNode) -> None:
    """With constant bounds and positive steps, on any axis but the batch."""
    shape = node.shape()
    starts, ends = node.attr_or_input("starts", 1), node.attr_or_input("ends", 2)
    if starts is None or ends is None or len(starts) != len(ends):
        raise node.refuse("starts and ends are missing or of different lengths")
    axes = node.attr_or_input("axes", 3) or tuple(range(len(starts)))
    steps = node.attr_or_input("steps", 4) or (1,) * len(starts)
    ranges = [(0, d, 1) for d in shape]
    for start, end, raw, step in zip(starts, ends, axes, steps, strict=True):
        if raw % (len(shape) + 1) == 0 and start == 0 and end >= 1 and step == 1:
            continue  # the whole batch
        axis = node.sample_axis(raw, len(shape) + 1)
        if step < 1:
            raise node.refuse(f"step {step} on axis {axis + 1}; steps must be positive")
        ranges[axis] = slice(start, end, step).indices(shape[axis])
        if ranges[axis][0] >= ranges[axis][1]:
            raise node.refuse(f"[{start}:{end}:{step}] leaves nothing of axis {axis + 1} of length {shape[axis]}")
    node.move(Slice(tuple(ranges)), node.value())


def pad(node: OnnxNode) -> None:
    """With constant zeros, on any axis but the batch; negative pads cut."""
    mode = node.attr("mode", "constant")
    if mode != "constant":
        raise node.refuse(f"mode = {mode!r}; only 'constant' is supported", "use zero padding")
    fill = node.constant(2) if node.has_input(2) else np.asarray(node.attr("value", 0.0))
    if fill is None or np.asarray(fill, np.float64).any():
        raise node.refuse("it pads with something else than 0", "code 0 is the real number 0: pad with 0")
    shape = node.shape()
    pads = node.attr_or_input("pads", 1) or ()
    axes = [int(a) for a in node.attr_or_input("axes", 3) or range(len(shape) + 1)]
    if len(pads) != 2 * len(axes):
        raise node.refuse(f"pads = {list(pads)} does not fit {len(axes)} axes")
    full = [(0, 0)] * len(shape)
    for i, raw in enumerate(axes):
        before, after = pads[i], pads[i + len(axes)]
        if raw % (len(shape) + 1) == 0 and before == after == 0:
            continue
        full[node.sample_axis(raw, len(shape) + 1)] = (before, after)
    value = node.value()
    if min(min(p) for p in full) < 0:
        cut = tuple((max(-b, 0), d - max(-a, 0), 1) for (b, a), d in zip(full, shape, strict=True))
        if any(start >= stop for start, stop, _ in cut):
            raise node.refuse(f"pads {full} leave nothing of {shape}")
        value = node.emit(Moved(Slice(cut)), value)
    node.move(Pad(tuple((max(b, 0), max(a, 0)) for b, a in full)), value)


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
    "Slice": slice_,
    "Split": split,
    "Gather": gather,
    "Pad": pad,
}
