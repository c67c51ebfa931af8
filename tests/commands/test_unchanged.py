"""compile says "unchanged" where the very build that is asked for is there, whole; otherwise it compiles."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sfn_compile import compile as compile_network
from sfn_compile.commands import unchanged
from sfn_compile.foundation.diagnostics import CompileError

from ..frontend.tiny_onnx import noise, saved, tiny
from .cli_helpers import document, refused, sfnc, succeeds

WORD = "unchanged: "


@pytest.fixture
def asked(tmp_path) -> tuple[object, ...]:
    """A tiny build, and the arguments that made it."""
    body = "a = Conv(x, w) r = Relu(a) f = Flatten(r) y = Gemm(f, k)"
    model = saved(tiny(body, w=noise(4, 3, 3, 3), k=noise(64, 2)), tmp_path)
    np.savez(tmp_path / "d.npz", x=noise(20, 3, 6, 6))
    args = (model, "--calib", tmp_path / "d.npz", "-o", tmp_path / "o")
    assert not says_unchanged(*args)
    return args


def says_unchanged(*args: object) -> bool:
    return succeeds(*args).stdout.startswith(WORD)


def seals(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*")}


def test_nothing_is_written_where_all_is_the_same_and_warnings_are_said_again(asked, tmp_path):
    before = seals(tmp_path / "o")
    done = succeeds(*asked)
    assert done.stdout.startswith(WORD)
    assert "SFN309" in done.stderr
    assert seals(tmp_path / "o") == before
    assert json.loads(succeeds(*asked, "--json").stdout)["unchanged"] is True
    assert not succeeds(*asked, "-q").stdout
    assert "unchanged" in succeeds(*asked, "--markdown", "--junit", tmp_path / "j.xml").stdout
    assert (tmp_path / "j.xml").is_file()


def test_rebuild_compiles_all_the_same(asked, tmp_path):
    before = seals(tmp_path / "o")
    assert not says_unchanged(*asked, "--rebuild")
    assert seals(tmp_path / "o") != before
    assert says_unchanged(*asked)


OPTIONS = [("--levels", 15), ("--samples", 10), ("--seed", 3), ("--target", "sim,nir"), ("--input-shape", "x=1,3,6,6"),
           ("--target", "nir", "--nir-form", "unary")]  # fmt: skip


@pytest.mark.parametrize("more", OPTIONS)
def test_any_other_option_is_another_build(more, asked):
    assert not says_unchanged(*asked, *more)
    assert says_unchanged(*asked, *more)
    assert not says_unchanged(*asked)


def test_another_model_or_other_data_is_another_build(asked, tmp_path):
    np.savez(tmp_path / "d.npz", x=noise(20, 3, 6, 6) + 1)
    assert not says_unchanged(*asked)
    assert says_unchanged(*asked)
    body = "a = Conv(x, w) r = Relu(a) f = Flatten(r) y = Gemm(f, k)"
    saved(tiny(body, w=noise(4, 3, 3, 3), k=2 * noise(64, 2)), tmp_path)
    assert not says_unchanged(*asked)


def test_a_damaged_build_is_built_again(asked, tmp_path):
    out = tmp_path / "o"
    for name in document(out / "manifest.json")["files"]:
        (out / name).unlink()
        assert not says_unchanged(*asked), name
        assert says_unchanged(*asked), name
    for living in ("request.json", "manifest.json"):
        (out / living).write_text("{}")
        if living == "request.json":
            assert not says_unchanged(*asked)
        else:
            refused("SFN503", 3, *asked)  # it is no build any more


def test_a_changed_sealed_file_is_a_users_file_as_ever(asked, tmp_path):
    (tmp_path / "o" / "report.json").write_text("{}")
    refused("SFN503", 3, *asked)
    assert not says_unchanged(*asked, "--force")


def test_the_seal_binds_the_request_to_its_build(asked, tmp_path):
    other = shutil.copytree(tmp_path / "o", tmp_path / "p")
    succeeds(*asked, "--levels", 15)
    shutil.copy(other / "request.json", tmp_path / "o" / "request.json")
    assert not says_unchanged(*asked)


@pytest.mark.parametrize("what", ["_version", "_code"])
def test_another_version_or_other_code_is_another_build(what, asked, monkeypatch):
    monkeypatch.setattr(unchanged, what, lambda *a: "other")
    assert not says_unchanged(*asked)


def test_a_refused_target_is_tried_again(tmp_path):
    body = "a = Conv(x, w) b = Conv(x, v) q = Mul(a, b) f = Flatten(q) y = Gemm(f, k)"
    model = saved(tiny(body, w=noise(4, 3, 3, 3), v=noise(4, 3, 3, 3) + 1, k=noise(64, 2)), tmp_path)
    args = (model, "-o", tmp_path / "o", "--target", "sim,nir")
    for _ in range(2):
        done = sfnc(*args)
        assert done.exit_code == 4, done.output
        assert WORD not in done.stdout


def test_data_that_cannot_be_told_apart_are_compiled_anew(asked, tmp_path, monkeypatch):
    (tmp_path / "given.py").write_text("import numpy as np\ndef batches():\n    yield np.ones((20, 3, 6, 6), 'f4')\n")
    monkeypatch.syspath_prepend(tmp_path)
    args = (asked[0], "--calib", "given:batches", "-o", tmp_path / "q")
    assert not says_unchanged(*args)
    assert not says_unchanged(*args)


def test_python_does_the_same(asked, tmp_path):
    before = seals(tmp_path / "o")
    compile_network(asked[0], tmp_path / "o", calib=tmp_path / "d.npz")
    assert seals(tmp_path / "o") == before
    compile_network(asked[0], tmp_path / "o", calib=tmp_path / "d.npz", rebuild=True)
    assert seals(tmp_path / "o") != before
    with pytest.raises(CompileError):
        compile_network(tmp_path / "none.onnx", tmp_path / "o")


def test_the_answer_is_there_at_once(asked):
    """Below a second of processor time, of which starting Python is the most; a build takes three."""
    args = [sys.executable, "-m", "sfn_compile.cli.main", *map(str, asked)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(args, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.startswith(WORD)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
