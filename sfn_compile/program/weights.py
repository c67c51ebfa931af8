"""What is known of the integer weights of a map or product: how large they are, and the power of two they share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .linear_maps import Conv, LinearMap
from .products import ProductForm

Array = NDArray[Any]


def exponent(weight: Array) -> int:
    """Return the largest k so that 2**k divides every weight, 0 where all are 0.

    >>> exponent(np.array([12, -8, 0])), exponent(np.array([0]))
    (2, 0)
    """
    bits = int(np.bitwise_or.reduce(np.abs(np.asarray(weight, np.int64)).reshape(-1), initial=0))
    return (bits & -bits).bit_length() - 1 if bits else 0


def mantissa_top(linear: LinearMap | ProductForm) -> int:
    """Return the largest absolute weight without the power of two that all weights share."""
    weight = np.asarray(linear.weight, np.int64)
    return int(np.abs(weight).max(initial=0)) >> exponent(weight)


def weight_top(linear: LinearMap | ProductForm) -> int:
    """Return the largest absolute weight of a map or product."""
    return int(np.abs(np.asarray(linear.weight, np.int64)).max(initial=0))


def ungrouped(conv: Conv) -> Array:
    """Return the weight ``(o, c, *k)`` of the same convolution with one group, zeros between groups."""
    if conv.groups == 1:
        return conv.weight.astype(np.int64)
    o, per_in = conv.weight.shape[:2]
    per_out = o // conv.groups
    full = np.zeros((o, per_in * conv.groups, *conv.weight.shape[2:]), np.int64)
    for g in range(conv.groups):
        full[g * per_out : (g + 1) * per_out, g * per_in : (g + 1) * per_in] = conv.weight[
            g * per_out : (g + 1) * per_out
        ]
    return full
