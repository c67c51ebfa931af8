"""What Loihi 1 cannot carry, checked before anything is written: nengo-loihi checks none of it where blocks are made
directly. Every number is of nengo-loihi 1.1.0 (``builder/discretize.py``)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_backends.loihi1 import synapses
from sfn_backends.loihi1.cores import SYNAPSE_BITS, WEIGHT_BITS
from sfn_compile.foundation.diagnostics import CompileError, Diagnostic
from sfn_compile.program.network import MaxPool, Move, Population, Program, Readout, Step, Table, Uniform
from sfn_compile.targets.backend import Capabilities

Array = NDArray[Any]
THRESHOLD = 2**17 - 1  # mantissa of a threshold
BIAS = 2**12 - 1  # mantissa of a bias, whose exponent is 6, or 7 where it is even
PLANES = 8  # bits of an input: weights of bit j have j more in their exponent, which ends at 7

CAPABILITIES = Capabilities(
    projections=frozenset({"Dense", "Conv", "SumPool", "Identity", "Gather"}),
    moves=frozenset(),
    max_pool=True,
    acc_bits=16,
    weight_bits=8,
    note="nengo-loihi 1.1.0, the emulator of Intel's first chip (SFNC_LOIHI1_PYTHON names its Python); one timestep",
)


def thresholds(step: Population | MaxPool) -> Array | None:
    """Return the thresholds of every neuron ``(*shape, levels)``: a level is reached with ``sum >= threshold``.

    None for a readout.
    """
    if isinstance(step, MaxPool):
        return None
    if isinstance(step.ladder, Readout):
        return None
    tau = step.ladder.thresholds()  # type: ignore[union-attr]
    return np.broadcast_to(tau, (*step.shape, tau.shape[-1]))


def lift(tau: Array) -> Array:
    """Return what is added to sum and thresholds of every neuron, so that no threshold is below 2: a bias."""
    return np.maximum(0, 2 - tau[..., 0])


def check_fits(program: Program, cores: int) -> None:
    """Raise SFN401 or SFN402 with all that no capability says, layer by layer. ``cores``: that may be used."""
    info = program.values()
    found = [
        Diagnostic("SFN402", f"input {e.value} has codes {e.lo}..{e.hi}; spikes are binary: bits of {PLANES} at most, "
                   "none below 0", e.name, "--input-levels 255 or fewer, and inputs from 0 on")
        for e in program.inputs if e.lo < 0 or e.hi.bit_length() > PLANES
    ]  # fmt: skip
    for step in program.steps:
        found += _problems(step, program, (info[step.name].lo, info[step.name].hi))
    if not found:
        found = _too_many_synapses(program, cores)
    if found:
        raise CompileError(found)


def _problems(step: Step, program: Program, span: tuple[int, int]) -> list[Diagnostic]:
    where = ", ".join(step.origin.nodes) or step.name
    inputs = {e.value for e in program.inputs}
    if isinstance(step, Move):
        return []
    if isinstance(step, MaxPool):
        what = f"{step.name} pools an input, whose bits have no order; a max pool reads levels of neurons"
        return [Diagnostic("SFN402", what, where, "a convolution before the pool")] if step.source in inputs else []
    if not isinstance(step, Population):
        return []  # refused by the capabilities
    if isinstance(step.ladder, Readout):
        return []
    even = isinstance(step.ladder, Uniform | Table) and list(step.ladder.code_values) == list(range(span[1] + 1))
    if not even:
        what = f"{step.name} has codes {span[0]}..{span[1]}, not all of 0..N, which N binary spikes say"
        return [Diagnostic("SFN402", what, where, "ReLU, or another function from 0 on, and steps of equal length")]
    return _numbers(step, where)


def _numbers(step: Population, where: str) -> list[Diagnostic]:
    tau = thresholds(step)
    assert tau is not None
    found, up = [], lift(tau)
    highest, bias = int((tau[..., -1] + up - 1).max(initial=0)), int(up.max(initial=0))
    if highest > THRESHOLD:
        what = f"a threshold of {step.name} is {highest}, its mantissa ends at {THRESHOLD}"
        found.append(Diagnostic("SFN401", what, where, "fewer --levels, or fewer --weight-bits"))
    wide = up[up > BIAS]
    if bias > 2 * BIAS or (wide % 2).any():
        what = f"a bias of {step.name} is {bias}, its mantissa has 12 bits"
        found.append(Diagnostic("SFN401", what, where, "--acc-bits 12, or a smaller bias in the model"))
    return found


def _too_many_synapses(program: Program, cores: int) -> list[Diagnostic]:
    """Return SFN402 where the weights alone pass the cores that may be used, before they are written out one by one."""
    info, inputs = program.values(), {e.value for e in program.inputs}
    bits = 0
    for step in program.populations():
        levels = 1 if isinstance(step.ladder, Readout) else info[step.name].hi
        for p in step.projections:
            lists = info[p.source].hi.bit_length() if p.source in inputs else 1
            bits += synapses.count(p.map, info[p.source].shape) * levels * lists * WEIGHT_BITS
    needed = math.ceil(bits / SYNAPSE_BITS)
    if needed <= 2 * cores:  # padding is in the count, and cores tell the rest
        return []
    fix = "fewer --levels and --input-levels, or a smaller network"
    return [Diagnostic("SFN402", f"its weights alone take {needed} cores, {cores} may be used", "", fix)]
