"""The fast engine: the steps of a Program as kernels, each in the cheapest number type that is proved exact.

Values are ``(*shape, n)``, codes in the smallest type that holds their range. What a population is not known to be
exact for, or made of, is left to the caller's plain path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..program.arithmetic import exact_dtype
from ..program.linear_maps import Conv, Dense, Gather, Identity, LinearMap, SumPool
from ..program.moves import Concat, MoveOp, Pad, Reshape, Slice, Take, Transpose
from ..program.network import MaxPool, Move, Population, Program, Step, ValueInfo
from ..program.neurons import Readout, Table, Uniform
from ..program.products import Elementwise, Product
from ..program.ranges import absolute_bound
from . import kernels

Array = NDArray[Any]
Values = Mapping[str, Array]
Run = Callable[[Values], Array]
Info = Mapping[str, ValueInfo]

# What has a kernel; a subclass may mean something else.
MAPS = frozenset({Dense, Conv, SumPool, Identity, Gather})
LADDERS = frozenset({Uniform, Table, Readout})


def prepare(program: Program, plain: Callable[[Step, Values], Array]) -> list[Run]:
    """Return one function per step, from the values so far ``(*shape, n)`` to the step's value.

    ``plain`` computes a step from values ``(n, *shape)``, as int32 or int64; it does what has no fast path.
    """
    info = program.values()
    return [_step(step, info) or partial(_through, plain, step) for step in program.steps]


def _through(plain: Callable[[Step, Values], Array], step: Step, values: Values) -> Array:
    wide = {s: np.moveaxis(values[s], -1, 0) for s in step.sources}
    wide = {s: v.astype(np.promote_types(v.dtype, np.int32), copy=False) for s, v in wide.items()}
    return np.moveaxis(plain(step, wide), 0, -1)


def _step(step: Step, info: Info) -> Run | None:
    if isinstance(step, Population):
        return _population(step, info)
    if isinstance(step, MaxPool):
        pool = kernels.max_pool(step.kernel, step.strides, step.pads, step.dilations, info[step.source].lo)
        name = step.source
        return lambda values: pool(values[name])
    if isinstance(step, Move):
        move, names = _move(step.op), step.sources
        return None if move is None else lambda values: move(*(values[s] for s in names))
    return None


def bytes_per_sample(program: Program, info: Info) -> int:
    """Return about what one sample takes at the widest step: codes, accumulators, a term and a padded plane."""
    size = {name: int(np.prod(v.shape)) for name, v in info.items()}
    return max((8 * (size[s.name] + sum(size[x] for x in s.sources)) for s in program.steps), default=1) + 1


# -- populations ----------------------------------------------------------------------------------------------------
def _population(step: Population, info: Info) -> Run | None:
    """Return a population's step, None where a part of it is unknown or only int64 is exact."""
    dtype = number_type(step, info)
    if dtype is None:
        return None
    total, fire = sums(step, info, dtype), firing(step, info, dtype)
    return lambda values: fire(total(values))


def number_type(step: Population, info: Info) -> kernels.DType | None:
    """Return the float type that is exact for a population, None where it has no fast path."""
    bound = accumulator_bound(step, info)
    dtype = np.int64 if bound is None else exact_dtype(_fired_bound(step, bound), "fast")
    return None if dtype is np.int64 else dtype


def sums(step: Population, info: Info, dtype: kernels.DType) -> Run:
    """Return what makes the accumulators ``(*shape, n)`` of a population whose number type is ``dtype``, or less."""
    terms: list[Run] = [_projected(p.source, linear(p.map, info[p.source], dtype)) for p in step.projections]
    terms += [_multiplied(p, len(step.shape), dtype) for p in step.products]
    return lambda values: _total([term(values) for term in terms], step.shape)


def firing(step: Population, info: Info, dtype: kernels.DType) -> kernels.Kernel:
    """Return the ladder of a population on accumulators of its number type, which it may overwrite."""
    bound = accumulator_bound(step, info)
    assert bound is not None
    return _ladder(step, bound, dtype)


