"""How often each neuron of a value is read: its synapses, padding left out, counted and not assumed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ..program.linear_maps import Conv, Dense, Gather, Identity, LinearMap, Shape, SumPool

Counts = NDArray[np.int64]


def fan_out(linear: LinearMap, shape: Shape) -> Counts:
    """Return how many accumulators each element of a source of ``shape`` is added to; broadcasts against ``shape``.

    Reads of padding are none: no neuron is there.
    """
    if isinstance(linear, Dense):
        return np.full((1,) * len(shape), linear.weight.shape[0], np.int64)
    if isinstance(linear, Conv):
        each = linear.weight.shape[0] // linear.groups
        return each * _windows(shape, linear.weight.shape[2:], linear.strides, linear.pads, linear.dilations)
    if isinstance(linear, SumPool):
        return _windows(shape, linear.kernel, linear.strides, linear.pads, (1,) * len(linear.kernel))
    if isinstance(linear, Gather):
        read = linear.index[linear.index >= 0]
        return np.bincount(read.ravel(), minlength=int(np.prod(shape))).reshape(shape)
    if isinstance(linear, Identity):
        return np.ones((1,) * len(shape), np.int64)
    assert_never(linear)


def _windows(shape: Shape, kernel: Shape, strides: Shape, pads: Iterable[tuple[int, int]], dilations: Shape) -> Counts:
    """Return the number of windows that read each place ``(1, *space)``: a product over the axes."""
    axes = [_reads(*one) for one in zip(shape[1:], kernel, strides, pads, dilations, strict=True)]
    return np.asarray(reduce(np.multiply.outer, axes))[None]


def _reads(size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int) -> Counts:
    """Return how many windows along one axis read each of its places."""
    n = (size + sum(pads) - ((kernel - 1) * dilation + 1)) // stride + 1
    places = (np.arange(n)[:, None] * stride + np.arange(kernel) * dilation - pads[0]).ravel()
    return np.bincount(places[(places >= 0) & (places < size)], minlength=size)


def classes(fans: list[Counts], shape: Shape) -> tuple[Counts, list[Counts]]:
    """Return the class of every element, which broadcasts against ``shape``, and each fan-out per class.

    Elements of one class are read equally often by every reader, so that counting codes per class is enough.
    """
    varied = [f for f in fans if f.size > 1 and (f != f.flat[0]).any()]
    if not varied:
        return np.zeros((1,) * len(shape), np.int64), [np.asarray(f).reshape(-1)[:1] for f in fans]
    together = np.broadcast_arrays(*varied)
    rows = np.stack([f.ravel() for f in together])
    _, first, of = np.unique(_numbered(rows), return_index=True, return_inverse=True)
    full = [np.broadcast_to(f, together[0].shape).ravel()[first] if f.size > 1 else np.repeat(f.ravel(), len(first))
            for f in fans]  # fmt: skip
    return of.reshape(together[0].shape).astype(np.int64), full


def _numbered(rows: Counts) -> Counts:
    """Return one number per column, the same for the same columns."""
    found = np.zeros(rows.shape[1], np.int64)
    for row in rows:
        _, dense = np.unique(row, return_inverse=True)
        _, found = np.unique(found * (int(dense.max()) + 1) + dense.reshape(-1), return_inverse=True)
    return found.reshape(-1)
