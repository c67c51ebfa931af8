"""Softmax, matrix products, normalisation and residual streams: which values become spikes, with which levels."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sfn_compile.foundation.options import Options
from sfn_compile.graph.ops import Layer, Normalize, Site, is_row_exp
from sfn_compile.graph.steps import all_steps
from sfn_compile.host.codec import encode_all
from sfn_compile.passes.mapping.correct_bias import CorrectBias
from sfn_compile.passes.mapping.fold_thresholds import FoldThresholds
from sfn_compile.passes.mapping.site_roles import fine_sites
from sfn_compile.passes.pipeline import run_passes, structure
from sfn_compile.program.network import Carries, Identity, Matmul, Normalization, Ratio, RowTable
from sfn_compile.simulator.run import run_codes

from ...frontend.tiny_onnx import imported, ints, noise, renamed, samples, tiny
from ..pass_examples import EvaluatedRunner, mapped, program_of, structured, worst_lie

PROJECTED = {"wq": noise(6, 6), "wk": noise(6, 6, seed=1), "wv": noise(6, 6, seed=2), "wo": noise(6, 6, seed=3)}
QKV = "q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv) t = Transpose<perm=[0,2,1]>(k) s = MatMul(q, t) "
SCALED = {"r": np.float32(0.25)}
HEAD = QKV + "c = Mul(s, r) p = Softmax<axis=-1>(c) "
ATTEND = HEAD + "a = MatMul(p, v) "
GIVEN = {"x": (4, 6), **PROJECTED, **SCALED}
# Two heads of three channels each, split off as every exporter does it.
HEADS = (
    "".join(f"{n} = MatMul(x, w{n}) {n}r = Reshape({n}, z) " for n in "qkv")
    + "qt = Transpose<perm=[0,2,1,3]>(qr) kt = Transpose<perm=[0,2,3,1]>(kr) vt = Transpose<perm=[0,2,1,3]>(vr) "
    "s = MatMul(qt, kt) c = Mul(s, r) p = Softmax<axis=-1>(c) a = MatMul(p, vt) o = Transpose<perm=[0,2,1,3]>(a) "
    "f = Reshape(o, e) "
)
SPLIT = {**GIVEN, "z": ints(0, 4, 2, 3), "e": ints(0, 4, 6)}
STREAM = (
    "h = MatMul(x, wq) n = LayerNormalization(h, g) m = MatMul(n, wk) u = Relu(m) d = MatMul(u, wv) s = Add(h, d) "
    "n2 = LayerNormalization(s, g) y = MatMul(n2, wo)"
)
NORM = {"g": noise(6, seed=9)}


def placed(body, folder, **keywords):
    return structured(imported(tiny(body, **keywords), folder))


def chosen(body, folder, options=None, **keywords):
    original = imported(tiny(body, **keywords), folder)
    x = samples(original, 16)
    graph = structured(original)
    assert worst_lie(original, graph, x) < 2.0**-30
    return mapped(graph, x, options)


def layers(graph):
    return {n.name: n.op for n in graph.nodes if isinstance(n.op, Layer)}


# -- softmax --------------------------------------------------------------------------------------------------------
def test_a_product_with_a_softmax_reads_its_exponentials_and_is_divided_by_their_sum(tmp_path):
    graph = placed(f"{ATTEND} y = MatMul(a, wo)", tmp_path, **GIVEN)
    node = graph.by_name()["a"]
    assert node.inputs == ("p/exp", "v", "p/exp")
    assert node.op.norm_axis == 1
    assert isinstance(node.op.products[0], Matmul)
    assert is_row_exp(graph.by_name()["p/exp"].op)
    assert "p" not in graph.by_name()  # attention weights are fired nowhere
    assert graph.by_name()["p/exp"].origin.nodes == ("s (MatMul)", "c (Mul)", "p (Softmax)")


def test_weights_of_attention_are_fired_first_where_that_is_asked_for(tmp_path):
    original = imported(tiny(f"{ATTEND} y = MatMul(a, wo)", **GIVEN), tmp_path)
    graph = run_passes(original, structure(Options(attention="fired")))
    assert graph.by_name()["a"].inputs == ("p", "v")
    assert graph.by_name()["a"].op.norm_axis is None
    assert graph.by_name()["p"].op.norm_axis == 1
    assert fine_sites(graph)["p"] == "factor of a matrix product of spikes"


def test_any_other_reader_of_a_softmax_gets_its_quotient_fired(tmp_path):
    graph = placed(f"{HEAD} l = Relu(p) y = MatMul(l, w)", tmp_path, **GIVEN, w=noise(4, 2))
    quotient = graph.by_name()["p"]
    assert quotient.inputs == ("p/exp", "p/exp")  # the numerator, and what its sum is taken of
    assert quotient.op.norm_axis == 1
    assert quotient.op.activation.kind == "identity"
    assert [u.op.activation.kind for u in graph.users()["p"]] == ["relu"]


def test_a_softmax_with_two_readers_is_fired_for_both(tmp_path):
    body = f"{ATTEND} l = MatMul(p, w) y = MatMul(a, wo)"
    graph = placed(body, tmp_path, **GIVEN, w=noise(4, 2), outputs=("y", "l"))
    assert graph.by_name()["a"].inputs == ("p", "v")
    assert graph.by_name()["a"].op.norm_axis is None
    assert graph.by_name()["p"].op.norm_axis == 1


def test_a_softmax_that_is_scaled_before_the_product_is_fired_with_its_scale(tmp_path):
    """A quotient with weights that differ along what is summed is no plain softmax."""
    body = f"{HEAD} b = Mul(p, k1) a = MatMul(b, v) y = MatMul(a, wo)"
    graph = placed(body, tmp_path, **GIVEN, k1=noise(4))
    assert graph.by_name()["a"].op.norm_axis is None
    assert Counter(op.norm_axis for op in layers(graph).values())[1] == 1


def test_a_softmax_inside_that_is_an_output_too_is_fired(tmp_path):
    graph = placed(f"{ATTEND} y = MatMul(a, wo)", tmp_path, **GIVEN, outputs=("y", "p"))
    out = {o.name: o.value for o in graph.outputs}
    assert graph.by_name()[out["p"]].op.norm_axis == 1
    assert graph.by_name()[out["p"]].op.activation is not None


def test_scales_in_front_of_a_product_go_into_its_weight(tmp_path):
    """Behind activations, where no linear map can take them."""
    body = (
        "n = Relu(q) j = Tanh(k) t = Transpose<perm=[0,2,1]>(j) u = Mul(n, r) b = Mul(t, r) s = MatMul(u, b) "
        "p = Softmax<axis=-1>(s) a = MatMul(p, v) y = MatMul(a, wo)"
    )
    graph = placed(QKV.partition(" t = ")[0] + " " + body, tmp_path, **GIVEN)
    (form,) = graph.by_name()["p/exp"].op.products
    assert form.weight.item() == 0.25**2
    assert set(layers(graph)) == {"n", "j", "v", "p/exp", "a", "y"}


def test_a_scale_along_the_summed_axis_is_fired(tmp_path):
    """It cannot be a weight of the product, which has one for each result."""
    body = "n = Relu(x) m = Mul(n, k1) t = Transpose<perm=[0,2,1]>(n) s = MatMul(m, t) y = MatMul(s, w)"
    graph = placed(body, tmp_path, x=(4, 6), k1=noise(6), w=noise(4, 2))
    by = graph.by_name()
    product = next(op for op in layers(graph).values() if op.products)
    assert product.products[0].weight.size == 1
    assert "m" in by
    assert by["m"].op.activation.kind == "identity"


# -- normalisation --------------------------------------------------------------------------------------------------
def test_a_relu_behind_a_normalisation_is_its_lower_end(tmp_path):
    body = "h = MatMul(x, wq) n = LayerNormalization(h, g) r = Relu(n) y = MatMul(r, wo)"
    graph = chosen(body, tmp_path, x=(4, 6), **PROJECTED, **NORM)
    (node,) = [n for n in graph.nodes if isinstance(n.op, Normalize)]
    assert node.op.activation.kind == "relu"
    assert (node.op.levels.lo, node.op.levels.hi) == (0, 31)
    assert "r (Relu)" in node.origin.nodes
    assert not any(op.activation is not None and op.activation.kind == "relu" for op in layers(graph).values())
    assert (node.op.integer.ladder.lo, node.op.integer.ladder.hi) == (0, 31)


def test_a_relu_beside_another_reader_of_a_normalisation_is_not(tmp_path):
    body = (
        "h = MatMul(x, wq) n = LayerNormalization(h, g) r = Relu(n) m = MatMul(n, wk) s = Add(m, r) y = MatMul(s, wo)"
    )
    graph = placed(body, tmp_path, x=(4, 6), **PROJECTED, **NORM)
    assert [n.op.activation.kind for n in graph.nodes if isinstance(n.op, Normalize)] == ["identity"]


# -- rounding errors of residual sums -------------------------------------------------------------------------
def test_a_residual_stream_has_a_second_population_that_sums_maps_and_norms_read(tmp_path):
    graph = placed(STREAM, tmp_path, x=(4, 6), **PROJECTED, **NORM)
    by = graph.by_name()
    carry = by["h/carry"]
    assert carry.op.relation == Carries("h")
    assert [t.role for t in carry.op.terms] == ["main", "subtract"]
    assert carry.inputs == ("x", "h")
    assert isinstance(carry.op.maps[-1], Identity)
    assert carry.op.maps[-1].weight.item() == -1
    assert by["n"].inputs == ("h", "h/carry")  # the normalisation reads both
    assert set(by["s"].inputs) >= {"h", "h/carry", "u"}  # and the sum
    assert sorted(n.name for n in graph.nodes if isinstance(n.op, Layer) and n.op.rounding_of) == ["h/carry"]


@pytest.mark.parametrize("value", ["n", "u", "d", "s"])
def test_a_value_called_like_what_is_carried_is_another_one(value, tmp_path):
    model = renamed(tiny(STREAM, x=(4, 6), **PROJECTED, **NORM), value, "h/carry")
    original = imported(model, tmp_path)
    graph = structured(original)
    assert worst_lie(original, graph, samples(original, 4)) < 1e-9
    (carry,) = [n for n in graph.nodes if isinstance(n.op, Layer) and n.op.relation == Carries("h")]
    assert carry.name == "h/carry.1"
    assert "thresholds-integer" in mapped(graph, samples(original, 16)).invariants


def test_a_value_called_like_the_exponentials_of_a_softmax_is_another_one(tmp_path):
    original = imported(renamed(tiny(f"{ATTEND} y = MatMul(a, wo)", **GIVEN), "a", "p/exp"), tmp_path)
    graph = structured(original)
    assert worst_lie(original, graph, samples(original, 4)) < 1e-9
    (exponentials,) = [n.name for n in graph.nodes if is_row_exp(n.op)]
    assert exponentials == "p/exp.1"


def test_what_is_carried_moves_with_its_codes_and_goes_into_linear_maps(tmp_path):
    body = (
        "h = MatMul(x, wq) l = MatMul(h, wk) u = Relu(l) d = MatMul(u, wv) s = Add(h, d) "
        "t = Transpose<perm=[0,2,1]>(h) m = MatMul(t, w4) y = MatMul(s, wo)"
    )
    graph = placed(body, tmp_path, x=(4, 6), **PROJECTED, w4=noise(4, 2), outputs=("y", "m"))
    by = graph.by_name()
    assert set(by["u"].inputs) == {"h", "h/carry"}
    assert "t/carry" in by
    assert set(by["m"].inputs) == {"t", "t/carry"}


def test_without_a_later_sum_nothing_is_carried(tmp_path):
    body = "h = MatMul(x, wq) n = LayerNormalization(h, g) m = MatMul(n, wk) l = MatMul(h, wv) j = Concat<axis=2>(m, l)"
    graph = placed(f"{body} y = MatMul(j, w)", tmp_path, x=(4, 6), **PROJECTED, **NORM, w=noise(12, 2))
    assert not any(isinstance(n.op, Layer) and n.op.rounding_of for n in graph.nodes)


@pytest.mark.parametrize(("levels", "carried"), [(63, ["h/carry"]), (64, [])])
def test_above_63_levels_too_little_is_left_to_carry(levels, carried, tmp_path):
    original = imported(tiny(STREAM, x=(4, 6), **PROJECTED, **NORM), tmp_path)
    graph = run_passes(original, structure(Options(levels=levels)))
    assert [n.name for n in graph.nodes if isinstance(n.op, Layer) and n.op.rounding_of] == carried


def test_carrying_can_be_left_out(tmp_path):
    original = imported(tiny(STREAM, x=(4, 6), **PROJECTED, **NORM), tmp_path)
    graph = run_passes(original, structure(Options(carry=False)))
    assert not any(isinstance(n.op, Layer) and n.op.rounding_of for n in graph.nodes)


def test_both_populations_together_hold_the_stream_to_a_fraction_of_a_code(tmp_path):
    """Where the codes do not saturate, 32 codes divide one step: what is left is half of one, and weights' rounding."""
    original = imported(tiny(STREAM, x=(4, 6), **PROJECTED, **NORM), tmp_path)
    x = samples(original, 16)
    options = Options(method="minmax", weight_bits=16, acc_bits=48)
    graph = mapped(structured(original), x, options)
    levels, steps = graph.by_name()["h/carry"].op.levels, all_steps(graph)
    assert (levels.lo, levels.hi) == (-16, 15)
    assert np.array_equal(levels.step, steps["h"] / 32)
    assert levels.reason == "the rounding error of a residual sum"
    program = program_of(graph)
    codes = run_codes(program, encode_all(program, {"x": x}))
    want = (codes["x"] * program.inputs[0].step) @ PROJECTED["wq"].astype(np.float64)
    alone, both = codes["h"] * steps["h"], codes["h"] * steps["h"] + codes["h/carry"] * steps["h/carry"]
    assert np.abs(want - both).max() <= steps["h"].max() / 32
    assert np.sqrt(((both - want) ** 2).mean()) < np.sqrt(((alone - want) ** 2).mean()) / 16


