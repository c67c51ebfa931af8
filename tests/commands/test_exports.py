"""Tables and pictures: the layers as CSV, a layer as SVG, a sweep as both."""

from __future__ import annotations

import csv
from xml.etree import ElementTree

import pytest

from .cli_helpers import CALIB, DIGITS, TEST, document, refused, sfnc, succeeds


def test_the_layers_as_csv_are_those_of_the_report(out, tmp_path):
    succeeds("report", out, "--csv", tmp_path / "layers.csv")
    with (tmp_path / "layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    layers = document(out / "report.json")["layers"]
    assert [r["name"] for r in rows] == [layer["name"] for layer in layers]
    assert [float(r["density"]) for r in rows] == [layer["density"] for layer in layers]
    assert [r["sqnr_db"] for r in rows] == ["" if x["sqnr_db"] is None else str(x["sqnr_db"]) for x in layers]
    assert rows[1]["shape"] == "16 8 8"
    refused("SFN605", 2, "report", out, "--csv", out / "report.json")


@pytest.mark.parametrize("layer", ["relu_2", None])
def test_a_picture_stands_alone(layer, out, tmp_path):
    file = tmp_path / "f.svg"
    succeeds("plot", out, *(() if layer is None else ("--layer", layer)), "-o", file)
    root = ElementTree.parse(file).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert float(root.get("width")) > 300
    assert "--here" in root[0].text  # its colours are in it
    words = " ".join("".join(t.itertext()) for t in root.iter("{http://www.w3.org/2000/svg}text"))
    assert (layer or "relu_3") in words


def test_a_layer_that_is_not_there_or_has_no_codes_is_wrong_usage(out, tmp_path):
    assert "relu_3" in refused("SFN605", 2, "plot", out, "--layer", "relu_9", "-o", tmp_path / "f.svg")
    assert "has no codes" in refused("SFN605", 2, "plot", out, "--layer", "logits", "-o", tmp_path / "f.svg")


def test_a_sweep_has_a_row_per_combination_each_that_of_its_own_build(tmp_path):
    table = tmp_path / "sweep.csv"
    args = ("--levels", "7,31", "--method", "mse,sfn", "--no-reconstruct", "--samples", 120)
    done = succeeds("sweep", DIGITS, "--calib", CALIB, "--data", TEST, "--csv", table, *args)
    assert done.stdout.startswith(f"wrote 4 rows to {table}")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["method"], r["levels"]) for r in rows] == [("mse", "7"), ("mse", "31"), ("sfn", "7"), ("sfn", "31")]
    assert {r["score"] for r in rows} == {"top-1"}
    assert float(rows[0]["sqnr_db"]) < float(rows[1]["sqnr_db"])
    out = tmp_path / "o"
    own = ("--levels", 7, "--method", "sfn", "--no-reconstruct", "--samples", 120)
    succeeds(DIGITS, "--calib", CALIB, "-o", out, *own, "-q")
    succeeds("eval", out, "--data", TEST, "-q")
    found = document(out / "eval.json")
    assert float(rows[2]["spiking"]) == found["accuracy"]["snn_top1"]
    assert float(rows[2]["sqnr_db"]) == found["outputs"]["logits"]["sqnr_db"]
    assert float(rows[2]["synops"]) == document(out / "report.json")["totals"]["synops"]
    root = ElementTree.parse(tmp_path / "sweep.svg").getroot()
    lines = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(lines) == 2
    assert all(len(e.get("points").split()) == 2 for e in lines)


@pytest.mark.parametrize("args", [("--levels", "many"), ("--method", "best"), ("--levels", ""), ("--levels", "0")])
def test_values_that_are_none_are_wrong_usage(args, tmp_path):
    done = sfnc("sweep", DIGITS, "--data", TEST, "--csv", tmp_path / "s.csv", *args)
    assert done.exit_code == 2, done.output
    assert not (tmp_path / "s.csv").exists()
