"""Order-preserving moves of codes, no arithmetic. Meaning of every class: ``docs/spec/program.md``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import arithmetic
from .linear_maps import Pads, Shape

Array = NDArray[Any]


@dataclass(frozen=True)
class Reshape:
    """The same elements in row-major order under another shape."""

    shape: Shape

    def apply(self, *xs: Array) -> Array:
        """Return the moved batch ``(n, *shape)``."""
        return xs[0].reshape(xs[0].shape[0], *self.shape)


@dataclass(frozen=True)
class Transpose:
    """Axis ``i`` of the result is axis ``perm[i]`` of the source (axes of one sample)."""

    perm: tuple[int, ...]

    def apply(self, *xs: Array) -> Array:
        """Return the moved batch."""
        return xs[0].transpose(0, *(p + 1 for p in self.perm))


@dataclass(frozen=True)
class Concat:
    """The sources joined along ``axis`` of one sample."""

    axis: int

    def apply(self, *xs: Array) -> Array:
        """Return the joined batch."""
        return np.concatenate(xs, axis=self.axis + 1)


@dataclass(frozen=True)
class Slice:
    """``x[start:stop:step]`` on every axis; ``ranges`` holds normalised (start, stop, step) with step > 0."""

    ranges: tuple[tuple[int, int, int], ...]

    def apply(self, *xs: Array) -> Array:
        """Return the cut batch."""
        return xs[0][(slice(None), *(slice(*r) for r in self.ranges))]


@dataclass(frozen=True)
class Pad:
    """Code 0 (the real number 0) added (before, after) on every axis."""

    pads: Pads

    def apply(self, *xs: Array) -> Array:
        """Return the padded batch."""
        return arithmetic.pad(xs[0], ((0, 0), *self.pads))


@dataclass(frozen=True)
class Take:
    """Element ``i`` along ``axis`` of one sample is element ``index[i]`` of the source; any order, repeats allowed."""

    axis: int
    index: tuple[int, ...]

    def apply(self, *xs: Array) -> Array:
        """Return the picked batch."""
        return xs[0].take(self.index, axis=self.axis + 1)


MoveOp: TypeAlias = Reshape | Transpose | Concat | Slice | Pad | Take
MoveName: TypeAlias = Literal["Reshape", "Transpose", "Concat", "Slice", "Pad", "Take"]  # of a target's capabilities
MOVES: frozenset[MoveName] = frozenset({"Reshape", "Transpose", "Concat", "Slice", "Pad", "Take"})
