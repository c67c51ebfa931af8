"""Event recordings as files have them: N-MNIST's ``.bin``, AEDAT4, ``.npy`` and ``.npz``, read and checked.

An event is a pixel of the sensor that saw the light change: column ``x``, row ``y``, on (brighter) or off, and when, in
microseconds. Whatever is wrong with a file is said with its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import mapped_arrays
from ..files.mapped_arrays import Stored
from ..files.sample_files import LABEL_NAMES, READ_ERRORS
from ..foundation.diagnostics import fail
from .folders import content_of

Array = NDArray[Any]
# What the four arrays of a NumPy file, or the fields of its records, may be called.
NAMES = {"x": ("x",), "y": ("y",), "on": ("polarity", "p", "on"), "t": ("t_us", "t", "ts", "timestamp", "timestamps")}
OFFSETS = "offsets"  # where the recordings of a file with several begin, and where the last one ends
NUMPY_FORM = "save integers: np.savez('r.npz', x=x, y=y, polarity=p, t_us=t), one event an entry"
AEDAT = "pip install 'sfnc[events]'"
RECORD = 5  # bytes of an event in a .bin
OVERFLOW_ROW, OVERFLOW = 240, 1 << 13  # a .bin says by this row that its clock has moved on by so many microseconds


@dataclass(frozen=True, eq=False)
class Recording:
    """Events in the order of time: ``x``, ``y``, ``on`` (bool) and ``t`` in microseconds, all ``(n,)``.

    ``where``: the file, and which recording of it, for messages. ``sensor``: its height and width where the file says.
    """

    x: Array
    y: Array
    on: Array
    t: Array
    where: str
    sensor: tuple[int, int] | None = None

    def checked(self) -> Recording:
        """Return self. Raises SFN317 where time runs backwards, SFN318 where there is no event."""
        if not len(self.t):
            raise fail("SFN318", "it holds no event", self.where, "take it out of the data")
        back = np.flatnonzero(self.t[1:] < self.t[:-1])
        if len(back):
            i = int(back[0]) + 1
            what = f"event {i} is at {self.t[i]} us, the one before it at {self.t[i - 1]} us ({len(back)} such places)"
            raise fail("SFN317", what, self.where, "sort it: order = np.argsort(t, kind='stable'), or record it again")
        return self


@dataclass(frozen=True, eq=False)
class Held:
    """The recordings that one file holds: how many, ``labels`` ``(n,)`` if it has any, ``get(i)`` reads one."""

    n: int
    get: Callable[[int], Recording]
    labels: Array | None = None
    label_name: str = LABEL_NAMES[0]


def opened(path: Path) -> Held:
    """Return the recordings of a file, checked when they are read. Raises SFN315, SFN613."""
    if path.suffix.lower() == ".bin":
        return Held(1, lambda i: _of_bin(path).checked())
    if path.suffix.lower() == ".aedat4":
        return Held(1, lambda i: _of_aedat4(path).checked())
    return _of_numpy(path)


def has_events(path: Path) -> bool:
    """Whether an ``.npz`` or ``.npy`` holds events, by the names of its arrays or of the fields of its records."""
    try:
        arrays = mapped_arrays.stored(path)
    except READ_ERRORS:
        return False
    if len(arrays) == 1 and (fields := next(iter(arrays.values())).dtype.names):
        return _named(fields) is not None
    named = _named(arrays)
    return named is not None and all(arrays[name].ndim == 1 for name in named.values())


def _named(there: Mapping[str, Any] | Sequence[str]) -> dict[str, str] | None:
    """Return what x, y, on and t are called, None where one of them is missing."""
    found = {ours: next((name for name in theirs if name in there), "") for ours, theirs in NAMES.items()}
    return found if all(found.values()) else None


def _of_bin(path: Path) -> Recording:
    """Return a recording of N-MNIST, 40 bits an event: x 8, y 8, polarity 1, microseconds 23 (Orchard et al. 2015)."""
    content = content_of(path, "SFN315")
    if len(content) % RECORD:
        what = f"its {len(content)} bytes are no whole number of events of {RECORD} bytes: cut off, or no such .bin"
        raise fail("SFN315", what, str(path), "copy it again")
    columns = np.frombuffer(content, np.uint8).reshape(-1, RECORD).astype(np.int64).T
    x, y, high, middle, low = columns
    moved = y == OVERFLOW_ROW
    t = (((high & 127) << 16) | (middle << 8) | low) + OVERFLOW * np.cumsum(moved)
    real = ~moved
    return Recording(x[real], y[real], (high >> 7 == 1)[real], t[real], str(path))


def _of_aedat4(path: Path) -> Recording:
    """Return all events of an AEDAT4 file, of its only event stream. Raises SFN315, SFN613."""
    content_of(path, "SFN315")  # what the system says where it cannot be opened
    try:
        import aedat
    except ImportError as error:
        raise fail("SFN613", "AEDAT4 is read with aedat, which is not installed", str(path), AEDAT) from error
    try:
        decoder = aedat.Decoder(str(path))
        streams = {k: s for k, s in decoder.id_to_stream().items() if s["type"] == "events"}
        packets = [p["events"] for p in decoder if p["stream_id"] in streams]
    except Exception as error:  # what the decoder raises for damaged files is not declared
        raise fail("SFN315", f"it is no readable AEDAT4: {error}", str(path), "copy it again") from error
    if len(streams) != 1:
        what = f"it holds {len(streams)} streams of events, one is needed"
        raise fail("SFN315", what, str(path), "export the events of one camera")
    (stream,) = streams.values()
    events = np.concatenate(packets) if packets else np.zeros(0, [("t", "u8"), ("x", "u2"), ("y", "u2"), ("on", "?")])
    x, y, on, t = (events[name] for name in ("x", "y", "on", "t"))
    return Recording(x, y, on, t.astype(np.int64), str(path), (stream["height"], stream["width"]))


def _of_numpy(path: Path) -> Held:
    """Return the recordings of an ``.npz`` or ``.npy``: one, or several that ``offsets`` part. Raises SFN315."""
    arrays = _arrays(path)
    named = _named(arrays)
    if named is None:
        have = ", ".join(map(repr, arrays)) or "nothing"
        raise fail("SFN315", f"x, y, polarity and t_us are needed (there: {have})", str(path), NUMPY_FORM)
    columns = {ours: arrays[theirs] for ours, theirs in named.items()}
    n = _length(columns, path)
    on = _polarity(columns["on"], path)

    def cut(start: int, stop: int, where: str) -> Recording:
        x, y, t = (columns[name][start:stop] for name in ("x", "y", "t"))
        return Recording(x, y, on[start:stop], t.astype(np.int64), where).checked()

    if OFFSETS not in arrays:
        return Held(1, lambda i: cut(0, n, str(path)))
    offsets = _offsets(arrays[OFFSETS], n, path)
    label = next((name for name in LABEL_NAMES if name in arrays and name not in named.values()), None)
    return Held(len(offsets) - 1, lambda i: cut(offsets[i], offsets[i + 1], f"{path} [recording {i}]"),
                None if label is None else arrays[label], label or LABEL_NAMES[0])  # fmt: skip


def _arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of a NumPy file, of records their fields. Raises SFN315."""
    try:
        stored: Mapping[str, Stored] = mapped_arrays.stored(path)
        arrays = {name: array.read(None) for name, array in stored.items()}
    except READ_ERRORS as error:
        raise fail("SFN315", f"it is no readable NumPy file: {error}", str(path), "copy it again") from error
    if len(arrays) == 1 and (records := next(iter(arrays.values()))).dtype.names:
        return {name: records[name] for name in records.dtype.names}
    return arrays


