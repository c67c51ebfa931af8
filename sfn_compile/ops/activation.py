"""Activation: a non-decreasing scalar function. It ends up in a population's ladder, never as arithmetic of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..program import HostOp, Shape

Array = NDArray[Any]
ActivationKind = Literal["identity", "relu", "clip", "leaky_relu", "sigmoid", "tanh"]


@dataclass(frozen=True)
class Activation:
    """``kind`` with its parameters ``a`` and ``b``: clip to [a, b], leaky_relu with slope a >= 0; else unused."""

    kind: ActivationKind
    a: float = 0.0
    b: float = 0.0

    def infer(self, *shapes: Shape) -> Shape:
        """Return the input's shape."""
        return shapes[0]

    def evaluate(self, *xs: Array) -> Array:
        """Return f(x) element by element, in float64."""
        x = xs[0]
        if self.kind == "relu":
            return np.maximum(x, 0.0)
        if self.kind == "clip":
            return np.clip(x, self.a, self.b)
        if self.kind == "leaky_relu":
            return np.where(x >= 0, x, self.a * x)
        if self.kind == "sigmoid":
            return sigmoid(x)
        if self.kind == "tanh":
            return np.asarray(np.tanh(x))
        return x

    @property
    def linear_above_zero(self) -> bool:
        """Whether a ladder from code 0 up may read the accumulator itself: relu, or clip from 0."""
        return self.kind == "relu" or (self.kind == "clip" and self.a == 0.0)

    def keeps_zero(self) -> bool:
        """Whether f(0) = 0, so that the function commutes with padding by zeros."""
        return float(self.evaluate(np.zeros(1))[0]) == 0.0

    def as_host(self) -> HostOp:
        """Return the same function as a host operation after decoding."""
        args: dict[str, tuple[tuple[str, Any], ...]] = {
            # JSON has no infinity: a bound that is not there is null.
            "clip": tuple((k, v if np.isfinite(v) else None) for k, v in (("lo", self.a), ("hi", self.b))),
            "leaky_relu": (("slope", self.a),),
        }
        return HostOp(self.kind, args.get(self.kind, ()))


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)) without overflow for any x."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0 / (1.0 + small), small / (1.0 + small))
