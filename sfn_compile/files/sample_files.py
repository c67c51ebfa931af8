"""DATA of the command line: read, checked against the model's inputs, every fault with its code."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import fail
from ..foundation.samples import ModelInput, Samples, n_samples, part
from . import mapped_arrays
from .mapped_arrays import release

Array = NDArray[Any]
GENERATED = "generated"  # the source of samples that no file was given for
LABEL_NAMES = ("labels", "y")
# What NumPy raises for files that are damaged, cut off, encrypted or no arrays at all.
READ_ERRORS = (OSError, ValueError, EOFError, KeyError, RuntimeError, SyntaxError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Data:
    """Samples ``x`` by input, each ``(n, *shape)`` in the input's own type, optional integer ``labels`` ``(n,)``, and
    their origin."""

    x: Samples
    labels: Array | None
    source: str
    sha256: str

    def __len__(self) -> int:
        """Return the number of samples."""
        return n_samples(self.x)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, read piece by piece: a model may be as large as the memory."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 24):
            sha.update(piece)
    return sha.hexdigest()


def load_data(path: Path, inputs: Sequence[ModelInput]) -> Data:
    """Return the samples of an ``.npz`` or ``.npy`` for the model's inputs. Raises SFN301 to SFN307."""
    arrays = _read(path)
    x = {i.name: _checked(_pick(arrays, i.name, len(inputs) == 1, path), i, f"{path} [{i.name}]") for i in inputs}
    counts = {name: len(values) for name, values in x.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{n} of {name!r}" for name, n in counts.items())
        raise fail("SFN303", f"the inputs have different numbers of samples: {found}", str(path),
                   "sample i of every array must belong together")  # fmt: skip
    labels = next((arrays[k] for k in LABEL_NAMES if k in arrays and k not in x), None)
    if labels is not None:
        labels = _checked_labels(np.asarray(labels), n_samples(x), str(path))
    return Data(x, labels, path.name, file_sha256(path))


def generated(inputs: Sequence[ModelInput], n: int, seed: int) -> Data:
    """Return random samples: standard normal for floats, uniform over 8-bit types, 0 to 255 for wider integers."""
    rng = np.random.default_rng(seed)
    x = {i.name: _random(rng, i, n) for i in inputs}
    sha = hashlib.sha256(b"".join(values.tobytes() for values in x.values()))
    return Data(x, None, GENERATED, sha.hexdigest())


def _random(rng: np.random.Generator, source: ModelInput, n: int) -> Array:
    if not source.is_integer:
        return rng.standard_normal((n, *source.shape)).astype(source.dtype)
    limits = np.iinfo(source.dtype)
    lo, hi = (limits.min, limits.max) if limits.bits == 8 else (0, 255)
    return rng.integers(lo, hi + 1, (n, *source.shape)).astype(source.dtype)


def subset(data: Data, samples: int | None, seed: int) -> Data:
    """Return ``samples`` of the data chosen by ``seed``, all of it where fewer are there or None is asked for."""
    if samples is None or samples >= len(data):
        return data
    chosen = np.sort(np.random.default_rng(seed).choice(len(data), samples, replace=False))
    labels = None if data.labels is None else data.labels[chosen]
    return Data(part(data.x, chosen), labels, data.source, data.sha256)


def _read(path: Path) -> dict[str, Array]:
    if not path.is_file():
        raise fail("SFN301", "there is no such file", str(path))
    try:
        return mapped_arrays.read(path)
    except READ_ERRORS as error:
        raise fail("SFN301", f"not a readable .npz or .npy: {error}", str(path)) from error


def _pick(arrays: dict[str, Array], name: str, alone: bool, path: Path) -> Array:
    for key in (name, "x") if alone else (name,):
        if key in arrays:
            return arrays[key]
    have = ", ".join(repr(k) for k in arrays) or "none"
    wanted = f"{name!r} or 'x'" if alone else repr(name)
    raise fail("SFN302", f"no array named {wanted} (arrays there: {have})", str(path), f"name it {name!r}")


def _checked(x: Array, source: ModelInput, where: str) -> Array:
    shape, dtype = source.shape, source.dtype
    if x.ndim == 0 or x.shape[0] == 0 or x.size == 0:
        raise fail("SFN306", f"it holds no samples (shape {x.shape})", where)
    if tuple(x.shape[1:]) != shape:
        fix = f"give an array of shape (n, {', '.join(map(str, shape))})"
        if x.shape == shape:
            fix = "add the sample axis: x[None]"
        raise fail("SFN303", f"its samples have shape {x.shape[1:]}, the model takes {shape}", where, fix)
    kind = x.dtype.kind
    if kind not in "fiub" or (source.is_integer and x.dtype != dtype and not _fits(x, dtype)):
        raise fail("SFN304", f"its type is {x.dtype}, the model takes {dtype}", where)
    with np.errstate(over="ignore"):  # a number too large for the model's type becomes infinite
        x = x.astype(dtype, copy=False)
    bad = _not_finite(x) if x.dtype.kind == "f" else 0
    if bad:
        raise fail("SFN305", f"{bad} of {len(x)} samples hold NaN or infinity as {dtype}", where)
    return x


def _not_finite(x: Array) -> int:
    """Return how many samples hold NaN or infinity, without a second array of their size."""
    found = 0
    for start in range(0, len(x), 64):
        some = x[start : start + 64]
        found += int((~np.isfinite(some.reshape(len(some), -1))).any(axis=1).sum())
        release(x)
    return found


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