# -- levels ---------------------------------------------------------------------------------------------------------
def test_the_channels_of_one_head_share_a_step_in_queries_and_keys_and_not_in_values(tmp_path):
    graph = chosen(f"{HEADS} y = MatMul(f, wo)", tmp_path, **SPLIT)
    for name in "qk":
        step = np.broadcast_to(graph.by_name()[name].op.levels.step, (4, 6))[0]
        assert len(set(step[:3])) == len(set(step[3:])) == 1
        assert len(set(step)) == 2  # another head has its own
    assert len(set(np.broadcast_to(graph.by_name()["v"].op.levels.step, (4, 6))[0])) == 6


def test_queries_and_keys_without_heads_have_one_step(tmp_path):
    graph = chosen(f"{ATTEND} y = MatMul(a, wo)", tmp_path, **GIVEN)
    assert [np.unique(graph.by_name()[n].op.levels.step).size for n in "qkv"] == [1, 1, 6]


@pytest.mark.parametrize(("levels", "fine"), [(31, 255), (31, 31), (63, 31), (7, 15)])
def test_factors_of_products_and_exponentials_get_the_levels_of_attention(levels, fine, tmp_path):
    graph = chosen(f"{HEADS} y = MatMul(f, wo)", tmp_path, Options(levels=levels, attention_levels=fine), **SPLIT)
    found = {name: op.levels.hi - op.levels.lo for name, op in layers(graph).items() if isinstance(op, Site)}
    want = max(levels, fine)
    assert found == {"q": want, "k": want, "v": want, "p/exp": want, "a": levels}
    reasons = {name: op.levels.reason for name, op in layers(graph).items() if isinstance(op, Site)}
    said = "factor of a matrix product of spikes" if fine > levels else ""
    assert [reasons[n] for n in "qkva"] == [said] * 3 + [""]
    assert "exponential" in reasons["p/exp"]


