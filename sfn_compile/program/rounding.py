"""How real numbers become codes. The compiler's own sites round half up in float64; imported quantisers as they do.

An imported quantiser divides in float32 and rounds by its own rule (ONNX ``QuantizeLinear``: half to even; QONNX
``Quant``: a named mode), so that rule is part of the network and not ours to change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Rounding = Literal["half_up", "half_even", "half_away", "half_down", "floor", "ceil", "to_zero", "away", "sign"]


def _half_away(x: Array) -> Array:
    return np.asarray(np.sign(x) * np.floor(np.abs(x) + x.dtype.type(0.5)))


def _half_down(x: Array) -> Array:
    return np.asarray(np.sign(x) * np.ceil(np.abs(x) - x.dtype.type(0.5)))


ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "half_up": lambda x: np.asarray(np.floor(x + x.dtype.type(0.5))),
    "half_even": np.rint,
    "half_away": _half_away,
    "half_down": _half_down,
    "floor": np.floor,
    "ceil": np.ceil,
    "to_zero": np.trunc,
    "away": lambda x: np.asarray(np.sign(x) * np.ceil(np.abs(x))),
    "sign": lambda x: np.where(x >= 0, x.dtype.type(1), x.dtype.type(-1)),
}


def to_codes(x: Array, step: Array, lo: int, hi: int, rounding: Rounding = "half_up", offset: float = 0.5) -> Array:
    """Return ``clip(round(x / step), lo, hi)`` as int32; ``half_up`` in float64, every other rule in float32.

    ``sign`` knows the codes -1 and 1 only. ``offset`` is what ``half_up`` adds, in steps, before it rounds down.

    >>> x, step = np.array([-0.5, 0.5, 1.5, 9.0]), np.array(1.0)
    >>> to_codes(x, step, -3, 3).tolist(), to_codes(x, step, -3, 3, "half_even").tolist()
    ([0, 1, 2, 3], [0, 0, 2, 3])
    """
    number = np.float64 if rounding == "half_up" else np.float32
    with np.errstate(over="ignore"):  # beyond float32 is beyond every code
        scaled = np.asarray(np.asarray(x, number) / np.asarray(step, number))
    if rounding == "half_up":
        return nearest(scaled, lo, hi, offset).astype(np.int32)
    return np.clip(ROUNDINGS[rounding](scaled), lo, hi).astype(np.int32)


def nearest(scaled: Array, lo: int, hi: int, offset: float = 0.5) -> Array:
    """Return ``clip(floor(scaled + offset), lo, hi)`` in the number type of ``scaled``, real values in steps, over it.

    This is how a site of the compiler's own rounds, wherever that is computed.
    """
    scaled += scaled.dtype.type(offset)
    np.floor(scaled, out=scaled)
    return np.clip(scaled, lo, hi, out=scaled)


def due(codes: Sequence[int], offset: float = 0.5) -> list[Fraction]:
    """Return, in steps and exactly, from where on each of the ascending ``codes`` but the first is due.

    With an offset of 1/2 halfway between two codes, with 0 at the upper one.

    >>> [str(v) for v in due((0, 1, 2, 5))], [str(v) for v in due((0, 1, 2, 5), 0.0)]
    (['1/2', '3/2', '7/2'], ['1', '2', '5'])
    """
    rest = 1 - Fraction(offset)
    return [a + rest * (b - a) for a, b in pairwise(codes)]


def to_ranks(x: Array, step: Array, codes: Sequence[int], offset: float = 0.5) -> Array:
    """Return how many of the ascending ``codes`` but the first are due at ``x``: the place of its code among them.

    >>> to_ranks(np.array([-3.0, 1.4, 1.5, 9.0]), np.array(1.0), (0, 1, 2, 5)).tolist()
    [0, 1, 2, 3]
    """
    return ranks(np.asarray(x, np.float64) / np.asarray(step, np.float64), codes, offset)


def ranks(scaled: Array, codes: Sequence[int], offset: float = 0.5) -> Array:
    """Return what :func:`to_ranks` does for real values in steps, compared in their own number type."""
    edges = np.array([float(v) for v in due(codes, offset)], scaled.dtype)
    return np.searchsorted(edges, scaled, side="right")