def accumulator_bound(step: Population, info: Info) -> int | None:
    """Return what no partial sum of a population exceeds in magnitude; None where a part of it is of unknown kind."""
    if not all(has_kernel(p.map) for p in step.projections):
        return None
    if any(type(p.form) is not Elementwise for p in step.products) or type(step.ladder) not in LADDERS:
        return None
    total = sum(absolute_bound(p.map, info[p.source]) for p in step.projections)
    return total + sum(_product_bound(p, info) for p in step.products)


def _product_bound(product: Product, info: Info) -> int:
    """Return the largest ``|weight| * |left| * |right|``, or a factor of it where that is larger."""
    tops = [max(abs(info[s].lo), abs(info[s].hi)) for s in (product.left, product.right)]
    weight = int(np.abs(product.form.weight.astype(np.int64)).max(initial=0))
    return max(tops[0] * tops[1] * max(weight, 1), weight)


def _fired_bound(step: Population, bound: int) -> int:
    """Return the largest number that a ladder computes with, given that of the accumulator."""
    if isinstance(step.ladder, Uniform):
        most = int(np.abs(step.ladder.offset.astype(np.int64)).max(initial=0))
        return max(bound + most, int(step.ladder.theta.max(initial=0)))
    return bound + 1 if isinstance(step.ladder, Table) else bound


def has_kernel(part: LinearMap) -> bool:
    """Return whether :func:`linear` knows a map: one of the five kinds, over at most two axes."""
    return type(part) in MAPS and len(getattr(part, "pads", ())) <= 2


def linear(part: LinearMap, source: ValueInfo, dtype: kernels.DType) -> kernels.Kernel:
    """Return the kernel of a linear map of one of the five kinds."""
    if isinstance(part, Dense):
        return kernels.dense(part.weight, dtype)
    if isinstance(part, Conv):
        return kernels.conv(part.weight, part.strides, part.pads, part.dilations, part.groups, dtype)
    if isinstance(part, SumPool):
        return kernels.sum_pool(part.kernel, part.strides, part.pads, part.weight, dtype)
    if isinstance(part, Gather):
        return kernels.gather(part.index, part.weight, dtype)
    return kernels.identity(part.weight, len(source.shape), dtype)


def _projected(source: str, kernel: kernels.Kernel) -> Run:
    return lambda values: kernel(values[source])


def _multiplied(product: Product, rank: int, dtype: kernels.DType) -> Run:
    kernel = kernels.product(product.form.weight, rank, dtype)
    return lambda values: kernel(values[product.left], values[product.right])


def _total(terms: list[Array], shape: tuple[int, ...]) -> Array:
    """Return the sum, in the first term where that has the population's whole shape."""
    if terms[0].shape[:-1] != shape:
        terms[0] = np.broadcast_to(terms[0], (*shape, terms[0].shape[-1])).copy()
    return reduce(lambda total, term: np.add(total, term, out=total), terms)


def _ladder(step: Population, bound: int, dtype: kernels.DType) -> kernels.Kernel:
    ladder, rank = step.ladder, len(step.shape)
    if isinstance(ladder, Uniform):
        return kernels.uniform(ladder.theta, ladder.offset, ladder.lo, ladder.hi, rank, dtype)
    if isinstance(ladder, Table):
        return kernels.table(ladder.table, ladder.codes, rank, bound, dtype)
    return kernels.readout(ladder.offset, rank)


# -- moves ----------------------------------------------------------------------------------------------------------
def _move(op: MoveOp) -> Callable[..., Array] | None:
    """Return a move of values ``(*shape, n)``: the axes of a sample keep their numbers, the batch follows them."""
    if isinstance(op, Reshape):
        return lambda x: x.reshape(*op.shape, x.shape[-1])
    if isinstance(op, Transpose):
        return lambda x: x.transpose(*op.perm, x.ndim - 1)
    if isinstance(op, Concat):
        return lambda *xs: np.concatenate(xs, axis=op.axis)
    if isinstance(op, Slice):
        return lambda x: x[tuple(slice(*r) for r in op.ranges)]
    if isinstance(op, Pad):
        return lambda x: np.pad(x, (*op.pads, (0, 0)))
    if isinstance(op, Take):
        return lambda x: x.take(op.index, axis=op.axis)
    return None
