"""The levels of an input: those of its grid, else by least error, with one step for all channels where it does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...calibration import methods
from ...calibration.methods import RealLadder
from ...calibration.statistics import Statistics
from ...foundation.options import Options
from ...graph.graph import GraphInput, InputGrid, Levels
from ...program.broadcast import spread
from .site_methods import by_groups, plain
from .ties import Ties

Array = NDArray[Any]

# Squared error, relative to the variance of a channel, below which a step serves a channel: 40 dB. A network at 31
# levels has 20 to 35 dB at its outputs.
SERVES = 1e-4
SEEN = 16  # values other than 0 that tell how far a channel reaches
WORSE = 2.0  # times the squared error of a step of the channel's own, up to which one step for all is as good


def input_levels(source: GraphInput, stats: Statistics, options: Options, ties: Ties) -> Levels:
    """Return the levels of an input whose levels are ours to choose, from its statistics."""
    shape, axis = source.type.shape, source.axis
    if source.whole:  # integer images enter as they are
        lo, hi = (0, 255) if source.dtype == "uint8" else (-128, 127)
        return Levels(np.ones((1,) * len(shape)), lo, hi, np.zeros((1,) * len(shape), bool), "input encoding")
    n, groups = options.most_input_levels, ties.groups(source.name)
    lo, hi = (0, n) if (stats.low >= 0).all() else (-((n + 1) // 2), n // 2)
    grid = None if source.grid is None or _splits(source.grid, groups) else source.grid
    reason = "input encoding"
    if grid is not None and not np.isnan(grid.step).any():
        lo, hi, step, reason = grid.lo, grid.hi, grid.step, "input encoding, exact: its values lie on a grid"
    else:
        lo, hi = (lo, hi) if grid is None else (min(lo, grid.lo), max(hi, grid.hi))
        step = input_step(stats, lo, hi, options, groups)
        step = step if grid is None else np.where(np.isnan(grid.step), step, grid.step)
    dead = spread(axis, shape, stats.low == stats.high)
    return Levels(spread(axis, shape, ties.tied(source.name, step)), lo, hi, dead, reason)


def _splits(grid: InputGrid, groups: Array | None) -> bool:
    """Return whether channels that must share one step have grids of different steps."""
    if groups is None:
        return False
    return any(len(np.unique(grid.step[groups == g])) > 1 for g in np.unique(groups))


def input_step(stats: Statistics, lo: int, hi: int, options: Options, groups: Array | None) -> Array:
    """Return the input's steps: one per channel; where channels share a range, one for all that it serves as well.

    A step serves a channel where its squared error is small beside the channel's variance, or not much larger than that
    of the channel's own step. What was hardly ever seen to leave 0 says little of its range: there the common step
    stays, which is the largest.
    """
    if not _like_an_image(stats):
        return by_groups(stats, groups, lo, hi, options, _of_input).step
    merged = _of_input(stats.merged(), lo, hi, options).step
    common = np.full(len(stats.low), merged[0] if merged[0] > 0 else 1.0)
    own = by_groups(stats, groups, lo, hi, options, _of_input).step
    own = np.where(own > 0, own, common)
    moments, codes = stats.moments(), range(lo, hi + 1)
    lost, least = (moments.squared_error(s[:, None], codes)[:, 0] for s in (common, own))
    served = (lost <= SERVES * spread_of(stats)) | (lost <= WORSE * least)
    return np.where(served | _hardly_seen(stats), common, own)


def _like_an_image(stats: Statistics) -> bool:
    """Return whether a quarter of the channels, or some beside silent ones, reach as far as the farthest."""
    top = np.maximum(np.abs(stats.low), np.abs(stats.high))
    return bool((top >= 0.99 * top.max()).mean() >= 0.25 or not (top > 0).all())


def spread_of(stats: Statistics) -> Array:
    """Return the sum of squared distances from the mean of every channel ``(c,)``."""
    sums = stats.moments().sums[:, :, -1]
    n = np.maximum(np.broadcast_to(stats.n, stats.low.shape), 1)
    return np.asarray(np.maximum(sums[2] - sums[1] ** 2 / n, 0.0))


def _hardly_seen(stats: Statistics) -> Array:
    """Return which channels left 0 in too few values to tell how far they reach."""
    n = np.broadcast_to(stats.n, stats.zeros.shape)
    return (n - stats.zeros < SEEN) & (stats.zeros > 0)


def _of_input(stats: Statistics, lo: int, hi: int, options: Options) -> RealLadder:
    if options.method not in methods.ENCODERS:
        return methods.choose("mse", stats, lo, hi, {})
    nearest = plain(options)
    return methods.choose(nearest.method, stats, lo, hi, nearest.method_options)
