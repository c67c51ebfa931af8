"""Max pooling in one stage of the chain, on sums of powers.

Let W be the elements of a window and B = W + 1. In place of its code every element passes on B^t - 1, t the number of
its M levels that are reached: with 0/1 planes one linear node makes that, as ``sum of (B^m - B^(m-1)) * plane m``.
The sum over the window is at least B^m - 1 if one element reaches level m, else at most W (B^(m-1) - 1), which is less.
So the maximum reaches level m iff the sum reaches B^m - 1. M is as large as exact sums allow, and more levels are
several groups. Padding adds 0, as the lowest code does.

A window of more than :data:`WHOLE` elements is taken in rounds along one axis and then the other.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sfn_backends.nir.ops import Group, Op, Powers, Read, carried
from sfn_compile.program.network import Conv, MaxPool, Shape, ValueInfo, window_shape

WHOLE = 16
LARGEST_SUM = 2**21
Round = tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...], tuple[int, ...]]  # as in a MaxPool


def pooled(pool: MaxPool, info: ValueInfo, source: Op | None, name: str) -> Iterator[Op]:
    """Yield the ops of a max pooling; ``source`` makes its source ``name``, None where that is an input."""
    where = ", ".join(pool.origin.nodes) or pool.name
    if source is None or not source.rising:
        before = f"{pool.name}.levels"
        source = fired_again(name, before, info)
        yield source
    shape, done = info.shape, rounds(pool)
    for i, (kernel, strides, pads, dilations) in enumerate(done):
        last = i == len(done) - 1
        out = (shape[0], *window_shape(shape[1:], kernel, strides, pads, dilations))
        out = pool.shape if last else _evened(out, shape, strides)
        window = Conv(np.ones((shape[0], 1, *kernel), np.int64), strides, pads, dilations, shape[0])
        source = _maximum(pool.name if last else f"{pool.name}.max{i}", source, window, shape, out, where)
        yield source
        shape = out


def fired_again(name: str, made: str, info: ValueInfo) -> Op:
    """Return the op ``made`` with a plane for every code of a value, in order."""
    op = carried(name, info.shape, np.arange(info.lo, info.hi + 1))
    return Op(made, op.shape, op.groups, op.base, op.codes, op.where)


def _maximum(name: str, source: Op, window: Conv, shape: Shape, out: Shape, where: str) -> Op:
    size = int(np.prod(window.weight.shape[2:]))
    base = size + 1
    most = max(m for m in range(1, 32) if m == 1 or size * (base**m - 1) < LARGEST_SUM)
    codes, groups = source.codes, []
    for first in range(0, len(codes) - 1, most):
        count = min(most, len(codes) - 1 - first)
        levels = (base ** np.arange(1, count + 1) - 1).reshape((1,) * len(out) + (-1,))
        read = Read(source.name, window, shape, powers=Powers(base, first, count))
        gains = np.diff(codes[first : first + count + 1])
        groups.append(Group((read,), levels, gains, 0, size * (base**count - 1)))
    return Op(name, out, tuple(groups), int(codes[0]), codes, where, pool=True)


def rounds(pool: MaxPool) -> list[Round]:
    """Return the pools that make up one; a window of up to :data:`WHOLE` elements stays whole."""
    if int(np.prod(pool.kernel)) <= WHOLE:
        return [(pool.kernel, pool.strides, pool.pads, pool.dilations)]
    return [r for axis in range(len(pool.kernel)) for r in _along(pool, axis)]


def _along(pool: MaxPool, axis: int) -> Iterator[Round]:
    """Yield rounds along one axis: maxima of maxima, until they span the kernel; the last takes the stride."""
    size, step = pool.kernel[axis], pool.dilations[axis]
    wide = 1
    while wide < size or (wide == size == 1 and (pool.strides[axis] > 1 or any(pool.pads[axis]))):
        count, ahead = _next(wide, size)
        first, wide = wide == 1, wide + (count - 1) * ahead
        yield tuple(  # type: ignore[misc]
            tuple(value if i == axis else other for i in range(len(pool.kernel)))
            for value, other in ((count, 1), (pool.strides[axis] if wide == size else 1, 1),
                                 (pool.pads[axis] if first else (0, 0), (0, 0)), (max(ahead, 1) * step, 1))
        )  # fmt: skip
        if size == 1:
            return


def _next(wide: int, size: int) -> tuple[int, int]:
    """Return (number, distance) of the windows of ``wide`` elements whose maximum is taken next: they leave no gap."""
    if size == 1:
        return 1, 0
    for count in range(-(-size // wide), WHOLE + 1):
        if (size - wide) % (count - 1) == 0:
            return count, (size - wide) // (count - 1)
    return min(WHOLE // 2, size // wide), wide


def _evened(out: Shape, shape: Shape, strides: tuple[int, ...]) -> Shape:
    """Return ``out`` with one row of padding more where its size differs by an odd number from ``shape``.

    A square kernel changes both axes by the same amount modulo 2; the row is cut off by the last round.
    """
    odd = [s == 1 and (a - b) % 2 for s, a, b in zip(strides, out[1:], shape[1:], strict=True)]
    return (out[0], *(n + 1 if o else n for n, o in zip(out[1:], odd, strict=True)))
