"""A network over time that is fed while things happen: a step at a time, an answer after each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..commands.running import Runner
from ..data import arrays
from ..data.given import Asked
from ..files import build_folder
from ..foundation.diagnostics import fail
from ..foundation.samples import RunningSum, Samples, n_samples
from ..host.codec import answered, encode
from ..simulator.stepping import Stepping

Array = NDArray[Any]


class Stream:
    """Samples that are shown to a network step by step, n of them beside each other; made by ``Network.stream``.

    Whatever it says after a step is what the network as a whole says of the same steps, integer by integer.
    """

    def __init__(self, runner: Runner):
        self._runner, program = runner, runner.program
        if program.clock is None:
            raise fail("SFN605", "the network answers in one timestep, there is nothing to stream",
                       fix="compile it with timesteps=8; frames of events with input_coding='frames' too")  # fmt: skip
        if runner.beginning.head is not None:
            raise fail("SFN605", "the start of this model runs on the host, on whole samples",
                       fix="compile from the tensor behind it: start=...")  # fmt: skip
        self._clock, self._steps = program.clock, Stepping(program)
        self._inputs = build_folder.model_inputs(runner.manifest)
        self._sums: dict[str, RunningSum] = {}
        self._x: Samples = {}  # what has been shown, summed up
        self._codes: dict[str, Array] = {}  # of that
        self._adds: dict[str, Array] = {}  # what the next step brings of them

    @property
    def steps(self) -> int:
        """The number of steps that are over."""
        return self._steps.now

    @property
    def spikes(self) -> dict[str, Array]:
        """What every population emitted in the last step, by name, ``(n, *shape)``, int32."""
        return {p.name: self._steps.emitted[p.name] for p in self._clock.paces if p.least or p.most}

    @property
    def proved(self) -> Array:
        """For which samples the answer is that of the network at one timestep, bit for bit, ``(n,)``.

        So it is where a step passes without a spike once all input has come, if spikes can be taken back. Raises SFN605
        before the first step.
        """
        if not self.steps:
            raise fail("SFN605", "no step was made yet", fix="stream.step(frame)")
        over = self._clock.certifies and self.steps >= self._clock.timesteps
        quiet = self._steps.is_quiet
        return quiet if over else np.zeros_like(quiet)

    def step(self, *x: Any) -> Any:
        """Make one step and return the model's outputs so far ``(n, ...)``; of several outputs a dict by name.

        Of a network for frames ``x`` is the next frame ``(n, *shape)``, or nothing where no event came or the recording
        is over; of one that is shown the same input in every step it is that input, in the first step. Raises SFN302
        to SFN305, SFN303 also where n changes, SFN605 without a first input, SFN609 for one too many.
        """
        if x:
            self._show(x[0] if len(x) == 1 else x)
        elif not self._x:
            raise fail("SFN605", "the first step has no input", fix="stream.step(frame), with zeros where nothing came")
        self._steps.step(self._adds)
        if self._clock.presents == "frames":
            self._adds = {name: np.zeros_like(codes) for name, codes in self._adds.items()}
        program, ending = self._runner.program, self._runner.ending
        decoded = {d.name: answered(d, {v: self._steps.so_far(v) for v in d.values}) for d in program.outputs}
        found = ending.answers(decoded, self._x, n_samples(self._x))
        return next(iter(found.values())) if len(found) == 1 else dict(found)

    def _show(self, given: Any) -> None:
        """Take in the input of a step."""
        x = arrays.read(given, Asked(self._inputs)).x
        if self._x and self._clock.presents == "constant":
            raise fail("SFN609", "the same input is there in every step", fix="stream.step() goes on with it")
        if self.steps >= self._clock.timesteps:
            raise fail("SFN609", f"frame {self.steps + 1} of a network with {self._clock.timesteps} timesteps",
                       fix="stream.step() goes on without a frame; net.stream() begins anew")  # fmt: skip
        if self._x and n_samples(x) != n_samples(self._x):
            raise fail("SFN303", f"{n_samples(x)} samples in this frame, {n_samples(self._x)} in those before")
        if self._clock.presents == "frames":
            self._sums = self._sums or {name: RunningSum(frame) for name, frame in x.items()}
            x = {name: self._sums[name].add(frame) for name, frame in x.items()}
        self._x, before = x, self._codes
        self._codes = {e.value: encode(e, x[e.name]) for e in self._runner.program.inputs}
        self._adds = {name: codes - before.get(name, 0) for name, codes in self._codes.items()}
