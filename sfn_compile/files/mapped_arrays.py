"""Arrays of ``.npz`` and ``.npy`` files; large ones stay in the file and are read where they are looked at.

A thousand images of 224x224 are 600 MB. An array that stands in its file uncompressed, as ``np.savez`` writes it, is
mapped: what was looked at can be let go (:func:`release`), and worker processes share one copy of it.
"""

from __future__ import annotations

import mmap
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

Array = NDArray[Any]
LARGE = 64 << 20  # bytes; smaller arrays are simply read
_CHUNK = 1 << 24
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member: lengths of its name and of what is between it and the data


def read(path: Path) -> dict[str, Array]:
    """Return the arrays of a file by name, ``x`` for that of an ``.npy``. Raises what NumPy and zipfile raise."""
    with path.open("rb") as file:  # NumPy itself leaves a damaged file open
        if path.stat().st_size >= LARGE and not zipfile.is_zipfile(path):
            return {"x": _mapped(path, file, 0)}
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"x": found}
        return {name: _member(path, file, found, name) for name in found.files}


def release(values: Array) -> None:
    """Let go of the memory that holds what was looked at of a mapped array; it is read again where it is needed."""
    while isinstance(values, np.ndarray) and not isinstance(values, np.memmap) and values.base is not None:
        values = values.base
    source = getattr(values, "_mmap", None)
    if source is not None and hasattr(mmap, "MADV_DONTNEED"):
        source.madvise(mmap.MADV_DONTNEED)


def _member(path: Path, file: IO[bytes], found: Any, name: str) -> Array:
    entry = next((i for i in found.zip.infolist() if i.filename in (name, f"{name}.npy")), None)
    if entry is None or entry.compress_type != zipfile.ZIP_STORED or entry.file_size < LARGE:
        return found[name]
    with found.zip.open(entry) as whole:  # to its end, so that its checksum is compared
        while whole.read(_CHUNK):
            pass
    file.seek(entry.header_offset)
    between = sum(_LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size)))
    return _mapped(path, file, entry.header_offset + _LOCAL_HEADER.size + between)


def _mapped(path: Path, file: IO[bytes], start: int) -> Array:
    """Return the array whose ``.npy`` form begins at byte ``start`` as a read-only map of the file."""
    file.seek(start)
    version = npy.read_magic(file)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, by_column, dtype = header(file)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded")
    return np.memmap(path, dtype, "r", file.tell(), shape, "F" if by_column else "C")
