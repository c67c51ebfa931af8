"""From real layers to integers: what is chosen fits, what is exact is exact, and what cannot be is refused."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, getcontext
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.graph.graph import Graph, Levels
from sfn_compile.graph.ops import Activation, IntegerForm, Site, Term
from sfn_compile.graph.ops.stages import at_levels, with_integers
from sfn_compile.graph.steps import all_steps
from sfn_compile.passes.mapping.correct_bias import _mean_error
from sfn_compile.passes.mapping.fold_thresholds import inverse, ladder
from sfn_compile.program.network import Dense, Identity, Table, Uniform
from sfn_compile.simulator.run import run_codes

from ...frontend.tiny_onnx import imported, noise, samples, tiny
from ..pass_examples import NETWORKS, fixed, mapped, mapped_at, network, program_of, structured
from ..random_networks import random_networks
from .mapped_layers import assert_the_program_follows_the_float_graph, check_choices, ladder_of, layer

getcontext().prec = 60
SIGNED_KERNEL = np.round(noise(4, 3, 3, 3) * 40).clip(-126, 126)
SIGNED_KERNEL[:, 0, 0, 0] = [127, -127, 127, -127]  # so that 127 is the largest and every weight is a multiple of 1/128


# -- what holds of every network -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", list(NETWORKS))
def test_weights_fit_their_bits_and_thresholds_are_odd(name, tmp_path):
    graph = structured(imported(network(name), tmp_path))
    x = samples(imported(network(name), tmp_path), 8)
    done = mapped(graph, x)
    check_choices(done, Options())
    assert_the_program_follows_the_float_graph(done, x, least_db=12)


@fixed
@given(model=random_networks(), bits=st.sampled_from([4, 8]), levels=st.sampled_from([7, 31, 255]))
def test_any_network_maps_within_its_bits(model, bits, levels, tmp_path_factory):
    original = imported(model, tmp_path_factory.mktemp("random"))
    options = Options(weight_bits=bits, levels=levels)
    done = mapped(structured(original), samples(original, 4), options)
    check_choices(done, options)
    program_of(done)


# -- exactly representable weights: the integer layer is the real layer --------------------------------------------
THETA = 37


@pytest.mark.parametrize("pads", [0, 1])
def test_a_relu_layer_with_exact_weights_equals_its_real_layer(pads, tmp_path):
    """Weights are k / 128 with a largest k of 127, the step is 37 / 128: the finest grid is exactly the weights'."""
    body = f"a = Conv<pads=[{pads},{pads},{pads},{pads}]>(x, w, b) r = Relu(a) y = Conv(r, u)"
    model = tiny(body, w=SIGNED_KERNEL / 128, b=np.array([0.25, -3.0, 10.0, 0.0]), u=noise(2, 4, 3, 3))
    graph = mapped_at(structured(imported(model, tmp_path)), lambda name: 1.0 if name == "x" else THETA / 128)
    assert np.array_equal(layer(graph, "r").integer.maps[0].weight, SIGNED_KERNEL)
    assert isinstance(ladder_of(graph, "r"), Uniform)
    assert (ladder_of(graph, "r").theta == THETA).all()
    assert_codes_are_the_rounded_real_values(graph, "r")


def test_a_residual_with_exact_weights_equals_its_real_layer(tmp_path):
    """A code of the skip is worth 64 of the conv's units of 1/64."""
    body = "a = Relu(x) d = Conv<pads=[1,1,1,1]>(a, w) s = Add(a, d) r = Relu(s) y = Conv(r, w)"
    kernel = np.round(noise(4, 4, 3, 3) * 20)
    kernel[:, 0, 1, 1] = 127
    model = tiny(body, x=(4, 5, 5), w=kernel / 64)
    graph = mapped_at(structured(imported(model, tmp_path)), lambda name: THETA / 64 if name == "r" else 1.0)
    skip, conv = sorted(layer(graph, "r").integer.maps, key=lambda m: m.weight.size)
    assert isinstance(skip, Identity)
    assert np.array_equal(conv.weight, kernel)
    assert (skip.weight == 64).all()
    assert_codes_are_the_rounded_real_values(graph, "r")


def test_negative_gammas_end_up_in_the_weights(tmp_path):
    gamma = np.array([1.0, -1.0, 0.5, -0.25])
    body = "a = Conv(x, w) d = BatchNormalization<epsilon=0.0>(a, g, h, m, v) r = Relu(d) y = Conv(r, u)"
    model = tiny(body, w=SIGNED_KERNEL / 128, u=noise(2, 4, 3, 3), g=gamma, h=np.array([1.0, 2.0, -1.0, 0.0]),
                 m=np.zeros(4), v=np.ones(4))  # fmt: skip
    graph = structured(imported(model, tmp_path))
    steps = THETA / 128 * np.abs(gamma).reshape(-1, 1, 1)
    graph = mapped_at(graph, lambda name: 1.0)
    nodes = [
        replace(n, op=at_levels(n.op, n.op.activation, replace(n.op.levels, step=steps))) if n.name == "r" else n
        for n in graph.nodes
    ]
    from sfn_compile.passes.mapping.fold_thresholds import FoldThresholds
    from sfn_compile.passes.mapping.quantize_weights import QuantizeWeights
    from sfn_compile.passes.pipeline import run_passes

    chosen = replace(graph, nodes=tuple(nodes), invariants=frozenset({"ladders-chosen"}))
    graph = run_passes(chosen, (QuantizeWeights(Options()), FoldThresholds()))
    assert np.array_equal(layer(graph, "r").integer.maps[0].weight, SIGNED_KERNEL * np.sign(gamma).reshape(-1, 1, 1, 1))
    assert_codes_are_the_rounded_real_values(graph, "r")