def test_a_long_row_has_fewer_exponentials_so_that_its_product_with_the_values_fits(tmp_path):
    row = Options(attention_levels=255, acc_bits=17)
    graph = chosen(f"{HEADS} y = MatMul(f, wo)", tmp_path, row, **SPLIT)
    n = graph.by_name()["p/exp"].type.shape[-1]
    assert graph.by_name()["p/exp"].op.levels.hi == (2**16 - 1) // (n * 128)


def test_sites_for_norms_alone_and_norms_for_sums_are_fine_too(tmp_path):
    body = (
        "h = MatMul(x, wq) n = LayerNormalization(h, g) m = MatMul(n, wk) u = Relu(m) d = MatMul(u, wv) s = Add(n, d) "
        "n2 = LayerNormalization(s, g) y = MatMul(n2, wo)"
    )
    graph = chosen(body, tmp_path, x=(4, 6), **PROJECTED, **NORM)
    assert fine_sites(graph) == {
        "h": "read by a normalisation alone", "s": "read by a normalisation alone",
        "n": "a normalisation that a sum reads as it is",
    }  # fmt: skip
    spans = {n.name: n.op.levels.hi - n.op.levels.lo for n in graph.nodes if n.name in ("h", "s", "n", "n2", "u")}
    assert spans == {"h": 255, "s": 255, "n": 255, "n2": 31, "u": 31}


