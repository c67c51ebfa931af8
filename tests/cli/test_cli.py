"""The command line as users and their CI see it: verbs, exit codes, files, and what is left behind when things fail."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from sfn_backends.sim import SimBackend
from tiny_onnx import by_onnxruntime, noise, saved, tiny

from sfn_compile import artifact, backend, build, serialize
from sfn_compile.cli import cli
from sfn_compile.codes import CODES
from sfn_compile.diagnostics import fail
from sfn_compile.execute import run_codes
from sfn_compile.frontend.operators import IMPORTERS
from sfn_compile.host import encode
from sfn_compile.program import Population

MODELS = Path(__file__).parents[2] / "models"
DIGITS, CALIB, TEST = MODELS / "digits.onnx", MODELS / "digits_calib.npz", MODELS / "digits_test.npz"
CLOCK = {"timing.json"}


def sfnc(*args: object) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(cli, [str(a) for a in args])


def succeeds(*args: object) -> Result:
    done = sfnc(*args)
    assert done.exit_code == 0, done.output
    return done


def refused(code: str, exit_code: int, *args: object) -> str:
    """The message of a command that must fail with this code and exit status."""
    done = sfnc(*args)
    assert done.exit_code == exit_code, done.output
    assert code in done.stderr
    assert "Traceback" not in done.output
    return done.stderr


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def document(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A build of the demo network, never changed by a test."""
    out = tmp_path_factory.mktemp("digits") / "out"
    succeeds("compile", DIGITS, "--calib", CALIB, "--samples", 120, "-o", out, "--quiet")
    return out


@pytest.fixture
def out(made, tmp_path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(made, tmp_path / "out"))


@pytest.fixture
def little(tmp_path) -> Path:
    """A tiny model for what needs no real network."""
    body = "a = Conv(x, w, b) r = Relu(a) f = Flatten(r) y = Gemm(f, k)"
    return saved(tiny(body, w=noise(4, 3, 3, 3), b=noise(4), k=noise(64, 2)), tmp_path, "little.onnx")


# -- compile -------------------------------------------------------------------------------------------------------
def test_the_verb_may_be_left_out(little, tmp_path):
    succeeds(little, "-o", tmp_path / "a", "--quiet")
    succeeds("--quiet", "-o", tmp_path / "b", little)
    assert contents(tmp_path / "a").keys() == contents(tmp_path / "b").keys()


