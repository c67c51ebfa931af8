"""Run and evaluate a build: integers in the Program, real numbers decoded, the float model beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..data.given import unseen
from ..data.sources import data_of_build
from ..evaluation.gates import NO_GATES, Gates, require_labels
from ..evaluation.side_by_side import PIECE, Build, Compute, Pair, Progress, measure
from ..evaluation.spread import spread
from ..files import build_folder, sealed
from ..files.build_checks import check_answers
from ..foundation.diagnostics import Diagnostic, fail
from ..foundation.options import ONE_PROCESS, Machine, check_choice
from ..foundation.preparation import Given
from ..foundation.samples import Samples, by_name, n_samples, summed
from ..frontend.reference import FloatReference
from ..host.codec import answered, encode_all
from ..host.model_inputs import open_beginning
from ..host.model_outputs import Ending, named, open_ending
from ..program.network import Program
from ..program.signals import shapes_over_time
from ..report import likeness
from ..report.page.document import refresh
from ..simulator.run import run_codes
from ..simulator.run_clock import after_step
from ..targets import backend
from ..targets.backend import RunRequest
from ..targets.target_records import read_record

Array = NDArray[Any]
PIECE_ELSEWHERE = 1024  # a target is started once per piece


def run_build(
    folder: Path, data: Path | Given, on: str = "sim", codes: bool = False, time_limit: float = 1800.0,
    machine: Machine = ONE_PROCESS,
) -> dict[str, Array]:  # fmt: skip
    """Return the outputs ``(n, ...)`` of a build on a target, by ONNX output name (``name/i`` for sample i where the
    shape of an output differs from sample to sample).

    ``codes``: the raw integers of every population and the input instead of decoded real outputs, over time those of
    every step. ``machine``: engine
    and threads of the simulator.
    """
    machine.check()
    manifest, program = build_folder.open_build(folder, *_used(folder, on))
    ending = open_ending(folder, manifest, program)
    x = data_of_build(data, manifest).x
    x = open_beginning(folder, manifest).samples(x)
    values = _execute(program, folder, on, encode_all(program, x), codes, time_limit, machine)
    if codes:
        return dict(values)
    held = _held(program, folder, on)
    values = after_step(program, {v: values[held[v]] for v in held})
    decoded = {d.name: answered(d, values) for d in program.outputs}
    return named(ending.answers(decoded, x if program.frames is None else summed(x), n_samples(x)))


def _used(folder: Path, on: str) -> tuple[str, ...]:
    """Return the part of a build that target ``on`` is executed from, none for ``sim``, which runs the Program itself.

    Raises SFN503, and SFN604 where the build does not hold the target.
    """
    if on == "sim":
        return ()
    backend.load(on)
    if on not in sealed.held_targets(sealed.read_manifest(folder)):
        raise fail("SFN604", f"the build holds no target {on!r}", str(folder), f"compile with --target {on}")
    return (on, "targets")


def _held(program: Program, folder: Path, on: str) -> Mapping[str, str]:
    """Return what each value that outputs are decoded from is called on a target."""
    return {v: v for v in program.decoded()} if on == "sim" else read_record(folder, on, program).outputs


def _execute(
    program: Program, folder: Path, on: str, codes: Mapping[str, Array], every: bool, time_limit: float,
    machine: Machine = ONE_PROCESS,
) -> Mapping[str, Array]:  # fmt: skip
    if on == "sim":
        wanted_here = None if every else program.decoded()
        return run_codes(program, codes, wanted_here, machine.engine, machine.threads)
    target = backend.load(on)
    why = target.available()
    if why is not None:
        raise fail("SFN601", why, on)
    held = _held(program, folder, on)
    # No golden integers: the target has to compute the whole network by itself, however long that takes.
    request = RunRequest(codes, {}, time_limit, None if every else frozenset(held.values()))
    values = target.run(folder / on, request).values
    over_time = shapes_over_time(program)
    shapes = {held[p.value]: over_time[p.value] for d in program.outputs for p in d.parts}
    check_answers(values, shapes, n_samples(codes), f"target {on}")
    return values


def evaluate(
    folder: Path, data: Path | Given, samples: int | None = None, seed: int = 0, progress: Progress | None = None,
    on: str = "sim", time_limit: float = 1800.0, machine: Machine = ONE_PROCESS, gates: Gates = NO_GATES,
) -> dict[str, Any]:  # fmt: skip
    """Return accuracy and agreement of float model and spiking network on ``data``, and write ``eval.json``.

    ``on``: the target that computes the spiking network; ``time_limit`` in seconds is for each piece of the data.
    ``machine``: how many threads and processes, or which cluster; no number in the result depends on it. Raises SFN607
    where workers could not do it.

    ``gates``: limits, judged in ``gates`` of the result; :func:`~.gates.problems` says which of them failed.
    """
    check_choice(samples, seed)
    gates.check()
    if machine.check().spreads and on != "sim":
        raise fail("SFN605", f"--on {on} runs in one process", fix="leave --workers and --cluster out")
    manifest, program = build_folder.open_build(folder, "model", "report", *_used(folder, on))
    found = data_of_build(data, manifest, samples, seed, True, progress or unseen)
    require_labels(gates, found.labels, found.source)
    build = Build(folder, manifest, program)
    pair = build.open(machine, None if on == "sim" else _computer(program, folder, on, time_limit))
    labels = pair.read_labels(found.labels, found.x, found.label_place)
    if machine.spreads:
        result = spread(build, found.x, labels, machine, progress)
    else:
        result = measure(pair, found.x, labels, progress, PIECE if on == "sim" else PIECE_ELSEWHERE)
    result["warnings"] = [w.as_dict() for w in _warnings(folder, manifest, program, found.x)]
    result["on"] = on
    result["data"] = {"source": found.source, "sha256": found.sha256, "samples": len(found), "seed": seed}
    result["gates"] = gates.judge(result)
    build_folder.write_json(folder / "eval.json", result)
    refresh(folder)
    return result


def _warnings(folder: Path, manifest: Mapping[str, Any], program: Program, x: Samples) -> list[Diagnostic]:
    """Return what to say of the data; a head computes no more of them than are looked at."""
    beginning = open_beginning(folder, manifest)
    program, x = program.at_once(), x if program.frames is None else summed(x)
    some = x if beginning.head is None else likeness.spaced(x, likeness.LOOKED_AT)
    return likeness.data_warnings(folder, program, beginning.samples(some))


def _computer(program: Program, folder: Path, on: str, time_limit: float) -> Compute:
    """Return what computes the outputs' integers on a target, by the names that they have in ``program``."""

    def compute(codes: Mapping[str, Array]) -> Mapping[str, Array]:
        values = _execute(program, folder, on, codes, False, time_limit)
        held = _held(program, folder, on)
        return {ours: values[theirs] for ours, theirs in held.items()}

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
    return measure(pair, x, pair.read_labels(labels, x, where), progress)
