"""Operators that pick elements by place: Slice, Gather, Tile, Expand, the two block shuffles, and Pad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...graph.ops import Linear, Moved
from ...program.network import Identity, MoveOp, Pad, Pads, Reshape, Shape, Slice, Take, Transpose
from ..batch_layout import FRONT, Layout
from ..onnx_node import OnnxNode


def gather(node: OnnxNode) -> None:
    """Any constant indices of one axis; also what undoes dynamo's flat views."""
    index = np.asarray(node.need_constant(1, "indices"))
    given, rank, shape = int(node.attr("axis", 0)), node.rank(), node.shape()
    if rank == 1 and node.layout.merged and node.movable and not node.layout.whole:
        return _gather_flat(node, index)
    axis = node.sample_axis(given, rank)
    if index.size == 0 or index.min() < -shape[axis] or index.max() >= shape[axis]:
        raise node.refuse(f"its indices {_few(index)} are not inside axis {given % rank} of length {shape[axis]}")
    picked = pick(axis, (index.reshape(-1) % shape[axis]).tolist(), shape)
    if index.ndim == 1:
        return node.move(picked, node.value())
    piece = node.emit(Moved(picked), node.value())
    layout = node.layout.shifted(index.ndim - 1 if given % rank < node.layout.axis else 0)
    return node.move(Reshape((*shape[:axis], *index.shape, *shape[axis + 1 :])), piece, layout=layout)


def _few(index: np.ndarray) -> str:
    flat = index.reshape(-1).tolist()
    return str(flat[:8])[:-1] + (", ...]" if len(flat) > 8 else "]")


def pick(axis: int, chosen: list[int], shape: Shape) -> Slice | Take:
    """Return the move that reads ``chosen`` along ``axis``: a Slice where they rise in equal steps."""
    gaps = set(np.diff(chosen).tolist()) or {1}
    if len(gaps) > 1 or min(gaps) < 1:
        return Take(axis, tuple(int(i) for i in chosen))
    ranges = [(0, d, 1) for d in shape]
    ranges[axis] = (int(chosen[0]), int(chosen[-1]) + 1, int(min(gaps)))
    return Slice(tuple(ranges))


def _gather_flat(node: OnnxNode, index: np.ndarray) -> None:
    """Undo a flat view of the whole batch (``as_strided`` of a contiguous tensor): every element in its old place."""
    whole = index.ndim > 1 and int(np.prod(index.shape[1:])) == node.shape()[0]
    if not whole or int(node.attr("axis", 0)) != 0 or not np.array_equal(index.reshape(-1), np.arange(index.size)):
        raise node.refuse("it picks from a view that merges the batch", "keep axis 0 for the samples", "SFN203")
    node.move(Reshape(tuple(int(d) for d in index.shape[1:])), node.value(), layout=FRONT)


def slice_(node: OnnxNode) -> None:
    """With constant bounds and steps, also backwards, on any axis but the batch."""
    shape = node.shape()
    starts, ends = node.attr_or_input("starts", 1), node.attr_or_input("ends", 2)
    if starts is None or ends is None or len(starts) != len(ends):
        raise node.refuse("starts and ends are missing or of different lengths")
    rank = node.rank()
    axes = node.attr_or_input("axes", 3) or tuple(range(len(starts)))
    steps = node.attr_or_input("steps", 4) or (1,) * len(starts)
    ranges = [(0, d, 1) for d in shape]
    for start, end, raw, step in zip(starts, ends, axes, steps, strict=True):
        if raw % rank == node.layout.axis and start == 0 and end >= _length(node) and step == 1:
            continue  # the whole batch
        axis = node.sample_axis(raw, rank)
        ranges[axis] = slice(start, end, step).indices(shape[axis]) if step else (0, 0, 1)
        if not len(range(*ranges[axis])):
            raise node.refuse(f"[{start}:{end}:{step}] leaves nothing of axis {raw % rank} of length {shape[axis]}")
    backwards = {axis: tuple(range(*bounds)) for axis, bounds in enumerate(ranges) if bounds[2] < 0}
    picked: list[MoveOp] = [Take(axis, places) for axis, places in backwards.items()]
    whole = [(0, len(backwards.get(axis, range(d))), 1) for axis, d in enumerate(shape)]  # of what is left to cut
    cut = [whole[axis] if axis in backwards else bounds for axis, bounds in enumerate(ranges)]
    if not picked or cut != whole:
        picked.append(Slice(tuple(cut)))
    chain(node, node.value(), picked)


