"""Every step by its definition, in int64: the plain engine of the simulator, and what the fast one is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ..program.arithmetic import max_pool
from ..program.network import (
    MaxPool,
    Move,
    Normalization,
    Population,
    Ratio,
    Readout,
    RowTable,
    Step,
    Table,
    Uniform,
    ValueInfo,
)

Array = NDArray[Any]
Values = Mapping[str, Array]


def run_step(step: Step, values: Values, info: Mapping[str, ValueInfo]) -> Array:
    """Return a step's value ``(n, *shape)`` from those of the values it reads: int32, readouts int64."""
    if isinstance(step, Population):
        return fire(step, accumulate(step, values), values)
    if isinstance(step, Normalization):
        return step.apply(*(values[s] for s in step.sources))
    if isinstance(step, Move):
        return step.op.apply(*(values[s] for s in step.sources))
    if isinstance(step, MaxPool):
        lo = info[step.source].lo
        return max_pool(values[step.source], step.kernel, step.strides, step.pads, step.dilations, lo)
    assert_never(step)


def accumulate(population: Population, values: Values) -> Array:
    """Return a population's accumulators ``(n, *shape)``, int64, before its ladder."""
    parts = [p.map.apply(values[p.source]) for p in population.projections]
    parts += [p.form.apply(values[p.left], values[p.right]) for p in population.products]
    return sum(parts, start=np.zeros((), np.int64))


def fire(population: Population, acc: Array, values: Values) -> Array:
    """Return what a population makes of its accumulators: codes, or the accumulators themselves of a readout.

    ``values`` holds what its threshold is scaled by, where it is a :class:`Ratio`.
    """
    ladder = population.ladder
    if isinstance(ladder, Ratio):
        assert population.norm is not None
        return ladder.fire(acc, population.norm.apply(values[population.norm.source]))
    if isinstance(ladder, Uniform | Table | RowTable | Readout):
        return ladder.fire(acc)
    assert_never(ladder)