def test_the_default_folder_is_named_after_the_model(little, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    succeeds("little.onnx", "--quiet")
    assert (tmp_path / "little.sfnc" / "manifest.json").is_file()


def test_a_build_holds_the_files_of_the_contract(made):
    assert {"program.npz", "program.json", "report.json", "manifest.json", "golden.npz", "timing.json", "model.onnx",
            "sim/program.npz", "sim/program.json"} <= contents(made).keys()  # fmt: skip


def test_two_builds_are_identical_to_the_byte(made, tmp_path):
    succeeds(DIGITS, "--calib", CALIB, "--samples", 120, "-o", tmp_path / "again", "--quiet")
    first, second = contents(made), contents(tmp_path / "again")
    assert {k: v for k, v in first.items() if k not in CLOCK} == {k: v for k, v in second.items() if k not in CLOCK}


def test_the_manifest_covers_every_file_and_both_inputs(made):
    manifest = document(made / "manifest.json")
    assert manifest["files"] == {k: v for k, v in contents(made).items() if k not in artifact.OUTSIDE}
    assert manifest["model"]["sha256"] == sha256(DIGITS.read_bytes()).hexdigest()
    assert manifest["calibration"]["sha256"] == sha256(CALIB.read_bytes()).hexdigest()
    assert {"sfnc", "numpy", "onnx", "onnxruntime", "python"} <= manifest["versions"].keys()
    assert manifest["options"]["levels"] == 31


def test_another_seed_chooses_other_samples(little, tmp_path):
    for seed in (0, 1):
        succeeds(little, "--seed", seed, "-o", tmp_path / str(seed), "--quiet")
    assert contents(tmp_path / "0")["golden.npz"] != contents(tmp_path / "1")["golden.npz"]


def test_the_report_has_the_fields_of_the_contract(made):
    report = document(made / "report.json")
    assert report["coverage"] == {"nodes": 24, "mapped": 24, "host": 0}
    fields = {"name", "origin", "kind", "levels", "weight_bits", "acc_bits", "acc_min", "acc_max", "sqnr_db",
              "sqnr_accumulated_db", "saturation", "density", "dead", "synops"}  # fmt: skip
    assert all(fields <= row.keys() for row in report["layers"][1:])
    assert report["options"]["method"] == "mse"
    assert report["totals"]["populations"] == len(report["layers"]) - 1
    assert all(row["weight_bits"] <= 8 and row["acc_bits"] <= 24 for row in report["layers"][1:])
    assert all(row["origin"] for row in report["layers"])


def test_golden_holds_the_inputs_and_every_layers_integers(made):
    x, values = artifact.load_golden(made)
    _, program = artifact.open_build(made)
    assert len(x) == 8
    assert list(values) == list(program.values())
    again = run_codes(program, {e.value: encode(e, x) for e in program.inputs}, engine="reference")
    assert all(np.array_equal(values[name], again[name]) for name in values)


def test_compile_prints_json_that_is_the_report(little, tmp_path):
    done = succeeds(little, "-o", tmp_path / "o", "--json")
    printed = json.loads(done.stdout)
    assert printed.pop("output") == str(tmp_path / "o")
    assert printed == document(tmp_path / "o" / "report.json")


def test_generated_inputs_are_never_silent(little, tmp_path):
    done = succeeds(little, "-o", tmp_path / "o")
    assert "SFN308" in done.stderr
    assert document(tmp_path / "o" / "report.json")["warnings"][0]["code"] == "SFN308"


def test_few_samples_are_warned_about(tmp_path):
    done = succeeds(DIGITS, "--calib", CALIB, "--samples", 9, "-o", tmp_path / "o")
    assert "SFN309" in done.stderr


def test_quiet_prints_nothing(made, tmp_path):
    done = succeeds(DIGITS, "--calib", CALIB, "--samples", 120, "-o", tmp_path / "o", "--quiet")
    assert done.stdout == ""


def test_the_table_names_the_totals_and_the_next_step(little, tmp_path):
    done = succeeds(little, "-o", tmp_path / "o")
    assert "4 of 4 ONNX nodes mapped" in done.stdout
    assert f"sfnc verify {tmp_path / 'o'}" in " ".join(done.stdout.split())


# -- wrong usage: 2 ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options",
    [("--levels", 0), ("--levels", 256), ("--input-levels", 0), ("--weight-bits", 1), ("--weight-bits", 9),
     ("--acc-bits", 7), ("--timesteps", 4), ("--samples", 0), ("--target", ","), ("--method-option", "p"),
     ("--method-option", "p=2"), ("--method", "sfn", "--method-option", "reading=x"), ("--input-shape", "x"),
     ("--input-shape", "x=1,a"), ("--require-accuracy-drop", "nan")],
)  # fmt: skip
def test_values_that_are_not_accepted(options, little, tmp_path):
    refused("SFN605", 2, little, "-o", tmp_path / "o", *options)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("args", [("frobnicate",), ("compile",), ("compile", "m.onnx", "--nonsense"), ("verify",),
                                  ("m.onnx", "--method", "best"), ("m.onnx", "--nir-form", "best")])  # fmt: skip
def test_commands_that_do_not_exist(args):
    assert sfnc(*args).exit_code == 2


def test_an_unknown_target(little, tmp_path):
    message = refused("SFN604", 2, little, "--target", "sim,tpu", "-o", tmp_path / "o")
    assert "known targets:" in message
    assert not (tmp_path / "o").exists()


