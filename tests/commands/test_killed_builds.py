"""Builds that are killed at any moment, several at a time, and output that nobody reads."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sfn_compile.files import atomic_files, replacing, scratch_folders

from .cli_helpers import CALIB, DIGITS, contents, document, refused, sfnc, succeeds

SFNC = (sys.executable, "-m", "sfn_compile.cli.main")
# `sfnc` in a process that kills itself just before, or just after, the call of a function with a given number.
KILLS = """
import os, signal, sys
from pathlib import Path
from sfn_compile.cli.main import main
name, number, after = sys.argv.pop(1), int(sys.argv.pop(1)), sys.argv.pop(1) == "after"
calls, real = 0, getattr(Path, name)
def killed(self, *args, **kwargs):
    global calls
    ours = any(".sfnc-" in str(path) for path in (self, *args))
    calls += ours
    if ours and calls == number and not after:
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(self, *args, **kwargs)
    if ours and calls == number and after:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(Path, name, killed)
main()
"""


def killed(name: str, number: int, when: str, *args: object) -> None:
    """Run the command line in a process that is killed by SIGKILL at a call."""
    done = subprocess.run([sys.executable, "-c", KILLS, name, str(number), when, *map(str, args)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.fixture
def built(little, tmp_path) -> Path:
    out = tmp_path / "place" / "o"
    succeeds(little, "-o", out, "--quiet")
    return out


# The folder, then `new`, then the folders of files in it are made; OUT moves away, the new build moves in, `done`.
MOMENTS = [("mkdir", 1, "after"), ("mkdir", 2, "after"), ("mkdir", 3, "after"), ("rename", 1, "before"),
           ("rename", 1, "after"), ("rename", 2, "after"), ("rename", 3, "after"), ("rmdir", 1, "before")]  # fmt: skip


@pytest.mark.parametrize(("name", "number", "when"), MOMENTS)
def test_a_build_that_is_killed_leaves_the_old_or_the_new_one_whole(name, number, when, built, little):
    (built / "notes.txt").write_text("mine")
    before = contents(built)
    killed(name, number, when, little, "-o", built, "--levels", 7, "--quiet", "--force")
    left = [p.name for p in built.parent.iterdir() if p != built]
    assert len(left) == 1
    assert atomic_files.is_scratch_name(left[0], "o")
    succeeds("verify", built, "--quiet")  # finds the old one where OUT was just moved away
    levels = document(built / "manifest.json")["options"]["levels"]
    assert levels == (7 if (name, number) in (("rename", 2), ("rename", 3), ("rmdir", 1)) else 31)
    if levels == 31:
        (built / "proof.json").unlink()
        succeeds("report", built, "--quiet")  # which shows the proof no more
        assert contents(built) == before
    assert (built / "notes.txt").read_text() == "mine"
    succeeds(little, "-o", built, "--levels", 15, "--quiet", "--force")
    assert [p.name for p in built.parent.iterdir()] == ["o"]
    assert (built / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("command", ["verify", "report", "compile"])
def test_every_command_finds_the_build_that_was_moved_away(command, built, little):
    killed("rename", 1, "after", little, "-o", built, "--levels", 7, "--quiet")
    assert not built.exists()
    if command == "compile":
        refused("SFN401", 4, little, "-o", built, "--acc-bits", 8, "--quiet")
    else:
        succeeds(command, built, "--quiet")
    assert document(built / "manifest.json")["options"]["levels"] == 31


def test_files_of_the_user_in_a_build_that_was_moved_away_stay_where_another_took_its_place(built, little, tmp_path):
    killed("rename", 1, "after", little, "-o", built, "--levels", 7, "--quiet")
    (left,) = built.parent.iterdir()
    (left / "earlier0" / "notes.txt").write_text("mine")
    other = tmp_path / "other"
    succeeds(little, "-o", other, "--levels", 15, "--quiet")
    other.rename(built)
    succeeds(little, "-o", built, "--quiet")
    assert (left / "earlier0" / "notes.txt").read_text() == "mine"
    (built / "notes.txt").write_text("mine")
    succeeds(little, "-o", built, "--quiet", "--force", "--rebuild")
    assert [p.name for p in built.parent.iterdir()] == ["o"]


def test_the_scratch_folder_of_a_running_build_is_not_touched(built, little):
    with replacing.replacing(built) as new:
        (new / "half").write_text("written")
        succeeds(little, "-o", built, "--levels", 7, "--quiet")
        assert (new / "half").read_text() == "written"
        assert replacing.sealed_files(built)


def test_a_killed_command_leaves_a_file_that_the_next_one_removes(built, tmp_path):
    killed("replace", 1, "before", "verify", built, "--quiet")
    (left,) = built.glob(".*")
    assert atomic_files.is_scratch_name(left.name, "proof.json")
    succeeds("verify", built, "--quiet")
    assert list(built.glob(".*")) == []


def test_a_file_that_is_being_written_is_not_removed(tmp_path):
    path = tmp_path / "a"
    scratch, holder = atomic_files._new_file(path)
    try:
        atomic_files.write_bytes(path, b"mine")
        assert scratch.exists()
    finally:
        os.close(holder)
    atomic_files.write_bytes(path, b"again")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_builds_to_one_place_at_the_same_time(little, tmp_path):
    out = tmp_path / "place" / "o"
    levels = (3, 7, 15, 31)
    running = [
        subprocess.Popen([*SFNC, little, "-o", out, "--levels", str(n), "--quiet"], stderr=subprocess.PIPE)
        for n in levels
    ]
    for process in running:
        said = process.communicate(timeout=300)[1].decode()
        assert process.returncode == 0, said
    succeeds("verify", out, "--quiet")
    assert document(out / "proof.json")["files_changed"] == []
    assert [p.name for p in out.parent.iterdir()] == ["o"]


def test_a_build_that_comes_between_is_replaced_as_well(built, little, tmp_path, monkeypatch):
    other = tmp_path / "other"
    succeeds(little, "-o", other, "--levels", 15, "--quiet")
    rename = Path.rename

    def comes_between(self, target):
        if self.name == "new" and other.exists():
            rename(other, built)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", comes_between)
    succeeds(little, "-o", built, "--levels", 7, "--quiet")
    assert document(built / "manifest.json")["options"]["levels"] == 7
    assert [p.name for p in built.parent.iterdir()] == ["o"]


def test_a_name_as_long_as_the_file_system_allows(little, tmp_path):
    out = tmp_path / ("é" * 127)
    succeeds(little, "-o", out, "--quiet")
    succeeds(little, "-o", out, "--levels", 7, "--quiet")
    succeeds("verify", out, "--quiet")
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == [out]


def test_names_of_other_programs_are_not_taken_for_ours(tmp_path):
    for name in (".o.sfnc-0123456g", ".o.sfnc-0123456", ".p.sfnc-01234567", "o.sfnc-01234567"):
        assert not atomic_files.is_scratch_name(name, "o")
    (tmp_path / ".o.sfnc-01234567").mkdir()
    (tmp_path / ".o.sfnc-01234567" / "sfnc.lock").write_text(json.dumps({"program": "sfnc", "out": "other"}))
    with scratch_folders.abandoned(tmp_path / "o") as found:
        assert found == []


# -- output that nobody reads ---------------------------------------------------------------------------------------
STAGE = re.compile(
    r"(import|structure|calibrate|map|measure|evaluate|write|simulator|sim:)( [\w :]+)?\n"
)  # where it is


def unread(*args: object, both: bool = False) -> tuple[int, str]:
    """Exit status and what was said to standard error, where nobody reads standard output."""
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen([*SFNC, *map(str, args)], stdout=writing, stderr=writing if both else subprocess.PIPE)
    os.close(writing)
    said = (process.communicate(timeout=300)[1] or b"").decode()
    return process.returncode, "".join(line for line in said.splitlines(True) if not STAGE.match(line))


@pytest.mark.parametrize("args", [("ops",), ("ops", "--json"), ("targets",), ("explain", "SFN503"), ("check", DIGITS)])
def test_a_command_whose_output_nobody_reads_ends_quietly(args):
    assert unread(*args) == (141, "")


def test_help_that_nobody_reads_ends_quietly():
    assert unread("--help")[1] == ""
    assert unread("compile", "--help")[1] == ""


def test_a_proof_that_nobody_reads_is_written(out):
    assert unread("verify", out) == (141, "")
    assert document(out / "proof.json")["targets"]["sim"]["different"] == 0


def test_a_build_that_nobody_reads_of_is_written(tmp_path):
    status, said = unread("compile", DIGITS, "--calib", CALIB, "--samples", 512, "-o", tmp_path / "o")
    assert (status, said) == (141, "")
    succeeds("verify", tmp_path / "o", "--quiet")


def test_an_error_that_nobody_reads_ends_quietly(tmp_path):
    assert unread("verify", tmp_path / "none", both=True)[0] == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_to_a_full_disk_is_no_bug_of_ours():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*SFNC, "ops"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 5
    assert "SFN602" in done.stderr
    assert "bug" not in done.stderr


def test_a_closed_pipe_of_ours_is_a_bug(monkeypatch):
    def breaks(*args):
        raise BrokenPipeError

    monkeypatch.setattr("sfn_compile.frontend.operators.describe", breaks)
    assert sfnc("ops").exit_code == 70


def test_a_kill_that_no_moment_was_chosen_for(built, little):
    """At whatever moment: one of the two stands there whole, and the next build leaves nothing beside it."""
    for delay in (0.9, 1.3, 1.7):
        process = subprocess.Popen([*SFNC, little, "-o", built, "--levels", "7", "--quiet"], stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.kill()
        process.wait()
        succeeds("verify", built, "--quiet")
    succeeds(little, "-o", built, "--levels", 7, "--quiet")
    assert [p.name for p in built.parent.iterdir()] == ["o"]
