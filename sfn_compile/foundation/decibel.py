"""Signal to noise as one number."""

from __future__ import annotations

import numpy as np


def decibel(signal: float, noise: float) -> float | None:
    """Return 10 log10(signal / noise), None where that is no number: one of them is zero, infinite or NaN."""
    if not (0 < signal < float("inf") and 0 < noise < float("inf")):
        return None
    return round(10 * float(np.log10(signal / noise)), 3) if 0 < signal / noise < float("inf") else None
