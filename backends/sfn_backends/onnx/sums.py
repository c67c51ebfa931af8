"""Accumulators as tensors: float32 where every partial sum is an exact integer, else int64 from parts that are.

float32 holds every integer up to 2^24, so a sum whose terms stay below that in absolute value, all together, is exact
in any order of summation, fused or not. Larger sums are cut into pieces of channels (and of weight digits where one
channel is too much), each exact, and added as int64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from sfn_backends.onnx.net import Net
from sfn_backends.onnx.values import TYPES, Values
from sfn_compile.program.network import (
    Conv,
    Dense,
    Elementwise,
    Gather,
    Identity,
    Matmul,
    Pads,
    Population,
    Product,
    Projection,
    SumPool,
    ValueInfo,
)
from sfn_compile.program.ranges import FLOAT32_EXACT, FLOAT64_EXACT, absolute_bound, product_bound, unweighted_bound
from sfn_compile.program.weights import ungrouped

Array = NDArray[Any]
EXACT = FLOAT32_EXACT
EXACT_DOUBLE = FLOAT64_EXACT
_DIGIT = 256


@dataclass(frozen=True)
class Sum:
    """A population's accumulator: its tensor, float32 or int64."""

    tensor: str
    kind: str


def flat_pads(pads: Pads) -> list[int]:
    """Return padding as ONNX writes it: all that is before, then all that is behind."""
    return [p[0] for p in pads] + [p[1] for p in pads]


def accumulate(net: Net, values: Values, step: Population, room: float) -> Sum:
    """Add the nodes of all projections and products and their sum. ``room``: what a float32 sum may reach."""
    bounds = [absolute_bound(p.map, values[p.source].info) for p in step.projections]
    bounds += [product_bound(p, values[p.left].info, values[p.right].info) for p in step.products]
    kind = "float32" if sum(bounds) < room else "int64"
    terms = [_projection(net, values, p, kind) for p in step.projections]
    terms += [_product(net, values, p, kind) for p in step.products]
    return Sum(_add(net, terms), kind)


def _add(net: Net, terms: list[str]) -> str:
    total = terms[0]
    for term in terms[1:]:
        total = net.add("Add", total, term)
    return total


def _projection(net: Net, values: Values, p: Projection, kind: str) -> str:
    """Return the tensor of what a linear map adds."""
    if isinstance(p.map, Dense):
        return _dense(net, values, p, kind)
    if isinstance(p.map, Conv):
        return _conv(net, values, p.source, p.map, kind)
    if isinstance(p.map, SumPool):
        return _sum_pool(net, values, p.source, p.map, kind)
    if isinstance(p.map, Identity):
        return _times(net, values.number(p.source, kind), p.map.weight, kind)
    if isinstance(p.map, Gather):
        return _gather(net, values, p.source, p.map, kind)
    assert_never(p.map)


def _dense(net: Net, values: Values, p: Projection, kind: str) -> str:
    weight = p.map.weight.astype(np.int64)
    real, info = values.real(p.source), values[p.source].info
    if kind == "float32":
        return net.add("MatMul", real, net.constant(weight.T, np.float32))
    terms = []
    for piece in pieces(weight, info):
        part = _cut(net, real, piece, len(info.shape), weight.shape[1])
        terms.append(_scaled(net, net.add("MatMul", part, net.constant(piece.weight.T, np.float32)), piece))
    return _add(net, terms)


def _conv(net: Net, values: Values, source: str, conv: Conv, kind: str) -> str:
    real, info = values.real(source), values[source].info
    if kind == "float32" or absolute_bound(conv, info) < EXACT:
        return _as(net, _write_conv(net, real, conv, conv.weight, conv.groups), kind)
    weight = ungrouped(conv)
    terms = []
    for piece in pieces(weight, info):
        part = _cut(net, real, piece, 1, weight.shape[1])
        terms.append(_scaled(net, _write_conv(net, part, conv, piece.weight, 1), piece))
    return _add(net, terms)


