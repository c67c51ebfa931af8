"""What a way to read data is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..files.mapped_arrays import Stored
from ..files.sample_files import Data
from ..foundation.preparation import AS_RECORDED, Preparation
from ..foundation.samples import ModelInput

Array = NDArray[Any]
Progress = Callable[[str, int, int], None]
# What data may be: a file, a folder, ``module:function``; arrays; batches (a DataLoader, a generator, a function).
DataLike: TypeAlias = "str | Path | ArrayLike | Mapping[str, Any] | Iterable[Any] | Callable[[], Any]"
ENOUGH_OF_A_STREAM = 512  # samples of batches that calibrate where nobody says how many; the rest is not computed


def unseen(stage: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


@dataclass(frozen=True)
class Asked:
    """What is asked for of data: ``samples`` of them, for the model's ``inputs``.

    ``recorded``: how the build's own calibration data were prepared; ``of_build``: there is such a build.
    ``most``: samples that are taken of a stream where ``samples`` does not say.
    """

    inputs: Sequence[ModelInput]
    samples: int | None = None
    seed: int = 0
    needs_labels: bool = False
    preparation: Preparation = AS_RECORDED
    recorded: Mapping[str, Any] | None = None
    of_build: bool = False
    most: int | None = None
    progress: Progress = field(default=unseen)


@dataclass(frozen=True)
class Source:
    """A kind of data: whether it ``takes`` what was given, how it is ``read``.

    ``prepares``: the group of options that say how, "" where arrays are taken as they are.
    """

    name: str
    takes: Callable[[Any], bool]
    read: Callable[[Any, Asked], Data]
    prepares: str = ""


def as_array(value: Any) -> Array:
    """Return an array, also of a tensor that has gradients or lies on a device."""
    for step in ("detach", "cpu", "numpy"):
        if not isinstance(value, np.ndarray) and hasattr(value, step):
            value = getattr(value, step)()
    return np.asarray(value)


def held(array: Array) -> Stored:
    """Return an array that is in memory as those of files are."""
    return Stored(array.shape, array.dtype, lambda places: array if places is None else array[places])
