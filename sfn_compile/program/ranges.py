"""Interval arithmetic on the real weights: the range an accumulator can reach for *any* input, and bounds on sums."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from .network import (
    Conv,
    Dense,
    Gather,
    Identity,
    LinearMap,
    Matmul,
    Normalization,
    Population,
    Product,
    Program,
    Projection,
    Ratio,
    SumPool,
    ValueInfo,
)
from .signals import kinds_of

Array = NDArray[Any]

# Integers below, and all sums of integers of which every partial sum is below, are exact in that floating-point type.
FLOAT32_EXACT, FLOAT64_EXACT = 2**24, 2**53


def exact_dtype(bound: int) -> type[np.float32] | type[np.float64] | type[np.int64]:
    """Return the cheapest type in which integers bounded by ``bound``, and their partial sums, are exact.

    >>> [exact_dtype(b).__name__ for b in (2**24 - 1, 2**24, 2**53)]
    ['float32', 'float64', 'int64']
    """
    if bound >= FLOAT64_EXACT:
        return np.int64
    return np.float32 if bound < FLOAT32_EXACT else np.float64


def reach(linear: LinearMap, source: ValueInfo) -> tuple[Array, Array]:
    """Return (min, max) of the accumulator over all codes in the source's range.

    The arrays broadcast against the accumulator's sample. Padding and windows cut at a border read code 0, so 0 is
    added to the range wherever that can happen; the bound is exact away from borders.
    """
    lo, hi = source.lo, source.hi
    if isinstance(linear, Dense):
        return _dot(linear.weight, lo, hi, (1,))
    if isinstance(linear, Conv):
        lo, hi = (min(lo, 0), max(hi, 0)) if _padded(linear.pads) else (lo, hi)
        axes = tuple(range(1, linear.weight.ndim))
        low, high = _dot(linear.weight, lo, hi, axes)
        column = (-1, *(1,) * (linear.weight.ndim - 2))
        return low.reshape(column), high.reshape(column)
    if isinstance(linear, SumPool):
        lo, hi = (min(lo, 0), max(hi, 0)) if _padded(linear.pads) else (lo, hi)
        n = int(np.prod(linear.kernel))
        return _ends(linear.weight.astype(np.int64), n * lo, n * hi)
    if isinstance(linear, Gather):
        return _ends(np.asarray(linear.weight, np.int64), min(lo, 0), max(hi, 0))
    if isinstance(linear, Identity):
        return _ends(linear.weight.astype(np.int64), lo, hi)
    assert_never(linear)


def accumulator_range(maps: list[tuple[LinearMap, ValueInfo]]) -> tuple[Array, Array]:
    """Return (min, max) of the sum of several projections, as arrays that broadcast against the population."""
    ends = [reach(linear, info) for linear, info in maps]
    low: Array = np.asarray(sum(e[0] for e in ends))
    high: Array = np.asarray(sum(e[1] for e in ends))
    return low, high


def product_reach(product: Product, left: ValueInfo, right: ValueInfo) -> tuple[Array, Array]:
    """Return (min, max) of a product over all codes in its sources' ranges, exactly: its extremes are at corners.

    A square of one value is never below 0.
    """
    corners = [a * b for a in (left.lo, left.hi) for b in (right.lo, right.hi)]
    lo, hi = min(corners), max(corners)
    if product.left == product.right and not isinstance(product.form, Matmul):
        ends = (left.lo**2, left.hi**2)
        lo, hi = 0 if left.lo <= 0 <= left.hi else min(ends), max(ends)
    n = product.form.summed(left.shape)
    return _ends(product.form.weight.astype(np.int64), n * lo, n * hi)


def unweighted_bound(product: Product, left: ValueInfo, right: ValueInfo) -> int:
    """Return the bound of every partial sum of a product before its weight."""
    return product.form.summed(left.shape) * max(abs(left.lo), abs(left.hi)) * max(abs(right.lo), abs(right.hi))


def product_bound(product: Product, left: ValueInfo, right: ValueInfo) -> int:
    """Return the bound of every integer of a product: its weights, its partial sums, and these times a weight."""
    weight = int(np.abs(product.form.weight.astype(np.int64)).max(initial=0))
    return max(unweighted_bound(product, left, right) * max(weight, 1), weight)


def driven_range(
    projections: Iterable[Projection], products: Iterable[Product], values: Mapping[str, ValueInfo]
) -> tuple[Array, Array]:
    """Return (min, max) of a population's accumulator, as arrays that broadcast against it."""
    ends = [reach(p.map, values[p.source]) for p in projections]
    ends += [product_reach(p, values[p.left], values[p.right]) for p in products]
    low: Array = np.asarray(sum(e[0] for e in ends))
    high: Array = np.asarray(sum(e[1] for e in ends))
    return low, high


