"""A clocked Program that is run one step at a time, as input comes in, by the kernels of the fast engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..program.network import Program
from ..program.signals import kinds_of
from .clocked_steps import Run, State
from .run import single_threaded_blas
from .run_clock import prepared

Array = NDArray[Any]


class Stepping:
    """Where a clocked Program stands: ``now`` steps are over.

    ``emitted``: what every value with a sent part did in the last step, ``(n, *shape)``, int32; of a readout what it
    adds up to, int64. It is what :func:`~.run.run_codes`, which computes all steps together, says of this step.
    """

    def __init__(self, program: Program):
        assert program.clock is not None
        self.program, self.clock = program, program.clock
        self.kinds, self.state = kinds_of(program), State()
        self.counts: dict[str, Array] = {}
        self.emitted: dict[str, Array] = {}

    @property
    def now(self) -> int:
        """The number of steps that are over."""
        return self.state.now

    @property
    def is_quiet(self) -> Array:
        """Which samples had no spike in the last step, ``(n,)``."""
        active = [self.emitted[p.name] != 0 for p in self.clock.paces if p.least or p.most]
        return ~np.logical_or.reduce([a.reshape(len(a), -1).any(axis=1) for a in active])

    def so_far(self, name: str) -> Array:
        """Return what a value with a sent part has come to, ``(n, *shape)``, int64: a count, or a readout."""
        return np.moveaxis(self.counts[name], -1, 0)

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute one step and return :attr:`emitted`.

        ``inputs``: constant codes ``(n, *shape)``, the same in every step, or what a frame adds to the codes.
        """
        run = Run(self.clock, self.kinds, self.state, 1)
        for e in self.program.inputs:
            codes = np.moveaxis(np.asarray(inputs[e.value], np.int32), 0, -1)
            if self.kinds[e.value].held:
                run.held[e.value] = codes
            else:
                run.counts[e.value] = (codes + self.counts.get(e.value, np.int32(0)))[..., None]
        with single_threaded_blas():
            for compute in prepared(self.program):
                compute(run)
        self.state.now += 1
        self.emitted = {name: self._emitted(name, counts[..., 0]) for name, counts in run.counts.items()}
        self.counts = {name: counts[..., 0].astype(np.int64) for name, counts in run.counts.items()}
        return self.emitted

    def _emitted(self, name: str, counts: Array) -> Array:
        """Return what a value ``(*shape, n)`` did in this step, ``(n, *shape)``."""
        if self.kinds[name].total:
            return np.moveaxis(counts.astype(np.int64), -1, 0)
        return np.moveaxis(counts.astype(np.int32) - self.counts.get(name, np.int32(0)), -1, 0).astype(np.int32)
