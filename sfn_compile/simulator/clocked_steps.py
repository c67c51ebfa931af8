"""The fast engine of a clocked Program: all steps of a layer together, before the next layer.

What a neuron has summed up after a step is what the network at one timestep would sum up on what has arrived by then:
sums are linear, and everything else is defined on counts. So every kernel of :mod:`.compiled_steps` is applied to the
counts of all steps, as if they were samples, with the number types that are proved for one timestep. What is left of
time is the pace: one loop over small integers.

Values are ``(*shape, n, steps)``. A run may begin where another ended: :class:`State`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ..program.arithmetic import arrived
from ..program.clock import Clock, Pace
from ..program.network import MaxPool, Move, Normalization, Population, Program, Readout, Step
from ..program.ranges import FLOAT64_EXACT
from ..program.signals import Kind, is_relay, kinds_of
from . import kernels
from .compiled_steps import Info, neurons, number_type, prepare_step, sums

Array = NDArray[Any]


@dataclass
class State:
    """Where a run is: steps that are over, and what every paced neuron has emitted in them, ``(*shape, n)``."""

    now: int = 0
    counts: dict[str, Array] = field(default_factory=dict)


@dataclass
class Run:
    """Steps of a run that are computed together: ``counts`` ``(*shape, n, steps)`` after each of them, ``held`` codes
    ``(*shape, n)``; ``state`` is brought to their end."""

    clock: Clock
    kinds: Mapping[str, Kind]
    state: State
    steps: int
    counts: dict[str, Array] = field(default_factory=dict)
    held: dict[str, Array] = field(default_factory=dict)

    @property
    def moments(self) -> range:
        """The numbers of steps that are over after each of these."""
        return range(self.state.now + 1, self.state.now + self.steps + 1)

    def so_far(self, name: str) -> Array:
        """Return what has come of a value after each step, ``(*shape, n * steps)``."""
        total = self.counts.get(name)
        if name in self.held:
            held = over_time(self.held[name].astype(np.int64), self.moments, self.clock.timesteps)
            total = (held if total is None else total + held).astype(np.int32)
        assert total is not None
        return folded(total)


Compute = Callable[[Run], None]


def prepare(program: Program) -> list[Compute]:
    """Return one function per step of a clocked Program, which adds its value to a run."""
    info, kinds = program.values(), kinds_of(program)
    return [_step(step, program, info, kinds) for step in program.steps]


def folded(x: Array) -> Array:
    """Return ``(*shape, n, steps)`` as ``(*shape, n * steps)``: every step of every sample is a sample."""
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])


def over_time(charge: Array, moments: range, timesteps: int) -> Array:
    """Return what has arrived of a charge ``(...)`` after each of ``moments``, ``(..., steps)``."""
    most = timesteps * int(np.abs(charge).max(initial=0))
    if most >= FLOAT64_EXACT:
        return np.stack([arrived(charge, t, timesteps) for t in moments], axis=-1)
    shares = np.array([min(t, timesteps) for t in moments], np.float64)
    product = charge.astype(np.float64)[..., None] * shares
    product /= timesteps  # its floor is that of the integers: below 2**53 no quotient is rounded up to a whole number
    return np.floor(product, out=product)


def _step(step: Step, program: Program, info: Info, kinds: Mapping[str, Kind]) -> Compute:
    assert program.clock is not None
    if is_relay(step, program):
        return _relay(step, info, kinds)
    if isinstance(step, Population):
        return _population(step, program.clock.pace[step.name], info, kinds)
    plain = prepare_step(step, info)
    if isinstance(step, Normalization):
        return _normalization(step, program.clock.pace[step.name], plain)
    if isinstance(step, MaxPool):
        return lambda run: run.counts.update({step.name: _unfolded(plain(_reads(step, run)), run)})
    if isinstance(step, Move):
        raise AssertionError("a move hands on")
    assert_never(step)


def _reads(step: Step, run: Run) -> dict[str, Array]:
    return {s: run.so_far(s) for s in step.sources}


def _unfolded(x: Array, run: Run) -> Array:
    return x.reshape(*x.shape[:-1], x.shape[-1] // run.steps, run.steps)


# -- what hands on --------------------------------------------------------------------------------------------------
def _relay(step: Step, info: Info, kinds: Mapping[str, Kind]) -> Compute:
    plain, kind = prepare_step(step, info), kinds[step.name]

    def compute(run: Run) -> None:
        if kind.held:
            run.held[step.name] = plain(_part(step, info, run.held))
        if kind.sent:
            moved = plain({s: folded(x) for s, x in _part(step, info, run.counts).items()})
            run.counts[step.name] = _unfolded(moved, run)

    return compute


def _part(step: Step, info: Info, part: Mapping[str, Array]) -> dict[str, Array]:
    """Return one part of everything that a step reads; zeros where a value has no such part."""
    like = next(part[s] for s in step.sources if s in part)
    behind = like.shape[len(info[next(s for s in step.sources if s in part)].shape) :]
    return {s: part[s] if s in part else np.zeros((*info[s].shape, *behind), like.dtype) for s in step.sources}


# -- what fires -----------------------------------------------------------------------------------------------------
def _normalization(step: Normalization, pace: Pace, plain: Callable[[Mapping[str, Array]], Array]) -> Compute:
    def compute(run: Run) -> None:
        run.counts[step.name] = paced(_unfolded(plain(_reads(step, run)), run), step.name, pace, run)

    return compute


def _population(step: Population, pace: Pace, info: Info, kinds: Mapping[str, Kind]) -> Compute:
    charge, fire = _charge(step, pace, info, kinds), neurons(step, info, _besides(pace))
    norm = () if step.norm is None else (step.norm.source,)

    def compute(run: Run) -> None:
        codes = _unfolded(fire(folded(charge(run)), {s: run.so_far(s) for s in norm}), run)
        run.counts[step.name] = codes if isinstance(step.ladder, Readout) else paced(codes, step.name, pace, run)

    return compute


def _besides(pace: Pace) -> int:
    """Return the largest magnitude of what a pace adds to an accumulator."""
    return sum(int(np.abs(x.astype(np.int64)).max(initial=0)) for x in (pace.initial, pace.bias))


def _charge(step: Population, pace: Pace, info: Info, kinds: Mapping[str, Kind]) -> Callable[[Run], Array]:
    """Return what makes the charges ``(*shape, n, steps)`` of a population after each step."""
    dtype = number_type(step, info, _besides(pace))
    sent, held = _projected(step, kinds, "sent"), _projected(step, kinds, "held")
    spikes = sums(sent, info, dtype) if sent.projections else None
    multiplied = sums(replace(step, projections=()), info, dtype) if step.products else None
    constant = sums(held, info, dtype) if held.projections else None
    bias, initial = (kernels.beside(x.astype(np.int64), len(step.shape)) for x in (pace.bias, pace.initial))

    def compute(run: Run) -> Array:
        whole = bias if constant is None else constant(run.held) + bias
        comes = (over_time(whole, run.moments, run.clock.timesteps) + initial[..., None]).astype(dtype)
        terms = [] if spikes is None else [spikes({p.source: folded(run.counts[p.source]) for p in sent.projections})]
        if multiplied is not None:
            terms.append(multiplied({s: run.so_far(s) for q in step.products for s in (q.left, q.right)}))
        if not terms:
            return comes
        total = _unfolded(terms[0], run)
        for other in (*(_unfolded(t, run) for t in terms[1:]), comes):
            total += other
        return total

    return compute


def _projected(step: Population, kinds: Mapping[str, Kind], part: str) -> Population:
    """Return a population that reads one part of its sources, ``held`` or ``sent``, and by projections alone."""
    return replace(step, projections=tuple(p for p in step.projections if getattr(kinds[p.source], part)), products=())


def paced(codes: Array, name: str, pace: Pace, run: Run) -> Array:
    """Return the counts after each step of neurons that would say ``codes`` ``(*shape, n, steps)``, written there.

    It is :func:`.arithmetic.fire_paced`, in the smallest type that holds every difference.
    """
    low, high = (int(codes.min(initial=0)), int(codes.max(initial=0)))
    count = run.state.counts.get(name)
    if count is not None:
        low, high = min(low, int(count.min(initial=0))), max(high, int(count.max(initial=0)))
    wide = np.int16 if max(high - low, high, -low) < 2**15 else np.int32
    count = np.zeros(codes.shape[:-1], wide) if count is None else count.astype(wide)
    least, most = max(pace.least, low - high), min(pace.most, high - low)
    emitted = np.empty_like(count)
    for i, moment in enumerate(run.moments):
        if moment > pace.start:
            np.subtract(codes[..., i], count, out=emitted, casting="unsafe")
            np.maximum(emitted, least, out=emitted)
            np.minimum(emitted, most, out=emitted)
            count += emitted
        codes[..., i] = count
    run.state.counts[name] = count
    return codes
