"""Where the weights of a linear map are: as taps of a convolution, or as entries of one dense matrix.

Both spellings index a map's weight as a flat array, so that a put can be followed in both directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from sfn_compile.program.network import Conv, Dense, Gather, Identity, LinearMap, Shape, SumPool

Array = NDArray[Any]
Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Tap:
    """Output channel ``o`` at (y, x) reads input channel ``c`` at (y * stride + dy, x * stride + dx), times weight."""

    o: Array
    c: Array
    dy: int
    dx: int
    index: Array


def shape3(shape: Shape) -> tuple[int, int, int] | None:
    """Return a value's shape as a map ``(c, h, w)``: a 1-D signal is a map of width 1; None for anything else."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return (shape[0], shape[1], 1) if len(shape) == 2 else None


def per_channel(shape: Shape, rank: int) -> bool:
    """Return whether an array of ``shape``, broadcast to ``rank`` axes, is constant over all but the first."""
    return all(n == 1 for n in ((1,) * (rank - len(shape)) + shape)[1:])


def channel_index(shape: Shape, rank: int, n: int) -> Array:
    """Return for each of ``n`` channels the flat index into an array that is :func:`per_channel`."""
    full = (1,) * (rank - len(shape)) + shape
    return np.arange(n) if full[0] > 1 else np.zeros(n, np.int64)


def taps(linear: LinearMap, shape: Shape) -> tuple[Pair, list[Tap]] | None:
    """Return (stride, taps) of a map on a source of ``shape``; None where it is no convolution of maps."""
    if shape3(shape) is None or isinstance(linear, Dense | Gather):
        return None
    if isinstance(linear, Conv):
        return _pair(linear.strides, 1), list(_conv_taps(linear))
    if not per_channel(linear.weight.shape, len(shape)):
        return None
    each = np.arange(shape[0])
    index = channel_index(linear.weight.shape, len(shape), shape[0])
    if isinstance(linear, Identity):
        return (1, 1), [Tap(each, each, 0, 0, index)]
    if not isinstance(linear, SumPool):
        assert_never(linear)
    before = _pair(tuple(b for b, _ in linear.pads), 0)
    spots = product(*map(range, _pair(linear.kernel, 1)))
    return _pair(linear.strides, 1), [Tap(each, each, y - before[0], x - before[1], index) for y, x in spots]


def matrix(linear: LinearMap, shape: Shape, out: Shape) -> Iterator[tuple[Array, Array, Array]]:
    """Yield (rows, columns, flat weight index) of the map as a matrix from the flat source to the flat accumulator."""
    if isinstance(linear, Dense):
        yield _dense(linear, shape)
    elif isinstance(linear, Gather):
        rows = np.flatnonzero(linear.index.reshape(-1) >= 0)
        yield rows, linear.index.reshape(-1)[rows], spread(linear.weight.shape, out)[rows]
    elif isinstance(linear, Identity):
        each = np.arange(int(np.prod(out)))
        yield each, each, spread(linear.weight.shape, out)
    elif isinstance(linear, Conv | SumPool):
        yield from _windows(linear, shape, out)
    else:
        assert_never(linear)


def _windows(linear: Conv | SumPool, shape: Shape, out: Shape) -> Iterator[tuple[Array, Array, Array]]:
    kernel = linear.weight.shape[2:] if isinstance(linear, Conv) else linear.kernel
    dilations = linear.dilations if isinstance(linear, Conv) else (1,) * len(kernel)
    n_in, n_out = int(np.prod(shape[1:])), int(np.prod(out[1:]))
    grid = np.indices(out[1:]).reshape(len(kernel), -1)
    steps = [np.asarray(v).reshape(-1, 1) for v in (linear.strides, [b for b, _ in linear.pads], dilations)]
    for spot in product(*map(range, kernel)):
        read = grid * steps[0] - steps[1] + np.asarray(spot).reshape(-1, 1) * steps[2]
        inside = np.flatnonzero(((read >= 0) & (read < np.asarray(shape[1:]).reshape(-1, 1))).all(axis=0))
        flat = np.ravel_multi_index(tuple(read[:, inside]), shape[1:])
        if isinstance(linear, SumPool):
            each = np.arange(shape[0])[:, None]
            rows = each * n_out + inside
            yield rows, each * n_in + flat, spread(linear.weight.shape, out)[rows]
        else:
            o, c, index = _channels(linear, int(np.ravel_multi_index(spot, kernel)))
            yield o[..., None] * n_out + inside, c[..., None] * n_in + flat, index[..., None]


def _dense(linear: Dense, shape: Shape) -> tuple[Array, Array, Array]:
    n_out, n_in = linear.weight.shape
    o, i = np.arange(n_out)[:, None], np.arange(n_in)[None]
    lead = np.arange(int(np.prod(shape[:-1])))[:, None, None]
    return lead * n_out + o, lead * n_in + i, (o * n_in + i)[None]


def _conv_taps(linear: Conv) -> Iterator[Tap]:
    before, spread = _pair(tuple(b for b, _ in linear.pads), 0), _pair(linear.dilations, 1)
    kernel = _pair(linear.weight.shape[2:], 1)
    for spot, (y, x) in enumerate(product(*map(range, kernel))):
        o, c, index = _channels(linear, spot)
        yield Tap(o, c, y * spread[0] - before[0], x * spread[1] - before[1], index)


def _channels(linear: Conv, spot: int) -> tuple[Array, Array, Array]:
    """Return (output channel, input channel, flat weight index) of one kernel position, groups as the first axis."""
    n_out, per_in = linear.weight.shape[:2]
    group = np.arange(linear.groups)[:, None, None]
    o = group * (n_out // linear.groups) + np.arange(n_out // linear.groups)[:, None]
    i = np.arange(per_in)
    return o, group * per_in + i, (o * per_in + i) * int(np.prod(linear.weight.shape[2:])) + spot


def spread(shape: Shape, out: Shape) -> Array:
    """Return for every element of ``out``, flat, the flat index into an array of ``shape`` broadcast against it."""
    return np.broadcast_to(np.arange(int(np.prod(shape))).reshape(shape), out).reshape(-1)


def _pair(values: Shape, missing: int) -> Pair:
    return (values[0], values[1]) if len(values) == 2 else (values[0], missing)
