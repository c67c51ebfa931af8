"""The same networks in the spelling of every opset from 7 to the newest: attributes became inputs, meanings changed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.frontend import import_model, load_model
from sfn_compile.frontend.reference import FloatReference

from .tiny_onnx import assert_parity, ints, noise, saved, tiny

OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)
BN = {"g": noise(4) ** 2 + 0.5, "h": noise(4), "m": noise(4), "v": noise(4, seed=3) ** 2 + 1}


def attr_or_input(opset: int, since: int, name: str, values: tuple[int, ...]) -> tuple[str, str, dict]:
    """(attribute text, further input text, initializers) of integers that are an input since an opset."""
    if opset < since:
        return f"<{name} = [{', '.join(map(str, values))}]>", "", {}
    return "", f", {name}", {name: ints(*values)}


def convolutions(opset: int) -> onnx.ModelProto:
    """Conv, BatchNormalization, Clip, Pad, MaxPool, AveragePool, Dropout, Flatten, Gemm, Softmax."""
    clip = "Clip<min = 0.0, max = 6.0>(b)" if opset < 11 else "Clip(b, lo, hi)"
    bounds = {} if opset < 11 else {"lo": np.float32(0), "hi": np.float32(6)}
    pads = (0, 0, 1, 0, 0, 0, 0, 1)
    pad, pad_input, pad_values = attr_or_input(opset, 11, "pads", pads)
    dropout = "Dropout<ratio = 0.3>(f)" if opset < 12 else "Dropout(f)"
    body = f"""a = Conv<pads = [1,1,1,1]>(x, w) b = BatchNormalization(a, g, h, m, v) c = {clip}
               d = Pad{pad}(c{pad_input}) p = MaxPool<kernel_shape = [2,2], strides = [2,2]>(d)
               q = AveragePool<kernel_shape = [2,2]>(p)
               f = Flatten(q) r = {dropout} s = Gemm<transB = 1>(r, u, o) y = Softmax<axis = 1>(s)"""
    return tiny(body, opset=opset, w=noise(4, 3, 3, 3), u=noise(5, 16), o=noise(5), **BN, **bounds, **pad_values)


def moves(opset: int) -> onnx.ModelProto:
    """Slice, Split, Squeeze, Unsqueeze, Transpose, Concat, Reshape, ReduceMean, ReduceMax, Cast, MatMul, Add."""
    if opset < 10:
        slice_, constants = "Slice<starts = [1], ends = [5], axes = [2]>(x)", {}
    else:
        slice_, constants = "Slice(x, b0, e0, a0)", {"b0": ints(1), "e0": ints(5), "a0": ints(2)}
    split, split_input, split_values = attr_or_input(opset, 13, "split", (1, 2))
    split = split.replace("<", "<axis = 1, ") or "<axis = 1>"
    squeeze, axes_input, axes = attr_or_input(opset, 13, "axes", (1,))
    mean, mean_input, mean_axes = attr_or_input(opset, 18, "axes", (2,))
    mean = mean.replace(">", ", keepdims = 0>") or "<keepdims = 0>"
    mean_input = mean_input and ", two"
    body = f"""a = {slice_} b, c = Split{split}(a{split_input}) d = Squeeze{squeeze}(b{axes_input})
               e = Unsqueeze{squeeze}(d{axes_input}) f = Concat<axis = 1>(c, e) g = Transpose<perm = [0,2,1,3]>(f)
               h = Reshape(g, shape) i = ReduceMean{mean}(h{mean_input}) j = ReduceMax{mean}(h{mean_input})
               k = Add(i, j) l = Cast<to = 1>(k) m = MatMul(l, u) y = LogSoftmax<axis = 1>(m)"""
    given = {"shape": ints(0, 4, -1), "u": noise(4, 3), **constants, **split_values, **axes}
    return tiny(body, opset=opset, **given, **({"two": mean_axes["axes"]} if mean_axes else {}))


@pytest.mark.parametrize("opset", OPSETS)
def test_a_convolutional_network_of_every_opset_computes_what_onnxruntime_computes(opset, tmp_path):
    assert_parity(convolutions(opset), tmp_path)


@pytest.mark.parametrize("opset", OPSETS)
def test_moves_and_means_of_every_opset_compute_what_onnxruntime_computes(opset, tmp_path):
    assert_parity(moves(opset), tmp_path)


@pytest.mark.parametrize("opset", [7, 10, 12, 13, 17])
def test_a_softmax_without_axis_means_what_its_opset_says(opset, tmp_path):
    assert_parity(tiny("y = Softmax(x)", (3, 4), opset=opset), tmp_path)


def test_a_shape_that_is_cut_by_its_own_attributes_is_folded(tmp_path):
    """Shape has start and end since opset 15."""
    body = "s = Shape<start = 0, end = 1>(x) t = Concat<axis = 0>(s, minus) f = Reshape(x, t) y = Relu(f)"
    assert_parity(tiny(body, opset=15, minus=ints(-1)), tmp_path)


def test_the_opset_of_the_domain_ai_onnx_is_that_of_the_empty_domain(tmp_path):
    model = tiny("y = Clip<min = 0.0, max = 1.0>(x)", opset=10)
    model.opset_import[0].domain = "ai.onnx"
    assert_parity(model, tmp_path)


@pytest.mark.parametrize("opset", [0, -1, 999])
def test_an_opset_that_does_not_exist_is_refused(opset, tmp_path):
    model = tiny("y = Relu(x)")
    model.opset_import[0].version = opset
    with pytest.raises(CompileError, match=rf"SFN101 .*opset {opset} is not known"):
        load_model(saved(model, tmp_path))


def test_a_model_without_any_opset_is_refused(tmp_path):
    model = tiny("y = Relu(x)")
    del model.opset_import[:]
    with pytest.raises(CompileError, match=r"SFN101 .*does not say which opset"):
        load_model(saved(model, tmp_path))


def test_an_attribute_from_before_opset_7_is_refused_with_the_way_to_convert_it(tmp_path):
    model = tiny("[old] y = Add<axis = 1, broadcast = 1>(x, c)", opset=6, c=noise(3))
    with pytest.raises(CompileError, match=r"SFN202 at old \(Add\): .*'broadcast' = 1.*\n.*version_converter"):
        import_model(load_model(saved(model, tmp_path)))


def test_a_batch_norm_per_neuron_is_refused(tmp_path):
    given = {"g": np.ones((3, 6, 6)), "h": noise(3, 6, 6), "m": noise(3, 6, 6), "v": np.ones((3, 6, 6))}
    model = tiny("[bad] y = BatchNormalization<spatial = 0>(x, g, h, m, v)", opset=8, **given)
    with pytest.raises(CompileError, match=r"SFN202 at bad \(BatchNormalization\): .*spatial"):
        import_model(load_model(saved(model, tmp_path)))


@pytest.mark.parametrize("ir_version", [3, 4, 8, onnx.IR_VERSION, onnx.IR_VERSION + 5])
def test_older_and_newer_file_formats_are_read_and_run(ir_version, tmp_path):
    model = tiny("y = Relu(x)")
    model.ir_version = ir_version
    path = saved(model, tmp_path)
    x = noise(2, 3, 6, 6)
    graph = import_model(load_model(path))
    for taps in ((), ("y",)):
        want = FloatReference(path, "x", None, taps).run(x)["y"]
        assert np.array_equal(want, np.maximum(x, 0))
    assert np.array_equal(graph.evaluate({"x": x})["y"], np.maximum(x, 0))
