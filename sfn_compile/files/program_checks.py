"""Is this a Program that can run? What a damaged file would break is found here, before anything is computed.

Names, sources, shapes, the sizes of arrays, and that every integer on the way fits 64 bits. Which integers they are is
not looked at: other weights are another Program, which its digest tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ..program.broadcast import fits
from ..program.linear_maps import Shape
from ..program.network import (
    Array,
    Gather,
    Identity,
    Matmul,
    MaxPool,
    Move,
    Normalization,
    Population,
    Product,
    Program,
    Projection,
    Ratio,
    Readout,
    RowTable,
    Step,
    SumPool,
    Table,
    Uniform,
    ValueInfo,
    value_info,
    window_shape,
)
from ..program.ranges import absolute_bound, check_population, norm_top, normalization_reach, product_bound, ratio_reach
from . import clock_checks, host_shapes
from .decode import check_types, damaged
from .map_shapes import check_shape, check_windows, map_shape

CODE_LIMIT = 1 << 31  # codes are int32
WEIGHT_LIMIT = 1 << 40
NUMBER_LIMIT = 1 << 62  # thresholds, offsets and sums: twice of it still fits int64
Values = Mapping[str, ValueInfo]


def check_program(program: Program) -> Program:
    """Return the Program unchanged. Raises SFN503 where a field is of another type or parts do not fit each other."""
    check_types(program)
    known: dict[str, ValueInfo] = {}
    for i, encoding in enumerate(program.inputs):
        host_shapes.check_encoding(encoding, f"inputs[{i}]")
        _require(encoding.value not in known, f"inputs[{i}]", f"the name {encoding.value!r} stands twice")
        _range(encoding.lo, encoding.hi, f"inputs[{i}]")
        known[encoding.value] = ValueInfo(encoding.shape, encoding.lo, encoding.hi)
    for step in program.steps:
        at = f"step {step.name!r}"
        _require(step.name not in known, at, "the name stands twice")
        strange = [s for s in step.sources if s not in known]
        _require(not strange and bool(step.sources), at, f"reads {strange[:1]}, which no earlier step makes")
        check_shape(step.shape, at)
        _check_step(step, known, at)
        known[step.name] = value_info(step, known)
    clock_checks.check_clock(program, known)
    for i, decoding in enumerate(program.outputs):
        for value in decoding.values:
            _require(value in known, f"outputs[{i}]", f"there is no value {value!r}")
        host_shapes.check_decoding(decoding, [known[v].shape for v in decoding.values], f"outputs[{i}]")
    for names in ([e.name for e in program.inputs], [d.name for d in program.outputs]):
        _require(
            bool(names) and len(names) == len(set(names)), "program", f"inputs or outputs {names} are not distinct"
        )
    return program


def _require(holds: bool, at: str, what: str) -> None:
    if not holds:
        raise damaged(at, what)


def _check_step(step: Step, known: Values, at: str) -> None:
    shapes = [known[s].shape for s in step.sources]
    if isinstance(step, Population):
        _check_population(step, known, at)
    elif isinstance(step, Normalization):
        _check_normalization(step, known, at)
    elif isinstance(step, MaxPool):
        check_windows(shapes[0], step.kernel, step.strides, step.pads, step.dilations, at)
        space = window_shape(shapes[0][1:], step.kernel, step.strides, step.pads, step.dilations)
        _same(step.shape, (shapes[0][0], *space), at)
    else:
        assert isinstance(step, Move)
        _same(step.shape, host_shapes.moved_shape(step.op, shapes, at), at)


def _same(stated: Shape, made: Shape, at: str) -> None:
    _require(stated == made, at, f"its shape is stated as {stated}, its parts make {made}")


def _fits(array: Array, shape: Shape, at: str, limit: int = NUMBER_LIMIT) -> None:
    """Raise SFN503 unless the array broadcasts against a sample of ``shape`` and its integers are below the limit."""
    _require(fits(array.shape, shape), at, f"an array of shape {array.shape} beside a sample of shape {shape}")
    _small(array, at, limit)


def _small(array: Array, at: str, limit: int) -> None:
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    _require(max(-low, high) < limit, at, f"numbers from {low} to {high} are too large")


def _range(lo: int, hi: int, at: str) -> None:
    _require(lo <= hi and max(-lo, hi) < CODE_LIMIT, at, f"codes from {lo} to {hi} are no range")


# -- populations ----------------------------------------------------------------------------------------------------
def _check_population(step: Population, known: Values, at: str) -> None:
    _require(bool(step.projections or step.products), at, "nothing drives it")
    for p in step.projections:
        _same(step.shape, _map_shape(p, known[p.source].shape, at), at)
    for q in step.products:
        _same(step.shape, _product_shape(q, known, at), at)
    _check_ladder(step, at)
    _require(_total(step, known) < NUMBER_LIMIT, at, "its accumulator can leave 64 bits")
    low, high = check_population(step, dict(known))
    _require(step.acc_min <= low <= high <= step.acc_max, at,
             f"its accumulator reaches {low} to {high}, stated are {step.acc_min} to {step.acc_max}")  # fmt: skip
    _require(max(-step.acc_min, step.acc_max) < NUMBER_LIMIT, at, "its accumulator can leave 64 bits")
    _require(
        isinstance(step.ladder, Ratio) == (step.norm is not None), at, "a Ratio needs a norm, and nothing else does"
    )
    if isinstance(step.ladder, Ratio):
        _check_norm(step, step.ladder, known, at)


def _total(step: Population, known: Values) -> int:
    """Return a bound of every partial sum of the accumulator, computed without overflow."""
    total = sum(absolute_bound(p.map, known[p.source]) for p in step.projections)
    for q in step.products:
        weight = q.form.weight
        total += product_bound(q, known[q.left], known[q.right]) * max(-int(weight.min()), int(weight.max()), 1)
    return total


def _check_norm(step: Population, ladder: Ratio, known: Values, at: str) -> None:
    assert step.norm is not None
    shape = known[step.norm.source].shape
    _axes((step.norm.axis,), shape, at)
    summed = tuple(1 if i == step.norm.axis else n for i, n in enumerate(shape))
    _broadcasts(summed, step.shape, at)
    _row_fits(ratio_reach(ladder, (step.acc_min, step.acc_max), max(norm_top(step, known), 1)), at)


def _broadcasts(shape: Shape, whole: Shape, at: str) -> None:
    ok = len(shape) == len(whole) and all(n in (1, m) for n, m in zip(shape, whole, strict=True))
    _require(ok, at, f"a row of shape {shape} beside a sample of shape {whole}")


def _row_fits(reach: tuple[int, int], at: str) -> None:
    _require(max(-reach[0], reach[1]) < 2 * NUMBER_LIMIT, at, "what is compared with its threshold can leave 64 bits")


def _axes(axes: Iterable[int], shape: Shape, at: str) -> None:
    found = tuple(axes)
    ok = bool(found) and len(set(found)) == len(found) and all(0 <= a < len(shape) for a in found)
    _require(ok, at, f"a sample of shape {shape} has no axes {found}")


def _check_ladder(step: Population, at: str) -> None:
    ladder, shape = step.ladder, step.shape
    if isinstance(ladder, Uniform | Ratio):
        _check_even(ladder, shape, at)
    elif isinstance(ladder, Table | RowTable):
        _check_table(ladder, shape, at)
    else:
        assert isinstance(ladder, Readout)
        _require(ladder.offset.size > 0, at, "it has no offset")
        _fits(ladder.offset, shape, at)


def _check_even(ladder: Uniform | Ratio, shape: Shape, at: str) -> None:
    for array in (ladder.theta, ladder.offset):
        _require(array.size > 0, at, "its ladder is empty")
        _fits(array, shape, at)
    _require(int(ladder.theta.min()) >= 1, at, "a threshold is below 1")
    _range(ladder.lo, ladder.hi, at)


def _check_table(ladder: Table | RowTable, shape: Shape, at: str) -> None:
    table, codes = ladder.table, ladder.codes
    ok = table.ndim >= 1 and codes.ndim == 1 and codes.size == table.shape[-1] + 1
    _require(ok, at, f"thresholds of shape {table.shape} beside codes of shape {codes.shape}")
    _fits(table[..., :1].reshape(table.shape[:-1]) if table.shape[-1] else np.zeros(1, int), shape, at)
    _small(table, at, NUMBER_LIMIT)
    _require(bool((table[..., 1:] >= table[..., :-1]).all()), at, "its thresholds are not sorted")
    _range(ladder.lo, ladder.hi, at)
    if isinstance(ladder, RowTable):
        _fits(ladder.offset, shape, at)
        _axes((ladder.axis,), shape, at)
        _require(bool((table <= 0).all()), at, "a threshold of its rows is above 0")


# -- what drives them -----------------------------------------------------------------------------------------------
def _map_shape(p: Projection, shape: Shape, at: str) -> Shape:
    """Return the accumulator's shape of a projection from a value of ``shape``."""
    at, one = f"{at} from {p.source!r}", p.map
    _small(one.weight, at, WEIGHT_LIMIT)
    out = map_shape(one, shape, at)
    if isinstance(one, SumPool | Identity | Gather):
        _fits(one.weight, out, at, WEIGHT_LIMIT)
    return out