def test_a_build_does_not_hold_a_target_that_was_not_asked_for(made, tmp_path):
    refused("SFN604", 2, "run", made, "--input", TEST, "-o", tmp_path / "y.npz", "--on", "nir")


# -- models and data that cannot be compiled: 3 --------------------------------------------------------------------
def test_a_missing_model(tmp_path):
    refused("SFN101", 3, tmp_path / "no.onnx")
    refused("SFN101", 3, "check", tmp_path / "no.onnx")


def test_a_folder_given_as_model(tmp_path):
    refused("SFN101", 3, "compile", tmp_path)


def test_unsupported_operators_are_all_listed(tmp_path):
    model = saved(tiny("[one] a = Erf(x) [two] y = Softplus(a)"), tmp_path)
    message = refused("SFN201", 3, model, "-o", tmp_path / "o")
    assert "one (Erf)" in message
    assert "two (Softplus)" in message


def test_errors_are_data_with_json(tmp_path):
    done = sfnc(saved(tiny("[one] y = Erf(x)"), tmp_path), "--json")
    (found,) = json.loads(done.stderr)["diagnostics"]
    assert (found["code"], found["severity"], found["where"]) == ("SFN201", "error", "one (Erf)")
    assert done.stdout == ""


X = noise(4, 1, 8, 8)
NAN = np.where(np.arange(4).reshape(4, 1, 1, 1) == 2, np.nan, X)
DATA = {
    "another name": ("SFN302", {"picture": X}),
    "another shape": ("SFN303", {"image": noise(4, 8, 8)}),
    "no sample axis": ("SFN303", {"image": noise(1, 8, 8)}),
    "text": ("SFN304", {"image": np.full((4, 1, 8, 8), "a")}),
    "complex numbers": ("SFN304", {"image": X.astype(complex)}),
    "NaN": ("SFN305", {"image": NAN}),
    "infinity": ("SFN305", {"image": np.full((4, 1, 8, 8), np.inf)}),
    "numbers too large for the model": ("SFN305", {"image": np.full((4, 1, 8, 8), 1e300)}),
    "nothing": ("SFN306", {"image": X[:0]}),
    "a scalar": ("SFN306", {"image": np.float32(1)}),
    "fewer labels": ("SFN307", {"image": X, "labels": np.arange(3)}),
    "labels that are no integers": ("SFN307", {"image": X, "y": np.ones(4)}),
    "pickled objects": ("SFN301", {"image": np.array([None] * 4)}),
}


@pytest.mark.parametrize("fault", list(DATA))
def test_data_is_refused_with_its_code(fault, made, tmp_path):
    code, arrays = DATA[fault]
    np.savez(tmp_path / "d.npz", **arrays)
    refused(code, 3, DIGITS, "--calib", tmp_path / "d.npz", "-o", tmp_path / "o")
    refused(code, 3, "eval", made, "--data", tmp_path / "d.npz")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("content", [None, b"", b"text", b"PK\x03\x04 broken", b"\x93NUMPY\x01\x00"])
def test_data_that_cannot_be_read(content, tmp_path):
    if content is not None:
        (tmp_path / "d.npz").write_bytes(content)
    refused("SFN301", 3, DIGITS, "--calib", tmp_path / "d.npz", "-o", tmp_path / "o")


def test_data_that_is_damaged_anywhere_is_refused_or_whole(tmp_path):
    from sfn_compile.data import load_data
    from sfn_compile.diagnostics import CompileError

    np.savez_compressed(tmp_path / "d.npz", x=np.arange(12.0).reshape(3, 4))
    whole = (tmp_path / "d.npz").read_bytes()
    for at in range(0, len(whole), 3):
        (tmp_path / "d.npz").write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            found = load_data(tmp_path / "d.npz", "x", (4,), "float32")
        except CompileError:
            continue
        assert np.array_equal(found.x, np.arange(12.0).reshape(3, 4)), at


