"""The last pass, ``clock``: a finished Program of one timestep gets a clock. Its weights and ladders stay as they are.

What the options ask for becomes a :class:`~.clock.Pace` per population; a layer that the neuron cannot count is refused
by name (SFN608). Meaning and proofs: ``docs/spec/time.md``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ...foundation.diagnostics import CompileError, Diagnostic
from ...foundation.options import Options
from ...foundation.time_options import RETRACTING
from ...program.clock import Clock, Pace, Presents
from ...program.network import Normalization, Population, Program, Step
from ...program.neurons import Ratio, Readout, RowTable, Table, Uniform
from ...program.signals import depths_of, kinds_of

Array = NDArray[Any]
Fired = Population | Normalization
NONE = np.zeros((), np.int64)


def clocked(program: Program, options: Options) -> Program:
    """Return the network run over time as the options say; settling steps only where they are stated or proved.

    Raises SFN608 with all layers that cannot run like that.
    """
    presents: Presents = "frames" if options.input_coding == "frames" else "constant"
    fired = [s for s in program.steps if isinstance(s, Population | Normalization)]
    found = program.clocked(Clock(options.window_steps, 0, presents, tuple(_pace(s, options) for s in fired)))
    problems = [d for s in fired for d in _problems(s, found, options)] + _mixed_outputs(found)
    if problems:
        raise CompileError(problems)
    if options.neuron == "window":
        return _in_turn(found)
    settle = proved_settling(found) if options.settle == "proved" else int(options.settle.replace("auto", "0"))
    return settled(found, settle)


def settled(program: Program, settle: int) -> Program:
    """Return the same clocked network with so many steps behind the window."""
    assert program.clock is not None
    return program.clocked(replace(program.clock, settle=settle))


# -- paces ------------------------------------------------------------------------------------------------------------
def _pace(step: Fired, options: Options) -> Pace:
    if isinstance(step.ladder, Readout):
        return Pace(step.name, 0, 0, -step.ladder.offset, step.ladder.offset)
    lo, hi = step.ladder.lo, step.ladder.hi
    stated = options.most_units
    most = -(-max(hi, -lo) // options.window_steps) if stated is None else stated
    most = hi - lo if options.burst == "none" else max(most, 1)
    least = -most if options.neuron in RETRACTING else 0
    return Pace(step.name, least, most, *_charges(step, options))


def _charges(step: Fired, options: Options) -> tuple[Array, Array]:
    """Return (charge before the first step, charge that comes over the window beside the input).

    ``half``: half a threshold stays in the neuron from the start, the rest of its offset comes over the window.
    ``zero``: nothing is there at the start, and half a threshold never comes.
    """
    ladder = step.ladder
    if isinstance(ladder, Uniform):
        offset, half = ladder.offset.astype(np.int64), ladder.theta.astype(np.int64) // 2
    elif isinstance(ladder, Table):
        offset, half = _offset_of(ladder)
    elif isinstance(ladder, Ratio | RowTable | Readout):
        return NONE, NONE  # what is at once there is a share of a row that is known at run time only
    else:
        assert_never(ladder)
    bias = offset - half
    return np.asarray(-offset if options.initial_potential == "zero" else -bias), np.asarray(bias)


def _offset_of(ladder: Table) -> tuple[Array, Array]:
    """Return (offset, half a threshold) of the uniform ladder that is nearest: 0 and 0 where codes do not ascend."""
    if ladder.table.shape[-1] < 2 or not (np.diff(ladder.codes) > 0).all() or not ladder.lo <= 0 < ladder.hi:
        return NONE, NONE
    table = ladder.thresholds()
    theta = np.maximum(np.median(np.diff(table, axis=-1), axis=-1).astype(np.int64), 1)
    first = int(np.searchsorted(ladder.codes, 0, side="right")) - 1  # the threshold of the first code above 0
    return theta - table[..., first], theta // 2


# -- settling ---------------------------------------------------------------------------------------------------------
def _in_turn(program: Program) -> Program:
    """Return the network whose layers fire one after the other: each when all of its input has arrived."""
    clock, depths = program.clock, depths_of(program)
    assert clock is not None
    paces = tuple(replace(p, start=depths[p.name] * clock.timesteps) if p.most else p for p in clock.paces)
    deepest = max((depths[p.name] for p in paces if p.most), default=0)
    return program.clocked(replace(clock, settle=deepest * clock.timesteps, paces=paces))


def proved_settling(program: Program) -> int:
    """Return the steps behind the window after which every count is final for every input, the last of them quiet.

    When what a neuron reads is final, so is its code; it is then ``hi - lo`` units away at most, and says ``most`` of
    them in every step, this one included.
    """
    clock = program.clock
    assert clock is not None
    late = {e.value: 0 for e in program.inputs}
    for step in program.steps:
        late[step.name] = max(late[s] for s in step.sources) + _steps_to_say(step, clock)
    return max(late.values(), default=0) + 1 if clock.certifies else 0


def _steps_to_say(step: Step, clock: Clock) -> int:
    if not isinstance(step, Population | Normalization) or isinstance(step.ladder, Readout):
        return 0
    pace = clock.pace[step.name]
    return max(-(-(step.ladder.hi - step.ladder.lo) // max(min(pace.most, -pace.least), 1)) - 1, 0)


# -- refusals ---------------------------------------------------------------------------------------------------------
def _problems(step: Fired, program: Program, options: Options) -> list[Diagnostic]:
    ladder, where = step.ladder, ", ".join(step.origin.nodes) or step.name
    if isinstance(ladder, Readout):
        return []
    said, fix = f"--neuron {options.neuron}", "--neuron signed runs every layer over time"
    if not ladder.lo <= 0 <= ladder.hi:
        what = f"population {step.name!r} has codes {ladder.lo}..{ladder.hi}, and no spike at all would be none of them"
        return [Diagnostic("SFN608", what, where, "compile it for one timestep")]
    if options.neuron in RETRACTING:
        return []
    if ladder.lo < 0:
        what = f"{said}: population {step.name!r} has codes {ladder.lo}..{ladder.hi}, and no spike of it is negative"
        return [Diagnostic("SFN608", what, where, fix)]
    if options.neuron == "window":
        return _too_many(step, said, options, where)
    if not isinstance(ladder, Uniform):
        kind = type(ladder).__name__ if isinstance(step, Population) else "Normalization"
        what = f"{said}: population {step.name!r} has no evenly spaced thresholds that stay ({kind})"
        return [Diagnostic("SFN608", what, where, fix)]
    return _too_many(step, said, options, where)


def _too_many(step: Fired, said: str, options: Options, where: str) -> list[Diagnostic]:
    """Return SFN608 where single or limited spikes of a window do not reach the highest code."""
    assert not isinstance(step.ladder, Readout)
    steps, most, hi = options.window_steps, options.most_units, step.ladder.hi
    if most is None or steps * most >= hi:
        return []
    what = f"{said}: population {step.name!r} counts to {hi}, {steps} steps of at most {most} to {steps * most}"
    fix = (
        f"--timesteps {-(-hi // most)}, or --site {step.name}:levels={steps * most}; --fine-share 0 gives no site more"
    )
    return [Diagnostic("SFN608", what, where, fix)]


def _mixed_outputs(program: Program) -> list[Diagnostic]:
    """Return SFN608 for outputs that hold constant input codes beside spikes: no one number says both."""
    kinds = kinds_of(program)
    mixed = [(d.name, v) for d in program.outputs for v in d.values if kinds[v].held and kinds[v].sent]
    return [
        Diagnostic("SFN608", f"output {name!r} ({value}) holds the input itself beside spikes", name,
                   "--input-coding frames, or leave the input out of the output")
        for name, value in mixed
    ]  # fmt: skip
