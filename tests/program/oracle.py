"""The arithmetic of a Program in plain Python integers: nested lists and loops, nothing shared with the compiler.

This is a second writing of it on purpose: it is the witness that the definitions are compared with.

Every function takes and returns nested lists (``array.tolist()``) with a leading batch axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import isqrt, prod
from typing import Any

Nested = Any  # int, or a list of Nested
Index = tuple[int, ...]
Pads = Sequence[Sequence[int]]


def shape_of(x: Nested) -> Index:
    """Return the shape of a nested list, which must not be empty."""
    return (len(x), *shape_of(x[0])) if isinstance(x, list) else ()


def at(x: Nested, index: Sequence[int]) -> Nested:
    """Return ``x[i][j]...``."""
    for i in index:
        x = x[i]
    return x


def build(shape: Sequence[int], value: Callable[..., int], prefix: Index = ()) -> Nested:
    """Return the nested list whose element at ``index`` is ``value(*index)``."""
    if not shape:
        return value(*prefix)
    return [build(shape[1:], value, (*prefix, i)) for i in range(shape[0])]


def broadcast(x: Nested, index: Sequence[int]) -> int:
    """Return the element that NumPy's rules align with ``index``: axes from the right, length 1 repeated."""
    shape = shape_of(x)
    last = tuple(index)[len(index) - len(shape) :]
    return int(at(x, tuple(0 if n == 1 else i for n, i in zip(shape, last, strict=True))))


def read(x: Nested, index: Sequence[int], fill: int) -> int:
    """Return the element at ``index``, or ``fill`` outside."""
    inside = all(0 <= i < n for i, n in zip(index, shape_of(x), strict=True))
    return int(at(x, index)) if inside else fill


def dense(s: Nested, weight: Nested) -> Nested:
    n_out, n_in = shape_of(weight)

    def one(*index: int) -> int:
        return sum(weight[index[-1]][i] * at(s, (*index[:-1], i)) for i in range(n_in))

    return build((*shape_of(s)[:-1], n_out), one)


def window_positions(
    at_out: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Pads, dilations: Sequence[int]
) -> list[tuple[Index, Index]]:
    """Return (tap, position in the unpadded source) for every tap of the window at output position ``at_out``."""
    out = []
    for tap in product(*(range(k) for k in kernel)):
        place = tuple(
            o * st - before + t * d
            for o, st, (before, _), t, d in zip(at_out, strides, pads, tap, dilations, strict=True)
        )
        out.append((tap, place))
    return out


def n_windows(
    space: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Pads, dilations: Sequence[int]
) -> Index:
    """Return how many windows fit on each axis, counted by trying."""
    counts = []
    for x, k, st, (before, after), d in zip(space, kernel, strides, pads, dilations, strict=True):
        starts = range(-before, x + after, st)
        counts.append(sum(1 for start in starts if start + (k - 1) * d < x + after))
    return tuple(counts)


def conv(
    s: Nested, weight: Nested, strides: Sequence[int], pads: Pads, dilations: Sequence[int], groups: int
) -> Nested:
    n, _, *space = shape_of(s)
    n_out, per_group, *kernel = shape_of(weight)

    def one(sample: int, o: int, *place: int) -> int:
        first = o // (n_out // groups) * per_group
        total = 0
        for tap, source in window_positions(place, kernel, strides, pads, dilations):
            for c in range(per_group):
                total += at(weight, (o, c, *tap)) * read(s, (sample, first + c, *source), 0)
        return total

    return build((n, n_out, *n_windows(space, kernel, strides, pads, dilations)), one)


def sum_pool(s: Nested, kernel: Sequence[int], strides: Sequence[int], pads: Pads, weight: Nested) -> Nested:
    n, channels, *space = shape_of(s)
    ones = (1,) * len(kernel)

    def one(sample: int, c: int, *place: int) -> int:
        taps = window_positions(place, kernel, strides, pads, ones)
        return broadcast(weight, (c, *place)) * sum(read(s, (sample, c, *source), 0) for _, source in taps)

    return build((n, channels, *n_windows(space, kernel, strides, pads, ones)), one)


def max_pool(
    s: Nested, kernel: Sequence[int], strides: Sequence[int], pads: Pads, dilations: Sequence[int], lo: int
) -> Nested:
    n, channels, *space = shape_of(s)

    def one(sample: int, c: int, *place: int) -> int:
        taps = window_positions(place, kernel, strides, pads, dilations)
        return max(read(s, (sample, c, *source), lo) for _, source in taps)

    return build((n, channels, *n_windows(space, kernel, strides, pads, dilations)), one)


def pad(x: Nested, pads: Pads, fill: int) -> Nested:
    shape = tuple(n + before + after for n, (before, after) in zip(shape_of(x), pads, strict=True))
    return build(shape, lambda *i: read(x, tuple(a - p[0] for a, p in zip(i, pads, strict=True)), fill))


def identity(s: Nested, weight: Nested) -> Nested:
    return build(shape_of(s), lambda *i: broadcast(weight, i[1:]) * at(s, i))


