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
from pass_examples import NETWORKS, fixed, mapped, mapped_at, network, program_of, random_networks, structured
from tiny_onnx import imported, ints, noise, samples, tiny

from sfn_compile.config import Options
from sfn_compile.diagnostics import CompileError
from sfn_compile.execute import run_codes
from sfn_compile.host import encode
from sfn_compile.ir import Graph, Levels
from sfn_compile.ops import Activation, IntegerForm, Layer
from sfn_compile.passes.correct_bias import _mean_error
from sfn_compile.passes.fold_thresholds import inverse, ladder
from sfn_compile.passes.steps import all_steps
from sfn_compile.program import Dense, Encoding, Identity, Readout, Table, Uniform

getcontext().prec = 60
SIGNED_KERNEL = np.round(noise(4, 3, 3, 3) * 40).clip(-126, 126)
SIGNED_KERNEL[:, 0, 0, 0] = [127, -127, 127, -127]  # so that 127 is the largest and every weight is a multiple of 1/128


def layers(graph: Graph) -> list[tuple[str, Layer]]:
    return [(n.name, n.op) for n in graph.nodes if isinstance(n.op, Layer)]


def layer(graph: Graph, name: str) -> Layer:
    return dict(layers(graph))[name]


def ladder_of(graph: Graph, name: str) -> Uniform | Table | Readout:
    return layer(graph, name).integer.ladder


def check_choices(graph: Graph, options: Options) -> None:
    """What holds of every mapped network, whatever it is."""
    top = 2 ** (options.weight_bits - 1) - 1
    for name, found in layers(graph):
        form = found.integer
        assert all(np.abs(m.weight).max(initial=0) <= top for m in (*form.maps, *form.products)), name
        assert max(-form.acc_min, form.acc_max) < 2 ** (options.acc_bits - 1), name
        if isinstance(form.ladder, Uniform):
            assert (form.ladder.theta % 2 == 1).all(), name
            assert (form.ladder.theta >= 1).all(), name
        if isinstance(form.ladder, Table):
            assert (np.diff(form.ladder.table, axis=-1) >= 0).all(), name
        if isinstance(form.ladder, Readout):
            assert np.unique(form.alpha).size == 1, name


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


def assert_the_program_follows_the_float_graph(graph: Graph, x, least_db: float) -> None:
    """The signal to noise of every output on the calibration samples: a wrong fold is far below 0 dB."""
    program = program_of(graph)
    codes = run_codes(program, {e.value: encode(e, x) for e in program.inputs})
    from sfn_compile.host import prepare_all

    real = graph.evaluate(prepare_all(graph, {"x": x}))
    for out in program.outputs:
        want, got = real[out.value], codes[out.value] * out.step
        noise_power = float(((want - got) ** 2).sum())
        assert noise_power <= 10 ** (-least_db / 10) * float((want**2).sum()), out.name


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
        replace(n, op=replace(n.op, levels=replace(n.op.levels, step=steps), integer=None)) if n.name == "r" else n
        for n in graph.nodes
    ]
    from sfn_compile.passes.fold_thresholds import FoldThresholds
    from sfn_compile.passes.pipeline import run_passes
    from sfn_compile.passes.quantize_weights import QuantizeWeights

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
    found = Layer((Dense(np.ones((2, 1))),), bias, activation, 0, levels)
    form = IntegerForm((), alpha, None, -900, 900)
    neuron = ladder(found, form)
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


