"""The emitted run.py by itself: what is missing, and what it must not write over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfn_compile.testing import conformance

from .lava_runs import PYTHON, bare, emit, needs_lava

# -- run.py by itself: what is missing, and what it must not write over ---------------------------------------------
BARE = (sys.executable, "-S")  # without site-packages, so without Lava wherever the tests run


def run_py(folder: Path, *arguments: object, python: tuple[str, ...] = BARE) -> subprocess.CompletedProcess[str]:
    command = [*python, str(folder / "run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=bare(), check=False)


@pytest.mark.parametrize("arguments", [("--check",), ("--input", "golden.npz", "--output", "values.npz")])
@pytest.mark.parametrize("foreign", [None, "", "raise RuntimeError('not that one')", "__path__ = []"])
def test_without_lava_run_py_says_so_in_one_line(tmp_path: Path, arguments: Any, foreign: str | None) -> None:
    folder = tmp_path / "lava"
    emit(conformance.mlp(), folder)
    if foreign is not None:  # another package of that name, beside the interpreter's own
        (folder / "lava.py").write_text(foreign)
    named = [folder / a if a == "golden.npz" else tmp_path / a if a.endswith("npz") else a for a in arguments]
    done = run_py(folder, *named)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("FAILED: lava-nc is missing for ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "values.npz").exists()


def test_an_error_inside_the_run_is_no_difference(tmp_path: Path) -> None:
    """Within the guarded run as well: a module that cannot be imported is one line, anything else is told in full."""
    emit(conformance.mlp(), tmp_path)
    code = "import sys; sys.path.insert(0, sys.argv[1]); import run; sys.exit(run._executed(lambda _: {}, None))"
    for work, lines in (("__import__('networkx.gone')", 1), ("1 / 0", 4)):
        said = subprocess.run([sys.executable, "-c", code.format(work), str(tmp_path)], capture_output=True, text=True)
        assert said.returncode == 5
        assert said.stderr.count("\n") >= lines
        assert ("Traceback" in said.stderr) == (lines > 1)


def test_run_py_writes_over_its_own_files_only(tmp_path: Path) -> None:
    folder = tmp_path / "lava"
    emit(conformance.mlp(), folder)
    codes, notes, link = tmp_path / "codes.npz", tmp_path / "notes.txt", tmp_path / "link.npz"
    codes.write_bytes((folder / "golden.npz").read_bytes())
    notes.write_text("mine")
    link.symlink_to(codes)
    before = {p: p.read_bytes() for p in (*tmp_path.rglob("*"),) if p.is_file()}
    for output in (codes, link, notes, folder / "golden.npz", folder / "new.npz", folder / "run.py", tmp_path):
        done = run_py(folder, "--input", codes, "--output", output)
        assert (done.returncode, "would be overwritten" in done.stderr) == (2, True), done.stderr
    for report in (codes, notes, folder / "manifest.json", tmp_path / "values.npz"):
        done = run_py(folder, "--input", codes, "--output", tmp_path / "values.npz", "--report", report)
        assert done.returncode == (2 if report.exists() else 5)
    assert {p: p.read_bytes() for p in (*tmp_path.rglob("*"),) if p.is_file()} == before


@needs_lava
@pytest.mark.usefixtures("place")
def test_run_py_writes_its_answers_twice(tmp_path: Path) -> None:
    folder = tmp_path / "lava"
    emit(conformance.mlp(), folder)
    out, report = tmp_path / "values", tmp_path / "report"
    for _ in range(2):
        done = run_py(
            folder, "--input", folder / "golden.npz", "--output", out, "--report", report, python=(str(PYTHON),)
        )
        assert done.returncode == 0, done.stderr
    assert set(np.load(out).files) <= set(np.load(folder / "golden.npz").files)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lava", "report", "values"]
