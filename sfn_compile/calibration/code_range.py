"""Which codes a site gets: N + 1 of them, placed where its values are."""

from __future__ import annotations

import numpy as np

from ..foundation.options import Options
from ..graph.ops import Activation
from . import methods
from .statistics import Statistics

# Shares of the codes that lie below zero: the first look. A picture of the histogram is enough to tell them apart.
SHARES = (0, 1 / 32, 1 / 16, 3 / 32, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 13 / 16, 7 / 8, 15 / 16, 1)
CHANNELS, BINS = 16, 128


def code_range(activation: Activation, stats: Statistics, options: Options) -> tuple[int, int]:
    """Return how many codes a site has below and above 0, as the lowest and highest code of a uniform ladder.

    0..N where no value is negative; -ceil(N/2)..floor(N/2) for the identity and for odd functions; for any other
    function the range of least squared error (rounding plus saturation) with the steps of the chosen method. Where the
    method has two polarities, -N..N wherever values are negative. A book has as many codes on either side of 0.
    """
    levels = options.levels
    never = activation.kind in ("relu", "sigmoid") or (activation.kind == "clip" and activation.a >= 0)
    if never or (stats.low >= 0).all():
        return 0, levels
    if methods.two_polarities(options.method, options.method_options):
        return -levels, levels
    half = (levels + 1) // 2
    if activation.kind == "identity" or activation.is_odd():
        return -half, levels - half
    thin, known = stats.thinned(CHANNELS, BINS), dict[int, float]()

    def error(below: int) -> float:
        if below not in known:
            known[below] = relative_error(thin, -below, levels - below, options)
        return known[below]

    best = min(sorted({half, *(round(levels * s) for s in SHARES)}), key=error)
    reach = max(levels // 32, 1)
    while reach:  # then nearer and nearer around the best
        better = min((max(best - reach, 0), best, min(best + reach, levels)), key=error)
        reach, best = (reach // 2 if better == best else reach), better
    return -best, levels - best


def relative_error(stats: Statistics, lo: int, hi: int, options: Options) -> float:
    """Return the squared error of codes lo..hi over the signal, averaged over the channels that are not silent."""
    # A divergence is one of fine histograms, not of a picture of one.
    name, how = ("mse", {}) if options.method == "kl" else (options.method, options.method_options)
    ladder = methods.choose(name, stats, lo, hi, how)
    centers = stats.centers
    error = (stats.counts * (centers - ladder.real(centers, lo, hi)) ** 2).sum(axis=1)
    power = (stats.counts * centers**2).sum(axis=1)
    return float((error / np.where(power > 0, power, 1.0)).mean())