# -- channels that calibration never saw alive ---------------------------------------------------------------------
def test_a_dead_channel_takes_its_step_from_its_weights_and_is_reported(tmp_path):
    weight = noise(4, 3, 3, 3)
    model = tiny(
        "a = Conv(x, w, b) r = Relu(a) y = Conv(r, u)", w=weight, b=np.array([0, -1000.0, 0, 0]), u=noise(2, 4, 3, 3)
    )
    original = imported(model, tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    levels = layer(graph, "r").levels
    assert levels.dead.reshape(-1).tolist() == [False, True, False, False]
    input_step = float(graph.inputs[0].levels.step.max())
    assert levels.step.reshape(-1)[1] == pytest.approx(np.abs(weight[1]).max() * input_step)


def test_a_channel_without_weights_and_bias_takes_the_largest_step_beside_it(tmp_path):
    weight = noise(4, 3, 3, 3) / 8
    weight[2] = 0
    original = imported(tiny("a = Conv(x, w) r = Relu(a) y = Conv(r, u)", w=weight, u=noise(2, 4, 3, 3)), tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    step = layer(graph, "r").levels.step.reshape(-1)
    assert step[2] == step[[0, 1, 3]].max() < 1
    check_choices(graph, Options())


def test_a_dead_gate_takes_no_precision_from_the_others(tmp_path):
    """A sigmoid far below 0: its own weights are large numbers, of which the codes of a gate know nothing."""
    shut = {"w": 30 * noise(6, 4), "b": np.array([0, -1e5, 0, 0]), "v": noise(6, 4), "u": noise(4, 3)}
    model = tiny("a = Gemm(x, w, b) s = Sigmoid(a) d = Gemm(x, v) m = Mul(d, s) y = Gemm(m, u)", x=(6,), **shut)
    original = imported(model, tmp_path)
    x = samples(original, 64)
    graph = mapped(structured(original), x)
    for name in ("s", "m"):
        levels = layer(graph, name).levels
        assert levels.dead.tolist() == [False, True, False, False]
        assert levels.step[1] <= levels.step[[0, 2, 3]].max()
    assert_the_program_follows_the_float_graph(graph, x, least_db=15)


def test_inputs_that_are_all_zero_still_map(tmp_path):
    original = imported(
        tiny("a = Conv(x, w) r = Relu(a) y = Conv(r, u)", w=noise(4, 3, 3, 3), u=noise(2, 4, 3, 3)), tmp_path
    )
    graph = mapped(structured(original), np.zeros((4, 3, 6, 6), np.float32))
    check_choices(graph, Options())
    assert layer(graph, "r").levels.dead.all()


def test_a_readout_has_one_step_for_all_its_classes(tmp_path):
    weight = noise(8, 5) * np.array([1, 10, 100, 1000, 0])
    original = imported(tiny("r = Relu(x) y = Gemm(r, w, b)", x=(8,), w=weight, b=noise(5)), tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    assert program_of(graph).outputs[0].step.size == 1


def test_a_class_without_weights_leaves_the_others_their_grid(tmp_path):
    """Small weights beside a row of zeros: the row has no say in the step of the readout."""
    weight = noise(8, 5) * np.array([1, 1, 1, 1, 0]) * 1e-3
    original = imported(tiny("r = Relu(x) y = Gemm(r, w)", x=(8,), w=weight), tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    assert np.abs(layer(graph, "y").integer.maps[0].weight).max() == 127


def test_a_readout_without_weights_still_gives_its_bias(tmp_path):
    original = imported(tiny("r = Relu(x) y = Gemm(r, w, b)", x=(8,), w=np.zeros((8, 5)), b=noise(5)), tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    form = layer(graph, "y").integer
    assert np.allclose(form.ladder.offset * form.alpha, noise(5), atol=1e-4)


def test_the_skip_of_a_residual_fits_the_weight_bits(tmp_path):
    """The conv's weights are tiny beside the identity: theta gives way until the skip's weight is 127 or less."""
    body = "a = Relu(x) d = Conv(a, w) s = Add(a, d) r = Relu(s) y = Conv(r, w)"
    original = imported(tiny(body, x=(4, 5, 5), w=noise(4, 4, 1, 1) * 0.001), tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    skip = next(m for m in layer(graph, "r").integer.maps if isinstance(m, Identity))
    assert 64 < np.abs(skip.weight).max() <= 127


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


# -- steps that differ ---------------------------------------------------------------------------------------------
def test_steps_that_differ_inside_a_channel_are_made_one_before_a_conv(tmp_path):
    """Gemm fires per neuron; reshaped to a map, its steps would differ along space, which a Conv's weights share."""
    original = imported(network("gemm to a map to a conv"), tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    fired = next(op for _, op in layers(graph) if op.activation is not None)
    steps = fired.levels.step.reshape(4, 16)
    assert (steps == steps[:, :1]).all()
    assert np.unique(steps).size == 4
    check_choices(graph, Options())


TWO_BRANCHES = "a = Conv(x, w) r = Relu(a) c = Conv(x, v) s = Relu(c) "
MIXED = {
    "a conv over two joined maps": TWO_BRANCHES + "t = Concat<axis=2>(r, s) y = Conv(t, u)",
    "a max pool over two joined maps": TWO_BRANCHES
    + "t = Concat<axis=2>(r, s) p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(t) y = Conv(p, u)",
    "a max pool over channels": TWO_BRANCHES + "t = Concat<axis=1>(r, s) q = Transpose<perm=[0,2,1,3]>(t) "
    "p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(q) y = Conv(p, u)",
}


@pytest.mark.parametrize("body", list(MIXED))
def test_codes_that_meet_in_one_window_mean_the_same_step(body, tmp_path):
    """Two sites of very different range, read together: what meets in a channel gets one and the same step."""
    weights = {"w": noise(4, 3, 1, 1), "v": 20 * noise(4, 3, 1, 1, seed=1), "u": noise(2, 4, 3, 3)}
    if "channels" in body:
        weights["u"] = noise(2, 6, 3, 3)
    original = imported(tiny(MIXED[body], **weights), tmp_path)
    graph = mapped(structured(original), samples(original, 32))
    first, second = (layer(graph, n).levels.step.reshape(-1) for n in ("r", "s"))
    assert np.array_equal(first, second)
    assert np.unique(first).size == (1 if "channels" in body else 4)
    assert_the_program_follows_the_float_graph(graph, samples(original, 32), 15.0)


def test_a_pixel_shuffle_ties_the_phases_of_a_channel_and_no_others(tmp_path):
    body = "a = Conv(x, w) r = Relu(a) d = DepthToSpace<blocksize=2>(r) y = Conv(d, u)"
    model = tiny(body, w=noise(8, 3, 3, 3) * np.arange(1, 9).reshape(8, 1, 1, 1), u=noise(3, 2, 3, 3), opset=13)
    original = imported(model, tmp_path)
    graph = mapped(structured(original), samples(original, 32))
    steps = layer(graph, "r").levels.step.reshape(4, 2)  # DCR: channel 2 * phase + channel behind the shuffle
    assert (steps == steps[0]).all()
    assert steps[0, 0] != steps[0, 1]
    assert_the_program_follows_the_float_graph(graph, samples(original, 32), 15.0)


def test_steps_stay_per_channel_where_the_conv_can_take_them_in(tmp_path):
    original = imported(network("conv, batch norm, relu, conv"), tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    assert np.unique(layer(graph, "r").levels.step).size == 4


def test_padding_takes_the_step_of_its_neighbour(tmp_path):
    body = "a = Conv(x, w) r = Relu(a) p = Pad(r, q) y = Conv(p, u)"
    model = tiny(body, w=noise(4, 3, 3, 3), u=noise(2, 4, 3, 3), q=ints(0, 0, 1, 0, 0, 0, 0, 1))
    original = imported(model, tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    steps = all_steps(graph)
    assert np.array_equal(np.broadcast_to(steps["p"], (4, 5, 5))[:, 0, 0], steps["r"].reshape(-1))
    assert_the_program_follows_the_float_graph(graph, samples(original, 8), 12)


def test_integer_images_enter_as_they_are(tmp_path):
    body = "c = Cast<to=1>(x) a = Conv(c, w) r = Relu(a) y = Conv(r, u)"
    for dtype, ends in (("uint8", (0, 255)), ("int8", (-128, 127))):
        original = imported(tiny(body, dtype=dtype, w=noise(4, 3, 3, 3), u=noise(2, 4, 3, 3)), tmp_path)
        source = mapped(structured(original), samples(original, 8)).inputs[0].levels
        assert (source.lo, source.hi) == ends
        assert (source.step == 1).all()


@pytest.mark.parametrize(("levels", "signed"), [(1, (-1, 0)), (7, (-4, 3)), (31, (-16, 15)), (32, (-16, 16))])
def test_levels_mean_what_the_command_line_says(levels, signed, tmp_path):
    original = imported(network("a pre-activation residual block"), tmp_path)
    graph = mapped(structured(original), samples(original, 8), Options(levels=levels))
    site, fired = layer(graph, "a").levels, layer(graph, "r").levels
    assert (site.lo, site.hi) == signed
    assert (fired.lo, fired.hi) == (0, levels)


def test_the_input_is_rounded_to_the_nearest_code_and_cut():
    encoding = Encoding("x", "x", (7,), "float32", (), np.array([0.5]), (7,), -2, 3)
    x = np.array([[-9.0, -0.76, -0.25, 0.0, 0.24, 0.25, 9.0]], np.float32)
    assert encode(encoding, x).tolist() == [[-2, -2, 0, 0, 0, 1, 3]]


# -- bias correction -----------------------------------------------------------------------------------------------
def test_an_error_counts_where_the_activation_makes_a_code_of_it():
    """A sigmoid of a negative number emits codes, so an error there counts; a ReLU is silent and nothing counts."""
    levels = Levels(np.full(1, 1 / 31), 0, 31, np.zeros(1, bool))
    true = np.full((4, 1), -1.0)
    for kind, expected in (("sigmoid", 0.1), ("relu", 0.0)):
        made = Layer((Dense(np.ones((1, 1))),), np.zeros(1), Activation(kind), 0, levels)
        assert np.allclose(_mean_error(made, true, true - 0.1), expected)
