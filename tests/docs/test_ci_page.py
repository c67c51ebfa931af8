"""The `run:` steps of docs/ci.md and of action.yml are run by bash as a service of continuous integration does it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .test_blocks import a_users_folder, blocks
from .test_docs_are_current import ROOT

STEP = re.compile(r"^( *)(?:- )?run: (?:\|\n((?:\1 +.*\n)+)|(.*)\n)", re.MULTILINE)
INPUT = re.compile(r"^  (\w+):\n    description: .*\n(?:    required: true\n)?(?:    default: (.*)\n)?", re.MULTILINE)
ENV = re.compile(r"^        (\w+): \$\{\{ inputs\.(\w+) \}\}$", re.MULTILINE)


def steps(text: str) -> list[str]:
    """The scripts of a workflow, in order."""
    return [block or line for _, block, line in STEP.findall(text)]


@pytest.fixture
def job(tmp_path, monkeypatch) -> Path:
    """A folder as a job has it: sfnc on the path, a pip that only notes what it is asked for."""
    a_users_folder(tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "pip").write_text('#!/bin/sh\necho "$@" >> "$JOB/pip.txt"\n')
    real = sys.executable
    (tools / "python").write_text(f'#!/bin/sh\n[ "$2" = pip ] && shift 2 && exec pip "$@"\nexec {real} "$@"\n')
    (tools / "sfnc").write_text(f'#!/bin/sh\nexec {real} -m sfn_compile.cli.main "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JOB", str(tmp_path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(ROOT / "backends"))))
    return tmp_path


def bash(script: str, job: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script as GitHub's runner does."""
    return subprocess.run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], cwd=job, text=True,
                          capture_output=True, env={**os.environ, **(env or {})})  # fmt: skip


def test_the_workflow_of_the_page_runs(job):
    _, workflow = [text for language, text in blocks(ROOT / "docs" / "ci.md") if language == "yaml"]
    found = steps(workflow)
    assert len(found) == 4
    for script in found:
        done = bash(script, job)
        assert done.returncode == 0, f"{script}\n{done.stderr}"
    assert (job / "pip.txt").read_text() == "install sfnc[nir]\n"
    titles = [line for line in (job / "summary.md").read_text().splitlines() if line.startswith("### ")]
    assert titles == ["### ✅ sfnc compile out", "### ✅ sfnc verify out", "### ✅ sfnc eval out"]
    assert (job / "out" / "report.html").is_file()


def action(job: Path, **given: str) -> list[subprocess.CompletedProcess[str]]:
    """Run the steps of action.yml until one fails, its inputs given or their defaults."""
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    inputs = {name: default.strip('"') for name, default in INPUT.findall(text.partition("outputs:")[0])} | given
    done: list[subprocess.CompletedProcess[str]] = []
    for step in text.partition("steps:\n")[2].split("    - name: ")[1:]:
        if "inputs.data != ''" in step and not inputs["data"]:
            continue
        env = {name: inputs[source] for name, source in ENV.findall(step)}
        (script,) = steps(step)
        assert "${{" not in script  # inputs reach a script through its environment, never as its text
        assert set(re.findall(r"\$([A-Z]+)\b", script)) <= set(env)
        done.append(bash(script, job, env))
        if done[-1].returncode:
            break
    return done


def test_the_action_compiles_proves_and_measures(job):
    done = action(job, model="model.onnx", calib="calib.npz", data="test.npz", targets="sim,nir", options="--levels 63")
    assert [d.returncode for d in done] == [0, 0, 0, 0], done[-1].stderr
    assert (job / "pip.txt").read_text() == "install --quiet sfnc\n"
    cases = [c.get("name") for f in ("compile", "verify", "eval")
             for c in ElementTree.parse(job / "out.junit" / f"{f}.xml").iter("testcase")]  # fmt: skip
    assert cases == ["target sim", "target nir", "sealed files", "target sim", "target nir", "--max-drop"]


def test_the_action_fails_with_its_gate(job):
    done = action(job, model="model.onnx", calib="calib.npz", data="test.npz", gates="--max-drop 1 --min-sqnr 90")
    assert [d.returncode for d in done] == [0, 0, 0, 1]
    assert "SFN502" in done[-1].stderr
    assert "| **FAIL** | --min-sqnr |" in (job / "summary.md").read_text()


def test_every_step_of_the_action_is_found():
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert len(steps(text)) == text.count("shell: bash") == 4
    known = {name for name, _ in INPUT.findall(text.partition("outputs:")[0])}
    assert set(re.findall(r"inputs\.(\w+)", text)) == known