def test_integer_images_npy_files_and_the_name_x_are_accepted(made, tmp_path):
    images = np.load(TEST)["image"][:6]
    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "b.npz", x=images.astype(np.float64))
    np.savez(tmp_path / "c.npz", image=images.astype(np.float32))
    for name in ("a.npy", "b.npz", "c.npz"):
        succeeds("run", made, "--input", tmp_path / name, "-o", tmp_path / f"{name}.out.npz")
    first, *others = [dict(np.load(tmp_path / f"{n}.out.npz")) for n in ("a.npy", "b.npz", "c.npz")]
    assert all(np.array_equal(first["logits"], o["logits"]) for o in others)


def test_labels_outside_the_classes(made, tmp_path):
    np.savez(tmp_path / "d.npz", image=X, labels=np.array([0, 1, 2, 10]))
    assert "10 classes" in refused("SFN307", 3, "eval", made, "--data", tmp_path / "d.npz")


# -- what does not fit: 4 ------------------------------------------------------------------------------------------
def test_accumulators_that_fit_at_no_threshold(tmp_path):
    message = refused("SFN401", 4, DIGITS, "--calib", CALIB, "--samples", 20, "--acc-bits", 8, "-o", tmp_path / "o")
    assert "do not fit 8 bits" in message
    assert not (tmp_path / "o").exists()


class Grumpy:
    """A target that refuses every network."""

    name, capabilities = "grumpy", backend.load("sim").capabilities

    def emit(self, program, folder, options):
        (folder / "half").write_text("written before it refused")
        raise fail("SFN402", "too large for a grumpy chip")

    def available(self):
        return None


def test_where_one_target_refuses_the_others_are_built(little, tmp_path, monkeypatch):
    load = backend.load
    monkeypatch.setattr(backend, "load", lambda name: Grumpy() if name == "grumpy" else load(name))
    message = refused("SFN402", 4, little, "--target", "sim,grumpy", "-o", tmp_path / "o", "--quiet")
    assert "grumpy chip" in message
    assert (tmp_path / "o" / "sim").is_dir()
    assert not (tmp_path / "o" / "grumpy").exists()
    assert document(tmp_path / "o" / "report.json")["targets"]["grumpy"]["refused"][0]["code"] == "SFN402"
    succeeds("verify", tmp_path / "o", "--quiet")


def test_where_every_target_refuses_nothing_is_written(little, tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "load", lambda name: Grumpy())
    refused("SFN402", 4, little, "--target", "grumpy", "-o", tmp_path / "o", "--quiet")
    assert not (tmp_path / "o").exists()


# -- failing builds leave what was there: 5, 70, 3 -----------------------------------------------------------------
def raises(error: BaseException):
    def run(*args, **kwargs):
        raise error

    return run


FULL = OSError(errno.ENOSPC, "No space left on device")
FAILURES = {
    "the disk is full while the program is written": (serialize, "save", FULL, "SFN602", 5),
    "the disk is full while the manifest is written": (artifact, "write_manifest", FULL, "SFN602", 5),
    "the folder cannot be moved into place": (artifact, "_swap", FULL, "SFN602", 5),
    "our own bug": (build.measure, "layers", RuntimeError("surprise"), "SFN901", 70),
}


@pytest.mark.parametrize("failure", list(FAILURES))
@pytest.mark.parametrize("earlier", [True, False])
def test_a_failed_build_leaves_things_as_they_were(failure, earlier, little, tmp_path, monkeypatch):
    place, out = tmp_path / "place", tmp_path / "place" / "o"
    place.mkdir()
    if earlier:
        succeeds(little, "-o", out, "--quiet")
    before = contents(place)
    module, name, error, code, exit_code = FAILURES[failure]
    monkeypatch.setattr(module, name, raises(error))
    done = sfnc(little, "-o", out, "--levels", 7, "--quiet")
    assert done.exit_code == exit_code, done.output
    assert code in done.stderr
    assert contents(place) == before
    assert [p.name for p in place.iterdir()] == (["o"] if earlier else [])