def assert_codes_are_the_rounded_real_values(graph: Graph, name: str) -> None:
    """Run the Program on random codes; the population's codes are those of the real layer on the decoded codes."""
    program = program_of(graph)
    (source,) = program.inputs
    rng = np.random.default_rng(3)
    codes = run_codes(program, {source.value: rng.integers(source.lo, source.hi + 1, (8, *source.shape))})
    node, steps = graph.by_name()[name], all_steps(graph)
    real = node.op.evaluate(*(codes[s] * steps[s] for s in node.inputs))
    assert np.array_equal(codes[name], node.op.levels.quantize(real))
    assert np.unique(codes[name]).size > 5


# -- every ladder against an oracle in exact numbers ---------------------------------------------------------------
KINDS = {
    "relu": Activation("relu"),
    "identity": Activation("identity"),
    "leaky_relu": Activation("leaky_relu", 0.3),
    "leaky_relu of slope 0": Activation("leaky_relu", 0.0),
    "clip": Activation("clip", -0.75, 1.5),
    "clip from 0 below the highest level": Activation("clip", 0.0, 1.1),
    "clip from 0 above the highest level": Activation("clip", 0.0, 99.0),
    "clip from above 0": Activation("clip", 0.5, 2.0),
    "clip with an upper bound alone": Activation("clip", -np.inf, 0.5),
    "clip with a lower bound alone": Activation("clip", -0.5, np.inf),
    "sigmoid": Activation("sigmoid"),
    "tanh": Activation("tanh"),
}


def exact(activation: Activation, z: Fraction) -> Fraction | Decimal:
    """f(z), exactly for piecewise linear f, to 60 digits for sigmoid and tanh."""
    if activation.kind == "relu":
        return max(z, Fraction(0))
    if activation.kind == "clip":
        z = max(z, Fraction(activation.a)) if np.isfinite(activation.a) else z
        return min(z, Fraction(activation.b)) if np.isfinite(activation.b) else z
    if activation.kind == "leaky_relu":
        return z if z >= 0 else z * Fraction(activation.a)
    if activation.kind == "identity":
        return z
    d = Decimal(z.numerator) / Decimal(z.denominator)
    if activation.kind == "sigmoid":
        return 1 / (1 + (-d).exp())
    return 1 - 2 / ((2 * d).exp() + 1)


def code_of(value: Fraction | Decimal, step: float, lo: int, hi: int) -> int:
    half = Decimal(step) if isinstance(value, Decimal) else Fraction(step)
    return min(max(floor(value / half + type(half)("0.5")), lo), hi)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize(("lo", "hi"), [(0, 31), (-16, 15), (0, 1), (-1, 0)])
def test_every_ladder_fires_the_code_of_the_exact_function(kind, lo, hi):
    activation = KINDS[kind]
    if activation.kind == "relu" and lo < 0:
        lo, hi = 0, hi + 1  # code_range never gives a ReLU negative codes
    step, bias = np.array([0.1, 0.03]), np.array([0.37, -1.234])
    thetas = np.array([21, 35])
    alpha = step / thetas
    levels = Levels(step, lo, hi, np.zeros(2, bool))
    found = Site((Term(Dense(np.ones((2, 1)))),), bias, activation, 0, levels=levels)
    neuron = ladder(with_integers(found, IntegerForm((), alpha, -900, 900)))
    acc = np.arange(-900, 901)
    fired = neuron.fire(np.stack([acc, acc], axis=1))
    for c in range(2):
        # the uniform neuron takes its unit from the threshold, the table from alpha as a float
        unit = Fraction(step[c]) / int(thetas[c]) if isinstance(neuron, Uniform) else Fraction(alpha[c])
        want = [code_of(exact(activation, unit * int(a) + Fraction(bias[c])), step[c], lo, hi) for a in acc]
        assert fired[:, c].tolist() == want


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_inverse_is_the_smallest_argument(kind):
    activation = KINDS[kind]
    for y in [Fraction(k, 16) for k in range(-40, 41)]:
        z = inverse(activation, y)
        if isinstance(z, float) and np.isinf(z):
            ends = [activation.evaluate(np.array(v)) for v in (-1e6, 1e6)]
            assert (ends[0] >= y) if z < 0 else (ends[1] < y or activation.kind in ("sigmoid", "tanh"))
        else:
            at, below = (float(activation.evaluate(np.array(float(z) - d))) for d in (0.0, 1e-6))
            assert at >= float(y) - 1e-9
            assert below < float(y)


