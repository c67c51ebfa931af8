"""Steps that make an error smallest: the squared error itself, OPI's theorem about it, QCFS's gradient of it.

Every search is on one grid: factors of the step at which nothing seen saturates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..statistics import Moments, Statistics
from .real_ladder import Array, Options, by_blocks, largest, offset_of

TRIED_AT_A_TIME = 1 << 14  # levels of candidate steps: enough to outweigh a call, few enough to stay in cache
FACTORS = np.geomspace(1.0, 0.04, 96)
BISECTIONS = 30
SURELY = 1 + 1e-6  # above what differences of running sums are off by
Score = Callable[[Array], Array]  # steps (c, k) -> the error to minimise (c, k)


def mse(stats: Statistics, lo: int, hi: int, options: Options) -> Array:
    """Return the step per channel ``(c,)``, in real units, of least squared error on the histogram.

    The error is that of rounding plus that of cutting off. Candidates are :data:`FACTORS` of the step of ``minmax``.
    """
    codes, offset = range(lo, hi + 1), offset_of(options)

    def some(part: Statistics) -> Array:
        moments = part.moments()
        return least(part, lo, hi, lambda step: moments.squared_error(step, codes, offset))

    return by_blocks(stats, some)


def mse_of_new(stats: Statistics, lo: int, hi: int, options: Options) -> Array:
    """Return the step per channel ``(c,)`` of least squared error, with the values that will exceed those seen.

    A few hundred samples do not show how far a neuron reaches, and many levels round so finely that cutting a value off
    costs more than rounding it. What lies beyond is taken from the tails: exponential, with the mean excess of the
    largest values. Where values are many, as on maps, this is the step of the method ``mse``.
    """
    return by_blocks(stats, lambda some: _least_of_new(some, lo, hi, offset_of(options)))


def _least_of_new(stats: Statistics, lo: int, hi: int, offset: float) -> Array:
    moments, codes = stats.moments(), range(lo, hi + 1)
    tails = [(stats.tail(side), side, end) for side, end in ((1, hi), (-1, lo)) if end]

    def unseen(step: Array) -> Array:
        """Return by how much the tails lose more than the values that were seen, for steps ``(c, k)``."""
        lost = np.zeros(step.shape)
        for tail, side, end in tails:
            start, excess, count = (t[:, None] for t in tail)
            scale, reach = np.where(excess > 0, excess, 1.0), abs(end) * step
            expected = np.where(excess > 0, 2 * count * scale**2 * np.exp(np.minimum(start - reach, 0.0) / scale), 0.0)
            more = np.maximum(expected - moments.squared_beyond(reach, side), 0.0)
            lost += np.where(reach > start, more, 0.0)
        return lost

    def lost(step: Array) -> Array:
        return moments.squared_error(step, codes, offset) + unseen(step)

    return least(stats, lo, hi, lost, np.geomspace(1.5, 0.04, 108))


def opi(stats: Statistics, lo: int, hi: int, options: Options) -> Array:
    """Return the step per channel ``(c,)``, in real units, of least error by OPI's theorem.

    Source: Bu et al., AAAI 2022, arXiv 2202.01440: the expected error of an initial potential.

    For values spread evenly inside every cell, an offset of u steps loses ``step^2 (1/3 - u + u^2)`` on average; what
    lies beyond the highest code is cut off. The paper trains the threshold; here it is where both together are least.
    """
    u = offset_of(options)

    def some(part: Statistics) -> Array:
        moments = part.moments()
        n = moments.sums[0, :, -1:]

        def lost(step: Array) -> Array:
            sides = [(side, abs(end) * step) for side, end in ((1, hi), (-1, lo)) if end]
            outside = sum(moments.beyond(reach, side)[0] for side, reach in sides)
            beyond = sum(moments.squared_beyond(reach, side) for side, reach in sides)
            return np.asarray((n - outside) * step**2 * (1 / 3 - u + u**2) + beyond)

        return least(part, lo, hi, lost)

    return by_blocks(stats, some)


def qcfs(stats: Statistics, lo: int, hi: int, options: Options) -> Array:
    """The threshold at which QCFS (Bu et al., ICLR 2022, arXiv 2303.04347) would stop training it on this layer alone.

    QCFS trains theta = hi * step in ``theta clip(floor(x L / theta + 1/2) / L, 0, 1)`` with a gradient that passes
    straight through the floor. Of the squared error that gradient is ``sum (y - x)^2 / step`` over what is not cut off
    and ``(y - x) code`` over what is; the step returned is its zero, the largest one, bisected.
    """
    offset = offset_of(options)

    def some(part: Statistics) -> Array:
        moments = part.moments()
        return _zero(part, lo, hi, lambda step: _gradient(moments, step, lo, hi, offset))

    return by_blocks(stats, some)


def _gradient(moments: Moments, step: Array, lo: int, hi: int, offset: float) -> Array:
    found = moments.squared_error(step, range(lo, hi + 1), offset) / step
    for side, end, edge in ((1, hi, hi + 1 - offset), (-1, lo, offset - lo)):
        n, total, _ = moments.beyond(np.maximum(edge, 0) * step, side)
        cut = end * (n * end * step - total)  # its gradient; what it adds to the squared error is taken out again
        found += cut - _squared_from(moments, end * step, np.maximum(edge, 0) * step, side) / step
    return found


def _squared_from(moments: Moments, value: Array, reach: Array, side: int) -> Array:
    """Return the sum of squared distances from ``value`` of what lies beyond ``reach`` on one side."""
    n, first, second = moments.beyond(reach, side)
    return np.asarray(second - 2 * value * first + value**2 * n)


def _zero(stats: Statistics, lo: int, hi: int, gradient: Score) -> Array:
    """Return the largest step at which ``gradient`` turns from below to above 0: no higher factor is negative."""
    full = largest(stats, lo, hi)
    unit = np.where(full > 0, full, 1.0)[:, None]
    below = gradient(unit * FACTORS) < 0
    first = np.where(below.any(axis=1), below.argmax(axis=1), len(FACTORS) - 1)
    low, high = FACTORS[first][:, None], FACTORS[np.maximum(first - 1, 0)][:, None]
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        falls = gradient(unit * middle) < 0
        low, high = np.where(falls, middle, low), np.where(falls, high, middle)
    return full * high[:, 0]


def least(stats: Statistics, lo: int, hi: int, score: Score, factors: Array = FACTORS) -> Array:
    """Return the step, one of ``factors`` times that of minmax, of least ``score``; the largest of equal ones.

    ``score`` is at least what saturation alone loses. That grows as steps become shorter, so the search of a block of
    channels ends where it is above the best of each.
    """
    full = largest(stats, lo, hi)
    best, error = full.copy(), np.full(len(full), np.inf)
    moments = stats.moments()
    size = max(1, TRIED_AT_A_TIME // (len(full) * (hi - lo + 1)))
    for some in (factors[i : i + size] for i in range(0, len(factors), size)):
        steps = np.where(full[:, None] > 0, full[:, None] * some, 1.0)
        if (_saturated(moments, steps[:, :1], lo, hi)[:, 0] > error * SURELY).all():
            break
        for factor, lost in zip(some, score(steps).T, strict=True):
            better = lost < error
            best[better], error[better] = full[better] * factor, lost[better]
    return best


def _saturated(moments: Moments, step: Array, lo: int, hi: int) -> Array:
    """Return the squared error ``(c, k)`` of what lies beyond the outermost codes: no code is nearer to it."""
    return np.asarray(sum(moments.squared_beyond(abs(end) * step, side) for end, side in ((hi, 1), (lo, -1))))
