"""Samples of a model: one array per model input, by the input's name, the same number of samples first in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Samples: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True)
class ModelInput:
    """One real input of a model: its ONNX name, the ``shape`` of one sample and its NumPy ``dtype`` by name."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_integer(self) -> bool:
        """Whether its values are whole numbers."""
        return np.dtype(self.dtype).kind in "iu"


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
