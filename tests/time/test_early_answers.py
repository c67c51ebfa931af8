"""Answers before the last step: the rule in integers, the margin that is chosen, what run and eval make of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfn_compile.files import program_files
from sfn_compile.simulator.early import after_steps, answer_values, exits, leads, margin_for
from sfn_compile.simulator.run import run_codes
from sfn_compile.testing.conformance import CASES

from ..commands.cli_helpers import MODELS, document, refused, succeeds
from .clocked_programs import edges, over_time

DIGITS, CALIB, TEST = MODELS / "digits.onnx", MODELS / "digits_calib.npz", MODELS / "digits_test.npz"
FEW = ("--levels", "8", "--no-reconstruct", "--timesteps", "4")


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    out = tmp_path_factory.mktemp("early") / "out"
    succeeds("compile", DIGITS, "--calib", CALIB, *FEW, "--exit", "margin=auto", "--exit-loss", "1", "-o", out, "-q")
    return out


def test_the_first_step_with_enough_lead_answers_and_else_the_last():
    lead = np.array([[1, 5, 9], [9, 0, 0], [1, 1, 1]])
    assert exits(lead, 5).tolist() == [2, 1, 3]
    assert exits(lead, 0).tolist() == [1, 1, 1]
    assert exits(lead, None).tolist() == [3, 3, 3]


def test_a_lead_is_compared_at_the_scale_of_the_whole_window():
    """(best - second) T >= M min(t, T), in integers: the definition, for every sample, step and margin."""
    program = over_time(next(c for c in CASES if c.name == "mlp").make(), "signed")
    values = run_codes(program, edges(program))
    tops, lead = leads(program, values)
    scores = values["y"].reshape(*values["y"].shape[:2], -1)
    for i, rows in enumerate(scores.tolist()):
        for t, row in enumerate(rows, start=1):
            second, best = sorted(row)[-2:]
            assert tops[i, t - 1] == row.index(best)
            for margin in (lead[i, t - 1], lead[i, t - 1] + 1):
                assert (lead[i, t - 1] >= margin) == ((best - second) * 4 >= margin * min(t, 4))


def test_the_chosen_margin_keeps_the_loss_and_a_smaller_one_would_not():
    rng = np.random.default_rng(0)
    lead = np.sort(rng.integers(0, 100, (2000, 4)), axis=1)
    tops = (rng.random((2000, 4)) * 100 > lead).astype(int)  # the smaller the lead, the likelier another answer
    tops[:, -1] = 0
    margin = margin_for(tops, lead, 0.05)
    rows = np.arange(2000)
    wrong = [int((tops[rows, exits(lead, m) - 1] != 0).sum()) for m in (margin, margin - 1)]
    assert wrong[0] + np.sqrt(wrong[0] + 1) <= 100 < wrong[1] + np.sqrt(wrong[1] + 1)


def test_few_samples_choose_a_margin_that_nothing_reaches():
    lead, tops = np.array([[3, 7]] * 9), np.zeros((9, 2), int)
    assert margin_for(tops, lead, 0.05) == 8


def test_answers_are_those_of_each_samples_own_step():
    made = over_time(next(c for c in CASES if c.name == "mlp").make(), "signed")
    assert made.clock is not None
    values = run_codes(made, edges(made), ["y"])
    margin = int(np.median(leads(made, values)[1][:, 0]))
    early = made.clocked(replace(made.clock, margin=margin))
    steps = exits(leads(made, values)[1], margin)
    assert len(set(steps.tolist())) > 1
    got = answer_values(early, values)["y"]
    for i, t in enumerate(steps):
        assert np.array_equal(got[i], values["y"][i, t - 1] * (4 / min(t, 4)))
    assert np.array_equal(after_steps(made, values, np.full(len(steps), made.clock.steps))["y"], values["y"][:, -1])


def test_eval_says_accuracy_after_each_step_and_of_early_answers(build):
    succeeds("eval", build, "--data", TEST, "-q")
    found = document(build / "eval.json")["time"]
    program = program_files.load(build)
    assert program.clock is not None
    assert found["margin"] == program.clock.margin
    assert len(found["top1"]) == found["steps"] == sum(1 for _ in found["as_at_the_end"])
    assert found["as_at_the_end"][-1] == 1.0
    assert found["top1"][-1] == found["at_once"]["top1"]  # settled
    assert sum(found["answered"]) == found["samples"] == 599
    assert 1 <= found["mean_steps"] < 4
    assert found["early_top1"] >= found["top1"][-1] - 0.02
    assert document(build / "eval.json")["accuracy"]["snn_top1"] == found["early_top1"]


def test_the_same_margin_answers_alike_on_another_target(tmp_path):
    out = tmp_path / "out"
    succeeds(
        "compile", DIGITS, "--calib", CALIB, *FEW, "--exit", "margin=4000", "--target", "sim,onnx", "-o", out, "-q"
    )
    for target in ("sim", "onnx"):
        succeeds("run", out, "--input", TEST, "-o", tmp_path / f"{target}.npz", "--on", target, "-q")
    with np.load(tmp_path / "sim.npz") as a, np.load(tmp_path / "onnx.npz") as b:
        assert np.array_equal(a["logits"], b["logits"])


def test_an_output_without_scores_cannot_lead(tmp_path):
    refused("SFN605", 2, "compile", DIGITS, "--calib", CALIB, *FEW, "--exit", "margin=often", "-o", tmp_path / "out")


def test_a_network_that_time_makes_worse_is_warned_about(tmp_path):
    """Integrate-and-fire from nothing rounds every count down: eval says that one timestep is better, and by what."""
    late = ("--timesteps", 4, "--neuron", "if", "--levels", 4, "--initial-potential", "zero")
    plain = ("--no-reconstruct", "--fine-share", 0, "--digit-share", 0)
    succeeds("compile", DIGITS, "--calib", CALIB, *late, *plain, "-o", tmp_path / "late", "-q")
    succeeds("eval", tmp_path / "late", "--data", TEST, "-q")
    result = document(tmp_path / "late" / "eval.json")
    lost = result["time"]["at_once"]["agreement"] - result["time"]["agreement"][-1]
    assert lost > 0.01
    assert "SFN612" in [w["code"] for w in result["warnings"]]
