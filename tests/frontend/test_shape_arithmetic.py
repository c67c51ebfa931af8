"""Arithmetic on shapes that exporters leave in graphs is gone once shapes are pinned; the batch stays free."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from sfn_compile.compiler.import_check import check_import
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.frontend import import_model, load_model

from .tiny_onnx import assert_parity, by_onnxruntime, imported, ints, noise, saved, tiny

C = {"zero": np.array(0), "one": np.array(1), "two": np.array(2), "three": np.array(3), "at0": ints(0), "at1": ints(1),
     "at2": ints(2), "end": ints(2**31), "minus": ints(-1)}  # fmt: skip

# sentence -> body; the constants are those above
PATTERNS: dict[str, str] = {
    "x.view(x.size(0), -1)": """s = Shape(x) n = Gather(s, zero) u = Unsqueeze(n, at0)
        t = Concat<axis=0>(u, minus) y = Reshape(x, t)""",
    "x.view(x.size(0), x.size(1), -1)": """s = Shape(x) n = Gather(s, zero) c = Gather(s, one) u = Unsqueeze(n, at0)
        v = Unsqueeze(c, at0) t = Concat<axis=0>(u, v, minus) y = Reshape(x, t)""",
    "a slice of the shape and -1": """s = Shape(x) t = Slice(s, at0, at2) v = Concat<axis=0>(t, minus)
        y = Reshape(x, v)""",
    "the number of values by the batch": """s = Shape(x) n = Gather(s, zero) z = Size(x) d = Div(z, n)
        u = Unsqueeze(n, at0) v = Unsqueeze(d, at0) t = Concat<axis=0>(u, v) y = Reshape(x, t)""",
    "a product of axes": """s = Shape(x) n = Slice(s, at0, at1) r = Slice(s, at1, end) p = ReduceProd<keepdims=1>(r)
        t = Concat<axis=0>(n, p) y = Reshape(x, t)""",
    "zeros as large as the batch": """s = Shape(x) c = ConstantOfShape<value = float[1] {0.5}>(s) a = Add(x, c)
        y = Relu(a)""",
    "a constant expanded to the shape of the input": """s = Shape(x) c = Expand(k, s) a = Add(x, c) y = Relu(a)""",
    "expand(-1, ...) of PyTorch": """s = Shape(x) ones = ConstantOfShape<value = int64[1] {1}>(four)
        m = Mul(ones, minus) e = Equal(s, m) w = Where(e, ones, s) c = Expand(k, w) a = Mul(x, c) y = Relu(a)""",
    "positions along the last axis": """s = Shape(x) w = Gather(s, three) r = Range(zero, w, one) f = Cast<to=1>(r)
        a = Add(x, f) y = Relu(a)""",
    "half of an axis": """s = Shape(x) h = Gather(s, two) f = Cast<to=1>(h) d = Div(f, twof) g = Floor(d)
        i = Cast<to=7>(g) e = Unsqueeze(i, at0) y = Slice(x, at0, e, at2)""",
    "pads that are computed": """s = Shape(x) h = Gather(s, two) d = Sub(eight, h) u = Unsqueeze(d, at0)
        p = Concat<axis=0>(sixzeros, u, at0) y = Pad(x, p)""",
    "a mask": """s = Shape(x) h = Gather(s, two) r = Range(zero, h, one) l = Less(r, two) f = Cast<to=1>(l)
        y = Mul(x, f)""",
}
MORE = {"k": noise(3, 1, 1), "four": ints(4), "twof": np.float32(2), "eight": np.array(8), "sixzeros": ints(*[0] * 6)}


@pytest.mark.parametrize("batch", ["N", 1, 4])
@pytest.mark.parametrize("pattern", list(PATTERNS))
def test_arithmetic_on_shapes_is_folded(pattern, batch, tmp_path):
    model = tiny(PATTERNS[pattern], batch=batch, opset=13, **C, **MORE)
    graph = assert_parity(model, tmp_path, n=3 if batch == "N" else batch)
    assert len(graph.nodes) <= 3


def test_a_note_about_a_shape_that_does_not_hold_is_not_believed(tmp_path):
    model = tiny("a = Relu(x) s = Shape(a) n = Gather(s, one) f = Cast<to=1>(n) y = Mul(a, f)", opset=13, **C)
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("a", 1, ["N", 7, 6, 6]))
    graph = imported(model, tmp_path)
    x = noise(2, 3, 6, 6)
    assert np.allclose(graph.evaluate({"x": x})["y"], 3 * np.maximum(x, 0))


def test_symbolic_height_and_width_are_pinned_and_folded(tmp_path):
    body = """s = Shape(x) h = Gather(s, two) w = Gather(s, three) m = Mul(h, w) u = Unsqueeze(m, at0)
              n = Slice(s, at0, at2) t = Concat<axis=0>(n, u) f = Reshape(x, t) y = Relu(f)"""
    model = tiny(body, (3, "H", "W"), opset=13, **C)
    path = saved(model, tmp_path)
    loaded = load_model(path, {"x": (1, 3, 5, 7)})
    graph, x = import_model(loaded), noise(2, 3, 5, 7)
    assert np.array_equal(graph.evaluate({"x": x})["y"], by_onnxruntime(model, x)["y"])
    check_import(graph, loaded, x)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_may_stand_in_the_arithmetic(batch, tmp_path):
    body = "s = Shape(x) n = Gather(s, zero) f = Cast<to=1>(n) y = Div(x, f)"
    assert_parity(tiny(body, batch=batch, opset=13, **C), tmp_path, n=batch)


def test_a_constant_as_large_as_a_fixed_batch_must_be_the_same_for_all_samples(tmp_path):
    same, other = np.repeat(noise(1, 3, 6, 6), 4, axis=0), noise(4, 3, 6, 6)
    assert_parity(tiny("y = Mul(x, c)", batch=4, c=same), tmp_path, n=4)
    with pytest.raises(CompileError, match=r"SFN203 .*differs along the batch"):
        imported(tiny("y = Mul(x, c)", batch=4, c=other), tmp_path)


BAKED = {
    "a division by the size of the batch": "s = Shape(x) n = Gather(s, zero) f = Cast<to=1>(n) y = Div(x, f)",
    "positions along the batch": """s = Shape(x) n = Gather(s, zero) r = Range(zero, n, one) f = Cast<to=1>(r)
        u = Unsqueeze(f, rest) y = Add(x, u)""",
}


@pytest.mark.parametrize("pattern", list(BAKED))
def test_a_free_batch_in_the_arithmetic_is_refused_before_anything_is_compiled(pattern, tmp_path):
    model = tiny(BAKED[pattern], opset=13, rest=ints(1, 2, 3), **C)
    loaded = load_model(saved(model, tmp_path))
    with pytest.raises(
        CompileError, match=r"SFN203 at y \((Div|Add)\): .*depends on how many samples are in the batch"
    ):
        check_import(import_model(loaded), loaded, noise(3, 3, 6, 6))


def test_rows_of_the_batch_and_of_an_axis_in_one_are_refused(tmp_path):
    body = """s = Shape(x) n = Gather(s, zero) c = Gather(s, one) m = Mul(n, c) u = Unsqueeze(m, at0)
              t = Concat<axis=0>(u, minus) [bad] y = Reshape(x, t)"""
    with pytest.raises(CompileError, match=r"SFN203 at bad \(Reshape\): it merges the batch with other axes"):
        imported(tiny(body, opset=13, **C), tmp_path)