def _product_shape(q: Product, known: Values, at: str) -> Shape:
    left, right = known[q.left].shape, known[q.right].shape
    _small(q.form.weight, at, WEIGHT_LIMIT)
    if isinstance(q.form, Matmul):
        ok = min(len(left), len(right)) >= 2 and left[:-2] == right[:-2] and left[-1] == right[-2]
    else:
        ok = len(left) == len(right) and all(1 in (a, b) or a == b for a, b in zip(left, right, strict=True))
    _require(ok and q.form.weight.size > 0, at, f"a product of samples of shapes {left} and {right}")
    out = q.form.out_shape(left, right)
    _fits(q.form.weight, out, at, WEIGHT_LIMIT)
    return out


# -- normalisations -------------------------------------------------------------------------------------------------
def _check_normalization(step: Normalization, known: Values, at: str) -> None:
    for p in step.projections:
        _require(isinstance(p.map, Identity), at, "a normalisation reads codes as they stand")
        _same(step.shape, _map_shape(p, known[p.source].shape, at), at)
    _axes(step.axes, step.shape, at)
    _fits(step.gain, step.shape, at, WEIGHT_LIMIT)
    _check_even(step.ladder, step.shape, at)
    _require(0 <= step.bits < 32 and step.epsilon >= 0, at, f"{step.bits} bits, epsilon {step.epsilon}")
    _require(sum(absolute_bound(p.map, known[p.source]) for p in step.projections) < CODE_LIMIT, at,
             "its row can leave 32 bits")  # fmt: skip
    reach = normalization_reach(step, known)
    _require(reach["radicand"][1] < NUMBER_LIMIT, at, "what its root is taken of can leave 62 bits")
    _row_fits(reach["threshold"], at)
