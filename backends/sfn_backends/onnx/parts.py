"""A population's projections as 2-D convolutions of uint8 tensors, joined into the one convolution that fires.

One ``QLinearConv`` takes one tensor, so several projections are joined along channels. A kernel of several rows is then
laid out row by row (the rows of its windows beside each other as channels), so that a 1x1 skip beside it costs as many
multiplications as the kernel has columns, not as many as it has elements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from sfn_backends.onnx.net import Net
from sfn_backends.onnx.sums import flat_pads
from sfn_compile.program import arithmetic
from sfn_compile.program.broadcast import channel_vector
from sfn_compile.program.network import Conv, Dense, Gather, Identity, LinearMap, Shape, SumPool
from sfn_compile.program.weights import ungrouped

Array = NDArray[Any]

# x86 without VNNI adds two neighbouring products of a uint8 and an int8 in 16 bits that saturate.
PAIR = 32767
LARGEST_WEIGHT = 127  # -128 would saturate the same sum in the kernels of ARM
MAX_COPIES, CHEAP_COPIES = 4, 2

# Measured: below so many channels the kernel's own gathering of windows costs more than laying out rows, and from so
# many on whole windows are laid out as fast as rows.
THIN, BROAD = 16, 64
BLOCK = 4  # channels; the kernel copies its input once more where they are not so many or a multiple
SMALL = 65  # pixels; the kernel works image by image, and smaller ones leave its blocks half empty


@dataclass(frozen=True, eq=False)
class Part:
    """One projection: ``conv`` (two space axes) of ``tensor - zero``, whose uint8 values reach ``top``.

    ``shape`` is the tensor's ``(c, h, w)``. ``lone``: the population has no other projection. The tensor holds the
    codes of ``source`` times ``gain``. ``diagonal``: of two neighbouring products one is 0.
    """

    source: str
    zero: int
    top: int
    shape: Shape
    conv: Conv
    lone: bool
    tensor: str = ""
    gain: int = 1
    diagonal: bool = False

    @property
    def bound(self) -> int:
        """The largest weight with which no pair of products saturates; depthwise kernels add in 32 bits.

        A kernel of one channel is no depthwise one.
        """
        if self.lone and 1 < self.conv.groups == self.shape[0] == len(self.conv.weight):
            return LARGEST_WEIGHT
        return min(LARGEST_WEIGHT, PAIR // max((1 if self.diagonal else 2) * self.top, 1))

    @property
    def copies(self) -> int:
        """How often the tensor must be read so that each weight is a sum of weights within :attr:`bound`."""
        return max(1, -(-int(np.abs(self.conv.weight).max(initial=0)) // self.bound))

    @property
    def width(self) -> int:
        """Columns of the kernel."""
        return int(self.conv.weight.shape[3])

    @property
    def taps(self) -> int:
        """Elements of the kernel."""
        return int(np.prod(self.conv.weight.shape[2:]))

    @property
    def home(self) -> int:
        """The column of the kernel that reads the column of its own output (where the stride is 1)."""
        before, step = self.conv.pads[1][0], self.conv.dilations[1]
        return before // step if before % step == 0 else self.width

    def split(self, weight: Array) -> list[Array]:
        """Return :attr:`copies` arrays within :attr:`bound` that add up to ``weight``."""
        out = []
        for _ in range(self.copies):
            out.append(np.clip(weight, -self.bound, self.bound))
            weight = weight - out[-1]
        return out


@dataclass(frozen=True, eq=False)
class Joined:
    """All parts as one convolution of one tensor. ``flat``: all pixels of the batch are in one row of one image."""

    tensor: str
    conv: Conv
    zero: int
    flat: bool = False


def as_conv(linear: LinearMap, source: Shape) -> Conv | None:
    """Return a map of ``(c, *space)`` as a convolution with two space axes (one put in front); None if it is none.

    More than two space axes, which only an Identity has, count as one.
    """
    conv = _spread(linear, source)
    if conv is None or len(conv.strides) == 2:
        return conv
    return Conv(conv.weight[:, :, None], (1, *conv.strides), ((0, 0), *conv.pads), (1, *conv.dilations), conv.groups)


def _spread(linear: LinearMap, source: Shape) -> Conv | None:
    if isinstance(linear, Conv):
        return replace(linear, weight=linear.weight.astype(np.int64))
    if isinstance(linear, Dense | Gather):
        return None
    if not isinstance(linear, Identity | SumPool):
        assert_never(linear)
    ones = (1,) * min(len(source) - 1, 2)
    per_channel = channel_vector(linear.weight, linear.out_shape(source), 0)
    if per_channel is None:
        return None
    weight = per_channel.astype(np.int64).reshape(-1, 1, *ones)
    if isinstance(linear, Identity):
        return Conv(weight, ones, ((0, 0),) * len(ones), ones, source[0])
    return Conv(weight * np.ones(linear.kernel, np.int64), linear.strides, linear.pads, ones, source[0])


def joinable(parts: list[Part]) -> bool:
    """Whether :func:`join` can make one convolution of the parts."""
    copies = 1 if weight_zero(parts) else max(p.copies for p in parts)
    if copies > MAX_COPIES:
        return False
    if len(parts) == 1:
        return copies == 1 or parts[0].conv.groups == 1 or parts[0].taps == 1
    return all(p.conv.groups == 1 or p.conv.weight[0, 0].size == 1 for p in parts)


def weight_zero(parts: list[Part]) -> int:
    """Return the zero of uint8 weights, or 0 for int8 ones.

    Products of two uint8 saturate on no machine, but their kernels take as long as int8 kernels with two copies.
    """
    lowest = min(0, *(int(p.conv.weight.min()) for p in parts))
    highest = max(0, *(int(p.conv.weight.max()) for p in parts))
    cheap = max(p.copies for p in parts) <= (1 if parts[0].conv.groups > 1 else CHEAP_COPIES)
    return 0 if cheap or highest - lowest > 255 else -lowest


def join(net: Net, parts: list[Part], out: Shape) -> Joined:
    """Return joinable parts of a population ``(o, h, w)`` as one.

    Parts that no padding of the convolution touches may have other zeros: their share is a constant, for the bias.
    """
    first = parts[0]
    broad = max(p.shape[0] for p in parts) >= BROAD and any(p.taps > 1 for p in parts)
    if len(parts) > 1:
        return (_join_elements if broad or not _share_columns(parts, out[2]) else _join_rows)(net, parts, out)
    if broad and first.conv.groups == 1 and out[1] * out[2] < SMALL:
        return _join_elements(net, parts, out)
    if first.shape[0] >= THIN or first.conv.groups > 1 or first.conv.weight.shape[2] == 1:
        whole = first if weight_zero(parts) else _repeated(net, first)
        return Joined(whole.tensor, whole.conv, whole.zero)
    return _join_rows(net, parts, out)


def _repeated(net: Net, part: Part) -> Part:
    """Return a part that reads its tensor once: one whose channels are repeated, with weights within the bound."""
    if part.copies == 1:
        return part
    tensor = net.add("Concat", *[part.tensor] * part.copies, axis=1)
    weight = np.concatenate(part.split(ungrouped(part.conv)), axis=1)
    shape = (part.shape[0] * part.copies, *part.shape[1:])
    return replace(part, tensor=tensor, shape=shape, conv=replace(part.conv, weight=weight, groups=1))


def _shares(parts: list[Part]) -> list[list[Array]]:
    """Return for each part the dense weights with which its tensor is read, once or several times."""
    weights = [ungrouped(p.conv) for p in parts]
    return [[w] if weight_zero(parts) else p.split(w) for p, w in zip(parts, weights, strict=True)]


def _share_columns(parts: list[Part], columns: int) -> bool:
    """Whether one kernel row can serve all parts of a population of so many columns.

    Parts of several columns are alike, and what they read is; the others, which are cut to the population's columns,
    have a place in the kernel and are beside a tensor of as many.
    """
    wide = [p for p in parts if p.width > 1]
    alike = {
        (p.shape[2], p.width, p.home, p.conv.strides[1], p.conv.pads[1], p.conv.dilations[1], p.zero) for p in wide
    }
    alone = len(wide) == len(parts)
    fits = all(p.conv.strides[1] == 1 and p.home < p.width and p.shape[2] == columns for p in wide)
    return len(alike) <= 1 and (alone or fits)


def _join_rows(net: Net, parts: list[Part], out: Shape) -> Joined:
    lead = max(parts, key=lambda p: p.width)
    tensors: list[str] = []
    weights: list[Array] = []
    for part, shares in zip(parts, _shares(parts), strict=True):
        tensors += _rows(net, part, out) * len(shares)
        weights += [_placed(w[:, :, i : i + 1], lead) for w in shares for i in range(w.shape[2])]
    for _ in range(_fillers(weights)):
        tensors.append(tensors[-1])
        weights.append(np.zeros_like(weights[-1]))
    stride, pads, dilation = 1, (0, 0), 1
    if lead.width > 1:
        stride, pads, dilation = lead.conv.strides[1], lead.conv.pads[1], lead.conv.dilations[1]
    joined = Conv(np.concatenate(weights, axis=1), (1, stride), ((0, 0), pads), (1, dilation))
    image = net.add("Concat", *tensors, axis=3)
    return Joined(net.add("Transpose", image, perm=[0, 3, 1, 2]), joined, lead.zero)


def _fillers(weights: list[Array]) -> int:
    """Return how often the last row is read once more, for nothing, so that channels come in whole blocks."""
    channels, last = sum(w.shape[1] for w in weights), weights[-1].shape[1]
    return next((n for n in range(BLOCK) if (channels + n * last) % BLOCK == 0), 0)


def _placed(row: Array, lead: Part) -> Array:
    """Return the weights of one row ``(o, c, 1, kw)`` in a kernel as wide as the leading one."""
    if row.shape[3] == lead.width:
        return row
    return np.pad(row, ((0, 0), (0, 0), (0, 0), (lead.home, lead.width - 1 - lead.home)))


def _rows(net: Net, part: Part, out: Shape) -> list[str]:
    """Return one tensor ``(n, h, w, c)`` per row of the kernel: what that row reads, output row by output row.

    Columns are left to the joined convolution, unless the kernel has only one.
    """
    conv, last = part.conv, _last(net, part)
    pads = (conv.pads[0], conv.pads[1] if part.width == 1 else (0, 0))
    size = [n + sum(p) for n, p in zip(part.shape[1:], pads, strict=True)]
    columns = (0, out[2], conv.strides[1]) if part.width == 1 else (0, size[1], 1)
    padded = last
    if any(map(any, pads)):
        written = net.constant(flat_pads(((0, 0), *pads, (0, 0))), "int64")
        padded = net.add("Pad", last, written, net.constant(part.zero, "uint8"))
    rows = []
    for i in range(conv.weight.shape[2]):
        cut = [(i * conv.dilations[0], out[1], conv.strides[0]), columns]
        whole = [(before, n, 1) for (before, _), n in zip(pads, part.shape[1:], strict=True)]
        rows.append(last if cut == whole else _cut(net, padded, cut))
    return rows


def _last(net: Net, part: Part) -> str:
    """Return the tensor with channels last, the order of onnxruntime's kernels: the transpositions cancel."""
    return net.add("Transpose", part.tensor, perm=[0, 2, 3, 1])


