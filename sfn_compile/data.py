"""DATA of the command line: read, checked against the model's input, every fault with its code."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .diagnostics import fail

Array = NDArray[Any]
GENERATED = "generated"  # the source of samples that no file was given for
LABEL_NAMES = ("labels", "y")
# What NumPy raises for files that are damaged, cut off, encrypted or no arrays at all.
READ_ERRORS = (OSError, ValueError, EOFError, KeyError, RuntimeError, SyntaxError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Data:
    """Samples ``x`` ``(n, *shape)`` in the model's own type, optional integer ``labels`` ``(n,)``, and their origin."""

    x: Array
    labels: Array | None
    source: str
    sha256: str


def load_data(path: Path, name: str, shape: tuple[int, ...], dtype: str) -> Data:
    """Return the samples of an ``.npz`` or ``.npy`` for the model input ``name``. Raises SFN301 to SFN307."""
    arrays = _read(path)
    x = _pick(arrays, name, path)
    x = _checked(x, shape, dtype, f"{path} [{name}]")
    labels = next((arrays[k] for k in LABEL_NAMES if k in arrays and k != name), None)
    if labels is not None:
        labels = _checked_labels(np.asarray(labels), len(x), str(path))
    return Data(x, labels, path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def generated(shape: tuple[int, ...], dtype: str, n: int, seed: int) -> Data:
    """Return random samples: standard normal for floats, uniform over the type for integers."""
    rng = np.random.default_rng(seed)
    if dtype in ("uint8", "int8"):
        limits = np.iinfo(dtype)
        x: Array = rng.integers(limits.min, limits.max + 1, (n, *shape)).astype(dtype)
    else:
        x = rng.standard_normal((n, *shape)).astype(dtype)
    return Data(x, None, GENERATED, hashlib.sha256(x.tobytes()).hexdigest())


def subset(data: Data, samples: int | None, seed: int) -> Data:
    """Return ``samples`` of the data chosen by ``seed``, all of it where fewer are there or None is asked for."""
    if samples is None or samples >= len(data.x):
        return data
    chosen = np.sort(np.random.default_rng(seed).choice(len(data.x), samples, replace=False))
    labels = None if data.labels is None else data.labels[chosen]
    return Data(data.x[chosen], labels, data.source, data.sha256)


def _read(path: Path) -> dict[str, Array]:
    if not path.is_file():
        raise fail("SFN301", "there is no such file", str(path))
    try:
        with path.open("rb") as file:  # NumPy itself leaves a damaged file open
            found = np.load(file, allow_pickle=False)
            return {"x": found} if isinstance(found, np.ndarray) else {k: found[k] for k in found.files}
    except READ_ERRORS as error:
        raise fail("SFN301", f"not a readable .npz or .npy: {error}", str(path)) from error


def _pick(arrays: dict[str, Array], name: str, path: Path) -> Array:
    for key in (name, "x"):
        if key in arrays:
            return arrays[key]
    have = ", ".join(repr(k) for k in arrays) or "none"
    raise fail("SFN302", f"no array named {name!r} or 'x' (arrays there: {have})", str(path), f"name it {name!r}")


def _checked(x: Array, shape: tuple[int, ...], dtype: str, where: str) -> Array:
    if x.ndim == 0 or x.shape[0] == 0 or x.size == 0:
        raise fail("SFN306", f"it holds no samples (shape {x.shape})", where)
    if tuple(x.shape[1:]) != shape:
        fix = f"give an array of shape (n, {', '.join(map(str, shape))})"
        if x.shape == shape:
            fix = "add the sample axis: x[None]"
        raise fail("SFN303", f"its samples have shape {x.shape[1:]}, the model takes {shape}", where, fix)
    kind = x.dtype.kind
    if kind not in "fiub" or (dtype in ("uint8", "int8") and x.dtype != dtype and not _fits(x, dtype)):
        raise fail("SFN304", f"its type is {x.dtype}, the model takes {dtype}", where)
    with np.errstate(over="ignore"):  # a number too large for the model's type becomes infinite
        x = x.astype(dtype, copy=False)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        bad = int((~np.isfinite(x.reshape(len(x), -1))).any(axis=1).sum())
        raise fail("SFN305", f"{bad} of {len(x)} samples hold NaN or infinity as {dtype}", where)
    return x


def _fits(x: Array, dtype: str) -> bool:
    limits = np.iinfo(dtype)
    return x.dtype.kind in "iu" and int(x.min()) >= limits.min and int(x.max()) <= limits.max


def _checked_labels(labels: Array, n: int, where: str) -> Array:
    labels = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise fail(
            "SFN307", f"labels have shape {labels.shape} and type {labels.dtype}; {n} integers are needed", where
        )
    return labels.astype(np.int64)
