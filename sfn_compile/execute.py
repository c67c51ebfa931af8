"""Run a Program on codes through :mod:`sfn_compile.arith`: the bit-accurate simulator."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from .arith import Engine, max_pool
from .program import Move, Normalization, Population, Program, Ratio, Step, ValueInfo
from .ranges import absolute_bound, product_bound

Array = NDArray[Any]

# Samples computed at a time: small enough for the intermediate values of a layer to stay in cache.
PIECE = 16


def run_codes(
    program: Program,
    inputs: Mapping[str, Array],
    keep: Collection[str] | None = None,
    engine: Engine = "fast",
) -> dict[str, Array]:
    """Return integer values ``(n, *shape)`` by name for input codes by name.

    ``keep`` names the values wanted (default: every one, inputs included); others are freed after their last use.
    Pieces of the batch run in threads of their own with a single-threaded BLAS: its matrices are small, and BLAS
    threads that wait for each other cost more than they bring.
    """
    info = program.values()
    wanted = set(info) if keep is None else set(keep)
    bounds = _bounds(program, info)
    n = len(next(iter(inputs.values())))
    pieces = [{k: np.asarray(v[i : i + PIECE]) for k, v in inputs.items()} for i in range(0, n, PIECE)]
    work = partial(_run_piece, program, info, bounds, wanted, engine)
    with _blas().limit(limits=1, user_api="blas"):
        if len(pieces) == 1:
            done = [work(pieces[0])]
        else:
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                done = list(pool.map(work, pieces))
    return {name: np.concatenate([d[name] for d in done]) for name in info if name in wanted}


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def accumulate(
    population: Population, values: Mapping[str, Array], info: Mapping[str, ValueInfo], engine: Engine = "fast"
) -> Array:
    """Return a population's accumulators ``(n, *shape)``, int64, before its ladder."""
    return _accumulate(population, values, _term_bounds(population, info), engine)


def _accumulate(population: Population, values: Mapping[str, Array], bounds: list[int], engine: Engine) -> Array:
    n = len(population.projections)
    linear, products = (
        zip(population.projections, bounds[:n], strict=True),
        zip(population.products, bounds[n:], strict=True),
    )
    parts = [p.map.apply(values[p.source], b, engine) for p, b in linear]
    parts += [p.form.apply(values[p.left], values[p.right], b, engine) for p, b in products]
    return sum(parts, start=np.zeros((), np.int64))


def fire(population: Population, acc: Array, values: Mapping[str, Array], engine: Engine = "fast") -> Array:
    """Return what a population makes of its accumulators: codes, or the accumulators themselves of a readout."""
    if isinstance(population.ladder, Ratio):
        assert population.norm is not None
        return population.ladder.fire(acc, population.norm.apply(values[population.norm.source], engine))
    return population.ladder.fire(acc)


def _term_bounds(population: Population, info: Mapping[str, ValueInfo]) -> list[int]:
    """Return, per projection and then per product, the bound of every partial sum that chooses its engine."""
    bounds = [absolute_bound(p.map, info[p.source]) for p in population.projections]
    return bounds + [product_bound(p, info[p.left], info[p.right]) for p in population.products]


def _bounds(program: Program, info: Mapping[str, ValueInfo]) -> dict[str, list[int]]:
    """Return the bounds of every population's terms by its name."""
    return {s.name: _term_bounds(s, info) for s in program.populations()}


def _run_piece(
    program: Program, info: Mapping[str, ValueInfo], bounds: Mapping[str, list[int]], wanted: set[str],
    engine: Engine, inputs: Mapping[str, Array],
) -> dict[str, Array]:  # fmt: skip
    last_use = {source: i for i, step in enumerate(program.steps) for source in step.sources}
    live: dict[str, Array] = {e.value: inputs[e.value] for e in program.inputs}
    for i, step in enumerate(program.steps):
        live[step.name] = _run_step(step, live, info, bounds, engine)
        for source in step.sources:
            if source not in wanted and last_use[source] == i:
                live.pop(source, None)
    return {name: live[name] for name in wanted}


def _run_step(
    step: Step, values: Mapping[str, Array], info: Mapping[str, ValueInfo], bounds: Mapping[str, list[int]],
    engine: Engine,
) -> Array:  # fmt: skip
    if isinstance(step, Population):
        return fire(step, _accumulate(step, values, bounds[step.name], engine), values, engine)
    if isinstance(step, Normalization):
        return step.apply(*(values[s] for s in step.sources))
    if isinstance(step, Move):
        return step.op.apply(*(values[s] for s in step.sources))
    lo = info[step.source].lo
    return max_pool(values[step.source], step.kernel, step.strides, step.pads, step.dilations, lo)
