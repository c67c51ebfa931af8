"""The fast engine: the steps of a Program as kernels, each in the cheapest number type that is proved exact.

Values are ``(*shape, n)``, codes in the smallest type that holds their range. A population whose every number is exact
in one floating-point type is computed in that, neuron included. Any other adds up its terms in int64, each computed in
the cheapest type that is exact for it alone, and fires by the definition (:mod:`sfn_compile.simulator.plain_steps`), as
normalisations do.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ..program.linear_maps import Conv, Dense, Gather, Identity, LinearMap, SumPool
from ..program.moves import Concat, MoveOp, Pad, Reshape, Slice, Take, Transpose
from ..program.network import MaxPool, Move, Normalization, Population, Program, Projection, Step, ValueInfo
from ..program.neurons import Ratio, Readout, RowTable, Table, Uniform
from ..program.products import Elementwise, Matmul, Product
from ..program.ranges import absolute_bound, exact_dtype, product_bound, unweighted_bound
from . import kernels, plain_steps

Array = NDArray[Any]
Values = Mapping[str, Array]
Run = Callable[[Values], Array]
Fire = Callable[[Array, Values], Array]
Info = Mapping[str, ValueInfo]


def prepare(program: Program) -> list[Run]:
    """Return one function per step, from the values so far ``(*shape, n)`` to the step's value."""
    info = program.values()
    return [prepare_step(step, info) for step in program.steps]


def prepare_step(step: Step, info: Info) -> Run:
    """Return the function of one step."""
    if isinstance(step, Population):
        return _population(step, info)
    if isinstance(step, Normalization):
        return partial(_normalized, step)
    if isinstance(step, MaxPool):
        pool = kernels.max_pool(step.kernel, step.strides, step.pads, step.dilations, info[step.source].lo)
        name = step.source
        return lambda values: pool(values[name])
    if isinstance(step, Move):
        move, names = _move(step.op), step.sources
        return lambda values: move(*(values[s] for s in names))
    assert_never(step)


def _normalized(step: Normalization, values: Values) -> Array:
    codes = step.apply(*(np.moveaxis(values[s], -1, 0) for s in step.sources))
    return np.moveaxis(codes.astype(kernels.code_dtype(step.ladder.lo, step.ladder.hi)), 0, -1)


def bytes_per_sample(program: Program, info: Info) -> int:
    """Return about what one sample takes at the widest step: codes, accumulators, a term and a padded plane."""
    size = {name: int(np.prod(v.shape)) for name, v in info.items()}
    return max((8 * (size[s.name] + sum(size[x] for x in s.sources)) for s in program.steps), default=1) + 1


# -- populations ----------------------------------------------------------------------------------------------------
def _population(step: Population, info: Info) -> Run:
    total, fire = sums(step, info), neurons(step, info)
    return lambda values: fire(total(values), values)


def number_type(step: Population, info: Info, besides: int = 0) -> kernels.DType:
    """Return the number type of a population's accumulators: a float type where that is exact for all of it.

    ``besides``: the largest magnitude of what is added to them before they are fired.
    """
    if any(isinstance(p.form, Matmul) for p in step.products):  # its weight is multiplied in int64
        return np.int64
    bound = _fired_bound(step, accumulator_bound(step, info) + besides)
    return np.int64 if bound is None else exact_dtype(bound)


def sums(step: Population, info: Info, dtype: kernels.DType | None = None) -> Run:
    """Return what makes the accumulators ``(*shape, n)`` of a population, in its number type or a wider ``dtype``."""
    dtype = dtype or number_type(step, info)
    terms = [_projected(p.source, _linear_term(p.map, info[p.source], dtype)) for p in _merged(step.projections)]
    terms += [_multiplied(p, _product_term(p, info, len(step.shape), dtype)) for p in step.products]
    return lambda values: _total([term(values) for term in terms], step.shape)


def _merged(projections: Sequence[Projection]) -> list[Projection]:
    """Return projections with the same sum, in which all identities of one source are one.

    The compiler writes a skip whose weight is beyond the weights' width as many.
    """
    out: dict[Hashable, Projection] = {}
    sums: dict[Hashable, Array] = {}
    for p in projections:
        if not isinstance(p.map, Identity):
            out[len(out), "other"] = p
            continue
        key, weight = (p.source, p.map.weight.shape), p.map.weight.astype(np.int64)
        sums[key] = sums[key] + weight if key in sums else weight
        out[key] = replace(p, map=Identity(sums[key]))
    return list(out.values())


