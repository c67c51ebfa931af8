"""What is remembered of every sample beside the sums: how far its answer is off, which class each network names.

From it come the worst samples and the points of float against spiking.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .agreement import top1

Array = NDArray[Any]
WORST = 12  # samples that are named
# Points of float against spiking: of every fourth sample (pieces begin at multiples of it, so that no point depends on
# their size), of so many of its numbers; of all so many are kept.
EVERY, NUMBERS, POINTS = 4, 32, 600
NO_CLASS = -1


@dataclass
class EachSample:
    """Numbers per sample of the first output, in pieces."""

    errors: list[Array] = field(default_factory=list)
    tops: list[Array] = field(default_factory=list)  # (n, 3): label, float network, spiking network; -1: none
    points: list[Array] = field(default_factory=list)  # (n, 2)

    def add(self, want: Array, got: Array, truth: Array | None) -> None:
        """Add the answers ``(n, ...)`` of both networks to some samples; ``truth``: classes ``(n,)`` where given."""
        n = len(want)
        a, b = (np.asarray(y, np.float64).reshape(n, -1) for y in (want, got))
        difference = np.where(np.isfinite(a) & np.isfinite(b), a - b, 0.0)
        self.errors.append(np.sqrt((difference**2).mean(axis=1)) if a.shape[1] else np.zeros(n))
        tops = np.full((n, 3), NO_CLASS, np.int64)
        if a.shape[1] > 1 and sum(axis != 1 for axis in want.shape[1:]) == 1:
            for column, y in ((1, a), (2, b)):
                named = top1(y)
                tops[:, column] = np.where(np.isnan(named), NO_CLASS, named)
        if truth is not None:
            tops[:, 0] = truth
        self.tops.append(tops)
        chosen = slice(None, None, EVERY), slice(None, None, max(1, -(-a.shape[1] // NUMBERS)))
        self.points.append(np.stack([a[chosen].ravel(), b[chosen].ravel()], axis=1))

    def merge(self, other: EachSample) -> None:
        """Add the samples behind these."""
        self.errors += other.errors
        self.tops += other.tops
        self.points += other.points

    def rows(self) -> dict[str, Any]:
        """Return ``worst`` and ``points``."""
        if not self.errors:
            return {}
        errors, tops, points = (np.concatenate(parts) for parts in (self.errors, self.tops, self.points))
        shown = points[np.isfinite(points).all(axis=1)]
        shown = shown[:: -(-len(shown) // POINTS)] if len(shown) else shown
        drawn = {"float": _short(shown[:, 0]), "spiking": _short(shown[:, 1])}
        found: dict[str, Any] = {"worst": self._worst(errors, tops), "points": drawn}
        return found

    def _worst(self, errors: Array, tops: Array) -> list[dict[str, Any]]:
        """Return the samples whose class changed, then those that are off furthest."""
        order = np.lexsort((-errors, tops[:, 1] == tops[:, 2]))[:WORST]
        names = ("label", "float", "spiking")
        return [{"sample": int(i), "error": float(errors[i]),
                 **{name: None if tops[i, k] == NO_CLASS else int(tops[i, k]) for k, name in enumerate(names)}}
                for i in order if errors[i] > 0]  # fmt: skip


def _short(values: Array) -> list[float]:
    """Return numbers with the digits that a picture shows."""
    return [float(f"{v:.4g}") for v in values]
