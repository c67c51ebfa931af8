"""How a step is chosen from statistics: pure functions ``(statistics, lo, hi, options) -> step per channel``.

A step of 0 means "this channel never left zero". The neuron rounds to nearest (offset of half a step), the choice that
OPI (arXiv 2202.01440) shows to minimise both bias and mean squared error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..diagnostics import fail
from .statistics import Moments, Statistics

Array = NDArray[Any]
Options = Mapping[str, str]
Method = Callable[[Statistics, int, int, Options], Array]
BLOCK = 64  # channels whose running sums are in memory at a time
TRIED_AT_A_TIME = 1 << 14  # levels of candidate steps: enough to outweigh a call, few enough to stay in cache


def minmax(stats: Statistics, lo: int, hi: int, options: Options) -> Array:
    """The smallest step that saturates nothing seen."""
    top = np.maximum(stats.high, 0) / max(hi, 1)
    bottom = np.maximum(-stats.low, 0) / -lo if lo < 0 else np.zeros_like(top)
    return np.maximum(top, bottom)


def percentile(stats: Statistics, lo: int, hi: int, options: Options) -> Array:
    """Option p (default 0.9995): the share of magnitudes that is not saturated."""
    return stats.quantile_abs(_number(options, "p", 0.9995, 0.0, 1.0)) / _most(lo, hi)


def mse(stats: Statistics, lo: int, hi: int, options: Options) -> Array:
    """The step of least squared error (rounding plus saturation) on the histogram, searched on a geometric grid."""
    return _by_blocks(stats, lambda some: _least(some, some.moments(), lo, hi, np.geomspace(1.0, 0.04, 96)))


def mse_of_new_samples(stats: Statistics, lo: int, hi: int) -> Array:
    """Return the step of least squared error where values beyond those seen are to come.

    A few hundred samples do not show how far a neuron reaches, and many levels round so finely that cutting a value off
    costs more than rounding it. What lies beyond is taken from the tails: exponential, with the mean excess of the
    largest values. Where values are many, as on maps, this is the step of the method ``mse``.
    """
    return _by_blocks(stats, lambda some: _least_of_new(some, lo, hi))


def _by_blocks(stats: Statistics, choose_some: Callable[[Statistics], Array]) -> Array:
    """Return the steps of all channels, some channels at a time: running sums take several times the histogram."""
    n = len(stats.span)
    return np.concatenate([choose_some(stats.rows(slice(i, i + BLOCK))) for i in range(0, n, BLOCK)])


def _least_of_new(stats: Statistics, lo: int, hi: int) -> Array:
    moments = stats.moments()
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

    return _least(stats, moments, lo, hi, np.geomspace(1.5, 0.04, 108), unseen)


def _least(
    stats: Statistics, moments: Moments, lo: int, hi: int, factors: Array, more: Callable[[Array], Array] | None = None
) -> Array:
    """Return the step, one of ``factors`` times that of minmax, of least squared error plus ``more(step)``."""
    full = minmax(stats, lo, hi, {})
    best, error = full.copy(), np.full(len(full), np.inf)
    size = max(1, TRIED_AT_A_TIME // (len(full) * (hi - lo + 1)))
    for some in (factors[i : i + size] for i in range(0, len(factors), size)):
        steps = np.where(full[:, None] > 0, full[:, None] * some, 1.0)
        found = moments.squared_error(steps, lo, hi) + (0.0 if more is None else more(steps))
        for factor, lost in zip(some, found.T, strict=True):
            better = lost < error
            best[better], error[better] = full[better] * factor, lost[better]
    return best


def sfn(stats: Statistics, lo: int, hi: int, options: Options) -> Array:
    """SFN (arXiv 2510.23383): quantile of the activation times lambda.

    Options p (0.99), lambda, reading: ``step`` takes lambda * quantile as the step (lambda 0.252 by default, the
    paper's operating point), ``scale`` as the full scale (1.0 by default); the paper's text allows both.
    """
    reading = options.get("reading", "step")
    if reading not in ("step", "scale"):
        raise fail("SFN605", f"reading = {reading!r}; it is 'step' or 'scale'", "--method-option")
    factor = _number(options, "lambda", 0.252 if reading == "step" else 1.0, 0.0, np.inf)
    theta = stats.quantile_abs(_number(options, "p", 0.99, 0.0, 1.0)) * factor
    return theta if reading == "step" else theta / _most(lo, hi)


def _most(lo: int, hi: int) -> int:
    """Return the number of codes on the longer side of zero; of two as good as equal sides the upper one."""
    return max(hi, -lo - 1, 1)


METHODS: dict[str, tuple[Method, frozenset[str]]] = {
    "mse": (mse, frozenset()),
    "minmax": (minmax, frozenset()),
    "percentile": (percentile, frozenset({"p"})),
    "sfn": (sfn, frozenset({"p", "lambda", "reading"})),
}


def choose(name: str, stats: Statistics, lo: int, hi: int, options: Options) -> Array:
    """Return the steps of method ``name``; where a method finds none for a live channel, those of minmax."""
    step = METHODS[name][0](stats, lo, hi, options)
    return np.where(step > 0, step, minmax(stats, lo, hi, options))


def check_options(name: str, options: Options) -> None:
    """Raise SFN605 for an unknown method or an option that it does not have."""
    if name not in METHODS:
        raise fail("SFN605", f"no method called {name!r}", "--method", f"one of {', '.join(METHODS)}")
    unknown = sorted(set(options) - METHODS[name][1])
    if unknown:
        known = ", ".join(sorted(METHODS[name][1])) or "none"
        raise fail("SFN605", f"method {name} has no option {unknown[0]!r}", "--method-option", f"its options: {known}")


def _number(options: Options, name: str, default: float, lowest: float, highest: float) -> float:
    text = options.get(name)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = np.nan
    if not lowest < value <= highest:
        raise fail("SFN605", f"{name} = {text!r} is not a number above {lowest} up to {highest}", "--method-option")
    return value
