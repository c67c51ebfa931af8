"""The integers of a layer out of a node's output, by the small map in a file's metadata. NumPy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def decode(output: Array, where: dict[str, Any]) -> Array:
    """Return a value's integers ``(n, *shape)`` from its node's output ``(n, ...)``.

    Raises ValueError where a number is no integer.
    """
    shape, start = where["shape"], where["start"]
    n = len(output)
    if where["grid"] is None:
        found = output.reshape(n, -1)[:, start : start + int(np.prod(shape))].reshape(n, *shape)
    else:
        found = _unfold(output, where).reshape(n, *shape)
    codes = np.rint(found).astype(np.int64)
    if not np.array_equal(codes, found):
        raise ValueError(f"node {where['node']} holds numbers that are no integers")
    return codes + int(where["shift"])


def _unfold(output: Array, where: dict[str, Any]) -> Array:
    """Return the map ``(n, c, h, w)`` from its phases (space to depth)."""
    shape, (fy, fx) = where["shape"], where["factor"]
    c, h, w = (*shape, 1)[:3]
    full = np.zeros((len(output), c, where["grid"][0] * fy, where["grid"][1] * fx), output.dtype)
    for i, (py, px) in enumerate(where["phases"]):
        first = where["start"] + i * c
        full[:, :, py::fy, px::fx] = output[:, first : first + c]
    return full[:, :, :h, :w]
