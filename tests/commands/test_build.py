"""`sfnc compile` as users and their CI see it: files, options, and models and data that cannot be compiled."""

from __future__ import annotations

import json
from hashlib import sha256

import numpy as np
import pytest

from sfn_compile.files import build_folder, sealed
from sfn_compile.foundation.samples import n_samples
from sfn_compile.host.codec import encode_all
from sfn_compile.simulator.run import run_codes

from ..frontend.tiny_onnx import noise, saved, tiny
from .cli_helpers import CALIB, CLOCK, DIGITS, TEST, contents, document, refused, sfnc, succeeds


# -- compile -------------------------------------------------------------------------------------------------------
def test_the_verb_may_be_left_out(little, tmp_path):
    succeeds(little, "-o", tmp_path / "a", "--quiet")
    succeeds("--quiet", "-o", tmp_path / "b", little)
    assert contents(tmp_path / "a").keys() == contents(tmp_path / "b").keys()


def test_the_default_folder_is_named_after_the_model(little, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    succeeds("little.onnx", "--quiet")
    assert (tmp_path / "little.sfnc" / "manifest.json").is_file()


def test_the_present_folder_may_become_a_build(little, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    succeeds(little, "-o", ".", "--quiet")
    assert (tmp_path / "here" / "manifest.json").is_file()


def test_a_link_to_a_build_stays_a_link(little, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for _ in range(2):
        succeeds(little, "-o", tmp_path / "link", "--quiet")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "manifest.json").is_file()
    assert {p.name for p in tmp_path.iterdir()} == {"real", "link", "little.onnx"}


def test_a_build_holds_the_files_of_the_contract(made):
    assert {"program.npz", "program.json", "report.json", "manifest.json", "golden.npz", "timing.json", "model.onnx",
            "sim/program.npz", "sim/program.json"} <= contents(made).keys()  # fmt: skip


def test_two_builds_are_identical_to_the_byte(made, tmp_path):
    succeeds(DIGITS, "--calib", CALIB, "--samples", 120, "-o", tmp_path / "again", "--quiet")
    first, second = contents(made), contents(tmp_path / "again")
    assert {k: v for k, v in first.items() if k not in CLOCK} == {k: v for k, v in second.items() if k not in CLOCK}


def test_the_manifest_covers_every_file_and_both_inputs(made):
    manifest = document(made / "manifest.json")
    assert manifest["files"] == {k: v for k, v in contents(made).items() if k not in {*sealed.LIVING, "manifest.json"}}
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
    x, values = build_folder.load_golden(made)
    _, program = build_folder.open_build(made)
    assert n_samples(x) == 8
    assert list(values) == list(program.values())
    again = run_codes(program, encode_all(program, x), engine="reference")
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
     ("--acc-bits", 7), ("--timesteps", 0), ("--samples", 0), ("--seed", -1), ("--target", ","),
     ("--method-option", "p"), ("--method-option", "p=2"),
     ("--method", "sfn", "--method-option", "reading=x"), ("--input-shape", "x"),
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
    model = saved(tiny("[one] a = Det(x) [two] y = custom.Magic(a)"), tmp_path)
    message = refused("SFN201", 3, model, "-o", tmp_path / "o")
    assert "one (Det)" in message
    assert "two (Magic)" in message


def test_errors_are_data_with_json(tmp_path):
    done = sfnc(saved(tiny("[one] y = Det(x)"), tmp_path), "-o", tmp_path / "o", "--json")
    (found,) = json.loads(done.stderr)["diagnostics"]
    assert (found["code"], found["severity"], found["where"]) == ("SFN201", "error", "one (Det)")
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
    "pickled objects": ("SFN301", {"image": np.array([None] * 4)}),
}


@pytest.mark.parametrize("fault", list(DATA))
def test_data_is_refused_with_its_code(fault, made, tmp_path):
    code, arrays = DATA[fault]
    np.savez(tmp_path / "d.npz", **arrays)
    refused(code, 3, DIGITS, "--calib", tmp_path / "d.npz", "-o", tmp_path / "o")
    refused(code, 3, "eval", made, "--data", tmp_path / "d.npz")
    assert not (tmp_path / "o").exists()


LABELS = {
    "fewer than samples": np.arange(3),
    "no whole numbers": np.linspace(0, 1, 4),
    "names": np.array(["a", "b", "c", "d"]),
    "objects": np.array([None] * 4),
    "not finite": np.full(4, np.nan),
    "outside the classes": np.full(4, 10),
}


@pytest.mark.parametrize("fault", list(LABELS))
def test_labels_are_looked_at_only_where_they_are_needed(fault, made, tmp_path):
    np.savez(tmp_path / "d.npz", image=X, labels=LABELS[fault])
    said = refused("SFN307", 3, "eval", made, "--data", tmp_path / "d.npz")
    assert "d.npz [labels]" in said
    assert "fix: " in said
    options = "--calib", tmp_path / "d.npz", "-o", tmp_path / "o", "-q"
    refused("SFN307", 3, DIGITS, *options, "--require-accuracy-drop", 5)
    succeeds(DIGITS, *options)
    succeeds("verify", tmp_path / "o", "--data", tmp_path / "d.npz", "-q")
    succeeds("run", tmp_path / "o", "--input", tmp_path / "d.npz", "-o", tmp_path / "y.npz", "-q")


@pytest.mark.parametrize("content", [None, b"", b"text", b"PK\x03\x04 broken", b"\x93NUMPY\x01\x00"])
def test_data_that_cannot_be_read(content, tmp_path):
    if content is not None:
        (tmp_path / "d.npz").write_bytes(content)
    refused("SFN301", 3, DIGITS, "--calib", tmp_path / "d.npz", "-o", tmp_path / "o")


def test_data_that_is_damaged_anywhere_is_refused_or_whole(tmp_path):
    from sfn_compile.files.sample_files import load_data
    from sfn_compile.foundation.diagnostics import CompileError
    from sfn_compile.foundation.samples import ModelInput

    np.savez_compressed(tmp_path / "d.npz", x=np.arange(12.0).reshape(3, 4))
    whole = (tmp_path / "d.npz").read_bytes()
    for at in range(0, len(whole), 3):
        (tmp_path / "d.npz").write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            found = load_data(tmp_path / "d.npz", [ModelInput("x", (4,), "float32")])
        except CompileError:
            continue
        assert np.array_equal(found.x["x"], np.arange(12.0).reshape(3, 4)), at


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
