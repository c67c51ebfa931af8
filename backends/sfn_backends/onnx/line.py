"""Thresholds that are on a line: a table that one float32 multiplication or division and a rounding computes.

The candidate is fitted; whether it is right is computed, not argued. The table and ``round(t * scale)`` in IEEE
arithmetic are both non-decreasing step functions of the accumulator, so they are equal everywhere if they are equal on
both sides of every threshold and at both ends of the proved range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from sfn_compile.program.network import Population, Ratio, Readout, RowTable, Table, Uniform

Array = NDArray[Any]
Cut = Callable[[Array], Array]
_MOST = 4_000_000  # thresholds of one population that are fitted; a search in the table serves the rest
_HALVINGS = 80
_ULPS = (0, 1, -1, 2, -2, 3, -3)
_RISES = 6  # of a row's codes that are tried, those first that bring its shift nearest to an integer
_BYTE = 255
_SPREAD = 1.01  # a threshold is any real number of an interval of length 1; the rest is for roundings of float32
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

    ``shape``: what the rows broadcast from. ``rise``: a line shall give the codes of a row plus so much.
    """

    tau: Array
    lo: int
    acc_min: int
    acc_max: int
    shape: tuple[int, ...]
    rise: Array = field(default_factory=lambda: np.zeros(1, np.int64))

    @property
    def live(self) -> Array:
        """Whether accumulators lie on both sides of a threshold."""
        return (self.tau > self.acc_min) & (self.tau <= self.acc_max)

    @property
    def half(self) -> Array:
        """The rounding boundary below each raised code ``(r, n)``."""
        boundaries = self.lo + self.rise[:, None] + np.arange(self.tau.shape[1]) + 0.5
        return np.broadcast_to(boundaries, self.tau.shape)

    def codes(self, acc: Array) -> Array:
        """Return the code of each accumulator ``(r, m)`` in its row."""
        count = np.zeros(acc.shape, np.int64)
        for column in self.tau.T:
            count += acc >= column[:, None]
        return self.lo + count


def rows_of(step: Population) -> Rows | None:
    """Return the thresholds of a population whose codes are consecutive; None for other ladders, none and too many."""
    ladder = step.ladder
    if isinstance(ladder, RowTable | Ratio | Readout):
        return None
    if not isinstance(ladder, Table | Uniform):
        assert_never(ladder)
    if not (np.diff(ladder.code_values) == 1).all():
        return None
    tau = ladder.thresholds()
    if not 0 < tau.size <= _MOST:  # a ladder without thresholds has a single code, which is no line
        return None
    cut = np.clip(tau.reshape(-1, tau.shape[-1]), step.acc_min, step.acc_max + 1)
    return Rows(cut, ladder.lo, step.acc_min, step.acc_max, tau.shape[:-1])


def for_kernel(rows: Rows) -> Line | None:
    """Return a line with integer shifts for a kernel that computes ``round(float32(acc + shift) * scale)``.

    All rows are cut to the same codes.
    """
    fit = _fit(rows)
    if not _straight(rows, fit):
        return None
    found, right = _checked(rows, _kernel_lines(rows, fit), np.multiply, lambda code: code)
    return found if right.all() else None


def for_two_kernels(rows: Rows) -> tuple[Line, Array] | None:
    """Return a line with integer shifts for raised codes, and the rise of each row, which a second kernel takes off.

    A rise of codes is a shift by so many steps, which need not be whole: it brings a shift to an integer, and where
    ``rise + code`` ends at 255, a row is cut to fewer codes than others. All that the first kernel makes is cut to a
    byte, then what the second makes, then all rows to the same codes.
    """
    zero, (_, hi) = max(0, -rows.lo), _ends(rows)
    fit, n = _fit(rows), len(rows.tau)
    if not _straight(rows, fit):
        return None
    lines = _kernel_lines(rows, fit)[0]
    scale, shift, rise, left = lines.scale.copy(), lines.shift.copy(), np.zeros(n, np.int64), np.arange(n)
    for tried in _rises(rows, fit, hi + zero):
        raised = replace(rows, tau=rows.tau[left], shape=(len(left),), rise=tried[left])
        cut = partial(_taken_off, zero=zero, rise=raised.rise[:, None])
        some = _kernel_lines(raised, (fit[0][left], fit[1][left] + raised.rise * fit[0][left]))
        some = [replace(a, lo=lines.lo[left], hi=lines.hi[left]) for a in some]
        found, right = _checked(raised, some, np.multiply, cut)
        done = left[right]
        scale[done], shift[done], rise[done] = found.scale[right], found.shift[right], raised.rise[right]
        left = left[~right]
        if not len(left):
            return replace(lines, scale=scale, shift=shift), rise
    return None


