"""`check`, `run`, `eval`, `verify` and the tables: answers, exit codes, and builds that are damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import click
import numpy as np
import pytest
from sfn_backends.sim import SimBackend

from sfn_compile.cli.main import cli
from sfn_compile.files import build_folder, program_files
from sfn_compile.foundation.codes import CODES
from sfn_compile.frontend.operators import IMPORTERS
from sfn_compile.program.network import Population
from sfn_compile.targets import backend

from ..frontend.tiny_onnx import by_onnxruntime, noise, saved, tiny
from .cli_helpers import CALIB, DIGITS, TEST, document, refused, reseal, sfnc, succeeds


# -- check ---------------------------------------------------------------------------------------------------------
def test_check_lists_every_node_and_converts_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = succeeds("check", DIGITS, "--target", "sim")
    assert "24 of 24 nodes can be mapped" in done.stdout
    assert "target sim: fits" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_check_as_json_says_why_not(tmp_path):
    model = saved(tiny("[one] a = Det(x) [two] y = Relu(x)", outputs=("y", "a")), tmp_path)
    done = sfnc("check", model, "--json")
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    assert found["coverage"] == {"nodes": 2, "mapped": 1, "host": 0}
    assert found["diagnostics"][0]["code"] == "SFN201"
    assert found["nodes"] == [{"node": "one (Det)", "state": "SFN201"}, {"node": "two (Relu)", "state": "ok"}]


# -- run -----------------------------------------------------------------------------------------------------------
def test_run_writes_the_outputs_under_their_onnx_names_and_eval_agrees(out, tmp_path):
    succeeds("run", out, "--input", TEST, "-o", tmp_path / "y.npz")
    got, labels = dict(np.load(tmp_path / "y.npz")), np.load(TEST)["labels"]
    assert list(got) == ["logits"]
    assert got["logits"].shape == (599, 10)
    assert got["logits"].dtype == np.float32
    succeeds("eval", out, "--data", TEST, "--quiet")
    accuracy = document(out / "eval.json")["accuracy"]
    assert accuracy["snn_top1"] == (got["logits"].argmax(axis=1) == labels).mean()
    assert accuracy["n"] == 599
    assert accuracy["float_top1"] > 0.99
    assert accuracy["float_top1"] - accuracy["snn_top1"] < 0.02


def test_run_codes_writes_the_integers_of_every_layer(made, tmp_path):
    x, golden = build_folder.load_golden(made)
    np.savez(tmp_path / "x.npz", **x)
    succeeds("run", made, "--input", tmp_path / "x.npz", "-o", tmp_path / "c.npz", "--codes")
    got = dict(np.load(tmp_path / "c.npz"))
    assert set(got) == set(golden)
    assert all(np.issubdtype(v.dtype, np.integer) and np.array_equal(v, golden[k]) for k, v in got.items())


def test_run_says_where_it_wrote_unless_quiet(made, tmp_path):
    done = succeeds("run", made, "--input", TEST, "-o", tmp_path / "y.npz")
    assert "wrote 1 arrays" in done.stderr
    assert succeeds("run", made, "--input", TEST, "-o", tmp_path / "y.npz", "--quiet").output == ""


def test_run_to_a_place_that_cannot_be_written(made, tmp_path):
    (tmp_path / "file").write_text("")
    refused("SFN602", 5, "run", made, "--input", TEST, "-o", tmp_path / "file" / "y.npz")


# -- eval ----------------------------------------------------------------------------------------------------------
def test_eval_without_labels_gives_agreement_noise_and_error(out, tmp_path):
    np.savez(tmp_path / "d.npz", image=np.load(TEST)["image"][:50])
    printed = json.loads(succeeds("eval", out, "--data", tmp_path / "d.npz", "--json").stdout)
    assert printed == document(out / "eval.json")
    assert "accuracy" not in printed
    assert printed["outputs"]["logits"].keys() == {"agreement", "sqnr_db", "max_error"}
    assert printed["outputs"]["logits"]["agreement"] > 0.9


def test_eval_takes_the_samples_it_is_told(out):
    succeeds("eval", out, "--data", TEST, "--samples", 25, "--seed", 3, "--quiet")
    assert document(out / "eval.json")["accuracy"]["n"] == 25


def test_eval_on_a_target_finds_what_it_finds_in_the_simulator(tmp_path):
    """In target ``onnx`` onnxruntime computes the spiking network."""
    succeeds("compile", DIGITS, "--calib", CALIB, "--samples", 50, "--target", "onnx", "-o", tmp_path / "o", "--quiet")
    there = json.loads(succeeds("eval", tmp_path / "o", "--data", TEST, "--on", "onnx", "--json").stdout)
    here = json.loads(succeeds("eval", tmp_path / "o", "--data", TEST, "--json").stdout)
    assert (there.pop("on"), here.pop("on")) == ("onnx", "sim")
    assert there == here


def test_eval_on_a_target_that_was_not_built_is_refused(made):
    refused("SFN604", 2, "eval", made, "--data", TEST, "--on", "onnx")


# -- verify: 0 and 1 -----------------------------------------------------------------------------------------------
def test_verify_proves_an_untouched_build(out):
    proof = json.loads(succeeds("verify", out, "--json").stdout)
    assert proof == document(out / "proof.json")
    sim = proof["targets"]["sim"]
    assert sim.keys() >= {"samples", "compared", "different", "first_difference", "mode", "executed_by"}
    assert (sim["samples"], sim["different"], sim["first_difference"], sim["mode"]) == (8, 0, None, "whole")
    assert sim["compared"] > 30_000
    assert proof["golden"] == {
        "compared": sum(v.size for v in build_folder.load_golden(out)[1].values()),
        "different": 0,
    }
    assert proof["files_changed"] == []


def test_verify_and_check_say_each_stage_in_a_line_where_there_is_no_terminal(out):
    said = succeeds("verify", out, "--on", "sim").stderr.splitlines()
    assert said[:4] == ["simulator", "sim: read back", "sim: its own layers in the simulator", "sim: execute"]
    assert any(s.startswith("sim: compare") and s.endswith(" layers") for s in said)
    assert len(said) == len(set(said))
    assert succeeds("verify", out, "--on", "sim", "--quiet").stderr == ""
    said = succeeds("check", DIGITS, "--calib", CALIB, "--target", "sim").stderr.splitlines()
    assert said[:3] == ["import", "structure", "calibrate"]
    assert said[-1].startswith("sim: legalise")
    assert succeeds("check", DIGITS, "--json").stderr == ""


def test_compile_eval_run_and_bisect_say_their_stages_where_there_is_no_terminal(tmp_path):
    out = tmp_path / "o"
    said = succeeds("compile", DIGITS, "--calib", CALIB, "--samples", 200, "--target", "sim,onnx", "-o", out).stderr
    lines = [line for line in said.splitlines() if not line.startswith((" ", "warning"))]
    stages = ["import", "calibrate", "map 8 layers", "measure", "evaluate", "write sim", "write onnx"]
    assert lines == stages
    assert succeeds("eval", out, "--data", TEST).stderr.splitlines()[0] == "evaluate"
    assert succeeds("run", out, "--input", TEST, "-o", tmp_path / "y.npz").stderr.splitlines()[0] == "run on sim"
    said = succeeds("bisect", out, "--data", TEST, "--samples", 8, "--limit", 1).stderr.splitlines()
    assert said == ["both networks", "half networks", "error of every layer"]
    for command in (("eval", out, "--data", TEST), ("bisect", out, "--data", TEST, "--samples", 8, "--limit", 1)):
        assert succeeds(*command, "--quiet").stderr == ""


def test_verify_on_data_of_ones_own(out):
    proof = json.loads(succeeds("verify", out, "--data", TEST, "--samples", 3, "--json").stdout)
    assert proof["targets"]["sim"]["samples"] == 3
    assert proof["data"] == "digits_test.npz"


def test_verify_finds_one_altered_golden_integer(out):
    x, values = build_folder.load_golden(out)
    name = list(values)[2]
    values[name].flat[5] += 1
    build_folder.save_golden(out, x, values)
    reseal(out)
    message = refused("SFN501", 1, "verify", out)
    assert "1 integers" in message
    assert document(out / "proof.json")["golden"]["different"] == 1


def test_verify_finds_one_altered_weight_of_a_target(out):
    program = program_files.load(out / "sim")
    steps = list(program.steps)
    at = next(i for i, s in enumerate(steps) if isinstance(s, Population))
    first, *others = steps[at].projections
    weight = first.map.weight.copy()
    weight.flat[0] += 40
    steps[at] = replace(steps[at], projections=(replace(first, map=replace(first.map, weight=weight)), *others))
    program_files.save(replace(program, steps=tuple(steps)), out / "sim")
    reseal(out)
    message = refused("SFN501", 1, "verify", out)
    assert "target sim" in message
    found = document(out / "proof.json")["targets"]["sim"]
    assert found["different"] > 0
    assert found["first_difference"]["layer"] == steps[at].name
    assert found["reload"]["equal"] is False


def test_verify_never_counts_a_target_that_was_not_executed(out, monkeypatch):
    def absent(self):
        return "the simulator is on strike"

    monkeypatch.setattr(SimBackend, "available", absent)
    refused("SFN601", 5, "verify", out)
    found = document(out / "proof.json")["targets"]["sim"]
    assert (found["compared"], found["mode"], found["error"]) == (0, None, "the simulator is on strike")


def test_verify_refuses_a_target_that_the_build_does_not_hold(out):
    refused("SFN604", 2, "verify", out, "--on", "nir")


def test_verify_refuses_an_unknown_target(out):
    refused("SFN604", 2, "verify", out, "--on", "tpu")


@pytest.mark.parametrize("content", [None, b"hello", b"[]", b"{}"])
def test_a_folder_without_a_manifest_that_can_be_read_is_no_build(content, out):
    (out / "manifest.json").unlink()
    if content is not None:
        (out / "manifest.json").write_bytes(content)
    refused("SFN503", 3, "verify", out)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_golden_integers_that_cannot_be_read_are_refused_even_if_sealed(damage, out):
    data = (out / "golden.npz").read_bytes()
    half = data[: len(data) // 2]
    (out / "golden.npz").write_bytes(half + bytes(b ^ 0x55 for b in data[len(half) :]) * (damage == "flipped"))
    reseal(out)
    refused("SFN503", 3, "verify", out)


def test_a_folder_that_is_no_build_is_refused_everywhere(tmp_path):
    refused("SFN503", 3, "verify", tmp_path)
    refused("SFN503", 3, "eval", tmp_path, "--data", TEST)
    refused("SFN503", 3, "run", tmp_path, "--input", TEST, "-o", tmp_path / "y.npz")


def test_verify_misses_a_target_whose_folder_is_gone(out):
    shutil.rmtree(out / "sim")
    assert "sim/program.npz" in refused("SFN506", 1, "verify", out)


@pytest.mark.parametrize("wrong", [("--samples", 0), ("--samples", -3), ("--seed", -1)])
@pytest.mark.parametrize("verb", ["eval", "verify"])
def test_samples_that_cannot_be_chosen(verb, wrong, made):
    refused("SFN605", 2, verb, made, "--data", TEST, *wrong)


def test_a_time_limit_that_is_none(made):
    refused("SFN605", 2, "verify", made, "--time-limit", "nan")


def test_run_into_a_folder(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused("SFN602", 5, "run", made, "--input", TEST, "-o", ".")
    assert list(tmp_path.iterdir()) == []


# -- tables and help -----------------------------------------------------------------------------------------------
def test_ops_lists_every_operator():
    listed = json.loads(succeeds("ops", "--json").stdout)
    assert set(listed) == {*IMPORTERS, "Constant"}
    assert all(listed.values())
    assert succeeds("ops").stdout.count("\n") == len(listed)


def test_targets_lists_every_back_end():
    listed = {t["name"]: t for t in json.loads(succeeds("targets", "--json").stdout)}
    assert set(listed) == set(backend.names())
    assert listed["sim"]["available"] is True
    assert all(t["available"] or t["reason"] for t in listed.values())
    assert "sim" in succeeds("targets").stdout


@pytest.mark.parametrize("code", list(CODES))
def test_every_code_is_explained(code):
    page = succeeds("explain", code.lower()).stdout
    assert page.startswith(f"{code}: {CODES[code].title}")
    assert CODES[code].page in page
    assert f"exit code: {CODES[code].exit_code}" in page


def test_a_code_that_does_not_exist_is_not_explained():
    done = sfnc("explain", "SFN000")
    assert done.exit_code == 2
    assert "SFN101" in done.stderr


def test_help_names_every_command_and_imports_nothing_heavy():
    program = """
