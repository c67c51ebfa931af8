"""Program to files and back: ``program.json`` (structure), ``program.npz`` (arrays), the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation import diagnostics
from ..foundation.diagnostics import fail
from ..program import network, relations
from ..program.network import FORMAT, Program

Array = NDArray[Any]
_CLASSES = {
    c.__name__: c
    for c in (
        network.Dense, network.Conv, network.SumPool, network.Identity, network.Gather, network.Projection,
        network.Elementwise, network.Matmul, network.Product, network.RowTable, network.Ratio, network.RowSum,
        network.Normalization,
        network.Uniform, network.Table, network.Readout, network.Reshape, network.Transpose, network.Concat,
        network.Slice, network.Pad, network.Take, network.Population, network.MaxPool, network.Move, network.HostOp,
        network.Encoding, network.Decoding, network.Program, diagnostics.Origin,
        relations.Carries, relations.SecondDigit, relations.CopyOf, relations.RelayOf, relations.Exponentials,
    )
}  # fmt: skip
# Weights are close to noise: higher levels take up to six times as long and save at most some per cent of the file.
COMPRESSION = 1
_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


def save(prog: Program, folder: Path, stem: str = "program") -> None:
    """Write ``<stem>.json`` and ``<stem>.npz`` into ``folder``."""
    text, arrays = to_parts(prog)
    (folder / f"{stem}.json").write_text(text, encoding="utf-8")
    (folder / f"{stem}.npz").write_bytes(npz_bytes(arrays))


def load(folder: Path, stem: str = "program") -> Program:
    """Return the Program that :func:`save` wrote. Raises SFN503 where the files are not such a pair."""
    try:
        tree = json.loads((folder / f"{stem}.json").read_text(encoding="utf-8"))
        arrays = npz_arrays((folder / f"{stem}.npz").read_bytes())
    except _UNREADABLE as error:
        raise fail("SFN503", f"cannot read {stem}.json and {stem}.npz: {error}", str(folder)) from error
    return from_parts(tree, arrays)


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


def from_parts(tree: Any, arrays: dict[str, Array]) -> Program:
    """Return the Program described by :func:`to_parts`'s result (JSON already parsed). Raises SFN503."""
    found = tree.get("format") if isinstance(tree, dict) else None
    if found != FORMAT:
        raise fail("SFN503", f"program format {found!r}, this version reads {FORMAT}", fix="compile the model again")
    try:
        result = _decode(tree, arrays)
    except (KeyError, TypeError) as error:
        raise fail("SFN503", f"the program's structure is damaged: {error!r}") from error
    assert isinstance(result, Program)
    return result


def to_tree(part: Any) -> Any:
    """Return the JSON value of a part of a Program that holds no arrays: a relation, an origin, None."""
    return _encode(part, {})


def from_tree(tree: Any) -> Any:
    """Return the part of a Program that :func:`to_tree` described. Raises KeyError, TypeError for any other value."""
    return _decode(tree, {})


def npz_bytes(arrays: dict[str, Array]) -> bytes:
    """Return an ``.npz`` archive of ``arrays`` that does not depend on the clock or on the order of insertion."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION) as archive:
        for name in sorted(arrays):
            member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(member, _npy_bytes(arrays[name]), zipfile.ZIP_DEFLATED, COMPRESSION)
    return buffer.getvalue()


def npz_arrays(content: bytes) -> dict[str, Array]:
    """Return the arrays of an ``.npz`` archive, every checksum verified."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {
            name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
            for name in archive.namelist()
        }


def _npy_bytes(x: Array) -> bytes:
    body = io.BytesIO()
    np.lib.format.write_array(body, np.asarray(x, order="C"), allow_pickle=False)  # keeps () a scalar
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
        tree = {f.name: _encode(getattr(obj, f.name), arrays) for f in fields(obj)}
        return {"class": type(obj).__name__, **tree}
    if isinstance(obj, tuple | list):
        return [_encode(item, arrays) for item in obj]
    if isinstance(obj, np.integer | np.floating):
        return obj.item()
    return obj


def _decode(tree: Any, arrays: dict[str, Array]) -> Any:
    if isinstance(tree, list):
        return tuple(_decode(item, arrays) for item in tree)
    if not isinstance(tree, dict):
        return tree
    if "array" in tree and len(tree) == 1:
        return arrays[tree["array"]]
    cls = _CLASSES[tree["class"]]
    return cls(**{k: _decode(v, arrays) for k, v in tree.items() if k != "class"})