def _cut(net: Net, tensor: str, cuts: list[tuple[int, int, int]]) -> str:
    """Return ``count`` rows and columns from ``start`` on in steps of ``step``."""
    starts, steps = [c[0] for c in cuts], [c[2] for c in cuts]
    stops = [start + (count - 1) * step + 1 for start, count, step in cuts]
    return net.add("Slice", tensor, *(net.constant(v, "int64") for v in (starts, stops, [1, 2], steps)))


def _join_elements(net: Net, parts: list[Part], out: Shape) -> Joined:
    """Lay out whole windows, channels last: a matrix product without zeros in it, for moving more bytes.

    All parts are read in one go, in units of channels that divide each of them, unless those are too small to copy.
    """
    shares = _shares(parts)
    weights = [w.transpose(0, 2, 3, 1).reshape(out[0], -1, 1, 1) for some in shares for w in some]
    counted = list(zip(parts, map(len, shares), strict=True))
    groups = [counted] if math.gcd(*(p.shape[0] for p in parts)) >= THIN else [[c] for c in counted]
    windows = [_windows(net, some, out) for some in groups]
    rows = windows[0] if len(windows) == 1 else net.add("Concat", *windows, axis=3)
    joined = Conv(np.concatenate(weights, axis=1), (1, 1), ((0, 0), (0, 0)), (1, 1))
    return Joined(net.add("Transpose", rows, perm=[0, 3, 1, 2]), joined, parts[0].zero, flat=True)