@pytest.mark.parametrize(
    ("activation", "kind"),
    [("Relu(a)", Uniform), ("LeakyRelu<alpha=0.25>(a)", Table), ("Sigmoid(a)", Table), ("Tanh(a)", Table),
     ("Clip(a, m, n)", Table), ("Clip(a, o, p)", Uniform), ("Clip(a, o, q)", Table)],
)  # fmt: skip
def test_uniform_where_a_threshold_says_it_and_a_table_elsewhere(activation, kind, tmp_path):
    bounds = {"m": -0.5, "n": 0.5, "o": 0.0, "p": 1000.0, "q": 0.5}
    body = f"a = Conv(x, w, b) r = {activation} y = Conv(r, u)"
    model = tiny(
        body, w=SIGNED_KERNEL / 128, b=noise(4), u=noise(2, 4, 3, 3), **{k: np.float32(v) for k, v in bounds.items()}
    )
    graph = mapped_at(structured(imported(model, tmp_path)), lambda name: 1.0 if name == "x" else THETA / 128)
    assert type(ladder_of(graph, "r")) is kind
    assert_the_program_follows_the_float_graph_on_codes(graph, "r")


def assert_the_program_follows_the_float_graph_on_codes(graph: Graph, name: str) -> None:
    """Like the exact test, for ladders whose free unit rounds the weights: at most one code apart, most equal."""
    program = program_of(graph)
    (source,) = program.inputs
    codes = run_codes(program, {source.value: np.random.default_rng(3).integers(-31, 32, (8, *source.shape))})
    node = graph.by_name()[name]
    off = np.abs(codes[name] - node.op.levels.quantize(node.op.evaluate(codes["x"] * 1.0)))
    assert off.max() <= 1
    assert (off == 0).mean() > 0.95


# -- the range proof -----------------------------------------------------------------------------------------------
def wide(folder, **options: int) -> Graph:
    original = imported(
        tiny("a = Gemm(x, w) r = Relu(a) y = Gemm(r, u)", x=(400,), w=noise(400, 2), u=noise(2, 2)), folder
    )
    return mapped(structured(original), samples(original, 8), Options(**options))


def test_thresholds_give_way_until_accumulators_fit(tmp_path):
    easy, tight = wide(tmp_path, acc_bits=31), wide(tmp_path, acc_bits=18)
    assert layer(easy, "r").integer.notes == ()
    assert "coarser weights" in layer(tight, "r").integer.notes[0]
    assert (ladder_of(tight, "r").theta < ladder_of(easy, "r").theta).all()
    for graph, bits in ((easy, 31), (tight, 18)):
        check_choices(graph, Options(acc_bits=bits))


def test_coarser_weights_are_never_clipped_ones(tmp_path):
    """A step far below the weights' grid has no threshold: what does not fit becomes coarser, not cut off."""
    original = imported(tiny("a = Gemm(x, w) r = Relu(a) y = Gemm(r, u)", x=(400,), w=noise(400, 2), u=noise(2, 2)),
                        tmp_path)  # fmt: skip
    steps = {"x": 1.0, "r": 0.01}
    graph = mapped_at(structured(original), lambda n: steps.get(n, 1.0), options=Options(acc_bits=18))
    form = layer(graph, "r").integer
    assert np.abs(form.maps[0].weight * form.alpha[:, None] - noise(400, 2).T).max() <= 0.501 * form.alpha.max()


def test_an_accumulator_that_fits_at_no_threshold_is_refused_by_node(tmp_path):
    with pytest.raises(CompileError, match=r"SFN401 at a \(Gemm\), r \(Relu\): accumulators do not fit 8 bits"):
        wide(tmp_path, acc_bits=8)


def test_the_stated_range_holds_for_the_worst_input(tmp_path):
    graph = wide(tmp_path, acc_bits=24)
    form, source = layer(graph, "r").integer, graph.inputs[0].levels
    weight = form.maps[0].weight
    worst = np.where(weight > 0, source.hi, source.lo)
    assert int((weight * worst).sum(axis=1).max()) == form.acc_max


# -- bias correction -----------------------------------------------------------------------------------------------
def test_an_error_counts_where_the_activation_makes_a_code_of_it():
    """A sigmoid of a negative number emits codes, so an error there counts; a ReLU is silent and nothing counts."""
    levels = Levels(np.full(1, 1 / 31), 0, 31, np.zeros(1, bool))
    true = np.full((4, 1), -1.0)
    for kind, expected in (("sigmoid", 0.1), ("relu", 0.0)):
        made = Site((Term(Dense(np.ones((1, 1)))),), np.zeros(1), Activation(kind), 0, levels=levels)
        assert np.allclose(_mean_error(made, true, true - 0.1), expected)
