"""`--site NAME:...`: one population's own levels, weight bits, method and stretch."""

from __future__ import annotations

import pytest

from ..commands.cli_helpers import CALIB, DIGITS, document, refused, succeeds


def compiled(tmp_path, *options):
    succeeds(DIGITS, "--calib", CALIB, "--samples", "100", "-o", tmp_path / "out", "--quiet", *options)
    return {row["name"]: row for row in document(tmp_path / "out" / "report.json")["layers"]}


def test_one_population_has_levels_and_weight_bits_of_its_own(tmp_path):
    rows = compiled(tmp_path, "--site", "relu_1:levels=15,weight-bits=4")
    assert rows["relu_1"]["levels"] == 15
    assert rows["relu_1"]["reason"] == "asked for by --site"
    assert rows["relu_1"]["weight_bits"] <= 4 < rows["relu_2"]["weight_bits"]
    assert {rows[name]["levels"] for name in ("relu", "relu_2", "relu_3", "relu_4")} == {31}


def test_a_stretched_step_makes_fewer_spikes(tmp_path):
    plain, stretched = compiled(tmp_path), compiled(tmp_path, "--site", "relu_1:stretch=4")
    assert stretched["relu_1"]["density"] < plain["relu_1"]["density"]
    assert stretched["relu"] == plain["relu"]


def test_one_population_has_a_method_of_its_own(tmp_path):
    plain, own = compiled(tmp_path), compiled(tmp_path, "--site", "relu_2:method=minmax")
    assert own["relu_2"]["sqnr_db"] < plain["relu_2"]["sqnr_db"]
    assert own["relu_1"] == plain["relu_1"]


@pytest.mark.parametrize(
    "text", ["relu_1", "relu_1:levels", "relu_1:leaves=3", "relu_1:levels=x", ":levels=3", "relu_1:levels=0",
             "relu_1:weight-bits=9", "relu_1:method=best", "relu_1:stretch=0", "elu_1:levels=3"],
)  # fmt: skip
def test_settings_that_do_not_exist(text, tmp_path):
    refused("SFN605", 2, DIGITS, "--calib", CALIB, "--samples", "4", "-o", tmp_path / "out", "--site", text)
