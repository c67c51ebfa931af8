"""The one place where integer arithmetic means something.

Every function takes arrays with a leading batch axis and computes in int64, written to be read: it is the specification
(``docs/spec/arithmetic.md``) and knows no engine. What computes the same integers faster is beside the simulator
(:mod:`sfn_compile.simulator.compiled_steps`, :mod:`sfn_compile.simulator.kernels`) and is compared with this.

Linear maps and products mean the same before anything is an integer: with ``number`` float64 they are those of the
float graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Number: TypeAlias = type[np.int64] | type[np.float64]
Array = NDArray[Any]
Pads = tuple[tuple[int, int], ...]

FEW_THRESHOLDS = 12  # below this, comparing with each costs less than a binary search


def dense(s: Array, weight: Array, number: Number = np.int64) -> Array:
    """Return ``s @ weight.T`` over the last axis: s ``(n, ..., n_in)``, weight ``(n_out, n_in)``."""
    return s.astype(number) @ weight.T.astype(number)


def windows(
    x: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], pads: Pads, fill: int = 0
) -> Array:
    """Return the sliding windows of ``x``, a view ``(n, c, *out, *kernel)`` of the array padded with ``fill``."""
    padded = pad(x, ((0, 0), (0, 0), *pads), fill)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    axes = tuple(range(2, x.ndim))
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=axes)
    steps = tuple(slice(None, None, st) for st in strides)
    taps = tuple(slice(None, None, d) for d in dilations)
    return view[(slice(None), slice(None), *steps, *taps)]


def pad(x: Array, pads: Pads, fill: int = 0) -> Array:
    """Return ``x`` padded with ``fill``; ``pads`` holds (before, after) for every axis of ``x``."""
    return np.pad(x, pads, constant_values=fill) if any(b or e for b, e in pads) else x


def conv(
    s: Array,
    weight: Array,
    strides: Sequence[int],
    pads: Pads,
    dilations: Sequence[int],
    groups: int,
    number: Number = np.int64,
) -> Array:
    """Return the zero-padded cross-correlation of ONNX ``Conv``: s ``(n, c, *space)``, weight ``(o, c/groups, *k)``."""
    kernel = weight.shape[2:]
    read = windows(s.astype(number), kernel, strides, dilations, pads)  # (n, c, *space, *k)
    n, c, space = read.shape[0], read.shape[1], read.shape[2 : 2 + len(kernel)]
    fan_in = weight[0].size
    columns = np.moveaxis(read.reshape(n, groups, c // groups, *read.shape[2:]), 2, 2 + len(kernel))
    columns = columns.reshape(n, groups, int(np.prod(space)), fan_in)  # (n, g, *space, c/g, *k)
    rows = weight.reshape(groups, weight.shape[0] // groups, fan_in).astype(number)
    return np.matmul(rows, columns.swapaxes(2, 3)).reshape(n, weight.shape[0], *space)


def sum_pool(
    s: Array, kernel: Sequence[int], strides: Sequence[int], pads: Pads, weight: Array, number: Number = np.int64
) -> Array:
    """Return ``weight * (sum over each window)``; zero padded; ``weight`` broadcasts against one output sample."""
    view = windows(s.astype(number), kernel, strides, (1,) * len(kernel), pads)
    return view.sum(axis=tuple(range(-len(kernel), 0)), dtype=number) * weight.astype(number)


def identity(s: Array, weight: Array, number: Number = np.int64) -> Array:
    """Return ``weight * s`` element by element; ``weight`` broadcasts against one sample."""
    return s.astype(number) * weight.astype(number)


def product(left: Array, right: Array, weight: Array, number: Number = np.int64) -> Array:
    """Return ``weight * left * right`` element by element; all three broadcast against one sample of the product.

    >>> product(np.array([[[2], [3]]]), np.array([[[1, 4]]]), np.array([[-5]])).tolist()
    [[[-10, -40], [-15, -60]]]
    """
    return left.astype(number) * right.astype(number) * weight.astype(number)


def gather(s: Array, index: Array, weight: Array, number: Number = np.int64) -> Array:
    """Return ``weight * s.flat[index]`` per sample; an index of -1 reads code 0. ``index`` has the output's shape."""
    picked = s.reshape(s.shape[0], -1)[:, np.maximum(index, 0)].astype(number)
    return np.where(index >= 0, picked, 0) * weight.astype(number)


