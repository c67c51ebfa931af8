"""Whole searches on the demo network: the same again, within the budget, and whole after any interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sfn_compile.compiler.compilation import mapped, prepare
from sfn_compile.files.build_folder import open_build
from sfn_compile.files.sample_files import kept_aside, load_data, subset
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Machine, SiteOptions
from sfn_compile.foundation.samples import ModelInput, part
from sfn_compile.graph.macs import macs
from sfn_compile.host.codec import encode_all
from sfn_compile.program.network import Readout
from sfn_compile.report import measure
from sfn_compile.search import cost, evaluate
from sfn_compile.search.plan import Search, read_budget
from sfn_compile.search.run import task_of
from sfn_compile.search.trial import Measured, front
from sfn_compile.simulator.run import run_codes

from ..commands.cli_helpers import CLOCK, contents, document, refused, succeeds
from .search_helpers import CALIB, DIGITS, FEW, searched

HALF = read_budget(("spikes=0.5",))
STRATEGIES = ("tpe", "grid", "allocate", "compress")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks while other threads live
forked = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


def plan(strategy: str, trials: int = 12, **more) -> Search:
    if strategy == "tpe":
        pytest.importorskip("optuna", reason="optuna is not installed: pip install 'sfnc[search]'")
    layerwise = strategy in ("allocate", "compress")
    return Search(strategy, 24 if layerwise else trials, budget=more.pop("budget", HALF), **more)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_is_the_same_again_and_its_choice_is_the_best_within_the_budget(strategy, tmp_path):
    done, found = searched(plan(strategy), tmp_path / "one")
    assert json.dumps(found) == json.dumps(searched(plan(strategy), tmp_path / "two")[1])
    assert [t["number"] for t in found["trials"]] == list(range(len(found["trials"])))
    limit = found["budget"]["spikes"]["limit"]
    assert limit == found["trials"][0]["costs"]["spikes"] / 2
    feasible = [t for t in found["trials"] if t["costs"]["spikes"] <= limit]
    assert [t["feasible"] for t in found["trials"]] == [t in feasible for t in found["trials"]]
    assert found["made"]["costs"]["spikes"] <= limit
    left = [t for t in feasible if t["number"] not in found["made"]["passed_over"]]
    assert found["trials"][found["chosen"]]["objective"] == min(t["objective"] for t in left)
    assert done.options.as_dict() == {**FEW.as_dict(), **found["trials"][found["chosen"]]["options"]}


def test_costs_are_what_counting_by_hand_finds_in_the_build(tmp_path):
    """Counted by the plain engine on the samples that the search never calibrated on."""
    succeeds(DIGITS, "--calib", CALIB, "--samples", 160, "-o", tmp_path / "out", "--search", "grid", "--trials", 24,
             "--budget", "spikes=0.5,synops=0.99,memory=1")  # fmt: skip
    found = document(tmp_path / "out" / "report.json")
    held, made = _held(tmp_path / "out"), found["search"]["made"]["costs"]
    _, program = open_build(tmp_path / "out")
    values = run_codes(program, encode_all(program, held), engine="reference")
    fired = [p for p in program.populations() if not isinstance(p.ladder, Readout)]
    n = len(held["image"])
    assert made["spikes"] == sum(int(np.abs(values[p.name]).sum()) for p in fired) / n
    assert made["spikes"] <= 0.5 * found["search"]["trials"][0]["costs"]["spikes"]
    by_hand = sum(
        macs(q.map, program.values()[q.source]) * np.count_nonzero(values[q.source]) / values[q.source].size
        for p in program.populations()
        for q in p.projections
    )
    assert made["synops"] == pytest.approx(by_hand, rel=1e-12)
    weights = sum(p["weights"] * p["weight_bits"] for row in found["layers"][1:] for p in row["projections"])
    ladders = [a for p in program.populations() for a in vars(p.ladder).values() if np.ndim(a)]
    assert made["memory"] == weights + sum(a.size * max(_width(v) for v in a.ravel().tolist()) for a in ladders)


def _width(value: int) -> int:
    return (value if value >= 0 else -value - 1).bit_length() + 1


def _held(out: Path) -> dict[str, np.ndarray]:
    inputs = [ModelInput(i["name"], tuple(i["shape"]), i["dtype"]) for i in open_build(out)[0]["model"]["inputs"]]
    return dict(evaluate.split(kept_aside(subset(load_data(CALIB, inputs), 160, 0), 0)[0], 0)[1].x)


def test_synaptic_operations_are_those_of_the_report():
    prepared = prepare(DIGITS, FEW, CALIB)
    made = mapped(prepared, FEW)
    graph, program = made.graph, made.program
    x = part(prepared.calibration.x, slice(40))
    rows = measure.layers(graph, program, prepared.runner, x).layers
    values = run_codes(program, encode_all(program, x))
    assert cost.synops(program, values) / 40 == pytest.approx(measure.totals(rows)["synops"], rel=1e-12)


def test_memory_under_a_budget_is_saved_on_weights(tmp_path):
    done, found = searched(plan("grid", 24, budget=read_budget(("memory=0.7",))), tmp_path / "state")
    assert found["cost"] == "memory"
    assert found["made"]["costs"]["memory"] <= 0.7 * found["trials"][0]["costs"]["memory"]
    assert {s.weight_bits for s in done.options.sites.values()} & {3, 4, 5, 6}


def test_accuracy_and_agreement_are_counted_on_the_held_out_samples(tmp_path):
    _, found = searched(plan("grid", 8, budget={}, objective="accuracy"), tmp_path / "a")
    assert {t["objective"] * 72 % 1 for t in found["trials"]} == {0.0}
    assert found["measured_on"] == {"samples": 72, "held_out": True, "calibrated_on": 72, "data": CALIB.name}
    assert [t["objective"] for t in found["trials"]] == [t["scores"]["accuracy"] for t in found["trials"]]
    _, found = searched(plan("grid", 8, budget={}, objective="agreement"), tmp_path / "b")
    assert [t["objective"] for t in found["trials"]] == [t["scores"]["agreement"] for t in found["trials"]]


def test_a_trial_needs_no_float_network_and_measures_what_a_compilation_with_its_options_makes(monkeypatch):
    prepared = prepare(DIGITS, FEW, CALIB)
    evaluator = evaluate.evaluator_of(prepared, Search("grid"), 0)
    options = replace(FEW, levels=9)
    unlearnt = replace(options, reconstruct=False)
    fit, held = evaluate.split(prepared.calibration, 0)
    assert len(evaluator.prepared.calibration) == len(fit) == 72
    program = mapped(replace(evaluator.prepared, runner=prepared.runner, calibration=fit), unlearnt).program
    monkeypatch.setattr("sfn_compile.frontend.reference.FloatReference.stream", None)
    assert evaluator.measure(options) == evaluate.measured(program, evaluator.held)
    assert not {tuple(x.ravel()) for x in fit.x["image"]} & {tuple(x.ravel()) for x in held.x["image"]}
    with pytest.raises(RuntimeError, match="28 samples of the float network are not remembered"):
        list(evaluator.prepared.runner.stream(part(prepared.calibration.x, slice(100))))


def test_a_network_that_cannot_be_mapped_is_a_trial_that_is_refused():
    prepared = prepare(DIGITS, FEW, CALIB)
    evaluator = evaluate.evaluator_of(prepared, Search("grid"), 0)
    assert evaluator.measure(replace(FEW, acc_bits=8, levels=255)) == Measured(refused="SFN401")


def test_populations_with_options_of_their_own_are_left_as_they_are(tmp_path):
    succeeds(DIGITS, "--calib", CALIB, "--samples", 100, "-o", tmp_path / "out", "--search", "grid", "--trials", 20,
             "--budget", "spikes=0.4", "--site", "relu_1:levels=63")  # fmt: skip
    report = document(tmp_path / "out" / "report.json")
    assert next(row for row in report["layers"] if row["name"] == "relu_1")["levels"] == 63
    assert "relu_1" not in [site for group in report["search"]["groups"] for site in group]


def test_a_budget_that_nothing_keeps_ends_in_a_code_and_builds_nothing(tmp_path):
    options = ("--search", "grid", "--trials", 3, "--budget", "spikes=0.01")
    message = refused("SFN702", 1, DIGITS, "--calib", CALIB, "--samples", 100, "-o", tmp_path / "out", *options)
    assert "none of 3 trials keeps the budget" in message
    assert not (tmp_path / "out").exists()


def test_a_trial_that_breaks_the_budget_when_made_in_full_is_passed_over(tmp_path, monkeypatch):
    _, first = searched(plan("grid"), tmp_path / "one")
    real, seen = evaluate.measured, []

    def more_spikes_at_first(program, held):
        numbers = real(program, held)
        seen.append(program)
        factor = 3 if len(seen) == 1 else 1
        return replace(numbers, costs={**numbers.costs, "spikes": factor * numbers.costs["spikes"]})

    monkeypatch.setattr("sfn_compile.search.run.measured", more_spikes_at_first)
    _, second = searched(plan("grid"), tmp_path / "two")
    assert second["made"]["passed_over"] == [first["chosen"]]
    assert second["chosen"] != first["chosen"]


def test_builds_of_a_search_are_the_same_byte_for_byte_and_their_front_is_printed(tmp_path):
    for name in ("one", "two"):
        done = succeeds(DIGITS, "--calib", CALIB, "--samples", 100, "-o", tmp_path / name, "--search", "allocate",
                        "--trials", 20, "--target", "sim,onnx")  # fmt: skip
        assert "chosen" in done.stdout
        assert "held-out samples, spikes up to" in " ".join(done.stdout.split())
    ours, theirs = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert {k: v for k, v in ours.items() if k not in CLOCK} == {k: v for k, v in theirs.items() if k not in CLOCK}
    report, manifest = (document(tmp_path / "one" / f"{name}.json") for name in ("report", "manifest"))
    assert manifest["options"]["sites"] == report["search"]["trials"][report["search"]["chosen"]]["options"]["sites"]
    assert [p.name for p in tmp_path.iterdir() if "search" in p.name] == []
    succeeds("verify", tmp_path / "one")


# -- interruptions --------------------------------------------------------------------------------------------------
SLOW = """
import sys, time
from sfn_compile.cli.main import cli
from sfn_compile.search.evaluate import Evaluator
measure = Evaluator.measure
def slowly(self, options, threads=None):
    time.sleep(0.2)
    return measure(self, options, threads)
