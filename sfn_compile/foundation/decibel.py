"""Signal to noise as one number: the varying part of a value against the error of it.

The signal of a value is its sum of squares about the mean of each element over the samples. What is the same in every
sample tells nothing of one, so it is no signal: an output of 100 +- 1 with an error of 1 is at 0 dB, not at 40.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .reasons import EXACT_DB as EXACT_DB
from .reasons import NO_ERROR as NO_ERROR
from .reasons import NO_RANGE as NO_RANGE
from .reasons import NO_SIGNAL as NO_SIGNAL

Array = NDArray[Any]
# A varying part below this share of all squares is what float32 rounds: the value is constant.
CONSTANT = 1e-12
BLOCK = 4096  # numbers whose squares are added in their own type


def decibel(signal: float, noise: float) -> float | None:
    """Return 10 log10(signal / noise), None where that is no number: one of them is zero, infinite or NaN."""
    if not (0 < signal < float("inf") and 0 < noise < float("inf")):
        return None
    return round(10 * float(np.log10(signal / noise)), 3) if 0 < signal / noise < float("inf") else None


def why_none(signal: float, noise: float) -> str:
    """Return why :func:`decibel` is None, empty where it is a number."""
    if decibel(signal, noise) is not None:
        return ""
    if noise == 0:
        return NO_ERROR
    return NO_SIGNAL if signal == 0 else NO_RANGE


def squares(x: Array) -> float:
    """Return the sum of squares; of float32 numbers by BLAS, some thousand in float32 at a time."""
    flat = np.ascontiguousarray(x).reshape(-1)
    blocks = flat[: len(flat) // BLOCK * BLOCK].reshape(-1, BLOCK)
    rest = flat[blocks.size :]
    return float(np.einsum("ij,ij->i", blocks, blocks).sum(dtype=np.float64) + np.dot(rest, rest))


@dataclass
class Varying:
    """The varying part of one value, from pieces of the samples: sum of squares about each element's mean over all.

    Pieces are joined by the rule of Chan, Golub and LeVeque (1983), so no sample is held. ``of_channels``: the sum per
    channel, ``(channels,)``; ``power``: the sum of squares about 0.
    """

    n: int = 0
    mean: Array | None = None  # (channels, elements)
    of_channels: Array | float = 0.0
    power: float = 0.0

    def add(self, values: Array) -> None:
        """Add samples ``(n, channels, elements)``."""
        if not len(values):
            return
        first = values[0]
        rest = values - first  # a constant leaves zeros, whatever its size
        mean = rest.mean(axis=0)
        rest -= mean
        self._join(len(values), first + mean, _of_channels(rest), squares(values))

    def add_alone(self, values: Array) -> None:
        """Add one sample of a value whose shape differs from sample to sample: about the mean of its own numbers."""
        flat = values.astype(np.float64).reshape(-1)
        self.n += 1
        self.of_channels = self.of_channels + (squares(flat - flat.mean()) if flat.size else 0.0)
        self.power += squares(flat)

    def merge(self, other: Varying) -> None:
        """Add the samples of another. Float sums depend on the order of merging; keep it that of the samples."""
        if other.n:
            self._join(other.n, other.mean, other.of_channels, other.power)

    @property
    def signal(self) -> float:
        """The sum over all channels; 0 where the value is constant to what float32 rounds."""
        found = float(np.sum(self.of_channels))
        return 0.0 if found <= CONSTANT * self.power < float("inf") else found

    def _join(self, n: int, mean: Array | None, of_channels: Array | float, power: float) -> None:
        between: Array | float = 0.0
        if mean is not None and self.mean is not None:
            apart = mean - self.mean
            between = _of_channels(apart[None]) * (self.n * n / (self.n + n))
            mean = self.mean + apart * (n / (self.n + n))
        self.mean = mean
        self.of_channels = self.of_channels + of_channels + between
        self.power += power
        self.n += n


def _of_channels(x: Array) -> Array:
    """Return the sums of squares ``(channels,)`` of an array ``(n, channels, elements)``."""
    if x.shape[1] == 1:
        return np.array([squares(x)])
    return np.asarray(np.einsum("nce,nce->c", x, x, dtype=np.float64))


def varying(pieces: list[Array]) -> float:
    """Return the signal of a value, of pieces ``(n, ...)`` of its samples."""
    found = Varying()
    for piece in pieces:
        found.add(piece.reshape(len(piece), 1, -1))
    return found.signal
