"""Evaluate a build: the float model and the spiking network beside each other, on data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.given import unseen
from ..data.sources import data_of_build
from ..evaluation.gates import NO_GATES, Gates, require_labels
from ..evaluation.pictures import picture
from ..evaluation.side_by_side import PIECE, Build, Compute, Pair, Progress, measure
from ..evaluation.spread import spread
from ..evaluation.truth import Truth
from ..files import build_folder
from ..files.atomic_files import disk
from ..files.sample_files import Data, rows_of_data
from ..foundation.diagnostics import Diagnostic, fail
from ..foundation.options import ONE_PROCESS, Machine, check_choice
from ..foundation.preparation import Given
from ..foundation.samples import Samples, by_name, summed
from ..foundation.task_options import NO_TASK, TaskOptions
from ..frontend.reference import FloatReference
from ..host.model_inputs import open_beginning
from ..host.model_outputs import Ending
from ..program.network import Program
from ..report import likeness
from ..report.page.document import refresh
from ..tasks.chosen import Chosen, chosen
from ..tasks.drawing import draw
from .running import execute, held, used

Array = NDArray[Any]
PICTURES = "pictures.json"
MOST_LOST = 1.0  # points of agreement that a network over time may lose against itself at one timestep
PIECE_ELSEWHERE = 1024  # a target is started once per piece


def evaluate(
    folder: Path, data: Path | Given, samples: int | None = None, seed: int = 0, progress: Progress | None = None,
    on: str = "sim", time_limit: float = 1800.0, machine: Machine = ONE_PROCESS, gates: Gates = NO_GATES,
    tasks: TaskOptions = NO_TASK,
) -> dict[str, Any]:  # fmt: skip
    """Return accuracy and agreement of float model and spiking network on ``data``, and write ``eval.json``.

    ``on``: the target that computes the spiking network; ``time_limit`` in seconds is for each piece of the data.
    ``machine``: how many threads and processes, or which cluster; no number in the result depends on it. Raises SFN607
    where workers could not do it, and SFN605 for options that do not fit together.

    ``tasks``: what the answers are and where labels for them lie, told from outputs and labels where nothing is said.
    ``gates``: limits, judged in ``gates`` of the result; :func:`~.gates.problems` says which of them failed.
    """
    check_choice(samples, seed)
    gates.check()
    tasks.check()
    if machine.check().spreads and on != "sim":
        raise fail("SFN605", f"--on {on} runs in one process", fix="leave --workers and --cluster out")
    manifest, program = build_folder.open_build(folder, "model", "report", *used(folder, on))
    found = data_of_build(data, manifest, samples, seed, True, progress or unseen)
    require_labels(gates, found.labels if tasks.labels is None else tasks.labels, found.source)
    build = Build(folder, manifest, program)
    pair = build.open(machine, None if on == "sim" else _computer(program, folder, on, time_limit))
    judged = chosen(pair, found, tasks)
    if machine.spreads:
        result = spread(build, found.x, judged.truth, machine, progress)
    else:
        result = measure(pair, found.x, judged.truth, progress, PIECE if on == "sim" else PIECE_ELSEWHERE)
    result["warnings"] = [w.as_dict() for w in _warnings(folder, manifest, program, found.x, result)]
    result["task"] = judged.as_dict()
    if tasks.draw is not None:
        result["drawn"] = _draw(pair, found, judged, tasks)
    result["on"] = on
    result["data"] = {"source": found.source, "sha256": found.sha256, "samples": len(found), "seed": seed}
    result["gates"] = gates.judge(result)
    build_folder.write_json(folder / "eval.json", result)
    build_folder.write_json(folder / PICTURES, _pictures(result, found.x))
    refresh(folder)
    return result


def _draw(pair: Pair, data: Data, judged: Chosen, asked: TaskOptions) -> list[str]:
    """Draw examples, evenly spaced, and return their names. Raises SFN321, SFN602, SFN613."""
    assert asked.draw is not None
    places = np.unique(np.linspace(0, len(data) - 1, min(asked.examples, len(data))).astype(np.int64))
    some = rows_of_data(data, places)
    want, got = pair.both(some.x)
    held = judged.truth.held
    truth = None if held is None else [held[i] for i in places]
    with disk(asked.draw):
        asked.draw.mkdir(parents=True, exist_ok=True)
        return draw(judged.task, some, want, got, truth, asked.draw)


def _warnings(
    folder: Path, manifest: Mapping[str, Any], program: Program, x: Samples, result: Mapping[str, Any]
) -> list[Diagnostic]:
    """Return what to say of the data and of time; a head computes no more samples than are looked at."""
    beginning = open_beginning(folder, manifest)
    program, x = program.at_once(), x if program.frames is None else summed(x)
    some = x if beginning.head is None else likeness.spaced(x, likeness.LOOKED_AT)
    return [*likeness.data_warnings(folder, program, beginning.samples(some)), *_better_at_once(result)]


def _better_at_once(result: Mapping[str, Any]) -> list[Diagnostic]:
    """Return SFN612 where the network over time agrees less with the float network than at one timestep."""
    over_time = result.get("time")
    if over_time is None:
        return []
    after, once = 100 * over_time["agreement"][-1], 100 * over_time["at_once"]["agreement"]
    if once - after <= MOST_LOST:
        return []
    what = f"after all steps {after:.1f} % of the answers are the float network's, at one timestep {once:.1f} %"
    return [Diagnostic("SFN612", what, fix="--neuron signed, more --timesteps or --settle, or one timestep")]


def _pictures(result: Mapping[str, Any], x: Samples) -> dict[str, str]:
    """Return the worst samples that are pictures, by their number; of several inputs the first that is one."""
    found = {}
    for row in result["examples"].get("worst", ()):
        drawn = (picture(np.asarray(values[row["sample"]])) for values in x.values())
        found[str(row["sample"])] = next((one for one in drawn if one is not None), None)
    return {sample: one for sample, one in found.items() if one is not None}


def _computer(program: Program, folder: Path, on: str, time_limit: float) -> Compute:
    """Return what computes the outputs' integers on a target, by the names that they have in ``program``."""

    def compute(codes: Mapping[str, Array]) -> Mapping[str, Array]:
        values = execute(program, folder, on, codes, False, time_limit)
        names = held(program, folder, on)
        return {ours: values[theirs] for ours, theirs in names.items()}

    return compute


def compare(
    program: Program, reference: FloatReference, x: Samples | Array, labels: Array | None = None,
    progress: Progress | None = None, ending: Ending | None = None, where: str = "labels",
) -> dict[str, Any]:  # fmt: skip
    """Return the result of :func:`~.pairs.measure` for a Program that no folder holds.

    ``ending`` says how the model ends where it is not the network's own outputs.
    """
    x = by_name(x, [e.name for e in program.inputs])
    ending = ending or Ending(tuple(d.name for d in program.outputs))
    pair = Pair(program, reference, ending)
    return measure(pair, x, Truth(pair.read_labels(labels, x, where)), progress)