def fire_uniform(acc: Array, theta: Array, offset: Array, lo: int, hi: int) -> Array:
    """Return ``clip((acc + offset) floordiv theta, lo, hi)``, the Scale-and-Fire neuron at T = 1.

    ``theta`` (at least 1) and ``offset`` broadcast against one sample.

    >>> fire_uniform(np.array([[-4, 2, 3, 8, 99]]), np.array([5]), np.array([2]), 0, 3).tolist()
    [[0, 0, 1, 2, 3]]
    """
    code = np.floor_divide(acc.astype(np.int64) + offset.astype(np.int64), theta.astype(np.int64))
    return np.clip(code, lo, hi).astype(np.int32)


def fire_table(acc: Array, thresholds: Array, codes: Array) -> Array:
    """Return ``codes[number of thresholds that acc reaches]``; thresholds ``(*shape, n)`` sorted along the last axis.

    The leading axes of ``thresholds`` broadcast against one sample.

    >>> fire_table(np.array([[-4, 2, 3, 8]]), np.array([[2, 8]]), np.array([0, 5, 7])).tolist()
    [[0, 5, 5, 7]]
    """
    count = np.zeros(acc.shape, np.int64)
    n = thresholds.shape[-1]
    lead = (1,) * (acc.ndim - thresholds.ndim) + thresholds.shape[:-1]  # one entry per axis of a sample
    varying = [a for a, d in enumerate(lead) if d > 1]
    if n < FEW_THRESHOLDS or len(varying) > 1:
        for j in range(n):  # one comparison per threshold: no n-fold copy of the accumulators
            count += acc >= thresholds[..., j]
    else:  # thresholds per channel: a binary search in each
        rows = thresholds.reshape(-1, n)
        front = np.moveaxis(acc, varying[0] + 1, 0) if varying else acc[None]
        into = np.moveaxis(count, varying[0] + 1, 0) if varying else count[None]
        for row, channel, found in zip(rows, front, into, strict=True):
            found[...] = np.searchsorted(row, channel, side="right")
    return codes[count].astype(np.int32)


def max_pool(
    s: Array, kernel: Sequence[int], strides: Sequence[int], pads: Pads, dilations: Sequence[int], lo: int
) -> Array:
    """Return the maximum of each window; padding reads ``lo``, the smallest code, so it never wins."""
    return windows(s, kernel, strides, dilations, pads, fill=lo).max(axis=tuple(range(-len(kernel), 0)))


# -- time: the same neuron, asked again and again --------------------------------------------------------------------
def fire_paced(code: Array, count: Array, least: int, most: int) -> tuple[Array, Array]:
    """Return (what a neuron emits in one step, what it has emitted since the first).

    ``code`` is what its ladder makes of all that it has summed up so far, ``count`` what it has emitted before. It
    emits what is not yet said, ``least..most`` units per step. From count 0, with no limit, that is one timestep.

    >>> [x.tolist() for x in fire_paced(np.array([5, 1, 0, 3]), np.array([2, 1, 2, 2]), -1, 2)]
    [[2, 0, -1, 1], [4, 1, 1, 3]]
    """
    emitted = np.clip(code.astype(np.int32) - count, least, most)
    return emitted, count + emitted


def arrived(charge: Array, step: int, timesteps: int) -> Array:
    """Return what has arrived, after ``step`` steps, of a charge that comes evenly over ``timesteps``.

    >>> [int(arrived(np.array(-7), t, 4)) for t in range(6)]
    [0, -2, -4, -6, -7, -7]
    """
    return charge.astype(np.int64) * min(step, timesteps) // timesteps


# -- rows: what a neuron compares itself with -----------------------------------------------------------------------
ISQRT_LIMIT = 2**62  # roots are taken of integers below it, so that squares of neighbours still fit int64


