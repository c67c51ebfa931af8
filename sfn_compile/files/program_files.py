"""Program to files and back: ``program.json`` (structure), ``program.npz`` (arrays), the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
import zlib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..foundation.diagnostics import fail
from ..program.network import CLOCKED_FORMAT, FORMAT, OMITTED, Program
from .decode import check_types, decode
from .program_checks import check_program

Array = NDArray[Any]
# Weights are close to noise: higher levels take up to six times as long and save at most some per cent of the file.
COMPRESSION = 1
# What NumPy and zipfile raise for archives that are damaged, cut off, encrypted or hold other things than arrays.
UNREADABLE = (OSError, ValueError, EOFError, KeyError, RuntimeError, SyntaxError, NotImplementedError,
              zipfile.BadZipFile, zlib.error)  # fmt: skip


def save(prog: Program, folder: Path, stem: str = "program") -> None:
    """Write ``<stem>.json`` and ``<stem>.npz`` into ``folder``."""
    text, arrays = to_parts(prog)
    (folder / f"{stem}.json").write_text(text, encoding="utf-8")
    (folder / f"{stem}.npz").write_bytes(npz_bytes(arrays))


def load(folder: Path, stem: str = "program") -> Program:
    """Return the Program that :func:`save` wrote. Raises SFN503 where the files are not such a pair."""
    try:
        tree = read_json(folder / f"{stem}.json")
        arrays = npz_arrays((folder / f"{stem}.npz").read_bytes())
    except UNREADABLE as error:
        raise fail("SFN503", f"cannot read {stem}.json and {stem}.npz: {error}", str(folder)) from error
    return check_program(from_parts(tree, arrays))


def read_json(path: Path) -> Any:
    """Return what a JSON file holds. Raises OSError, and ValueError for whatever is no JSON (NaN is none)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("lists within lists without end") from error


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def digest(prog: Program) -> str:
    """Return a sha256 over structure and integers: two Programs are the same network iff it is equal.

    The arrays are hashed as they are before compression, so it does not depend on the machine's zlib.
    """
    text, arrays = to_parts(prog)
    sha = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        sha.update(_npy_bytes(arrays[name]))
    return sha.hexdigest()


def to_parts(prog: Program) -> tuple[str, dict[str, Array]]:
    """Return the JSON text and the arrays it refers to, integers in the smallest type that holds them."""
    arrays: dict[str, Array] = {}
    tree = _encode(prog, arrays)
    return json.dumps(tree, indent=1, sort_keys=True) + "\n", arrays


def parts_of(part: Any) -> tuple[Any, dict[str, Array]]:
    """Return the JSON value of a part of a Program and the arrays it refers to."""
    arrays: dict[str, Array] = {}
    return _encode(part, arrays), arrays


def from_parts(tree: Any, arrays: dict[str, Array]) -> Program:
    """Return the Program described by :func:`to_parts`'s result (JSON already parsed). Raises SFN503.

    Every field has its declared type; whether the parts fit each other is :func:`~.program_checks.check_program`'s
    question.
    """
    found = tree.get("format") if isinstance(tree, dict) else None
    if found not in (FORMAT, CLOCKED_FORMAT):
        known = f"this version reads {FORMAT} and, with a clock, {CLOCKED_FORMAT}"
        raise fail("SFN503", f"program format {found!r}, {known}", fix="compile the model again")
    result = decode(tree, arrays)
    if not isinstance(result, Program):
        raise fail("SFN503", f"it holds a {type(result).__name__} instead of a Program", fix="compile the model again")
    check_types(result)
    return result


def to_tree(part: Any) -> Any:
    """Return the JSON value of a part of a Program that holds no arrays: a relation, an origin, None."""
    return _encode(part, {})


def from_tree(tree: Any) -> Any:
    """Return the part of a Program that :func:`to_tree` described. Raises SFN503 for any other value."""
    found = decode(tree, {})
    check_types(found)
    return found


def npz_bytes(arrays: dict[str, Array], comment: bytes = b"") -> bytes:
    """Return an ``.npz`` archive of ``arrays`` that does not depend on the clock or on the order of insertion."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION) as archive:
        archive.comment = comment
        for name in sorted(arrays):
            member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(member, _npy_bytes(arrays[name]), zipfile.ZIP_DEFLATED, COMPRESSION)
    return buffer.getvalue()


def npz_arrays(content: bytes) -> dict[str, Array]:
    """Return the arrays of an ``.npz`` archive, every checksum verified."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {
            name.removesuffix(".npy"): _npy_array(archive.read(name)) for name in archive.namelist()
        }  # fmt: skip


def _npy_array(content: bytes) -> Array:
    """Return the array of an ``.npy`` file. Raises ValueError where its header does not fit what follows."""
    file = io.BytesIO(content)
    header = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = header(file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"an array of shape {shape} and type {dtype} is not what follows")
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)


def _npy_bytes(x: Array) -> bytes:
    body = io.BytesIO()
    npy.write_array(body, np.asarray(x, order="C"), allow_pickle=False)  # keeps () a scalar
    return body.getvalue()


def smallest_int(x: Array) -> Array:
    """Return an integer array in the smallest signed type that holds it; other arrays as they are."""
    if not np.issubdtype(x.dtype, np.integer):
        return x
    lo, hi = (int(x.min()), int(x.max())) if x.size else (0, 0)
    for dtype in (np.int8, np.int16, np.int32):
        if np.iinfo(dtype).min <= lo and hi <= np.iinfo(dtype).max:
            return x.astype(dtype)
    return x.astype(np.int64)


def _encode(obj: Any, arrays: dict[str, Array]) -> Any:
    if isinstance(obj, np.ndarray):
        name = f"a{len(arrays):05d}"
        arrays[name] = smallest_int(obj)
        return {"array": name}
    if is_dataclass(obj) and not isinstance(obj, type):
        held = {f.name: getattr(obj, f.name) for f in fields(obj)}
        left_out = [f.name for f in fields(obj) if OMITTED in f.metadata and held[f.name] is None]
        tree = {name: _encode(value, arrays) for name, value in held.items() if name not in left_out}
        return {"class": type(obj).__name__, **tree}
    if isinstance(obj, tuple | list):
        return [_encode(item, arrays) for item in obj]
    if isinstance(obj, np.integer | np.floating):
        return obj.item()
    return obj
