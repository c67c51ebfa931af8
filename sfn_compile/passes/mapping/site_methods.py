"""The ladder that a method makes of the statistics of one site: of a population, or of the largest value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

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
