"""Event recordings in every form that is read, and what they become by the definition, one event after the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Events = dict[str, Array]
SIDE = 34
AEDAT4 = Path(__file__).parent / "recordings" / "made.aedat4"


def events(seed: int = 0, n: int = 120) -> Events:
    """Random events of a sensor of 34 x 34 pixels."""
    rng = np.random.default_rng(seed)
    x, y, on = (rng.integers(0, high, n) for high in (SIDE, SIDE, 2))
    return {"x": x, "y": y, "polarity": on, "t_us": np.cumsum(rng.integers(0, 900, n))}


def save(path: Path, made: Mapping[str, Array]) -> Path:
    """Write events in the form that the file's name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, **made)
    elif path.suffix == ".npy":
        records = np.zeros(len(made["x"]), [("t", "u8"), ("x", "u2"), ("y", "u2"), ("p", "?")])
        for ours, theirs in (("t", "t_us"), ("x", "x"), ("y", "y"), ("p", "polarity")):
            records[ours] = made[theirs]
        np.save(path, records)
    else:
        x, y, on, t = (made[name] for name in ("x", "y", "polarity", "t_us"))
        columns = [x, y, (on << 7) | (t >> 16), (t >> 8) & 255, t & 255]
        path.write_bytes(np.stack(columns, axis=1).astype(np.uint8).tobytes())
    return path


def together(recordings: list[Events]) -> Events:
    """Several recordings as one file has them."""
    joined = {name: np.concatenate([r[name] for r in recordings]) for name in recordings[0]}
    return {**joined, "offsets": np.cumsum([0, *(len(r["x"]) for r in recordings)])}


def frames(
    made: Mapping[str, Array], n: int, bins: str = "time", window: float | None = None, side: int = SIDE,
    sensor: int = SIDE, channels: int = 2,
) -> Array:  # fmt: skip
    """The counts (n, channels, side, side) of a recording, event by event; ``window`` in milliseconds."""
    found = np.zeros((n, channels, side, side), np.int64)
    since = [int(t) - int(made["t_us"][0]) for t in made["t_us"]]
    taken = [i for i, t in enumerate(since) if window is None or t < 1000 * window]
    span = since[-1] + 1 if window is None else int(1000 * window)
    for i in taken:
        frame = since[i] * n // span if bins == "time" else i * n // len(taken)
        x, y = (int(made[axis][i]) * side // sensor for axis in ("x", "y"))
        found[frame, int(made["polarity"][i]) if channels == 2 else 0, y, x] += 1
    return found