def neurons(step: Population, info: Info, besides: int = 0) -> Fire:
    """Return what makes codes of accumulators, which it may overwrite, and of the values that a threshold follows.

    ``besides`` as in :func:`number_type`.
    """
    dtype, ladder, rank = number_type(step, info, besides), step.ladder, len(step.shape)
    if dtype is np.int64 or isinstance(ladder, RowTable | Ratio):
        return partial(_fired, step)
    if isinstance(ladder, Uniform):
        kernel = kernels.uniform(ladder.theta, ladder.offset, ladder.lo, ladder.hi, rank, dtype)
    elif isinstance(ladder, Table):
        kernel = kernels.table(ladder.table, ladder.codes, rank, accumulator_bound(step, info) + besides, dtype)
    elif isinstance(ladder, Readout):
        kernel = kernels.readout(ladder.offset, rank)
    else:
        assert_never(ladder)
    return lambda acc, _: kernel(acc)


def _fired(step: Population, acc: Array, values: Values) -> Array:
    """Return codes by the definition, in their smallest type; a readout's accumulators as they are."""
    norm = () if step.norm is None else (step.norm.source,)
    codes = plain_steps.fire(step, np.moveaxis(acc, -1, 0), {s: np.moveaxis(values[s], -1, 0) for s in norm})
    if not isinstance(step.ladder, Readout):
        codes = codes.astype(kernels.code_dtype(step.ladder.lo, step.ladder.hi))
    return np.moveaxis(codes, 0, -1)


def accumulator_bound(step: Population, info: Info) -> int:
    """Return what no number on the way to a population's accumulators exceeds in magnitude."""
    total = sum(absolute_bound(p.map, info[p.source]) for p in step.projections)
    return total + sum(product_bound(p, info[p.left], info[p.right]) for p in step.products)


def _fired_bound(step: Population, bound: int) -> int | None:
    """Return the largest number that a ladder's kernel computes with, given that of the accumulator; None without one.

    Thresholds that follow a row are compared with int64 by the definition.
    """
    ladder = step.ladder
    if isinstance(ladder, Uniform):
        most = int(np.abs(ladder.offset.astype(np.int64)).max(initial=0))
        return max(bound + most, int(ladder.theta.max(initial=0)))
    if isinstance(ladder, Table):
        return bound + 1
    if isinstance(ladder, Readout):
        return bound
    if isinstance(ladder, RowTable | Ratio):
        return None
    assert_never(ladder)


# -- terms of a sum -------------------------------------------------------------------------------------------------
def linear(part: LinearMap, source: ValueInfo, dtype: kernels.DType) -> kernels.Kernel:
    """Return the kernel of a linear map, exact in ``dtype`` where that holds its :func:`~.ranges.absolute_bound`."""
    if isinstance(part, Dense):
        return kernels.dense(part.weight, dtype)
    if isinstance(part, Conv):
        return kernels.conv(part.weight, part.strides, part.pads, part.dilations, part.groups, dtype)
    if isinstance(part, SumPool):
        return kernels.sum_pool(part.kernel, part.strides, part.pads, part.weight, dtype)
    if isinstance(part, Gather):
        return kernels.gather(part.index, part.weight, dtype)
    if isinstance(part, Identity):
        return kernels.identity(part.weight, len(source.shape), dtype)
    assert_never(part)


def _linear_term(part: LinearMap, source: ValueInfo, dtype: kernels.DType) -> kernels.Kernel:
    """Return the kernel of one projection of a population of number type ``dtype``."""
    if dtype is not np.int64:
        return linear(part, source, dtype)
    alone = linear(part, source, exact_dtype(absolute_bound(part, source)))
    return lambda x: alone(x).astype(np.int64, copy=False)


def _product_term(product: Product, info: Info, rank: int, dtype: kernels.DType) -> Callable[[Array, Array], Array]:
    """Return the kernel of one product of a population of number type ``dtype``."""
    form, left, right = product.form, info[product.left], info[product.right]
    if isinstance(form, Elementwise):
        return kernels.product(form.weight, rank, dtype)
    if isinstance(form, Matmul):
        return kernels.matmul(form.weight, rank, exact_dtype(unweighted_bound(product, left, right)))
    assert_never(form)


def _projected(source: str, kernel: kernels.Kernel) -> Run:
    return lambda values: kernel(values[source])


def _multiplied(product: Product, kernel: Callable[[Array, Array], Array]) -> Run:
    return lambda values: kernel(values[product.left], values[product.right])


def _total(terms: list[Array], shape: tuple[int, ...]) -> Array:
    """Return the sum, in the first term where that has the population's whole shape."""
    if terms[0].shape[:-1] != shape:
        terms[0] = np.broadcast_to(terms[0], (*shape, terms[0].shape[-1])).copy()
    return reduce(lambda total, term: np.add(total, term, out=total), terms)


# -- moves ----------------------------------------------------------------------------------------------------------
def _move(op: MoveOp) -> Callable[..., Array]:
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
    assert_never(op)
