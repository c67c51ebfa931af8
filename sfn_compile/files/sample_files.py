"""DATA of the command line: read, checked against the model's inputs, every fault with its code."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import CompileError, fail
from ..foundation.samples import ModelInput, Samples, n_samples, summed
from . import mapped_arrays
from .file_kinds import NUMPY, kind_of
from .mapped_arrays import Stored, release, rows_of

Array = NDArray[Any]
GENERATED = "generated"  # the source of samples that no file was given for
LABEL_NAMES = ("labels", "y")
ENOUGH_TO_SPARE, MOST_SPARED = 128, 256  # samples: from how many on some are kept aside, and how many at most
# Compressed arrays are held in memory. Images are packed to a third, events to a thirtieth; beyond these bounds a file
# is damaged, hostile, or empty but for a little.
MOST_UNFOLDED, UNUSUAL = 1 << 30, 64
# What NumPy raises for files that are damaged, cut off, encrypted or no arrays at all.
READ_ERRORS = (OSError, ValueError, EOFError, KeyError, RuntimeError, SyntaxError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Data:
    """Samples ``x`` by input, each ``(n, *shape)`` in the input's own type, optional ``labels`` ``(n, ...)`` as they
    are in the file, and their origin.

    Of files that had to be prepared: ``names`` of the samples, ``classes`` that labels count, what was ``prepared`` and
    how, for the manifest, and ``frames`` ``(n, 4)``: a point (x, y) of the image is at (x * a + c, y * b + d) of the
    sample. ``over_time``: of samples that came as frames, these, ``(n, T, *shape)``; ``x`` are their sums.
    """

    x: Samples
    labels: Array | None
    source: str
    sha256: str
    label_name: str = LABEL_NAMES[0]
    names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    prepared: Mapping[str, Any] | None = None
    frames: Array | None = None
    over_time: Samples | None = None

    @property
    def shown(self) -> Samples:
        """What a network over time is shown: the frames, where there are any."""
        return self.x if self.over_time is None else self.over_time

    def __len__(self) -> int:
        """Return the number of samples."""
        return n_samples(self.x)

    @property
    def label_place(self) -> str:
        """The file and the array of the labels, for messages."""
        return f"{self.source} [{self.label_name}]"


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, read piece by piece: a model may be as large as the memory."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 24):
            sha.update(piece)
    return sha.hexdigest()


def load_data(
    path: Path, inputs: Sequence[ModelInput], samples: int | None = None, seed: int = 0, needs_labels: bool = False
) -> Data:
    """Return samples of an ``.npz`` or ``.npy`` for the model's inputs: ``samples`` of them chosen by ``seed``, all
    where None is asked for or fewer are there. Only those are read, converted and looked at.

    Labels that cannot be read or are too many or too few are refused only where they are needed. Raises SFN301 to
    SFN307.
    """
    x, labels, label_name = selected(_opened(path), inputs, path, samples, seed, needs_labels)
    return Data(x, labels, path.name, file_sha256(path), label_name)


def selected(
    arrays: Mapping[str, Stored], inputs: Sequence[ModelInput], place: Path | str, samples: int | None, seed: int,
    needs_labels: bool,
) -> tuple[Samples, Array | None, str]:  # fmt: skip
    """Return samples and labels that named arrays hold, and what the array of the labels is called.

    ``place`` names the arrays' origin in messages. Raises what :func:`load_data` does, SFN303 for
    inputs with different numbers of samples.
    """
    alone = len(inputs) == 1
    picked = {i.name: _pick(arrays, i.name, alone, place) for i in inputs}
    for source in inputs:
        check_shape(arrays[picked[source.name]], source, f"{place} [{picked[source.name]}]")
    counts = {name: arrays[key].shape[0] for name, key in picked.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{n} of {name!r}" for name, n in counts.items())
        raise fail("SFN303", f"the inputs have different numbers of samples: {found}", str(place),
                   "sample i of every array must belong together")  # fmt: skip
    n = next(iter(counts.values()))
    chosen = choice(n, samples, seed)
    x = {i.name: converted(_read(arrays[picked[i.name]], chosen, place), i, f"{place} [{picked[i.name]}]")
         for i in inputs}  # fmt: skip
    label = next((k for k in LABEL_NAMES if k in arrays and k not in picked.values()), None)
    labels = None if label is None else labels_of(arrays[label], label, n, chosen, place, needs_labels)
    return x, labels, label or LABEL_NAMES[0]


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
    chosen = choice(len(data), samples, seed)
    return data if chosen is None else rows_of_data(data, chosen)


def choice(n: int, samples: int | None, seed: int) -> Array | None:
    """Return the places of the samples that are taken, ascending; None for all."""
    if samples is None or samples >= n:
        return None
    return np.sort(np.random.default_rng(seed).choice(n, samples, replace=False))


def rows_of_data(data: Data, places: Array) -> Data:
    """Return the samples of some places; those of a mapped file stay there."""
    x = {name: rows_of(values, places) for name, values in data.x.items()}
    over_time = None
    if data.over_time is not None:
        over_time = {name: rows_of(values, places) for name, values in data.over_time.items()}
    names = tuple(data.names[i] for i in places) if data.names else ()
    labels, frames = (None if held is None else held[places] for held in (data.labels, data.frames))
    return replace(data, x=x, labels=labels, names=names, frames=frames, over_time=over_time)


def of_frames(data: Data) -> Data:
    """Return samples that were read as frames ``(n, T, *shape)`` as their sums, the frames beside them."""
    return replace(data, x=summed(data.x), over_time=data.x)


def kept_aside(data: Data, seed: int) -> tuple[Data, Data | None]:
    """Return the samples to calibrate on, and those to measure the finished network on: a tenth, at most 256, drawn by
    ``seed``; None where the samples are too few to spare any, or were generated."""
    n = len(data)
    if n < ENOUGH_TO_SPARE or data.source == GENERATED:
        return data, None
    order = np.random.default_rng((seed, n)).permutation(n)
    spared = min(n // 10, MOST_SPARED)
    return rows_of_data(data, np.sort(order[:-spared])), rows_of_data(data, np.sort(order[-spared:]))


def _opened(path: Path) -> dict[str, Stored]:
    """Return the arrays of a file, not yet read. Raises SFN301, which says what kind of file it is."""
    kind = kind_of(path) if path.exists() else None
    if not path.is_file():
        what = "there is no such file" if kind is None else f"it is {kind.name}; a file is needed"
        raise fail("SFN301", what, str(path), "" if kind is None else kind.data)
    try:
        found = mapped_arrays.stored(path)
    except READ_ERRORS as error:
        raise _unreadable(path, error) from error
    if not found:
        raise _unreadable(path, ValueError("there is no array in it"))
    return found


def _read(array: Stored, chosen: Array | None, place: Path | str) -> Array:
    size, packed = array.unfolded(None if chosen is None else len(chosen)), array.packed or 0
    if size > MOST_UNFOLDED and size > UNUSUAL * packed:
        what = f"{packed / 1e6:.3g} MB in it unfold to {size / 1e9:.3g} GB (shape {list(array.shape)})"
        fix = "--samples 512 holds no more than these; or save it with np.savez, which is read as it is needed"
        raise fail("SFN313", what, str(place), fix)
    try:
        return array.read(chosen)
    except READ_ERRORS as error:
        raise _unreadable(Path(place), error) from error


def _unreadable(path: Path, error: Exception) -> CompileError:
    """Return SFN301: what kind of file it is where that is no NumPy file, else what NumPy says."""
    kind = kind_of(path)
    if kind is None or not kind.data:
        reason, fix = str(error), f"save it again: {NUMPY}"
        if "bject" in reason:
            reason = "it holds Python objects (dtype object), which are never opened"
            fix = "save numbers: np.savez(path, x=np.stack(samples).astype(np.float32))"
        return fail("SFN301", f"not a readable .npz or .npy: {reason}", str(path), fix)
    return fail("SFN301", f"it is {kind.name}, not a readable .npz or .npy", str(path), kind.data)


def _pick(arrays: Mapping[str, Stored], name: str, alone: bool, place: Path | str) -> str:
    for key in (name, "x") if alone else (name,):
        if key in arrays:
            return key
    have = ", ".join(repr(k) for k in arrays) or "none"
    wanted = f"{name!r} or 'x'" if alone else repr(name)
    raise fail("SFN302", f"no array named {wanted} (arrays there: {have})", str(place), f"name it {name!r}")


def check_shape(x: Stored, source: ModelInput, where: str) -> None:
    """Raise SFN303, SFN304, SFN306 or (of frames) SFN609 where an array holds no samples of an input."""
    shape = source.shape
    if x.dtype.hasobject:
        return  # said where it is read
    if x.ndim == 0 or x.shape[0] == 0 or x.size == 0:
        raise fail("SFN306", f"it holds no samples (shape {x.shape})", where, "save at least one sample; 512 are good")
    if source.frames is not None and tuple(x.shape[1:]) != shape:
        what = f"a sample of shape {x.shape[1:]} is not {source.frames} frames of shape {shape[1:]}"
        raise fail("SFN609", what, where, f"give an array of shape (n, {', '.join(map(str, shape))})")
    if tuple(x.shape[1:]) != shape:
        fix = f"give an array of shape (n, {', '.join(map(str, shape))})"
        if x.shape == shape:
            fix = "add the sample axis: x[None]"
        elif sorted(x.shape[1:]) == sorted(shape):
            order = [list(x.shape[1:]).index(n) + 1 for n in shape]
            fix += f": x.transpose(0, {', '.join(map(str, order))})" if len(set(order)) == len(order) else ""
        raise fail("SFN303", f"its samples have shape {x.shape[1:]}, the model takes {shape}", where, fix)
    if x.dtype.kind not in "fiub":
        raise _wrong_type(x.dtype, source, where)


def _wrong_type(dtype: np.dtype[Any], source: ModelInput, where: str) -> CompileError:
    return fail("SFN304", f"its type is {dtype}, the model takes {source.dtype}", where,
                f"give numbers of that type: x.astype(np.{source.dtype})")  # fmt: skip


def converted(x: Array, source: ModelInput, where: str) -> Array:
    """Return samples in an input's own type. Raises SFN304, SFN305."""
    dtype = source.dtype
    if source.is_integer and x.dtype != dtype and not _fits(x, dtype):
        raise _wrong_type(x.dtype, source, where)
    with np.errstate(over="ignore"):  # a number too large for the model's type becomes infinite
        x = x.astype(dtype, copy=False)
    bad = _not_finite(x) if x.dtype.kind == "f" else 0
    if bad:
        raise fail("SFN305", f"{bad} of {len(x)} samples hold NaN or infinity as {dtype}", where,
                   "leave them out or repair them: x[np.isfinite(x).all(axis=tuple(range(1, x.ndim)))]")  # fmt: skip
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


def labels_of(array: Stored, name: str, n: int, chosen: Array | None, place: Path | str, needed: bool) -> Array | None:
    """Return the labels of the chosen samples, None where they cannot be had and are not needed. Raises SFN307."""
    where, n_labels = f"{place} [{name}]", array.shape[0] if array.shape else 0
    what, fix = "", "labels belong to samples one by one: save one label per sample, or leave the array out"
    if array.dtype.kind not in "fiub":
        what = f"its type is {array.dtype}"
        fix = "give classes as integers (of names: np.unique(labels, return_inverse=True)[1]), or leave it out"
    elif n_labels != n:
        what = f"it holds {n_labels} labels (shape {array.shape}), the samples are {n}"
    if what and needed:
        raise fail("SFN307", what, where, fix)
    return None if what else _read(array, chosen, place)
