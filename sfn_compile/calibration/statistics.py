"""Streaming per-channel statistics in fixed memory: one histogram per channel that doubles its range when it must.

Ranges are powers of two, so doubling merges bins in pairs without error. Zeros are counted apart: they are most of
what a ReLU emits and cost nothing to represent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..program.rounding import due

Array = NDArray[Any]
COUNTED_AT_A_TIME = 1 << 16  # values, so that they stay in cache from one step to the next
SPARSE = 4
TAIL = 16  # values that tell how a channel's values thin out beyond what was seen


class Statistics:
    """Statistics of one site. After any number of :meth:`update` calls the fields describe all values seen.

    ``counts`` ``(c, 2 * n_bins)``: bin i of channel c holds values in ``[(i - n_bins) w_c, (i - n_bins + 1) w_c)`` with
    ``w_c = span_c / n_bins``; ``low``/``high`` exact extremes, ``n`` values per channel (one number for all, or
    one each), ``zeros`` exact zeros. ``reached`` ``(2, c)``: smallest and largest argument of the site's function,
    where it was asked for.
    """

    def __init__(self, n_channels: int):
        self.n_bins = 2048 if n_channels <= 256 else 512
        self.counts = np.zeros((n_channels, 2 * self.n_bins), np.int64)
        self.span = np.zeros(n_channels)
        self.low = np.full(n_channels, np.inf)
        self.high = np.full(n_channels, -np.inf)
        self.zeros = np.zeros(n_channels, np.int64)
        self.n: int | Array = 0
        self.reached = np.stack([self.low, self.high])

    def update(self, values: Array) -> None:
        """Add values ``(c, m)``, finite."""
        self.n += values.shape[1]
        self.low = np.minimum(self.low, values.min(axis=1))
        self.high = np.maximum(self.high, values.max(axis=1))
        self._grow(np.maximum(np.abs(self.low), np.abs(self.high)))
        zeros = values.shape[1] - np.count_nonzero(values, axis=1)
        self.zeros += zeros
        rows = max(1, COUNTED_AT_A_TIME // max(values.shape[1], 1))
        for start in range(0, len(values), rows):
            self._count(values[start : start + rows], slice(start, start + rows))
        self.counts[:, self.n_bins] -= zeros  # they were counted with the smallest positive values

    def _count(self, values: Array, rows: slice) -> None:
        """Count the values of some channels, all of them below the channels' spans."""
        span = np.where(self.span[rows] > 0, self.span[rows], 1.0)
        # Scaling up by a power of two is exact. A single type for all: float32 where it has the room.
        narrow = values.dtype == np.float32 and (span <= self.n_bins).all() and (span >= 2.0**-100).all()
        number: type[Any] = np.float32 if narrow else np.float64
        scaled: Array = values.astype(number, copy=False) * (self.n_bins / span).astype(number)[:, None]
        if (self.low[rows] < 0).any():  # else cutting off is rounding down
            np.floor(scaled, out=scaled)
        index = scaled.astype(np.int64)
        index += (np.arange(len(span)) * (2 * self.n_bins) + self.n_bins)[:, None]
        flat = self.counts[rows].reshape(-1)
        if SPARSE * index.size < flat.size:  # few values into many bins: most bins are empty
            np.add.at(flat, index.ravel(), 1)
        else:
            flat += np.bincount(index.ravel(), minlength=flat.size)

    def reach(self, arguments: Array) -> None:
        """Add arguments ``(c, m)`` of the site's function to ``reached``."""
        self.reached[0] = np.minimum(self.reached[0], arguments.min(axis=1))
        self.reached[1] = np.maximum(self.reached[1], arguments.max(axis=1))

    def _grow(self, top: Array) -> None:
        fresh = (self.span == 0) & (top > 0)
        # Not below 2**-960: the width of a bin must not underflow.
        self.span[fresh] = 2.0 ** (np.floor(np.log2(np.maximum(top[fresh], 2.0**-960))) + 1)
        while (small := (top >= self.span) & (top > 0)).any():
            half = self.counts[small].reshape(small.sum(), self.n_bins, 2).sum(axis=2)
            self.counts[small] = 0
            start = self.n_bins // 2
            self.counts[np.ix_(small, np.arange(start, start + self.n_bins))] = half
            self.span[small] *= 2

    def merged(self, groups: Array | None = None) -> Statistics:
        """Return the statistics of groups of channels: ``groups`` ``(c,)`` holds their numbers 0, 1, ...; None: one."""
        of = np.zeros(len(self.span), np.int64) if groups is None else groups
        size = np.bincount(of)
        one = Statistics(len(size))
        one.n_bins, one.counts = self.n_bins, np.zeros((len(size), 2 * self.n_bins), np.int64)
        one.n = self.n * size
        np.maximum.at(one.span, of, self.span)
        np.add.at(one.zeros, of, self.zeros)
        np.minimum.at(one.low, of, self.low)
        np.maximum.at(one.high, of, self.high)
        offsets = np.arange(2 * self.n_bins) - self.n_bins
        for row, span, g in zip(self.counts, self.span, of, strict=True):
            if span > 0:
                shrink = round(np.log2(one.span[g] / span))
                np.add.at(one.counts[g], (offsets >> shrink) + self.n_bins, row)
        return one

    def thinned(self, n_channels: int, n_bins: int) -> Statistics:
        """Return a coarser picture: at most ``n_channels`` of the channels, at most ``n_bins`` bins on each side."""
        kept = np.unique(np.linspace(0, len(self.span) - 1, min(n_channels, len(self.span))).round().astype(int))
        thin = Statistics(len(kept))
        thin.n, thin.n_bins = self.n, min(n_bins, self.n_bins)
        thin.counts = self.counts[kept].reshape(len(kept), 2 * thin.n_bins, -1).sum(axis=2)
        thin.span, thin.low, thin.high, thin.zeros = (a[kept] for a in (self.span, self.low, self.high, self.zeros))
        return thin

    def rows(self, chosen: slice) -> Statistics:
        """Return the statistics of some channels, as views."""
        some = copy(self)
        for name in ("counts", "span", "low", "high", "zeros"):
            setattr(some, name, getattr(self, name)[chosen])
        some.reached = self.reached[:, chosen]
        some.n = self.n[chosen] if isinstance(self.n, np.ndarray) else self.n
        return some

    @property
    def centers(self) -> Array:
        """Return the middle of every bin ``(c, 2 * n_bins)``, clipped to the extremes seen."""
        middle = (np.arange(-self.n_bins, self.n_bins) + 0.5) / self.n_bins
        return np.clip(middle * self.span[:, None], self.low[:, None], self.high[:, None])

    def tail(self, side: int) -> tuple[Array, Array, Array]:
        """Return (start, mean excess, number of values) of the :data:`TAIL` largest values on one side, ``(c,)`` each.

        ``side`` is 1 or -1; magnitudes. An exponential tail of this mean excess is what new samples will look like.
        """
        half = self.counts[:, self.n_bins :] if side > 0 else self.counts[:, : self.n_bins][:, ::-1]
        above = np.cumsum(half[:, ::-1], axis=1)[:, ::-1]  # values in this bin or farther out
        first = np.maximum((above >= TAIL).sum(axis=1) - 1, 0)
        rows, width = np.arange(len(half)), self.span / self.n_bins
        inside = np.arange(self.n_bins) >= first[:, None]
        top = np.maximum(self.high if side > 0 else -self.low, 0.0)
        middle = np.minimum((np.arange(self.n_bins) + 0.5) * width[:, None], top[:, None])
        start = np.minimum(first * width, top)
        count = above[rows, first]
        total = (half * inside * (middle - start[:, None])).sum(axis=1)
        return start, np.where(count > 0, total / np.maximum(count, 1), 0.0), count

    def moments(self) -> Moments:
        """Return running sums over the bins, from which sums over any interval are differences."""
        return Moments(self)

    def quantile_abs(self, p: float) -> Array:
        """Return per channel the smallest magnitude that a share ``p`` of all values does not exceed."""
        positive = self.counts[:, self.n_bins :]
        negative = self.counts[:, : self.n_bins][:, ::-1]
        mass = np.cumsum(positive + negative, axis=1) + self.zeros[:, None]
        first = (mass >= p * np.reshape(self.n, (-1, 1))).argmax(axis=1)
        edge = (first + 1) / self.n_bins * self.span
        top = np.maximum(np.abs(self.low), np.abs(self.high))
        return np.where(self.zeros >= p * self.n, 0.0, np.minimum(edge, top))


