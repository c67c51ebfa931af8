"""How the ladder of a site is chosen from statistics: pure functions ``(statistics, lo, hi, options) -> RealLadder``.

``lo`` and ``hi`` say how many codes a site has below and above 0. Which published method chooses what, in which of its
readings: ``docs/spec/mapping.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from ...foundation.diagnostics import fail
from ..statistics import Statistics
from .entropy import kl, pmsm
from .least_error import mse, mse_of_new, opi, qcfs
from .real_ladder import Array, Method, Options, RealLadder, largest, longer_side, number, offset_of, word
from .sfn import sfn

__all__ = ["ENCODERS", "METHODS", "RealLadder", "check_options", "choose", "mse_of_new_samples", "rounding_to_nearest",
           "two_polarities"]  # fmt: skip


def minmax(stats: Statistics, lo: int, hi: int, options: Options) -> Array:
    """Return the smallest step per channel ``(c,)``, in real units, at which no value of the samples is cut off."""
    return largest(stats, lo, hi)


def percentile(stats: Statistics, lo: int, hi: int, options: Options) -> Array:
    """Return the step per channel ``(c,)``, in real units, at which a share p of all magnitudes is not cut off.

    Option p: above 0, up to 1 (default 0.9995). Raises SFN605 for another value.
    """
    return stats.quantile_abs(number(options, "p", 0.9995, 0.0, 1.0)) / longer_side(lo, hi)


def _uniform(step: Callable[[Statistics, int, int, Options], Array]) -> Method:
    """Return the method whose ladder is uniform with steps by ``step`` and the offset that the options say."""
    return lambda stats, lo, hi, options: RealLadder(step(stats, lo, hi, options), offset=offset_of(options))


METHODS: dict[str, tuple[Method, frozenset[str]]] = {
    "mse": (_uniform(mse), frozenset({"offset"})),
    "minmax": (_uniform(minmax), frozenset({"offset"})),
    "percentile": (_uniform(percentile), frozenset({"offset", "p"})),
    "kl": (_uniform(kl), frozenset({"offset"})),
    "sfn": (sfn, frozenset({"offset", "p", "lambda", "reading", "ladder", "polarity"})),
    "qcfs": (_uniform(qcfs), frozenset({"offset"})),
    "pmsm": (_uniform(pmsm), frozenset({"offset", "reading", "polarity"})),
    "opi": (_uniform(opi), frozenset({"offset"})),
}


ENCODERS = ("mse", "minmax", "percentile")  # methods that say how real numbers are encoded, not how a neuron fires
mse_of_new_samples = _uniform(mse_of_new)


def choose(name: str, stats: Statistics, lo: int, hi: int, options: Options) -> RealLadder:
    """Return the ladder of method ``name``; where it finds no step for a live channel, with that of minmax."""
    found = METHODS[name][0](stats, lo, hi, options)
    return replace(found, step=np.where(found.step > 0, found.step, largest(stats, *found.ends(lo, hi))))


def two_polarities(name: str, options: Options) -> bool:
    """Return whether a signed site has N codes on either side of 0 instead of N + 1 in all: PMSM's way."""
    words = ("two", "one") if name == "pmsm" else ("one", "two")
    return "polarity" in METHODS[name][1] and word(options, "polarity", words) == "two"


def rounding_to_nearest(name: str, options: Options) -> tuple[str, dict[str, str]]:
    """Return (method, options) of a uniform ladder that rounds to nearest, in place of what was asked for.

    Without its offset; a book gives way to the uniform ladder of least squared error.
    """
    if options.get("ladder", "uniform") != "uniform":
        return "mse", {k: v for k, v in options.items() if k == "polarity"}
    return name, {k: v for k, v in options.items() if k != "offset"}


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Raise SFN605 for an unknown method, or an option or a value of one that it does not have."""
    if name not in METHODS:
        raise fail("SFN605", f"no method called {name!r}", "--method", f"one of {', '.join(METHODS)}")
    unknown = sorted(set(options) - METHODS[name][1])
    if unknown:
        known = ", ".join(sorted(METHODS[name][1]))
        raise fail("SFN605", f"method {name} has no option {unknown[0]!r}", "--method-option", f"its options: {known}")
    two_polarities(name, options)
    one = Statistics(1)
    one.update(np.ones((1, 1)))
    METHODS[name][0](one, 0, 1, options)  # it reads its options whatever the values are
