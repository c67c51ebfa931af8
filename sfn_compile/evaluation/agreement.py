"""How closely two networks answer: sums over samples, output by output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.decibel import decibel

Array = NDArray[Any]


@dataclass
class Agreement:
    """Sums of one output. ``places``: it holds whole numbers, which agree or not; ``each``: shapes may differ."""

    places: bool = False
    each: bool = False
    signal: float = 0.0
    noise: float = 0.0
    max_error: float = 0.0
    agree: int = 0
    same_shape: int = 0
    n: int = 0

    def add(self, want: Any, got: Any) -> None:
        """Add the answers to some samples: arrays ``(n, ...)``, or one array per sample where shapes may differ."""
        if not self.each:
            self._add(want, got)
            return
        for a, b in zip(want, got, strict=True):
            if a.shape == b.shape:
                self._add(a[None], b[None])
            else:
                self.n += 1

    def _add(self, want: Array, got: Array) -> None:
        n = len(want)
        a, b = (np.asarray(y).reshape(n, -1).astype(np.float64) for y in (want, got))
        self.n += n
        self.same_shape += n
        tops = (a, b) if self.places or not a.size else (top1(a)[:, None], top1(b)[:, None])
        self.agree += int((tops[0] == tops[1]).all(axis=1).sum())
        self.signal += float((a**2).sum())
        self.noise += float(((a - b) ** 2).sum())
        self.max_error = max(self.max_error, float(np.abs(a - b).max(initial=0)))

    def merge(self, other: Agreement) -> None:
        """Add the sums of other samples. Float sums depend on the order of merging; keep it that of the samples."""
        self.signal += other.signal
        self.noise += other.noise
        self.max_error = max(self.max_error, other.max_error)
        self.agree += other.agree
        self.same_shape += other.same_shape
        self.n += other.n

    def row(self) -> dict[str, Any]:
        """Return what is reported: places have no signal and no error."""
        row: dict[str, Any] = {"agreement": self.agree / self.n}
        if self.each:
            row["same_shape"] = self.same_shape / self.n
        if self.places:
            return row
        return {**row, "sqnr_db": decibel(self.signal, self.noise), "max_error": self.max_error}


def top1(y: Array) -> Array:
    """Return the class: the largest output, or whether a single output passes one half."""
    return y.argmax(axis=1) if y.shape[1] > 1 else (y[:, 0] > 0.5).astype(np.int64)
