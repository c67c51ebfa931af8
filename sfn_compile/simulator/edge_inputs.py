"""Input codes at the edges of what a Program takes: what a target most likely computes otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..program.network import Program

Array = NDArray[Any]


def edge_inputs(program: Program, n_random: int = 5, seed: int = 1) -> dict[str, Array]:
    """Return codes ``(n, *shape)``: all smallest, all largest, all zero, checkerboard of extremes, random.

    A second input is one step further in this list, so that extremes of both signs are combined.
    """
    rng = np.random.default_rng(seed)
    out = {}
    for i, e in enumerate(program.inputs):
        full = np.ones(e.shape, np.int64)
        board = np.where(np.indices(e.shape).sum(axis=0) % 2, e.lo, e.hi)
        fixed = np.roll(np.stack([full * e.lo, full * e.hi, full * min(max(0, e.lo), e.hi), board]), -i, axis=0)
        out[e.value] = np.concatenate([fixed, rng.integers(e.lo, e.hi + 1, (n_random, *e.shape))]).astype(np.int32)
    return out
