"""Lava's order of axes: width, height, channel instead of channel, height, width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def lava_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of a Lava port for one sample: axes reversed; (channel, length) is a map of height 1.

    >>> lava_shape((3, 32, 30)), lava_shape((3, 20)), lava_shape((7,))
    ((30, 32, 3), (20, 1, 3), (7,))
    """
    if len(shape) == 2:
        return (shape[1], 1, shape[0])
    return tuple(reversed(shape)) or (1,)


def to_sample(x: Array, shape: Sequence[int]) -> Array:
    """Return what one port carries in one step as a sample of ``shape``, int64."""
    return x.astype(np.int64).reshape(tuple(reversed(shape))).transpose()


def to_port(sample: Array, shape: Sequence[int]) -> Array:
    """Return a sample as a port of ``shape`` carries it, int32: the inverse of :func:`to_sample`."""
    return np.ascontiguousarray(sample.transpose().reshape(tuple(shape)), dtype=np.int32)


def sources(layer: Mapping[str, Any]) -> list[str]:
    """Return the names of the values that a layer of the manifest reads."""
    if "source" in layer:
        return [layer["source"]]
    if "sources" in layer:
        return [read["source"] for read in layer["sources"]]
    pairs = [product[side] for product in layer["products"] for side in ("left", "right")]
    return [*(connection["source"] for connection in layer["connections"]), *pairs, *norm_source(layer)]


def norm_source(layer: Mapping[str, Any]) -> list[str]:
    """Return the name of the value whose row sum scales the thresholds of a layer, if any."""
    return [layer["norm"]["source"]] if layer.get("norm") else []


def to_time_last(samples: Array, shape: Sequence[int]) -> Array:
    """Return codes ``(n, *shape)`` as a Lava source takes them: ``(*lava_shape, n)``, int32."""
    return np.ascontiguousarray(samples.astype(np.int32).T.reshape(*lava_shape(shape), samples.shape[0]))


def to_samples(columns: Array, shape: Sequence[int]) -> Array:
    """Return what a sink recorded, ``(n, *lava_shape)``, as samples ``(n, *shape)``."""
    reverse = columns.reshape(columns.shape[0], *reversed(shape))
    return reverse.transpose(0, *range(len(shape), 0, -1))