def test_a_site_that_is_only_rounded_again_is_fine_too(tmp_path):
    """A patch embedding: a token in front, positions added."""
    body = "h = MatMul(x, wq) t = Pad(h, front) s = Add(t, places) u = Relu(s) y = MatMul(u, wo)"
    graph = chosen(body, tmp_path, x=(4, 6), front=ints(0, 1, 0, 0, 0, 0), places=noise(5, 6), **PROJECTED)
    assert fine_sites(graph) == {"h": "only read as it is, and rounded again there"}
    assert {n: op.levels.hi - op.levels.lo for n, op in layers(graph).items() if isinstance(op, Site)} == {
        "h": 255,
        "u": 31,
    }


def test_no_weight_of_attention_is_rounded(tmp_path):
    """Real weight over unit is the integer itself, a power of two in a quotient; its theta is step over unit."""
    graph = chosen(f"{HEADS} y = MatMul(f, wo)", tmp_path, **SPLIT)
    steps = all_steps(graph)
    node = graph.by_name()["a"]
    form, ladder = node.op.integer, node.op.ladder
    assert isinstance(ladder, Ratio)
    weight = np.unique(form.products[0].weight)
    assert weight.size == 1
    assert weight.item() & (weight.item() - 1) == 0
    values = np.broadcast_to(steps[node.inputs[1]], (2, 4, 3))
    assert np.allclose(weight * form.alpha, values.max(axis=1, keepdims=True), rtol=1e-14)
    assert np.allclose(ladder.theta * form.alpha, node.op.levels.step, rtol=1e-14)
    (scores,) = graph.by_name()["p/exp"].op.integer.products
    assert np.unique(scores.weight).tolist() == [1]
    assert isinstance(graph.by_name()["p/exp"].op.ladder, RowTable)