def _write_conv(net: Net, real: str, conv: Conv, weight: Array, groups: int) -> str:
    return net.add(
        "Conv", real, net.constant(weight, np.float32), kernel_shape=weight.shape[2:], strides=conv.strides,
        pads=flat_pads(conv.pads), dilations=conv.dilations, group=groups,
    )  # fmt: skip


def _sum_pool(net: Net, values: Values, source: str, pool: SumPool, kind: str) -> str:
    channels = values[source].info.shape[0]
    ones = np.ones((channels, 1, *pool.kernel), np.int64)
    window = Conv(ones, pool.strides, pool.pads, (1,) * len(pool.kernel), channels)
    total = _as(net, _write_conv(net, values.real(source), window, ones, channels), kind)
    return _times(net, total, pool.weight, kind)


def _gather(net: Net, values: Values, source: str, gather: Gather, kind: str) -> str:
    """Index -1 reads any element, with weight 0."""
    codes = values.number(source, kind)
    flat = net.add("Reshape", codes, net.constant([-1, int(np.prod(values[source].info.shape))], "int64"))
    found = net.add("Gather", flat, net.constant(np.maximum(gather.index, 0), np.int64), axis=1)
    return _times(net, found, gather.weight * (gather.index >= 0), kind)


def _product(net: Net, values: Values, p: Product, kind: str) -> str:
    if isinstance(p.form, Elementwise):
        both = net.add("Mul", values.number(p.left, kind), values.number(p.right, kind))
        return _times(net, both, p.form.weight, kind)
    if not isinstance(p.form, Matmul):
        assert_never(p.form)
    # An accumulator of this target has 48 bits, so without its weight the sum is exact in float64.
    inner = "float32" if unweighted_bound(p, values[p.left].info, values[p.right].info) < EXACT else "float64"
    rows = net.add("MatMul", values.number(p.left, inner), values.number(p.right, inner))
    return _times(net, rows if inner == kind else net.add("Cast", rows, to=TYPES[kind]), p.form.weight, kind)


def _times(net: Net, tensor: str, weight: Array, kind: str) -> str:
    return tensor if (weight == 1).all() else net.add("Mul", tensor, net.constant(weight, kind))


def _as(net: Net, tensor: str, kind: str) -> str:
    return tensor if kind == "float32" else net.add("Cast", tensor, to=TYPES[kind])


@dataclass(frozen=True, eq=False)
class Piece:
    """``factor * (weight on channels start..stop)``, small enough for float32."""

    start: int
    stop: int
    weight: Array
    factor: int


def pieces(weight: Array, info: ValueInfo) -> Iterator[Piece]:
    """Yield pieces that add up to a map of ``weight`` ``(o, c, *k)``, each with all sums below 2^24."""
    yield from _halved(weight, max(abs(info.lo), abs(info.hi)), 0, 1)


def _halved(weight: Array, top: int, start: int, factor: int) -> Iterator[Piece]:
    n, large = weight.shape[1], int(np.abs(weight).max(initial=0))
    bound = int(np.abs(weight).sum(axis=tuple(range(1, weight.ndim))).max(initial=0)) * top
    if bound < EXACT:
        yield Piece(start, start + n, weight, factor)
    elif n > 1 and (large < _DIGIT or bound < 4 * EXACT):  # more than four pieces: two digits are fewer
        yield from _halved(weight[:, : n // 2], top, start, factor)
        yield from _halved(weight[:, n // 2 :], top, start + n // 2, factor)
    else:
        high, low = np.divmod(weight, _DIGIT)
        yield from _halved(low, top, start, factor)
        yield from _halved(high, top, start, factor * _DIGIT)


def _cut(net: Net, real: str, piece: Piece, axis: int, n: int) -> str:
    if (piece.start, piece.stop) == (0, n):
        return real
    return net.add("Slice", real, *(net.constant([v], "int64") for v in (piece.start, piece.stop, axis)))


def _scaled(net: Net, tensor: str, piece: Piece) -> str:
    exact = net.add("Cast", tensor, to=TYPES["int64"])
    return exact if piece.factor == 1 else net.add("Mul", exact, net.constant(piece.factor, "int64"))
