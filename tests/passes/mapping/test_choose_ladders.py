"""Books of codes, offsets and thresholds of 2^k, from what a method chose to the integers of a neuron."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfn_compile.calibration.methods import books
from sfn_compile.calibration.statistics import Statistics
from sfn_compile.foundation.options import Options
from sfn_compile.graph.graph import Levels
from sfn_compile.graph.ops import Activation, IntegerForm, Site, Term
from sfn_compile.graph.ops.stages import with_integers
from sfn_compile.graph.printer import print_graph
from sfn_compile.host.codec import encode
from sfn_compile.passes.mapping.correct_bias import _mean_error
from sfn_compile.passes.mapping.fold_thresholds import ladder
from sfn_compile.passes.mapping.shift_steps import moved_steps, power_of, power_of_two
from sfn_compile.program.network import Dense, Table, Uniform
from sfn_compile.simulator.run import run_codes

from ...frontend.tiny_onnx import imported, noise, samples, tiny
from ..pass_examples import fixed, mapped, network, program_of, structured
from .mapped_layers import assert_the_program_follows_the_float_graph, ladder_of, layer, layers

BOOKS = [None, (0, 1, 2, 5, 9), (-7, -2, 0, 1, 6, 7), (0, 200), (-128, 0, 127)]
ACTIVATIONS = [Activation("identity"), Activation("relu"), Activation("clip", 0.0, 3.0), Activation("clip", -1.0, 2.0),
               Activation("leaky_relu", 0.25)]  # fmt: skip
LLOYD = {"method": "sfn", "method_options": {"ladder": "lloyd-max"}}
RESIDUAL = "a pre-activation residual block"


def real(activation: Activation, z: Fraction) -> Fraction:
    """The activation, exactly."""
    a, b = Fraction(activation.a), Fraction(activation.b)
    rules = {"identity": z, "relu": max(z, Fraction(0)), "clip": min(max(z, a), b), "leaky_relu": z if z > 0 else a * z}
    return rules[activation.kind]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: f"{a.kind} {a.a:g} {a.b:g}")
@pytest.mark.parametrize("book", BOOKS, ids=str)
@fixed
@given(data=st.data())
def test_every_accumulator_has_the_code_that_exact_arithmetic_gives_it(book, activation, data):
    """The last code of which the share ``1 - offset`` of the gap below it is reached."""
    offset = data.draw(st.sampled_from([0.0, 0.25, 0.5, 0.7]))
    theta, step = data.draw(st.sampled_from([1, 2, 8, 9, 33])), data.draw(st.floats(0.01, 3.0))
    bias = data.draw(st.floats(-9, 9))
    lo, hi = (0 if activation.kind == "relu" else -3, 5) if book is None else (book[0], book[-1])
    levels = Levels(np.full(1, step), lo, hi, np.zeros(1, bool), book=book, offset=offset)
    made = Site((Term(Dense(np.ones((1, 1)))),), np.full(1, bias), activation, 0, levels=levels)
    alpha = step / theta
    found = ladder(with_integers(made, IntegerForm((), np.full(1, alpha), -400, 400)))
    acc = np.arange(-400, 401)
    codes = levels.codes
    dues = [codes[j] + (1 - Fraction(offset)) * (codes[j + 1] - codes[j]) for j in range(len(codes) - 1)]
    # A uniform neuron's threshold is theta units wide by definition, whatever float64 made of the quotient.
    unit = Fraction(step) / theta if isinstance(found, Uniform) else Fraction(alpha)
    for a, got in zip(acc, found.fire(acc[:, None])[:, 0], strict=True):
        z = real(activation, unit * int(a) + Fraction(bias))
        assert got == codes[sum(z >= d * Fraction(step) for d in dues)]


@pytest.mark.parametrize("book", [b for b in BOOKS if b])
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_levels_round_as_the_neuron_does(book, offset):
    levels = Levels(np.full(1, 0.5), book[0], book[-1], np.zeros(1, bool), book=book, offset=offset)
    made = Site((Term(Dense(np.ones((1, 1)))),), np.zeros(1), Activation("identity"), 0, levels=levels)
    neuron = ladder(with_integers(made, IntegerForm((), np.full(1, 1 / 64), -9000, 9000)))
    acc = np.arange(-9000, 9001)[:, None]
    assert np.array_equal(levels.quantize(acc / 64), neuron.fire(acc))


def test_the_example_of_the_specification():
    """docs/spec/mapping.md, section 1: six values and three codes above 0."""
    values = np.array([1, 1, 2, 2, 8, 9.0])
    points = books.Points(values, np.ones(6))
    levels = books.lloyd_max(points, 0, 3)
    assert levels.tolist() == [0, 1, 2, 8.5]
    assert points.squared_error(levels) == 0.5
    assert books.frozen(points, levels, 0, 3) == ((0, 2, 4, 17), 0.5)
    uniform = [((np.clip(np.floor(values / d + 0.5), 0, 3) * d - values) ** 2).sum() for d in np.arange(1, 801) / 200]
    assert (min(uniform), np.argmin(uniform)) == (3.75, 549)
    made = Site((Term(Dense(np.ones((1, 1)))),), np.zeros(1), Activation("relu"), 0,
                 levels=Levels(np.full(1, 0.5), 0, 17, np.zeros(1, bool), book=(0, 2, 4, 17)))  # fmt: skip
    found = ladder(with_integers(made, IntegerForm((), np.full(1, 0.25), -99, 99)))
    assert found.table.tolist() == [[2, 6, 21]]
    assert found.codes.tolist() == [0, 2, 4, 17]


def graph_of(folder, name=RESIDUAL, **options):
    original = imported(network(name), folder)
    x = samples(original, 64)
    return mapped(structured(original), x, Options(**options)), x


@pytest.mark.parametrize("options", [LLOYD, {"method": "sfn", "method_options": {"ladder": "equal-mass"}},
                                     {"method_options": {"offset": "0"}}, {"threshold": "pow2"},
                                     {"granularity": "tensor"}, {"method": "pmsm"}, {"method": "qcfs"},
                                     {"method": "opi"}, {"method": "kl"}], ids=str)  # fmt: skip
@pytest.mark.parametrize(
    "name", [RESIDUAL, "global average pool, flatten, gemm", "a gelu written out behind a residual"]
)
def test_the_network_follows_the_float_graph(name, options, tmp_path):
    levels = 63 if options.get("method") == "pmsm" else 31
    graph, x = graph_of(tmp_path, name, levels=levels, **options)
    assert_the_program_follows_the_float_graph(graph, x, 5 if "pmsm" in str(options) else 13)


def test_a_book_is_a_table_of_its_codes_for_all_channels(tmp_path):
    graph, _ = graph_of(tmp_path, "conv, batch norm, relu, conv", levels=15, **LLOYD)
    levels, neuron = layer(graph, "r").levels, ladder_of(graph, "r")
    assert len(levels.book) == 16
    assert isinstance(neuron, Table)
    assert neuron.codes.tolist() == list(levels.book)
    assert f"[{','.join(map(str, levels.book))} step" in print_graph(graph)
    assert program_of(graph).values()["r"].hi == levels.book[-1]


def test_a_book_behind_which_255_codes_stand_is_no_book(tmp_path):
    graph, _ = graph_of(tmp_path, "conv, batch norm, relu, conv", levels=255, **LLOYD)
    assert layer(graph, "r").levels.book is None
    assert isinstance(ladder_of(graph, "r"), Uniform)


def test_more_codes_are_left_to_a_clip_than_its_bound_only_as_a_table(tmp_path):
    """Without half a step of offset the highest code is due a step below the bound, not half a step."""
    levels = Levels(np.full(1, 0.5), 0, 6, np.zeros(1, bool))
    kinds = []
    for offset in (0.5, 0.0):
        made = Site((Term(Dense(np.ones((1, 1)))),), np.zeros(1), Activation("clip", 0.0, 2.9), 0,
                     levels=replace(levels, offset=offset))  # fmt: skip
        kinds.append(type(ladder(with_integers(made, IntegerForm((), np.full(1, 0.5 / 9), -400, 400)))))
    assert kinds == [Uniform, Table]


def test_an_error_counts_up_to_where_the_highest_code_of_a_book_is_due():
    levels = Levels(np.full(1, 1.0), 0, 40, np.zeros(1, bool), book=(0, 10, 40))
    made = Site((Term(Dense(np.ones((1, 1)))),), np.zeros(1), Activation("relu"), 0, levels=levels)
    for true, expected in ((4.0, 0.0), (5.05, 0.1), (24.0, 0.1), (26.0, 0.0)):
        assert np.allclose(_mean_error(made, np.full((4, 1), true), np.full((4, 1), true) - 0.1), expected)


# -- one step per tensor ---------------------------------------------------------------------------------------------
def test_a_tensor_has_one_step_where_it_is_asked_for(tmp_path):
    one, _ = graph_of(tmp_path, granularity="tensor")
    many, _ = graph_of(tmp_path)
    fired = [
        (a.levels.step, b.levels.step)
        for (_, a), (_, b) in zip(layers(one), layers(many), strict=True)
        if isinstance(a, Site)
    ]
    assert fired
    assert all(np.unique(a).size == 1 for a, _ in fired)
    assert any(np.unique(b).size > 1 for _, b in fired)


# -- two polarities --------------------------------------------------------------------------------------------------
SIGNED = "a = Conv(x, w, b) p = MaxPool<kernel_shape=[2,2]>(a) r = Conv(p, u) q = Relu(r) y = Conv(q, v)"
SIGNED_WEIGHTS = {"w": noise(4, 3, 3, 3), "b": noise(4), "u": noise(4, 4, 1, 1), "v": noise(2, 4, 1, 1)}


def test_a_signed_site_has_n_codes_per_side_and_a_relu_n_in_all(tmp_path):
    original = imported(tiny(SIGNED, **SIGNED_WEIGHTS), tmp_path)
    x = samples(original, 32)
    for how, ends in (({"polarity": "two"}, (-15, 15)), ({}, (-8, 7))):
        options = Options(levels=15, method="sfn", method_options={"reading": "scale", **how})
        graph = mapped(structured(original), x, options)
        found = {(op.activation.kind, op.levels.lo, op.levels.hi) for _, op in layers(graph) if isinstance(op, Site)}
        assert found == {("identity", *ends), ("relu", 0, 15)}
        codes = run_codes(program_of(graph), {e.value: encode(e, x) for e in program_of(graph).inputs})
        signed = next(n for n, op in layers(graph) if isinstance(op, Site) and op.activation.kind == "identity")
        assert codes[signed].min() < -7 or not how


# -- thresholds of 2^k ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("name", [RESIDUAL, "conv, batch norm, relu, conv", "squeeze and excite between two convs"])
def test_every_uniform_neuron_is_a_shift(name, bits, tmp_path):
    graph, x = graph_of(tmp_path, name, threshold="pow2", weight_bits=bits)
    uniform = [n.ladder for _, n in layers(graph) if isinstance(n.ladder, Uniform)]
    assert uniform
    program = program_of(graph)
    codes = run_codes(program, {e.value: encode(e, x) for e in program.inputs})
    for neuron in uniform:
        assert (np.exp2(np.rint(np.log2(neuron.theta))) == neuron.theta).all()
        shift, acc = (
            np.rint(np.log2(neuron.theta)).astype(np.int64),
            np.arange(-4000, 4001).reshape(-1, *(1,) * neuron.theta.ndim),
        )
        want = np.clip((acc + neuron.offset) >> shift, neuron.lo, neuron.hi)
        assert np.array_equal(neuron.fire(np.broadcast_to(acc, (len(acc), *neuron.theta.shape))), want)
    assert all(np.isfinite(c).all() for c in codes.values())


def test_all_terms_of_a_sum_share_the_unit_of_their_shift(tmp_path):
    graph, _ = graph_of(tmp_path, threshold="pow2")
    for _, found in layers(graph):
        if isinstance(found, Site):
            theta = found.levels.step / found.integer.alpha
            assert np.array_equal(theta, power_of_two(theta))
            assert all(np.abs(m.weight).max() <= 127 for m in found.integer.maps)


def total_error(stats, step, weight, power, theta, top=7):
    """The squared error of a code and of the rounded weights, in plain terms."""
    alpha = step / theta
    rounded = np.clip(np.rint(weight / alpha), -top, top) * alpha
    centers, counts = stats.centers[0], stats.counts[0]
    codes = np.clip(np.floor(centers / step + 0.5), 0, 15) * step
    return (counts * (codes - centers) ** 2).sum() / stats.n + ((rounded - weight) ** 2 * power).sum()


@pytest.mark.parametrize("seed", range(6))
def test_steps_move_to_where_both_errors_together_are_least(seed):
    rng = np.random.default_rng(seed)
    stats = Statistics(1)
    stats.update(np.maximum(rng.standard_normal((1, 5000)), 0))
    weight, power = rng.standard_normal((1, 30)) * 0.05, np.full(30, 20.0)
    step = np.array([0.18])
    moved = moved_steps(step, np.inf, stats, range(16), 0.5, (weight, power), 4)

    def least(s: float) -> float:
        return min(
            total_error(stats, s, weight[0], power, 2.0**k) for k in range(8) if 2.0**k * np.abs(weight).max() / s < 16
        )

    best = min(least(step[0] * 2 ** (i / 16)) for i in range(-8, 9))
    assert least(moved[0]) <= best * (1 + 1e-9)
    assert np.array_equal(moved_steps(step, 0.0, stats, range(16), 0.5, (weight, power), 4), step)


def test_with_8_bits_a_step_hardly_moves_since_weights_cost_next_to_nothing():
    stats = Statistics(1)
    stats.update(np.maximum(np.random.default_rng(0).standard_normal((1, 5000)), 0))
    step = np.array([0.195])
    weights = noise(1, 30) * 0.05, np.full(30, power_of(stats, step))
    assert abs(np.log2(moved_steps(step, np.inf, stats, range(16), 0.5, weights, 8) / step)[0]) < 0.2
