"""The search itself: strategies propose, crews measure, the best within the budget is made in full."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from ..compiler.compilation import (
    Compilation,
    Mapped,
    Prepared,
    compilation_of,
    data_warnings,
    mapped,
    prepare,
    silent,
    timed,
)
from ..compiler.draft import Progress
from ..compiler.input_warnings import input_warnings
from ..foundation.diagnostics import fail
from ..foundation.options import Options
from ..foundation.preparation import Given
from ..foundation.version import __version__
from ..simulator.run import single_threaded_blas
from .crew import Measure, crew_of
from .evaluate import Evaluator, evaluator_of, measured
from .journal import Journal, as_read
from .plan import Search
from .space import STRETCHES, Point, level_choices, space_of
from .strategies import Proposals, Task, allocate, compress, expected, expected_of, grid, groups_of
from .tpe import tpe
from .trial import Goal, Measured, Trial, differences, front, goal_of

STRATEGIES = {"tpe": tpe, "grid": grid, "allocate": allocate, "compress": compress}
WITHOUT_EFFECT = ("targets", "target_options", "max_drop")  # on what a trial measures


@dataclass(frozen=True, eq=False)
class Made:
    """A trial that was made in full, with all calibration samples, and measured again."""

    trial: Trial
    mapped: Mapped
    measured: Measured
    passed_over: tuple[int, ...]


def search_model(
    model: Path, options: Options, search: Search, state: Path, calib: Path | Given | None = None,
    input_shapes: dict[str, tuple[int, ...]] | None = None, progress: Progress = silent,
) -> tuple[Compilation, dict[str, Any]]:  # fmt: skip
    """Return the compilation of the best trial, and ``report.json``'s ``search``; ``state`` keeps measured trials.

    Raises what a compilation raises, SFN307, SFN605, SFN607, SFN701 (too few samples), SFN702 (no trial within the
    budget) and SFN703 (``state`` is of another search).
    """
    search.check()
    if options.fine_share is None:  # which layers get levels is what is searched
        options = replace(options, fine_share=0.0)
    if calib is None:
        raise fail("SFN701", "--search without --calib: generated inputs say nothing of a network's accuracy")
    with single_threaded_blas():
        prepared = prepare(model, options, calib, input_shapes, progress)
    evaluator = evaluator_of(prepared, search, options.seed)
    task = task_of(prepared, options, search)
    with timed(prepared.seconds, "search"):
        journal = Journal.open(state, _facts(prepared, options, search))
        with crew_of(evaluator, search.machine) as measure:
            trials = _run(task, measure, journal, progress)
        goal = goal_of(search, trials[0].measured)
        made = _best(prepared, evaluator, goal, trials, progress)
    warnings = [*search.warnings, *data_warnings(prepared)]
    warnings += input_warnings(made.mapped.graph, prepared.statistics)
    done = compilation_of(prepared, made.trial.options, made.mapped, warnings)
    return done, _report(task, goal, trials, made, evaluator)


def task_of(prepared: Prepared, options: Options, search: Search) -> Task:
    """Return what a search chooses from. Raises SFN605 for too few trials."""
    choices = STRETCHES if search.strategy == "compress" else level_choices(options.levels)
    most = groups_of(search, len(choices), len(prepared.graph.nodes))
    if most < 1:
        least = expected_of(1, len(choices))
        raise fail("SFN605", f"--trials {search.trials}: --search {search.strategy} needs {least} at least")
    return Task(space_of(prepared.graph, options, "memory" in search.budget, most), search, options.seed)


def _run(task: Task, measure: Measure, journal: Journal, progress: Progress) -> list[Trial]:
    """Return all trials by number; those that the journal knows are not measured again."""
    proposals: Proposals = STRATEGIES[task.search.strategy](task)
    trials: list[Trial] = []
    points = next(proposals)
    while True:
        found = _batch(task, points, len(trials), measure, journal, progress)
        trials += found
        try:
            points = proposals.send(found)
        except StopIteration:
            return trials


def _batch(
    task: Task, points: list[Point], start: int, measure: Measure, journal: Journal, progress: Progress
) -> list[Trial]:
    asked = {start + i: task.space.options(point) for i, point in enumerate(points)}
    found = {i: _known(journal, i, options, task) for i, options in asked.items() if i in journal.known}
    for number, numbers in measure({i: options for i, options in asked.items() if i not in found}):
        found[number] = Trial(number, asked[number], numbers)
        journal.record(found[number], differences(asked[number], task.space.base))
        progress("search", start + len(found), expected(task))
    return [found[i] for i in asked]


def _known(journal: Journal, number: int, options: Options, task: Task) -> Trial:
    """Return a trial of the journal. Raises SFN703 where it is not the one that is asked for now."""
    there, numbers = journal.known[number]
    if dict(there) != as_read(differences(options, task.space.base)):
        what = f"trial {number} has other options there than this search asks for"
        raise fail("SFN703", what, str(journal.path), "another version of optuna made it: delete it")
    return Trial(number, options, numbers)


def _best(prepared: Prepared, evaluator: Evaluator, goal: Goal, trials: list[Trial], progress: Progress) -> Made:
    """Return the best trial that keeps the budget, also when it is made in full. Raises SFN702 where none does.

    Calibration on all samples and correction on more of them change some thresholds, so costs are counted again.
    """
    passed_over: list[int] = []
    for trial in sorted((t for t in trials if goal.feasible(t.measured)), key=goal.rank):
        with single_threaded_blas():
            made = mapped(prepared, trial.options, None, progress, measured=True)
        numbers = measured(made.program, evaluator.held)
        if goal.feasible(numbers):
            return Made(trial, made, numbers, tuple(passed_over))
        passed_over.append(trial.number)
    raise _none_within(goal, trials, len(passed_over))


def _none_within(goal: Goal, trials: list[Trial], n_passed_over: int) -> Exception:
    nearest = min(trials, key=lambda t: max(goal.excess(t.measured)))
    values = {**nearest.measured.scores, **nearest.measured.costs}
    said = ", ".join(f"{name} {values.get(name, 0):,.6g} of {limit:,.6g}" for name, limit in goal.limits.items())
    what = f"none of {len(trials)} trials keeps the budget; trial {nearest.number} comes nearest: {said}"
    if n_passed_over:
        what += f"; {n_passed_over} kept it as trials, but not when made from all samples"
    return fail("SFN702", what, "--budget", "allow more, or try more: --trials")


def _facts(prepared: Prepared, options: Options, search: Search) -> dict[str, Any]:
    """Return what trials of one number have in common; all of it, so that a state is taken up by its own search."""
    asked = {k: v for k, v in options.as_dict().items() if k not in WITHOUT_EFFECT}
    facts = {
        "sfnc": __version__, "model": prepared.loaded.sha256, "data": prepared.calibration.sha256,
        "inputs": {i.name: list(i.shape) for i in prepared.loaded.inputs}, "options": asked,
        "strategy": search.strategy, "objective": search.objective,
        "budget": {name: limit.as_json() for name, limit in search.limits.items()},
    }  # fmt: skip
    if search.strategy == "tpe":
        return {**facts, "optuna": metadata.version("optuna")}
    return facts if search.strategy == "grid" else {**facts, "trials": search.trials}


def _report(task: Task, goal: Goal, trials: list[Trial], made: Made, evaluator: Evaluator) -> dict[str, Any]:
    search, base, held = task.search, task.space.base, evaluator.held.data
    calibrated, passed_over = evaluator.n_calibrated, list(made.passed_over)
    return {
        "strategy": search.strategy, "seed": task.seed, "objective": goal.objective, "cost": goal.cost,
        "budget": {name: {**limit.as_json(), "limit": goal.limits[name]} for name, limit in search.limits.items()},
        "groups": [list(group) for group in task.space.groups],
        "trials": [t.row(goal, base) for t in trials], "front": front(trials, goal), "chosen": made.trial.number,
        "made": {**made.measured.as_json(), "passed_over": passed_over},
        "measured_on": {"samples": len(held), "held_out": True, "calibrated_on": calibrated, "data": held.source},
    }  # fmt: skip
