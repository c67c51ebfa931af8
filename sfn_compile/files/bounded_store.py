"""Values of many samples, held in bounded memory: what does not fit is written to a temporary file.

Samples come in portions of any size and are read in pieces of one size. A piece is in memory with its samples LAST,
as the fast engine computes (:mod:`sfn_compile.simulator.kernels`).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from threading import Lock
from typing import IO, Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import fail

Array = NDArray[Any]

ROOM = 32 << 20


@dataclass(frozen=True)
class _Place:
    """Where a piece is in the file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize


class Held:
    """Values by name, in pieces of ``size`` samples; up to ``room`` bytes of them in memory. Raises SFN602.

    The file has no name and ends with this object, also when the process is killed. Reading is safe in threads;
    adding and dropping belong to one thread.
    """

    def __init__(self, size: int, room: int = ROOM):
        self.size, self.room, self.used = size, room, 0
        self._pieces: dict[str, list[Array | _Place]] = {}
        self._begun: dict[str, list[Array]] = {}  # samples that do not fill a piece yet
        self._counts: dict[str, int] = {}
        self._file: IO[bytes] | None = None
        self._end, self._lock = 0, Lock()
        self._free: dict[int, list[int]] = {}  # by size in bytes, where pieces stood that were dropped

    def __contains__(self, name: str) -> bool:
        return name in self._counts

    def count(self, name: str) -> int:
        """Return how many samples of a value are held."""
        return self._counts[name]

    def add(self, name: str, values: Array) -> None:
        """Append samples ``(n, *shape)`` of a value."""
        self._counts[name] = self._counts.get(name, 0) + len(values)
        begun, pieces = self._begun.setdefault(name, []), self._pieces.setdefault(name, [])
        while len(values):
            wanted = self.size - sum(map(len, begun))
            begun.append(values[:wanted])
            values = values[wanted:]
            if len(begun[-1]) == wanted:
                pieces.append(self._stored(begun))
                begun.clear()

    def piece(self, name: str, i: int) -> Array:
        """Return the samples ``i * size ..`` of a value, ``(size or fewer, *shape)``; the last ones may be fewer."""
        pieces = self._pieces[name]
        if i == len(pieces):
            return np.concatenate(self._begun[name])
        return np.moveaxis(self._read(pieces[i]), -1, 0)

    def drop(self, name: str) -> None:
        """Forget a value; its room can be taken by others."""
        self._begun.pop(name)
        self._counts.pop(name)
        for piece in self._pieces.pop(name):
            if isinstance(piece, _Place):
                self._free.setdefault(piece.size, []).append(piece.offset)
            else:
                self.used -= piece.nbytes

    def _stored(self, samples: list[Array]) -> Array | _Place:
        whole = samples[0] if len(samples) == 1 else np.concatenate(samples)
        last = np.ascontiguousarray(np.moveaxis(whole, 0, -1))
        if last.base is not None and last.base.nbytes > last.nbytes:
            last = last.copy()  # a view would keep alive what it is a part of
        if self.used + last.nbytes <= self.room:
            self.used += last.nbytes
            return last
        return self._written(last)

    def _written(self, array: Array) -> _Place:
        """Write a piece. Raises SFN602 where that is not possible."""
        try:
            return self._put(array)
        except OSError as error:
            what = f"cannot write what calibration sees to a temporary file: {error.strerror or error}"
            raise fail("SFN602", what, tempfile.gettempdir(), "free some space or set TMPDIR") from error

    def _put(self, array: Array) -> _Place:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="sfnc-")  # noqa: SIM115
            finalize(self, self._file.close)
        free = self._free.get(array.nbytes)
        offset = free.pop() if free else self._end
        self._end = max(self._end, offset + array.nbytes)
        with self._lock:
            self._file.seek(offset)
            self._file.write(array.data.cast("B"))
        return _Place(offset, array.shape, array.dtype)

    def _read(self, piece: Array | _Place) -> Array:
        if not isinstance(piece, _Place):
            return piece
        found = np.empty(piece.shape, piece.dtype)
        assert self._file is not None
        with self._lock:
            self._file.seek(piece.offset)
            self._file.readinto(found.data.cast("B"))  # type: ignore[attr-defined]
        return found
