"""The float network and the spiking one side by side, piece by piece of the data.

A piece of samples makes a :class:`Tally`, and tallies are merged in the order of the samples. So the result is the same
number for number whether one process computes all pieces or many compute some, in whatever order they end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import build_folder
from ..foundation.diagnostics import fail
from ..foundation.options import Machine
from ..foundation.samples import Samples, n_samples, part, summed
from ..frontend.reference import FloatReference, original_names
from ..host.codec import answered, decoded, encode_all
from ..host.model_inputs import Beginning, open_beginning
from ..host.model_outputs import Ending, open_ending
from ..program.network import Decoding, Program
from ..simulator.early import answer_values
from ..simulator.run import run_codes
from .agreement import Agreement
from .each_sample import EachSample
from .labels import Judged, Labels, read_labels
from .over_time import StepTally, step_tally
from .truth import Judge, Truth

Array = NDArray[Any]
Progress = Callable[[str, int, int], None]
Compute = Callable[[Mapping[str, Array]], Mapping[str, Array]]
SCORES = frozenset({"affine", "move", "grid", "integer", "softmax", "log_softmax", "sigmoid"})
GATHERED = frozenset({"max_pool", "linear", "add", "mul"})  # what makes scores of whatever it reads
PIECE = 64  # samples; a part of the meaning of the sums, so the same wherever they are made


@dataclass
class Tally:
    """What one piece of the data, or several, add to the result."""

    n: int = 0
    scores: dict[str, Agreement] = field(default_factory=dict)
    judged: Judged | None = None
    over_time: StepTally | None = None
    task: tuple[str, Judge] | None = None  # with the name of its section
    each: EachSample = field(default_factory=EachSample)

    def merge(self, other: Tally) -> None:
        """Add what the samples behind these add."""
        for name, score in other.scores.items():
            if name in self.scores:
                self.scores[name].merge(score)
            else:
                self.scores[name] = score
        self.n += other.n
        self.each.merge(other.each)
        if self.over_time is not None and other.over_time is not None:
            self.over_time.merge(other.over_time)
        self.over_time = self.over_time or other.over_time
        if other.judged is not None:
            self.judged = self.judged or Judged(other.judged.kind)
            self.judged.merge(other.judged)
        if self.task is None or other.task is None:
            self.task = self.task or other.task
        else:
            self.task[1].merge(other.task[1])


@dataclass(frozen=True, eq=False)
class Pair:
    """Both networks, ready to run; ``compute`` makes the output integers, the simulator where it is None."""

    program: Program
    reference: FloatReference
    ending: Ending
    compute: Compute | None = None
    beginning: Beginning = field(default_factory=Beginning)

    def read_labels(self, given: Array | None, x: Samples, where: str) -> Labels | None:
        """Return the labels of the samples ``x``, understood beside the first output. Raises SFN307."""
        if given is None:
            return None
        name = self.ending.outputs[0]
        if name in self.ending.each:
            what = f"output {name!r} has another shape for every sample, and no labels are compared with it"
            raise fail("SFN307", what, where, "leave the array out: agreement needs none")
        first = part(x, slice(1))
        want = self.reference.run(first if self.program.frames is None else summed(first), self.ending.each)
        self._require_outputs(want)
        one = np.asarray(want[name])
        return read_labels(given, one.shape[1:], name, _scores(self.program, self.ending)[name].places, where)

    def _require_outputs(self, want: Mapping[str, Any]) -> None:
        """Raise SFN503 where the float network lacks an output of the spiking one."""
        unknown = [name for name in self.ending.outputs if name not in want]
        if unknown:
            raise fail("SFN503", f"model.onnx has no output {unknown[0]!r}, as the network has", "", "compile again")

    def float_answers(self, x: Samples) -> dict[str, Any]:
        """Return the model's outputs for samples, by the float network alone. Raises SFN106, SFN503."""
        want = self.reference.run(x if self.program.frames is None else summed(x), self.ending.each)
        self._require_outputs(want)
        return {name: want[name] for name in self.ending.outputs}

    def both(self, x: Samples) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the model's outputs for samples by both networks, the float one first. Raises SFN106, SFN503."""
        want, answers, _ = self._run(x)
        return {name: want[name] for name in self.ending.outputs}, answers

    def _run(self, x: Samples) -> tuple[dict[str, Any], dict[str, Any], Mapping[str, Array]]:
        """Return what the float network computes, the spiking one's outputs, and the integers that they come from, over
        time those of every step."""
        program, ending, n = self.program, self.ending, n_samples(x)
        at_once = x if program.frames is None else summed(x)
        want, x = self.reference.run(at_once, ending.each), self.beginning.samples(x)
        self._require_outputs(want)
        beside = x if program.frames is None else at_once
        compute = self.compute or partial(run_codes, program, keep=program.decoded())
        shown = compute(encode_all(program, x))
        values = answer_values(program, shown)
        return want, ending.answers({d.name: answered(d, values) for d in program.outputs}, beside, n), shown

    def tally(self, x: Samples, truth: Truth | None) -> Tally:
        """Return what the samples ``x`` add, and the truth about them where given. Raises SFN106."""
        program, ending, n = self.program, self.ending, n_samples(x)
        want, answers, shown = self._run(x)
        values = answer_values(program, shown)
        got = {**answers, **{d.name: decoded(d, values) for d in program.outputs}}
        tally = Tally(n, _scores(program, ending))
        for name, score in tally.scores.items():
            if name in want:  # a value that only constant folding made is unknown to the file
                score.add(want[name], got[name])
        if truth is not None and truth.task is not None:
            judge = truth.task.begin()
            judge.add(truth.held, want, answers)
            tally.task = truth.task.name, judge
        labels = None if truth is None else truth.labels
        first = ending.outputs[0]
        if first not in ending.each and np.shape(want[first]) == np.shape(got[first]):
            tally.each.add(want[first], got[first], labels.values if labels and labels.kind == "classes" else None)
        if labels is not None:
            # Whole numbers are classes where they are places; stored integers of scores are scores.
            places, number = tally.scores[first].places, np.float64
            judged = np.rint(got[first]).astype(np.int64) if places else np.asarray(got[first], number)
            tally.judged = Judged(labels.kind)
            tally.judged.add(labels, want[first] if places else np.asarray(want[first], number), judged)
        first = program.outputs[0].name
        if ending.tail is None and program.clock is not None and first in want:
            tally.over_time = step_tally(program, shown, np.asarray(want[first]), labels, x)
        return tally


