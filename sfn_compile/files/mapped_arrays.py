"""Arrays of ``.npz`` and ``.npy`` files: known by their headers, of which only the rows that are needed are read.

A thousand images of 224x224 are 600 MB. An array that is in its file uncompressed, as ``np.savez`` writes it, is
mapped: what was looked at can be let go (:func:`release`), and worker processes share one copy of it. Of a compressed
one the rows that are asked for are kept while the others pass by.
"""

from __future__ import annotations

import math
import mmap
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

Array = NDArray[Any]
LARGE = 64 << 20  # bytes; smaller arrays are simply read
_CHUNK = 1 << 24
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member: lengths of its name and of what is between it and the data


@dataclass(frozen=True, eq=False)
class Stored:
    """An array in a file: shape and type are known, its numbers not yet read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Array | None], Array]  # all of it, or the rows of these ascending places
    packed: int | None = None  # bytes in the file, where they are fewer than those of the numbers

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of numbers."""
        return math.prod(self.shape)

    def unfolded(self, n_rows: int | None) -> int:
        """Return how many bytes so many rows take in memory, all of them where None; 0 of what stays in its file."""
        if self.packed is None or not self.shape:
            return 0
        return math.prod((self.shape[0] if n_rows is None else n_rows, *self.shape[1:])) * self.dtype.itemsize


class Rows:
    """Chosen rows of a mapped array, read where they are looked at; what of an array is used here of samples."""

    def __init__(self, base: Array, places: Array):
        self.base, self.places = base, places
        self.shape, self.dtype, self.ndim = (len(places), *base.shape[1:]), base.dtype, base.ndim

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, key: Any) -> Array:
        return np.asarray(self.base[self.places[key]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self[:], dtype)


def rows_of(values: Array, places: Array) -> Array:
    """Return the rows of these places: of a mapped array as :class:`Rows`, which holds none of them."""
    if isinstance(values, Rows):
        return Rows(values.base, values.places[places])
    return Rows(values, places) if isinstance(values, np.memmap) else values[places]  # type: ignore[return-value]


def stored(path: Path) -> dict[str, Stored]:
    """Return the arrays of a file by name, ``x`` for that of an ``.npy``. Raises what NumPy and zipfile raise."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if e.filename.endswith(".npy")]
            return {e.filename.removesuffix(".npy"): _member(path, archive, e) for e in entries}
    with path.open("rb") as file:
        shape, _, dtype = _header(file)
        size = path.stat().st_size
        _check_length(shape, dtype, size - file.tell())

    def read(places: Array | None) -> Array:
        with path.open("rb") as file:
            whole = _mapped(path, file, 0) if size >= LARGE else npy.read_array(file, allow_pickle=False)
            return whole if places is None else whole[places]

    return {"x": Stored(shape, dtype, read)}


def read(path: Path) -> dict[str, Array]:
    """Return all arrays of a file by name, whole or mapped."""
    return {name: one.read(None) for name, one in stored(path).items()}


def release(values: Array) -> None:
    """Let go of the memory that holds what was looked at of a mapped array; it is read again where it is needed."""
    values = values.base if isinstance(values, Rows) else values
    while isinstance(values, np.ndarray) and not isinstance(values, np.memmap) and values.base is not None:
        values = values.base
    source = getattr(values, "_mmap", None)
    if source is not None and hasattr(mmap, "MADV_DONTNEED"):
        source.madvise(mmap.MADV_DONTNEED)


def _member(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Stored:
    with archive.open(entry) as file:
        shape, by_column, dtype = _header(file)
        _check_length(shape, dtype, entry.file_size - file.tell())
    is_mapped = entry.compress_type == zipfile.ZIP_STORED and entry.file_size >= LARGE

    def read(places: Array | None) -> Array:
        if is_mapped:
            whole = _map_member(path, entry)
            return whole if places is None else whole[places]
        with zipfile.ZipFile(path) as archive, archive.open(entry) as file:
            if places is None or by_column or dtype.hasobject or len(shape) < 1:
                found = npy.read_array(file, allow_pickle=False)
                return found if places is None else found[places]
            return _passed_by(file, places)

    return Stored(shape, dtype, read, None if entry.compress_type == zipfile.ZIP_STORED else entry.compress_size)


def _check_length(shape: tuple[int, ...], dtype: np.dtype[Any], length: int) -> None:
    """Refuse a header that says more numbers than the file holds, before memory is asked for them."""
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize > length:
        raise EOFError(f"its header says {list(shape)} numbers, and it ends after {length} bytes")


def _map_member(path: Path, entry: zipfile.ZipInfo) -> Array:
    with zipfile.ZipFile(path) as archive, archive.open(entry) as whole:  # to its end: its checksum is compared
        while whole.read(_CHUNK):
            pass
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        between = sum(_LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size)))
        return _mapped(path, file, entry.header_offset + _LOCAL_HEADER.size + between)


def _passed_by(file: IO[bytes], places: Array) -> Array:
    """Return the rows of ascending places of an array in C order; the file is read to its end, where its sum is."""
    shape, _, dtype = _header(file)
    row = int(np.prod(shape[1:])) * dtype.itemsize
    found = np.empty((len(places), *shape[1:]), dtype)
    at_a_time, start, filled = max(1, _CHUNK // max(row, 1)), 0, 0
    while start < shape[0]:
        n = min(at_a_time, shape[0] - start)
        piece = _exactly(file, n * row)
        here = places[(places >= start) & (places < start + n)] - start
        found[filled : filled + len(here)] = np.frombuffer(piece, dtype).reshape(n, *shape[1:])[here]
        start, filled = start + n, filled + len(here)
    if file.read(1):
        raise ValueError("there is more in it than its header says")
    return found


def _exactly(file: IO[bytes], size: int) -> bytes:
    """Return so many bytes: a compressed file gives fewer than it is asked for."""
    parts = []
    while size:
        part = file.read(size)
        if not part:
            raise EOFError("it ends too early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, by_column, dtype = header(file)
    return shape, by_column, dtype


def _mapped(path: Path, file: IO[bytes], start: int) -> Array:
    """Return the array whose ``.npy`` form begins at byte ``start`` as a read-only map of the file."""
    file.seek(start)
    shape, by_column, dtype = _header(file)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded")
    return np.memmap(path, dtype, "r", file.tell(), shape, "F" if by_column else "C")
