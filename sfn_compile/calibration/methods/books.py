"""Non-uniform ladders: levels where values are, frozen to integers on one step (SFN's density-aware ladder).

The channels of a site share one book of codes, so their histograms are laid over each other, every channel in units of
a scale of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..statistics import Statistics
from .real_ladder import Array, RealLadder, longer_side

Book = tuple[int, ...]
SIGNED_LIMIT, LIMIT = 127, 255  # the largest integer of a book, of a site with codes below zero and of one without
ROUNDED = 0.02  # of a ladder's squared error that rounding its levels to integers may add
ITERATIONS = 400
ROUNDS = 3  # of book, then scale of every channel
SCALES = np.geomspace(0.4, 2.5, 93)


class Points:
    """Values with weights, sorted, with running sums of count, value and square."""

    def __init__(self, values: Array, weights: Array):
        order = np.argsort(values, kind="stable")
        self.values = values[order]
        terms = weights[order] * np.stack([np.ones_like(self.values), self.values, self.values**2])
        self.sums = np.concatenate([np.zeros((3, 1)), np.cumsum(terms, axis=1)], axis=1)

    def cells(self, edges: Array) -> Array:
        """Return the sums ``(3, cells)`` over the cells that ascending edges cut."""
        places = np.searchsorted(self.values, edges, side="left")
        return np.diff(self.sums[:, np.concatenate([[0], places, [len(self.values)]])], axis=1)

    def squared_error(self, levels: Array) -> float:
        """Return the squared error of rounding to the nearest of ascending levels."""
        n, first, second = self.cells((levels[1:] + levels[:-1]) / 2)
        return float((second - 2 * levels * first + levels**2 * n).sum())


def chosen(
    stats: Statistics, lo: int, hi: int, scale: Array, place: Callable[[Points, int, int], Array], fixed: bool
) -> RealLadder:
    """Return a ladder of ``-lo`` codes below zero and ``hi`` above, levels by ``place``.

    ``scale`` per channel is the unit in which histograms are laid over each other. Unless it is ``fixed``, every
    channel's own factor of it is the one of least squared error with the book, and the book is made again.
    """
    for _ in range(1 if fixed else ROUNDS):
        points = pooled(stats, scale)
        book, unit = frozen(points, place(points, -lo, hi), lo, hi)
        step = unit * scale
        if not fixed:
            step = _scaled(stats, book, step)
            scale = step / unit
    return RealLadder(step, None if book == tuple(range(lo, hi + 1)) else book)


def pooled(stats: Statistics, scale: Array) -> Points:
    """Return the histograms of all channels laid over each other, each in units of its ``scale``.

    All have the same power, so that errors count in proportion to a channel's signal. Exact zeros need no level: code 0
    is there for them.
    """
    live = scale > 0
    counts, values = stats.counts[live], stats.centers[live] / scale[live][:, None]
    row, column = np.nonzero(counts)
    power = (counts * values**2).sum(axis=1)
    weights = counts[row, column] / np.where(power > 0, power, 1.0)[row]
    return Points(values[row, column], weights)


def equal_mass(points: Points, below: int, above: int) -> Array:
    """Return ascending levels ``(below + 1 + above,)``, 0 among them, in the units of ``points``.

    Every level but 0 represents the same share of the values on its side of 0 and lies at their mean.
    """
    sides = []
    for side, n in ((-1, below), (1, above)):
        if n == 0:
            sides.append(np.zeros(0))
            continue
        mine = points.values * side > 0
        mass = np.diff(points.sums[0])[mine][::side].cumsum()
        size = np.abs(points.values[mine])[::side]
        total = mass[-1] if len(mass) else 0.0
        cell = np.minimum((mass * n / max(total, 1e-300) - 1e-9).astype(int), n - 1)
        share = np.diff(mass, prepend=0.0)
        found = np.bincount(cell, share * size, n) / np.maximum(np.bincount(cell, share, n), 1e-300)
        sides.append(np.maximum.accumulate(found if total else np.arange(1.0, n + 1)))
    return np.concatenate([-sides[0][::-1], [0.0], sides[1]])


def lloyd_max(points: Points, below: int, above: int) -> Array:
    """Return the levels ``(below + 1 + above,)`` of least squared error, ascending, one of them 0.

    Lloyd's iteration to its fixed point (S. Lloyd, 1982; J. Max, 1960).

    There every edge is halfway between two levels, and every level but 0 is the mean of its cell. It is started from
    equal shares and from equal distances; the better of both is taken.
    """
    top = max(float(np.abs(points.values).max(initial=0.0)), 1e-300)
    even = np.concatenate([-np.arange(below, 0, -1) / max(below, 1), [0.0], np.arange(1, above + 1) / max(above, 1)])
    found = [_settled(points, start, below) for start in (equal_mass(points, below, above), even * top)]
    return min(found, key=points.squared_error)


def _settled(points: Points, levels: Array, zero: int) -> Array:
    for _ in range(ITERATIONS):
        n, first, _ = points.cells((levels[1:] + levels[:-1]) / 2)
        mean = np.where(n > 0, first / np.where(n > 0, n, 1.0), levels)
        mean[zero] = 0.0
        moved, levels = np.abs(mean - levels).max(), mean
        if moved <= 1e-9 * np.abs(levels).max():
            break
    return levels


def frozen(points: Points, levels: Array, lo: int, hi: int) -> tuple[Book, float]:
    """Return (integers, real value of 1) nearest to ``levels``.

    The smallest integers whose distances from the levels add no more than :data:`ROUNDED` to the squared error, for
    narrow events and accumulators; else those that add least.
    """
    limit = max(LIMIT if lo == 0 else SIGNED_LIMIT, longer_side(lo, hi))
    n, first, _ = points.cells((levels[1:] + levels[:-1]) / 2)
    allowed, top = ROUNDED * points.squared_error(levels), float(np.abs(levels).max())
    best, least = (np.arange(lo, hi + 1), top), np.inf
    for most in range(longer_side(lo, hi), limit + 1):
        unit = top / most
        book = _distinct(np.rint(levels / unit), -lo, limit)
        added = float((n * (book * unit - levels) ** 2 + 2 * (book * unit - levels) * (n * levels - first)).sum())
        if added < least:
            best, least = (book, unit), added
        if added <= allowed:
            break
    return tuple(int(k) for k in best[0]), best[1]


def _distinct(book: Array, zero: int, limit: int) -> Array:
    """Return integers with those that coincide moved away from 0, and none beyond ``limit``."""
    up, down = book[zero + 1 :], -book[:zero][::-1]
    sides = []
    for side, most in ((down, limit + 1 if len(down) > len(up) else limit), (up, limit)):
        place = np.arange(1, len(side) + 1)
        spread = np.maximum.accumulate(np.maximum(side - place, 0)) + place
        sides.append(np.minimum(spread, most - len(side) + place))
    return np.concatenate([-sides[0][::-1], [0], sides[1]])


def _scaled(stats: Statistics, book: Book, step: Array) -> Array:
    """Return the multiple of every channel's step at which the book has the least squared error."""

    def some(rows: slice) -> Array:
        mine = np.where(step[rows] > 0, step[rows], 1.0)[:, None] * SCALES
        error = stats.rows(rows).moments().squared_error(mine, book)
        return np.where(step[rows] > 0, mine[np.arange(len(mine)), error.argmin(axis=1)], 0.0)

    starts = range(0, len(step), 16)
    return np.concatenate([some(slice(i, i + 16)) for i in starts])
