"""Quantize: a quantiser of an imported network. It becomes a population whose levels are stated, not chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ...program.network import HostOp, Shape
from ..graph import Levels
from .activation import Activation

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Quantize:
    """``step * code(activation(x))``: real numbers on the grid of ``levels``, whose ``rounding`` is the quantiser's."""

    levels: Levels
    activation: Activation = field(default_factory=lambda: Activation("identity"))

    def infer(self, *shapes: Shape) -> Shape:
        """Return the input's shape."""
        return shapes[0]

    def evaluate(self, *xs: Array) -> Array:
        """Return the rounded values, in float64."""
        return self.levels.real(self.activation.evaluate(xs[0]))

    def as_host(self) -> HostOp:
        """Return the rounding as a host operation after decoding."""
        lv = self.levels
        return HostOp("grid", (("step", lv.step), ("lo", lv.lo), ("hi", lv.hi), ("rounding", lv.rounding)))


def same_grid(a: Levels, b: Levels) -> bool:
    """Return whether codes of ``a`` are codes of ``b`` unchanged: one common step, and a range within."""
    one = a.step.size == b.step.size == 1 and a.step.item() == b.step.item()
    return one and b.lo <= a.lo and a.hi <= b.hi and "sign" not in (a.rounding, b.rounding)
