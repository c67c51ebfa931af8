"""The documents are complete: what is written from them alone computes the integers and the answers of every build."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from sfn_compile.commands.build import build
from sfn_compile.commands.running import run_build
from sfn_compile.files import program_files
from sfn_compile.foundation.options import Options
from sfn_compile.simulator.edge_inputs import edge_inputs
from sfn_compile.simulator.run import run_codes
from sfn_compile.testing import conformance

from ..commands.cli_helpers import MODELS
from ..frontend import quantised_models as quantised
from ..fuzz.random_graphs import random_graph
from . import host_side, interpreter
from .program_file import read_golden, read_program

HERE = Path(__file__).parent
TRANSFORMERS = sorted((HERE.parent / "transformers").glob("*.onnx"))
LAST_PLACES = 2.0**-22  # of a float32: functions of the host may differ in the last places of a float64
BY_LIBRARY = {"sigmoid", "tanh", "scalar", "softmax", "log_softmax"}  # not rounded correctly by every library
QUANTISED: dict[str, Callable[[Path], Path]] = {
    "qdq residual": quantised.qdq_residual,
    "qoperator": quantised.qoperator,
    "tensorrt": quantised.tensorrt,
    "halves": lambda path: quantised.halves(path, True),
    "qonnx": quantised.qonnx,
    "qonnx, another rounding": lambda path: quantised.qonnx(path, rounding="FLOOR"),
    "bipolar": lambda path: quantised.qonnx(path, bipolar=True),
}


def agrees(folder: Path, data: Path) -> None:
    """Compare a build with what the documents say of it: golden integers, codes of its inputs, answers.

    ``data`` holds the golden samples, or samples that begin with them.
    """
    program = read_program(folder)
    samples, golden = read_golden(folder)
    codes = {e["value"]: host_side.encode(e, samples[e["name"]]) for e in program["inputs"]}
    for name, found in codes.items():
        assert np.array_equal(found, golden[name]), name
    values = interpreter.run(program, codes)
    assert list(values) == list(golden)
    assert [name for name in values if not np.array_equal(values[name], golden[name])] == []
    answers = run_build(folder, data)
    for decoding in program["outputs"]:
        got = host_side.decode(decoding, values)
        want = answers[decoding["name"]][: len(got)]
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        if BY_LIBRARY & {op["kind"] for op in decoding["host"]}:
            np.testing.assert_allclose(got, want, rtol=LAST_PLACES, atol=LAST_PLACES)
        else:
            assert np.array_equal(got, want)


def built(model: Path, folder: Path, **options: object) -> Path:
    """A build of a model on generated samples, whose golden inputs are written beside it."""
    out = folder / "out"
    build(model, out, Options(**options))
    samples, _ = read_golden(out)
    np.savez(folder / "data.npz", **samples)
    return out


@pytest.mark.parametrize("name", ["program_file", "interpreter", "host_side"])
def test_what_is_written_from_the_documents_imports_nothing_of_sfnc(name):
    tree = ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))
    modules = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    modules += [f"{'.' * n.level}{n.module}" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert modules
    allowed = {"__future__", "json", "math", "collections.abc", "itertools", "pathlib", "typing", "numpy",
               "numpy.typing", ".interpreter"}  # fmt: skip
    assert set(modules) <= allowed


@pytest.mark.parametrize("case", [*conformance.CASES, *conformance.SEVERAL_INPUTS], ids=str)
def test_programs_of_the_conformance_suite(case, tmp_path):
    program = case.make()
    program_files.save(program, tmp_path)
    codes = edge_inputs(program, 5)
    want, got = run_codes(program, codes, engine="reference"), interpreter.run(read_program(tmp_path), codes)
    assert list(want) == list(got)
    assert [name for name in want if not np.array_equal(want[name], got[name])] == []


def test_the_demo_network(made, tmp_path):
    samples, _ = read_golden(made)
    np.savez(tmp_path / "data.npz", **samples)
    agrees(made, tmp_path / "data.npz")


@pytest.mark.parametrize("path", [*TRANSFORMERS, MODELS / "fashion_vit.onnx"], ids=lambda p: p.stem)
def test_transformers(path, tmp_path):
    agrees(built(path, tmp_path, method="minmax"), tmp_path / "data.npz")


@pytest.mark.parametrize("name", list(QUANTISED))
def test_quantised_networks(name, tmp_path):
    model = QUANTISED[name](tmp_path / "model.onnx")
    agrees(built(model, tmp_path), tmp_path / "data.npz")


@pytest.mark.parametrize("seed", range(20))
def test_random_networks(seed, tmp_path):
    graph = random_graph(1000 + seed)
    onnx.save(graph.model, tmp_path / "model.onnx")
    np.savez(tmp_path / "data.npz", **graph.calibration)
    build(tmp_path / "model.onnx", tmp_path / "out", Options(), tmp_path / "data.npz")
    agrees(tmp_path / "out", tmp_path / "data.npz")
