"""Signal to noise as one number."""

from __future__ import annotations

import numpy as np


def decibel(signal: float, noise: float) -> float | None:
    """Return 10 log10(signal / noise), None where either is zero: no error, or nothing to compare with."""
    return round(10 * float(np.log10(signal / noise)), 3) if signal > 0 and noise > 0 else None
