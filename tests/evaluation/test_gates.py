"""Gates pass and fail on the number they name, and never for lack of one."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile import compile as compile_network
from sfn_compile.evaluation.gates import RULES, Gates, problems
from sfn_compile.foundation.declaration import options_of
from sfn_compile.foundation.diagnostics import CompileError

from ..commands.cli_helpers import CALIB, DIGITS, TEST, document, refused, sfnc, succeeds

ROW = {"agreement": 0.97, "sqnr_db": 21.5, "max_error": 0.1}
FOUND = {
    "outputs": {"y": ROW, "z": {"agreement": None, "sqnr_db": 30.0, "reasons": {"agreement": "no row"}}},
    "accuracy": {"float_top1": 0.96, "snn_top1": 0.93, "agreement": 0.97, "n": 100},
    "regression": {"snn_rmse": 0.5, "float_rmse": 0.25, "snn_r2": None},
    "detection": {"float_map50": 0.7, "snn_map50": 0.625},
    "segmentation": {"float_miou": 0.8, "snn_miou": 0.75},
}
# A limit that the numbers above just keep, and one that they just do not.
LIMITS = {
    "max_drop": (7.5, 7.4), "min_accuracy": (0.93, 0.94), "min_agreement": (0.97, 0.98), "min_sqnr": (21.5, 22.0),
    "min_map": (0.625, 0.63), "min_iou": (0.75, 0.76), "max_rmse": (0.5, 0.49),
}  # fmt: skip


def test_every_gate_has_a_rule_and_a_limit_here():
    names = {o.name for o in options_of(Gates)}
    assert names == set(RULES) == set(LIMITS)


@pytest.mark.parametrize("name", list(LIMITS))
def test_a_gate_passes_at_its_limit_and_fails_beyond_it(name):
    keeps, fails = ({name: limit} for limit in LIMITS[name])
    (row,) = Gates(**keeps).check().judge(FOUND)
    assert row["passed"], row
    assert not problems([row], "d.npz")
    (row,) = Gates(**fails).check().judge(FOUND)
    assert not row["passed"]
    (said,) = problems([row], "d.npz")
    assert said.code == "SFN502"
    assert f"--{name.replace('_', '-')}: " in said.what
    assert said.where == "d.npz"


@pytest.mark.parametrize("name", list(LIMITS))
def test_a_gate_without_a_number_does_not_pass(name):
    nothing = {"outputs": {"y": {"agreement": None, "sqnr_db": None, "reasons": {"agreement": "no row of scores"}}}}
    (row,) = Gates(**{name: LIMITS[name][0]}).judge(nothing)
    assert row["value"] is None
    assert not row["passed"]
    assert [d.code for d in problems([row], "")] == ["SFN509"]


@pytest.mark.parametrize(("score", "drop"), [("detection", 7.5), ("segmentation", 5.0), ("accuracy", 3.0)])
def test_a_drop_is_measured_on_the_score_of_the_task(score, drop):
    (row,) = Gates(max_drop=0.0).judge({"outputs": FOUND["outputs"], score: FOUND[score]})
    assert row["value"] == pytest.approx(drop)


def test_exact_outputs_pass_every_limit_on_signal_to_noise():
    exact = {"outputs": {"y": {"agreement": 1.0, "sqnr_db": None, "reasons": {"sqnr_db": "no error"}}}}
    (row,) = Gates(min_sqnr=200.0).judge(exact)
    assert row["passed"]
    assert row["value"] is None


def test_behind_a_host_tail_the_values_at_the_cut_count():
    (row,) = Gates(min_sqnr=20.0).judge({**FOUND, "cut": {"c": {**ROW, "sqnr_db": 12.0}}})
    assert row["value"] == 12.0
    assert not row["passed"]


def test_eval_ends_with_1_where_a_gate_fails_and_writes_all_of_them(out):
    args = ("eval", out, "--data", TEST, "--samples", 200)
    succeeds(*args, "--max-drop", 1, "--min-agreement", 97, "--min-sqnr", 10, "--min-accuracy", 0.9)
    gates = document(out / "eval.json")["gates"]
    assert [g["gate"] for g in gates] == ["--max-drop", "--min-accuracy", "--min-agreement", "--min-sqnr"]
    assert all(g["passed"] for g in gates)
    assert gates[2]["limit"] == 0.97
    message = refused("SFN502", 1, *args, "--max-drop", -1, "--min-sqnr", 90)
    assert "at most -1 points allowed" in message
    assert "--min-sqnr: signal to noise is " in message
    assert [g["passed"] for g in document(out / "eval.json")["gates"]] == [False, False]
    assert sfnc(*args, "--min-map", 0.5).exit_code == 3
    assert sfnc(*args, "--min-map", 0.5, "--min-sqnr", 90).exit_code == 1


def test_a_share_and_a_percentage_are_the_same_limit(out):
    args = ("eval", out, "--data", TEST, "--samples", 50, "-q")
    for text in ("0.985", "98.5", "98.5%"):
        sfnc(*args, "--min-agreement", text)
        assert document(out / "eval.json")["gates"][0]["limit"] == pytest.approx(0.985)
    for text in ("most", "-0.1", "101"):
        refused("SFN605", 2, *args, "--min-agreement", text)


def test_max_drop_means_the_same_to_compile_and_to_eval_and_keeps_its_former_name(tmp_path):
    coarse = {"levels": 1, "weight_bits": 2, "reconstruct": False, "samples": 120}
    compile_network(DIGITS, tmp_path / "o", calib=CALIB, **coarse)
    sfnc("eval", tmp_path / "o", "--data", CALIB, "--samples", 120, "--max-drop", 5)
    (row,) = document(tmp_path / "o" / "eval.json")["gates"]
    for name in ("max_drop", "require_accuracy_drop"):
        with pytest.raises(CompileError, match="SFN502") as failure:
            compile_network(DIGITS, tmp_path / "p", calib=CALIB, **{**coarse, name: 5.0})
        assert failure.value.diagnostics[0].what == f"--max-drop: {row['said']}"
    assert not (tmp_path / "p").exists()
    args = (DIGITS, "--calib", CALIB, "--samples", 120, "-o", tmp_path / "q", "-q")
    succeeds(*args, "--require-accuracy-drop", 5)
    assert document(tmp_path / "q" / "manifest.json")["options"]["max_drop"] == 5.0


def test_a_gate_on_a_score_needs_labels(made, tmp_path):
    np.save(tmp_path / "x.npy", np.load(TEST)["image"][:20])
    for gate in ("--max-drop", "--min-accuracy"):
        said = refused("SFN307", 3, "eval", made, "--data", tmp_path / "x.npy", gate, 1)
        assert f"{gate} needs labels" in said