def matmul(left: Array, right: Array, weight: Array, number: Number = np.int64) -> Array:
    """Return ``weight * (left @ right)``: left ``(n, ..., m, k)``, right ``(n, ..., k, j)``.

    ``weight`` broadcasts against one sample of the product.

    >>> matmul(np.array([[[2, 3]]]), np.array([[[1], [4]]]), np.array([[5]])).tolist()
    [[[70]]]
    """
    return np.matmul(left.astype(number), right.astype(number)) * weight.astype(number)


def row_sum(s: Array, axis: int) -> Array:
    """Return the sum over ``axis`` of one sample, which stays as an axis of length 1."""
    return s.sum(axis=_batched((axis,), s.ndim), dtype=np.int64, keepdims=True)


def fire_row_table(acc: Array, offset: Array, axis: int, thresholds: Array, codes: Array) -> Array:
    """Return ``codes[number of thresholds reached by a - (maximum of a over axis)]`` with ``a = acc + offset``.

    The winner of a row always has 0 left, so thresholds are 0 or below. ``axis`` is one of a sample.

    >>> fire_row_table(np.array([[7, 10, 2]]), np.array([0]), 0, np.array([[-5, -1]]), np.array([0, 3, 9])).tolist()
    [[3, 9, 0]]
    """
    moved = acc.astype(np.int64) + offset.astype(np.int64)
    top = moved.max(axis=_batched((axis,), acc.ndim), keepdims=True)
    return fire_table(moved - top, thresholds, codes)


def fire_ratio(acc: Array, norm: Array, offset: Array, theta: Array, lo: int, hi: int) -> Array:
    """Return ``clip((acc + offset * r) floordiv (theta * r), lo, hi)`` with ``r = max(norm, 1)``.

    A Scale-and-Fire neuron whose threshold is theta times a number of its row. ``norm`` broadcasts against ``acc``.

    >>> fire_ratio(np.array([[-9, 10, 70]]), np.array([[4]]), np.array([1]), np.array([3]), -1, 5).tolist()
    [[-1, 1, 5]]
    """
    r = np.maximum(norm.astype(np.int64), 1)
    code = np.floor_divide(acc.astype(np.int64) + offset.astype(np.int64) * r, theta.astype(np.int64) * r)
    return np.clip(code, lo, hi).astype(np.int32)


def isqrt(x: Array) -> Array:
    """Return the largest integer r with ``r * r <= x``, for integers ``0 <= x < 2**62``.

    float64 is off by at most one there: its root has a relative error below 2**-52 and is below 2**31.

    >>> isqrt(np.array([0, 1, 3, 4, 2**52 - 1, (2**31 - 1)**2 - 1, 2**62 - 1])).tolist()
    [0, 1, 1, 2, 67108863, 2147483646, 2147483647]
    """
    x = x.astype(np.int64)
    r = np.floor(np.sqrt(x.astype(np.float64))).astype(np.int64)
    r -= r * r > x
    r += (r + 1) * (r + 1) <= x
    return r


def moments(x: Array, axes: Sequence[int], centred: bool, epsilon: int, bits: int) -> tuple[Array, Array]:
    """Return (deviations, root) of the rows of the integers ``x`` over ``axes`` of one sample, n numbers each.

    Deviations are ``n * x - sum(x)`` (``n * x`` where not ``centred``) and the root is the integer square root of
    ``((n * sum(x**2) - sum(x)**2) << (2 * bits)) + epsilon``: the standard deviation times ``n << bits``.

    >>> [v.tolist() for v in moments(np.array([[1, 3]]), (0,), True, 0, 8)]
    [[[-2, 2]], [[512]]]
    """
    over, x = _batched(axes, x.ndim), x.astype(np.int64)
    n = int(np.prod([x.shape[a] for a in over]))
    total = x.sum(axis=over, keepdims=True) if centred else np.zeros_like(x, shape=(1,) * x.ndim)
    squares = n * (x * x).sum(axis=over, keepdims=True) - total * total
    return n * x - total, isqrt((squares << (2 * bits)) + epsilon)


def _batched(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Return axes of one sample as axes of a batch of ``rank``."""
    return tuple(a % (rank - 1) + 1 for a in axes)
