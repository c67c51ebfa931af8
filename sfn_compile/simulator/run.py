"""Run a Program on codes: the bit-accurate simulator, piece by piece of the batch, by one of two engines.

``reference`` computes every step by its definition (:mod:`.simulator.plain_steps`, over time :mod:`.plain_clock`),
``fast`` by kernels made once (:mod:`.compiled_steps`, :mod:`.clocked_steps`). The integers are the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache, partial
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from ..program.network import Program, ValueInfo
from . import compiled_steps, run_clock
from .plain_steps import run_step

Engine = Literal["fast", "reference"]
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

    With a clock: what each value emits in each step, ``(n, steps, *shape)``, a readout what it adds up to; constant
    input codes and what moves them as they are; nothing of a Concat of constant codes and spikes (:mod:`.run_clock`).

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
    return {name: _joined([d[name] for d in done]) for name in info if name in done[0]}


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
    if program.clock is not None:
        size = PIECE
        if engine == "fast":
            size = _even_share(share, program.clock.steps * compiled_steps.bytes_per_sample(program, info))
        return partial(run_clock.run_piece, program, wanted, engine), size
    if engine != "fast":
        return partial(_run_piece, program, info, wanted), PIECE
    size = _even_share(share, compiled_steps.bytes_per_sample(program, info))
    return partial(_run_fast, program, prepare_kernels(program), wanted), size


def _even_share(share: int, bytes_each: int) -> int:
    """Return how many samples a thread computes at a time, so that all its rounds are about as long."""
    rounds = max(1, -(-share // _samples_at_a_time(bytes_each)))
    return max(1, -(-share // rounds))


def _samples_at_a_time(bytes_each: int) -> int:
    """Return how many samples of which each takes ``bytes_each`` at its widest step are computed together."""
    cached = min(max(CACHED_BYTES // bytes_each, WORTHWHILE), MOST)
    return max(1, min(cached, HELD_BYTES // bytes_each))


_PREPARED: WeakKeyDictionary[Program, list[compiled_steps.Run]] = WeakKeyDictionary()


def prepare_kernels(program: Program) -> list[compiled_steps.Run]:
    """Return the kernels of a Program, made once: they hold its weights in the types that they compute in."""
    found = _PREPARED.get(program)
    if found is None:
        _PREPARED[program] = found = compiled_steps.prepare(program)
    return found


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


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _run_piece(
    program: Program, info: Mapping[str, ValueInfo], wanted: set[str], inputs: Mapping[str, Array]
) -> dict[str, Array]:
    last_use = {source: i for i, step in enumerate(program.steps) for source in step.sources}
    live: dict[str, Array] = {e.value: inputs[e.value] for e in program.inputs}
    for i, step in enumerate(program.steps):
        live[step.name] = run_step(step, live, info)
        for source in step.sources:
            if source not in wanted and last_use[source] == i:
                live.pop(source, None)
    return {name: live[name] for name in wanted}