Evaluator.measure = slowly
cli(sys.argv[1:])
"""


@pytest.mark.parametrize("strategy", ["tpe", "allocate"])
def test_a_search_that_was_killed_in_the_middle_goes_on_as_if_nothing_had_happened(strategy, tmp_path):
    search = plan(strategy)
    whole = searched(search, tmp_path / "whole")[1]
    args = ["compile", str(DIGITS), "--calib", str(CALIB), "--samples", "160", "-o", str(tmp_path / "out"),
            "--search", strategy, "--trials", str(search.trials), "--budget", "spikes=0.5"]  # fmt: skip
    state = tmp_path / "out.search.jsonl"
    process = subprocess.Popen([sys.executable, "-c", SLOW, *args])
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if state.exists() and state.read_bytes().count(b"\n") > 7:  # a line for the search, one for each trial
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.02)
    assert process.wait() == -signal.SIGKILL
    before = state.read_text(encoding="utf-8").count("\n")
    assert 7 < before < len(whole["trials"])
    assert not (tmp_path / "out").exists()
    with state.open("a", encoding="utf-8") as file:
        file.write('{"costs": {"memory": 9')  # as a line looks that was being written
    measured_again = []
    with pytest.MonkeyPatch.context() as patch:
        real = evaluate.Evaluator.measure
        patch.setattr(evaluate.Evaluator, "measure", lambda *args: measured_again.append(args) or real(*args))
        succeeds(*args)
    assert len(measured_again) == len(whole["trials"]) - (before - 1)
    found = document(tmp_path / "out" / "report.json")["search"]
    assert found == json.loads(json.dumps(whole))
    assert not state.exists()


def test_a_finished_search_goes_on_where_more_trials_are_asked_for(tmp_path):
    searched(plan("tpe", 10), tmp_path / "state")
    more, once = searched(plan("tpe", 14), tmp_path / "state")[1], searched(plan("tpe", 14), tmp_path / "other")[1]
    assert more == once
    numbers = [json.loads(line)["number"] for line in (tmp_path / "state").read_text().splitlines()[1:]]
    assert numbers == list(range(14))


@pytest.mark.parametrize(
    ("other", "words"),
    [({"budget": read_budget(("spikes=0.4",))}, "budget is"), ({"objective": "agreement"}, "objective is error there")],
)
def test_the_state_of_another_search_is_refused(other, words, tmp_path):
    searched(plan("grid", 3, budget={}), tmp_path / "state")
    with pytest.raises(CompileError, match=f"SFN703.*{words}"):
        searched(replace(plan("grid", 3, budget={}), **other), tmp_path / "state")


def test_a_file_that_is_no_state_is_left_alone(tmp_path):
    for content in ("x,y\n1,2\n", '{"search": 3}\n', "[]\n"):
        (tmp_path / "notes").write_text(content, encoding="utf-8")
        with pytest.raises(CompileError, match="SFN703"):
            searched(plan("grid", 3, budget={}), tmp_path / "notes")
        assert (tmp_path / "notes").read_text(encoding="utf-8") == content


def test_a_trial_with_other_options_than_asked_for_is_refused(tmp_path):
    searched(plan("grid", 4, budget={}), tmp_path / "state")
    lines = (tmp_path / "state").read_text(encoding="utf-8").splitlines()
    lines[2] = lines[2].replace('"options": {', '"options": {"levels": 3, ')
    (tmp_path / "state").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(CompileError, match=r"SFN703.*trial 1 has other options"):
        searched(plan("grid", 4, budget={}), tmp_path / "state")


# -- many workers ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("strategy", ["tpe", "allocate"])
def test_two_processes_find_the_trials_of_one(strategy, tmp_path):
    one = searched(plan(strategy), tmp_path / "one")[1]
    assert searched(plan(strategy, machine=Machine(workers=2)), tmp_path / "two")[1] == one


@forked
def test_a_process_that_ends_in_the_middle_takes_no_trial_with_it(tmp_path, monkeypatch):
    one, plain = searched(plan("grid"), tmp_path / "one")[1], evaluate.Evaluator.measure

    def deadly(self, options, threads=None):
        if options.sites.get("relu", SiteOptions()).stretch == 1.5 and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(self, options, threads)

    monkeypatch.setattr(evaluate.Evaluator, "measure", deadly)
    assert searched(plan("grid", machine=Machine(workers=2)), tmp_path / "two")[1] == one
    assert (tmp_path / "killed").exists()
    numbers = [json.loads(line)["number"] for line in (tmp_path / "two").read_text().splitlines()[1:]]
    assert sorted(numbers) == list(range(12))


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_finds_the_trials_of_one_process_also_where_a_worker_is_killed(tmp_path):
    distributed = pytest.importorskip("distributed", reason="dask is not installed: pip install 'sfnc[cluster]'")
    one = searched(plan("tpe", 16), tmp_path / "one")[1]
    killed, done = [], []
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as here:

        def kill_one(stage: str, so_far: int, total: int) -> None:
            if stage == "search":
                done.append(so_far)
            if stage == "search" and not killed:
                with distributed.Client(here.scheduler_address, set_as_default=False) as client:
                    killed.append(next(iter(client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)

        from sfn_compile.search.run import search_model

        search = plan("tpe", 16, machine=Machine(cluster=here.scheduler_address))
        found = search_model(DIGITS, FEW, search, tmp_path / "two", CALIB, progress=kill_one)[1]
    assert killed
    assert found == one
    assert done == list(range(1, 17))


# -- what belongs together ------------------------------------------------------------------------------------------
def test_every_layer_is_alone_where_trials_suffice_and_tied_where_not():
    prepared = prepare(DIGITS, FEW, CALIB)
    assert [len(task_of(prepared, FEW, Search("allocate", n)).space.groups) for n in (None, 24, 13)] == [5, 2, 1]
    assert len(task_of(prepared, FEW, Search("tpe")).space.groups) == 5


def test_the_front_of_a_report_is_that_of_its_trials(tmp_path):
    _, found = searched(plan("grid"), tmp_path / "state")
    numbers = {t["number"]: (t["costs"]["spikes"], t["objective"]) for t in found["trials"]}
    for number, point in numbers.items():
        beaten = any(q != point and q[0] <= point[0] and q[1] <= point[1] for q in numbers.values())
        assert (number in found["front"]) is not beaten
    assert front([], None) == []
