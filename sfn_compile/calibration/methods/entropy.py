"""Steps chosen by information: TensorRT's entropy calibration, and PMSM's largest output entropy."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from ...program.functions import erf
from ..statistics import Moments, Statistics
from .least_error import least
from .real_ladder import Array, Options, by_blocks, largest, offset_of, word

_NEAR_ONE = np.geomspace(1.04, 0.96, 33)  # around the best of the grid


def kl(stats: Statistics, lo: int, hi: int, options: Options) -> Array:
    """Return the step per channel ``(c,)``, in real units, of least KL divergence: TensorRT's entropy calibration.

    P is the histogram up to the threshold, with what lies beyond counted in its last bin; Q is the same histogram
    without that, every code's values spread evenly over its bins that are not empty. The divergence KL(P||Q) is least.
    Exact zeros, which every threshold keeps, are left out; a step is never below the width of a bin.
    """
    offset = offset_of(options)

    def some(part: Statistics) -> Array:
        sums = Moments(part, lambda counts: (counts, (counts > 0).astype(float), _n_log_n(counts)))
        return least(part, lo, hi, lambda step: _divergence(sums, step, lo, hi, offset))

    return by_blocks(stats, some)


def _divergence(sums: Moments, step: Array, lo: int, hi: int, offset: float) -> Array:
    """Return KL(P||Q) ``(c, k)`` of candidate steps, infinite where Q says never and P does not."""
    at = np.concatenate([[lo], np.arange(lo, hi) + 1 - offset, [hi]])
    count, bins, log = sums.cells(at * step[..., None])
    (low, mass, high), bins, log = (count[..., 0], count[..., 1:-1], count[..., -1]), bins[..., 1:-1], log[..., 1:-1]
    shared, total = log.sum(axis=2), count.sum(axis=2)
    reference = mass.copy()
    for cell, cut, side, end in ((0, low, -1, lo), (-1, high, 1, hi)):
        inner = sums.below((end * step - sums.width) if side > 0 else (end * step + sums.width))
        last = np.abs(sums.below(end * step)[0] - inner[0])  # values in the outermost bin inside the threshold
        shared += _n_log_n(last + cut) - _n_log_n(last)
        bins[..., cell] += (last == 0) & (cut > 0)
        reference[..., cell] += cut
    inside, known = mass.sum(axis=2), np.where(mass > 0, mass, 1.0)
    told = (reference * np.log(known / np.maximum(bins, 1))).sum(axis=2) / np.maximum(total, 1)
    divergence = shared / np.maximum(total, 1) - np.log(np.maximum(total, 1)) - told + np.log(np.maximum(inside, 1))
    bad = ((mass == 0) & (reference > 0)).any(axis=2) | (step < sums.width)
    return np.where(bad, np.inf, divergence)


def _n_log_n(n: Array) -> Array:
    return np.asarray(n * np.log(np.where(n > 0, n, 1.0)))


def pmsm(stats: Statistics, lo: int, hi: int, options: Options) -> Array:
    """Return the step per channel ``(c,)``, in real units, at which the codes have the largest entropy.

    Source: PMSM (arXiv 2508.14520), its rule for where training begins, as its abstract describes it. Raises SFN605.

    Option reading: ``gaussian`` takes a channel for a normal distribution, of the mean and deviation of its values, or,
    behind a ReLU, of the share and the mean of what passed; ``histogram`` takes it as it is.
    """
    offset = offset_of(options)
    if word(options, "reading", ("gaussian", "histogram")) == "gaussian":
        mean, deviation = gaussian(stats, lo)
        return _most_entropy(stats, lo, hi, lambda step: _normal_cells(step, lo, hi, offset, mean, deviation))

    def some(part: Statistics) -> Array:
        sums = Moments(part, lambda counts: (counts,))
        edges = np.arange(lo, hi) + 1 - offset

        def cells(step: Array) -> Array:
            count = sums.cells(edges * step[..., None])[0].copy()
            count[..., -lo] += part.zeros[:, None]
            return np.asarray(count / np.maximum(count.sum(axis=2, keepdims=True), 1))

        return _most_entropy(part, lo, hi, cells)

    return by_blocks(stats, some)


def _most_entropy(stats: Statistics, lo: int, hi: int, cells: Callable[[Array], Array]) -> Array:
    """Return the step at which ``cells``, the shares ``(c, k, codes)`` of the codes, have the largest entropy."""

    def negative(step: Array) -> Array:
        share = cells(step)
        return np.asarray((share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=2))

    coarse = least(stats, lo, hi, negative)
    unit = np.where(coarse > 0, coarse, 1.0)[:, None]
    near = np.concatenate([negative(unit * factor) for factor in _NEAR_ONE], axis=1)
    return coarse * _NEAR_ONE[near.argmin(axis=1)]


def _normal_cells(step: Array, lo: int, hi: int, offset: float, mean: Array, deviation: Array) -> Array:
    edges = ((np.arange(lo, hi) + 1 - offset) * step[..., None] - mean[:, None, None]) / deviation[:, None, None]
    return np.diff((1 + erf(edges / np.sqrt(2))) / 2, axis=2, prepend=0.0, append=1.0)


def gaussian(stats: Statistics, lo: int) -> tuple[Array, Array]:
    """Return (mean, deviation) per channel of the normal distribution behind the values.

    Where zeros were seen and nothing below them, a ReLU cut it off: with ``a`` = mean / deviation a share Phi(a)
    passes, and what is seen has the mean ``deviation (phi(a) + a Phi(a))``.
    """
    n = np.maximum(np.broadcast_to(stats.n, len(stats.span)), 1)
    _, total, squares = stats.moments().sums[:, :, -1]
    mean, deviation = total / n, np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0.0))
    cut = (stats.zeros > 0) & (stats.low >= 0) & (lo == 0)
    normal = NormalDist()
    a = np.array([normal.inv_cdf(p) for p in np.clip(1 - stats.zeros / n, 1 / (n + 1), n / (n + 1)).tolist()])
    passed = np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi) + a * (1 + erf(a / np.sqrt(2))) / 2
    spread = mean / passed
    mean, deviation = np.where(cut, a * spread, mean), np.where(cut, spread, deviation)
    return mean, np.where(deviation > 0, deviation, np.maximum(largest(stats, -1, 1), 1e-300))
