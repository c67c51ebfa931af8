"""Programs of the conformance suite over time, and samples for them: constant codes, or frames that add up to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_compile.foundation.options import Options
from sfn_compile.passes.mapping.clock import clocked, proved_settling, settled
from sfn_compile.program.network import Program
from sfn_compile.simulator.edge_inputs import edge_inputs

Array = NDArray[Any]

WAYS: dict[str, dict[str, Any]] = {
    "signed": {"timesteps": 4},
    "one unit": {"timesteps": 3, "burst": "1"},
    "no limit": {"timesteps": 5, "burst": "none"},
    "burst": {"timesteps": 4, "neuron": "burst"},
    "if": {"timesteps": 16, "neuron": "if", "levels": 16},
    "zero": {"timesteps": 4, "neuron": "burst", "initial_potential": "zero"},
    "window": {"neuron": "window", "levels": 31},
    "frames": {"timesteps": 4, "input_coding": "frames"},
}


def over_time(program: Program, way: str) -> Program:
    """Return a Program run over time, settled as proved where it can be. Raises SFN608."""
    made = clocked(program, Options(**WAYS[way]))
    assert made.clock is not None
    return settled(made, proved_settling(made)) if made.clock.certifies else made


def shown(program: Program, x: dict[str, Array], seed: int = 0) -> dict[str, Array]:
    """Return codes of a sample as the clock takes them: cut at random into frames where it takes frames."""
    if program.frames is None:
        return x
    return {name: frames_of(codes, program.frames, seed) for name, codes in x.items()}


def frames_of(codes: Array, n: int, seed: int = 0) -> Array:
    """Return ``(samples, n, *shape)`` that adds up to ``codes`` over the frames."""
    cuts = np.sort(np.random.default_rng(seed).integers(0, 101, (n - 1, *codes.shape)), axis=0)
    sums = np.concatenate([np.zeros_like(codes)[None], cuts * codes // 100, codes[None]])
    return np.moveaxis(np.diff(sums, axis=0), 0, 1)


def edges(program: Program) -> dict[str, Array]:
    """Return codes at the edges of what a Program takes, and random ones."""
    return edge_inputs(program.at_once(), 3)
