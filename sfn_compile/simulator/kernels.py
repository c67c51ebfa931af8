"""The fast engine's kernels: what :mod:`sfn_compile.program.arithmetic` defines, on arrays with the batch axis LAST.

With the batch last, ``(*sample, n)``, every tap of a convolution is a run of contiguous numbers, a channel's threshold
is one number per row, and a 1x1 convolution is a matrix product without a copy.

A kernel is made once from weights (cast then, never again) and called with codes of any integer type. ``dtype`` is
the caller's proof: float32 where every partial sum of the result stays below 2**24, float64 below 2**53; integers
and their sums are exact there in any order. A kernel returns a fresh array, so that the caller may write into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pads = tuple[tuple[int, int], ...]
DType: TypeAlias = type[Any]
Kernel = Callable[[Array], Array]

TILE_BYTES = 1 << 20  # of unrolled windows at a time: they are written, read once, and should not leave the cache
TILE_COLUMNS = 384  # but never so few that reading the weights again costs more
BLOCK_BYTES = 1 << 18  # of a depthwise convolution's running sums
FEW_THRESHOLDS = 64  # up to here, comparing with each costs less than a binary search


def code_dtype(lo: int, hi: int) -> DType:
    """Return the smallest integer type that holds ``lo..hi``.

    >>> [code_dtype(*r).__name__ for r in ((0, 255), (-128, 127), (-1, 255), (0, 70000))]
    ['uint8', 'int8', 'int16', 'int32']
    """
    for dtype in (np.uint8, np.int8, np.int16, np.int32):
        limits = np.iinfo(dtype)
        if limits.min <= lo and hi <= limits.max:
            return dtype
    return np.int64


def beside(parameter: Array, rank: int) -> Array:
    """Return what broadcasts against one sample of ``rank`` axes as what broadcasts against ``(*sample, n)``."""
    return parameter.reshape((1,) * (rank - parameter.ndim) + parameter.shape + (1,))


# -- linear maps ----------------------------------------------------------------------------------------------------
def dense(weight: Array, dtype: DType) -> Kernel:
    """Return the kernel of ``arith.dense``: ``(..., n_in, n)`` to ``(..., n_out, n)``, one matrix product."""
    w = weight.astype(dtype)

    def run(x: Array) -> Array:
        front = np.moveaxis(x.astype(dtype, copy=False), -2, 0)
        flat = front.reshape(w.shape[1], int(np.prod(front.shape[1:])))
        return np.moveaxis((w @ flat).reshape(w.shape[0], *front.shape[1:]), 0, -2)

    return run


def conv(
    weight: Array, strides: Sequence[int], pads: Pads, dilations: Sequence[int], groups: int, dtype: DType
) -> Kernel:
    """Return the kernel of ``arith.conv``: ``(c, *space, n)`` to ``(o, *space, n)`` over one or two axes."""
    if weight.ndim == 3:  # a line is a column of pixels
        column = conv(weight[..., None], (*strides, 1), (*pads, (0, 0)), (*dilations, 1), groups, dtype)
        return lambda x: column(x[:, :, None])[:, :, 0]
    window = Window(weight.shape[2:], strides, pads, dilations)
    if window.is_point:
        return _point(weight, window, groups, dtype)
    if weight.shape[0] == groups and weight.shape[1] == 1:
        return _depthwise(weight, window, dtype)
    return _unrolled(weight, window, groups, dtype)


def sum_pool(kernel: Sequence[int], strides: Sequence[int], pads: Pads, weight: Array, dtype: DType) -> Kernel:
    """Return the kernel of ``arith.sum_pool``; the sums along each axis one after the other."""
    pool = _pool(kernel, strides, pads, (1,) * len(kernel), np.add, 0)
    w = beside(weight, len(kernel) + 1).astype(dtype)
    return lambda x: pool(x.astype(dtype)) * w


def identity(weight: Array, rank: int, dtype: DType) -> Kernel:
    """Return the kernel of ``arith.identity`` for samples of ``rank`` axes."""
    w = beside(weight, rank).astype(dtype)
    return lambda x: x.astype(dtype) * w


def gather(index: Array, weight: Array, dtype: DType) -> Kernel:
    """Return the kernel of ``arith.gather``: rows of the flat sample, each ``n`` numbers long."""
    w = np.where(index >= 0, weight, 0)[..., None].astype(dtype)  # an index of -1 reads code 0
    rows = np.maximum(index, 0)
    return lambda x: x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])[rows].astype(dtype) * w


def product(weight: Array, rank: int, dtype: DType) -> Callable[[Array, Array], Array]:
    """Return the kernel of ``arith.product`` for samples of ``rank`` axes."""
    w = beside(weight, rank).astype(dtype)
    return lambda left, right: left.astype(dtype) * right.astype(dtype) * w


def matmul(weight: Array, rank: int, dtype: DType) -> Callable[[Array, Array], Array]:
    """Return the kernel of ``arith.matmul``; ``dtype`` is exact for the sums before the weight, which is int64.

    The batch stays in front while matrices are multiplied: their rows and columns are the last two axes then.
    """
    w = beside(weight, rank).astype(np.int64)

    def run(left: Array, right: Array) -> Array:
        a, b = (np.moveaxis(x, -1, 0).astype(dtype) for x in (left, right))
        return np.moveaxis(np.matmul(a, b), 0, -1).astype(np.int64, copy=False) * w

    return run


# -- windows --------------------------------------------------------------------------------------------------------
class Window:
    """Kernel, strides, padding and dilations over two axes, and how its taps are read from a padded plane."""

    def __init__(self, kernel: Sequence[int], strides: Sequence[int], pads: Pads, dilations: Sequence[int]):
        self.kernel, self.strides, self.pads, self.dilations = tuple(kernel), strides, pads, dilations

    @property
    def is_point(self) -> bool:
        """Whether it reads one pixel and no border."""
        return set(self.kernel) == {1} and not any(b or e for b, e in self.pads)

    def out(self, h: int, w: int) -> tuple[int, int]:
        """Return the number of windows per axis."""
        spans = ((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))
        sizes = zip((h, w), self.pads, spans, self.strides, strict=True)
        rows, columns = ((x + sum(p) - span) // st + 1 for x, p, span, st in sizes)
        return rows, columns

    def plane(self, x: Array, dtype: DType, fill: int = 0) -> Array:
        """Return ``x`` ``(c, h, w, n)`` padded, its columns sorted by their remainder modulo the stride.

        The result is ``(c, rows, stride, columns / stride, n)``: every tap reads neighbours, whatever the stride.
        """
        c, h, w, n = x.shape
        (top, bottom), (left, right) = self.pads
        stride = self.strides[1]
        if stride == 1 and not (top or bottom or left or right):
            return np.ascontiguousarray(x, dtype)[:, :, None]
        padded = np.full((c, h + top + bottom, stride, -(-(w + left + right) // stride), n), fill, dtype)
        for first in range(min(stride, w)):
            column, phase = divmod(first + left, stride)
            some = x[:, :, first::stride]
            padded[:, top : top + h, phase, column : column + some.shape[2]] = some
        return padded

    def tap(self, plane: Array, i: int, j: int, rows: range, columns: int) -> Array:
        """Return what tap ``(i, j)`` reads for the windows of ``rows``: a view ``(c, rows, columns, n)``."""
        down, (start, phase) = self.strides[0], divmod(j * self.dilations[1], self.strides[1])
        first = rows.start * down + i * self.dilations[0]
        return plane[:, first : first + (len(rows) - 1) * down + 1 : down, phase, start : start + columns]

    def taps(self) -> list[tuple[int, int]]:
        """Return all taps in the order of a weight's elements."""
        return [(i, j) for i in range(self.kernel[0]) for j in range(self.kernel[1])]


