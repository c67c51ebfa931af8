"""A population's projections as 2-D convolutions of uint8 tensors, joined into the one convolution that fires.

One ``QLinearConv`` takes one tensor, so several projections are joined along channels. A kernel of several rows is then
laid out row by row (the rows of its windows beside each other as channels), so that a 1x1 skip beside it costs as many
multiplications as the kernel has columns, not as many as it has elements.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_compile.legalize import ungrouped
from sfn_compile.passes.arrays import channel_vector
from sfn_compile.program import Conv, Identity, LinearMap, Shape, SumPool

from .net import Net
from .sums import flat_pads

Array = NDArray[Any]

# x86 without VNNI adds two neighbouring products of a uint8 and an int8 in 16 bits that saturate.
PAIR = 32767
LARGEST_WEIGHT = 127  # -128 would saturate the same sum in the kernels of ARM
MAX_COPIES = 4


@dataclass(frozen=True, eq=False)
class Part:
    """One projection: ``conv`` (two space axes) of ``tensor - zero``, whose uint8 values reach ``top``.

    ``shape`` is the tensor's ``(c, h, w)``.
    """

    tensor: str
    zero: int
    top: int
    shape: Shape
    conv: Conv

    @property
    def bound(self) -> int:
        """The largest weight with which no pair of products saturates."""
        return min(LARGEST_WEIGHT, PAIR // max(2 * self.top, 1))

    @property
    def copies(self) -> int:
        """How often the tensor must be read so that each weight is a sum of weights within :attr:`bound`."""
        return max(1, -(-int(np.abs(self.conv.weight).max(initial=0)) // self.bound))

    @property
    def width(self) -> int:
        """Columns of the kernel."""
        return int(self.conv.weight.shape[3])

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


def as_conv(linear: LinearMap, source: Shape) -> Conv | None:
    """Return a map of ``(c, *space)`` as a convolution with two space axes, a missing one in front; None if it is none."""
    conv = _spread(linear, source)
    if conv is None or len(conv.strides) == 2:
        return conv
    return Conv(conv.weight[:, :, None], (1, *conv.strides), ((0, 0), *conv.pads), (1, *conv.dilations), conv.groups)


def _spread(linear: LinearMap, source: Shape) -> Conv | None:
    if isinstance(linear, Conv):
        return replace(linear, weight=linear.weight.astype(np.int64))
    if not isinstance(linear, Identity | SumPool):
        return None
    ones = (1,) * (len(source) - 1)
    per_channel = channel_vector(linear.weight, linear.out_shape(source), 0)
    if per_channel is None:
        return None
    weight = per_channel.astype(np.int64).reshape(-1, 1, *ones)
    if isinstance(linear, Identity):
        return Conv(weight, ones, ((0, 0),) * len(ones), ones, source[0])
    return Conv(weight * np.ones(linear.kernel, np.int64), linear.strides, linear.pads, ones, source[0])


def joinable(parts: list[Part]) -> bool:
    """Whether :func:`join` can make one convolution of the parts."""
    if any(p.copies > MAX_COPIES for p in parts):
        return False
    if len(parts) == 1:
        return parts[0].copies == 1 or parts[0].conv.groups == 1
    if any(p.conv.groups > 1 and p.conv.weight[0, 0].size > 1 for p in parts):
        return False
    wide = [p for p in parts if p.width > 1]
    columns = {(p.width, p.home, p.conv.pads[1], p.conv.dilations[1], p.zero) for p in wide}
    return len(columns) <= 1 and all(p.conv.strides[1] == 1 and p.home < p.width for p in wide)


def join(net: Net, parts: list[Part], out: Shape) -> tuple[str, Conv, int]:
    """Return (tensor, convolution of it, zero of the tensor) for joinable parts of a population ``(o, h, w)``.

    Parts that no padding of the convolution touches may have other zeros: their share is a constant, for the bias.
    """
    if len(parts) > 1:
        return _join_rows(net, parts, out)
    (part,) = parts
    if part.copies == 1:
        return part.tensor, part.conv, part.zero
    tensor = net.add("Concat", *[part.tensor] * part.copies, axis=1)
    weight = np.concatenate(part.split(part.conv.weight), axis=1)
    return tensor, replace(part.conv, weight=weight), part.zero


def _join_rows(net: Net, parts: list[Part], out: Shape) -> tuple[str, Conv, int]:
    lead = max(parts, key=lambda p: p.width)
    tensors: list[str] = []
    weights: list[Array] = []
    for part in parts:
        rows = _rows(net, part, out)
        for weight in part.split(ungrouped(part.conv)):
            tensors += rows
            weights += [_placed(weight[:, :, i : i + 1], lead) for i in range(len(rows))]
    pads, dilation = (lead.conv.pads[1], lead.conv.dilations[1]) if lead.width > 1 else ((0, 0), 1)
    joined = Conv(np.concatenate(weights, axis=1), (1, 1), ((0, 0), pads), (1, dilation))
    return net.add("Concat", *tensors, axis=1), joined, lead.zero


def _placed(row: Array, lead: Part) -> Array:
    """Return the weights of one row ``(o, c, 1, kw)`` in a kernel as wide as the leading one."""
    if row.shape[3] == lead.width:
        return row
    return np.pad(row, ((0, 0), (0, 0), (0, 0), (lead.home, lead.width - 1 - lead.home)))


def _rows(net: Net, part: Part, out: Shape) -> list[str]:
    """Return one tensor ``(n, c, h, w)`` per row of the kernel: what that row reads, output row by output row.

    Columns are left to the joined convolution, unless the kernel has only one.
    """
    conv, column = part.conv, part.width == 1
    pads = (conv.pads[0], conv.pads[1] if column else (0, 0))
    tensor, size = part.tensor, [n + sum(p) for n, p in zip(part.shape[1:], pads, strict=True)]
    if any(map(any, pads)):
        written = net.constant(flat_pads(((0, 0), (0, 0), *pads)), "int64")
        tensor = net.add("Pad", tensor, written, net.constant(part.zero, "uint8"))
    columns = (0, out[2], conv.strides[1]) if column else (0, size[1], 1)
    starts = [i * conv.dilations[0] for i in range(conv.weight.shape[2])]
    return [_cut(net, tensor, [(start, out[1], conv.strides[0]), columns], size) for start in starts]


def _cut(net: Net, tensor: str, cuts: list[tuple[int, int, int]], size: list[int]) -> str:
    """Return of each space axis ``count`` elements from ``start`` on in steps of ``step``."""
    if all(cut == (0, n, 1) for cut, n in zip(cuts, size, strict=True)):
        return tensor
    starts, steps = [c[0] for c in cuts], [c[2] for c in cuts]
    stops = [start + (count - 1) * step + 1 for start, count, step in cuts]
    return net.add("Slice", tensor, *(net.constant(v, "int64") for v in (starts, stops, [2, 3], steps)))
