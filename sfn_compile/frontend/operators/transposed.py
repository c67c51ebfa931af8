"""ConvTranspose, as a Conv with stride 1 to one set of channels per sub-pixel phase, and a pixel shuffle.

With stride s, place q of the result has phase ``e = q mod s`` and block ``m = q div s``. A tap t reaches it from place
i of the input where ``q + before = i s + t d`` (``before``: what pads cut off). So taps with ``e + before - t d = 0``
modulo s read ``x[m + (e + before - t d) div s]``: each phase is a convolution over blocks, and no zeros are put between
the inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...graph.ops import Linear
from ...program.network import Conv, MoveOp, Pads, Reshape, Shape, Slice, Transpose
from ..onnx_node import OnnxNode
from ..windows import spread
from .picks import chain

Array = NDArray[Any]


def conv_transpose(node: OnnxNode) -> None:
    """1-D and 2-D; stride, dilation, groups, pads, auto_pad, output_padding, output_shape; constant weights."""
    shape = node.shape()
    weight = np.asarray(node.need_constant(1, "weight"), np.float64)
    n = weight.ndim - 2
    if n not in (1, 2) or len(shape) != n + 1:
        raise node.refuse(f"a ConvTranspose over {n} space axes of input {shape}; 1 and 2 are supported")
    groups = int(node.attr("group", 1))
    if shape[0] != weight.shape[0] or groups < 1 or shape[0] % groups:
        raise node.refuse(f"weight {weight.shape} with {groups} groups does not fit {shape[0]} input channels")
    c_out = weight.shape[1] * groups
    bias = np.asarray(node.need_constant(2, "bias") if node.has_input(2) else np.zeros(c_out), np.float64)
    if bias.shape != (c_out,):
        raise node.refuse(f"bias of shape {bias.shape} does not fit {c_out} output channels")
    strides, dilations = spread(node, "strides", n), spread(node, "dilations", n)
    before, out = _places(node, shape[1:], weight.shape[2:], strides, dilations)
    reach = [(k - 1) * d // s + 2 for k, d, s in zip(weight.shape[2:], dilations, strides, strict=True)]
    node.check_size([c_out, *out])
    node.check_size([c_out, weight.shape[0] // groups, *strides, *reach])  # of the kernel of all phases
    kernel, low = phase_weight(weight, strides, dilations, before, groups)
    pads = _block_pads(shape[1:], kernel.shape[2:], strides, low, out)
    conv = Conv(kernel, (1,) * n, pads, (1,) * n, groups)
    column = np.repeat(bias, int(np.prod(strides))).reshape(-1, *(1,) * n)
    if all(s == 1 for s in strides) and conv.out_shape(shape)[1:] == out:
        return node.result(Linear(conv, column), node.value())
    blocks = conv.out_shape(shape)[1:]
    moves = shuffle(c_out, strides, blocks)
    if any(b * s != o for b, s, o in zip(blocks, strides, out, strict=True)):
        moves.append(Slice(((0, c_out, 1), *((0, o, 1) for o in out))))
    return chain(node, node.emit(Linear(conv, column), node.value()), moves)


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


def phase_weight(
    weight: Array, strides: Sequence[int], dilations: Sequence[int], before: Sequence[int], groups: int
) -> tuple[Array, Shape]:
    """Return the weight ``(c_out * phases, c_in / groups, *k)`` of a Conv for that of a ConvTranspose, and the first
    place per axis, relative to the block, that it reads.

    ``weight`` is ``(c_in, c_out / groups, *k)``. Channel ``c * phases + e`` is phase e of channel c, e in row-major
    order of the strides. Kernels are as long as all phases of a block reach.
    """
    c_in, per_out, *kernel = weight.shape
    reads = [_reads(*axis) for axis in zip(kernel, strides, dilations, before, strict=True)]
    low = tuple(min(0, *(at for _, at in axis)) for axis in reads)
    size = tuple(max(at for _, at in axis) - lo + 1 for axis, lo in zip(reads, low, strict=True))
    grouped = weight.reshape(groups, c_in // groups, per_out, *kernel)
    made = np.zeros((groups, per_out, *strides, c_in // groups, *size))
    for tap in np.ndindex(*kernel):
        phase = tuple(axis[t][0] for axis, t in zip(reads, tap, strict=True))
        place = tuple(axis[t][1] - lo for axis, t, lo in zip(reads, tap, low, strict=True))
        made[(slice(None), slice(None), *phase, slice(None), *place)] += grouped[(..., *tap)].transpose(0, 2, 1)
    return made.reshape(groups * per_out * int(np.prod(strides)), c_in // groups, *size), low


def _reads(kernel: int, stride: int, dilation: int, before: int) -> list[tuple[int, int]]:
    """Return for every tap of one axis the phase that it belongs to, and the place relative to the block it reads."""
    phases = [(t * dilation - before) % stride for t in range(kernel)]
    return [(e, (e + before - t * dilation) // stride) for t, e in enumerate(phases)]


def _block_pads(space: Shape, kernel: Shape, strides: Shape, low: Shape, out: Shape) -> Pads:
    """Return the pads with which the Conv computes every block of the result from the first one on."""
    axes = zip(space, kernel, strides, low, out, strict=True)
    return tuple((-lo, max(-(-o // s) - 1 + lo + k - x, 0)) for x, k, s, lo, o in axes)


def shuffle(channels: int, phases: Sequence[int], blocks: Shape) -> list[MoveOp]:
    """Return the moves that put the phases of ``(channels * phases, *blocks)`` beside each other in space."""
    if all(p == 1 for p in phases):
        return []
    n = len(blocks)
    order = (0, *(a for i in range(n) for a in (1 + n + i, 1 + i)))
    whole = tuple(b * p for b, p in zip(blocks, phases, strict=True))
    return [Reshape((channels, *phases, *blocks)), Transpose(order), Reshape((channels, *whole))]


IMPORTERS = {"ConvTranspose": conv_transpose}
