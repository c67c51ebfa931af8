"""Linear: one linear map with real weights plus a bias. Conv, Gemm, pooling, batch norm and constants are all this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...program.network import Identity, LinearMap, Shape

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Linear:
    """``y = map(x) + bias``; the map's weights are float64, ``bias`` broadcasts against one output sample.

    ``unit``, where it is there, is the positive number per output channel (broadcasting against one output sample) of
    which the weights are integer multiples: they come from a quantised network and are not to be rounded again.
    ``terms``: how large the numbers are whose sum the bias is, where the file holds them one by one; they may cancel.
    ``positions``: how far from 0 the places are that a kernel computes its weights from, as Resize does; None where
    the weights are stored.
    """

    map: LinearMap
    bias: Array
    unit: Array | None = None
    terms: Array | None = None
    positions: float | None = None

    def infer(self, *shapes: Shape) -> Shape:
        """Return the map's output shape."""
        return self.map.out_shape(shapes[0])

    def evaluate(self, *xs: Array) -> Array:
        """Return ``map(x) + bias`` in float64."""
        return self.map.apply(xs[0], np.float64) + self.bias


def affine(scale: Array, bias: Array) -> Linear:
    """Return ``y = scale * x + bias``, both broadcasting against one sample."""
    return Linear(Identity(np.asarray(scale, np.float64)), np.asarray(bias, np.float64))
