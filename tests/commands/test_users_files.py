"""Nothing that sfnc has not written is removed or overwritten by a command that writes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from sfn_compile import compile as compile_model
from sfn_compile.commands import build
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.search.journal import Journal
from sfn_compile.search.trial import Measured, Trial

from .cli_helpers import contents, document, refused, succeeds


@pytest.fixture
def built(little, tmp_path) -> Path:
    """A build of the tiny model in a folder of its own."""
    out = tmp_path / "place" / "o"
    succeeds(little, "-o", out, "--quiet")
    return out


def again(model: Path, out: Path, *more: object):
    return (model, "-o", out, "--levels", 7, "--quiet", *more)


# -- a build in the place of an earlier one -------------------------------------------------------------------------
MANIFESTS = {
    "of a web page": '{"name": "app", "icons": []}',
    "no object": "[1, 2]",
    "no JSON": "files:\n- a\n",
    "deep": "[" * 100_000,
    "of one with files": '{"files": {"program.json": "x", "program.npz": "y"}}',
}


@pytest.mark.parametrize("which", list(MANIFESTS))
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_folder_with_a_manifest_of_others_is_left_alone(which, force, little, tmp_path):
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter.txt").write_text("years of work")
    (thesis / "manifest.json").write_text(MANIFESTS[which])
    before = contents(tmp_path)
    assert "not an sfnc build" in refused("SFN503", 3, *again(little, thesis, *force))
    assert contents(tmp_path) == before


def test_a_targets_folder_is_no_build(little, tmp_path):
    out = tmp_path / "o"
    succeeds(little, "-o", out, "--target", "sim,lava", "--quiet")
    before = contents(tmp_path)
    refused("SFN503", 3, *again(little, out / "lava"))
    assert contents(tmp_path) == before


def put_notes(out: Path) -> str:
    (out / "notes.txt").write_text("seen by me")
    return "notes.txt"


def put_into_a_target(out: Path) -> str:
    (out / "sim" / "answers").mkdir()
    (out / "sim" / "answers" / "a.npz").write_bytes(b"mine")
    return "sim/answers/a.npz"


def change_a_sealed_file(out: Path) -> str:
    (out / "model.onnx").write_bytes(b"trained anew")
    return "model.onnx (changed since)"


def put_a_link(out: Path) -> str:
    (out / "elsewhere").symlink_to(out.parent)
    return "elsewhere"


def put_what_looks_like_a_leftover(out: Path) -> str:
    (out / ".proof.json.sfnc-notes").write_text("mine")
    return ".proof.json.sfnc-notes"


STRANGERS = [put_notes, put_into_a_target, change_a_sealed_file, put_a_link, put_what_looks_like_a_leftover]


@pytest.mark.parametrize("put", STRANGERS)
def test_a_build_with_files_of_the_user_is_refused_before_the_work_begins(put, built, little, monkeypatch):
    name = put(built)
    before = contents(built.parent)
    monkeypatch.setattr("sfn_compile.commands.build.compile_model", lambda *_: pytest.fail("it was compiled"))
    message = refused("SFN503", 3, *again(little, built))
    assert f": {name}\n" in message
    assert "--force" in message
    assert contents(built.parent) == before


def test_with_force_they_are_in_the_new_build(built, little):
    for put in STRANGERS:
        put(built)
    inode = (built / "notes.txt").stat().st_ino
    succeeds(*again(little, built, "--force"))
    assert document(built / "manifest.json")["options"]["levels"] == 7
    assert (built / "notes.txt").read_text() == "seen by me"
    assert (built / "notes.txt").stat().st_ino == inode
    assert (built / "kept" / "sim" / "answers" / "a.npz").read_bytes() == b"mine"
    assert (built / "kept" / "model.onnx").read_bytes() == b"trained anew"
    assert (built / "model.onnx").read_bytes() == little.read_bytes()
    assert os.readlink(built / "elsewhere") == str(built.parent)
    assert [p.name for p in built.parent.iterdir()] == ["o"]
    succeeds("verify", built, "--quiet")


def test_with_force_again_nothing_kept_is_overwritten(built, little):
    for text in ("first", "second"):
        (built / "model.onnx").write_text(text)
        succeeds(*again(little, built, "--force"))
    kept = sorted(p.read_text() for p in (built / "kept").iterdir())
    assert kept == ["first", "second"]


def test_python_has_the_option_too(built, little):
    put_notes(built)
    with pytest.raises(CompileError, match=r"SFN503.*notes\.txt"):
        compile_model(little, built, levels=7)
    compile_model(little, built, levels=7, force=True)
    assert (built / "notes.txt").read_text() == "seen by me"


def test_what_later_commands_and_python_write_is_no_file_of_the_user(built, little):
    for name in (
        "timing.json",
        "request.json",
        "proof.json",
        "eval.json",
        "bisect.json",
        "report.html",
        ".proof.json.sfnc-0123abcd",
    ):
        (built / name).write_text("{}")
    succeeds(*again(little, built))
    assert not (built / "eval.json").exists()


def test_a_file_that_comes_while_the_build_is_made_is_not_lost(built, little, monkeypatch):
    write_common = build._write_common

    def puts_notes(*args):
        put_notes(built)
        return write_common(*args)

    monkeypatch.setattr(build, "_write_common", puts_notes)
    refused("SFN503", 3, *again(little, built))
    assert (built / "notes.txt").read_text() == "seen by me"
    assert document(built / "manifest.json")["options"]["levels"] == 31
    assert [p.name for p in built.parent.iterdir()] == ["o"]


def test_a_file_that_comes_while_the_folders_change_places_is_not_lost(built, little, monkeypatch):
    rename = Path.rename

    def puts_notes(self, target):
        if self.name == built.name:
            put_notes(self)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", puts_notes)
    refused("SFN503", 3, *again(little, built))
    assert (built / "notes.txt").read_text() == "seen by me"
    assert [p.name for p in built.parent.iterdir()] == ["o"]


# -- what a build is made from, inside OUT --------------------------------------------------------------------------
def data_in(out: Path, name: str) -> Path:
    np.savez(out / name, x=np.random.default_rng(0).normal(size=(64, 3, 6, 6)).astype(np.float32))
    return out / name


def test_calibration_data_inside_out_stays(built, little):
    data = data_in(built, "calib.npz")
    before = data.read_bytes()
    refused("SFN503", 3, *again(little, built, "--calib", data))
    succeeds(*again(little, built, "--calib", data, "--force"))
    assert data.read_bytes() == before


def test_golden_samples_as_calibration_data_stay(built, little):
    before = (built / "golden.npz").read_bytes()
    message = refused("SFN503", 3, *again(little, built, "--calib", built / "golden.npz", "--input-levels", 15))
    assert "golden.npz (read by this command)" in message
    succeeds(*again(little, built, "--calib", built / "golden.npz", "--input-levels", 15, "--force"))
    assert (built / "kept" / "golden.npz").read_bytes() == before


def test_the_model_inside_out_stays(built, little):
    model = built / "mine.onnx"
    shutil.copyfile(little, model)
    refused("SFN503", 3, *again(model, built))
    succeeds(*again(model, built, "--force"))
    assert model.read_bytes() == little.read_bytes()


def test_the_copy_of_the_model_can_be_compiled_in_its_place(built, little):
    succeeds(*again(built / "model.onnx", built))
    assert (built / "model.onnx").read_bytes() == little.read_bytes()


# -- neighbours of OUT ----------------------------------------------------------------------------------------------
def test_neighbours_of_others_stay(built, little):
    place = built.parent
    (place / ".o.old").mkdir()
    (place / ".o.abcdefgh").mkdir()
    (place / ".o.sfnc-0123abcd").mkdir()
    (place / ".o.sfnc-abcd0123").write_text("a file")
    for folder in (".o.old", ".o.abcdefgh", ".o.sfnc-0123abcd"):
        (place / folder / "sfnc.lock").write_text("")
        (place / folder / "thesis.txt").write_text("years of work")
    before = {k: v for k, v in contents(place).items() if not k.startswith("o/")}
    succeeds(*again(little, built))
    assert {k: v for k, v in contents(place).items() if not k.startswith("o/")} == before


# -- sfnc run -o ----------------------------------------------------------------------------------------------------
@pytest.fixture
def data(tmp_path) -> Path:
    return data_in(tmp_path, "data.npz")


def keeps(path: Path, *args: object, code: str = "SFN605", status: int = 2) -> str:
    """The message of a command that must refuse to write ``path``, which stays what it was."""
    before = path.read_bytes() if path.is_file() else None
    message = refused(code, status, *args)
    assert (path.read_bytes() if path.is_file() else None) == before
    return message


def test_run_writes_over_its_own_answers_only(built, data, tmp_path):
    answers = tmp_path / "answers.npz"
    for _ in range(2):
        succeeds("run", built, "--input", data, "-o", answers)
    assert np.load(answers).files
    for name, content in (("notes.txt", b"mine"), ("calib.npz", data.read_bytes()), ("cut.npz", b"PK\x03\x04")):
        (tmp_path / name).write_bytes(content)
        assert "has not written it" in keeps(tmp_path / name, "run", built, "--input", data, "-o", tmp_path / name)


def test_run_does_not_overwrite_what_it_reads(built, data, tmp_path):
    os.link(data, tmp_path / "hard.npz")
    (tmp_path / "soft.npz").symlink_to(data)
    for path in (data, tmp_path / "hard.npz", tmp_path / "soft.npz", tmp_path / "place" / ".." / "data.npz"):
        assert "this command reads it" in keeps(path, "run", built, "--input", data, "-o", path)
    assert (tmp_path / "soft.npz").is_symlink()


def test_run_reads_its_own_answers_but_does_not_write_over_them(built, tmp_path):
    answers = tmp_path / "answers.npz"
    succeeds("run", built, "--input", data_in(tmp_path, "d.npz"), "-o", answers, "--codes")
    keeps(answers, "run", built, "--input", answers, "-o", answers)


@pytest.mark.parametrize("name", ["program.npz", "golden.npz", "scales.npz", "model.onnx", "manifest.json",
                                  "report.html", "eval.json", "sim/answers.npz"])  # fmt: skip
def test_run_does_not_write_into_what_a_build_consists_of(name, built, data, tmp_path):
    keeps(built / name, "run", built, "--input", data, "-o", built / name)
    other = Path(shutil.copytree(built, tmp_path / "other"))
    assert "belongs to the build" in keeps(other / name, "run", built, "--input", data, "-o", other / name)
    (tmp_path / "link.npz").symlink_to(other / name)
    assert "belongs to the build" in keeps(other / name, "run", built, "--input", data, "-o", tmp_path / "link.npz")


def test_a_missing_file_of_a_build_is_not_replaced_by_answers(built, data):
    (built / "golden.npz").unlink()
    refused("SFN605", 2, "run", built, "--input", data, "-o", built / "golden.npz")
    assert not (built / "golden.npz").exists()


def test_answers_may_lie_in_a_build(built, data, little):
    succeeds("run", built, "--input", data, "-o", built / "answers.npz")
    before = (built / "answers.npz").read_bytes()
    refused("SFN503", 3, *again(little, built))
    succeeds(*again(little, built, "--force"))
    assert (built / "answers.npz").read_bytes() == before


def test_run_writes_through_a_link_and_to_regular_files_only(built, data, tmp_path):
    (tmp_path / "link.npz").symlink_to(tmp_path / "far.npz")
    succeeds("run", built, "--input", data, "-o", tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()
    assert np.load(tmp_path / "far.npz").files
    os.mkfifo(tmp_path / "pipe")
    refused("SFN602", 5, "run", built, "--input", data, "-o", tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_run_leaves_a_scratch_file_of_others(built, data, tmp_path):
    for name in (".a.npz.tmp", ".a.npz.sfnc-mine", ".a.npz.sfnc-0123456"):
        (tmp_path / name).write_text("mine")
    (tmp_path / ".a.npz.sfnc-01234567").write_text("left by a killed run")
    succeeds("run", built, "--input", data, "-o", tmp_path / "a.npz")
    assert all((tmp_path / name).read_text() == "mine" for name in (".a.npz.tmp", ".a.npz.sfnc-mine"))
    assert sorted(p.name for p in tmp_path.glob(".a.npz*")) == [".a.npz.sfnc-0123456", ".a.npz.sfnc-mine", ".a.npz.tmp"]


# -- the state of a search ------------------------------------------------------------------------------------------
STATES = {
    "a note": b"remember the milk",
    "a note with a line": b"remember\nthe milk",
    "JSON": b'{"search": {"engine": "mine"}}',
    "lines of JSON": b'{"a": 1}\n{"b": 2}\n',
    "binary": bytes(range(256)),
    "deep": b"[" * 100_000 + b"\n",
    "a state with a note behind it": b'{"search": {}}\nremember the milk',
}


@pytest.mark.parametrize("which", list(STATES))
def test_a_file_that_is_no_state_is_not_touched(which, little, tmp_path):
    state = tmp_path / "state"
    state.write_bytes(STATES[which])
    calib = data_in(tmp_path, "calib.npz")
    search = ("--search", "grid", "--trials", 2, "--search-state", state)
    refused("SFN703", 2, little, "--calib", calib, *search, "-o", tmp_path / "o")
    assert state.read_bytes() == STATES[which]


def test_a_state_beside_the_build_that_is_a_file_of_others_stays(little, tmp_path):
    (tmp_path / "o.search.jsonl").write_text("mine")
    calib = data_in(tmp_path, "calib.npz")
    refused("SFN703", 2, little, "--calib", calib, "--search", "grid", "--trials", 2, "-o", tmp_path / "o")
    assert (tmp_path / "o.search.jsonl").read_text() == "mine"


def test_a_state_inside_out_is_refused(built, little, tmp_path):
    calib = data_in(tmp_path, "calib.npz")
    for out in (built, tmp_path / "new"):
        args = (little, "--calib", calib, "--search", "grid", "--search-state", out / "state", "-o", out)
        assert "replaced as a whole" in refused("SFN605", 2, *args)
    assert not (tmp_path / "new").exists()


def test_a_line_that_was_not_written_to_its_end_is_replaced(tmp_path):
    state = tmp_path / "state"
    journal = Journal.open(state, {"model": "m"})
    for number in range(2):
        journal.record(Trial(number, None, Measured({"error": 0.5}, {"spikes": 1.0})), {})
    whole = state.read_bytes()
    for end in range(len(whole) + 1):
        state.write_bytes(whole[:end])
        again = Journal.open(state, {"model": "m"})
        for number in set(range(2)) - set(again.known):
            again.record(Trial(number, None, Measured({"error": 0.5}, {"spikes": 1.0})), {})
        assert [json.loads(line) for line in state.read_bytes().splitlines()] == [
            json.loads(line) for line in whole.splitlines()
        ]


def test_a_build_in_the_current_folder_keeps_its_state_beside_it(little, tmp_path, monkeypatch):
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    calib = data_in(tmp_path, "calib.npz")
    succeeds(little, "--calib", calib, "--search", "grid", "--trials", 3, "-o", ".", "--quiet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["calib.npz", "here", little.name]
