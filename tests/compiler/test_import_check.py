"""What onnxruntime's own rounding explains is no error of the import; what it does not explain is one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from sfn_compile.compiler.compilation import structured
from sfn_compile.compiler.import_check import check_import
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.frontend import import_model, load_model
from sfn_compile.frontend.reference import FloatReference, as_written
from sfn_compile.graph.ops import Linear
from sfn_compile.program.network import Conv, Dense

from ..frontend.tiny_onnx import noise, saved, tiny

WEIGHTS_ALONE = "w = DequantizeLinear(wq, s) h = MatMul(x, w) r = Relu(h) v = DequantizeLinear(vq, s) y = MatMul(r, v)"
FAKE = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) c = Conv(d, k) y = Relu(c)"
DEEP_LOGITS = "m = MatMul(x, w) b = Add(m, low) y = Sigmoid(b)"
CANCELS = "b = BatchNormalization(x, g, o, mean, var) y = Relu(b)"


def _codes(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-127, 128, shape).astype(np.int8)


NETWORKS = {
    "weights of eight bits alone": (WEIGHTS_ALONE, {"x": (128,), "opset": 17, "s": np.float32(0.004),
                                                    "wq": _codes(128, 64), "vq": _codes(64, 10)}, 1.0),
    "quantised activations alone": (FAKE, {"s": np.float32(0.02), "z": np.uint8(128), "k": noise(4, 3, 3, 3)}, 1.0),
    "a sigmoid far from its centre": (DEEP_LOGITS, {"x": (16,), "w": 0.1 * noise(16, 8), "low": np.float32(-12)}, 1.0),
    "a bias that cancels": (CANCELS, {"g": np.ones(3, np.float32), "o": np.full(3, 1000.0), "mean": np.full(3, 1000.0),
                                      "var": np.ones(3, np.float32)}, 1e-3),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_the_rounding_of_the_reference_is_no_error(name, tmp_path):
    body, keywords, size = NETWORKS[name]
    keywords = dict(keywords)
    loaded = load_model(saved(tiny(body, keywords.pop("x", (3, 6, 6)), **keywords), tmp_path))
    graph = import_model(loaded)
    for seed in range(4):
        check_import(graph, loaded, size * noise(2, *graph.inputs[0].type.shape, seed=seed))


def test_a_step_in_float16_may_read_its_argument_before_it_is_rounded(tmp_path):
    """onnxruntime computes float16 in float32 where it has no kernel: 1.001 * 0.999 is 1 as seen, and 1 - 2**-20."""
    model = tiny("m = Mul(x, c) f = Floor(m) y = Mul(f, c)", (4,), dtype="float16", result="float16",
                 c=np.float16(1 - 2.0**-10))  # fmt: skip
    loaded = load_model(saved(model, tmp_path))
    check_import(import_model(loaded), loaded, np.full((2, 4), 1 + 2.0**-10, np.float16))


def test_a_mean_of_many_equal_numbers_is_rounded_to_one_side(tmp_path):
    loaded = load_model(saved(tiny("y = GlobalAveragePool(x)", (1, 512, 512)), tmp_path))
    check_import(import_model(loaded), loaded, np.full((2, 1, 512, 512), 0.7, np.float32))


@pytest.mark.parametrize("factor", [1.001, 1 - 1e-4])
def test_weights_off_by_a_part_in_thousands_are_found(factor, tmp_path):
    loaded = load_model(saved(tiny("c = Conv(x, k) f = Flatten(c) y = MatMul(f, w)", k=noise(4, 3, 3, 3),
                                   w=noise(64, 5)), tmp_path))  # fmt: skip
    graph = import_model(loaded)
    check_import(graph, loaded, noise(2, 3, 6, 6))
    for i, node in enumerate(graph.nodes):
        if isinstance(node.op, Linear) and isinstance(node.op.map, Conv | Dense):
            wrong = replace(node.op, map=replace(node.op.map, weight=node.op.map.weight * factor))
            nodes = (*graph.nodes[:i], replace(node, op=wrong), *graph.nodes[i + 1 :])
            with pytest.raises(CompileError, match=r"SFN107 .* where rounding explains"):
                check_import(replace(graph, nodes=nodes), loaded, noise(2, 3, 6, 6), graph)


def _quantiser(tmp_path):
    body = "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)"
    loaded = load_model(saved(tiny(body, (64,), s=np.float32(0.1), z=np.uint8(128)), tmp_path))
    return import_model(loaded), loaded


def test_a_tie_may_fall_to_either_side_and_is_counted(tmp_path):
    graph, loaded = _quantiser(tmp_path)
    ties = ((np.arange(-32, 32) + 0.5) * np.float64(np.float32(0.1))).astype(np.float32)
    (node,) = (n for n in graph.nodes if n.tap == "y")
    up = replace(node.op, levels=replace(node.op.levels, rounding="half_up"))
    other = replace(graph, nodes=tuple(replace(n, op=up) if n is node else n for n in graph.nodes))
    assert check_import(other, loaded, np.stack([ties, ties]), graph) > 20


def test_a_code_away_from_a_tie_never_differs(tmp_path):
    graph, loaded = _quantiser(tmp_path)
    (node,) = (n for n in graph.nodes if n.tap == "y")
    near = np.float32(0.1) * (np.arange(-32, 32) + np.float32(0.499)).astype(np.float32)
    assert check_import(graph, loaded, np.stack([near, near])) == 0
    shifted = replace(node.op, levels=replace(node.op.levels, rounding="half_up", offset=0.502))
    other = replace(graph, nodes=tuple(replace(n, op=shifted) if n is node else n for n in graph.nodes))
    with pytest.raises(CompileError, match="SFN107"):
        check_import(other, loaded, np.stack([near, near]), graph)


def test_the_reference_fuses_nothing():
    assert as_written().graph_optimization_level == ort.GraphOptimizationLevel.ORT_DISABLE_ALL


def test_signed_weights_are_multiplied_without_saturation(tmp_path):
    """Two products of 255 by 127 are more than sixteen bits hold."""
    rng = np.random.default_rng(0)
    w, x = rng.integers(100, 128, (64, 8)).astype(np.int8), rng.integers(200, 256, (9, 64)).astype(np.uint8)
    constants = {"xs": np.float32(0.1), "xz": np.uint8(3), "w": w, "ws": np.float32(0.05), "wz": np.int8(0),
                 "ys": np.float32(50.0), "yz": np.uint8(7)}  # fmt: skip
    node = helper.make_node("QLinearMatMul", ["x", *constants], ["y"])
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", TensorProto.UINT8, ["N", 64])],
                              [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
                              [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    found = FloatReference(saved(model, tmp_path), ["x"], None).run(x)["y"]
    exact = (x.astype(np.int64) - 3) @ w.astype(np.int64) * (0.1 * 0.05 / 50.0)
    want = np.rint(exact) + 7
    sure = np.abs(exact - np.floor(exact) - 0.5) > 1e-4
    assert np.array_equal(found[sure], want[sure])


def test_large_numbers_that_cancel_are_no_broken_pass(tmp_path):
    """Folding an offset of 1e9 and its negative leaves none, where float64 keeps seven digits of what they meet."""
    body = "c = Conv(x, k) a = Add(c, huge) b = Sub(a, huge) y = Relu(b)"
    graph = import_model(load_model(saved(tiny(body, k=noise(4, 3, 3, 3), huge=np.float32(1e9)), tmp_path)))
    assert [type(n.op).__name__ for n in structured(graph, Options()).nodes] == ["Layer"]