def _length(node: OnnxNode) -> int:
    """Return how long the axis of the batch is for a batch of one, or of the size that the model fixes."""
    return node.layout.dims(node.shape(), node.context.batch or 1)[node.layout.axis]


def tile(node: OnnxNode) -> None:
    """A constant number of times along any axis but the batch."""
    shape = node.shape()
    repeats = [int(r) for r in node.need_constant(1, "number of repeats").reshape(-1)]
    if len(repeats) != node.rank() or min(repeats) < 1:
        raise node.refuse(f"repeats {repeats} do not fit the {node.rank()} axes of its input")
    own = [repeats[a] for a in range(len(repeats)) if a != node.layout.axis or node.layout.merged]
    if repeats[node.layout.axis] != 1 and not node.layout.whole:
        raise node.refuse("it repeats the batch", "keep axis 0 for the samples", "SFN203")
    node.check_size([d * r for d, r in zip(shape, own, strict=True)])
    each = enumerate(zip(shape, own, strict=True))
    chain(node, node.value(), [Take(axis, tuple(range(d)) * r) for axis, (d, r) in each if r > 1])


def expand(node: OnnxNode) -> None:
    """Of axes of length 1 other than the batch, to a constant shape."""
    shape, rank = node.shape(), node.rank()
    target = [int(d) for d in node.need_constant(1, "shape").reshape(-1)]
    wide = [1] * (rank - len(target)) + target
    batch = 1 if node.layout.whole else wide[node.layout.axis]
    if len(target) > rank or batch not in (1, _length(node)):
        raise node.refuse(f"its shape {target} enlarges the batch axis or puts axes before it", code="SFN203")
    wanted = tuple(d for a, d in enumerate(wide) if node.layout.sample_axis(a) is not None or node.layout.merged)
    if node.layout.merged:
        wanted = tuple(1 if a == node.layout.axis else d for a, d in enumerate(wide))
    try:
        out = np.broadcast_shapes(shape, wanted)
    except ValueError as error:
        raise node.refuse(f"a sample of shape {shape} does not broadcast to {wanted}") from error
    node.check_size(out)
    chain(node, node.value(), _repeats(shape, out))


def expanded(node: OnnxNode, value: str, out: Shape) -> str:
    """Return ``value`` with its axes of length 1 repeated as in ``out``, a shape of the same rank."""
    for op in _repeats(node.context.types[value].shape, out):
        value = node.emit(Moved(op), value)
    return value


def _repeats(shape: Shape, out: Shape) -> list[MoveOp]:
    return [Take(a, (0,) * n) for a, (d, n) in enumerate(zip(shape, out, strict=True)) if d != n]


def chain(node: OnnxNode, value: str, ops: Sequence[MoveOp], layout: Layout | None = None) -> None:
    """Let the node's output be ``value`` after moves of one source, or ``value`` itself."""
    for op in ops[:-1]:
        value = node.emit(Moved(op), value)
    if ops:
        node.move(ops[-1], value, layout=layout)
    else:
        node.alias(value, layout)


def depth_to_space(node: OnnxNode) -> None:
    """Both orders of channels (DCR, CRD)."""
    block, (c, h, w) = _block(node)
    if c % (block * block):
        raise node.refuse(f"{c} channels do not make blocks of {block} x {block}")
    depth, crd = c // (block * block), node.attr("mode", "DCR") == "CRD"
    apart, order = ((depth, block, block), (0, 3, 1, 4, 2)) if crd else ((block, block, depth), (2, 3, 0, 4, 1))
    split = node.emit(Moved(Reshape((*apart, h, w))), node.value())
    turned = node.emit(Moved(Transpose(order)), split)
    node.move(Reshape((depth, h * block, w * block)), turned)


