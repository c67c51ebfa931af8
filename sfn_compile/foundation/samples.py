"""Samples of a model: one array per model input, by the input's name, the same number of samples first in each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Samples: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True)
class ModelInput:
    """One real input of a model: its ONNX name, the ``shape`` of one sample and its NumPy ``dtype`` by name.

    ``frames``: of how many frames a sample is made; the first axis of ``shape`` then (:func:`in_frames`).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    frames: int | None = None

    @property
    def is_integer(self) -> bool:
        """Whether its values are whole numbers."""
        return np.dtype(self.dtype).kind in "iu"


def in_frames(inputs: Sequence[ModelInput], frames: int | None) -> tuple[ModelInput, ...]:
    """Return inputs of which a sample is so many frames; as they are for None."""
    return tuple(i if frames is None else replace(i, shape=(frames, *i.shape), frames=frames) for i in inputs)


class RunningSum:
    """The sum of frames ``(n, *shape)`` that come one after the other, in their type.

    Integers that it does not hold become its largest or smallest.
    """

    def __init__(self, like: Array):
        self.dtype = like.dtype
        self.total = np.zeros(like.shape, np.float64 if like.dtype.kind == "f" else np.int64)

    def add(self, frame: Array) -> Array:
        """Return the sum with one frame more."""
        self.total += frame
        if self.dtype.kind == "f":
            return self.total.astype(self.dtype)
        limits = np.iinfo(self.dtype)
        return np.clip(self.total, limits.min, limits.max).astype(self.dtype)


def running_sums(frames: Array) -> Iterator[Array]:
    """Yield the sum of the first frames of ``(n, T, *shape)``, of one, two, ... and at last of all, in their type."""
    total = RunningSum(frames[:, 0])
    for t in range(frames.shape[1]):
        yield total.add(frames[:, t])


def summed(x: Samples) -> dict[str, Array]:
    """Return the sum of the frames ``(n, T, *shape)`` of every sample, by input: what a network at once takes."""
    sums = {}
    for name, frames in x.items():
        *_, sums[name] = running_sums(frames)
    return sums


def n_samples(x: Samples) -> int:
    """Return the number of samples."""
    return len(next(iter(x.values())))


def part(x: Samples, chosen: slice | Array) -> dict[str, Array]:
    """Return the chosen samples of every input."""
    return {name: values[chosen] for name, values in x.items()}


def by_name(x: Samples | Array, names: Sequence[str]) -> Samples:
    """Return samples by input name; an array alone stands for those of the only input."""
    if isinstance(x, Mapping):
        return x
    (name,) = names
    return {name: x}
