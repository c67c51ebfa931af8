"""How real weights become integers: the one rule by which the compiler chooses them, learns them and refits them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


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
