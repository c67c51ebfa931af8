"""The batch may stand on any axis of a tensor, alone or merged with others, as long as samples stay apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfn_compile.calibration.collect import FloatRunner
from sfn_compile.compiler.import_check import check_import
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.frontend import import_model, load_model
from sfn_compile.frontend.batch_layout import FRONT, Layout, apart, common, likeliest, placements

from .tiny_onnx import assert_parity, imported, ints, noise, saved, tiny

FRONT_TO_1 = "t = Transpose<perm=[1,0,2]>(x)"
BACK = "y = Transpose<perm=[1,0,2]>(a)"
HEADS = {"h": ints(4, -1, 3), "s": ints(4, -1, 6)}
WINDOWS = {"s": ints(-1, 3, 2), "u": ints(-1, 4, 6)}
SHIFT = {"e": ints(1)}

# sentence -> (body on samples (4, 6), keywords); every one is run with any batch, with one of 1 and one of 3.
CASES: dict[str, tuple[str, dict]] = {
    "functions and constants": (f"{FRONT_TO_1} b = Add(t, c) d = Mul(b, e) a = Tanh(d) {BACK}",
                                {"c": noise(4, 1, 6), "e": noise(6)}),
    "a residual": (f"{FRONT_TO_1} b = Tanh(t) a = Add(t, b) {BACK}", {}),
    "a residual of lower rank": (
        f"{FRONT_TO_1} b = ReduceMean<axes=[0], keepdims=0>(t) d = ReduceMean<axes=[1], keepdims=0>(x) a = Add(t, b) "
        f"f = Transpose<perm=[1,0,2]>(a) g = Unsqueeze(d, e) y = Add(f, g)", SHIFT),
    "MatMul": (f"{FRONT_TO_1} a = MatMul(t, w) {BACK}", {"w": noise(6, 5)}),
    "Gemm of merged rows": (
        f"{FRONT_TO_1} f = Reshape(t, s) g = Gemm(f, w, b) a = Reshape(g, u) {BACK}",
        {"s": ints(-1, 6), "u": ints(4, -1, 5), "w": noise(6, 5), "b": noise(5)}),
    "Softmax and sums": (
        f"{FRONT_TO_1} b = Softmax<axis=0>(t) d = Softmax<axis=-1>(t) f = ReduceSum(d, n) a = Add(b, f) {BACK}",
        {"n": ints(2)}),
    "LayerNormalization": (f"{FRONT_TO_1} a = LayerNormalization(t, w) {BACK}", {"w": noise(6)}),
    "a written-out RMSNorm": (
        f"{FRONT_TO_1} q = Mul(t, t) v = ReduceMean<axes=[-1]>(q) p = Add(v, o) r = Sqrt(p) a = Div(t, r) {BACK}",
        {"o": np.float32(0.1)}),
    "BatchNormalization of merged rows": (
        "f = Reshape(x, s) n = BatchNormalization(f, g, h, m, v) y = Reshape(n, u)",
        {"s": ints(-1, 6), "u": ints(-1, 4, 6), **{k: np.abs(noise(6, seed=i)) for i, k in enumerate("ghmv")}}),
    "heads merged with the batch": (
        f"{FRONT_TO_1} k = Reshape(t, h) q = Transpose<perm=[1,0,2]>(k) p = Transpose<perm=[0,2,1]>(q) "
        f"m = MatMul(q, p) w = Softmax(m) o = MatMul(w, q) n = Transpose<perm=[1,0,2]>(o) a = Reshape(n, s) {BACK}",
        HEADS),
    "windows merged with the batch": (
        "f = Reshape(x, s) g = Softmax<axis=1>(f) b = Tanh(g) y = Reshape(b, u)",
        {"s": ints(-1, 3, 2), "u": ints(-1, 4, 6)}),
    "a constant for each window": (
        "f = Reshape(x, s) g = Reshape(f, v) b = Add(g, c) d = Reshape(b, s) y = Reshape(d, u)",
        {**WINDOWS, "v": ints(-1, 4, 3, 2), "c": noise(4, 1, 2)}),
    "Split, Concat and Gather": (
        f"{FRONT_TO_1} b, d = Split<axis=0>(t) f = Concat<axis=0>(d, b) g = Gather<axis=0>(f, i) "
        "a = Unsqueeze(g, z) y = Transpose<perm=[1,0,2]>(a)", {"i": np.array(2), "z": ints(0)}),
    "Slice and Pad": (
        f"{FRONT_TO_1} b = Slice(t, i, j, k) a = Pad(b, p) {BACK}",
        {"i": ints(1), "j": ints(3), "k": ints(0), "p": ints(1, 0, 0, 0, 0, 2)}),
    "Expand and Tile": (
        f"{FRONT_TO_1} b = ReduceMean<axes=[0]>(t) d = Expand(b, i) a = Tile(d, j) {BACK}",
        {"i": ints(4, 1, 1), "j": ints(1, 1, 2)}),
    "Squeeze and Unsqueeze": (
        f"{FRONT_TO_1} b = Unsqueeze(t, i) d = Tanh(b) a = Squeeze(d, i) {BACK}", {"i": ints(1)}),
    "fused queries, keys and values": (
        "b = MatMul(x, w) d = Reshape(b, s) f = Transpose<perm=[2,0,3,1,4]>(d) q = Gather<axis=0>(f, i) "
        "k = Gather<axis=0>(f, j) y = Mul(q, k)",
        {"w": noise(6, 18), "s": ints(-1, 4, 3, 2, 3), "i": np.array(0), "j": np.array(2)}),
    "a flat view": ("b = Reshape(x, f) d = Tanh(b) y = Reshape(d, u)", {"f": ints(-1), "u": ints(-1, 4, 6)}),
    "Flatten of rows": ("b = Flatten<axis=2>(x) d = Tanh(b) y = Reshape(d, u)", {"u": ints(-1, 4, 6)}),
    "Einsum with the batch in the middle": (
        f'{FRONT_TO_1} b = Tanh(t) y = Einsum<equation="ibd,jbd->bij">(t, b)', {}),
}  # fmt: skip


@pytest.mark.parametrize("batch", ["N", 1, 3])
@pytest.mark.parametrize("name", list(CASES))
def test_operators_take_the_batch_wherever_it_is(name, batch, tmp_path):
    body, keywords = CASES[name]
    opset = 13 if "ReduceMean" in body else 17
    model = tiny(body, (4, 6), batch=batch, opset=opset, **keywords)
    n = 3 if batch == "N" else batch
    graph, loaded = assert_parity(model, tmp_path, n), load_model(tmp_path / "model.onnx")
    check_import(graph, loaded, noise(n, 4, 6))


def test_calibration_sees_the_samples_of_a_value_that_has_the_batch_elsewhere(tmp_path):
    body, keywords = CASES["heads merged with the batch"]
    path = saved(tiny(body, (4, 6), **keywords), tmp_path)
    graph, x = import_model(load_model(path)), noise(5, 4, 6)
    (product,) = [n for n in graph.nodes if n.tap == "m"]
    assert graph.before["m"] == 1
    assert graph.before["t"] == 4
    ((n, values, _),) = FloatRunner(graph, path, None).stream({"x": x})
    heads = x.reshape(5, 4, 2, 3).transpose(0, 2, 1, 3)
    assert n == 5
    np.testing.assert_allclose(values[product.name], heads @ heads.transpose(0, 1, 3, 2), rtol=1e-5, atol=1e-6)


def test_a_fixed_batch_is_filled_up_sample_by_sample(tmp_path):
    """Five samples in batches of three: the last batch repeats, and its repetitions are cut off again."""
    body, keywords = CASES["MatMul"]
    path = saved(tiny(body, (4, 6), batch=3, **keywords), tmp_path)
    graph, x = import_model(load_model(path)), noise(5, 4, 6)
    (product,) = [n for n in graph.nodes if n.tap == "a"]
    found = np.concatenate([v[product.name] for _, v, _ in FloatRunner(graph, path, 3).stream({"x": x})])
    np.testing.assert_allclose(found, x @ keywords["w"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_constant_may_be_repeated_for_every_sample_of_a_fixed_batch(batch, tmp_path):
    token = np.repeat(noise(1, 1, 6), batch, axis=1)
    body = f"{FRONT_TO_1} b = Add(t, token) a = Concat<axis=0>(token, b) {BACK}"
    assert_parity(tiny(body, (4, 6), batch=batch, token=token), tmp_path, batch)


# -- refused -------------------------------------------------------------------------------------------------------
MIXED = {
    "Softmax over the batch": (f"{FRONT_TO_1} [bad] a = Softmax<axis=1>(t) {BACK}", {}, "axis 1, the batch"),
    "Softmax over heads and the batch": (
        f"{FRONT_TO_1} k = Reshape(t, h) [bad] s2 = Softmax<axis=1>(k) a = Reshape(s2, s) {BACK}",
        {**HEADS, "batch": 3}, "merges the batch with others"),
    "a sum with a transposed self": (f"{FRONT_TO_1} [bad] y = Add(t, x)", {"x": (4, 4)}, "different axes"),
    "a MatMul over the batch": (
        "a = Transpose<perm=[1,2,0]>(x) [bad] y = MatMul(a, w)", {"w": noise(3, 3), "batch": 3}, "axis 2, the batch"),
    "a Conv of a batch in the middle": (f"{FRONT_TO_1} [bad] y = Conv(t, w)", {"w": noise(2, 1, 1)}, "in front"),
    "a constant that differs from sample to sample": (
        f"{FRONT_TO_1} [bad] a = Add(t, c) {BACK}", {"c": noise(4, 3, 6), "batch": 3}, "along the batch"),
    "a constant on a merged axis": (
        "f = Reshape(x, s) [bad] y = Add(f, c)", {"s": ints(-1, 6), "c": noise(12, 6), "batch": 3}, "along the batch"),
    "a Reshape that puts the tokens of one sample where another's were": (
        f"{FRONT_TO_1} [bad] y = Reshape(t, s)", {"s": ints(-1, 4, 6)}, "merges the batch"),
    "a Slice of merged samples": (
        "f = Reshape(x, s) [bad] y = Slice(f, i, j, k)",
        {"s": ints(-1, 6), "i": ints(0), "j": ints(2), "k": ints(0), "batch": 3}, "merges the batch"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(MIXED))
def test_what_mixes_samples_is_refused(name, tmp_path):
    body, keywords, words = MIXED[name]
    with pytest.raises(CompileError) as caught:
        imported(tiny(body, **{"x": (4, 6), **keywords}), tmp_path)
    (found,) = caught.value.diagnostics
    assert (found.code, found.where.split()[0]) == ("SFN203", "bad")
    assert words in found.what


# At a batch of one the samples stay apart; onnxruntime tells that it is not so for two.
def test_what_mixes_samples_of_a_larger_batch_only_is_found_by_the_probe(tmp_path):
    body = f"{FRONT_TO_1} f = Reshape(t, s) b = Softmax<axis=1>(f) a = Reshape(b, u) {BACK}"
    model = tiny(body, (4, 6), s=ints(4, -1), u=ints(4, -1, 6))
    loaded = load_model(saved(model, tmp_path))
    with pytest.raises(CompileError, match="SFN203") as caught:
        check_import(import_model(loaded), loaded, noise(2, 4, 6))
    assert "depends on how many samples" in str(caught.value)


# -- the arithmetic of layouts -------------------------------------------------------------------------------------
def test_a_layout_says_where_axes_are():
    heads = Layout(1, 1, 2)  # (tokens, batch * heads, width)
    assert heads.dims((4, 2, 3), 5) == (4, 10, 3)
    assert heads.sample_shape((4, 10, 3), 5) == (4, 2, 3)
    assert [heads.sample_axis(a) for a in range(3)] == [0, None, 2]
    assert heads.before((4, 2, 3)) == 4
    alone = Layout(1)
    assert alone.dims((4, 6), 5) == (4, 5, 6)
    assert [alone.sample_axis(a) for a in range(3)] == [0, None, 1]
    assert (alone.rank((4, 6)), heads.rank((4, 2, 3))) == (3, 3)


def test_a_batch_of_one_may_stand_in_either_neighbour():
    assert placements((5, 8), 5, 1) == [Layout(0, 5), Layout(1, 1, 8)]
    assert placements((15, 8), 5, 3) == [Layout(0, 5)]
    assert placements((5, 24), 5, 3) == [Layout(1, 1, 8)]
    assert placements((8, 15), 5, 3) == []
    assert likeliest(placements((5, 8), 5, 1), (5, 8), 8, None) == Layout(0, 5)
    assert likeliest(placements((5, 2, 4), 5, 1), (5, 2, 4), 8, None) == Layout(1, 1, 2)
    assert likeliest(placements((5, 2, 8), 5, 1), (5, 2, 8), None, None) == Layout(1, 1, 2)
    assert likeliest(placements((5, 2, 8), 5, 1), (5, 2, 8), 2, None) == Layout(0, 5)
    assert likeliest(placements((1, 1, 8), 1, 1), (1, 1, 8), None, 1) == Layout(1)
    assert apart(Layout(1, 1, 8), (5, 8), (1,)) == Layout(0, 5)
    assert apart(Layout(0, 1, 8), (8,), (0,)) is None
    assert common([FRONT, Layout(1)], [(4, 6), (4, 6)], False) is None


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 5), st.data())
def test_every_placement_holds_the_samples_in_order(shape, batch, data):
    """A tensor whose samples are told apart by their values, reshaped: the placement finds them again."""
    before = math.prod(shape[: data.draw(st.integers(0, len(shape)))])
    size = math.prod(shape)
    samples = np.arange(size)[None] + size * np.arange(batch)[:, None]
    flat = samples.reshape(batch, before, -1).swapaxes(0, 1).reshape(-1)
    cuts = data.draw(st.permutations([*shape, batch]))
    for layout in placements(cuts, before, batch):
        one = layout.sample_shape(cuts, batch)
        assert layout.dims(one, batch) == tuple(cuts)
        assert layout.before(one) == before
        parts = flat.reshape(before, batch, -1).swapaxes(0, 1).reshape(batch, -1)
        assert (parts == samples).all()