def absolute_bound(linear: LinearMap, source: ValueInfo) -> int:
    """Return ``max over accumulators of sum |w| * max |s|``: bounds every partial sum in any order of summation."""
    top = max(abs(source.lo), abs(source.hi))
    if isinstance(linear, Dense | Conv):
        axes = tuple(range(1, linear.weight.ndim))
        positive, negative = _signed_sums(linear.weight, axes)
        return int((positive - negative).max(initial=0)) * top
    largest = int(np.abs(linear.weight.astype(np.int64)).max(initial=0)) * top
    if isinstance(linear, SumPool):
        return largest * int(np.prod(linear.kernel))
    if isinstance(linear, Identity | Gather):
        return largest
    assert_never(linear)


def ratio_reach(ladder: Ratio, acc: tuple[int, int], norm: int) -> tuple[int, int]:
    """Return the (least, largest) integer that a ratio neuron with ``1 <= r <= norm`` computes on the way to its code.

    What is compared are ``acc + offset * r`` and the thresholds ``code * theta * r``.
    """
    offset, theta = ladder.offset.astype(object), int(ladder.theta.max())
    numbers = [acc[0], acc[1], acc[0] + norm * min(int(offset.min()), 0), acc[1] + norm * max(int(offset.max()), 0)]
    numbers += [ladder.lo * theta * norm, max(ladder.hi, 1) * theta * norm]
    return min(numbers), max(numbers)


def norm_top(population: Population, values: Mapping[str, ValueInfo]) -> int:
    """Return the largest r of a population with an adaptive threshold."""
    assert population.norm is not None
    source = values[population.norm.source]
    return source.shape[population.norm.axis] * source.hi


def normalization_reach(step: Normalization, values: Mapping[str, ValueInfo]) -> dict[str, tuple[int, int]]:
    """Return the proved range of every integer that a normalisation computes, by name, for all source codes.

    ``squares`` is what is before the shift, ``radicand`` what the root is taken of.
    """
    n = int(np.prod([step.shape[a] for a in step.axes]))
    low, high = driven_range(step.projections, (), values)
    top = max(-int(low.min()), int(high.max()))
    spread = n * top * (2 if step.centred else 1)
    squares = n * n * top * top
    radicand = (squares << (2 * step.bits)) + step.epsilon
    root = math.isqrt(radicand)
    gain = int(np.abs(step.gain.astype(np.int64)).max(initial=0))
    return {
        "deviation": (-spread, spread), "squares": (0, squares), "radicand": (0, radicand), "root": (0, root),
        "threshold": ratio_reach(step.ladder, (-spread * gain, spread * gain), max(root, 1)),
    }  # fmt: skip


def charge_range(step: Population, program: Program, values: Mapping[str, ValueInfo]) -> tuple[int, int]:
    """Return the (least, largest) charge of a population over all steps of a clock and all inputs.

    Counts stay in the range of codes at all times, so spikes bring what codes bring at one timestep. What comes evenly
    over the window, from held codes and as bias, lies between nothing and all of it.
    """
    assert program.clock is not None
    pace, kinds = program.clock.pace.get(step.name), kinds_of(program)
    held = [p for p in step.projections if kinds[p.source].held]
    low, high = driven_range([p for p in step.projections if kinds[p.source].sent], step.products, values)
    if pace is None:  # it holds moved codes
        return check_population(step, dict(values))
    least, most = (x + pace.bias for x in driven_range(held, (), values))
    initial = pace.initial.astype(np.int64)
    low, high = low + initial + np.minimum(least, 0), high + initial + np.maximum(most, 0)
    return int(low.min()), int(high.max())


def largest(bits: int) -> int:
    """Return the largest integer of a two's-complement width; the smallest is one further from 0.

    >>> largest(8), largest(24)
    (127, 8388607)
    """
    return (1 << (bits - 1)) - 1


def bits_for(lo: int, hi: int) -> int:
    """Return the two's-complement width that holds [lo, hi].

    >>> bits_for(-128, 127), bits_for(0, 128)
    (8, 9)
    """
    return max((-lo - 1 if lo < 0 else lo).bit_length(), (hi if hi >= 0 else -hi - 1).bit_length()) + 1


def check_population(population: Population, values: dict[str, ValueInfo]) -> tuple[int, int]:
    """Return the (min, max) accumulator of a population, computed anew from its weights."""
    low, high = driven_range(population.projections, population.products, values)
    return int(low.min()), int(high.max())


def _dot(weight: Array, lo: int, hi: int, axes: tuple[int, ...]) -> tuple[Array, Array]:
    positive, negative = _signed_sums(weight, axes)
    return positive * lo + negative * hi, positive * hi + negative * lo


def _signed_sums(weight: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Return the sums of the positive and of the negative weights, without a wide copy of all weights."""
    positive = np.maximum(weight, 0).sum(axis=axes, dtype=np.int64)
    return positive, weight.sum(axis=axes, dtype=np.int64) - positive


def _ends(weight: Array, lo: int, hi: int) -> tuple[Array, Array]:
    return np.minimum(weight * lo, weight * hi), np.maximum(weight * lo, weight * hi)


def _padded(pads: tuple[tuple[int, int], ...]) -> bool:
    return any(b or e for b, e in pads)
