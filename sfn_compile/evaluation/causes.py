"""What the error of one layer is made of, on samples as they reach it, and which option would make it smaller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ..foundation.decibel import Varying, decibel, squares
from ..graph.ops.layer import channel_rows
from ..program.broadcast import Axis
from ..program.network import Normalization, Population, Ratio, Readout, RowTable, Step, Table, Uniform
from ..program.rounding import to_ranks
from ..report.activity import HALF

Array = NDArray[Any]
Try = list[str]
HALF_THE_RANGE = 0.5  # a step that leaves more than half of the codes unused could be half as large
MOST_LEVELS, MOST_BITS, MOST_ACC_BITS = 255, 8, 31  # of the options
ENOUGH = 512  # samples that calibrate; more change little
FIRST_AXIS: Axis = 0  # the channels of an input


@dataclass
class Parts:
    """Sums of squares of a layer's error against what the float network makes of the same inputs.

    ``rounding`` to its codes, ``cut`` off beyond the last one, of ``weights`` (and bias and thresholds) that are
    integers; ``inherited``: what its inputs brought along; ``dead``: the part of ``rounding`` in channels that never
    left 0. ``signal``: of the float values about their mean. ``reach``: largest real value, ``top``: largest code, both
    in codes.
    """

    signal: Varying = field(default_factory=Varying)
    rounding: float = 0.0
    cut: float = 0.0
    weights: float = 0.0
    inherited: float = 0.0
    dead: float = 0.0
    accumulated: float = 0.0
    reach: float = 0.0
    top: float = 0.0
    beyond: float = 0.0

    def merge(self, other: Parts, share: float) -> None:
        """Add those of other samples; ``share``: of all samples."""
        self.signal.merge(other.signal)
        for one in fields(self)[1:]:
            a, b = getattr(self, one.name), getattr(other, one.name)
            value = max(a, b) if one.name in ("reach", "top") else a + (share * b if one.name == "beyond" else b)
            setattr(self, one.name, value)

    @property
    def own(self) -> float:
        """What this layer adds itself."""
        return self.rounding + self.cut + self.weights

    def row(self) -> dict[str, Any]:
        """Return the parts as signal to noise in decibels (None: no such error), and shares."""
        noises = ("own", "accumulated", "rounding", "cut", "weights", "inherited", "dead")
        found: dict[str, Any] = {f"{name}_db": decibel(self.signal.signal, getattr(self, name)) for name in noises}
        return {**found, "beyond": self.beyond, "reach": self.reach, "top": self.top}


def parts_of(
    fed: Array, real: Array, codes: Array, unit: Array, book: Array | None, axis: Axis, offset: float = 0.5
) -> Parts:
    """Return the parts of a layer's error on some samples ``(n, *shape)``.

    ``fed``: what the float layer makes of the inputs that this one really gets; ``real``: of the float network's own;
    ``unit``: real value of one integer; ``book``: its codes, ascending, None of a readout; ``offset`` as in
    :class:`~sfn_compile.graph.graph.Levels`.
    """
    found = Parts(inherited=_squares(fed - real), accumulated=_squares(codes * unit - real))
    found.signal.add(np.asarray(real, np.float64).reshape(len(real), 1, -1))
    if book is None:
        found.weights = _squares(codes * unit - fed)
        return found
    scaled = fed / unit
    ideal = np.asarray(book)[to_ranks(scaled, np.ones(()), book.tolist(), offset)]
    lost = (ideal - scaled) * unit
    beyond = (scaled > book[-1] + HALF) | ((scaled < book[0] - HALF) & (book[0] < 0))
    found.cut, found.rounding = _squares(lost[beyond]), _squares(lost[~beyond])
    found.weights = _squares((codes - ideal) * unit)
    silent = ~channel_rows(codes != 0, axis, batched=True).any(axis=1)
    found.dead = _squares(channel_rows(lost * ~beyond, axis, batched=True)[silent])
    found.beyond = float(beyond.mean())
    found.reach, found.top = float(np.abs(scaled).max(initial=0)), float(np.abs(codes).max(initial=0))
    return found


def book_of(step: Step) -> Array | None:
    """Return the codes that a layer can emit, ascending; None of a readout."""
    assert isinstance(step, Population | Normalization)
    ladder = step.ladder
    if isinstance(ladder, Readout):
        return None
    if isinstance(ladder, Table | RowTable):
        return np.unique(ladder.codes)
    if isinstance(ladder, Uniform | Ratio):
        return np.arange(ladder.lo, ladder.hi + 1)
    assert_never(ladder)


def cause_of(parts: Parts, levels: int, is_unlike: bool) -> str:
    """Return what most of a layer's own error is: saturation, data, weights, dead, step or levels."""
    worst = max(("cut", "weights", "rounding"), key=lambda name: float(getattr(parts, name)))
    if worst == "cut":
        return "data" if is_unlike else "saturation"
    if worst == "weights":
        return "weights"
    if parts.dead > parts.rounding / 2 and parts.top > 0:  # where nothing fires at all, it is the step
        return "dead"
    return "step" if levels > 1 and max(parts.reach, parts.top) <= HALF_THE_RANGE * levels else "levels"


