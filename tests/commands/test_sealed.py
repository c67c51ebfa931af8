"""Sealed and living files: what every command does with a build that is not as compile wrote it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sfn_compile.files import build_folder, sealed

from .cli_helpers import CALIB, DIGITS, TEST, contents, document, refused, reseal, succeeds


@pytest.fixture(scope="module")
def both_made(tmp_path_factory) -> Path:
    """A build with a target whose files are data and one whose files are programs, never changed."""
    folder = tmp_path_factory.mktemp("both") / "out"
    succeeds("compile", DIGITS, "--calib", CALIB, "--samples", 20, "--target", "sim,onnx,lava", "-o", folder, "-q")
    return folder


@pytest.fixture
def both(both_made, tmp_path) -> Path:
    return Path(shutil.copytree(both_made, tmp_path / "both"))


def test_every_file_of_a_build_is_sealed_or_living(out):
    succeeds("eval", out, "--data", TEST, "--samples", 20, "-q")
    succeeds("verify", out, "-q")
    succeeds("bisect", out, "--data", TEST, "-q")
    succeeds("fit", out, "--host-work", "-q")
    listed = set(document(out / "manifest.json")["files"])
    assert set(contents(out)) == listed | sealed.LIVING | {"manifest.json"}
    assert not listed & sealed.LIVING


def test_living_files_may_change_and_notes_of_the_user_may_lie_beside_them(out):
    for name in ("report.html", "timing.json", "eval.json", "notes.txt", "weights.onnx"):
        (out / name).write_text("{}")
    succeeds("verify", out, "-q")
    assert document(out / "proof.json")["proved"] is True


@pytest.mark.parametrize("how", ["changed", "missing"])
def test_verify_fails_on_every_sealed_file_that_is_changed_or_missing(how, both):
    for name in document(both / "manifest.json")["files"]:
        file, before = both / name, (both / name).read_bytes()
        if how == "changed":
            file.write_bytes(before + b" ")
        else:
            file.unlink()
        message = refused("SFN506", 1, "verify", both, "--on", "sim", "--samples", 1)
        assert name in message
        assert "compile again" in message
        found = document(both / "proof.json")
        assert found["files_changed"] == [name]
        assert found["proved"] is False
        file.write_bytes(before)
    succeeds("verify", both, "--on", "sim", "--samples", 1)


def test_a_target_with_a_changed_file_is_not_executed_and_the_others_are(both):
    file = both / "onnx" / "program.json"
    file.write_text(file.read_text() + " ")  # which would read back and run as before
    refused("SFN506", 1, "verify", both, "--on", "sim,onnx")
    targets = document(both / "proof.json")["targets"]
    assert targets["sim"]["proved"] is True
    assert (targets["onnx"]["proved"], targets["onnx"]["mode"]) == (False, None)
    assert "onnx/program.json" in targets["onnx"]["error"]


@pytest.mark.parametrize(
    "name", ["lava/sitecustomize.py", "lava/numpy.py", "lava/__pycache__/build.cpython-311.pyc", "lava/scipy/",
             "lava/sfnproc/extra.py", "onnx/network.onnx.data", "sim/program_old.npz"],
)  # fmt: skip
def test_verify_fails_on_a_stranger_where_a_loader_would_read_it(name, both):
    place = both / name
    if name.endswith("/"):
        place.mkdir()
    else:
        place.parent.mkdir(exist_ok=True)
        place.write_text("raise SystemExit('executed')")
    named = "lava/__pycache__/" if "__pycache__" in name else name
    message = refused("SFN506", 1, "verify", both, "--samples", 1, "--on", "sim")
    assert named in message
    assert "move it out of the build" in message
    assert document(both / "proof.json")["files_changed"] == [named]


def test_a_link_to_a_folder_of_programs_is_a_stranger(both, tmp_path):
    (tmp_path / "numpy").mkdir()
    (both / "lava" / "numpy").symlink_to(tmp_path / "numpy")
    assert "lava/numpy/" in refused("SFN506", 1, "verify", both, "--on", "sim")


def test_a_manifest_that_was_changed_is_no_proof_and_is_used_by_nothing(out, tmp_path):
    manifest = document(out / "manifest.json")
    manifest["model"]["batch"] = 3
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert "manifest.json" in refused("SFN506", 1, "verify", out)
    assert "manifest.json is not the file" in refused("SFN503", 3, "eval", out, "--data", TEST)
    refused("SFN503", 3, "run", out, "--input", TEST, "-o", tmp_path / "y.npz")


def test_how_the_manifest_is_laid_out_does_not_matter(out):
    manifest = document(out / "manifest.json")
    (out / "manifest.json").write_text(json.dumps(manifest, indent=7))
    succeeds("verify", out, "-q")


def test_a_build_of_an_older_version_is_compiled_again(out):
    manifest = document(out / "manifest.json")
    del manifest["seal"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    for command in (("verify", out), ("report", out), ("eval", out, "--data", TEST)):
        message = refused("SFN503", 3, *command)
        assert "older version" in message
        assert "compile again" in message


@pytest.mark.parametrize(
    ("facts", "said"),
    [({"format": 99}, "states format 99"), ({"options": {"levels": 3}}, "other options"),
     ({"model": {"sha256": "0"}}, "another sha256 of the model")],
)  # fmt: skip
def test_a_sealed_manifest_that_contradicts_its_files_is_no_proof(facts, said, out):
    manifest = document(out / "manifest.json")
    changed = {k: {**(manifest[k] or {}), **v} if isinstance(v, dict) else v for k, v in facts.items()}
    reseal(out, **changed)
    assert said in refused("SFN506", 1, "verify", out)


def test_a_sealed_host_tail_that_the_build_does_not_have_is_refused(out):
    tail = {"nodes": [], "cut": [], "inputs": [], "outputs": {}, "model_outputs": []}
    reseal(out, host_tail=tail)
    assert "nothing makes the outputs" in refused("SFN503", 3, "verify", out)


def test_the_model_that_eval_and_bisect_read_is_the_one_that_was_compiled(out):
    (out / "model.onnx").write_bytes((out / "model.onnx").read_bytes() + b"\n")
    for command in (("eval", out, "--data", TEST), ("bisect", out, "--data", TEST)):
        assert "model.onnx is not the file that compile wrote" in refused("SFN503", 3, *command)


def test_the_report_that_is_shown_is_the_one_that_was_compiled(out):
    (out / "report.json").write_text("{}")
    for command in (("eval", out, "--data", TEST), ("bisect", out, "--data", TEST), ("report", out)):
        assert "report.json is not the file" in refused("SFN503", 3, *command)


def test_a_proof_of_another_build_is_not_shown(out):
    succeeds("verify", out, "-q")
    proof = document(out / "proof.json") | {"program": "of another"}
    (out / "proof.json").write_text(json.dumps(proof))
    assert "proof of another build" in refused("SFN503", 3, "report", out)


def test_the_page_never_says_proved_of_a_build_with_a_stranger(both):
    (both / "sim" / "extra").write_text("")
    refused("SFN506", 1, "verify", both, "--on", "sim")
    succeeds("report", both, "-q")
    text = (both / "report.html").read_text(encoding="utf-8")
    assert '<li class="bad"><b>Proved on 0 of 1 targets</b>' in text
    assert "sim/extra" in text


@pytest.mark.parametrize("verb", ["run", "eval"])
def test_run_and_eval_refuse_a_target_that_was_changed_or_has_a_stranger(verb, both, tmp_path):
    ends = ("--input", TEST, "-o", tmp_path / "y.npz") if verb == "run" else ("--data", TEST, "--samples", 4)
    (both / "onnx" / "network.onnx.data").write_text("")
    assert "onnx/network.onnx.data" in refused("SFN503", 3, verb, both, *ends, "--on", "onnx")
    succeeds(verb, both, *ends, "-q")  # the simulator reads nothing of that folder
    (both / "onnx" / "network.onnx.data").unlink()
    (both / "onnx" / "program.json").unlink()
    assert "onnx/program.json is missing" in refused("SFN503", 3, verb, both, *ends, "--on", "onnx")


def test_run_refuses_a_target_that_the_build_does_not_hold_though_there_is_such_a_folder(out, tmp_path):
    (out / "onnx").mkdir()
    refused("SFN604", 2, "run", out, "--input", TEST, "-o", tmp_path / "y.npz", "--on", "onnx")


def test_external_data_of_the_model_is_part_of_it():
    assert sealed.part_of("weights.bin", ["sim"]) == "model"
    assert sealed.part_of("onnx/network.onnx", ["sim", "onnx"]) == "onnx"
    assert sealed.part_of("onnx/network.onnx", ["sim"]) == "model"


def test_scales_are_those_that_compile_wrote(out):
    manifest, _ = build_folder.open_build(out)
    scales = build_folder.load_scales(out, manifest)
    build_folder.save_scales(out, {name: 2 * np.asarray(s) for name, s in scales.items()})
    assert "scales.npz" in refused("SFN503", 3, "bisect", out, "--data", TEST)
