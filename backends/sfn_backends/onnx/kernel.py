"""A whole population in one ``QLinearConv``: uint8 codes, int8 weights, int32 accumulators, uint8 codes out.

Its requantisation ``round(acc * scale)`` is the neuron's floor division where theta is odd: :func:`.firing.shifts`, and
the proof in ``docs/spec/targets.md``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from sfn_backends.onnx import line, skips
from sfn_backends.onnx.firing import clip, rounds_exactly
from sfn_backends.onnx.net import Net
from sfn_backends.onnx.parts import Part, as_conv, join, joinable, weight_zero
from sfn_backends.onnx.sums import flat_pads
from sfn_backends.onnx.values import Held, Values, fits_byte, zero_of
from sfn_compile.program.broadcast import channel_vector
from sfn_compile.program.network import (
    Conv,
    Dense,
    Gather,
    Identity,
    LinearMap,
    Population,
    Readout,
    Shape,
    SumPool,
    Uniform,
)

Array = NDArray[Any]
_INT32 = 2**31
_LARGEST_SQUARE = 1024  # a skip beside another projection is written as a square matrix


@dataclass(frozen=True, eq=False)
class Neuron:
    """``code = clip(round((acc + bias) * scale) - rise, lo, hi)`` per channel, held as ``code + zero``.

    Scales are float32. A ``rise`` takes a second kernel, which lowers the codes of the first; both are cut to a byte.
    """

    scale: Array
    bias: Array
    lo: int
    hi: int
    zero: int
    rise: Array | None = None


def write(net: Net, values: Values, step: Population) -> bool:
    """Add the population as one integer kernel and hold its codes; False, nothing added, where that is not exact."""
    if step.products:
        return False
    rows = len(step.shape) == 1 or any(isinstance(p.map, Dense) for p in step.projections)
    neuron = _neuron(values, step, -1 if rows else 0)
    parts = [_part(p.source, values[p.source], p.map, rows) for p in step.projections]
    if neuron is None or any(p is None for p in parts):
        return False
    found = skips.gathered([p for p in parts if p is not None])
    if not joinable(found) or not _fits(found, neuron):
        return False
    laid_out = [replace(p, tensor=_read(net, values, p, rows)) for p in found]
    out = (step.shape[-1], 1, 1) if rows else _plane(step.shape)
    codes = _convolve(net, laid_out, neuron, out)
    values.hold(step.name, _lay_back(net, codes, step.shape, rows), "uint8", neuron.zero)
    return True


def _neuron(values: Values, step: Population, axis: int) -> Neuron | None:
    """Return the ladder as the kernel's requantisation: by the proof for odd thetas, else by a checked line."""
    ladder, info = step.ladder, values.info[step.name]
    if isinstance(ladder, Readout) or not fits_byte(info):
        return None
    if isinstance(ladder, Uniform) and (ladder.theta % 2).all() and rounds_exactly(ladder.theta, info.lo, info.hi):
        theta, offset = (channel_vector(a.astype(np.int64), step.shape, axis) for a in (ladder.theta, ladder.offset))
        if theta is None or offset is None:
            return None
        scale = np.float32(1) / theta.astype(np.float32)
        return Neuron(scale, offset - (theta - 1) // 2, info.lo, info.hi, zero_of(info))
    return _line(step, axis, zero_of(info))


def _line(step: Population, axis: int, zero: int) -> Neuron | None:
    rows = line.rows_of(step)
    channels = None if rows is None else channel_vector(np.arange(len(rows.tau)).reshape(rows.shape), step.shape, axis)
    if rows is None or channels is None:
        return None
    found, rise = line.for_kernel(rows), None
    if found is None:
        found, rise = line.for_two_kernels(rows) or (None, None)
    if found is None:
        return None
    scale, shift = found.scale[channels], found.shift[channels].astype(np.int64)
    return Neuron(scale, shift, int(found.lo[0]), int(found.hi[0]), zero, None if rise is None else rise[channels])


def _part(source: str, held: Held, linear: LinearMap, rows: bool) -> Part | None:
    """Return a projection as a part without its tensor; None where it is no convolution of a uint8 tensor."""
    if held.kind not in ("uint8", "int8") or not fits_byte(held.info):
        return None
    shape = held.info.shape
    conv = _square(linear, shape) if rows else as_conv(linear, shape)
    if conv is None:
        return None
    plane = (shape[-1], 1, 1) if rows else _plane(shape)
    return Part(source, held.byte_zero, held.info.hi + held.byte_zero, plane, conv, lone=False)


def _read(net: Net, values: Values, part: Part, rows: bool) -> str:
    """Return what a part reads: its source's tensor with two space axes, amplified."""
    return skips.amplified(net, _lay_out(net, values.raw(part.source).tensor, part, rows), part)


def _square(linear: LinearMap, shape: Shape) -> Conv | None:
    """Return a map of the last axis as a 1x1 convolution over it."""
    if isinstance(linear, Conv | SumPool | Gather):
        return None
    if isinstance(linear, Dense):
        weight = linear.weight.astype(np.int64)
    elif isinstance(linear, Identity):
        vector = channel_vector(linear.weight.astype(np.int64), shape, -1)
        if vector is None or shape[-1] > _LARGEST_SQUARE:
            return None
        weight = np.diag(vector)
    else:
        assert_never(linear)
    return Conv(weight[:, :, None, None], (1, 1), ((0, 0), (0, 0)), (1, 1))


def _fits(parts: list[Part], neuron: Neuron) -> bool:
    """Whether every int32 sum of the kernel fits, zeros included, and skips are not written out too large."""
    if len(parts) > 1 and any(p.conv.groups > _LARGEST_SQUARE for p in parts):
        return False
    largest = sum(int(np.abs(p.conv.weight).sum(axis=(1, 2, 3)).max(initial=0)) for p in parts) * 2 * 255
    return largest + int(np.abs(neuron.bias).max()) < _INT32


def _plane(shape: Shape) -> Shape:
    """Return ``(c, h, w)`` for a sample with two space axes, ``(c, 1, places)`` for one with fewer or more."""
    return shape if len(shape) == 3 else (shape[0], 1, math.prod(shape[1:]))


def _lay_out(net: Net, tensor: str, part: Part, rows: bool) -> str:
    """Return the tensor with two space axes; of rows ``(n, ..., c)`` as one image ``(1, c, 1, all rows)``.

    onnxruntime works channels last, so the transpositions around rows cancel: what is left is one matrix product.
    """
    if not rows:
        return net.add("Reshape", tensor, net.constant([-1, *part.shape], "int64")) if part.shape[1] == 1 else tensor
    image = net.add("Reshape", tensor, net.constant([1, 1, -1, part.shape[0]], "int64"))
    return net.add("Transpose", image, perm=[0, 3, 1, 2])


def _lay_back(net: Net, tensor: str, shape: Shape, rows: bool) -> str:
    if not rows and len(shape) == 3:
        return tensor
    last = net.add("Transpose", tensor, perm=[0, 2, 3, 1]) if rows else tensor
    return net.add("Reshape", last, net.constant([-1, *shape], "int64"))


def _convolve(net: Net, parts: list[Part], neuron: Neuron, out: Shape) -> str:
    joined = join(net, parts, out)
    conv, zero = joined.conv, joined.zero
    # A part whose zero is not that of the joined tensor brings along a constant.
    extra = sum(p.conv.weight.sum(axis=(1, 2, 3)) * (p.zero - zero) for p in parts)
    one, middle = net.constant(1, "float32"), weight_zero(parts)
    kind = "uint8" if middle else "int8"
    codes = net.add(
        "QLinearConv", joined.tensor, one, net.constant(zero, "uint8"),
        net.constant(conv.weight + middle, kind), net.constant(neuron.scale), net.constant(middle, kind),
        one, net.constant(neuron.zero, "uint8"), net.constant(neuron.bias - extra, "int32"),
        kernel_shape=conv.weight.shape[2:], strides=conv.strides, pads=flat_pads(conv.pads), dilations=conv.dilations,
        group=conv.groups,
    )  # fmt: skip
    if neuron.rise is not None:
        codes = _lowered(net, codes, neuron.rise)
    codes = clip(net, codes, neuron.lo + neuron.zero, neuron.hi + neuron.zero, "uint8")
    return _image(net, codes, out) if joined.flat else codes


def _image(net: Net, codes: str, out: Shape) -> str:
    """Return the images ``(n, c, h, w)`` of a tensor in which all pixels of all samples are in one row."""
    last = net.add("Transpose", codes, perm=[0, 2, 3, 1])
    images = net.add("Reshape", last, net.constant([-1, *out[1:], out[0]], "int64"))
    return net.add("Transpose", images, perm=[0, 3, 1, 2])


def _lowered(net: Net, codes: str, by: Array) -> str:
    """Add a depthwise kernel that subtracts a constant of each channel; what falls below 0 becomes 0."""
    one, none = net.constant(1, "float32"), net.constant(0, "uint8")
    return net.add(
        "QLinearConv", codes, one, none, net.constant(np.ones((len(by), 1, 1, 1), np.int8)), one,
        net.constant(0, "int8"), one, none, net.constant(-by, "int32"), kernel_shape=(1, 1), group=len(by),
    )  # fmt: skip
