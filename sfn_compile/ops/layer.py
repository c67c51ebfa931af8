"""Layer: what becomes one population. First with real weights, then with levels, then with its integer form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir import Levels
from ..program import Ladder, LinearMap, Shape
from .activation import Activation

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class IntegerForm:
    """The integers of a layer. ``alpha`` is the real value of one accumulator unit, per channel (broadcastable)."""

    maps: tuple[LinearMap, ...]
    alpha: Array
    ladder: Ladder | None = None
    acc_min: int = 0
    acc_max: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Layer:
    """``activation(sum of maps(inputs) + bias)``, one map per input.

    ``activation`` None means a readout: the accumulator leaves the network unfired. ``axis`` is the channel axis of the
    sample, along which thresholds are chosen. ``units``, one per map, as in :class:`~sfn_compile.ops.linear.Linear`.
    """

    maps: tuple[LinearMap, ...]
    bias: Array
    activation: Activation | None
    axis: int = 0
    levels: Levels | None = None
    integer: IntegerForm | None = None
    units: tuple[Array | None, ...] = ()

    def infer(self, *shapes: Shape) -> Shape:
        """Return the common shape of the projections."""
        found = {m.out_shape(s) for m, s in zip(self.maps, shapes, strict=True)}
        assert len(found) == 1
        return found.pop()

    def evaluate(self, *xs: Array) -> Array:
        """Return the real values; rounded to their levels where the model itself states those, else not."""
        total = np.asarray(sum(m.apply(x, 0, "real") for m, x in zip(self.maps, xs, strict=True)) + self.bias)
        if self.activation is None:
            return total
        real = self.activation.evaluate(total)
        return self.levels.real(real) if self.levels is not None and self.levels.imported else real
