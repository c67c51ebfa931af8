"""Where each element of a resized axis comes from: coordinates, nearest neighbours, weights of linear and cubic.

``n_in``, ``n_out`` are the lengths of the axis, ``scale`` is onnxruntime's float32 scale of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# A scale given as a float32 stands for the fraction of small terms it is nearest to, where that is within its rounding.
_LARGEST_DENOMINATOR = 4096


@dataclass(frozen=True)
class Axis:
    """One axis to resize: lengths before and after, and its scale."""

    n_in: int
    n_out: int
    scale: float

    def exact_scale(self) -> Fraction:
        """Return the scale as the simplest fraction that float32 cannot tell from it."""
        found = Fraction(self.n_out, self.n_in)
        if abs(self.scale - found) > 2.0**-22 * self.scale:
            found = Fraction(self.scale).limit_denominator(_LARGEST_DENOMINATOR)
        close = abs(self.scale - found) <= 2.0**-22 * self.scale
        return found if close else Fraction(self.scale)


def coordinate(axis: Axis, mode: str, number: Callable[[Any], Any], scale: Any) -> Callable[[int], Any] | None:
    """Return the function from a place in the result to one in the source, None for an unknown ``mode``.

    ``number`` makes the numbers that are calculated with: float32 to round like onnxruntime, Fraction to be exact.
    """
    half, one, n_in, n_out = number(1) / number(2), number(1), number(axis.n_in), number(axis.n_out)
    spare = (n_in / number(2)) * (one - n_out / (scale * n_in))  # half of what the integer length cuts off
    wide = np.float64 if number is np.float32 else number  # onnxruntime takes this one mode in float64
    known: dict[str, Callable[[int], Any]] = {
        "half_pixel": lambda i: (number(i) + half) / scale - half,
        "asymmetric": lambda i: number(i) / scale,
        "pytorch_half_pixel": lambda i: (number(i) + half) / scale - half if axis.n_out > 1 else number(0),
        "align_corners": lambda i: number(i) * (n_in - one) / (n_out - one) if axis.n_out > 1 else number(0),
        "half_pixel_symmetric": lambda i: number(spare + (wide(i) + wide(half)) / wide(scale) - wide(half)),
        "tf_half_pixel_for_nn": lambda i: (number(i) + half) / scale,
    }
    return known.get(mode)


def nearest(axis: Axis, mode: str, rounding: str) -> list[int]:
    """Return the source element of every element of the result, rounded in float32 as onnxruntime does."""
    if axis.scale == 1:
        return list(range(axis.n_in))
    place = coordinate(axis, mode, np.float32, np.float32(axis.scale))
    assert place is not None
    return [min(max(_rounded(float(place(i)), rounding, axis.scale), 0), axis.n_in - 1) for i in range(axis.n_out)]


def _rounded(x: float, rounding: str, scale: float) -> int:
    if rounding == "floor":
        return math.floor(x)
    if rounding == "ceil":
        return math.ceil(x)
    if rounding == "simple":  # before opset 11
        return math.ceil(x) if scale < 1 else int(x)
    if rounding == "round_prefer_floor" and x == int(x) + 0.5:
        return math.floor(x)
    return math.floor(abs(x) + 0.5) * (1 if x >= 0 else -1)


def taps(axis: Axis, mode: str, cubic: float | None) -> tuple[Array, Array]:
    """Return (first source element, weights ``(n_out, 2 or 4)``) of every element of the result.

    Elements before the first and behind the last one are the first and the last one. ``cubic`` is the coefficient of
    the cubic kernel, None for linear.
    """
    place = coordinate(axis, mode, Fraction, axis.exact_scale())
    assert place is not None
    at = [place(i) for i in range(axis.n_out)]
    low = np.array([math.floor(x) for x in at])
    part = np.array([float(x - math.floor(x)) for x in at])
    if cubic is None:
        return low, np.stack([1 - part, part], axis=1)
    distances = (1 + part, part, 1 - part, 2 - part)
    return low - 1, np.stack([_cubic(d, cubic) for d in distances], axis=1)


def without_outside(first: Array, weight: Array, n_in: int) -> Array:
    """Return the weights with those of elements outside the source 0, the others scaled to the sum 1."""
    at = first[:, None] + np.arange(weight.shape[1])
    inside = np.where((at >= 0) & (at < n_in), weight, 0.0)
    return inside / inside.sum(axis=1, keepdims=True)


def _cubic(distance: Array, a: float) -> Array:
    """Return the cubic convolution kernel of coefficient ``a`` at distances 0..2 (Keys, 1981)."""
    d = distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, far)


@dataclass(frozen=True, eq=False)
class Phases:
    """A resized axis as a convolution: ``kernel (phases, k)`` at every ``stride`` elements from ``start`` on."""

    kernel: Array
    stride: int
    start: int

    def source(self, axis: Axis) -> list[int]:
        """Return the elements of the source that the convolution runs over, its ends repeated."""
        blocks = -(-axis.n_out // len(self.kernel))
        at = self.start + np.arange((blocks - 1) * self.stride + self.kernel.shape[1])
        return [int(i) for i in np.clip(at, 0, axis.n_in - 1)]


def phases(first: Array, weight: Array, most: int) -> Phases | None:
    """Return the convolution of at most ``most`` phases that does what the taps do; None where they never repeat."""
    n = len(first)
    for p in range(1, min(most, n) + 1):
        stride = int(first[p] - first[0]) if p < n else 1
        again = np.array_equal(first[p:], first[:-p] + stride) and np.array_equal(weight[p:], weight[:-p])
        if again and stride > 0:
            start = int(first[:p].min())
            kernel = np.zeros((p, int(first[:p].max()) - start + weight.shape[1]))
            for row, at, w in zip(kernel, first[:p] - start, weight[:p], strict=True):
                row[at : at + len(w)] += w
            used = np.flatnonzero(kernel.any(axis=0))
            return Phases(kernel[:, used[0] : used[-1] + 1], stride, start + int(used[0]))
    return None
