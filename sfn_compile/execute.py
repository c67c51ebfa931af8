"""Run a Program on codes through :mod:`sfn_compile.arith`: the bit-accurate simulator."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arith import Engine, max_pool
from .program import Move, Population, Program, Step, ValueInfo
from .ranges import absolute_bound

Array = NDArray[Any]


def run_codes(
    program: Program,
    inputs: Mapping[str, Array],
    keep: Collection[str] | None = None,
    engine: Engine = "fast",
) -> dict[str, Array]:
    """Return integer values ``(n, *shape)`` by name for input codes by name.

    ``keep`` names the values wanted (default: every one, inputs included); others are freed after their last use.
    """
    info = program.values()
    wanted = set(info) if keep is None else set(keep)
    last_use = {source: i for i, step in enumerate(program.steps) for source in step.sources}
    live: dict[str, Array] = {e.value: np.asarray(inputs[e.value]) for e in program.inputs}
    for i, step in enumerate(program.steps):
        live[step.name] = run_step(step, live, info, engine)
        for source in step.sources:
            if source not in wanted and last_use[source] == i:
                live.pop(source, None)
    return {name: live[name] for name in info if name in wanted}


def run_step(step: Step, values: Mapping[str, Array], info: Mapping[str, ValueInfo], engine: Engine = "fast") -> Array:
    """Return the integers ``(n, *shape)`` of one step from the values it reads."""
    if isinstance(step, Population):
        return step.ladder.fire(accumulate(step, values, info, engine))
    if isinstance(step, Move):
        return step.op.apply(*(values[s] for s in step.sources))
    lo = info[step.source].lo
    return max_pool(values[step.source], step.kernel, step.strides, step.pads, step.dilations, lo)


def accumulate(
    population: Population, values: Mapping[str, Array], info: Mapping[str, ValueInfo], engine: Engine = "fast"
) -> Array:
    """Return a population's accumulators ``(n, *shape)``, int64, before its ladder."""
    total: Array | None = None
    for p in population.projections:
        part = p.map.apply(values[p.source], absolute_bound(p.map, info[p.source]), engine)
        total = part if total is None else total + part
    assert total is not None
    return total
