"""What the values of a clocked Program are over time: held, sent, or both side by side.

A *held* value is there in every step of the window: a constant input, and what only moves it. A *sent* one arrives in
pieces that add up: spikes, and what is computed of them. A Concat of the two has parts of both kinds.
"""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import assert_never

from .network import MaxPool, Move, Normalization, Population, Program, Readout, Shape, Step


@dataclass(frozen=True)
class Kind:
    """Whether a value has a held part, and whether it has a sent one.

    ``total``: it is told as what it adds up to, step by step, as readouts are.
    """

    held: bool
    sent: bool
    total: bool = False

    @property
    def told(self) -> bool:
        """Whether it is one thing over time, and can be told: not where it is held and sent side by side."""
        return self.held != self.sent


def kinds_of(program: Program) -> dict[str, Kind]:
    """Return what every value is over time. Without a clock all are sent, in one piece."""
    constant = program.clock is not None and program.clock.presents == "constant"
    kinds = {e.value: Kind(constant, not constant) for e in program.inputs}
    for step in program.steps:
        kinds[step.name] = _kind(step, program, kinds)
    return kinds


def is_relay(step: Step, program: Program) -> bool:
    """Whether a step hands on what it reads within the same step, each part as it is: a move, or a population without
    a pace, which holds moved codes."""
    if isinstance(step, Move):
        return True
    return isinstance(step, Population) and program.clock is not None and step.name not in program.clock.pace


def _kind(step: Step, program: Program, kinds: dict[str, Kind]) -> Kind:
    if is_relay(step, program):
        sources = [kinds[s] for s in step.sources]
        return Kind(*(any(flags) for flags in zip(*((k.held, k.sent, k.total) for k in sources), strict=True)))
    if isinstance(step, Population):
        return Kind(held=False, sent=True, total=isinstance(step.ladder, Readout))
    if isinstance(step, Normalization | MaxPool | Move):
        return Kind(held=False, sent=True)
    assert_never(step)


def shapes_over_time(program: Program) -> dict[str, Shape]:
    """Return the shape of one sample of every value as it is told: over time with the steps in front.

    Without those that are held and sent side by side, which are not told.
    """
    kinds, info, clock = kinds_of(program), program.values(), program.clock
    if clock is None:
        return {name: value.shape for name, value in info.items()}
    given = {e.value: clock.timesteps for e in program.inputs}  # frames come in the window alone
    return {
        name: value.shape if kinds[name].held else (given.get(name, clock.steps), *value.shape)
        for name, value in info.items()
        if kinds[name].told
    }


def depths_of(program: Program) -> dict[str, int]:
    """Return how many neurons a spike has passed where it becomes a value: 0 at the inputs."""
    depths = {e.value: 0 for e in program.inputs}
    for step in program.steps:
        before = max(depths[s] for s in step.sources)
        depths[step.name] = before + (0 if isinstance(step, MaxPool) or is_relay(step, program) else 1)
    return depths