@lru_cache(maxsize=64)
def _edges(codes: range | tuple[int, ...], offset: float) -> Array:
    """Return from where on, in steps, each of the ascending codes but the first is due: asked for at every trial."""
    edges = np.array([float(v) for v in due(codes, offset)])
    edges.flags.writeable = False
    return edges


class Moments:
    """Running sums over a histogram's bins ``(c, bins + 1)``: of counts, of values, of squares; or of other terms."""

    def __init__(self, stats: Statistics, terms: Callable[[Array], tuple[Array, ...]] | None = None):
        """``terms``: what to sum up instead, from the counts ``(c, bins)``, 0 where nothing was counted."""
        self.stats = stats
        self.width = np.where(stats.span > 0, stats.span, 1.0)[:, None] / stats.n_bins
        centers = stats.centers
        # Where nothing is negative, the sums over the bins below zero are zero.
        start = stats.n_bins if (stats.low >= 0).all() else 0
        counts, at = stats.counts[:, start:].astype(np.float64), centers[:, start:]
        summed = (counts, counts * at, counts * at**2) if terms is None else terms(counts)
        self.sums = np.zeros((len(summed), len(centers), centers.shape[1] + 1))
        self.first = np.arange(len(centers))[:, None] * self.sums.shape[2]  # of each channel in a flat row of sums
        for term, out in zip(summed, self.sums, strict=True):
            np.cumsum(term, axis=1, out=out[:, start + 1 :])

    def below(self, edge: Array) -> Array:
        """Return the sums ``(terms, c, k)`` over the bins whose centre lies below ``edge`` ``(c, k)``."""
        stats, n = self.stats, self.sums.shape[2] - 1
        index = np.clip(np.ceil(edge / self.width - 0.5) + stats.n_bins, 0, n).astype(np.int64)
        np.copyto(index, 0, where=edge <= stats.low[:, None])  # the outermost centres are drawn in to the extremes
        np.copyto(index, n, where=edge > stats.high[:, None])
        return self.sums.reshape(len(self.sums), -1).take(index + self.first, axis=1)

    def cells(self, edges: Array) -> Array:
        """Return the sums ``(terms, c, k, n + 1)`` over the cells that ascending ``edges`` ``(c, k, n)`` cut."""
        below = self.below(edges.reshape(len(edges), -1)).reshape(-1, *edges.shape)
        ends = np.broadcast_to(self.sums[:, :, None, -1:], (*below.shape[:-1], 1))
        return np.diff(below, axis=3, prepend=0.0, append=ends)

    def squared_error(self, step: Array, codes: Sequence[int], offset: float = 0.5) -> Array:
        """Return per channel the squared error of rounding to each ``step`` ``(c, k)`` times ascending ``codes``."""
        edges = _edges(codes if isinstance(codes, range) else tuple(codes), offset)
        n, first, second = self.cells(edges * step[..., None])
        value = np.asarray(codes) * step[..., None]
        return (second - 2 * value * first + value**2 * n).sum(axis=2)

    def squared_beyond(self, reach: Array, side: int) -> Array:
        """Return per channel the sum of squared distances beyond each ``reach`` ``(c, k)`` on one side (1 or -1)."""
        n, first, second = self.beyond(reach, side)
        return second - 2 * side * reach * first + reach**2 * n

    def beyond(self, reach: Array, side: int) -> Array:
        """Return the sums ``(terms, c, k)`` over what lies beyond each ``reach`` ``(c, k)`` on one side (1 or -1)."""
        inside = self.below(side * reach)
        return inside if side < 0 else self.sums[:, :, -1:] - inside
