"""How closely two networks answer: sums over samples, output by output."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.decibel import CONSTANT, NO_ERROR, NO_RANGE, NO_SIGNAL, Varying, decibel

Array = NDArray[Any]
DIFFER = 10.0  # squares of channels: where the largest is so many times the smallest, each is told of


@dataclass
class Agreement:
    """Sums of one output. ``places``: it holds whole numbers, which agree or not; ``each``: shapes may differ;
    ``scores``: what computes it last lets it be scores of classes.

    Samples of which either answer is not finite are counted, and are in no sum of signal, noise and error. Where one
    of the two is NaN they do not agree.
    """

    places: bool = False
    each: bool = False
    scores: bool = True
    signal: Varying = field(default_factory=Varying)
    noises: Array | float = 0.0  # per channel
    max_error: float = 0.0
    agree: int = 0
    same_shape: int = 0
    n: int = 0
    is_row: bool = True
    float_odd: int = 0
    spiking_odd: int = 0
    odd: int = 0
    compared: int = 0

    def add(self, want: Any, got: Any) -> None:
        """Add the answers to some samples: arrays ``(n, ...)``, or one array per sample where shapes may differ."""
        if not self.each:
            self._add(want, got)
            return
        for a, b in zip(want, got, strict=True):
            if a.shape == b.shape:
                self._add(a[None], b[None], stacks=False)
            else:
                self.n += 1
                self._count(_finite_rows(a[None]), _finite_rows(b[None]))

    def _add(self, want: Array, got: Array, stacks: bool = True) -> None:
        n, channels = len(want), n_channels(want.shape[1:]) if stacks else 1
        self.is_row &= sum(axis != 1 for axis in want.shape[1:]) == 1
        a, b = (np.asarray(y).reshape(n, -1).astype(np.float64) for y in (want, got))
        self.n += n
        self.same_shape += n
        tops = (a, b) if self.places or not a.size else (top1(a)[:, None], top1(b)[:, None])
        self.agree += int((tops[0] == tops[1]).all(axis=1).sum())  # NaN equals nothing
        finite = self._count(_finite_rows(a), _finite_rows(b))
        self.compared += int(finite.sum())
        if not finite.all():
            a, b = a[finite], b[finite]
        with np.errstate(over="ignore"):  # an infinite sum is told as one
            if stacks and a.size:
                self.signal.add(a.reshape(len(a), channels, -1))
            elif a.size:
                self.signal.add_alone(a)
            if a.size:
                self.noises = self.noises + ((a - b) ** 2).reshape(len(a), channels, -1).sum(axis=(0, 2))
        self.max_error = max(self.max_error, float(np.abs(a - b).max(initial=0)))

    def _count(self, want: Array, got: Array) -> Array:
        """Count the samples that are not finite; return which ones both networks answer with finite numbers."""
        self.float_odd += int((~want).sum())
        self.spiking_odd += int((~got).sum())
        self.odd += int((~(want & got)).sum())
        return np.asarray(want & got)

    def merge(self, other: Agreement) -> None:
        """Add the sums of other samples. Float sums depend on the order of merging; keep it that of the samples."""
        self.signal.merge(other.signal)
        self.noises = self.noises + other.noises
        self.max_error = max(self.max_error, other.max_error)
        self.agree += other.agree
        self.same_shape += other.same_shape
        self.n += other.n
        self.is_row &= other.is_row
        self.float_odd += other.float_odd
        self.spiking_odd += other.spiking_odd
        self.odd += other.odd
        self.compared += other.compared

    @property
    def share(self) -> float:
        """The share of samples with the same largest score, or of whole numbers the same in every place."""
        return self.agree / self.n

    def row(self, labelled: bool = False) -> dict[str, Any]:
        """Return what is reported: places have no signal and no error; ``labelled``: labels make the output classes.

        ``reasons`` says of every number that is null why it is none.
        """
        withheld = "" if self.places or labelled else self._withheld()
        row: dict[str, Any] = {"agreement": None if withheld else self.share}
        if self.each:
            row["same_shape"] = self.same_shape / self.n
        reasons = {"agreement": withheld} if withheld else {}
        if not self.places:
            row |= {"sqnr_db": decibel(self.signal.signal, self.noise), "max_error": self.max_error, **self._channels()}
            if not self.compared:
                row["max_error"] = None
            reasons |= {key: self._no_number() for key in ("sqnr_db", "max_error") if row[key] is None}
        if self.odd:
            row["not_finite"] = {"samples": self.odd, "float": self.float_odd, "spiking": self.spiking_odd}
        return {**row, "reasons": reasons} if reasons else row

    @property
    def noise(self) -> float:
        """The sum of squared errors."""
        return float(np.sum(self.noises))

    def _channels(self) -> dict[str, Any]:
        """Return the channel of least signal to noise, where channels differ in size; constant ones are none."""
        signals, noises = np.atleast_1d(self.signal.of_channels), np.atleast_1d(self.noises)
        varies = np.flatnonzero((signals > CONSTANT * self.signal.power) & np.isfinite(signals))
        if len(varies) < 2 or signals[varies].max() < DIFFER * signals[varies].min():
            return {}
        worst = int(varies[np.argmax(noises[varies] / signals[varies])])
        db = decibel(float(signals[worst]), float(noises[worst]))
        return {} if db is None else {"worst_channel": {"channel": worst, "sqnr_db": db}}

    def _withheld(self) -> str:
        """Return why the same largest value would say nothing, empty where it does."""
        if self.each:
            return "its shape differs from sample to sample: no row of scores"
        if not self.is_row:
            return "a sample of it is no single row of scores"
        return "" if self.scores else "the function that ends it makes values, not scores of classes"

    def _no_number(self) -> str:
        """Return why there is no signal to noise."""
        if not self.compared:
            return "no sample could be compared"
        if self.max_error == 0:
            return NO_ERROR if self.compared == self.n else "no error in the samples that could be compared"
        return NO_SIGNAL if self.signal.signal == 0 else NO_RANGE


def n_channels(shape: tuple[int, ...]) -> int:
    """Return how many channels a sample of a shape has: the numbers of a row, the first axis of a map; of two axes the
    shorter one where it is the first (boxes of a detector), else one."""
    real = [n for n in shape if n != 1] or [1]
    return real[0] if len(real) != 2 or real[0] <= real[1] else 1


def _finite_rows(y: Array) -> Array:
    """Return of which samples all numbers are finite."""
    return np.asarray(np.isfinite(y).reshape(len(y), -1).all(axis=1))


def top1(y: Array) -> Array:
    """Return the class, as a float: the largest output, or whether a single output passes one half; NaN for a row with
    NaN in it, which has none."""
    found = y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0] > 0.5
    return np.where(np.isnan(y).any(axis=1), np.nan, found.astype(np.float64))
