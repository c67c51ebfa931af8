"""Linear maps and pools as single synapses: Loihi 1 stores a weight for each, and shares no kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from sfn_compile.program.network import (
    Conv,
    Dense,
    Gather,
    Identity,
    LinearMap,
    MaxPool,
    Pads,
    Shape,
    SumPool,
)

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Synapses:
    """Synapse i leads from neuron ``source[i]`` to ``target[i]``, numbered in row-major order, by ascending target.

    Its weight is element ``position[i]`` of the map's own weight.
    """

    source: Array
    target: Array
    position: Array

    def between(self, start: int, stop: int) -> Synapses:
        """Return those that lead to the neurons ``start`` to ``stop`` (exclusive)."""
        a, b = np.searchsorted(self.target, (start, stop))
        return Synapses(self.source[a:b], self.target[a:b], self.position[a:b])


def count(linear: LinearMap, shape: Shape) -> int:
    """Return how many synapses a map has at most on a source of ``shape``: what reads padding is none, but counted."""
    size = math.prod(linear.out_shape(shape))
    if isinstance(linear, Dense):
        return size * linear.weight.shape[1]
    if isinstance(linear, Conv):
        return size * math.prod(linear.weight.shape[1:])
    if isinstance(linear, SumPool):
        return size * math.prod(linear.kernel)
    if isinstance(linear, Identity | Gather):
        return size
    assert_never(linear)


def of_map(linear: LinearMap, shape: Shape) -> Synapses:
    """Return the synapses of a map from a source of ``shape``; reads of padding are none."""
    if isinstance(linear, Dense):
        return _dense(linear, math.prod(shape[:-1]))
    if isinstance(linear, Conv):
        return _conv(linear, shape)
    weight = np.arange(linear.weight.size).reshape(linear.weight.shape)
    places = np.broadcast_to(weight, linear.out_shape(shape)).ravel()
    if isinstance(linear, SumPool):
        found = _windows(shape, linear.kernel, linear.strides, linear.pads, (1,) * len(linear.kernel))
        return Synapses(found.source, found.target, places[found.target])
    if isinstance(linear, Identity):
        every = np.arange(math.prod(shape))
        return Synapses(every, every, places)
    if isinstance(linear, Gather):
        read = np.flatnonzero(linear.index.ravel() >= 0)
        return Synapses(linear.index.ravel()[read], read, places[read])
    assert_never(linear)


def of_pool(pool: MaxPool, shape: Shape) -> Synapses:
    """Return the synapses of a max pool, from a neuron to each window that holds it; every position is 0."""
    return _windows(shape, pool.kernel, pool.strides, pool.pads, pool.dilations)


def _dense(dense: Dense, rows: int) -> Synapses:
    out, inputs = dense.weight.shape
    row, o, i = (x.ravel() for x in np.indices((rows, out, inputs)))
    return Synapses(row * inputs + i, row * out + o, o * inputs + i)


def _conv(conv: Conv, shape: Shape) -> Synapses:
    """Return the synapses of a convolution: those of one channel to one channel, for every pair that it joins."""
    out, per_group, *kernel = conv.weight.shape
    one = _windows((1, *shape[1:]), tuple(kernel), conv.strides, conv.pads, conv.dilations)
    space_in, space_out = math.prod(shape[1:]), math.prod(conv.out_shape(shape)[1:])
    taps = math.prod(kernel)
    o, c = (x.ravel()[:, None] for x in np.indices((out, per_group)))
    group = o // (out // conv.groups)
    source = (group * per_group + c) * space_in + one.source
    target = o * space_out + one.target
    position = (o * per_group + c) * taps + one.position
    return _sorted(Synapses(source.ravel(), target.ravel(), position.ravel()))


def _windows(shape: Shape, kernel: Shape, strides: Shape, pads: Pads, dilations: Shape) -> Synapses:
    """Return which place of ``(c, *space)`` stands in which window, and as which of its taps (:attr:`position`)."""
    axes = [_axis(*one) for one in zip(shape[1:], kernel, strides, pads, dilations, strict=True)]
    windows = [len(a) for a in axes]
    places = axes[0]  # by window and tap of the whole space, -1 in the padding
    for size, axis in zip(shape[2:], axes[1:], strict=True):
        both = places[:, None, :, None] * size + axis[None, :, None, :]
        inside = (places[:, None, :, None] >= 0) & (axis[None, :, None, :] >= 0)
        places = np.where(inside, both, -1).reshape(len(places) * len(axis), -1)
    window, tap = (x.ravel() for x in np.indices(places.shape))
    read = places.ravel() >= 0
    source, window, tap = places.ravel()[read], window[read], tap[read]
    channel = np.arange(shape[0])[:, None]
    space_in, space_out = math.prod(shape[1:]), math.prod(windows)
    source, target = channel * space_in + source, channel * space_out + window
    return _sorted(Synapses(source.ravel(), target.ravel(), np.broadcast_to(tap, source.shape).ravel()))


def _axis(size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int) -> Array:
    """Return the places along one axis by window and tap, -1 in the padding."""
    n = (size + sum(pads) - ((kernel - 1) * dilation + 1)) // stride + 1
    places = np.arange(n)[:, None] * stride + np.arange(kernel) * dilation - pads[0]
    return np.where((places >= 0) & (places < size), places, -1)


def _sorted(synapses: Synapses) -> Synapses:
    order = np.lexsort((synapses.source, synapses.target))
    return Synapses(synapses.source[order], synapses.target[order], synapses.position[order])
