"""What a tensor of an emitted ONNX graph holds: numbers, a form of proved values, or functions of one such form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .functions import Function, start
from .modular import FIELD, Array
from .program_values import pair
from .reading import NotProved

# Integers that a type holds exactly, all partial sums included.
EXACT = {"float32": 2**24, "float64": 2**53, "int32": 2**31, "int64": 2**62}


@dataclass(eq=False)
class Form:
    """Integers that are polynomials in the codes of proved values: residues, and bounds that broadcast to them."""

    v: Array
    lo: Array
    hi: Array
    dtype: np.dtype[Any]

    @property
    def top(self) -> float:
        """The largest magnitude of any element."""
        return float(max(-self.lo.min(initial=0), self.hi.max(initial=0)))

    def moved(self, move: Callable[[Array], Array]) -> Form:
        """Return the form with its elements in other places."""
        lo, hi = (move(np.broadcast_to(e, self.v.shape)) for e in (self.lo, self.hi))
        return Form(move(self.v), lo, hi, self.dtype)

    def function(self) -> Function:
        """Return the elements as functions of themselves."""
        return start(self.v, float(self.lo.min()), float(self.hi.max()), self.dtype)

    def channels(self) -> tuple[Array, Array]:
        """Return bounds of each channel (axis 1), shaped ``(1, c, 1, ...)``."""
        others = tuple(a for a in range(self.v.ndim) if a != 1)
        lo, hi = (np.broadcast_to(e, self.v.shape) for e in (self.lo, self.hi))
        return lo.min(axis=others, keepdims=True), hi.max(axis=others, keepdims=True)


@dataclass(eq=False)
class Quotient:
    """``above / below`` of two forms, not yet rounded."""

    above: Form
    below: Form

    def floor(self) -> Function:
        """Return the rounded quotient as a function of itself."""
        v = pair(*np.broadcast_arrays(self.above.v, self.below.v))
        ends = float(min(self.above.lo.min(), 0)), float(max(self.above.hi.max(), 0))
        return start(v, *ends, np.int64)


@dataclass(eq=False)
class Unknown:
    """A tensor of which nothing is known, and why."""

    reason: str


Tensor = Any  # an array, a Form, a Function, a Quotient, a root of onnx_roots or an Unknown


def form(v: Array, lo: Array, hi: Array, dtype: Any, bound: float | None = None) -> Form:
    """Return a form whose integers its type holds; ``bound``: of every partial sum. Raises NotProved otherwise."""
    kind = np.dtype(dtype)
    found = Form(v % FIELD.p, np.asarray(lo, float), np.asarray(hi, float), kind)
    reach = max(found.top, bound or 0.0)
    if kind.name in ("uint8", "int8"):
        if found.lo.min(initial=0) < np.iinfo(kind).min or found.hi.max(initial=0) > np.iinfo(kind).max:
            raise NotProved(f"codes leave {kind.name}")
    elif reach >= EXACT[kind.name]:
        raise NotProved(f"numbers reach {reach:.0f}, {kind.name} is exact below {EXACT[kind.name]}")
    return found


def whole(array: Array) -> bool:
    """Whether all numbers of a constant are integers."""
    return bool((np.asarray(array) == np.rint(array)).all())
