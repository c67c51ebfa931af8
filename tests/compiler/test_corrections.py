"""The corrections from the command line: what they do to the outputs, what the report says, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sfn_compile.cli.terminal import _correction_line
from sfn_compile.foundation.options import Options

from ..commands.cli_helpers import CALIB, DIGITS, MODELS, contents, refused, succeeds

REASON = "its rounding costs the outputs most: more levels for a share of the neurons"


def compiled(folder, *options, model=DIGITS, calib=CALIB):
    succeeds(model, "--calib", calib, "-o", folder, "--quiet", *options)
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def correction(report, name):
    return next(row for row in report["corrections"] if row["correction"] == name)


@pytest.fixture(scope="module")
def few_levels(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("few") / "out", "--levels", "3")


def test_every_correction_says_the_error_before_and_after(few_levels):
    for name in ("correct-bias", "reconstruct"):
        row = correction(few_levels, name)
        assert row["outputs_db_after"] > row["outputs_db_before"], row


def test_weights_of_eight_bits_are_rounded_with_feedback_too(few_levels):
    row = correction(few_levels, "reconstruct")
    assert row["error_fitted"] > 0
    assert row["error_learnt"] <= min(row["error_before"], row["error_fitted"])


def test_learning_is_the_default_below_31_levels_or_8_bits_only():
    assert [Options(levels=n).reconstructs for n in (30, 31)] == [True, False]
    assert [Options(weight_bits=n).reconstructs for n in (7, 8)] == [True, False]
    assert not Options(levels=3, reconstruct=False).reconstructs
    assert Options(reconstruct=True).reconstructs
    assert Options(levels=3, reconstruct=False).share_of_fine == 0
    assert Options(levels=31, fine_share=0.05).share_of_fine == 0.05


def test_more_levels_go_to_few_neurons_and_the_report_gives_the_reason(few_levels):
    rows = [r for r in few_levels["layers"] if r["kind"] != "input" and r["levels"] is not None]
    above = [r for r in rows if r["levels"] > 3]
    assert above
    assert {r["reason"] for r in above} == {REASON}
    assert {r["levels"] for r in above} == {31}
    neurons = sum(int(np.prod(r["shape"])) for r in above)
    assert neurons <= 0.1 * sum(int(np.prod(r["shape"])) for r in rows)


def test_a_site_with_levels_of_its_own_keeps_them(tmp_path, few_levels):
    chosen = next(r["name"] for r in few_levels["layers"] if r["reason"] == REASON)
    report = compiled(tmp_path / "out", "--levels", "3", "--site", f"{chosen}:levels=5", "--epochs", "1")
    assert next(r["levels"] for r in report["layers"] if r["name"] == chosen) == 5


def test_without_them_every_population_has_the_stated_levels(tmp_path):
    report = compiled(tmp_path / "out", "--levels", "3", "--no-reconstruct")
    assert {r["levels"] for r in report["layers"] if r["kind"] == "uniform"} == {3}
    assert [r["correction"] for r in report["corrections"]] == ["correct-bias"]


def test_weights_of_four_bits_are_fitted(tmp_path):
    report = compiled(tmp_path / "out", "--weight-bits", "4", "--epochs", "1")
    row = correction(report, "reconstruct")
    assert row["error_fitted"] < 0.6 * row["error_before"]
    assert max(r["weight_bits"] for r in report["layers"] if r["kind"] != "input") <= 4


def test_levels_of_a_book_of_codes_are_learnt_too(tmp_path):
    book = ("--method", "sfn", "--method-option", "ladder=lloyd-max", "--fine-share", "0")
    report = compiled(tmp_path / "out", "--levels", "3", "--epochs", "4", *book)
    row = correction(report, "reconstruct")
    assert row["kept"] == "learnt", row
    assert row["error_learnt"] < row["error_before"]
    succeeds("verify", tmp_path / "out", "--quiet")


def test_coarse_weights_are_fitted_and_not_learnt(tmp_path):
    row = correction(compiled(tmp_path / "out", "--weight-bits", "4"), "reconstruct")
    assert {"error_before", "error_fitted"} <= row.keys()
    assert "error_learnt" not in row


def test_learnt_builds_are_identical_to_the_byte_and_verify(tmp_path):
    for name in ("a", "b"):
        compiled(tmp_path / name, "--levels", "7", "--epochs", "2", "--target", "sim,onnx,nir")
    assert {k: v for k, v in contents(tmp_path / "a").items() if k != "timing.json"} == {
        k: v for k, v in contents(tmp_path / "b").items() if k != "timing.json"
    }
    succeeds("verify", tmp_path / "a", "--quiet")


def test_few_samples_are_not_learnt_from(tmp_path):
    report = compiled(tmp_path / "out", "--levels", "3", "--samples", "40")
    row = correction(report, "reconstruct")
    assert row["kept"] == "before"
    assert "40 samples are too few" in row["reason"]


def test_what_cannot_be_learnt_through_is_said_and_compiled_as_before(tmp_path):
    x = np.random.default_rng(0).random((64, 1, 28, 28), np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    report = compiled(tmp_path / "out", "--levels", "15", model=MODELS / "fashion_vit.onnx", calib=tmp_path / "x.npz")
    assert "cannot be learnt through" in correction(report, "reconstruct")["reason"]


def test_equalisation_is_reported_with_its_error(tmp_path):
    report = compiled(tmp_path / "out", "--granularity", "tensor", "--equalize", "--samples", "100")
    assert {"outputs_db_before", "outputs_db_after"} <= correction(report, "equalize").keys()


@pytest.mark.parametrize("options", [("--epochs", "0"), ("--fine-share", "1.5"), ("--fine-share", "-0.1")])
def test_values_that_are_not_accepted(options, tmp_path):
    refused("SFN605", 2, DIGITS, "--calib", CALIB, "-o", tmp_path / "out", *options)


def test_the_terminal_says_what_was_gained_or_why_nothing_was(tmp_path):
    options = (DIGITS, "--calib", CALIB, "-o", tmp_path / "out", "--levels", "3", "--epochs", "1")
    said = " ".join(succeeds(*options).output.split())
    assert "weights learnt from the float network: outputs from" in said
    assert "more levels, where rounding costs the outputs most (relu" in said
    said = " ".join(succeeds(*options, "--samples", "40").output.split())
    assert "not learnt: 40 samples are too few; 64 are needed" in said


def test_the_terminal_tells_fitted_weights_from_learnt_ones():
    row = {"correction": "reconstruct", "kept": "fitted", "outputs_db_before": 12.58, "outputs_db_after": 18.18}
    assert _correction_line(row) == "weights rounded with feedback: outputs from 12.6 to 18.2 dB"
    assert _correction_line({**row, "kept": "learnt"}).startswith("weights learnt")


def test_the_terminal_names_four_sites_and_counts_the_others():
    """The report has them all; on a ResNet they filled the screen, twice."""
    row = {"correction": "two-digits", "sites": list("abcdefg"), "outputs_db_before": None, "outputs_db_after": None}
    assert _correction_line(row) == "sites of more levels fired in two digits (a, b, c, d and 3 more (report.json))"
    assert _correction_line({**row, "sites": list("abcd")}).endswith("(a, b, c, d)")
