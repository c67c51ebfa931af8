"""diff: what was changed, what follows from it, and what is no change of the network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sfn_compile.assertions import assert_accuracy, assert_exact, assert_same_network
from sfn_compile.foundation.diagnostics import CompileError

from ..frontend.tiny_onnx import noise, saved, tiny
from .cli_helpers import CALIB, DIGITS, TEST, document, refused, sfnc, succeeds


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """The demo network with fewer levels at one layer."""
    folder = tmp_path_factory.mktemp("other") / "out"
    succeeds(DIGITS, "--calib", CALIB, "--samples", 120, "-o", folder, "-q", "--site", "relu_3:levels=15")
    return folder


def found(*args: object) -> dict:
    return json.loads(succeeds("diff", *args, "--json").stdout)


def test_a_build_and_its_copy_are_the_same_network(made, tmp_path):
    copy = shutil.copytree(made, tmp_path / "copy")
    said = succeeds("diff", made, copy, "--fail-on-change").stdout
    assert said.startswith("the same network: every integer of 8 layers")
    assert found(made, copy)["layers"] == []
    assert_same_network(made, copy)


def test_the_layer_that_was_changed_is_told_from_those_behind_it(made, other):
    rows = {row["name"]: row for row in found(made, other)["layers"]}
    assert rows["relu_3"]["changed"] == ["thresholds", "weights"]
    assert not {"relu", "relu_1", "relu_2"} & set(rows)
    assert rows["avg_pool2d/flat"]["changed"] == []
    assert rows["avg_pool2d/flat"]["different"] > 0
    assert all(0 < row["different"] <= row["compared"] for row in rows.values())
    message = refused("SFN510", 1, "diff", made, other, "--fail-on-change")
    assert "the first is relu_3" in message
    with pytest.raises(AssertionError, match=r"SFN510.*the first is relu_3"):
        assert_same_network(made, other)


def test_options_and_versions_alone_are_no_change(tmp_path):
    model = saved(tiny("a = Conv(x, w) r = Relu(a) f = Flatten(r) y = Gemm(f, k)", w=noise(4, 3, 3, 3), k=noise(64, 2)),
                  tmp_path)  # fmt: skip
    np.save(tmp_path / "x.npy", noise(40, 3, 6, 6))
    args = (model, "--calib", tmp_path / "x.npy", "-q")
    succeeds(*args, "-o", tmp_path / "a")
    succeeds(*args, "-o", tmp_path / "b", "--epochs", 7)
    said = succeeds("diff", tmp_path / "a", tmp_path / "b", "--fail-on-change").stdout
    assert "option epochs: 4 -> 7" in said
    succeeds(*args, "-o", tmp_path / "c", "--target", "sim,nir")
    assert "targets" in succeeds("diff", tmp_path / "a", tmp_path / "c").stdout
    assert sfnc("diff", tmp_path / "a", tmp_path / "c", "--fail-on-change").exit_code == 1


def test_scores_are_compared_on_the_same_data_only(made, other, tmp_path):
    a, b = (shutil.copytree(folder, tmp_path / name) for name, folder in (("a", made), ("b", other)))
    assert found(a, b)["quality"]["score"] is None
    for folder in (a, b):
        succeeds("eval", folder, "--data", TEST, "--samples", 80, "-q")
    score = found(a, b)["quality"]["score"]
    assert score["spiking"] == [document(f / "eval.json")["accuracy"]["snn_top1"] for f in (a, b)]
    succeeds("eval", b, "--data", TEST, "--samples", 81, "-q")
    assert found(a, b)["quality"]["reason"] == "eval.json are of other data"


def test_builds_of_other_models_are_compared_as_far_as_they_go(made, tmp_path):
    model = saved(tiny("a = Conv(x, w) r = Relu(a) f = Flatten(r) y = Gemm(f, k)", w=noise(4, 3, 3, 3), k=noise(64, 2)),
                  tmp_path)  # fmt: skip
    succeeds(model, "-o", tmp_path / "o", "-q")
    document = found(made, tmp_path / "o")
    assert document["same"] is False
    assert document["compared_on"]["samples"] == 0
    assert "golden inputs" in document["compared_on"]["reason"]
    refused("SFN503", 3, "diff", made, tmp_path)


def test_the_assertions_hold_where_the_commands_succeed_and_fail_where_they_fail(out):
    assert assert_exact(out)["proved"] is True
    assert assert_accuracy(out, TEST, samples=60, max_drop=5.0, min_agreement=90)["gates"][0]["passed"]
    with pytest.raises(AssertionError, match=r"SFN502.*--min-sqnr"):
        assert_accuracy(out, TEST, samples=60, min_sqnr=99.0)
    with pytest.raises(CompileError, match="SFN605"):
        assert_accuracy(out, TEST)
    with pytest.raises(CompileError, match="no option 'max_drops'"):
        assert_accuracy(out, TEST, max_drops=1.0)
    (out / "sim" / "program.npz").write_bytes(b"")
    with pytest.raises(AssertionError, match="SFN506"):
        assert_exact(out)