def test_a_bug_says_so_and_what_to_send(little, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "compile_model", raises(RuntimeError("surprise")))
    done = sfnc(little, "-o", tmp_path / "o")
    assert done.exit_code == 70
    assert "This is a bug in sfnc, not in your model" in done.stderr
    assert "RuntimeError: surprise" in done.stderr


def test_an_interrupted_build_leaves_nothing(little, tmp_path, monkeypatch):
    monkeypatch.setattr(build.measure, "layers", raises(KeyboardInterrupt()))
    assert sfnc(little, "-o", tmp_path / "p" / "o").exit_code == 130
    assert list((tmp_path / "p").iterdir()) == []


def test_the_earlier_build_comes_back_where_the_new_one_cannot_be_moved(little, tmp_path, monkeypatch):
    out = tmp_path / "place" / "o"
    succeeds(little, "-o", out, "--quiet")
    before, rename = contents(out), Path.rename

    def fails_for_scratch(self, target):
        if self.name.startswith(".o.") and self.name != ".o.old":
            raise FULL
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_scratch)
    refused("SFN602", 5, little, "-o", out, "--levels", 7, "--quiet")
    assert contents(out) == before
    assert [p.name for p in out.parent.iterdir()] == ["o"]


def test_a_build_replaces_the_earlier_one_whole(little, tmp_path):
    out = tmp_path / "place" / "o"
    succeeds(little, "-o", out, "--quiet")
    (out / "proof.json").write_text("{}")
    succeeds(little, "-o", out, "--levels", 7, "--quiet")
    assert not (out / "proof.json").exists()
    assert document(out / "manifest.json")["options"]["levels"] == 7
    assert [p.name for p in out.parent.iterdir()] == ["o"]


