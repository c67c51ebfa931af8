"""Per-neuron arrays that are constant over positions, cut to one number per channel: convolutions can say those."""

from __future__ import annotations

from dataclasses import replace

from typing_extensions import assert_never

from sfn_backends.nir.links import per_channel
from sfn_backends.nir.net import Array
from sfn_compile.program.network import (
    Conv,
    Dense,
    Gather,
    Identity,
    Ladder,
    Population,
    Program,
    Projection,
    Ratio,
    Readout,
    RowTable,
    SumPool,
    Table,
    Uniform,
)


def compact(program: Program) -> Program:
    """Return an equal Program whose per-neuron arrays are per channel wherever their numbers allow it."""
    steps = []
    for step in program.steps:
        if isinstance(step, Population):
            projections = tuple(_compact_projection(p, len(step.shape)) for p in step.projections)
            step = replace(step, projections=projections, ladder=_compact_ladder(step.ladder, len(step.shape)))
        steps.append(step)
    return replace(program, steps=tuple(steps))


def _compact_projection(p: Projection, rank: int) -> Projection:
    if isinstance(p.map, Identity | SumPool):
        return replace(p, map=replace(p.map, weight=_per_channel(p.map.weight, rank)))
    if isinstance(p.map, Dense | Conv | Gather):  # a Gather's arrays have the shape of its index
        return p
    assert_never(p.map)


def _compact_ladder(ladder: Ladder, rank: int) -> Ladder:
    if isinstance(ladder, Uniform):
        return replace(ladder, theta=_per_channel(ladder.theta, rank), offset=_per_channel(ladder.offset, rank))
    if isinstance(ladder, Table):
        return replace(ladder, table=_per_channel(ladder.table, rank + 1, 1))
    if isinstance(ladder, Readout):
        return replace(ladder, offset=_per_channel(ladder.offset, rank))
    if isinstance(ladder, RowTable | Ratio):  # refused by legalisation
        return ladder
    assert_never(ladder)


def _per_channel(array: Array, rank: int, last: int = 0) -> Array:
    """Return ``array`` with all axes but the first of ``rank`` and the ``last`` ones cut to 1 if constant over them."""
    if array.ndim < rank or per_channel(array.shape[: array.ndim - last], rank - last):
        return array
    first = array[(slice(None), *(slice(1) for _ in range(rank - 1 - last)), *(slice(None) for _ in range(last)))]
    return first if (array == first).all() else array


def fewer_levels(program: Program, levels: int) -> Program:
    """Return a Program whose populations have at most ``levels`` codes above the lowest: what it costs is that of one
    compiled so, what it computes is not."""
    steps = [replace(s, ladder=_fewer(s.ladder, levels)) if isinstance(s, Population) else s for s in program.steps]
    return replace(program, steps=tuple(steps))


def _fewer(ladder: Ladder, levels: int) -> Ladder:
    if isinstance(ladder, Uniform):
        return replace(ladder, hi=min(ladder.hi, ladder.lo + levels))
    if isinstance(ladder, Table):
        return replace(ladder, table=ladder.table[..., :levels], codes=ladder.codes[: levels + 1])
    if isinstance(ladder, Readout | RowTable | Ratio):
        return ladder
    assert_never(ladder)
