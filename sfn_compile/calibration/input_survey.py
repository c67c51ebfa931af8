"""What the samples of one input look like, before anything is calibrated: extremes, moments, distinct values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph.graph import GraphInput
from ..graph.ops.layer import channel_rows, n_channels
from ..host.codec import prepare
from .grids import Distinct

Array = NDArray[Any]
NUMBERS_AT_A_TIME = 4_000_000
MOST_VALUES = 1024  # distinct values of a channel that may lie on a grid of 255 steps
MOST_CHANNELS = 65536  # beyond, distinct values are not looked for
TELLING = 8.0  # how much wider channels are than their elements, along one axis more than along another


@dataclass(frozen=True, eq=False)
class InputSurvey:
    """The values of one input over all samples, per channel of ``axis``: ``low``, ``high`` and ``variance`` ``(c,)``.

    ``distinct``: the values of every channel as long as they are few, None where they were not looked for.
    ``magnitude``: the largest number that the host computed them from.
    """

    axis: int
    low: Array
    high: Array
    variance: Array
    n: int
    distinct: Distinct | None
    magnitude: float


def survey(source: GraphInput, x: Array, axes: tuple[int, ...], grids: bool) -> InputSurvey:
    """Return what samples ``x`` ``(n, *model_shape)`` show of an input; of ``axes`` that steps may differ along one.

    ``grids``: with distinct values.
    """
    low, high = _extremes(source, x)
    axis, size = _axis_of(low, high, axes), len(source.type.shape)
    c = n_channels(source.type.shape, axis) if size else 1
    distinct = Distinct(c, MOST_VALUES) if grids and c <= MOST_CHANNELS else None
    middle = (low + high) / 2
    total, squares, n = np.zeros(c), np.zeros(c), 0
    for values in _pieces(source, x):
        rows = channel_rows(values, axis, batched=True)
        centred = channel_rows(values - middle, axis, batched=True)
        total += centred.sum(axis=1)
        squares += (centred**2).sum(axis=1)
        n += rows.shape[1]
        if distinct is not None and distinct.open:
            distinct.update(rows)
    return InputSurvey(axis, channel_rows(low, axis).min(axis=1), channel_rows(high, axis).max(axis=1),
                       _variance(total, squares, middle, axis, n), n, distinct, _magnitude(source))  # fmt: skip


def _pieces(source: GraphInput, x: Array) -> Iterator[Array]:
    """Yield the input's values ``(n, *shape)`` in float64 as the network sees them, a few samples at a time."""
    at_a_time = max(1, NUMBERS_AT_A_TIME // max(int(np.prod(source.type.shape)), 1))
    for start in range(0, len(x), at_a_time):
        yield np.asarray(prepare(source, x[start : start + at_a_time]), np.float64)


def _extremes(source: GraphInput, x: Array) -> tuple[Array, Array]:
    """Return the smallest and the largest value of every element ``(*shape)``."""
    low, high = np.full(source.type.shape, np.inf), np.full(source.type.shape, -np.inf)
    for values in _pieces(source, x):
        low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
    return low, high


def _axis_of(low: Array, high: Array, axes: tuple[int, ...]) -> int:
    """Return the axis along which the ranges of elements differ: the first one unless another tells far more."""
    reach = np.maximum(np.abs(low), np.abs(high))
    reach = np.where(reach > 0, reach, reach[reach > 0].min(initial=1.0))

    def wider(axis: int) -> float:
        """Return how much farther a channel reaches than its elements, on geometric average."""
        rows = channel_rows(reach, axis)
        return float(np.exp(np.log(rows.max(axis=1, keepdims=True) / rows).mean()))

    if len(axes) < 2:
        return axes[0] if axes else 0
    best = min(axes, key=wider)
    return best if wider(axes[0]) > TELLING * wider(best) else axes[0]


def _variance(total: Array, squares: Array, middle: Array, axis: int, n: int) -> Array:
    """Return the variance of every channel from sums about the middle of each element's range."""
    own = channel_rows(middle, axis)
    return np.asarray(np.maximum(squares / n - (total / n) ** 2, 0) + own.var(axis=1))


def _magnitude(source: GraphInput) -> float:
    """Return the largest constant that the host adds: what float32 may have rounded to."""
    added = [np.abs(dict(op.args)["bias"]).max() for op in source.host if op.kind == "affine"]
    return float(max(added, default=0.0))
