"""The how-tos say what works: their back end passes the conformance suite, their operator is imported exactly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.frontend import operators
from sfn_compile.testing.conformance import CASES, check

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_back_end_of_the_howto_passes_the_conformance_suite_or_refuses(case, tmp_path):
    example = python_blocks("add_a_back_end.md")[0]
    space: dict[str, Any] = {"__name__": "sfnc_rows"}
    exec(compile(example, "add_a_back_end.md", "exec"), space)
    if case.name in ("mlp", "mlp_table", "mlp_table_unsorted", "signed_codes"):
        check(space["RowsBackend"](), case, tmp_path)
    else:
        with pytest.raises(CompileError, match="SFN402"):
            check(space["RowsBackend"](), case, tmp_path)


def test_the_options_of_the_howto_are_options_of_a_back_end():
    space: dict[str, Any] = {}
    exec(compile(python_blocks("add_a_back_end.md")[1], "add_a_back_end.md", "exec"), space)
    values = {o.name: o.parsed(text, o.name) for o, text in zip(space["OPTIONS"], ("down", "4"), strict=True)}
    assert values == {"order": "down", "buffers": 4}
    for o in space["OPTIONS"]:
        o.check(values[o.name])


def test_the_operator_of_the_howto_is_imported_as_onnxruntime_computes_it(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    from sfn_compile.compiler.compilation import compile_model
    from sfn_compile.foundation.options import Options
    from sfn_compile.frontend.operators import activations

    space = dict(vars(activations))
    exec(compile(python_blocks("add_an_operator.md")[0], "add_an_operator.md", "exec"), space)
    monkeypatch.setitem(operators.IMPORTERS, "HardSigmoid", space["hard_sigmoid"])
    body = "{ a = Gemm(x, w) h = HardSigmoid<alpha=0.3>(a) y = Gemm(h, v) }"
    head = '<ir_version: 10, opset_import: ["" : 17]> g (float[N,4] x) => (float[N,3] y)'
    model = onnx.parser.parse_model(f"{head} {body}")
    rng = np.random.default_rng(0)
    for name, shape in (("w", (4, 5)), ("v", (5, 3))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(rng.standard_normal(shape, np.float32), name))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    program = compile_model(tmp_path / "m.onnx", Options()).program  # raises SFN107 where a value differs
    assert [type(s.ladder).__name__ for s in program.populations()] == ["Uniform", "Readout"]


def python_blocks(page: str) -> list[str]:
    text = (ROOT / "docs" / "howto" / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
