"""What Lava's programs are given: a copy of themselves and codes, never the integers that they are to compute."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from sfn_backends.lava import LavaBackend, interpreter, runner

from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.program.network import Program
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.backend import RunRequest
from sfn_compile.targets.legalize import legalize
from sfn_compile.testing import conformance

from .lava_programs import products_of_all_ranks, rows_of_all_ranks

PYTHON, PROBLEM = interpreter.find()
needs_lava = pytest.mark.skipif(PYTHON is None, reason=f"lava-nc: {PROBLEM}. {interpreter.INSTALL}")
PROGRAMS = (conformance.conv_chain, conformance.unequal_depth, products_of_all_ranks, rows_of_all_ranks)

# Stands in for run.py: says what it was given, and answers zeros.
SPY = """
import json, sys
from pathlib import Path
import numpy as np
here, options = Path(__file__).resolve().parent, dict(zip(sys.argv[1::2], sys.argv[2::2]))
manifest = json.loads((here / "manifest.json").read_text())
ids = options.get("--layers", ",".join(x["id"] for x in manifest["layers"] if x["kind"] != "flatten")).split(",")
codes = np.load(options["--input"])
with open({trace!r}, "a") as out:
    files = sorted(p.relative_to(here).as_posix() for p in here.rglob("*") if p.is_file())
    out.write(json.dumps({{"files": files, "ids": ids, "given": codes.files, "mode": options["--mode"],
                          "cwd": str(Path.cwd()), "path": sys.path[0]}}) + "\\n")
n = len(codes[codes.files[0]])
shapes = {{x["id"]: x["shape"] for x in manifest["layers"]}}
np.savez(options["--output"], **{{i: np.zeros((n, *shapes[i]), int) for i in ids}})
Path(options["--report"]).write_text(json.dumps({{"executed_by": "spy", "mode": options["--mode"]}}))
"""


def emitted(program: Program, folder: Path) -> tuple[Program, RunRequest]:
    folder.mkdir(exist_ok=True)
    legal = legalize(program, "lava", LavaBackend.capabilities)
    LavaBackend().emit(legal, folder, {})
    inputs = conformance.edge_inputs(legal)
    return legal, RunRequest(inputs, run_codes(legal, inputs))


def spied(program: Program, tmp_path: Path, monkeypatch, mode: str) -> tuple[Program, list[dict]]:
    """Return the legalised Program and what every start of its run.py was given."""
    monkeypatch.setattr(interpreter, "find", lambda: (sys.executable, ""))
    legal, request = emitted(program, tmp_path / "lava")
    (tmp_path / "lava" / "run.py").write_text(SPY.format(trace=str(tmp_path / "trace")))
    (tmp_path / "lava" / "numpy.py").write_text("raise SystemExit('a stranger was executed')")
    (tmp_path / "lava" / "sitecustomize.py").write_text("raise SystemExit('a stranger was executed')")
    LavaBackend(mode=mode).run(tmp_path / "lava", request)
    return legal, [json.loads(line) for line in (tmp_path / "trace").read_text().splitlines()]


@pytest.mark.parametrize("make", PROGRAMS, ids=lambda f: f.__name__)
def test_a_whole_run_is_given_input_codes_alone(make, tmp_path, monkeypatch):
    legal, (only,) = spied(make(), tmp_path, monkeypatch, "whole")
    assert only["given"] == [f"in{i}" for i in range(len(legal.inputs))]
    assert only["mode"] == "whole"
    assert sorted(only["files"]) == sorted(runner.COPIED)
    assert not any("golden" in name or name.endswith(("numpy.py", "sitecustomize.py")) for name in only["files"])
    assert only["path"] != str(tmp_path / "lava")
    assert Path(only["cwd"]) != Path.cwd()


@pytest.mark.parametrize("make", PROGRAMS, ids=lambda f: f.__name__)
def test_layer_by_layer_no_program_is_given_an_integer_that_it_computes(make, tmp_path, monkeypatch):
    _, starts = spied(make(), tmp_path, monkeypatch, "layerwise")
    manifest = json.loads((tmp_path / "lava" / "manifest.json").read_text())
    layers = [x["id"] for x in manifest["layers"] if x["kind"] != "flatten"]
    assert sorted(i for start in starts for i in start["ids"]) == layers  # every layer once
    assert all(not set(start["ids"]) & set(start["given"]) for start in starts)
    assert len(starts) < len(layers) or len(layers) < 3
    assert {start["mode"] for start in starts} == {"layerwise"}


@needs_lava
@pytest.mark.parametrize("make", PROGRAMS[1:3], ids=lambda f: f.__name__)
def test_every_layer_alone_computes_the_same_integers(make, tmp_path):
    legal, request = emitted(make(), tmp_path / "lava")
    result = LavaBackend(mode="layerwise").run(tmp_path / "lava", request)
    assert result.mode == "layerwise"
    for step in conformance.fired(legal):
        assert np.array_equal(result.values[step.name], request.golden[step.name]), step.name


@needs_lava
def test_a_layer_whose_sources_are_not_given_is_not_run(tmp_path, monkeypatch):
    _, request = emitted(conformance.conv_chain(), tmp_path / "lava")
    monkeypatch.setattr(runner, "_tasks", lambda manifest, *_: [([manifest["layers"][-1]["id"]], [])])
    with pytest.raises(CompileError, match=r"SFN603[^$]*not in the input"):
        LavaBackend(mode="layerwise").run(tmp_path / "lava", request)


@pytest.mark.parametrize("name", ["run.py", "tensors.npz", "manifest.json", "sfnproc/neurons.py"])
def test_a_file_that_is_gone_is_a_damaged_build(name, tmp_path, monkeypatch):
    monkeypatch.setattr(interpreter, "find", lambda: (sys.executable, ""))
    _, request = emitted(conformance.mlp(), tmp_path / "lava")
    (tmp_path / "lava" / name).unlink()
    with pytest.raises(CompileError, match="SFN503"):
        LavaBackend().run(tmp_path / "lava", request)


def test_a_program_that_leaves_no_result_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(interpreter, "find", lambda: (sys.executable, ""))
    _, request = emitted(conformance.mlp(), tmp_path / "lava")
    (tmp_path / "lava" / "run.py").write_text("")
    with pytest.raises(CompileError, match=r"SFN603.*left no result"):
        LavaBackend().run(tmp_path / "lava", request)
