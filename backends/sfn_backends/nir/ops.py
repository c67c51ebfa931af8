"""The Program as groups of thresholds: what all three NIR forms are made from.

An :class:`Op` makes one value: ``code = base + sum over groups, over k of gains[k] * [acc >= thresholds[..., k]]``. A
population has one group. A max pooling becomes a short tournament of ops with two groups each, because
``max(a, b) = b + relu(a - b)``: exact for any padding, stride, dilation and sign, and made of the same neurons.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import (
    Conv,
    Identity,
    LinearMap,
    MaxPool,
    Move,
    Normalization,
    Population,
    Program,
    Ratio,
    Readout,
    RowTable,
    Shape,
    Table,
    Uniform,
    ValueInfo,
    window_shape,
)
from sfn_compile.program.ranges import FLOAT32_EXACT, absolute_bound, accumulator_range

Array = NDArray[Any]


def one_input(program: Program, form: str) -> None:
    """Raise SFN402 where the network has several inputs."""
    if len(program.inputs) != 1:
        names = ", ".join(repr(e.name) for e in program.inputs)
        what = f"the NIR form {form} takes one input and one tensor runs through its readers; this network has {names}"
        fix = "leave nir out of --target, or join the inputs to one before the export and cut it with Slice or Split"
        raise fail("SFN402", what, fix=fix)


@dataclass(frozen=True, eq=False)
class Read:
    """``map(code - shift)`` of the value ``source``, seen under ``shape``; ``copy`` tells equal sources apart."""

    source: str
    map: LinearMap
    shape: Shape
    shift: int = 0
    copy: int = 0


@dataclass(frozen=True, eq=False)
class Group:
    """Neurons on one accumulator in [low, high]: thresholds ``(*broadcastable, n)`` and what each one counts.

    ``even``: the thresholds are evenly spaced and count 1 each. ``plain``: the accumulator is the code already.
    """

    reads: tuple[Read, ...]
    thresholds: Array
    gains: Array
    low: int
    high: int
    even: bool = False
    plain: bool = False


@dataclass(frozen=True, eq=False)
class Op:
    """One value: its neurons, its smallest thermometer code ``base`` and all ``codes`` it can have, ascending.

    ``offset`` is not None for a readout, whose value is its accumulator plus the offset.
    """

    name: str
    shape: Shape
    groups: tuple[Group, ...]
    base: int
    codes: Array
    where: str
    offset: Array | None = None

    @property
    def reads(self) -> list[Read]:
        """Everything it reads."""
        return [r for g in self.groups for r in g.reads]


def lower(program: Program) -> list[Op]:
    """Return the ops of a legalised Program in execution order. Raises SFN401 where float32 would not be exact."""
    info = program.values()
    seen: dict[str, tuple[str, Shape]] = {e.value: (e.value, e.shape) for e in program.inputs}
    ops: list[Op] = []
    for step in program.steps:
        seen[step.name] = (step.name, step.shape)
        if isinstance(step, Move):
            seen[step.name] = (seen[step.sources[0]][0], step.shape)
        elif isinstance(step, MaxPool):
            ops += _tournament(step, info[step.source], seen[step.source][0])
        elif isinstance(step, Population):
            ops.append(_population(step, info, seen))
        elif isinstance(step, Normalization):
            raise AssertionError(f"{step.name} was refused by legalisation")
        else:
            assert_never(step)
    return ops


def carried(name: str, shape: Shape, codes: Array) -> Op:
    """Return the op that fires a value once more, unchanged."""
    low, high = int(codes.min()), int(codes.max())
    reads = (Read(name, Identity(np.ones(1, np.int64)), shape),)
    group = Group(reads, codes[1:].reshape((1,) * len(shape) + (-1,)), np.diff(codes), min(low, 0), max(high, 0))
    return Op(name, shape, (group,), low, codes, name)


def _population(step: Population, info: dict[str, ValueInfo], seen: dict[str, tuple[str, Shape]]) -> Op:
    counts: dict[str, int] = {}
    reads = []
    for p in step.projections:
        source, shape = seen[p.source]
        reads.append(Read(source, p.map, shape, copy=counts.setdefault(source, 0)))
        counts[source] += 1
    low, high = accumulator_range([(p.map, info[p.source]) for p in step.projections])
    where = ", ".join(step.origin.nodes) or step.name
    bound = sum(absolute_bound(p.map, info[p.source]) for p in step.projections)
    if isinstance(step.ladder, Readout):
        bound += int(np.abs(step.ladder.offset).max(initial=0))
    if bound >= FLOAT32_EXACT:
        what = f"sums into {step.name} can reach {bound}; NIR files hold float32, exact below {FLOAT32_EXACT}"
        raise fail("SFN401", what, where, "use fewer --levels or --weight-bits")
    return _op(step, tuple(reads), int(low.min()), int(high.max()), where)


def _op(step: Population, reads: tuple[Read, ...], low: int, high: int, where: str) -> Op:
    ladder = step.ladder
    if isinstance(ladder, Readout):
        group = Group(reads, np.zeros((1,) * len(step.shape) + (0,), np.int64), np.zeros(0, np.int64), low, high)
        return Op(step.name, step.shape, (group,), 0, np.zeros(1, np.int64), where, ladder.offset)
    assert not isinstance(ladder, RowTable | Ratio)  # refused by legalisation
    if not isinstance(ladder, Uniform | Table):
        assert_never(ladder)
    codes = np.asarray(ladder.code_values, np.int64)
    group = Group(reads, ladder.thresholds(), np.diff(codes), low, high, isinstance(ladder, Uniform))
    return Op(step.name, step.shape, (group,), int(codes[0]), np.unique(codes), where)


def _tournament(pool: MaxPool, info: ValueInfo, source: str) -> Iterator[Op]:
    """Yield pairwise maxima along one axis after the other, window 1 -> 2 -> 4 ..., codes counted from ``lo``.

    Padding reads 0, which is the smallest code after the shift by ``lo``, so it never wins.
    """
    moves = list(_moves(pool))
    name, shape, lo = source, info.shape, info.lo
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
