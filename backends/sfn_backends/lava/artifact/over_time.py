"""Samples over time as a Lava network sees them: one after the other, each ``timesteps + settle`` steps long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Json = Mapping[str, Any]


def period(clock: Json | None) -> int:
    """Return the steps of one sample; 1 for a network that answers at once."""
    return 1 if clock is None else int(clock["timesteps"]) + int(clock["settle"])


def in_line(codes: Array, value: Json, clock: Json | None) -> Array:
    """Return codes as a source sends them, ``(n * period, *shape)``.

    Held codes ``(n, *shape)`` are there in every step of the window, then nothing is. Spikes are
    ``(n, steps, *shape)``; steps behind the last bring nothing.
    """
    if clock is None:
        return codes
    steps = period(clock)
    if value["parts"]["held"]:
        codes = np.repeat(codes[:, None], clock["timesteps"], axis=1)
    room = [(0, 0), (0, steps - codes.shape[1]), *((0, 0),) * (codes.ndim - 2)]
    return np.pad(codes, room).reshape(len(codes) * steps, *codes.shape[2:])


def by_sample(line: Array, value: Json, clock: Json | None) -> Array:
    """Return what a sink recorded: ``(n, steps, *shape)``, of held codes ``(n, *shape)``."""
    if clock is None:
        return line
    steps = line.reshape(-1, period(clock), *line.shape[1:])
    return steps[:, 0] if value["parts"]["held"] else steps


def told(value: Json, clock: Json | None) -> bool:
    """Whether a value is one thing over time: not held and sent side by side."""
    return clock is None or value["parts"]["held"] != value["parts"]["sent"]