def test_a_folder_that_is_no_build_is_never_overwritten(little, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    refused("SFN503", 3, little, "-o", tmp_path / "thesis")
    refused("SFN503", 3, little, "-o", little)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_an_empty_folder_may_become_a_build(little, tmp_path):
    (tmp_path / "o").mkdir()
    succeeds(little, "-o", tmp_path / "o", "--quiet")


def test_a_place_that_cannot_be_written(little, tmp_path):
    (tmp_path / "file").write_text("")
    refused("SFN602", 5, little, "-o", tmp_path / "file" / "o", "--quiet")


# -- the accuracy that was required: 1 -----------------------------------------------------------------------------
def test_an_accuracy_that_falls_too_far_fails_the_build(tmp_path):
    args = (DIGITS, "--calib", CALIB, "--samples", 120, "-o", tmp_path / "o", "--quiet")
    message = refused("SFN502", 1, *args, "--levels", 1, "--weight-bits", 2, "--require-accuracy-drop", 5)
    assert "5 are allowed" in message
    assert not (tmp_path / "o").exists()
    succeeds(*args, "--require-accuracy-drop", 5)
    assert document(tmp_path / "o" / "report.json")["accuracy"]["n"] == 120


def test_a_required_accuracy_needs_labels(little, tmp_path):
    refused("SFN307", 3, little, "-o", tmp_path / "o", "--require-accuracy-drop", 5)


# -- check ---------------------------------------------------------------------------------------------------------
def test_check_lists_every_node_and_converts_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = succeeds("check", DIGITS, "--target", "sim")
    assert "24 of 24 nodes can be mapped" in done.stdout
    assert "target sim: fits" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_check_as_json_says_why_not(tmp_path):
    model = saved(tiny("[one] a = Erf(x) [two] y = Relu(x)", outputs=("y", "a")), tmp_path)
    done = sfnc("check", model, "--json")
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    assert found["coverage"] == {"nodes": 2, "mapped": 1, "host": 0}
    assert found["diagnostics"][0]["code"] == "SFN201"
    assert found["nodes"] == [{"node": "one (Erf)", "state": "SFN201"}, {"node": "two (Relu)", "state": "ok"}]


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
    x, golden = artifact.load_golden(made)
    np.savez(tmp_path / "x.npz", image=x)
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


# -- verify: 0 and 1 -----------------------------------------------------------------------------------------------
def test_verify_proves_an_untouched_build(out):
    proof = json.loads(succeeds("verify", out, "--json").stdout)
    assert proof == document(out / "proof.json")
    sim = proof["targets"]["sim"]
    assert sim.keys() >= {"samples", "compared", "different", "first_difference", "mode", "executed_by"}
    assert (sim["samples"], sim["different"], sim["first_difference"], sim["mode"]) == (8, 0, None, "whole")
    assert sim["compared"] > 30_000
    assert proof["golden"] == {"compared": sum(v.size for v in artifact.load_golden(out)[1].values()), "different": 0}
    assert proof["files_changed"] == []


def test_verify_on_data_of_ones_own(out):
    proof = json.loads(succeeds("verify", out, "--data", TEST, "--samples", 3, "--json").stdout)
    assert proof["targets"]["sim"]["samples"] == 3
    assert proof["data"] == "digits_test.npz"


def test_verify_finds_one_altered_golden_integer(out):
    x, values = artifact.load_golden(out)
    name = list(values)[2]
    values[name].flat[5] += 1
    artifact.save_golden(out, x, values)
    message = refused("SFN501", 1, "verify", out)
    assert "1 integers" in message
    assert document(out / "proof.json")["files_changed"] == ["golden.npz"]


def test_verify_finds_one_altered_weight_of_a_target(out):
    program = serialize.load(out / "sim")
    steps = list(program.steps)
    at = next(i for i, s in enumerate(steps) if isinstance(s, Population))
    first, *others = steps[at].projections
    weight = first.map.weight.copy()
    weight.flat[0] += 40
    steps[at] = replace(steps[at], projections=(replace(first, map=replace(first.map, weight=weight)), *others))
    serialize.save(replace(program, steps=tuple(steps)), out / "sim")
    message = refused("SFN501", 1, "verify", out)
    assert "target sim" in message
    found = document(out / "proof.json")["targets"]["sim"]
    assert found["different"] > 0
    assert found["first_difference"]["layer"] == steps[at].name
    assert "sim/program.npz" in document(out / "proof.json")["files_changed"]


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


@pytest.mark.parametrize("damage", ["no manifest", "manifest is text", "manifest is a list", "program changed",
                                    "golden cut", "golden gone", "golden flipped"])  # fmt: skip
def test_a_damaged_build_is_refused(damage, out):
    def flip(data: bytes) -> bytes:
        return data[: len(data) // 2] + bytes(b ^ 0x55 for b in data[len(data) // 2 :])

    if damage == "no manifest":
        (out / "manifest.json").unlink()
    elif damage == "golden gone":
        (out / "golden.npz").unlink()
    else:
        name, change = {
            "manifest is text": ("manifest.json", lambda b: b"hello"),
            "manifest is a list": ("manifest.json", lambda b: b"[]"),
            "program changed": ("program.npz", lambda b: b[:-1]),
            "golden cut": ("golden.npz", lambda b: b[: len(b) // 2]),
            "golden flipped": ("golden.npz", flip),
        }[damage]
        (out / name).write_bytes(change((out / name).read_bytes()))
    refused("SFN503", 3, "verify", out)


def test_a_folder_that_is_no_build_is_refused_everywhere(tmp_path):
    refused("SFN503", 3, "verify", tmp_path)
    refused("SFN503", 3, "eval", tmp_path, "--data", TEST)
    refused("SFN503", 3, "run", tmp_path, "--input", TEST, "-o", tmp_path / "y.npz")


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
from sfn_compile.cli import cli
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
