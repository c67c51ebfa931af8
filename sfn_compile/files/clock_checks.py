"""Does the clock of a Program fit its steps? The part of :mod:`.program_checks` that time adds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..program.broadcast import fits
from ..program.clock import Clock, Pace
from ..program.linear_maps import Shape
from ..program.network import CLOCKED_FORMAT, FORMAT, Normalization, Population, Program, Readout, Uniform, ValueInfo
from ..program.ranges import charge_range
from .decode import damaged

STEP_LIMIT = 1 << 24  # steps, and units in one of them
CHARGE_LIMIT = 1 << 52  # what comes to a neuron, times the steps of a window, fits 64 bits


def check_clock(program: Program, known: Mapping[str, ValueInfo]) -> None:
    """Raise SFN503 where the format and the clock contradict each other, or the clock and the steps."""
    clock, at = program.clock, "clock"
    wanted = FORMAT if clock is None else CLOCKED_FORMAT
    _require(program.format == wanted, at, f"a Program of format {program.format} that has it, or has it not")
    if clock is None:
        return
    _require(0 < clock.timesteps < STEP_LIMIT and 0 <= clock.settle < STEP_LIMIT, at, "it has no steps")
    _require(clock.margin is None or clock.margin >= 0, at, f"an early answer by a margin of {clock.margin}")
    steps = {s.name: s for s in program.steps if isinstance(s, Population | Normalization)}
    names = [p.name for p in clock.paces]
    _require(len(names) == len(set(names)) and set(names) <= steps.keys(), at, "it paces what does not fire")
    for name, step in steps.items():
        pace = clock.pace.get(name)
        if pace is not None:
            _check_pace(pace, clock, step.shape, isinstance(step.ladder, Readout))
        else:
            _require(isinstance(step, Population) and _holds_moved_codes(step), f"clock, {name!r}", "it has no pace")
        if isinstance(step, Population):
            low, high = charge_range(step, program, known)
            _require(max(-low, high) < CHARGE_LIMIT, f"clock, {name!r}", "its charge can leave 53 bits")


def _check_pace(pace: Pace, clock: Clock, shape: Shape, readout: bool) -> None:
    at = f"clock, {pace.name!r}"
    ok = pace.least == pace.most == 0 if readout else -STEP_LIMIT < pace.least <= 0 < pace.most < STEP_LIMIT
    _require(ok, at, f"it emits {pace.least}..{pace.most} units per step")
    _require(0 <= pace.start <= clock.steps, at, f"it begins with step {pace.start} of {clock.steps}")
    for array in (pace.initial, pace.bias):
        _require(array.size > 0 and fits(array.shape, shape), at, f"an array of shape {array.shape} beside {shape}")
        top = int(np.abs(array.astype(np.float64)).max())
        _require(top < CHARGE_LIMIT, at, f"a charge of {top} is too large")


def _holds_moved_codes(step: Population) -> bool:
    ladder = step.ladder
    ok = isinstance(ladder, Uniform) and not step.products and step.norm is None
    return ok and isinstance(ladder, Uniform) and bool((ladder.theta == 1).all() and (ladder.offset == 0).all())


def _require(holds: bool, at: str, what: str) -> None:
    if not holds:
        raise damaged(at, what)
