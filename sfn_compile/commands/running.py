"""Run a build: samples to codes, integers in the Program or on a target, decoded to the model's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..data.given import Progress, unseen
from ..data.sources import data_of_build
from ..files import build_folder, sealed
from ..files.build_checks import check_answers
from ..foundation.diagnostics import fail
from ..foundation.options import ONE_PROCESS, Machine
from ..foundation.preparation import Given
from ..foundation.samples import Samples, n_samples, summed
from ..host.codec import answered, encode_all
from ..host.model_inputs import Beginning, open_beginning
from ..host.model_outputs import Answers, Ending, named, open_ending
from ..program.network import Program
from ..program.signals import shapes_over_time
from ..simulator.early import answer_values
from ..simulator.run import run_codes
from ..targets import backend
from ..targets.backend import RunRequest
from ..targets.target_records import read_record

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Runner:
    """A build that was opened: what turns samples of the model's inputs into integers and outputs on one target."""

    folder: Path
    manifest: Mapping[str, Any]
    program: Program
    beginning: Beginning
    ending: Ending
    on: str = "sim"

    @staticmethod
    def open(folder: Path, on: str = "sim") -> Runner:
        """Return the runner of a build folder. Raises SFN503, and SFN604 where it does not hold the target."""
        manifest, program = build_folder.open_build(folder, *used(folder, on))
        ending, beginning = open_ending(folder, manifest, program), open_beginning(folder, manifest)
        return Runner(folder, manifest, program, beginning, ending, on)

    def codes(self, x: Samples, machine: Machine = ONE_PROCESS, time_limit: float = 1800.0) -> dict[str, Array]:
        """Return every integer ``(n, *shape)`` by value name: of the inputs and of every population; over time those
        of every step."""
        codes = encode_all(self.program, self.beginning.samples(x))
        return dict(execute(self.program, self.folder, self.on, codes, True, time_limit, machine))

    def answers(self, x: Samples, machine: Machine = ONE_PROCESS, time_limit: float = 1800.0) -> Answers:
        """Return the model's outputs by name: arrays ``(n, ...)``, or a tuple with an array per sample where the shape
        differs from sample to sample."""
        x = self.beginning.samples(x)
        values = execute(self.program, self.folder, self.on, encode_all(self.program, x), False, time_limit, machine)
        names = held(self.program, self.folder, self.on)
        values = answer_values(self.program, {v: values[theirs] for v, theirs in names.items()})
        decoded = {d.name: answered(d, values) for d in self.program.outputs}
        return self.ending.answers(decoded, x if self.program.frames is None else summed(x), n_samples(x))


def run_build(
    folder: Path, data: Path | Given, on: str = "sim", codes: bool = False, time_limit: float = 1800.0,
    machine: Machine = ONE_PROCESS, progress: Progress = unseen,
) -> dict[str, Array]:  # fmt: skip
    """Return the outputs ``(n, ...)`` of a build on a target, by ONNX output name (``name/i`` for sample i where the
    shape of an output differs from sample to sample).

    ``codes``: the raw integers of every population and the input instead of decoded real outputs, over
    time those of every step. ``machine``: engine and threads of the simulator.
    """
    machine.check()
    runner = Runner.open(folder, on)
    x = data_of_build(data, runner.manifest, progress=progress).x
    progress(f"run on {on}", 0, 1)
    return runner.codes(x, machine, time_limit) if codes else named(runner.answers(x, machine, time_limit))


def used(folder: Path, on: str) -> tuple[str, ...]:
    """Return the part of a build that target ``on`` is executed from, none for ``sim``, which runs the Program itself.

    Raises SFN503, and SFN604 where the build does not hold the target.
    """
    if on == "sim":
        return ()
    backend.load(on)
    if on not in sealed.held_targets(sealed.read_manifest(folder)):
        raise fail("SFN604", f"the build holds no target {on!r}", str(folder), f"compile with --target {on}")
    return (on, "targets")


def held(program: Program, folder: Path, on: str) -> Mapping[str, str]:
    """Return what each value that outputs are decoded from is called on a target."""
    return {v: v for v in program.decoded()} if on == "sim" else read_record(folder, on, program).outputs


def execute(
    program: Program, folder: Path, on: str, codes: Mapping[str, Array], every: bool, time_limit: float,
    machine: Machine = ONE_PROCESS,
) -> Mapping[str, Array]:  # fmt: skip
    """Return integers by the names that they have on a target: of ``every`` value, else of those that outputs need.

    Raises SFN601 where the target cannot be executed here.
    """
    if on == "sim":
        wanted_here = None if every else program.decoded()
        return run_codes(program, codes, wanted_here, machine.engine, machine.threads)
    target = backend.load(on)
    why = target.available()
    if why is not None:
        raise fail("SFN601", why, on)
    names = held(program, folder, on)
    # No golden integers: the target has to compute the whole network by itself, however long that takes.
    request = RunRequest(codes, {}, time_limit, None if every else frozenset(names.values()))
    values = target.run(folder / on, request).values
    over_time = shapes_over_time(program)
    shapes = {names[p.value]: over_time[p.value] for d in program.outputs for p in d.parts}
    check_answers(values, shapes, n_samples(codes), f"target {on}")
    return values
