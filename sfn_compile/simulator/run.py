"""Run a Program on codes through :mod:`sfn_compile.program.arithmetic`: the bit-accurate simulator."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache, partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from ..program.arithmetic import Engine, max_pool
from ..program.network import Move, Normalization, Population, Program, Ratio, Step, ValueInfo
from ..program.ranges import absolute_bound, product_bound
from . import compiled_steps

Array = NDArray[Any]
Piece = dict[str, Array]

PIECE = 16  # samples that the plain engine computes at a time
CACHED_BYTES = 3 << 19  # what one thread of the fast engine has in hand at its widest step, so that it stays in cache
WORTHWHILE, MOST = 8, 256  # but not fewer samples than fill a vector register, and not more than bring anything
HELD_BYTES = 512 << 20  # and never more than this for one thread, beside weights and the values asked for


def run_codes(
    program: Program,
    inputs: Mapping[str, Array],
    keep: Collection[str] | None = None,
    engine: Engine = "fast",
    threads: int | None = None,
) -> dict[str, Array]:
    """Return integer values ``(n, *shape)`` by name for input codes by name: int32, readouts int64.

    ``keep`` names the values wanted (default: every one, inputs included); others are freed after their last use.
    ``engine``: ``fast``, or ``reference`` for int64 throughout; the integers are the same. Pieces of the batch run in
    ``threads`` threads (default: one per core) with a single-threaded BLAS: its matrices are small, and BLAS threads
    that wait for each other cost more than they bring.
    """
    info = program.values()
    wanted = set(info) if keep is None else set(keep)
    arrays = {k: np.asarray(v) for k, v in inputs.items()}
    n = len(next(iter(arrays.values())))
    threads = threads or n_cores()
    work, size = _engine(program, info, wanted, engine, -(-n // threads))
    pieces = [{k: v[i : i + size] for k, v in arrays.items()} for i in range(0, max(n, 1), size)]
    with single_threaded_blas():
        if len(pieces) == 1 or threads == 1:
            done = [work(piece) for piece in pieces]
        else:
            with ThreadPoolExecutor(threads) as pool:
                done = list(pool.map(work, pieces))
    return {name: _joined([d[name] for d in done]) for name in info if name in wanted}


def n_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _joined(parts: list[Array]) -> Array:
    """Return pieces of a value as one array, its codes int32."""
    wide = np.promote_types(parts[0].dtype, np.int32)
    return np.concatenate(parts, dtype=wide)


def _engine(
    program: Program, info: Mapping[str, ValueInfo], wanted: set[str], engine: Engine, share: int
) -> tuple[Callable[[Piece], Piece], int]:
    """Return what computes a piece of the batch, and of how many samples; ``share`` is what falls to one thread."""
    if engine != "fast":
        return partial(_run_piece, program, info, _bounds(program, info), wanted, engine), PIECE
    runs = prepare_kernels(program)
    fit = _samples_at_a_time(compiled_steps.bytes_per_sample(program, info))
    rounds = max(1, -(-share // fit))
    return partial(_run_fast, program, runs, wanted), max(1, -(-share // rounds))


def _samples_at_a_time(bytes_each: int) -> int:
    """Return how many samples of which each takes ``bytes_each`` at its widest step are computed together."""
    cached = min(max(CACHED_BYTES // bytes_each, WORTHWHILE), MOST)
    return max(1, min(cached, HELD_BYTES // bytes_each))


_PREPARED: WeakKeyDictionary[Program, list[compiled_steps.Run]] = WeakKeyDictionary()


def prepare_kernels(program: Program) -> list[compiled_steps.Run]:
    """Return the kernels of a Program, made once: they hold its weights in the types that they compute in."""
    found = _PREPARED.get(program)
    if found is None:
        info = program.values()
        bounds = _bounds(program, info)
        _PREPARED[program] = found = compiled_steps.prepare(program, partial(_plain_step, info, bounds))
    return found


def _plain_step(
    info: Mapping[str, ValueInfo], bounds: Mapping[str, list[int]], step: Step, values: Mapping[str, Array]
) -> Array:
    return _run_step(step, values, info, bounds, "fast")


def _run_fast(program: Program, runs: list[compiled_steps.Run], wanted: set[str], inputs: Mapping[str, Array]) -> Piece:
    last_use = {source: i for i, step in enumerate(program.steps) for source in step.sources}
    live = {e.value: np.moveaxis(inputs[e.value], 0, -1) for e in program.inputs}
    for i, (step, run) in enumerate(zip(program.steps, runs, strict=True)):
        live[step.name] = run(live)
        for source in step.sources:
            if source not in wanted and last_use[source] == i:
                live.pop(source, None)
    return {name: np.moveaxis(live[name], -1, 0) for name in wanted}


def single_threaded_blas() -> AbstractContextManager[Any]:
    """Return a context in which each matrix product runs in the thread that asks for it."""
    return _blas().limit(limits=1, user_api="blas")


def in_pieces(function: Callable[..., Array], *xs: Array, size: int = PIECE) -> Array:
    """Return ``function`` of arrays of equally many samples, computed piece by piece in threads.

    The size of a piece depends on nothing, so that sums of floats do not depend on the machine.
    """
    pieces = [[x[i : i + size] for x in xs] for i in range(0, len(xs[0]), size)]
    if len(pieces) == 1:
        return function(*pieces[0])
    with single_threaded_blas(), ThreadPoolExecutor(n_cores()) as pool:
        return np.concatenate(list(pool.map(lambda piece: function(*piece), pieces)))


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
