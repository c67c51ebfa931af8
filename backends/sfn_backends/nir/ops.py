"""The Program as groups of thresholds: what all three NIR forms are made from.

An :class:`Op` makes one value: ``code = base + sum over groups, over k of gains[k] * [acc >= thresholds[..., k]]``. A
population has one group.
A max pooling becomes ops of its own: :mod:`.pools` in the chain, :mod:`.tournament` elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import (
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


@dataclass(frozen=True)
class Powers:
    """Instead of a code ``base**m - 1``, m the number of its levels ``first + 1 .. first + count`` that are reached."""

    base: int
    first: int
    count: int

    @property
    def steps(self) -> Array:
        """What each level adds."""
        return np.diff(self.base ** np.arange(self.count + 1))


@dataclass(frozen=True, eq=False)
class Read:
    """``map(code - shift)`` of the value ``source``, seen under ``shape``; with ``powers`` of those instead.

    ``given``: another read of the same sum has the same source, and weights add up.
    """

    source: str
    map: LinearMap
    shape: Shape
    shift: int = 0
    powers: Powers | None = None
    given: bool = False


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

    ``offset`` is not None for a readout, whose value is its accumulator plus the offset. ``pool``: its groups count
    consecutive levels.
    """

    name: str
    shape: Shape
    groups: tuple[Group, ...]
    base: int
    codes: Array
    where: str
    offset: Array | None = None
    pool: bool = False

    @property
    def reads(self) -> list[Read]:
        """Everything it reads."""
        return [r for g in self.groups for r in g.reads]

    @property
    def planes(self) -> int:
        """How many neurons an element has."""
        return sum(len(g.gains) for g in self.groups)

    @property
    def rising(self) -> bool:
        """Whether its planes, group by group, are reached one after the other, and each counts up."""
        return all((g.gains > 0).all() for g in self.groups) and (len(self.groups) == 1 or self.pool)


Pool = Callable[[MaxPool, ValueInfo, "Op | None", str], Iterable[Op]]


def lower(program: Program, pool: Pool, steps: Collection[str]) -> list[Op]:
    """Return the ops of those ``steps`` of a legalised Program in execution order.

    ``pool`` makes those of a max pooling, from the op of its source (None: an input) and the source's name. Raises
    SFN401 where float32 would not be exact.
    """
    info = program.values()
    seen = resolved(program)
    ops: dict[str, Op] = {}
    given = given_reads(program)
    for step in program.steps:
        if step.name not in steps or isinstance(step, Move):
            continue
        if isinstance(step, MaxPool):
            source = seen[step.source]
            ops |= {op.name: op for op in pool(step, info[step.source], ops.get(source), source)}
        elif isinstance(step, Population):
            ops[step.name] = _population(step, info, seen, given)
        elif isinstance(step, Normalization):
            raise AssertionError(f"{step.name} was refused by legalisation")
        else:
            assert_never(step)
    return list(ops.values())


def resolved(program: Program) -> dict[str, str]:
    """Return for every value of a legalised Program the one that holds its numbers: moves only give another shape."""
    seen = {e.value: e.value for e in program.inputs}
    for step in program.steps:
        seen[step.name] = seen[step.sources[0]] if isinstance(step, Move) else step.name
    return seen


def given_reads(program: Program) -> set[tuple[str, int]]:
    """Return (population, index) of the projections whose weights are at the places of another's, added to them.

    Of the projections from one value the one with the most weights can be read from there, the others not.
    """
    seen, found = resolved(program), set()
    for step in program.populations():
        largest: dict[str, int] = {}
        for i, p in enumerate(step.projections):
            best = largest.setdefault(seen[p.source], i)
            if p.map.weight.size > step.projections[best].map.weight.size:
                largest[seen[p.source]] = i
        found |= {(step.name, i) for i in range(len(step.projections))} - {(step.name, i) for i in largest.values()}
    return found


def carried(name: str, shape: Shape, codes: Array) -> Op:
    """Return the op that fires a value once more, unchanged."""
    low, high = int(codes.min()), int(codes.max())
    reads = (Read(name, Identity(np.ones(1, np.int64)), shape),)
    group = Group(reads, codes[1:].reshape((1,) * len(shape) + (-1,)), np.diff(codes), min(low, 0), max(high, 0))
    return Op(name, shape, (group,), low, codes, name)


def _population(
    step: Population, info: dict[str, ValueInfo], seen: dict[str, str], given: set[tuple[str, int]]
) -> Op:  # fmt: skip
    reads = tuple(
        Read(seen[p.source], p.map, info[p.source].shape, given=(step.name, i) in given)
        for i, p in enumerate(step.projections)
    )
    low, high = accumulator_range([(p.map, info[p.source]) for p in step.projections])
    where = ", ".join(step.origin.nodes) or step.name
    bound = sum(absolute_bound(p.map, info[p.source]) for p in step.projections)
    if isinstance(step.ladder, Readout):
        bound += int(np.abs(step.ladder.offset).max(initial=0))
    if bound >= FLOAT32_EXACT:
        what = f"sums into {step.name} can reach {bound}; NIR files hold float32, exact below {FLOAT32_EXACT}"
        raise fail("SFN401", what, where, "use fewer --levels or --weight-bits")
    return _op(step, reads, int(low.min()), int(high.max()), where)


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
