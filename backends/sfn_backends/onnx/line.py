"""Thresholds that stand on a line: a table that one float32 multiplication or division and a rounding computes.

The candidate is fitted; whether it is right is computed, not argued. The table and ``round(t * scale)`` in IEEE
arithmetic are both non-decreasing step functions of the accumulator, so they are equal everywhere if they are equal on
both sides of every threshold and at both ends of the proved range.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_compile.program import Population, Table, Uniform

Array = NDArray[Any]
_MOST = 4_000_000  # thresholds of one population that are fitted; a search in the table serves the rest
_HALVINGS = 80
_ULPS = (0, 1, -1, 2, -2, 3, -3)
EXACT = 2**24


@dataclass(frozen=True, eq=False)
class Line:
    """``code = clip(round((acc + shift) * scale), lo, hi)``, or ``/ scale``: float32, one of each per threshold row."""

    scale: Array
    shift: Array
    lo: Array
    hi: Array


@dataclass(frozen=True, eq=False)
class Rows:
    """Thresholds ``tau`` ``(r, n)`` of the codes ``lo + 1 .. lo + n``, cut to the range that accumulators reach.

    ``shape``: what the rows broadcast from.
    """

    tau: Array
    lo: int
    acc_min: int
    acc_max: int
    shape: tuple[int, ...]

    @property
    def live(self) -> Array:
        """Whether accumulators lie on both sides of a threshold."""
        return (self.tau > self.acc_min) & (self.tau <= self.acc_max)

    @property
    def half(self) -> Array:
        """The rounding boundary below each code."""
        return self.lo + np.arange(self.tau.shape[1]) + 0.5

    def codes(self, acc: Array) -> Array:
        """Return the code of each accumulator ``(r, m)`` in its row."""
        count = np.zeros(acc.shape, np.int64)
        for column in self.tau.T:
            count += acc >= column[:, None]
        return self.lo + count


def rows_of(step: Population) -> Rows | None:
    """Return the thresholds of a population whose codes are consecutive; None for other ladders or too many."""
    ladder = step.ladder
    if not isinstance(ladder, Table | Uniform) or not (np.diff(ladder.code_values) == 1).all():
        return None
    tau = ladder.thresholds()
    if tau.size > _MOST:
        return None
    cut = np.clip(tau.reshape(-1, tau.shape[-1]), step.acc_min, step.acc_max + 1)
    return Rows(cut, ladder.lo, step.acc_min, step.acc_max, tau.shape[:-1])


def for_kernel(rows: Rows) -> Line | None:
    """Return a line with integer shifts for a kernel that computes ``round(float32(acc + shift) * scale)``.

    All rows are cut to the same codes.
    """
    lo, hi = _ends(rows)
    lines = [
        Line((1 / slope).astype(np.float32), shift, np.full_like(lo, lo.min()), np.full_like(hi, hi.max()))
        for slope, shift in _candidates(rows, 1.0)
    ]
    return _checked(rows, lines, np.multiply)


def for_floats(rows: Rows) -> Line | None:
    """Return a line for float32 tensors: ``round((acc + shift) / scale)``, the sum exact. Rows are cut one by one."""
    _, shift = _fit(rows)
    reach = max(abs(rows.acc_min), abs(rows.acc_max)) + float(np.abs(shift).max()) + 1
    parts = int(np.floor(np.log2(EXACT / reach)))  # binary digits that a shift may have behind the point
    if parts < 0:
        return None
    lines = [Line(slope.astype(np.float32), shift, *_ends(rows)) for slope, shift in _candidates(rows, 2.0**-parts)]
    return _checked(rows, lines, np.divide)


def _candidates(rows: Rows, unit: float) -> list[tuple[Array, Array]]:
    """Return slopes and shifts, the latter multiples of ``unit``, most promising first.

    Thresholds behind the range that accumulators reach bind a line as well; where that leaves none, the cut to a row's
    codes may still make one right.
    """
    slope, shift = _fit(rows)
    few = rows.live.sum(axis=1) < 2  # these have a slope of their own and an integer shift
    found = []
    for bound in (True, False):
        best, chosen, width = slope, np.rint(shift / unit) * unit, np.full(len(slope), -np.inf)
        for move in (0, 1, -1, 2, -2):
            moved = (np.rint(shift / unit) + move) * unit
            low, high = _slopes(rows, moved, bound)
            better = ~few & (low > 0) & (high > 0) & ((high - low) / slope > width)
            width = np.where(better, (high - low) / slope, width)
            best, chosen = np.where(better, (low + high) / 2, best), np.where(better, moved, chosen)
        found.append((best, chosen))
    return found


def _fit(rows: Rows) -> tuple[Array, Array]:
    """Return (slope, shift) per row so that ``slope * half - shift`` is as near as can be to the middle of each gap.

    A threshold tau stands for any real number in (tau - 1, tau]. Least maximum error, by search over the slope.
    """
    live, half, middle = rows.live, rows.half, rows.tau - 0.5
    first, last = live.argmax(axis=1), live.shape[1] - 1 - live[:, ::-1].argmax(axis=1)
    each = np.arange(len(live))
    apart = np.maximum(last - first, 1)
    guess = (middle[each, last] - middle[each, first]) / apart
    low, high = np.maximum(guess - 1.5 / apart, 1e-6), np.maximum(guess + 1.5 / apart, 2e-6)
    for _ in range(_HALVINGS):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        worse = _error(middle, half, live, left)[0] > _error(middle, half, live, right)[0]
        low, high = np.where(worse, left, low), np.where(worse, high, right)
    slope = (low + high) / 2
    shift = -_error(middle, half, live, slope)[1]
    return _with_single(rows, slope, shift)


def _error(middle: Array, half: Array, live: Array, slope: Array) -> tuple[Array, Array]:
    rest = middle - slope[:, None] * half
    far = 2.0**60  # of rows without a live threshold nothing is used
    top, bottom = np.where(live, rest, -far).max(axis=1), np.where(live, rest, far).min(axis=1)
    return top - bottom, (top + bottom) / 2


def _with_single(rows: Rows, slope: Array, shift: Array) -> tuple[Array, Array]:
    """Replace rows of fewer than two live thresholds by a line so steep that no other boundary is in reach."""
    reached = (rows.tau <= rows.acc_min).sum(axis=1)
    at = np.where(rows.live.any(axis=1), rows.live.argmax(axis=1), np.minimum(reached, rows.tau.shape[1] - 1))
    steep = 2.0 * (rows.acc_max - rows.acc_min) + 3  # odd, so that the shift is an integer
    single = steep * rows.half[at] - rows.tau[np.arange(len(at)), at] + 0.5
    few = rows.live.sum(axis=1) < 2
    return np.where(few, steep, slope), np.where(few, single, shift)


def _slopes(rows: Rows, shift: Array, bound: bool) -> tuple[Array, Array]:
    """Return the least and greatest slope with which the thresholds of a row are met for a given shift.

    ``bound``: thresholds that no accumulator reaches, and those that all reach, count as well.
    """
    above, below = rows.live | (bound & (rows.tau > rows.acc_max)), rows.live | (bound & (rows.tau <= rows.acc_min))
    before, behind = ((rows.tau + shift[:, None] - 1 + i) / rows.half for i in (0, 1))
    up = rows.half > 0
    low = np.where(up, np.where(above, before, 0), np.where(below, behind, 0)).max(axis=1)
    high = np.where(up, np.where(below, behind, np.inf), np.where(above, before, np.inf)).min(axis=1)
    return low, np.where(np.isinf(high), 2 * low, high)


def _ends(rows: Rows) -> tuple[Array, Array]:
    """Return the smallest and largest code that each row reaches."""
    return rows.lo + (rows.tau <= rows.acc_min).sum(axis=1), rows.lo + (rows.tau <= rows.acc_max).sum(axis=1)


def _checked(rows: Rows, lines: list[Line], operation: Any) -> Line | None:
    """Return for each row the first line, its scale moved by a few last digits, that is right; None where none is."""
    ends = np.broadcast_to([rows.acc_min, rows.acc_max], (len(rows.tau), 2))
    probes = np.clip(np.concatenate([rows.tau, rows.tau - 1, ends], axis=1), rows.acc_min, rows.acc_max)
    expected = rows.codes(probes)
    scale, shift = lines[0].scale.copy(), lines[0].shift.copy()
    right = np.zeros(len(scale), bool)
    for line in lines:
        sums = (probes + line.shift[:, None]).astype(np.float32)
        for ulps in _ULPS:
            moved = (line.scale.view(np.int32) + ulps).view(np.float32)
            codes = np.clip(np.rint(operation(sums, moved[:, None])), line.lo[:, None], line.hi[:, None])
            good = ~right & (codes == expected).all(axis=1)
            scale[good], shift[good], right = moved[good], line.shift[good], right | good
    return replace(lines[0], scale=scale, shift=shift) if right.all() else None
