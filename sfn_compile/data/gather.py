"""Samples that come piece by piece: held in memory while they are few, in a temporary file beyond that."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..files.mapped_arrays import LARGE
from ..foundation.samples import ModelInput

Array = NDArray[Any]


class Gathered:
    """The samples of one input. The temporary file has no name: it is gone with the array that maps it."""

    def __init__(self, source: ModelInput):
        self.source, self.n = source, 0
        self.pieces: list[Array] = []
        self.file: IO[bytes] | None = None
        self.bytes = 0

    def add(self, piece: Array) -> None:
        """Take samples ``(n, *shape)`` in the input's own type."""
        self.n += len(piece)
        self.bytes += piece.nbytes
        if self.file is None and self.bytes > LARGE:
            self.file = tempfile.TemporaryFile(prefix="sfnc-")  # noqa: SIM115  closed once it is mapped
            for held in self.pieces:
                self.file.write(np.ascontiguousarray(held).tobytes())
            self.pieces = []
        if self.file is None:
            self.pieces.append(piece)
        else:
            self.file.write(np.ascontiguousarray(piece).tobytes())

    def array(self) -> Array:
        """Return all samples: an array in memory, or a read-only map of the file."""
        if self.file is None:
            return np.concatenate(self.pieces)
        with self.file as file:
            file.flush()
            return np.memmap(file, self.source.dtype, "r", 0, (self.n, *self.source.shape))


def gathered(inputs: Sequence[ModelInput]) -> dict[str, Gathered]:
    """Return what takes the samples of every input."""
    return {i.name: Gathered(i) for i in inputs}
