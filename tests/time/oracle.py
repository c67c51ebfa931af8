"""A clocked Program in plain Python integers, written from ``docs/spec/time.md`` in its other spelling.

Where the document gives a neuron a charge and a count, this one has a potential that is reset softly, at the scale of
the whole window: ``T`` times what spikes bring, plus the whole of what is constant, against ``T theta``. So it shares
neither code nor formula with the engines. One sample at a time; values are nested lists with a batch of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sfn_compile.program import network as p

from ..program import oracle as plain

Nested = Any


def clip(x: int, lo: int, hi: int) -> int:
    """``x``, but no less than ``lo`` and no more than ``hi``."""
    return max(lo, min(hi, x))


def each(shape: tuple[int, ...], value: Callable[..., int]) -> Nested:
    """A batch of one sample of ``shape``."""
    return plain.build((1, *shape), value)


class Oracle:
    """A network that is given one step after the other; ``emitted`` and ``count`` by name are what it did."""

    def __init__(self, program: p.Program):
        assert program.clock is not None
        self.program, self.clock, self.info, self.now = program, program.clock, program.values(), 0
        self.emitted: dict[str, Nested] = {}
        self.count: dict[str, Nested] = {}
        self.potential: dict[str, Nested] = {}
        self.charge: dict[str, Nested] = {}
        self.held: dict[str, Nested] = {}

    def step(self, inputs: dict[str, Nested]) -> None:
        """Compute a step: constant codes, the same every time, or the codes that a frame adds."""
        before = {name: self._so_far(name, self.now) for name in self.info if self._known(name)}
        self.now += 1
        for e in self.program.inputs:
            if self.clock.presents == "constant":
                self.held[e.value] = inputs[e.value]
            else:
                self._emit(e.value, inputs[e.value])
        for step in self.program.steps:
            if isinstance(step, p.Population):
                self._population(step, before)
            elif isinstance(step, p.MaxPool):
                lo = self.info[step.source].lo
                window = (step.kernel, step.strides, step.pads, step.dilations)
                self._become(step.name, plain.max_pool(self._so_far(step.source, self.now), *window, lo))
            elif isinstance(step, p.Normalization):
                self._normalization(step)
            else:
                self._move(step)

    # -- values over time ---------------------------------------------------------------------------------------------
    def _known(self, name: str) -> bool:
        return name in self.held or name in self.count

    def _so_far(self, name: str, after: int) -> Nested:
        """Counts, and of held codes the whole units that a share of the window is worth."""
        share, steps = min(after, self.clock.timesteps), self.clock.timesteps
        zeros = each(self.info[name].shape, lambda *i: 0)
        held, count = self.held.get(name, zeros), self.count.get(name, zeros)
        return each(self.info[name].shape, lambda *i: plain.at(held, i) * share // steps + plain.at(count, i))

    def _emit(self, name: str, units: Nested) -> None:
        self.emitted[name] = units
        old = self.count.get(name, each(self.info[name].shape, lambda *i: 0))
        self.count[name] = each(self.info[name].shape, lambda *i: plain.at(old, i) + plain.at(units, i))

    def _become(self, name: str, count: Nested) -> None:
        old = self.count.get(name, each(self.info[name].shape, lambda *i: 0))
        self.emitted[name] = each(self.info[name].shape, lambda *i: plain.at(count, i) - plain.at(old, i))
        self.count[name] = count

    def _move(self, step: p.Move) -> None:
        for part in (self.held, self.emitted):
            if any(s in part for s in step.sources):
                zeros = {s: each(self.info[s].shape, lambda *i: 0) for s in step.sources}
                read = [np.array(part.get(s, zeros[s]), object) for s in step.sources]
                moved = step.op.apply(*read).tolist()
                if part is self.held:
                    self.held[step.name] = moved
                else:
                    self._emit(step.name, moved)

    # -- what fires ---------------------------------------------------------------------------------------------------
    def _population(self, step: p.Population, before: dict[str, Nested]) -> None:
        pace, steps = self.clock.pace[step.name], self.clock.timesteps
        spikes = [mapped(q.map, self.emitted[q.source]) for q in step.projections if q.source in self.emitted]
        spikes += [self._change(q, before) for q in step.products]
        whole = [mapped(q.map, self.held[q.source]) for q in step.projections if q.source in self.held]
        bias, initial = pace.bias.tolist(), pace.initial.tolist()
        now = self.now <= steps

        def arriving(*i: int) -> int:
            constant = sum(plain.at(x, i) for x in whole) + plain.broadcast(bias, i[1:])
            return steps * sum(plain.at(x, i) for x in spikes) + (constant if now else 0)

        old = self.charge.get(step.name, each(step.shape, lambda *i: steps * plain.broadcast(initial, i[1:])))
        self.charge[step.name] = each(step.shape, lambda *i: plain.at(old, i) + arriving(*i))
        self._fire(step, pace, each(step.shape, arriving))

    def _change(self, q: p.Product, before: dict[str, Nested]) -> Nested:
        """What a product of two values changed by in this step."""
        pair, weight = (q.left, q.right), q.form.weight.tolist()
        made = multiplied(q.form, *(self._so_far(s, self.now) for s in pair), weight)
        nothing = {s: each(self.info[s].shape, lambda *i: 0) for s in pair}
        old = multiplied(q.form, *(before.get(s, nothing[s]) for s in pair), weight)
        return each(plain.shape_of(made)[1:], lambda *i: plain.at(made, i) - plain.at(old, i))

    def _fire(self, step: p.Population, pace: p.Pace, arriving: Nested) -> None:
        ladder, steps = step.ladder, self.clock.timesteps
        if isinstance(ladder, p.Readout):
            offset = ladder.offset.tolist()
            charge = self.charge[step.name]
            said = each(step.shape, lambda *i: plain.at(charge, i) // steps + plain.broadcast(offset, i[1:]))
            self.emitted[step.name] = self.count[step.name] = said
        elif isinstance(ladder, p.Uniform):
            self._soft_reset(step, ladder, pace, arriving)
        else:
            self._say(step, self._codes(step), pace)

    def _soft_reset(self, step: p.Population, ladder: p.Uniform, pace: p.Pace, arriving: Nested) -> None:
        steps, shape = self.clock.timesteps, step.shape
        theta, offset = ladder.theta.tolist(), ladder.offset.tolist()
        start = each(shape, lambda *i: steps * (plain.broadcast(pace.initial.tolist(), i[1:])
                                                + plain.broadcast(offset, i[1:])))  # fmt: skip
        old = self.potential.get(step.name, start)
        v = each(shape, lambda *i: plain.at(old, i) + plain.at(arriving, i))
        c = self.count.get(step.name, each(shape, lambda *i: 0))

        def units(*i: int) -> int:
            reached = plain.at(c, i) + plain.at(v, i) // (steps * plain.broadcast(theta, i[1:]))
            wanted = clip(reached, ladder.lo, ladder.hi) - plain.at(c, i)
            return clip(wanted, pace.least, pace.most) if self.now > pace.start else 0

        k = each(shape, units)
        self.potential[step.name] = each(
            shape, lambda *i: plain.at(v, i) - steps * plain.broadcast(theta, i[1:]) * plain.at(k, i)
        )
        self._emit(step.name, k)

    def _codes(self, step: p.Population) -> Nested:
        """The codes of ladders without a reset, of whole units of charge."""
        ladder, charge, steps = step.ladder, self.charge[step.name], self.clock.timesteps
        acc = each(step.shape, lambda *i: plain.at(charge, i) // steps)
        if isinstance(ladder, p.Table):
            return plain.fire_table(acc, ladder.table.tolist(), ladder.codes.tolist())
        if isinstance(ladder, p.RowTable):
            tables = (ladder.offset.tolist(), ladder.axis, ladder.table.tolist(), ladder.codes.tolist())
            return plain.fire_row_table(acc, *tables)
        assert isinstance(ladder, p.Ratio)
        assert step.norm is not None
        norm = plain.row_sum(self._so_far(step.norm.source, self.now), step.norm.axis)
        return plain.fire_ratio(acc, norm, ladder.offset.tolist(), ladder.theta.tolist(), ladder.lo, ladder.hi)

    def _normalization(self, step: p.Normalization) -> None:
        terms = [plain.identity(self._so_far(q.source, self.now), q.map.weight.tolist()) for q in step.projections]
        x = each(step.shape, lambda *i: sum(plain.at(t, i) for t in terms))
        of = step.ladder
        form = (step.axes, step.centred, step.epsilon, step.bits, step.gain.tolist(), of.offset.tolist())
        codes = plain.normalize(x, *form, of.theta.tolist(), of.lo, of.hi)
        self._say(step, codes, self.clock.pace[step.name])

    def _say(self, step: p.Population | p.Normalization, codes: Nested, pace: p.Pace) -> None:
        c = self.count.get(step.name, each(step.shape, lambda *i: 0))
        speaks = self.now > pace.start
        self._emit(step.name, each(
            step.shape, lambda *i: clip(plain.at(codes, i) - plain.at(c, i), pace.least, pace.most) if speaks else 0
        ))  # fmt: skip


def mapped(m: p.LinearMap, s: Nested) -> Nested:
    """A linear map of a batch of one."""
    w = m.weight.tolist()
    if isinstance(m, p.Dense):
        return plain.dense(s, w)
    if isinstance(m, p.Conv):
        return plain.conv(s, w, m.strides, m.pads, m.dilations, m.groups)
    if isinstance(m, p.SumPool):
        return plain.sum_pool(s, m.kernel, m.strides, m.pads, w)
    if isinstance(m, p.Identity):
        return plain.identity(s, w)
    return plain.gather(s, m.index.tolist(), w)


def multiplied(form: p.ProductForm, left: Nested, right: Nested, weight: Nested) -> Nested:
    """A product of two batches of one."""
    return (plain.matmul if isinstance(form, p.Matmul) else plain.product_of)(left, right, weight)
