"""Compiled transformers: the targets onnx and lava compute every integer of every layer that the simulator computes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from sfn_backends.lava import LavaBackend, interpreter
from sfn_backends.nir import NirBackend
from sfn_backends.onnx import OnnxBackend

from sfn_compile.compiler.compilation import compile_model
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.program.network import Normalization, Program
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.backend import RunRequest
from sfn_compile.targets.legalize import check_widths, legalize
from sfn_compile.testing.conformance import edge_inputs, fired

HERE = Path(__file__).parent
SMALL = sorted(HERE.glob("*.onnx"))
IN_LAVA = [p for p in SMALL if p.stem.split("-")[0] in ("decoder", "groupnorm", "swin", "vit_fused")]
SHIPPED = HERE.parents[1] / "models" / "fashion_vit.onnx"
PYTHON, PROBLEM = interpreter.find()
needs_lava = pytest.mark.skipif(PYTHON is None, reason=f"lava-nc: {PROBLEM}. {interpreter.INSTALL}")


@cache
def compiled(path):
    """Compile a network with steps from the extremes of generated inputs: integers are compared here, not answers."""
    return compile_model(path, Options(method="minmax")).program


def rows_of(program: Program):
    """Return the kinds of thresholds that follow a row."""
    kinds = {type(s if isinstance(s, Normalization) else s.ladder).__name__ for s in fired(program)}
    return kinds & {"RowTable", "Ratio", "Normalization"}


def differences(backend, program, folder):
    """Return the neurons of which the target gets an integer wrong, for extreme and random inputs."""
    legal = legalize(program, backend.name, backend.capabilities)
    check_widths(legal, backend.name, backend.capabilities)
    backend.emit(legal, folder, {})
    inputs = edge_inputs(legal, 2)
    golden = run_codes(legal, inputs, engine="reference")
    assert all(np.unique(golden[s.name]).size > 1 for s in fired(legal))
    result = backend.run(folder, RunRequest(inputs, golden))
    assert result.mode == "whole"
    return [s.name for s in fired(legal) if not np.array_equal(result.values[s.name], golden[s.name])]


@pytest.mark.parametrize("path", [*SMALL, SHIPPED], ids=lambda p: p.stem)
def test_onnxruntime_computes_every_integer(path, tmp_path):
    program = compiled(path)
    assert rows_of(program)
    assert differences(OnnxBackend(), program, tmp_path) == []


@needs_lava
@pytest.mark.parametrize("path", IN_LAVA, ids=lambda p: p.stem)
def test_lava_computes_every_integer_as_one_pipeline(path, tmp_path):
    assert differences(LavaBackend(mode="whole"), compiled(path), tmp_path) == []


def test_nir_refuses_the_shipped_transformer_at_every_normalisation_and_softmax():
    program = compiled(SHIPPED)
    with pytest.raises(CompileError) as caught:
        legalize(program, "nir", NirBackend.capabilities)
    said = [d for d in caught.value.diagnostics if "target nir has no" in d.what]
    nodes = " ".join(d.where for d in said)
    assert [d.code for d in caught.value.diagnostics if d.code != "SFN402"] == []
    assert sum("normalisation" in d.what for d in said) == 9
    assert sum("maximum of a row" in d.what for d in said) == sum("sum of a row" in d.what for d in said) == 4
    assert [f"blocks.{i}.norm{j}" for i in range(4) for j in (1, 2) if f"blocks.{i}.norm{j}" not in nodes] == []