def _length(columns: Mapping[str, Array], path: Path) -> int:
    """Return the number of events. Raises SFN315 where arrays differ in it or are no integers."""
    for name, column in columns.items():
        if column.ndim != 1 or column.dtype.kind not in "iub":
            what = f"its {name} are {column.dtype} of shape {column.shape}; integers, one per event, are needed"
            raise fail("SFN315", what, str(path), NUMPY_FORM)
    counts = {name: len(column) for name, column in columns.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{n} {name}" for name, n in counts.items())
        raise fail("SFN315", f"it has {said}: a part of the events is missing", str(path), "save it again")
    return counts["x"]


def _polarity(column: Array, path: Path) -> Array:
    """Return which events are on: of 0 and 1, or -1 and 1. Raises SFN315."""
    found = np.unique(column)
    if len(found) > 2 or not set(found.tolist()) <= ({0, 1} if found.min(initial=0) >= 0 else {-1, 1}):
        what = f"polarities are {found[:4].tolist()}{' and others' if len(found) > 4 else ''}"
        raise fail("SFN315", what, str(path), "give 0 for off and 1 for on")
    return np.asarray(column > 0)


def _offsets(array: Array, n: int, path: Path) -> list[int]:
    """Return where recordings begin, and where the last one ends. Raises SFN315."""
    if array.ndim == 1 and array.dtype.kind in "iu" and len(array) > 1:
        found = [int(i) for i in array]
        if found[0] == 0 and found[-1] == n and found == sorted(found):
            return found
    what = f"its {OFFSETS} are not 0, ..., {n} in ascending order"
    raise fail("SFN315", what, str(path), "recording i has the events offsets[i] to offsets[i + 1]")
