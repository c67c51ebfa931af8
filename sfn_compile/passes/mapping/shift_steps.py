"""Steps for thresholds that are powers of two: where a coarser grid of weights costs more than another step.

With theta = 2^k and alpha = D / theta, weights of a given step D use between half and all of their bits. Another step,
at most half an octave away, gives them more. Per channel the step is taken at which both squared errors together are
least: of the codes on the histogram, and of the rounded weights times what they read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.statistics import Statistics
from ...graph.ops.layer import Axis, Terms
from ...graph.steps import rows_of
from ...program.network import Shape
from ...program.ranges import largest
from ...program.weight_rounding import finest_threshold, on_grid

Array = NDArray[Any]
Weighted = tuple[Array, Array]  # real value per code of every weight (c, n), mean square of the codes it reads (n,)
MOVES = np.exp2(np.arange(-8, 9) / 16)  # factors of the step, up to half an octave on either side
BLOCK = 64  # channels whose running sums are in memory at a time


def power_of_two(x: Array) -> Array:
    """Return the largest power of two not above x, 0 below 1.

    >>> power_of_two(np.array([0.9, 1.0, 7.9, 8.0])).tolist()
    [0.0, 1.0, 4.0, 8.0]
    """
    return np.where(x < 1, 0.0, np.exp2(np.floor(np.log2(np.maximum(x, 1.0)))))


def moved_steps(
    step: Array, longest: float, stats: Statistics, codes: range, offset: float, terms: Weighted, bits: int
) -> Array:
    """Return steps ``(c,)`` near ``step``, none above ``longest``, at which thresholds of 2^k serve best."""
    (rows, power), top = terms, largest(bits)
    peak = np.abs(rows).max(axis=1)
    best, least = step.copy(), np.full(len(step), np.inf)
    for factor in sorted(MOVES, key=lambda f: abs(np.log2(f))):  # of equal ones the one that moves least
        tried = step * factor
        lost = _error_of_codes(stats, tried, codes, offset) + _error_of_weights(rows, power, tried, peak, top)
        better = (lost < least) & ((tried <= longest) | (factor == 1))
        best[better], least[better] = tried[better], lost[better]
    return best


def _error_of_codes(stats: Statistics, step: Array, codes: range, offset: float) -> Array:
    n = np.maximum(np.broadcast_to(stats.n, len(step)), 1)
    starts = range(0, len(step), BLOCK)
    some = (stats.rows(s).moments().squared_error(step[s, None], codes, offset)[:, 0] for s in _slices(starts))
    return np.concatenate(list(some)) / n


def _slices(starts: range) -> list[slice]:
    return [slice(i, i + starts.step) for i in starts]


def _error_of_weights(rows: Array, power: Array, step: Array, peak: Array, top: int) -> Array:
    """Return the mean square error of the sum, for the better of the finest 2^k that fits and one that clips."""
    finest = finest_threshold(step, np.where(peak > 0, peak, np.inf), top)
    fits = np.maximum(power_of_two(finest), 1.0)
    found = []
    for theta in (fits, 2 * fits):
        alpha = (step / theta)[:, None]
        found.append(((on_grid(rows, alpha, top) - rows) ** 2 * power).sum(axis=1))
    return np.minimum(*found)


def weighted(terms: Terms, shape: Shape, axis: Axis, power: Callable[[str], float]) -> Weighted:
    """Return the rows of all terms on codes, and beside every column the mean square of the codes that it reads."""
    projections, products = terms
    rows = [rows_of(p.map, shape, axis) for p in projections] + [rows_of(p.form, shape, axis) for p in products]
    means = [power(p.source) for p in projections] + [power(p.left) * power(p.right) for p in products]
    return np.concatenate(rows, axis=1), np.repeat(means, [r.shape[1] for r in rows])


def power_of(stats: Statistics, step: Array) -> float:
    """Return the mean square of the codes of a site with steps ``(c,)``."""
    starts = range(0, len(step), BLOCK)
    squares = np.concatenate([stats.rows(s).moments().sums[2, :, -1] for s in _slices(starts)])
    return float((squares / np.maximum(stats.n, 1) / step**2).mean())
