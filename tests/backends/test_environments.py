"""Interpreters of other environments: found beside the installation and in variables, never in the current folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sfn_backends.lava import interpreter
from sfn_backends.loihi1 import interpreter as loihi1
from sfn_backends.nir import witnesses

import sfn_compile
from sfn_compile.foundation import installation


@pytest.fixture
def foreign(tmp_path, monkeypatch) -> Path:
    """The current folder, which has environments of both names; the file `trace` appears when one is executed."""
    for name in (".venv-lava", ".venv-loihi1", ".venv-nir"):
        python = tmp_path / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\ntouch {tmp_path}/trace\n")
        python.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(interpreter.VARIABLE, raising=False)
    monkeypatch.delenv(loihi1.VARIABLE, raising=False)
    monkeypatch.delenv(witnesses.VARIABLE, raising=False)
    installation.lacks.cache_clear()
    return tmp_path


def test_nothing_of_the_current_folder_is_executed(foreign):
    assert str(foreign) not in str(interpreter.find())
    assert str(foreign) not in str(loihi1.find())
    assert str(foreign) not in str(witnesses.interpreter())
    assert not (foreign / "trace").exists()


def test_the_trace_would_show(foreign, monkeypatch):
    monkeypatch.setenv(interpreter.VARIABLE, ".venv-lava/bin/python")
    interpreter.find()
    assert (foreign / "trace").exists()


def test_the_probe_of_an_interpreter_imports_nothing_from_the_current_folder(foreign):
    for module in ("json", "importlib", "numpy", "sys"):
        (foreign / f"{module}.py").write_text(f"open({str(foreign / 'trace')!r}, 'w')")
    said = interpreter.check(sys.executable)
    assert "does not run" not in said
    assert not (foreign / "trace").exists()


def test_a_reader_starts_in_a_folder_of_ours(foreign, monkeypatch):
    script = foreign / "python.sh"
    script.write_text(f"#!/bin/sh\npwd > {foreign}/trace\n")
    script.chmod(0o755)
    monkeypatch.setenv(witnesses.VARIABLE, "./python.sh")
    assert witnesses.interpreter() == Path("./python.sh")
    assert witnesses.guarded([installation.absolute("./python.sh")], 20.0, "/") is None
    assert (foreign / "trace").read_text().strip() == "/"


def test_environments_beside_the_installation_are_found(tmp_path, monkeypatch):
    checkout = Path(sfn_compile.__file__).resolve().parents[1]
    monkeypatch.setattr(installation.sys, "prefix", str(tmp_path / "sfnc-env"))
    python = tmp_path / ".venv-there" / "bin" / "python"
    assert installation.environments(".venv-there") == []
    python.parent.mkdir(parents=True)
    python.touch()
    assert installation.environments(".venv-there") == [python]
    monkeypatch.setattr(installation, "__file__", str(tmp_path / "sfn_compile" / "installation.py"))
    assert installation.environments(".venv-there") == [python]  # a checkout, and beside the environment: once
    assert checkout != tmp_path


def test_site_packages_is_no_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(installation, "__file__", str(tmp_path / "site-packages" / "sfn_compile" / "installation.py"))
    monkeypatch.setattr(installation.sys, "prefix", str(tmp_path / "none" / "env"))
    (tmp_path / "site-packages" / ".venv-there" / "bin").mkdir(parents=True)
    (tmp_path / "site-packages" / ".venv-there" / "bin" / "python").touch()
    assert installation.environments(".venv-there") == []


def test_an_interpreter_that_is_named_by_a_path_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert installation.absolute("./bin/python") == str(tmp_path / "bin" / "python")
    assert installation.absolute("python3") == "python3"
