"""A clocked Program by its definition (``docs/spec/time.md``), one step after the other, in int64.

Every population keeps its charge and its count and adds to the charge what arrives. The fast engine
(:mod:`.clocked_steps`) computes charges from the counts instead, all steps together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..program import arithmetic
from ..program.clock import Clock, Pace
from ..program.network import MaxPool, Move, Normalization, Population, Program, Readout, Step
from ..program.products import Product
from ..program.signals import is_relay, kinds_of
from .plain_steps import fire, run_step

Array = NDArray[Any]
Values = Mapping[str, Array]


class PlainClock:
    """A clocked Program and where it is: step by step, or all steps at once (:func:`run_clock`).

    ``emitted``: what every value with a sent part did in the last step, ``(n, *shape)``, a readout what it adds up to.
    ``counts``: what it has emitted since the first step; ``held``: the part of a value that is there in every step.
    ``charges``: what every population has summed up.
    """

    def __init__(self, program: Program):
        assert program.clock is not None
        self.program, self.clock, self.now = program, program.clock, 0
        self.kinds, self.info = kinds_of(program), program.values()
        self.held: dict[str, Array] = {}
        self.emitted: dict[str, Array] = {}
        self.counts: dict[str, Array] = {}
        self.before: dict[str, Array] = {}
        self.charges: dict[str, Array] = {}

    def step(self, inputs: Values) -> dict[str, Array]:
        """Compute one step and return :attr:`emitted`.

        ``inputs``: constant codes ``(n, *shape)``, the same in every step, or the codes of this step's frame, zeros
        behind the last.
        """
        self.now, self.before, self.counts = self.now + 1, self.counts, dict(self.counts)
        for e in self.program.inputs:
            if self.kinds[e.value].held:
                self.held[e.value] = inputs[e.value].astype(np.int64)
            else:
                self._send(e.value, inputs[e.value].astype(np.int64))
        for step in self.program.steps:
            self._compute(step)
        return self.emitted

    def _compute(self, step: Step) -> None:
        if is_relay(step, self.program):
            self._hand_on(step)
        elif isinstance(step, MaxPool):
            self._become(step.name, run_step(step, self._so_far(step.sources), self.info))
        elif isinstance(step, Population):
            self._fire(step, self.clock.pace[step.name])
        elif isinstance(step, Normalization):
            self._pace(step.name, step.apply(*self._so_far(step.sources).values()), self.clock.pace[step.name])
        else:
            assert isinstance(step, Move)

    def _hand_on(self, step: Step) -> None:
        kind = self.kinds[step.name]
        if kind.held:
            self.held[step.name] = _moved(step, self._parts(step, self.held))
        if kind.sent:
            self._send(step.name, _moved(step, self._parts(step, self.emitted)))

    def _parts(self, step: Step, part: Values) -> dict[str, Array]:
        """Return one part of everything that a step reads; zeros where a value has no such part."""
        n = len(next(part[s] for s in step.sources if s in part))
        return {s: part[s] if s in part else np.zeros((n, *self.info[s].shape), np.int64) for s in step.sources}

    def _fire(self, step: Population, pace: Pace) -> None:
        acc = self._driven(step) + _came(self._whole(step) + pace.bias.astype(np.int64), self.now, self.clock)
        charge = self.charges.get(step.name, pace.initial.astype(np.int64)) + acc
        self.charges[step.name] = charge = np.broadcast_to(charge, (len(charge), *step.shape))
        code = fire(step, charge, self._so_far([] if step.norm is None else [step.norm.source]))
        if isinstance(step.ladder, Readout):
            self.emitted[step.name] = self.counts[step.name] = code
        else:
            self._pace(step.name, code, pace)

    def _driven(self, step: Population) -> Array:
        """Return what reaches the accumulator in this step: of spikes what they weigh, of products how they changed."""
        acc: Array = np.zeros((1,) * (1 + len(step.shape)), np.int64)
        for p in step.projections:
            if self.kinds[p.source].sent:
                acc = acc + p.map.apply(self.emitted[p.source])
        for q in step.products:
            acc = acc + (self._product(q, self.now) - self._product(q, self.now - 1))
        return acc

    def _product(self, q: Product, after: int) -> Array:
        sources = self._so_far((q.left, q.right), after)
        return q.form.apply(sources[q.left], sources[q.right])

    def _whole(self, step: Population) -> Array:
        """Return the charge that the held parts of its sources bring over the window."""
        parts = [p.map.apply(self.held[p.source]) for p in step.projections if self.kinds[p.source].held]
        return sum(parts, start=np.zeros((1,) * (1 + len(step.shape)), np.int64))

    def _so_far(self, names: Collection[str], after: int | None = None) -> dict[str, Array]:
        """Return what has come of values after a number of steps, this one or the one before: counts, and held codes
        by the share of the window that is over."""
        after = self.now if after is None else after
        counts = self.counts if after == self.now else self.before
        found = {}
        for name in names:
            total: Array = np.zeros((), np.int64)
            if name in self.held:
                total = total + arithmetic.arrived(self.held[name], after, self.clock.timesteps)
            if self.kinds[name].sent:
                total = total + counts.get(name, np.zeros_like(self.counts[name]))
            found[name] = total
        return found

    def _pace(self, name: str, code: Array, pace: Pace) -> None:
        count = self.before.get(name, np.zeros_like(code))
        if self.now <= pace.start:
            self.emitted[name], self.counts[name] = np.zeros_like(code), count
        else:
            self.emitted[name], self.counts[name] = arithmetic.fire_paced(code, count, pace.least, pace.most)

    def _send(self, name: str, emitted: Array) -> None:
        total = self.kinds[name].total
        self.emitted[name], self.counts[name] = emitted, emitted if total else self.before.get(name, 0) + emitted

    def _become(self, name: str, count: Array) -> None:
        self.emitted[name], self.counts[name] = count - self.before.get(name, 0), count


def _moved(step: Step, parts: Values) -> Array:
    """Return what a move, or a population that holds moved codes, makes of one part of its sources."""
    if isinstance(step, Move):
        return step.op.apply(*(parts[s] for s in step.sources))
    assert isinstance(step, Population)
    total: Array = np.asarray(sum(p.map.apply(parts[p.source]) for p in step.projections))
    return np.broadcast_to(total, (len(total), *step.shape))


def _came(charge: Array, now: int, clock: Clock) -> Array:
    """Return what this step brings of a charge that comes evenly over the window."""
    after, before = (arithmetic.arrived(charge, t, clock.timesteps) for t in (now, now - 1))
    return after - before
