"""SFN (arXiv 2510.23383): a quantile of the activation, lambda, and a ladder that may follow the density."""

from __future__ import annotations

import numpy as np

from ...foundation.diagnostics import fail
from ..statistics import Statistics
from . import books
from .real_ladder import Array, Options, RealLadder, longer_side, number, offset_of, word

LADDERS = ("uniform", "equal-mass", "lloyd-max")


def sfn(stats: Statistics, lo: int, hi: int, options: Options) -> RealLadder:
    """Return the ladder of SFN: a quantile of the activation times lambda; options p (0.99), lambda, reading, ladder.

    A uniform ladder has two readings: ``step`` takes lambda * quantile as the step (lambda 0.252 by default, the
    paper's operating point), ``scale`` as the full scale (1.0 by default); the paper's text allows both. Of any other
    ladder the quantile is the unit in which the levels of the site are found, and lambda a factor of all of them: one
    for all channels where it is given, else each channel's own of least squared error.

    Raises SFN605 for an option that does not belong to the ladder. Source: arXiv 2510.23383, section 3.2.
    """
    ladder = word(options, "ladder", LADDERS)
    quantile = stats.quantile_abs(number(options, "p", 0.99, 0.0, 1.0))
    if ladder == "uniform":
        return RealLadder(_uniform_step(quantile, lo, hi, options), offset=offset_of(options))
    for name in ("reading", "offset"):
        if name in options:
            what = f"{name} = {options[name]!r} belongs to a uniform ladder"
            raise fail("SFN605", what, "--method-option", f"leave it out, or ladder={ladder}")
    unit = np.where(quantile > 0, quantile, np.maximum(stats.high, -stats.low).clip(0))
    factor = number(options, "lambda", 1.0, 0.0, np.inf)
    place = books.lloyd_max if ladder == "lloyd-max" else books.equal_mass
    found = books.chosen(stats, lo, hi, unit, place, "lambda" in options)
    return RealLadder(found.step * factor, found.book)


def _uniform_step(quantile: Array, lo: int, hi: int, options: Options) -> Array:
    reading = word(options, "reading", ("step", "scale"))
    theta = quantile * number(options, "lambda", 0.252 if reading == "step" else 1.0, 0.0, np.inf)
    return theta if reading == "step" else theta / longer_side(lo, hi)
