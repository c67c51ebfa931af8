"""Normalisations, softmax and masks as exporters write them out: recognised, and equal to onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.compiler.import_check import check_import
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.frontend import load_model
from sfn_compile.graph.graph import Graph
from sfn_compile.graph.ops import Linear, Normalize, Softmax

from .tiny_onnx import assert_parity, imported, ints, noise, tiny

LAST = {"l": ints(-1)}
EPS = {"e": np.float32(1e-3)}
TWO = {"t": np.float32(2)}
CENTRED = "m = ReduceMean<axes=[-1]>(x) d = Sub(x, m)"
VARIANCE = f"{CENTRED} q = Mul(d, d) v = ReduceMean<axes=[-1]>(q) s = Add(v, e)"
POWER = "q = Pow(x, t) v = ReduceMean<axes=[-1]>(q) s = Add(v, e)"
MASK = np.where(np.triu(np.ones((4, 4)), 1) > 0, -np.inf, 0.0)

# sentence -> (body, keywords, (op, whether it is centred))
NORMS: dict[str, tuple[str, dict, bool]] = {
    "LayerNorm with Div": (f"{VARIANCE} r = Sqrt(s) y = Div(d, r)", EPS, True),
    "LayerNorm with Pow, and epsilon first": (
        f"{CENTRED} q = Pow(d, t) v = ReduceMean<axes=[-1]>(q) s = Add(e, v) r = Sqrt(s) y = Div(d, r)",
        {**EPS, **TWO}, True),
    "LayerNorm with a reciprocal": (f"{VARIANCE} r = Sqrt(s) i = Reciprocal(r) y = Mul(i, d)", EPS, True),
    "LayerNorm with a reciprocal below the root": (
        f"{VARIANCE} i = Reciprocal(s) r = Sqrt(i) y = Mul(d, r)", EPS, True),
    "LayerNorm with one divided by a root": (
        f"{VARIANCE} r = Sqrt(s) i = Div(o, r) y = Mul(d, i)", {**EPS, "o": noise(1) * 0 + 1}, True),
    "LayerNorm with a power of -1/2": (f"{VARIANCE} r = Pow(s, h) y = Mul(d, r)", {**EPS, "h": [-0.5]}, True),
    "LayerNorm with a power of 1/2": (f"{VARIANCE} r = Pow(s, h) y = Div(d, r)", {**EPS, "h": [0.5]}, True),
    "LayerNorm whose difference is computed twice": (
        f"{VARIANCE} r = Sqrt(s) d2 = Sub(x, m) y = Div(d2, r)", EPS, True),
    "LayerNorm whose mean is computed twice": (
        f"{VARIANCE} r = Sqrt(s) n = ReduceMean<axes=[2]>(x) d2 = Sub(x, n) y = Div(d2, r)", EPS, True),
    "LayerNorm with casts": (
        "c = Cast<to=1>(x) m = ReduceMean<axes=[-1]>(c) d = Sub(c, m) q = Pow(d, t) v = ReduceMean<axes=[-1]>(q) "
        "s = Add(v, e) r = Sqrt(s) f = Cast<to=1>(d) y = Div(f, r)", {**EPS, **TWO}, True),
    "LayerNorm without epsilon": (
        f"{CENTRED} q = Mul(d, d) v = ReduceMean<axes=[-1]>(q) r = Sqrt(v) y = Div(d, r)", {}, True),
    "LayerNorm over two axes": (
        "m = ReduceMean<axes=[1,2]>(x) d = Sub(x, m) q = Mul(d, d) v = ReduceMean<axes=[-1,-2]>(q) s = Add(v, e) "
        "r = Sqrt(s) y = Div(d, r)", EPS, True),
    "LayerNorm by a sum and a divisor": (
        f"{CENTRED} q = Mul(d, d) u = ReduceSum(q, l) v = Div(u, n) s = Add(v, e) r = Sqrt(s) y = Div(d, r)",
        {**EPS, **LAST, "n": np.float32(5)}, True),
    "LayerNorm whose variance loses its axis and gets it back": (
        f"{CENTRED} q = Mul(d, d) u = ReduceMean<axes=[2], keepdims=0>(q) v = Unsqueeze(u, l) s = Add(v, e) "
        "r = Sqrt(s) y = Div(d, r)", {**EPS, **LAST}, True),
    "LayerNorm by the unbiased variance, reshaped and expanded": (
        f"{CENTRED} q = Mul(d, d) u = ReduceMean<axes=[2], keepdims=0>(q) v = Mul(u, n) w = Div(v, k) "
        "a = Reshape(w, f) b = Expand(a, g) s = Add(b, e) r = Sqrt(s) y = Div(d, r)",
        {**EPS, "n": np.float32(6), "k": np.float32(5), "f": ints(-1, 4, 1), "g": ints(1, 4, 1)}, True),
    "LayerNorm with one, a Constant of its own, divided by a root": (
        f"o = Constant<value = float {{1}}>() {VARIANCE} r = Sqrt(s) i = Div(o, r) y = Mul(d, i)", EPS, True),
    "RMSNorm by a power, and one, a Constant of its own": (
        "o = Constant<value = float {1}>() t = Constant<value = float {2}>() q = Pow(x, t) "
        "v = ReduceMean<axes=[-1]>(q) s = Add(v, e) r = Sqrt(s) i = Div(o, r) y = Mul(x, i)", EPS, False),
    "RMSNorm with Div": (f"{POWER} r = Sqrt(s) y = Div(x, r)", {**EPS, **TWO}, False),
    "RMSNorm with a reciprocal": (f"{POWER} r = Sqrt(s) i = Reciprocal(r) y = Mul(x, i)", {**EPS, **TWO}, False),
    "RMSNorm of a product": (
        "q = Mul(x, x) v = ReduceMean<axes=[2]>(q) s = Add(v, e) r = Sqrt(s) y = Div(x, r)", EPS, False),
}  # fmt: skip


SHIFTED = (f"{VARIANCE} r = Sqrt(s) i = Reciprocal(r) f = Mul(i, w) a = Mul(x, f) c = Mul(m, f) g = Sub(b, c) "
           "y = Add(a, g)")  # fmt: skip


def only(graph: Graph, kind: type) -> list:
    """The ops of one kind; no other than affine steps are in the graph."""
    assert all(isinstance(n.op, kind | Linear) for n in graph.nodes), [type(n.op).__name__ for n in graph.nodes]
    return [n.op for n in graph.nodes if isinstance(n.op, kind)]


@pytest.mark.parametrize("name", list(NORMS))
def test_a_written_out_normalisation_is_one_op(name, tmp_path):
    body, keywords, centred = NORMS[name]
    graph = assert_parity(tiny(body, (4, 6), opset=13, **keywords), tmp_path)
    (found,) = only(graph, Normalize)
    assert found.centred == centred
    assert graph.nodes[-1].tap == "y"


def test_scale_and_bias_behind_a_normalisation_are_part_of_it(tmp_path):
    body = f"{VARIANCE} r = Sqrt(s) n = Div(d, r) g = Mul(n, w) y = Add(b, g)"
    graph = assert_parity(tiny(body, (4, 6), opset=13, **EPS, w=noise(6), b=noise(6, seed=1)), tmp_path)
    assert [type(n.op) for n in graph.nodes] == [Normalize]
    assert set(graph.nodes[0].origin.nodes) == {"n (Div)", "g (Mul)", "y (Add)"}


@pytest.mark.parametrize("body", [
    SHIFTED,
    SHIFTED.replace("Add(a, g)", "Add(g, a)").replace("Mul(x, f)", "Mul(f, x)").replace("Mul(m, f)", "Mul(f, m)"),
    SHIFTED.replace("f = Mul(i, w) ", "").replace(", f)", ", i)"),
])  # fmt: skip
def test_a_normalisation_as_tensorflow_writes_it_is_one_op(body, tmp_path):
    graph = assert_parity(tiny(body, (4, 6), opset=13, **EPS, w=noise(6), b=noise(6, seed=1)), tmp_path)
    assert [type(n.op) for n in graph.nodes] == [Normalize]


# The deviation of something else, or over something else: no normalisation, so a quotient of two computed values.
OTHERS = {
    "another axis in the mean": f"{VARIANCE} n = ReduceMean<axes=[1]>(x) f = Sub(x, n) r = Sqrt(s) y = Div(f, r)",
    "another dividend": f"{VARIANCE} r = Sqrt(s) a = Tanh(x) y = Div(a, r)",
    "epsilon outside of the root": f"{CENTRED} q = Mul(d, d) v = ReduceMean<axes=[-1]>(q) r = Sqrt(v) s = Add(r, e) "
                                   "y = Div(d, s)",
    "another square": f"{CENTRED} a = Tanh(x) q = Mul(d, a) v = ReduceMean<axes=[-1]>(q) g = Abs(v) s = Add(g, e) "
                      "r = Sqrt(s) y = Div(d, r)",
    "another mean moved": SHIFTED.replace(
        "c = Mul(m, f)", "h = Tanh(x) n = ReduceMean<axes=[-1]>(h) c = Mul(n, f)"),
    "another deviation moved": SHIFTED.replace("c = Mul(m, f)", "k = Tanh(i) h = Mul(k, w) c = Mul(m, h)"),
    "another axis put back": f"{CENTRED} q = Mul(d, d) u = ReduceMean<axes=[2], keepdims=0>(q) "
                             "v = Unsqueeze(u, z) s = Add(v, e) r = Sqrt(s) y = Div(d, r)",
    "a cube root": f"{VARIANCE} r = Pow(s, p) y = Div(d, r)",
    "a sum of other exponentials": "a = Exp(x) t = Tanh(x) c2 = Exp(t) z = ReduceSum(c2, l) y = Div(a, z)",
}  # fmt: skip


@pytest.mark.parametrize("name", list(OTHERS))
def test_what_only_looks_like_one_is_left_as_it_stands(name, tmp_path):
    keywords = {**EPS, "p": np.float32(1 / 3), **LAST, "w": noise(6), "b": noise(6, seed=1)}
    square = (4, 4) if "put back" in name else (4, 6)
    keywords = {"z": ints(1)} | EPS if "put back" in name else keywords
    graph = assert_parity(tiny(OTHERS[name], square, opset=13, **keywords), tmp_path)
    assert not any(isinstance(n.op, Normalize | Softmax) for n in graph.nodes)


@pytest.mark.parametrize("body", [
    "a = Exp(x) s = ReduceSum(a, l) y = Div(a, s)",
    "m = ReduceMax<axes=[-1]>(x) d = Sub(x, m) a = Exp(d) s = ReduceSum(a, l) y = Div(a, s)",
])  # fmt: skip
def test_a_written_out_softmax_is_one_op(body, tmp_path):
    graph = assert_parity(tiny(body, (4, 6), opset=13, **LAST), tmp_path)
    assert only(graph, Softmax) == [Softmax((1,))]
    assert graph.nodes[-1].inputs == ("x",)


# -- masks -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("body", "keywords"), [
    ("a = Add(x, m) y = Softmax(a)", {"m": MASK}),
    ("a = Add(m, x) b = Transpose<perm=[0,1,3,2]>(a) y = Softmax<axis=-2>(b)", {"m": MASK[None, None]}),
    ("a = Where(k, x, c) y = Softmax(a)", {"k": MASK == 0, "c": np.float32(-np.inf)}),
    ("a = Where(k, c, x) y = Softmax(a)", {"k": MASK != 0, "c": np.float32(-np.inf)}),
    ("a = Add(x, m) t = ReduceMax<axes=[-1]>(a) d = Sub(a, t) e = Exp(d) s = ReduceSum(e, l) y = Div(e, s)",
     {"m": MASK, **LAST}),
    ("a = Add(x, m) b = Softmax(a) n = IsNaN(b) y = Where(n, z, b)", {"m": MASK, "z": np.float32(0)}),
    ("a = Add(x, m) y = Softmax(a)", {"m": np.maximum(MASK, -1e9)}),
])  # fmt: skip
def test_masks_of_minus_infinity_reach_their_softmax(body, keywords, tmp_path):
    model = tiny(body, (2, 4, 4), opset=13, **keywords)
    graph, loaded = assert_parity(model, tmp_path), load_model(tmp_path / "model.onnx")
    check_import(graph, loaded, noise(2, 2, 4, 4))
    assert any(isinstance(n.op, Softmax) for n in graph.nodes)


@pytest.mark.parametrize(("body", "words"), [
    ("a = Add(x, m) y = Relu(a)", "SFN104"),
    ("a = Add(x, m) y = Identity(a)", "SFN104"),
    ("a = Add(x, m) b = Softmax(a) c = Relu(a) y = Add(b, c)", "SFN104"),
    ("a = Mul(x, m) y = Softmax(a)", "SFN104"),
    ("a = Add(x, m) b = Sub(z, a) y = Softmax(b)", r"SFN202 at b \(Sub\): it reads scores that a mask has set"),
])  # fmt: skip
def test_minus_infinity_goes_nowhere_else(body, words, tmp_path):
    with pytest.raises(CompileError, match=words):
        imported(tiny(body, (2, 4, 4), opset=13, m=MASK, z=np.float32(0)), tmp_path)


# -- refused, with the reason ------------------------------------------------------------------------------------------
Q = {"x": (4, 6), "opset": 23}
CACHE = {"c": noise(3, 2, 1, 3)}
REFUSED = {
    "[bad] a, m = LayerNormalization(x, w) y = Add(a, m)": ({"x": (4, 6), "w": noise(6)}, "second output is used"),
    "[bad] y = LayerNormalization<axis=0>(x, w)": ({"x": (4, 6), "w": noise(4, 6)}, "axis 0, the batch"),
    "[bad] y = LayerNormalization<axis=5>(x, w)": ({"x": (4, 6), "w": noise(6)}, "outside a tensor of rank 3"),
    "r = Relu(x) [bad] y = LayerNormalization(x, r)": ({"x": (4, 6)}, "scale is not a constant"),
    "[bad] y = InstanceNormalization(x, w, w)": ({"w": noise(4)}, "do not fit 3 channels"),
    "[bad] y = GroupNormalization<num_groups=2>(x, w, w)": ({"w": noise(2), "opset": 18}, "does not divide"),
    "[bad] y = Attention<softcap=2.0, q_num_heads=2, kv_num_heads=2>(x, x, x)": (Q, "softcap"),
    "[bad] y = Attention<q_num_heads=4, kv_num_heads=4>(x, x, x)": (Q, "4 heads do not divide"),
    "[bad] y = Attention<q_num_heads=3, kv_num_heads=2>(x, x, x)": (Q, "do not fit"),
    "[bad] y = Attention<q_num_heads=2, kv_num_heads=2>(x, x, x, , c, c)": ({**Q, **CACHE}, "of the past"),
    "[bad] y = Attention<q_num_heads=2, kv_num_heads=2>(x, x, x, m)": (
        {**Q, "m": np.zeros((4, 4), bool)}, "without any key"),
    '[bad] y = Einsum<equation="bij->ij">(x)': ({"x": (4, 6)}, "sums over the batch"),
    '[bad] y = Einsum<equation="bii->bi">(x)': ({"x": (4, 4)}, "diagonal"),
    '[bad] y = Einsum<equation="...i->...i">(x)': ({"x": (4, 4)}, "unnamed"),
    'a = Tanh(x) [bad] y = Einsum<equation="bij,cij->bij">(x, a)': ({"x": (4, 4)}, "different letters"),
    '[bad] y = Einsum<equation="bij,bij->bij">(x, w)': ({"x": (4, 4), "w": noise(1, 4, 4)}, "constant along it"),
}  # fmt: skip


@pytest.mark.parametrize("body", list(REFUSED))
def test_what_cannot_be_said_is_refused_with_the_rule(body, tmp_path):
    keywords, words = REFUSED[body]
    with pytest.raises(CompileError) as caught:
        imported(tiny(body, **keywords), tmp_path)
    assert words in caught.value.diagnostics[0].what
    assert len(caught.value.diagnostics) == 1
