"""Builds that fail, one target or all of them: exit codes, and what is left behind."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from sfn_compile.commands import build
from sfn_compile.files import build_folder, program_files, replacing
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.targets import backend

from ..frontend.tiny_onnx import noise, saved, tiny
from .cli_helpers import CALIB, DIGITS, contents, document, refused, sfnc, succeeds


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


def test_nir_refuses_a_gate_and_the_simulator_is_built(tmp_path):
    """A product of two values, which no standard node of NIR computes: refused by its node and its factors."""
    body = "a = Conv(x, w) d = Conv(x, w) s = Sigmoid(d) m = Mul(a, s) y = Conv(m, u)"
    model = saved(tiny(body, w=noise(4, 3, 3, 3), u=noise(2, 4, 1, 1)), tmp_path)
    message = refused("SFN402", 4, model, "--target", "sim,nir", "-o", tmp_path / "o", "--quiet")
    assert "m (Mul): target nir multiplies by constants only" in message
    assert "(a * s, Elementwise, into m)" in message
    report = document(tmp_path / "o" / "report.json")
    (row,) = [r for r in report["layers"] if r.get("products")]
    assert row["products"] == [
        {"sources": ["a", "s"], "kind": "Elementwise", "weights": 4, "weight_bits": 8, "macs": 64}
    ]
    assert row["macs"] == 64
    assert 0 < row["synops"] <= 64
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
    "the disk is full while the program is written": (program_files, "save", FULL, "SFN602", 5),
    "the disk is full while the manifest is written": (build_folder, "write_manifest", FULL, "SFN602", 5),
    "the folder cannot be moved into place": (replacing, "_swap", FULL, "SFN602", 5),
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
        if self.name == "new":
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
    message = refused(
        "SFN502", 1, *args, "--levels", 1, "--weight-bits", 2, "--no-reconstruct", "--require-accuracy-drop", 5
    )
    assert "at most 5 points allowed" in message
    assert not (tmp_path / "o").exists()
    succeeds(*args, "--require-accuracy-drop", 5)
    assert document(tmp_path / "o" / "report.json")["accuracy"]["n"] == 120


def test_a_required_accuracy_needs_labels(little, tmp_path):
    refused("SFN307", 3, little, "-o", tmp_path / "o", "--require-accuracy-drop", 5)
