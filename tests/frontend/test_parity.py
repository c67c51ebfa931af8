"""Every operator of the importer computes what onnxruntime computes, in all the ways it is imported."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.frontend.operators import IMPORTERS, qonnx, qoperator, quantized

from .parity_cases import CASES
from .tiny_onnx import assert_parity, noise, tiny


@pytest.mark.parametrize("body", list(CASES))
def test_it_computes_what_onnxruntime_computes(body, tmp_path):
    text, keywords = CASES[body]
    n = keywords.get("batch", 3)
    assert_parity(tiny(text, **keywords), tmp_path, n)


def test_every_operator_of_the_importer_has_a_case():
    named = " ".join(text for text, _ in CASES.values())
    quantised = {*quantized.IMPORTERS, *qoperator.IMPORTERS, *qonnx.IMPORTERS}  # compared in test_quantised.py
    plain = [op.replace("::", ".") for op in [*IMPORTERS, "Constant"] if op not in quantised]
    assert [op for op in plain if f"= {op}(" not in named and f"= {op}<" not in named] == []


@pytest.mark.parametrize("dtype", ["double", "float16"])
def test_other_float_inputs_are_imported(dtype, tmp_path):
    graph = assert_parity(tiny("a = Cast<to=1>(x) y = Relu(a)", dtype=dtype), tmp_path)
    assert graph.inputs[0].dtype == {"double": "float64", "float16": "float16"}[dtype]


def test_a_reference_with_another_number_is_noticed(tmp_path):
    """The tolerance is no blank cheque: an off-by-one pad fails."""
    right = tiny("y = Conv<pads=[1,1,0,0]>(x, w)", w=noise(2, 3, 3, 3))
    wrong = tiny("y = Conv<pads=[0,0,1,1]>(x, w)", w=noise(2, 3, 3, 3))
    graph = assert_parity(right, tmp_path)
    x = noise(2, 3, 6, 6)
    from .tiny_onnx import TOLERANCE, by_onnxruntime

    off = np.abs(by_onnxruntime(wrong, x)["y"] - graph.evaluate({"x": x})["y"])
    assert off.max() > 1000 * TOLERANCE