def _windows(net: Net, parts: list[tuple[Part, int]], out: Shape) -> str:
    """Return ``(1, 1, n * h * w, elements of all windows)``, a window as (row, column, channel), of parts so often."""
    unit, start = math.gcd(*(p.shape[0] for p, _ in parts)), 0
    tensors, indices = [], []
    for part, times in parts:
        size, each = part.shape[1] * part.shape[2], part.shape[0] // unit
        flat = net.add("Reshape", _last(net, part), net.constant([-1, size * each, unit], "int64"))
        index = _window_index(part.conv, part.shape[1:]).reshape(out[1] * out[2], -1)
        outside = index[..., None] == size
        if outside.any():
            edge = net.constant([0, 0, 0, 0, 1, 0], "int64")
            flat = net.add("Pad", flat, edge, net.constant(part.zero, "uint8"))
        units = np.where(outside, size * each, index[..., None] * each + np.arange(each))
        indices += [start + units.reshape(len(index), -1)] * times
        start += size * each + int(outside.any())
        tensors.append(flat)
    whole = np.concatenate(indices, axis=1)
    found = tensors[0] if len(tensors) == 1 else net.add("Concat", *tensors, axis=1)
    if not np.array_equal(whole.reshape(-1), np.arange(start)):
        found = net.add("Gather", found, net.constant(whole.reshape(-1), "int32"), axis=1)
    return net.add("Reshape", found, net.constant([1, 1, -1, whole.shape[1] * unit], "int64"))


def _window_index(conv: Conv, plane: Shape) -> Array:
    """Return where each element of each window is in the flattened plane; one behind its end is code 0."""
    places = np.arange(plane[0] * plane[1]).reshape(1, 1, *plane)
    view = arithmetic.windows(places, conv.weight.shape[2:], conv.strides, conv.dilations, conv.pads, fill=places.size)
    return np.asarray(view[0, 0])