import sys
from sfn_compile.cli.main import cli
try:
    cli(["--help"], prog_name="sfnc")
except SystemExit as end:
    heavy = {"numpy", "onnx", "onnxruntime", "onnx_ir", "onnxscript", "rich", "threadpoolctl"} & set(sys.modules)
    print("HEAVY", sorted(heavy), "EXIT", end.code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "HEAVY [] EXIT 0" in done.stdout
    assert all(name in done.stdout for name in cli.commands)


@pytest.mark.parametrize("command", list(cli.commands))
def test_every_command_has_help(command):
    text = succeeds(command, "--help").stdout
    assert isinstance(cli.commands[command], click.Command)
    assert cli.commands[command].get_short_help_str(200).split()[0] in text


# -- what the decoder does, through files and back ---------------------------------------------------------------------
@pytest.mark.parametrize(
    "last",
    ["Relu(g)", "Clip(g, lo, hi)", "Clip(g, , hi)", "Clip(g, lo)", "LeakyRelu<alpha=0.1>(g)", "Sigmoid(g)", "Tanh(g)",
     "Softmax(g)", "LogSoftmax(g)", "Reshape(g, s)"],
)  # fmt: skip
def test_functions_at_the_end_are_decoded_and_survive_the_files(last, tmp_path):
    body = f"a = Conv(x, w) r = Relu(a) f = Flatten(r) g = Gemm(f, k) y = {last}"
    bounds = {"lo": np.float32(-0.5), "hi": np.float32(0.5), "s": np.array([-1, 2, 2])}
    model = tiny(body, w=noise(4, 3, 3, 3), k=noise(64, 4) / 20, **bounds)
    x = noise(64, 3, 6, 6, seed=3)
    np.savez(tmp_path / "x.npz", x=x)
    out = tmp_path / "o"
    succeeds(saved(model, tmp_path), "--calib", tmp_path / "x.npz", "--levels", 255, "-o", out, "--quiet")
    json.loads((out / "program.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    succeeds("run", out, "--input", tmp_path / "x.npz", "-o", tmp_path / "y.npz", "--quiet")
    want, got = by_onnxruntime(model, x)["y"], np.load(tmp_path / "y.npz")["y"]
    assert want.shape == got.shape
    assert np.abs(want - got).max() < 0.1 * max(np.abs(want).max(), 1)
