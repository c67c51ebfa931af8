"""Scaling a linear map's weights on its output or its input side; the algebra that several passes share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ..program.broadcast import channel_vector, compress
from ..program.network import Conv, Dense, Gather, Identity, LinearMap, ProductForm, Shape, SumPool

Array = NDArray[Any]


def scale_output(linear: LinearMap, factor: Array, shape: Shape) -> LinearMap | None:
    """Return the map of ``factor * map(x)`` for an output sample of ``shape``, None where it is no such map."""
    if isinstance(linear, Identity | SumPool | Gather):
        return replace(linear, weight=compress(np.multiply(*np.broadcast_arrays(linear.weight, factor))))
    if not isinstance(linear, Conv | Dense):
        assert_never(linear)
    rows = channel_vector(factor, shape, 0 if isinstance(linear, Conv) else -1)
    if rows is None:
        return None
    return replace(linear, weight=linear.weight * rows.reshape(-1, *(1,) * (linear.weight.ndim - 1)))


def scale_product(form: ProductForm, factor: Array) -> ProductForm:
    """Return the form of ``factor * product``; the factor broadcasts against the product's sample."""
    return replace(form, weight=compress(np.multiply(*np.broadcast_arrays(form.weight, factor))))


def scale_input(linear: LinearMap, factor: Array, shape: Shape) -> LinearMap | None:
    """Return the map of ``map(factor * x)`` for an input sample of ``shape``, None where it is no such map."""
    if isinstance(linear, Identity):
        return replace(linear, weight=compress(np.multiply(*np.broadcast_arrays(linear.weight, factor))))
    if isinstance(linear, Gather):
        read = np.broadcast_to(factor, shape).reshape(-1)[np.maximum(linear.index, 0)]
        return replace(linear, weight=compress(linear.weight * read))
    columns = channel_vector(factor, shape, -1 if isinstance(linear, Dense) else 0)
    if columns is None:
        return None
    if isinstance(linear, Dense):
        return replace(linear, weight=linear.weight * columns)
    if isinstance(linear, SumPool):
        column = columns.reshape(-1, *(1,) * (len(shape) - 1))
        return replace(linear, weight=compress(np.multiply(*np.broadcast_arrays(linear.weight, column))))
    if not isinstance(linear, Conv):
        assert_never(linear)
    w = linear.weight
    grouped = w.reshape(linear.groups, w.shape[0] // linear.groups, w.shape[1], -1)
    scaled = grouped * columns.reshape(linear.groups, 1, w.shape[1], 1)
    return replace(linear, weight=scaled.reshape(w.shape))
