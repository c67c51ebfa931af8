"""Max pooling as a short tournament of pairs, for the forms that have one node per value: `unary` and `sar`.

``max(a, b) = b + relu(a - b)``: exact for any padding, stride, dilation and sign, and made of neurons with two groups.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sfn_backends.nir.ops import Group, Op, Read
from sfn_compile.program.network import Conv, LinearMap, MaxPool, Shape, ValueInfo, window_shape


def tournament(pool: MaxPool, info: ValueInfo, source: Op | None, name: str) -> Iterator[Op]:
    """Yield pairwise maxima along one axis after the other, window 1 -> 2 -> 4 ..., codes counted from ``lo``.

    Padding reads 0, which is the smallest code after the shift by ``lo``, so it never wins.
    """
    moves = list(_moves(pool))
    shape, lo = info.shape, info.lo
    where = ", ".join(pool.origin.nodes) or pool.name
    span = info.hi - info.lo
    for i, (axis, pads, stride, ahead) in enumerate(moves):
        last = i == len(moves) - 1
        maps, out = _pairing(shape, axis, pads, stride, ahead)
        out = pool.shape if last else _evened(out, shape, axis, stride)
        levels = np.arange(1, span + 1).reshape((1,) * len(shape) + (-1,))
        reads = [(Read(name, m, shape, lo if i == 0 else 0),) for m in maps]
        groups = [Group(reads[-1], levels, np.ones(span, np.int64), 0, span, True, plain=True)]
        if len(reads) == 2:
            groups.append(Group(reads[0], levels, np.ones(span, np.int64), -span, span, True))
        base = lo if last else 0
        made = pool.name if last else f"{pool.name}.max{i}"
        yield Op(made, out, tuple(groups), base, np.arange(base, base + span + 1), where)
        name, shape = made, out


def _evened(out: Shape, shape: Shape, axis: int, stride: int) -> Shape:
    """Return ``out`` with one row of padding more where its size differs by an odd number from ``shape``.

    A square kernel changes both axes by the same amount modulo 2; the row is cut off by the last round.
    """
    odd = stride == 1 and (out[axis + 1] - shape[axis + 1]) % 2
    return tuple(n + 1 if odd and i == axis + 1 else n for i, n in enumerate(out))


def _moves(pool: MaxPool) -> Iterator[tuple[int, tuple[int, int], int, int]]:
    """Yield (axis, pads, stride, distance of the partner) of every round; distance 0 only moves and strides."""
    for axis, (k, st, pads, d) in enumerate(zip(pool.kernel, pool.strides, pool.pads, pool.dilations, strict=True)):
        wide = 1
        while wide < k:
            more = min(2 * wide, k)
            yield axis, (pads if wide == 1 else (0, 0)), (st if more == k else 1), (more - wide) * d
            wide = more
        if k == 1 and (st > 1 or any(pads)):
            yield axis, pads, st, 0
    if all(k == 1 and st == 1 and not any(p) for k, st, p in zip(pool.kernel, pool.strides, pool.pads, strict=True)):
        yield 0, (0, 0), 1, 0


def _pairing(shape: Shape, axis: int, pads: tuple[int, int], stride: int, ahead: int) -> tuple[list[LinearMap], Shape]:
    """Return the maps (a - b, b), or (b,) where there is no partner, and the shape they make: b is ``ahead`` of a."""
    n = len(shape) - 1
    strides = tuple(stride if i == axis else 1 for i in range(n))
    around = tuple(pads if i == axis else (0, 0) for i in range(n))
    kernel = tuple(2 if ahead and i == axis else 1 for i in range(n))
    dilations = tuple(max(ahead, 1) if i == axis else 1 for i in range(n))
    rows = [[1, -1], [0, 1]] if ahead else [[1]]
    maps: list[LinearMap] = []
    for row in rows:
        weight = np.broadcast_to(np.array(row, np.int64).reshape(1, 1, *kernel), (shape[0], 1, *kernel))
        maps.append(Conv(np.array(weight), strides, around, dilations, shape[0]))
    return maps, (shape[0], *window_shape(shape[1:], kernel, strides, around, dilations))
