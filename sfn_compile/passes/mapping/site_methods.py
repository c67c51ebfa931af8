"""The ladder that a method makes of the statistics of one site: of a population, of the largest value, of an input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...calibration import methods
from ...calibration.methods import RealLadder
from ...calibration.statistics import Statistics
from ...foundation.options import Options

Array = NDArray[Any]
Method = Callable[[Statistics, int, int, Options], RealLadder]


def of_site(stats: Statistics, lo: int, hi: int, options: Options) -> RealLadder:
    """Return the ladder of a population by the method of its options."""
    if options.method == "mse":
        return methods.mse_of_new_samples(stats, lo, hi, options.method_options)
    return methods.choose(options.method, stats, lo, hi, options.method_options)


def of_largest(stats: Statistics, lo: int, hi: int, options: Options) -> RealLadder:
    """Return the ladder that cuts off nothing."""
    return methods.choose("minmax", stats, lo, hi, {})


def _of_input(stats: Statistics, lo: int, hi: int, options: Options) -> RealLadder:
    if options.method not in methods.ENCODERS:
        return methods.choose("mse", stats, lo, hi, {})
    nearest = plain(options)
    return methods.choose(nearest.method, stats, lo, hi, nearest.method_options)


def plain(options: Options) -> Options:
    """Return options of a uniform ladder that rounds to nearest: the encoder's, and where thresholds follow a row."""
    method, how = methods.rounding_to_nearest(options.method, options.method_options)
    return replace(options, method=method, method_options=how)


def by_groups(
    stats: Statistics, groups: Array | None, lo: int, hi: int, options: Options,
    choose: Method,
) -> RealLadder:  # fmt: skip
    """Return the method's ladder, with one step for all channels of a group."""
    if groups is None:
        return choose(stats, lo, hi, options)
    found = choose(stats.merged(groups), lo, hi, options)
    return replace(found, step=found.step[groups])


def input_step(stats: Statistics, lo: int, hi: int, options: Options, groups: Array | None) -> Array:
    """Return the input's steps: per channel, or one for all where channels plainly share a range (flat images)."""
    top = np.maximum(np.abs(stats.low), np.abs(stats.high))
    shared = (top >= 0.99 * top.max()).mean() >= 0.25 or len(top) == 1 or not (top > 0).all()
    if shared:
        whole = _of_input(stats.merged(), lo, hi, options).step
        return np.full(len(top), whole[0] if whole[0] > 0 else 1.0)
    return by_groups(stats, groups, lo, hi, options, _of_input).step