def _taken_off(code: Array, zero: int, rise: Array) -> Array:
    """Return what two kernels make of a rounded number: cut to a byte, then lowered and cut to a byte again."""
    return np.clip(np.clip(code + zero, 0, _BYTE) - rise, 0, _BYTE) - zero


def _rises(rows: Rows, fit: tuple[Array, Array], top: Array) -> list[Array]:
    """Return rises of every row: 0, the one that cuts it to its own codes, then those of the most nearly whole shifts.

    ``top``: the largest raw code of each row.
    """
    slope, shift = fit
    all_of_them = np.arange(_BYTE - int(top.max()) + 1)
    moved = shift[:, None] + slope[:, None] * all_of_them
    best = np.argsort(np.abs(moved - np.rint(moved)), axis=1, kind="stable")[:, :_RISES]
    return [np.zeros(len(top), np.int64), _BYTE - top, *best.T]


def _kernel_lines(rows: Rows, fit: tuple[Array, Array]) -> list[Line]:
    """Return lines with integer shifts, all rows cut to the same codes."""
    lo, hi = _ends(rows)
    return [
        Line((1 / slope).astype(np.float32), shift, np.full_like(lo, lo.min()), np.full_like(hi, hi.max()))
        for slope, shift in _candidates(rows, 1.0, fit)
    ]


def for_floats(rows: Rows) -> Line | None:
    """Return a line for float32 tensors: ``round((acc + shift) / scale)``, the sum exact. Rows are cut one by one."""
    fit = _fit(rows)
    if not _straight(rows, fit):
        return None
    reach = max(abs(rows.acc_min), abs(rows.acc_max)) + float(np.abs(fit[1]).max()) + 1
    parts = int(np.floor(np.log2(EXACT / reach)))  # binary digits that a shift may have behind the point
    if parts < 0:
        return None
    unit = 2.0**-parts
    lines = [Line(slope.astype(np.float32), by, *_ends(rows)) for slope, by in _candidates(rows, unit, fit)]
    found, right = _checked(rows, lines, np.divide, lambda code: code)
    return found if right.all() else None


def _candidates(rows: Rows, unit: float, fit: tuple[Array, Array]) -> list[tuple[Array, Array]]:
    """Return slopes and shifts near ``fit``, the latter multiples of ``unit``, most promising first.

    Thresholds behind the range that accumulators reach bind a line as well; where that leaves none, the cut to a row's
    codes may still make one right.
    """
    slope, shift = fit
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


def _straight(rows: Rows, fit: tuple[Array, Array]) -> bool:
    """Whether the thresholds of every row are so near its line that a search may be worth its time."""
    spread, _ = _error(rows.tau - 0.5, rows.half, rows.live, fit[0])
    return bool((spread <= _SPREAD).all())


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
    each = np.arange(len(at))
    single = steep * rows.half[each, at] - rows.tau[each, at] + 0.5
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


def _checked(rows: Rows, lines: list[Line], operation: Any, cut: Cut) -> tuple[Line, Array]:
    """Return for each row the first line, its scale moved by a few last digits, that is right, and which rows have one.

    ``cut``: what happens to a rounded number before all rows are cut to the line's codes; it must not decrease.
    """
    ends = np.broadcast_to([rows.acc_min, rows.acc_max], (len(rows.tau), 2))
    probes = np.clip(np.concatenate([rows.tau, rows.tau - 1, ends], axis=1), rows.acc_min, rows.acc_max)
    expected = rows.codes(probes)
    scale, shift = lines[0].scale.copy(), lines[0].shift.copy()
    right = np.zeros(len(scale), bool)
    for line in lines:
        sums = (probes + line.shift[:, None]).astype(np.float32)
        for ulps in _ULPS:
            moved = (line.scale.view(np.int32) + ulps).view(np.float32)
            codes = np.clip(cut(np.rint(operation(sums, moved[:, None]))), line.lo[:, None], line.hi[:, None])
            good = ~right & (codes == expected).all(axis=1)
            scale[good], shift[good], right = moved[good], line.shift[good], right | good
    return replace(lines[0], scale=scale, shift=shift), right
