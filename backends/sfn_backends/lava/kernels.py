"""Convolutions and pools as Lava's Conv takes them: 2-D, flipped, width first, padded alike on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_compile.program.network import Conv, Pads, Shape, SumPool

Array = NDArray[Any]
INT8 = 127  # Lava keeps kernel size, stride, padding, dilation and groups in int8


@dataclass(frozen=True, eq=False)
class Kernel:
    """A 2-D cross-correlation ``(o, c/groups, kh, kw)`` with pads (before, after) per axis, height first."""

    weight: Array
    strides: tuple[int, ...]
    pads: Pads
    dilations: tuple[int, ...]
    groups: int

    @property
    def padding(self) -> tuple[int, ...]:
        """The common padding of both sides: the larger of the two."""
        return tuple(max(p) for p in self.pads)

    @property
    def symmetric(self) -> bool:
        """Whether both sides are padded alike."""
        return all(before == after for before, after in self.pads)

    def fits(self) -> bool:
        """Return whether Lava's Conv holds the parameters."""
        sizes = (*self.weight.shape[2:], *self.strides, *self.padding, *self.dilations, self.groups)
        return all(size <= INT8 for size in sizes)


def of(linear: Conv | SumPool, channels: int) -> Kernel | None:
    """Return a map over (channel, length) or (channel, height, width) as one kernel, None where it is no such thing."""
    if isinstance(linear, Conv):
        n, weight, dilations, groups = linear.weight.ndim - 2, linear.weight, linear.dilations, linear.groups
    else:
        n, groups, dilations = len(linear.kernel), channels, (1,) * len(linear.kernel)
        scale = _per_channel(linear.weight, n, channels)
        if scale is None:
            return None
        weight = np.broadcast_to(scale.reshape(-1, 1, *(1,) * n), (channels, 1, *linear.kernel))
    if n not in (1, 2):
        return None
    one, none = (1,) * (2 - n), ((0, 0),) * (2 - n)
    square = weight.reshape(*weight.shape[:2], *one, *weight.shape[2:])
    return Kernel(square, one + linear.strides, none + linear.pads, one + dilations, groups)


def _per_channel(weight: Array, n: int, channels: int) -> Array | None:
    full = weight.reshape((1,) * (n + 1 - weight.ndim) + weight.shape)
    return np.broadcast_to(full.reshape(-1), channels) if full.shape[1:] == (1,) * n else None


def to_conv(kernel: Kernel) -> Kernel:
    """Return the same map padded alike on both sides: zeros around the kernel make up for the difference."""
    if kernel.symmetric:
        return kernel
    o, c, *size = kernel.weight.shape
    spread = np.zeros((o, c, *((k - 1) * d + 1 for k, d in zip(size, kernel.dilations, strict=True))), np.int64)
    spread[:, :, :: kernel.dilations[0], :: kernel.dilations[1]] = kernel.weight
    margins = tuple((p - before, p - after) for p, (before, after) in zip(kernel.padding, kernel.pads, strict=True))
    weight = np.pad(spread, ((0, 0), (0, 0), *margins))
    return Kernel(weight, kernel.strides, tuple((p, p) for p in kernel.padding), (1, 1), kernel.groups)


def from_conv(weight: Array, pads: Pads, dilations: tuple[int, ...]) -> Array:
    """Return the kernel ``(o, c/groups, *k)`` that :func:`to_conv` took, from the one it made and the map's fields."""
    n = len(pads)
    if any(before != after for before, after in pads):
        inner = [slice(max(p) - p[0], size - max(p) + p[1]) for p, size in zip(pads, weight.shape[-n:], strict=True)]
        cut: list[Any] = [slice(s.start, s.stop, d) for s, d in zip(inner, dilations, strict=True)]
        weight = weight[(slice(None), slice(None), *[slice(None)] * (2 - n), *cut)]
    return weight.reshape(*weight.shape[:2], *weight.shape[4 - n :])


def flipped(weight: Array) -> Array:
    """Return ``(o, c, kh, kw)`` as Lava's ``(o, kw, kh, c)``, flipped because Lava convolves."""
    return np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1))


def unflipped(weight: Array) -> Array:
    """Return the inverse of :func:`flipped`."""
    return np.ascontiguousarray(weight.transpose(0, 3, 2, 1)[:, :, ::-1, ::-1])


def pool_weight(kernel: Array, shape: Shape) -> Array:
    """Return the weight of ``shape`` of the sum pool whose kernel is ``(c, 1, *k)``."""
    column = kernel.reshape(kernel.shape[0], -1)[:, 0]
    return column.reshape(shape) if column.size == int(np.prod(shape)) else column[:1].reshape(shape)