@dataclass(frozen=True, eq=False)
class Build:
    """A build folder that was opened: what is needed to put its two networks side by side, and can be sent."""

    folder: Path
    manifest: Mapping[str, Any]
    program: Program

    @staticmethod
    def read(folder: Path) -> Build:
        """Return the build of a folder. Raises SFN503."""
        return Build(folder, *build_folder.open_build(folder))

    def open(self, machine: Machine, compute: Compute | None = None, float_threads: int | None = None) -> Pair:
        """Return both networks, ready to run."""
        ending = open_ending(self.folder, self.manifest, self.program)
        names = [i.name for i in build_folder.model_inputs(self.manifest)]
        batch, model = self.manifest["model"]["batch"], self.folder / "model.onnx"
        reference = reference_of(model, names, batch, [d.name for d in self.program.outputs], ending, float_threads)
        compute = compute or simulator(self.program, machine)
        return Pair(self.program, reference, ending, compute, open_beginning(self.folder, self.manifest))


def simulator(program: Program, machine: Machine) -> Compute:
    """Return the simulator of a Program's outputs as a function of its input codes."""
    wanted = program.decoded()
    return lambda codes: run_codes(program, codes, wanted, machine.engine, machine.threads)


def float_threads() -> int:
    """Return with how many threads onnxruntime runs here.

    Workers use this number, not their own: the same session splits its sums in the same way.
    """
    return os.cpu_count() or 1


def reference_of(
    path: Path, inputs: Sequence[str], batch: int | None, outputs: Sequence[str], ending: Ending,
    threads: int | None = None,
) -> FloatReference:  # fmt: skip
    """Return the float model to compare with; with a tail sample by sample, and with the values at the cut.

    ``outputs`` are those of the network, which is cut where a tail begins.
    """
    if ending.tail is None:
        return FloatReference(path, inputs, batch, threads=threads)
    known = original_names(path)
    return FloatReference(path, inputs, 1, [name for name in outputs if name in known], threads=threads)


def cuts(n: int, size: int = PIECE) -> list[slice]:
    """Return the pieces that ``n`` samples are computed in."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def measure(
    pair: Pair, x: Samples, truth: Truth | None, progress: Progress | None = None, size: int = PIECE
) -> dict[str, Any]:
    """Return the result of all samples, computed here, one piece after the other."""
    total, n = Tally(), n_samples(x)
    for piece in cuts(n, size):
        total.merge(pair.tally(part(x, piece), None if truth is None else truth[piece]))
        if progress is not None:
            progress("evaluate", piece.stop, n)
    return result(total, pair.ending.outputs)


def merged(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of tallies that come in the order of their samples."""
    total = Tally()
    for tally in tallies:
        total.merge(tally)
    return total


def result(total: Tally, outputs: Sequence[str]) -> dict[str, Any]:
    """Return ``{"outputs": agreement per output, "cut": ... per value that a host tail is fed}``, and ``accuracy`` or
    ``regression`` where labels are given, and the section of the task."""
    labelled = total.judged is not None and total.judged.kind == "classes"
    rows = {name: score.row(labelled and name == outputs[0]) for name, score in total.scores.items() if score.n}
    found: dict[str, Any] = {"outputs": {name: rows.pop(name) for name in outputs}}
    if set(total.scores) - set(outputs):
        found["cut"] = rows
    found["examples"] = total.each.rows()
    if total.over_time is not None:
        found["time"] = total.over_time.row()
    if total.judged is not None:
        found |= total.judged.row()
    if total.task is not None:
        name, judge = total.task
        found[name] = {**found.get(name, {}), **judge.row()}
    return found


def _scores(program: Program, ending: Ending) -> dict[str, Agreement]:
    scores = {d.name: Agreement(places=d.is_place, scores=_may_be_scores(d)) for d in program.outputs}
    if ending.tail is not None:
        for name, kind in ending.tail.kinds.items():
            scores[name] = Agreement(places=kind not in ("float", "double", "float16"), each=name in ending.each)
    return scores


def _may_be_scores(output: Decoding) -> bool:
    """Whether the functions behind an output's integers leave it a row of scores: none, or those that classes have.

    A Tanh, a clip or another curve ends what is read as values; in front of a maximum, mean or sum it says nothing.
    """
    behind = takewhile(lambda op: op.kind not in GATHERED, reversed(output.host))
    return all(op.kind in SCORES for op in behind)
