"""ConvTranspose, as a Conv with stride 1 to one set of channels per sub-pixel phase, a pixel shuffle and a crop.

With stride s, place p of the uncropped result has phase ``r = p mod s`` and block ``m = p div s``. A tap t reaches it
from input place i where ``p = i s + t d``: taps with ``t d mod s = r`` read ``x[m - t d div s]``. So each phase is a
convolution over blocks, and no zeros are put between the inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ops import Linear, Moved
from ...program import Conv, Pads, Reshape, Shape, Slice, Transpose
from ..context import OnnxNode
from ..windows import spread


def conv_transpose(node: OnnxNode) -> None:
    """1-D and 2-D; stride, dilation, groups, pads, auto_pad, output_padding, output_shape; constant weights."""
    shape = node.shape()
    weight = np.asarray(node.need_constant(1, "weight"), np.float64)
    n = weight.ndim - 2
    if n not in (1, 2) or len(shape) != n + 1:
        raise node.refuse(f"a ConvTranspose over {n} space axes of input {shape}; 1 and 2 are supported")
    groups = int(node.attr("group", 1))
    if shape[0] != weight.shape[0] or shape[0] % groups:
        raise node.refuse(f"weight {weight.shape} with {groups} groups does not fit {shape[0]} input channels")
    c_out = weight.shape[1] * groups
    bias = np.asarray(node.need_constant(2, "bias") if node.has_input(2) else np.zeros(c_out), np.float64)
    if bias.shape != (c_out,):
        raise node.refuse(f"bias of shape {bias.shape} does not fit {c_out} output channels")
    strides, dilations = spread(node, "strides", n), spread(node, "dilations", n)
    before, out = _places(node, shape[1:], weight.shape[2:], strides, dilations)
    kernel = phase_weight(weight, strides, dilations, groups)
    pads, first = _blocks(shape[1:], kernel.shape[2:], strides, before, out)
    conv = Conv(kernel, (1,) * n, pads, (1,) * n, groups)
    column = np.repeat(bias, int(np.prod(strides))).reshape(-1, *(1,) * n)
    if all(s == 1 for s in strides) and not any(first) and conv.out_shape(shape)[1:] == out:
        return node.result(Linear(conv, column), node.value())
    whole = shuffled(node, node.emit(Linear(conv, column), node.value()), c_out, strides)
    return node.move(Slice(((0, c_out, 1), *((f, f + o, 1) for f, o in zip(first, out, strict=True)))), whole)


def _places(node: OnnxNode, space: Shape, kernel: Shape, strides: Shape, dilations: Shape) -> tuple[Shape, Shape]:
    """Return (elements cut before, length of the result) per axis."""
    n = len(space)
    extra = tuple(int(v) for v in node.attr("output_padding", (0,) * n))
    given = node.attr("output_shape")
    auto = node.attr("auto_pad", "NOTSET")
    spans = [s * (x - 1) + (k - 1) * d + 1 for x, k, s, d in zip(space, kernel, strides, dilations, strict=True)]
    if len(extra) != n or min(extra) < 0 or (given is not None and len(given) not in (n, n + 2)):
        raise node.refuse(f"output_padding = {list(extra)}, output_shape = {given} do not fit {n} space axes")
    if given is not None or auto in ("SAME_UPPER", "SAME_LOWER"):
        # SAME is at most as long as what the kernel reaches: onnxruntime adds no zeros behind it.
        same = tuple(min(x * s, span + e) for x, s, span, e in zip(space, strides, spans, extra, strict=True))
        out = tuple(int(v) for v in given[-n:]) if given is not None else same
        cut = [max(span + e - o, 0) for span, e, o in zip(spans, extra, out, strict=True)]
        before = tuple(c // 2 if auto == "SAME_UPPER" else c - c // 2 for c in cut)
    else:
        flat = tuple(int(p) for p in node.attr("pads", (0,) * (2 * n)))
        if len(flat) != 2 * n or min(flat) < 0:
            raise node.refuse(f"attribute pads = {list(flat)} is not {2 * n} numbers of 0 or more")
        flat = flat if auto == "NOTSET" else (0,) * (2 * n)
        before = flat[:n]
        out = tuple(s + e - b - a for s, e, b, a in zip(spans, extra, before, flat[n:], strict=True))
    if min(out) < 1:
        raise node.refuse(f"its pads leave nothing of {spans}")
    return before, out


def phase_weight(weight: np.ndarray, strides: Sequence[int], dilations: Sequence[int], groups: int) -> np.ndarray:
    """Return the weight ``(c_out * phases, c_in / groups, *k)`` of a Conv for that of a ConvTranspose.

    ``weight`` is ``(c_in, c_out / groups, *k)``. Channel ``c * phases + r`` is phase r of channel c, r in row-major order
    of the strides. Kernels are as long as the blocks that the taps reach, and flipped, so that they correlate.
    """
    c_in, per_out, *kernel = weight.shape
    axes = list(zip(kernel, strides, dilations, strict=True))
    reach = [(k - 1) * d // s for k, s, d in axes]
    grouped = weight.reshape(groups, c_in // groups, per_out, *kernel)
    made = np.zeros((groups, per_out, *strides, c_in // groups, *(r + 1 for r in reach)))
    for tap in np.ndindex(*kernel):
        phase = tuple(t * d % s for t, (_, s, d) in zip(tap, axes, strict=True))
        place = tuple(r - t * d // s for t, r, (_, s, d) in zip(tap, reach, axes, strict=True))
        made[(slice(None), slice(None), *phase, slice(None), *place)] += grouped[(..., *tap)].transpose(0, 2, 1)
    return made.reshape(groups * per_out * int(np.prod(strides)), c_in // groups, *(r + 1 for r in reach))


def _blocks(space: Shape, kernel: Shape, strides: Shape, before: Shape, out: Shape) -> tuple[Pads, Shape]:
    """Return the Conv's pads, which choose the blocks it computes, and where the result starts behind the shuffle."""
    pads, first = [], []
    for x, k, s, b, o in zip(space, kernel, strides, before, out, strict=True):
        low = min(b // s, k - 1)  # the first block; a Conv cannot start behind the first input
        pads.append((k - 1 - low, max((b + o - 1) // s - (x - 1), 0)))
        first.append(b - low * s)
    return tuple(pads), tuple(first)


def shuffled(node: OnnxNode, value: str, channels: int, strides: Sequence[int]) -> str:
    """Return a value ``(channels * phases, *blocks)`` with the phases beside each other in space."""
    blocks = node.context.types[value].shape[1:]
    n = len(blocks)
    if all(s == 1 for s in strides):
        return value
    apart = node.emit(Moved(Reshape((channels, *strides, *blocks))), value)
    order = (0, *(a for i in range(n) for a in (1 + n + i, 1 + i)))
    turned = node.emit(Moved(Transpose(order)), apart)
    return node.emit(Moved(Reshape((channels, *(b * s for b, s in zip(blocks, strides, strict=True))))), turned)


IMPORTERS = {"ConvTranspose": conv_transpose}
