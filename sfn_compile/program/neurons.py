"""The neuron: what becomes of an accumulator. Meaning of every class: ``docs/spec/program.md``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import arithmetic

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Uniform:
    """``s = clip((acc + offset) floordiv theta, lo, hi)``; theta >= 1 and offset broadcast against the population."""

    theta: Array
    offset: Array
    lo: int
    hi: int

    def fire(self, acc: Array) -> Array:
        """Return the codes of accumulators ``(n, *shape)``, int32."""
        return arithmetic.fire_uniform(acc, self.theta, self.offset, self.lo, self.hi)

    def thresholds(self) -> Array:
        """Return the same neuron as sorted thresholds ``(*theta.shape, hi - lo)``: code lo + (number reached)."""
        levels = np.arange(self.lo + 1, self.hi + 1)
        theta, offset = np.broadcast_arrays(self.theta.astype(np.int64), self.offset.astype(np.int64))
        return theta[..., None] * levels - offset[..., None]

    @property
    def code_values(self) -> Array:
        """The codes in ascending order of thresholds passed."""
        return np.arange(self.lo, self.hi + 1)


class _Coded:
    """What tables share: their codes, in ascending order of thresholds passed."""

    codes: Array

    @property
    def lo(self) -> int:
        """Smallest code."""
        return int(self.codes.min())

    @property
    def hi(self) -> int:
        """Largest code."""
        return int(self.codes.max())


@dataclass(frozen=True, eq=False)
class Table(_Coded):
    """``s = codes[number of thresholds reached]``; thresholds ``(*broadcastable, n)`` sorted, codes ``(n + 1,)``."""

    table: Array
    codes: Array

    def fire(self, acc: Array) -> Array:
        """Return the codes of accumulators ``(n, *shape)``, int32."""
        return arithmetic.fire_table(acc, self.table, self.codes)

    def thresholds(self) -> Array:
        """Return the sorted thresholds."""
        return self.table.astype(np.int64)

    @property
    def code_values(self) -> Array:
        """The codes in ascending order of thresholds passed."""
        return self.codes


@dataclass(frozen=True, eq=False)
class RowTable(_Coded):
    """A table whose thresholds follow the maximum of the row: the exponential of a softmax.

    ``s = codes[number of thresholds reached by a - max(a over axis)]`` with ``a = acc + offset``; thresholds as in
    :class:`Table`, none above 0. ``axis`` is one of a sample.
    """

    table: Array
    codes: Array
    offset: Array
    axis: int

    def fire(self, acc: Array) -> Array:
        """Return the codes of accumulators ``(n, *shape)``, int32."""
        return arithmetic.fire_row_table(acc, self.offset, self.axis, self.table, self.codes)


@dataclass(frozen=True, eq=False)
class Ratio:
    """``s = clip((acc + offset * r) floordiv (theta * r), lo, hi)``: an adaptive threshold, theta times a number r.

    r (at least 1) belongs to the row of the neuron: the sum of a softmax's codes, or a standard deviation.
    """

    theta: Array
    offset: Array
    lo: int
    hi: int

    def fire(self, acc: Array, norm: Array) -> Array:
        """Return the codes of accumulators ``(n, *shape)`` and r, which broadcasts against them, int32."""
        return arithmetic.fire_ratio(acc, norm, self.offset, self.theta, self.lo, self.hi)


@dataclass(frozen=True)
class RowSum:
    """Where r comes from: the sum of the codes of ``source`` over ``axis`` of one sample, which stays with length 1."""

    source: str
    axis: int

    def apply(self, s: Array) -> Array:
        """Return r for codes ``s`` ``(n, *shape)``."""
        return arithmetic.row_sum(s, self.axis)


@dataclass(frozen=True, eq=False)
class Readout:
    """No neuron: the value is the accumulator itself plus an integer ``offset`` (the folded bias)."""

    offset: Array

    def fire(self, acc: Array) -> Array:
        """Return ``acc + offset``, int64."""
        return acc + self.offset.astype(np.int64)


Ladder: TypeAlias = Uniform | Table | RowTable | Ratio | Readout