def advice(
    cause: str, name: str, kind: str, levels: int, parts: Parts, options: Mapping[str, Any], n_calibrated: int = 0
) -> Try:
    """Return options of ``sfnc compile`` that make this cause smaller, the most promising first, none that is set.

    ``n_calibrated``: samples that the steps were chosen on.

    A stretch that was asked for is undone before another is proposed: steps have a smallest size, so the factor that
    was asked for need not be the one that acts.
    """
    own = options.get("sites", {}).get(name, {})
    site, stretch, method = f"--site {name}:", own.get("stretch", 1.0), own.get("method") or options.get("method")
    samples = [] if n_calibrated >= ENOUGH else ["--calib with more samples, 512 or more, of every kind"]
    minmax = [] if method == "minmax" else [f"{site}method=minmax"]
    if cause == "data":
        return ["--calib with samples prepared like these", "or prepare these as the calibration data was"]
    if cause == "saturation":
        if kind == "input":
            return [*(["--method minmax"] if minmax else []), "--calib with samples of every kind"]
        wider = 1.0 if stretch < 1 else stretch * parts.reach / levels
        return [f"{site}stretch={_rounded(wider)} (it is {stretch:g} now)", *minmax]
    if cause == "weights":
        return _finer_weights(site, own, options) or _finer_network(options)
    if cause == "dead":
        return [*samples, *minmax] or _finer_network(options)
    if cause == "step":
        smaller = 1.0 if stretch > 1 else stretch * max(parts.reach, parts.top, 1.0) / levels
        return [f"{site}stretch={_rounded(smaller)} (it is {stretch:g} now)",
                *([] if method == "mse" else [f"{site}method=mse"])]  # fmt: skip
    if cause == "levels" and levels < MOST_LEVELS:
        option = "--input-levels " if kind == "input" else f"{site}levels="
        return [f"{option}{_finer(levels)} (it has {levels})"]
    if cause == "levels" and kind == "input":  # as many codes as there are
        return ["give the network channels of one size: divide each by its own range before sfnc sees it"]
    return _finer_network(options)


def _finer_weights(site: str, own: Mapping[str, Any], options: Mapping[str, Any]) -> Try:
    bits, acc_bits = own.get("weight_bits") or options["weight_bits"], options["acc_bits"]
    if bits < MOST_BITS:
        return [f"{site}weight-bits={MOST_BITS} (it has {bits})"]
    most = min(MOST_ACC_BITS, acc_bits + 4)
    return [f"--acc-bits {most} (room for larger integer weights)"] if most > acc_bits else []


def _finer_network(options: Mapping[str, Any]) -> Try:
    """Return what makes all layers finer; at the end of all options, what the network itself could change."""
    levels = options["levels"]
    more = [f"--levels {_finer(levels)} (it is {levels})"] if levels < MOST_LEVELS else []
    learnt = [] if options.get("reconstruct") else ["--reconstruct (weights learnt from the float network)"]
    return [*more, *learnt] or ["no option is left: train the network with quantisation, or give it more channels"]


def _finer(levels: int) -> int:
    """Return two bits more of levels, at most 255."""
    return min(MOST_LEVELS, 4 * levels + 3)


def _rounded(factor: float) -> str:
    return f"{max(factor, 0.01):.2g}"


def _squares(x: Array) -> float:
    return squares(np.asarray(x, np.float64))