def space_to_depth(node: OnnxNode) -> None:
    """Blocks of pixels become channels."""
    block, (c, h, w) = _block(node)
    if h % block or w % block:
        raise node.refuse(f"a map of {h} x {w} does not fall into blocks of {block} x {block}")
    split = node.emit(Moved(Reshape((c, h // block, block, w // block, block))), node.value())
    turned = node.emit(Moved(Transpose((2, 4, 0, 1, 3))), split)
    node.move(Reshape((c * block * block, h // block, w // block)), turned)


def _block(node: OnnxNode) -> tuple[int, Shape]:
    block, shape = int(node.attr("blocksize", 0)), node.shape()
    if len(shape) != 3 or block < 1:
        raise node.refuse(f"blocksize = {block} on a sample of shape {shape}; it needs channels and two space axes")
    return block, shape


def pad(node: OnnxNode) -> None:
    """With a finite constant, by reflection, with the edge or around, on any axis but the batch; negative pads cut."""
    mode, shape = str(node.attr("mode", "constant")), node.shape()
    full, value = _pads(node, shape), node.value()
    if min(min(p) for p in full) < 0:
        cut = tuple((max(-b, 0), d - max(-a, 0), 1) for (b, a), d in zip(full, shape, strict=True))
        if any(start >= stop for start, stop, _ in cut):
            raise node.refuse(f"pads {list(full)} leave nothing of {shape}")
        shape = tuple(stop - start for start, stop, _ in cut)
        value, full = node.emit(Moved(Slice(cut)), value), tuple((max(b, 0), max(a, 0)) for b, a in full)
    node.check_size([d + before + after for d, (before, after) in zip(shape, full, strict=True)])
    if mode == "constant":
        return _pad_constant(node, value, full)
    if mode not in ("reflect", "edge", "wrap"):
        raise node.refuse(f"mode = {mode!r} is unknown")
    if mode == "reflect" and any(max(p) >= d for p, d in zip(full, shape, strict=True)):
        raise node.refuse(f"it reflects more elements than there are: pads {list(full)} of {shape}")
    ends = [(axis, d, p) for axis, (d, p) in enumerate(zip(shape, full, strict=True)) if any(p)]
    return chain(node, value, [Take(axis, _border(d, p, mode)) for axis, d, p in ends])


def _border(length: int, pads: tuple[int, int], mode: Any) -> tuple[int, ...]:
    return tuple(int(i) for i in np.pad(np.arange(length), pads, mode=mode))


def _pads(node: OnnxNode, shape: Shape) -> Pads:
    """Return (before, after) per axis of one sample. Refuses pads of the batch."""
    pads = node.attr_or_input("pads", 1) or ()
    rank = node.rank()
    axes = [int(a) for a in node.attr_or_input("axes", 3) or range(rank)]
    if len(pads) != 2 * len(axes):
        raise node.refuse(f"pads = {list(pads)} does not fit {len(axes)} axes")
    full = [(0, 0)] * len(shape)
    for i, raw in enumerate(axes):
        before, after = pads[i], pads[i + len(axes)]
        if raw % rank == node.layout.axis and before == after == 0:
            continue
        full[node.sample_axis(raw, rank)] = (before, after)
    return tuple(full)


def _pad_constant(node: OnnxNode, value: str, pads: Pads) -> None:
    given = node.constant(2) if node.has_input(2) else np.asarray(node.attr("value", 0.0))
    if given is None:
        raise node.refuse("its value is not a constant", "export the model with a fixed value")
    fill = float(np.asarray(given, np.float64).reshape(-1)[0]) if np.size(given) else 0.0
    if not np.isfinite(fill):
        raise node.refuse(f"it pads with {fill}", "use the pads of the max pool behind it instead")
    if fill == 0 or not any(b or a for b, a in pads):
        return node.move(Pad(pads), value)
    inside = np.pad(np.zeros(node.context.types[value].shape), pads, constant_values=fill)
    return with_offset(node, node.emit(Moved(Pad(pads)), value), inside)


def with_offset(node: OnnxNode, value: str, offset: np.ndarray) -> None:
    """Let the node's output be ``value`` plus an offset of its shape, which the reader's bias takes in."""
    node.result(Linear(Identity(np.ones((1,) * offset.ndim)), offset), value)


IMPORTERS = {
    "Gather": gather,
    "Slice": slice_,
    "Tile": tile,
    "Expand": expand,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Pad": pad,
}
