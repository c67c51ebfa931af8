"""Arrays between the Program's row-major order and Lava's order of axes, and back without loss."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]


def positions(shape: Shape) -> Array:
    """Return, for every element of a sample ``shape``, its place in the flattened Lava port."""
    places = np.arange(int(np.prod(shape))).reshape(tuple(reversed(shape)))
    return places.transpose()


def to_lava(x: Array, rank: int, kept: int = 0) -> Array:
    """Return ``x``, which broadcasts against a sample of ``rank`` axes, so that it broadcasts against its Lava port.

    The last ``kept`` axes stay where they are and do not count.
    """
    lead, tail = x.shape[: x.ndim - kept], x.shape[x.ndim - kept :]
    full = x.reshape((1,) * (rank - len(lead)) + lead + tail)
    turned = full.transpose(*reversed(range(rank)), *range(rank, rank + kept))
    return np.ascontiguousarray(np.expand_dims(turned, 1) if rank == 2 else turned)


def from_lava(x: Array, rank: int, shape: Shape, kept: int = 0) -> Array:
    """Return the array of ``shape`` that :func:`to_lava` took."""
    full = x.reshape(x.shape[0], *x.shape[2:]) if rank == 2 else x
    turned = full.transpose(*reversed(range(rank)), *range(rank, rank + kept))
    return np.ascontiguousarray(turned).reshape(shape)


def first_of(full: Array, shape: Shape) -> Array:
    """Return the array of ``shape`` that, broadcast, gave ``full``."""
    padded = (1,) * (full.ndim - len(shape)) + shape
    return full[tuple(slice(0, 1) if n == 1 else slice(None) for n in padded)].reshape(shape)
