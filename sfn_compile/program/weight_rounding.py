"""How real weights become integers: the one rule by which the compiler chooses them, learns them and refits them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

WHOLE = 2.0**-20  # a quotient of products of float32 numbers that is this near to an integer is one
FIRST = 16  # weights of a row that are looked at first


def whole(real: Array, top: int, out: Array | None = None) -> Array:
    """Return the integers nearest to ``real``, halves to even, cut to -top..top, in its own type; in ``out`` if given.

    >>> whole(np.array([-9.0, -1.5, 0.4, 2.6]), 7).tolist()
    [-7.0, -2.0, 0.0, 3.0]
    """
    return np.clip(np.rint(real, out=out), -top, top, out=out)


def on_grid(real: Array, unit: Array, top: int) -> Array:
    """Return the whole multiples of ``unit``, at most ``top`` of them, that are nearest to ``real``.

    >>> on_grid(np.array([-9.0, 0.4, 2.6]), np.array(0.5), 7).tolist()
    [-3.5, 0.5, 2.5]
    """
    return np.asarray(whole(real / unit, top) * unit)


def finest_threshold(step: Array, largest: Array, top: int) -> Array:
    """Return the largest threshold, a real number, at which the ``largest`` weight still rounds to ``top``.

    One accumulator unit is worth ``step / threshold`` then.
    """
    return np.asarray((top + 0.49) * step / largest)


def own_unit(rows: Array, top: int) -> Array:
    """Return for each row ``(c, n)`` the number of which its weights are whole multiples, at most ``top`` of them.

    0 where there is none, and of a row of zeros. The weights come of float32 constants, so the multiples need not be
    whole by more than that.

    >>> own_unit(np.array([[0.75, -0.5], [1.0, 0.3], [0.0, 0.0]]), 7).tolist()
    [0.25, 0.0, 0.0]
    """
    peak = np.abs(rows).max(axis=1)
    found = np.zeros(len(rows))
    for k in range(1, top + 1):
        left = np.flatnonzero((found == 0) & (peak > 0))
        left = left[_are_whole(rows[left, :FIRST], peak[left] / k)]  # few rows pass: the rest of them is worth a look
        left = left[_are_whole(rows[left], peak[left] / k)]
        found[left] = peak[left] / k
    return found


def _are_whole(rows: Array, unit: Array) -> Array:
    multiple = rows / unit[:, None]
    nearest = np.rint(multiple)
    return np.asarray((np.abs(multiple - nearest) <= WHOLE * np.maximum(np.abs(nearest), 1)).all(axis=1))
