"""Linear maps from codes into an accumulator. Meaning of every class: ``docs/spec/program.md``.

``apply`` computes by the definition (:mod:`.arithmetic`), in integers unless ``number`` says float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import arithmetic
from .arithmetic import Number

Array = NDArray[Any]
Shape = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Dense:
    """``acc[..., o] = sum_i weight[o, i] * s[..., i]``; weight ``(n_out, n_in)``."""

    weight: Array

    def out_shape(self, shape: Shape) -> Shape:
        """Return the accumulator's shape for a source of ``shape``."""
        return (*shape[:-1], self.weight.shape[0])

    def apply(self, s: Array, number: Number = np.int64) -> Array:
        """Return the accumulator of codes ``s`` ``(n, *shape)``."""
        return arithmetic.dense(s, self.weight, number)


@dataclass(frozen=True, eq=False)
class Conv:
    """ONNX ``Conv`` over 1 or 2 axes: weight ``(o, c/groups, *k)``, zero padded by (before, after) per space axis."""

    weight: Array
    strides: tuple[int, ...]
    pads: Pads
    dilations: tuple[int, ...]
    groups: int = 1

    def out_shape(self, shape: Shape) -> Shape:
        """Return the accumulator's shape for a source of ``shape`` ``(c, *space)``."""
        space = window_shape(shape[1:], self.weight.shape[2:], self.strides, self.pads, self.dilations)
        return (self.weight.shape[0], *space)

    def apply(self, s: Array, number: Number = np.int64) -> Array:
        """Return the accumulator of codes ``s`` ``(n, c, *space)``."""
        return arithmetic.conv(s, self.weight, self.strides, self.pads, self.dilations, self.groups, number)


@dataclass(frozen=True, eq=False)
class SumPool:
    """``weight * (sum of each window)``, zero padded; ``weight`` broadcasts against the output sample."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: Pads
    weight: Array

    def out_shape(self, shape: Shape) -> Shape:
        """Return the accumulator's shape for a source of ``shape`` ``(c, *space)``."""
        ones = (1,) * len(self.kernel)
        return (shape[0], *window_shape(shape[1:], self.kernel, self.strides, self.pads, ones))

    def apply(self, s: Array, number: Number = np.int64) -> Array:
        """Return the accumulator of codes ``s`` ``(n, c, *space)``."""
        return arithmetic.sum_pool(s, self.kernel, self.strides, self.pads, self.weight, number)


@dataclass(frozen=True, eq=False)
class Identity:
    """``weight * s``, element by element; ``weight`` broadcasts against one sample. A residual is one of these."""

    weight: Array

    def out_shape(self, shape: Shape) -> Shape:
        """Return the accumulator's shape: the source's own."""
        return shape

    def apply(self, s: Array, number: Number = np.int64) -> Array:
        """Return the accumulator of codes ``s``."""
        return arithmetic.identity(s, self.weight, number)


@dataclass(frozen=True, eq=False)
class Gather:
    """``weight * s.flat[index]`` with -1 reading code 0: any move followed by Identity, as one sparse matrix."""

    index: Array
    weight: Array

    def out_shape(self, shape: Shape) -> Shape:
        """Return the accumulator's shape: that of ``index``."""
        return tuple(self.index.shape)

    def apply(self, s: Array, number: Number = np.int64) -> Array:
        """Return the accumulator of codes ``s``."""
        return arithmetic.gather(s, self.index, self.weight, number)


LinearMap: TypeAlias = Dense | Conv | SumPool | Identity | Gather
MapName: TypeAlias = Literal["Dense", "Conv", "SumPool", "Identity", "Gather"]  # what a target says it can express


def window_shape(space: Shape, kernel: Shape, strides: Shape, pads: Pads, dilations: Shape) -> Shape:
    """Return the number of windows per axis: ``(x + before + after - ((k - 1) d + 1)) // stride + 1``."""
    return tuple(
        (x + sum(p) - ((k - 1) * d + 1)) // st + 1
        for x, k, st, p, d in zip(space, kernel, strides, pads, dilations, strict=True)
    )
