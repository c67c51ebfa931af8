"""Run a clocked Program: one piece of a batch by one of two engines, or step by step as input comes in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..program.clock import Clock
from ..program.network import Move, Population, Program
from ..program.signals import Kind, kinds_of
from . import clocked_steps, plain_steps
from .clocked_steps import Run, State
from .plain_clock import PlainClock

Array = NDArray[Any]
Values = Mapping[str, Array]


def run_piece(
    program: Program, wanted: Collection[str], engine: Literal["fast", "reference"], inputs: Values
) -> dict[str, Array]:
    """Return the values ``wanted`` over all steps, as :func:`~.run.run_codes` has them."""
    assert program.clock is not None
    arrays = {name: padded(codes, program.clock) for name, codes in inputs.items()}
    values = _run_fast(program, wanted, arrays) if engine == "fast" else _run_plain(program, wanted, arrays)[0]
    return values | {name: codes.astype(np.int32) for name, codes in inputs.items() if name in wanted}


def run_by_definition(program: Program, inputs: Values) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return (every value over all steps, what every population has summed up at the end), step by step in int64."""
    assert program.clock is not None
    arrays = {name: padded(np.asarray(codes), program.clock) for name, codes in inputs.items()}
    values, charges = _run_plain(program, list(program.values()), arrays)
    return values | {name: np.asarray(codes, np.int32) for name, codes in inputs.items()}, charges


def padded(codes: Array, clock: Clock) -> Array:
    """Return constant codes as they are, frames ``(n, timesteps, *shape)`` with empty ones for settling."""
    if clock.presents == "constant":
        return codes
    return np.pad(codes, ((0, 0), (0, clock.settle), *(((0, 0),) * (codes.ndim - 2))))


def _run_plain(program: Program, wanted: Collection[str], inputs: Values) -> tuple[dict[str, Array], dict[str, Array]]:
    run, kinds = PlainClock(program), kinds_of(program)
    assert program.clock is not None
    seen: dict[str, list[Array]] = {name: [] for name in wanted if kinds[name].told and kinds[name].sent}
    for t in range(program.clock.steps):
        emitted = run.step(inputs if program.clock.presents == "constant" else {k: v[:, t] for k, v in inputs.items()})
        for name, steps in seen.items():
            steps.append(emitted[name])
    over_time = {name: np.stack(steps, axis=1) for name, steps in seen.items()}
    held = {name: run.held[name].astype(np.int32) for name in wanted if kinds[name].told and kinds[name].held}
    return {name: _typed(x, kinds[name]) for name, x in over_time.items()} | held, run.charges


def _typed(x: Array, kind: Kind) -> Array:
    return x.astype(np.int64 if kind.total else np.int32)


def _run_fast(program: Program, wanted: Collection[str], inputs: Values) -> dict[str, Array]:
    assert program.clock is not None
    kinds, found = kinds_of(program), {}
    run = Run(program.clock, kinds, State(), program.clock.steps)
    for e in program.inputs:
        _give(run, e.value, inputs[e.value])
    last_use = {source: i for i, step in enumerate(program.steps) for source in step.sources}
    for i, (step, compute) in enumerate(zip(program.steps, prepared(program), strict=True)):
        compute(run)
        for name in (*step.sources, step.name):
            if last_use.get(name, i) == i:  # read for the last time
                found.update(_taken(run, name, wanted))
    return found


def _give(run: Run, name: str, codes: Array) -> None:
    """Put the codes of an input into a run: constant ones ``(n, *shape)``, or frames ``(n, steps, *shape)``."""
    if run.kinds[name].held:
        run.held[name] = np.moveaxis(codes, 0, -1)
    else:
        before = run.state.counts.get(name)
        counts = np.moveaxis(np.cumsum(codes, axis=1, dtype=np.int32), (0, 1), (-2, -1))
        run.counts[name] = counts if before is None else counts + before[..., None]
        run.state.counts[name] = run.counts[name][..., -1]


def _taken(run: Run, name: str, wanted: Collection[str]) -> dict[str, Array]:
    """Return a value that nothing reads any more, where it is wanted, and forget it."""
    counts, held, kind = run.counts.pop(name, None), run.held.pop(name, None), run.kinds[name]
    if name not in wanted or not kind.told:
        return {}
    if held is not None:
        return {name: np.moveaxis(held, -1, 0)}
    if counts is None:
        return {}
    if not kind.total:
        counts = np.diff(counts.astype(np.int32), axis=-1, prepend=np.int32(0))
    return {name: _typed(np.moveaxis(counts, (-2, -1), (0, 1)), kind)}


_PREPARED: WeakKeyDictionary[Program, list[clocked_steps.Compute]] = WeakKeyDictionary()


def prepared(program: Program) -> list[clocked_steps.Compute]:
    """Return the kernels of a clocked Program, made once."""
    found = _PREPARED.get(program)
    if found is None:
        _PREPARED[program] = found = clocked_steps.prepare(program)
    return found


# -- what values come to ----------------------------------------------------------------------------------------------
def after_step(program: Program, values: Values, step: int | None = None) -> dict[str, Array]:
    """Return values of :func:`~.run.run_codes` as the network at one timestep has them, ``(n, *shape)``: what has come
    of each after ``step`` steps, by default after all. Of a Program without a clock they are that already."""
    clock = program.clock
    if clock is None:
        return dict(values)
    now, kinds = clock.steps if step is None else step, kinds_of(program)
    return {name: _come(x, kinds[name], now) for name, x in values.items()}


def _come(x: Array, kind: Kind, now: int) -> Array:
    if kind.held:
        return x
    return x[:, now - 1] if kind.total else x[:, :now].sum(axis=1, dtype=np.int32)


def active_steps(emitted: Mapping[str, Array]) -> Array:
    """Return in which steps anything was emitted, ``(n, steps)``, of values ``(n, steps, *shape)``."""
    flags = [(v != 0).reshape(*v.shape[:2], -1).any(axis=2) for v in emitted.values()]
    return np.asarray(np.logical_or.reduce(flags))


def final_charges(program: Program, values: Values) -> dict[str, Array]:
    """Return what every population has summed up after the last step, ``(n, *shape)``, int64: its potential in units of
    the accumulator at one timestep, nothing taken off for what was emitted.

    ``values`` are those of all steps that are no moves, and of the inputs. Held codes have arrived as a whole.
    """
    assert program.clock is not None
    counts, charges = after_step(program, values), {}
    for step in program.steps:
        if isinstance(step, Move):
            counts[step.name] = step.op.apply(*(counts[s] for s in step.sources))
        elif isinstance(step, Population) and step.name not in program.clock.pace:
            counts[step.name] = plain_steps.accumulate(step, counts)
        elif isinstance(step, Population):
            pace = program.clock.pace[step.name]
            came = plain_steps.accumulate(step, counts) + pace.initial.astype(np.int64) + pace.bias.astype(np.int64)
            charges[step.name] = np.broadcast_to(came, (len(came), *step.shape))
    return charges