def _point(weight: Array, window: Window, groups: int, dtype: DType) -> Kernel:
    """A 1x1 convolution: one matrix product over all pixels."""
    o, per_group = weight.shape[:2]
    matrix = weight.reshape(groups, o // groups, per_group).astype(dtype)
    down, right = window.strides

    def run(x: Array) -> Array:
        some = np.ascontiguousarray(x[:, ::down, ::right], dtype)
        pixels = some.reshape(groups, per_group, int(np.prod(some.shape[1:])))
        return np.matmul(matrix, pixels).reshape(o, *some.shape[1:])

    return run


def _unrolled(weight: Array, window: Window, groups: int, dtype: DType) -> Kernel:
    """Windows written out as columns, some rows of the map at a time, and a matrix product for each such tile."""
    o, fan_in = weight.shape[0], int(np.prod(weight.shape[1:]))
    matrix = weight.reshape(groups, o // groups, fan_in).astype(dtype)
    size = np.dtype(dtype).itemsize

    def run(x: Array) -> Array:
        c, n = x.shape[0], x.shape[3]
        n_rows, columns = window.out(*x.shape[1:3])
        plane, row = window.plane(x, dtype), columns * n
        out = np.empty((groups, o // groups, n_rows * row), dtype)
        fit = max(TILE_BYTES // (size * groups * fan_in), TILE_COLUMNS)
        step = max(1, min(fit // max(row, 1), n_rows))
        scratch = np.empty(groups * fan_in * step * row, dtype)
        for start in range(0, n_rows, step):
            rows = range(start, min(start + step, n_rows))
            tile = scratch[: groups * fan_in * len(rows) * row].reshape(c, *window.kernel, len(rows), columns, n)
            for i, j in window.taps():
                tile[:, i, j] = window.tap(plane, i, j, rows, columns)
            wide = tile.reshape(groups, fan_in, len(rows) * row)
            np.matmul(matrix, wide, out=out[..., start * row : rows.stop * row])
        return out.reshape(o, n_rows, columns, n)

    return run


def _depthwise(weight: Array, window: Window, dtype: DType) -> Kernel:
    """One multiply-add per tap, some channels at a time: there is nothing to contract."""
    w = weight[:, 0].astype(dtype)

    def run(x: Array) -> Array:
        c, n = x.shape[0], x.shape[3]
        n_rows, columns = window.out(*x.shape[1:3])
        out = np.empty((c, n_rows, columns, n), dtype)
        step = max(1, BLOCK_BYTES // max(out[:1].nbytes, 1))
        term = np.empty_like(out[:step])
        for start in range(0, c, step):
            some = slice(start, start + step)
            plane, total = window.plane(x[some], dtype), out[some]
            for number, (i, j) in enumerate(window.taps()):
                read = window.tap(plane, i, j, range(n_rows), columns)
                into = term[: len(total)] if number else total
                np.multiply(read, w[some, i, j, None, None, None], out=into)
                if number:
                    total += into
        return out

    return run


def max_pool(kernel: Sequence[int], strides: Sequence[int], pads: Pads, dilations: Sequence[int], lo: int) -> Kernel:
    """Return the kernel of ``arith.max_pool``: codes to codes of the same type."""
    return _pool(kernel, strides, pads, dilations, np.maximum, lo)


def _pool(
    kernel: Sequence[int], strides: Sequence[int], pads: Pads, dilations: Sequence[int], join: np.ufunc, fill: int
) -> Kernel:
    """Return the kernel that joins each window's values: along its columns, then what came out along its rows."""
    if len(kernel) == 1:
        column = _pool((*kernel, 1), (*strides, 1), (*pads, (0, 0)), (*dilations, 1), join, fill)
        return lambda x: column(x[:, :, None])[:, :, 0]
    down = Window((kernel[0], 1), (strides[0], 1), (pads[0], (0, 0)), (dilations[0], 1))
    across = Window((1, kernel[1]), (1, strides[1]), ((0, 0), pads[1]), (1, dilations[1]))

    def run(x: Array) -> Array:
        for window in (down, across):
            n_rows, columns = window.out(*x.shape[1:3])
            plane = window.plane(x, x.dtype.type, fill)
            first, *rest = (window.tap(plane, i, j, range(n_rows), columns) for i, j in window.taps())
            x = first.copy()
            for tap in rest:
                join(x, tap, out=x)
        return x

    return run


# -- neurons --------------------------------------------------------------------------------------------------------
def uniform(theta: Array, offset: Array, lo: int, hi: int, rank: int, dtype: DType) -> Kernel:
    """Return the kernel of ``arith.fire_uniform``; it overwrites the accumulators that it is given.

    Exact where ``|acc + offset|`` and ``theta`` are below the limit L of ``dtype`` (2**24, 2**53): x and theta are
    then exact, and a quotient is rounded by at most ``|x| / (theta L)``, less than the ``1 / theta`` that lie between
    a quotient and the next whole number above it. So no quotient is rounded up to a whole number that it had not
    reached, and one that is whole stays so: the floor is that of the integers.
    """
    shift, by, code = beside(offset, rank).astype(dtype), beside(theta, rank).astype(dtype), code_dtype(lo, hi)

    def run(acc: Array) -> Array:
        acc += shift
        acc /= by
        if lo < 0:
            np.floor(acc, out=acc)
        np.clip(acc, lo, hi, out=acc)  # before the cast, which cuts off towards zero: the floor of what is not negative
        return acc.astype(code)

    return run


def table(thresholds: Array, codes: Array, rank: int, bound: int, dtype: DType) -> Kernel:
    """Return the kernel of ``arith.fire_table``; ``bound`` is that of ``|acc|``.

    A threshold that no accumulator can reach, or that all do, is as good as one just outside the bound, which
    ``dtype`` holds.
    """
    n = thresholds.shape[-1]
    near = np.clip(thresholds, -bound, bound + 1)
    lead = (1,) * (rank + 1 - near.ndim) + near.shape[:-1]
    per_channel = sum(d > 1 for d in lead) <= 1
    answers = codes.astype(code_dtype(int(codes.min()), int(codes.max())))
    if n <= FEW_THRESHOLDS or not per_channel:
        steps = [beside(near[..., j], rank).astype(dtype) for j in range(n)]
        return lambda acc: answers.take(_count(acc, steps))
    axis = next((a for a, d in enumerate(lead) if d > 1), 0)
    rows = np.broadcast_to(near.reshape(-1, n), (near.size // n, n)).astype(dtype)

    def search(acc: Array) -> Array:
        count = np.empty(acc.shape, np.int32)
        fronts = np.moveaxis(acc, axis, 0), np.moveaxis(count, axis, 0)
        for i, (channel, found) in enumerate(zip(*fronts, strict=True)):
            found[...] = np.searchsorted(rows[i % len(rows)], channel, side="right")
        return answers.take(count)

    return search


def _count(acc: Array, steps: Sequence[Array]) -> Array:
    """Return how many of the thresholds each accumulator reaches."""
    count = np.zeros(acc.shape, code_dtype(0, len(steps)))
    reached = np.empty(acc.shape, np.bool_)
    for step in steps:
        np.greater_equal(acc, step, out=reached)
        count += reached.view(np.uint8)
    return count


def readout(offset: Array, rank: int) -> Kernel:
    """Return the kernel of a readout: accumulator plus offset, int64."""
    shift = beside(offset, rank).astype(np.int64)
    return lambda acc: acc.astype(np.int64) + shift
