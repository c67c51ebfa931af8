"""Any axis of length 1 may be the batch where the model is made for one: checked by samples that differ, each alone."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.compiler.import_check import check_import
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.frontend import import_model, load_model
from sfn_compile.frontend.reference import FloatReference

from .batch_of_one import HEADS, C, T, transformer
from .tiny_onnx import ints, noise, saved, tiny

OTHERS = {
    "the batch goes and comes back": ("s = Squeeze(x, first) r = Relu(s) u = Unsqueeze(r, first) y = Add(u, x)", {}),
    "the batch becomes an axis that is joined": ("a = Relu(x) b = Neg(x) j = Concat<axis = 0>(a, b) "
                                                 "y = ReduceMax<axes = [0], keepdims = 1>(j)", {}),
    "softmax along the batch of rows": ("t = Transpose<perm = [1, 0, 2]>(x) m = MatMul(t, w) "
                                        "u = Transpose<perm = [1, 0, 2]>(m) y = Add(u, x)", {"w": noise(8, 8)}),
    "a convolution behind a squeezed batch": ("s = Squeeze(x, first) t = Transpose<perm = [1, 0]>(s) "
                                              "u = Unsqueeze(t, first) y = Conv(u, k)", {"k": noise(3, 8, 3)}),
    "an output without a batch": ("s = Squeeze(x, first) y = MatMul(s, w)", {"w": noise(8, 3)}),
    "all of it in one number": ("r = Relu(x) y = ReduceSum<keepdims = 1>(r)", {}),
    "an Einsum of matrices": ('s = Squeeze(x, first) y = Einsum<equation = "td,ud->tu">(s, s)', {}),
}  # fmt: skip


def _parity(model, tmp_path):
    """The graph, checked value by value on two samples and at its outputs."""
    path = saved(model, tmp_path)
    loaded = load_model(path)
    graph, x = import_model(loaded), noise(2, T, C)
    check_import(graph, loaded, x)
    want, got = FloatReference(path, ["x"], 1).run(x)["y"], graph.evaluate({"x": x})[graph.outputs[0].value]
    assert want.shape == got.shape
    assert np.abs(want - got).max() <= 2.0**-15 * np.abs(want).max()
    assert np.abs(want[0] - want[1]).max() > 2.0**-5 * np.abs(want).max()  # two samples that differ
    return graph


@pytest.mark.parametrize("heads", HEADS)
def test_attention_of_one_head_is_imported_wherever_axes_of_length_one_go(heads, tmp_path):
    _parity(transformer(heads), tmp_path)


def test_twelve_blocks_are_imported_whole(tmp_path):
    graph = _parity(transformer("tokens in front", blocks=12), tmp_path)
    assert sum(type(n.op).__name__ == "MatMul" for n in graph.nodes) == 24
    assert sum(type(n.op).__name__ == "Softmax" for n in graph.nodes) == 12


@pytest.mark.parametrize("name", OTHERS)
def test_the_batch_of_one_stands_wherever_an_operator_leaves_it(name, tmp_path):
    body, constants = OTHERS[name]
    _parity(tiny(body, (T, C), batch=1, opset=13, first=ints(0), **constants), tmp_path)


@pytest.mark.parametrize("batch", [2, "N"])
def test_more_samples_are_never_mixed(batch, tmp_path):
    model = tiny(
        "a = Relu(x) j = Concat<axis = 0>(a, x) y = ReduceMax<axes = [0], keepdims = 1>(j)", (T, C), batch=batch
    )
    with pytest.raises(CompileError, match="SFN203"):
        import_model(load_model(saved(model, tmp_path)))