# -- the whole ------------------------------------------------------------------------------------------------------
def test_an_encoder_block_has_the_populations_that_it_should(tmp_path):
    text = (
        f"{HEADS} o2 = MatMul(f, wo) h = Add(x, o2) n = LayerNormalization(h, g) m = MatMul(n, wq) u = Relu(m) "
        "d = MatMul(u, wk) e2 = Add(h, d) n2 = LayerNormalization(e2, g) y = MatMul(n2, wv)"
    )
    program = program_of(chosen(text, tmp_path, **SPLIT, **NORM))
    kinds = Counter(type(s.ladder) for s in program.populations())
    assert kinds[Ratio] == kinds[RowTable] == 1
    assert {s.name for s in program.steps if isinstance(s, Normalization)} == {"n", "n2"}
    assert {s.name for s in program.populations()} == {"q", "k", "v", "p/exp", "a", "h", "h/carry", "u", "e2", "y"}


def test_biases_are_corrected_where_no_layer_reads_the_input(tmp_path):
    """A normalisation does: there are codes of the input all the same."""
    body = "n = LayerNormalization(x, g) h = MatMul(n, w) y = Relu(h)"
    original = imported(tiny(body, (6, 6), g=noise(6), w=noise(6, 6)), tmp_path)
    x = samples(original, 16)
    graph = mapped(structured(original), x)
    corrected = run_passes(graph, (CorrectBias(EvaluatedRunner(graph), {"x": x}), FoldThresholds()))
    assert "bias-corrected" in corrected.invariants
