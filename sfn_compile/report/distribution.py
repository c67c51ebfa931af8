"""How the real values of a layer are spread over its codes: a histogram whose bins are parts of a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph.graph import Levels

Array = NDArray[Any]
MOST = 1 << 16  # numbers that are counted of a piece of samples, evenly spaced: what is drawn needs no more
PER_CODE, MOST_BINS = 4, 160
BESIDE = 0.15  # of the range that is shown past either end of it


class Distribution:
    """Counts ``real / step``: ``bins[i]`` those in ``[low + i * width, low + (i + 1) * width)``.

    ``below`` and ``above``: values past what is shown.
    """

    def __init__(self, levels: Levels):
        beside = max(1, round(BESIDE * (levels.hi - levels.lo)))
        self.low, self.high = levels.lo - beside, levels.hi + beside
        self.per_code = next((n for n in (PER_CODE, 2, 1) if n * (self.high - self.low) <= MOST_BINS), 1)
        self.group = -(-(self.high - self.low) * self.per_code // MOST_BINS)  # codes that share a bin
        self.width = self.group / self.per_code
        self.bins = np.zeros(-(-(self.high - self.low) * self.per_code // self.group), np.int64)
        self.below = self.above = 0

    def add(self, in_steps: Array) -> None:
        """Count values that are given in steps."""
        flat = in_steps.reshape(-1)
        flat = flat[:: -(-flat.size // MOST)] if flat.size else flat
        flat = flat[np.isfinite(flat)]
        at = np.floor((flat - self.low) / self.width).astype(np.int64)
        self.below += int((at < 0).sum())
        self.above += int((at >= len(self.bins)).sum())
        inside = at[(at >= 0) & (at < len(self.bins))]
        self.bins += np.bincount(inside, minlength=len(self.bins))

    def row(self) -> dict[str, Any]:
        """Return what ``report.json`` says of it."""
        return {"low": self.low, "width": self.width, "counts": self.bins.tolist(), "below": self.below,
                "above": self.above}  # fmt: skip
