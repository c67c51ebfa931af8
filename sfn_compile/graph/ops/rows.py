"""Ops that look at more than one number at a time: a product of two matrices, and normalisation over axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...program.broadcast import Axis
from ...program.network import Shape
from .activation import Activation

Array = NDArray[Any]
IDENTITY = Activation("identity")


@dataclass(frozen=True)
class MatMul:
    """``left @ right`` of two values: samples ``(*lead, m, k)`` and ``(*lead, k, n)`` with equal leading axes."""

    def infer(self, *shapes: Shape) -> Shape:
        """Return ``(*lead, m, n)``."""
        left, right = shapes
        assert left[:-2] == right[:-2]
        assert left[-1] == right[-2]
        return (*left[:-1], right[-1])

    def evaluate(self, *xs: Array) -> Array:
        """Return the matrix product ``(n, *lead, m, n)``."""
        return np.matmul(xs[0], xs[1])


@dataclass(frozen=True, eq=False)
class Normalize:
    """``scale * (x - mean) / sqrt(variance + epsilon) + bias``, mean and variance over ``axes`` of one sample.

    LayerNorm over the last axis, InstanceNorm over the space axes, GroupNorm over the last axis of ``(groups, rest)``.
    Not ``centred``: ``scale * x / sqrt(mean(x**2) + epsilon) + bias``, which is RMSNorm. ``epsilon`` is at least 0;
    ``scale`` and ``bias`` broadcast against one sample. A second input is added to the first. ``activation`` (identity
    or relu) follows. ``axis`` is the channel axis, along which thresholds are chosen.
    """

    axes: tuple[int, ...]
    epsilon: float
    scale: Array
    bias: Array
    centred: bool = True
    activation: Activation = IDENTITY
    axis: Axis = 0

    def infer(self, *shapes: Shape) -> Shape:
        """Return the input's shape."""
        return shapes[0]

    def evaluate(self, *xs: Array) -> Array:
        """Return the normalised batch, in float64; where variance and epsilon are 0 it is the bias."""
        axes = tuple(a + 1 for a in self.axes)
        x = np.asarray(sum(xs), np.float64)
        centred = x - x.mean(axis=axes, keepdims=True) if self.centred else x
        root = np.sqrt((centred**2).mean(axis=axes, keepdims=True) + self.epsilon)
        return self.activation.evaluate(self.scale * centred / np.where(root > 0, root, 1.0) + self.bias)
