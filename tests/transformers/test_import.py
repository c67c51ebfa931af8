"""Transformers and normalised networks as torch's exporters write them: imported, and equal to onnxruntime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sfn_compile.compiler.import_check import check_import
from sfn_compile.frontend import import_model, load_model
from sfn_compile.frontend.reference import FloatReference
from sfn_compile.graph.ops import MatMul, Normalize, Pointwise, Softmax

MODELS = sorted(Path(__file__).parent.glob("*.onnx"))
TOLERANCE = 2.0**-15  # of the largest output; onnxruntime rounds to float32 at every operation

# network -> how many products of two values, softmaxes and normalisations it has
PARTS = {
    "encoder_pre_bf_gelu": (2, 1, 2), "encoder_post_tf_relu": (2, 1, 2), "mha_tf": (2, 1, 0), "mha_masked": (2, 1, 0),
    "sdpa_masked": (2, 1, 0), "sdpa_causal": (2, 1, 0), "vit": (2, 1, 3), "vit_fused": (2, 1, 3), "swin": (4, 2, 4),
    "decoder": (2, 1, 3), "groupnorm": (0, 0, 2), "instancenorm": (0, 0, 2), "mixer": (0, 0, 2),
    "kwt_small": (4, 2, 4), "einsum": (2, 1, 0),
}  # fmt: skip


def test_every_network_is_there():
    assert {p.stem.split("-")[0] for p in MODELS} == set(PARTS)


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_it_computes_what_onnxruntime_computes(path):
    loaded = load_model(path)
    graph = import_model(loaded)
    counts = Counter(type(n.op) for n in graph.nodes)
    assert (counts[MatMul], counts[Softmax], counts[Normalize]) == PARTS[path.stem.split("-")[0]]
    assert not counts[Pointwise]
    for n in (1, 3):
        x = np.random.default_rng(n).standard_normal((n, *graph.inputs[0].model_shape)).astype(np.float32)
        check_import(graph, loaded, x)  # every value that the file names
        want = FloatReference(path, ["x"], loaded.batch).run(x)["y"]
        got = graph.evaluate({"x": x})[graph.outputs[0].value]
        assert want.shape == got.shape
        assert np.abs(want - got).max() <= TOLERANCE * np.abs(want).max()


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_products_and_rows_are_compared_with_the_file(path):
    """Calibration reads the numbers of the user's own file there; only within an Einsum there are none."""
    graph = import_model(load_model(path))
    rows = [n for n in graph.nodes if isinstance(n.op, MatMul | Normalize | Softmax)]
    assert [n.name for n in rows if n.tap is None and "Einsum" not in n.origin.nodes[0]] == []