def product_of(left: Nested, right: Nested, weight: Nested) -> Nested:
    """``weight * left * right`` of two batches; axes of length 1 are repeated in every sample."""
    n, *a = shape_of(left)
    shape = [max(i, j) for i, j in zip(a, shape_of(right)[1:], strict=True)]

    def one(sample: int, *place: int) -> int:
        return broadcast(weight, place) * broadcast(left[sample], place) * broadcast(right[sample], place)

    return build((n, *shape), one)


def gather(s: Nested, index: Nested, weight: Nested) -> Nested:
    sample_shape = shape_of(s)[1:]

    def unravel(flat: int) -> Index:
        out = []
        for n in reversed(sample_shape):
            flat, i = divmod(flat, n)
            out.append(i)
        return tuple(reversed(out))

    def one(sample: int, *place: int) -> int:
        flat = at(index, place)
        assert flat < prod(sample_shape)
        return broadcast(weight, place) * (at(s, (sample, *unravel(flat))) if flat >= 0 else 0)

    return build((len(s), *shape_of(index)), one)


def fire_uniform(acc: Nested, theta: Nested, offset: Nested, lo: int, hi: int) -> Nested:
    """Count thresholds one by one: code lo + k where ``acc + offset >= theta * level`` for k levels above lo."""

    def one(*index: int) -> int:
        x = at(acc, index) + broadcast(offset, index[1:])
        return lo + sum(1 for level in range(lo + 1, hi + 1) if x >= broadcast(theta, index[1:]) * level)

    return build(shape_of(acc), one)


def fire_table(acc: Nested, thresholds: Nested, codes: list[int]) -> Nested:
    n = len(codes) - 1

    def one(*index: int) -> int:
        return codes[sum(1 for j in range(n) if at(acc, index) >= broadcast(thresholds, (*index[1:], j)))]

    return build(shape_of(acc), one)


# -- rows: what a neuron compares itself with -------------------------------------------------------------------------
def matmul(left: Nested, right: Nested, weight: Nested) -> Nested:
    """``weight * (left @ right)`` of every sample, leading axes place by place."""
    n, *lead, rows, inner = shape_of(left)

    def one(sample: int, *place: int) -> int:
        *front, i, j = place
        row, matrix = at(left[sample], (*front, i)), at(right[sample], front)
        return broadcast(weight, place) * sum(row[k] * matrix[k][j] for k in range(inner))

    return build((n, *lead, rows, shape_of(right)[-1]), one)


def row_places(shape: Sequence[int], place: Sequence[int], axes: Sequence[int]) -> list[Index]:
    """The places of a sample that differ from ``place`` along ``axes`` only, itself included."""
    axes = [a % len(shape) for a in axes]
    return list(product(*(range(n) if a in axes else [place[a]] for a, n in enumerate(shape))))


def row_sum(s: Nested, axis: int) -> Nested:
    n, *shape = shape_of(s)
    kept = [1 if a == axis % len(shape) else d for a, d in enumerate(shape)]
    return build((n, *kept), lambda i, *place: sum(at(s[i], p) for p in row_places(shape, place, (axis,))))


def fire_row_table(acc: Nested, offset: Nested, axis: int, thresholds: Nested, codes: list[int]) -> Nested:
    shape = shape_of(acc)[1:]

    def moved(sample: int, place: Index) -> int:
        return int(at(acc[sample], place)) + broadcast(offset, place)

    def one(sample: int, *place: int) -> int:
        left = moved(sample, place) - max(moved(sample, p) for p in row_places(shape, place, (axis,)))
        return codes[sum(1 for j in range(len(codes) - 1) if left >= broadcast(thresholds, (*place, j)))]

    return build(shape_of(acc), one)


def fire_ratio(acc: Nested, norm: Nested, offset: Nested, theta: Nested, lo: int, hi: int) -> Nested:
    """Count the thresholds ``level * theta * r`` one by one."""

    def one(sample: int, *place: int) -> int:
        r = max(broadcast(norm[sample], place), 1)
        x = at(acc[sample], place) + broadcast(offset, place) * r
        return lo + sum(1 for level in range(lo + 1, hi + 1) if x >= level * broadcast(theta, place) * r)

    return build(shape_of(acc), one)


def spread_of(numbers: Sequence[int], centred: bool) -> int:
    """n**2 times the variance, as squares of the differences of all pairs; or times the mean of the squares."""
    if not centred:
        return len(numbers) * sum(x * x for x in numbers)
    return sum((a - b) ** 2 for i, a in enumerate(numbers) for b in numbers[:i])


def normalize(
    x: Nested, axes: Sequence[int], centred: bool, epsilon: int, bits: int, gain: Nested, offset: Nested, theta: Nested,
    lo: int, hi: int,
) -> Nested:  # fmt: skip
    """Codes of a normalisation of the integers ``x``."""
    shape = shape_of(x)[1:]

    def one(sample: int, *place: int) -> int:
        row = [at(x[sample], p) for p in row_places(shape, place, axes)]
        mean_times_n = sum(row) if centred else 0
        d = broadcast(gain, place) * (len(row) * at(x[sample], place) - mean_times_n)
        r = max(isqrt(spread_of(row, centred) * 4**bits + epsilon), 1)
        x_off = d + broadcast(offset, place) * r
        return lo + sum(1 for level in range(lo + 1, hi + 1) if x_off >= level * broadcast(theta, place) * r)

    return build(shape_of(x), one)
