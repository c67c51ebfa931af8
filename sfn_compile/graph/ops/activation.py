"""Activation: a scalar function of one value. It ends up in a population's ladder, never as arithmetic of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...program.functions import sigmoid
from ...program.network import HostOp, Shape
from .expression import Expression, call

Array = NDArray[Any]
ActivationKind = Literal["identity", "relu", "clip", "leaky_relu", "sigmoid", "tanh", "row_exp", "scalar"]


@dataclass(frozen=True)
class Activation:
    """``kind`` with its parameters ``a`` and ``b``: clip to [a, b], leaky_relu with slope a >= 0; else unused.

    The kind ``scalar`` is any other function, given by its ``body``; all other kinds never decrease. ``row_exp`` is
    ``exp(x - max(x))`` over ``axis`` of one sample, what a softmax divides by its sum.
    """

    kind: ActivationKind
    a: float = 0.0
    b: float = 0.0
    body: Expression | None = None
    axis: int = 0

    def infer(self, *shapes: Shape) -> Shape:
        """Return the input's shape."""
        return shapes[0]

    def evaluate(self, *xs: Array) -> Array:
        """Return f(x) element by element, in float64."""
        x = xs[0]
        if self.body is not None:
            return self.body.evaluate(x)
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
        if self.kind == "row_exp":
            return np.asarray(np.exp(x - x.max(axis=self.axis + 1, keepdims=True)))
        return x

    @property
    def linear_above_zero(self) -> bool:
        """Whether a ladder from code 0 up may read the accumulator itself: relu, or clip from 0."""
        return self.kind == "relu" or (self.kind == "clip" and self.a == 0.0)

    @property
    def label(self) -> str:
        """The function as text, for reports."""
        return self.kind if self.body is None else str(self.body)

    def keeps_zero(self) -> bool:
        """Whether f(0) = 0, so that the function commutes with padding by zeros."""
        return not self.evaluate(np.zeros(1)).any()

    def rises(self) -> bool:
        """Whether f never decreases, so that it commutes with a maximum."""
        return self.body is None or self.body.rises()

    def is_local(self) -> bool:
        """Whether f means nothing outside the range that samples reach (a root, a quotient, a sine)."""
        return self.body is not None and self.body.is_local()

    def is_odd(self) -> bool:
        """Whether f(-x) = -f(x), so that it needs as many codes below zero as above."""
        x = np.geomspace(2.0**-6, 2.0**6, 25).reshape(-1, *(1,) * max((c.ndim for c in self._constants()), default=0))
        above, below = self.evaluate(x), self.evaluate(-x)
        return bool(np.abs(above + below).max() <= 2.0**-40 * np.abs(above).max())

    def expression(self) -> Expression:
        """Return the same function as an expression."""
        if self.body is not None:
            return self.body
        x = Expression()
        if self.kind == "relu":
            return call("max", x, 0.0)
        if self.kind == "clip":
            return call("min", call("max", x, self.a), self.b)
        if self.kind == "leaky_relu":
            return call("add", call("max", x, 0.0), call("mul", call("min", x, 0.0), self.a))
        return x if self.kind == "identity" else call(self.kind, x)

    def within(self, low: Array, high: Array) -> Activation:
        """Return the function that takes its nearest value in [low, high] everywhere else."""
        assert self.body is not None
        return replace(self, body=self.body.after(call("min", call("max", Expression(), low), high)))

    def as_host(self) -> HostOp:
        """Return the same function as a host operation after decoding."""
        if self.body is not None:
            return HostOp("scalar", (("steps", self.body.steps),))
        args: dict[str, tuple[tuple[str, Any], ...]] = {
            # JSON has no infinity: a bound that is not there is null.
            "clip": tuple((k, v if np.isfinite(v) else None) for k, v in (("lo", self.a), ("hi", self.b))),
            "leaky_relu": (("slope", self.a),),
        }
        return HostOp(self.kind, args.get(self.kind, ()))

    def _constants(self) -> list[Array]:
        return [] if self.body is None else self.body.constants()


def scalar(body: Expression) -> Activation:
    """Return the activation of an expression."""
    return Activation("scalar", body=body)
