"""Scalar functions: fused wherever they have one source, and their tables equal to the formula at every accumulator."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfn_compile.calibration.collect import FloatRunner, collect
from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.frontend import import_model, load_model
from sfn_compile.frontend.operators import scalars
from sfn_compile.graph.graph import Levels
from sfn_compile.graph.ops import Activation, Expression, Layer, MaxPool, Moved, Site, Term
from sfn_compile.graph.ops.expression import IDENTITY as X
from sfn_compile.graph.ops.expression import call
from sfn_compile.host.codec import answer, encode_all
from sfn_compile.passes.mapping.correct_bias import _mean_error
from sfn_compile.passes.mapping.scalar_tables import Scalar, scalar_table
from sfn_compile.passes.pipeline import STRUCTURE, run_passes
from sfn_compile.program import arithmetic
from sfn_compile.program.functions import FUNCTIONS, erf
from sfn_compile.program.network import Dense, Table
from sfn_compile.program.rounding import ROUNDINGS
from sfn_compile.simulator.run import run_codes

from ...frontend.tiny_onnx import imported, noise, samples, saved, tiny
from ..pass_examples import fixed, mapped, network, program_of, stages, structured, worst_lie

W = {"w": noise(4, 3, 3, 3), "b": noise(4, seed=2), "u": noise(2, 4, 3, 3)}
SQUARE = call("mul", X, X)
SLOPES = np.array([0.3, -0.2, 0.0, 1.5, -1.0])
SHIFTED = call("add", call("mul", X, 40.0), 90.0)  # a SiLU whose dip is narrow and far from zero

# sentence -> expression; constants of length 5 differ from neuron to neuron
BODIES: dict[str, Expression] = {
    "silu": scalars.times_sigmoid(1.0),
    "gelu": scalars.gelu_by_erf(),
    "gelu by tanh": scalars.gelu_by_tanh(),
    "mish": call("mul", X, call("tanh", call("softplus", X))),
    "the absolute value": call("abs", X),
    "a square": SQUARE,
    "a bell": call("exp", call("mul", SQUARE, -1.0)),
    "a cubic with two turns": call("sub", call("mul", X, SQUARE), call("mul", X, 3.0)),
    "a falling exponential": call("mul", call("exp", X), -1.0),
    "a reciprocal": call("div", np.ones(()), X),
    "a square root": call("sqrt", X),
    "a logarithm": call("log", X),
    "a sine": call("sin", X),
    "a saw": call("sub", X, call("floor", X)),
    "steps": call("round", X),
    "a function that jumps down": call("where", call("greater", X, 0.7), 0.0, X),
    "slopes of both signs": scalars.bent(call("mul", X, SLOPES)),
    "bounds per neuron": call("min", X, SLOPES),
    "a constant": call("mul", SQUARE, 0.0),
    "a narrow dip far away": call("mul", SHIFTED, call("sigmoid", SHIFTED)),
}


def levels(step, lo, hi, **rest) -> Levels:
    return Levels(step, lo, hi, np.zeros(step.shape, bool), **rest)


def plain_code(body: Expression, kind: int, z: float, step: float, lo: int, hi: int) -> int:
    """The definition, for one number, without arrays of kinds."""
    real = float(body.with_constants(lambda c: c[kind : kind + 1]).evaluate(np.array([z]))[0])
    return min(max(math.floor(real / step + 0.5), lo), hi)


@pytest.mark.parametrize("name", list(BODIES))
@fixed
@given(data=st.data())
def test_a_table_is_the_formula_at_every_accumulator(name, data):
    body, rng = BODIES[name], np.random.default_rng(data.draw(st.integers(0, 2**20)))
    n_levels = data.draw(st.sampled_from([1, 3, 15, 31, 255]))
    lo, low = -data.draw(st.integers(0, n_levels)), -data.draw(st.integers(1, 300))
    high = low + data.draw(st.integers(1, 400))
    alpha, beta, step = np.exp(rng.normal(-3, 1.5, 5)), rng.normal(0, 2, 5), np.exp(rng.normal(-2, 1, 5))
    table, codes = scalar_table(Scalar(body, alpha, beta, levels(step, lo, lo + n_levels), low, high))
    assert (np.diff(table, axis=1) >= 0).all()
    assert table.size == 0 or (low <= table.min() and table.max() <= high + 1)
    acc = np.arange(low, high + 1)
    fired = arithmetic.fire_table(np.repeat(acc[:, None], 5, axis=1), table, codes)
    for k in range(5):
        want = [plain_code(body, k, alpha[k] * a + beta[k], step[k], lo, lo + n_levels) for a in acc]
        assert fired[:, k].tolist() == want


@pytest.mark.parametrize("name", ["silu", "a sine", "a saw", "slopes of both signs"])
@fixed
@given(data=st.data())
def test_a_table_of_a_book_has_its_codes_where_they_are_due(name, data):
    """The code due: the last one whose share ``1 - offset`` of the gap below it is reached."""
    body, rng = BODIES[name], np.random.default_rng(data.draw(st.integers(0, 2**20)))
    book = tuple(sorted({0, *data.draw(st.lists(st.integers(-128, 127), min_size=1, max_size=9))} - {128}))
    book = book if len(book) > 1 else (0, 5)
    offset = data.draw(st.sampled_from([0.0, 0.25, 0.5]))
    alpha, beta, step = np.exp(rng.normal(-3, 1.5, 5)), rng.normal(0, 2, 5), np.exp(rng.normal(-4, 1, 5))
    site = Scalar(body, alpha, beta, levels(step, book[0], book[-1], book=book, offset=offset), -150, 150)
    table, codes = scalar_table(site)
    acc = np.arange(-150, 151)
    fired = arithmetic.fire_table(np.repeat(acc[:, None], 5, axis=1), table, codes)
    for k in range(5):
        constant = body.with_constants(lambda c, k=k: c[k : k + 1])
        for a, got in zip(acc, fired[:, k], strict=True):
            real = float(constant.evaluate(np.array([alpha[k] * a + beta[k]]))[0]) / step[k]
            reached = [b for a, b in pairwise(book) if real >= a + (1 - offset) * (b - a)]
            assert got == (reached or [book[0]])[-1]


@pytest.mark.parametrize("rounding", sorted(set(ROUNDINGS) - {"sign"}))
def test_a_table_rounds_as_the_quantiser_behind_it_does(rounding):
    stated = levels(np.array([0.25]), -3, 12, rounding=rounding)
    site = Scalar(BODIES["silu"], np.array([1 / 16]), np.array([0.0]), stated, -200, 200)
    table, codes = scalar_table(site)
    acc = np.arange(-200, 201)
    real = BODIES["silu"].evaluate(acc / 16) / 0.25
    want = np.clip(ROUNDINGS[rounding](real.astype(np.float64 if rounding == "half_up" else np.float32)), -3, 12)
    assert np.array_equal(arithmetic.fire_table(acc[:, None], table, codes)[:, 0], want)


def test_neurons_that_miss_the_dip_add_no_codes_to_those_that_show_it():
    """With coarse steps SiLU only rises; such neurons share the rising part of the others."""
    step = np.array([0.1, 0.9])
    table, codes = scalar_table(Scalar(BODIES["silu"], np.full(2, 0.01), np.zeros(2), levels(step, -8, 23), -900, 900))
    assert codes.tolist() == [0, -1, -2, -3, *range(-2, 24)]
    assert table.shape == (2, len(codes) - 1)


# -- expressions ---------------------------------------------------------------------------------------------------
def test_erf_is_that_of_the_c_library():
    x = np.concatenate([np.linspace(-7, 7, 4001), [-1e300, 1e300, 0.0]])
    assert np.abs(erf(x) - [math.erf(v) for v in x]).max() <= 2.0**-52


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_every_function_is_finite_for_every_finite_argument(function):
    x = np.array([0.0, -0.0, 1e-308, -1e-308, 1.0, -1.0, 710.0, -710.0, 1e300, -1e300])
    rest = {"where": (1.0, 2.0)}.get(function, (-2.0,) if function in ("pow", "div", "min", "max", "equal") else ())
    for body in (call(function, X, *rest), call("exp", call(function, X, *rest))):
        try:
            values = body.evaluate(x)
        except TypeError:
            values = call(function, X, X).evaluate(x)  # of two arguments
        assert np.isfinite(values).all()


@pytest.mark.parametrize("name", list(BODIES))
def test_a_function_that_claims_to_rise_rises(name):
    body = BODIES[name].with_constants(lambda c: c[:1])
    x = np.linspace(-20, 20, 4001)
    falls = np.diff(body.evaluate(x)).min() < -1e-12
    assert not (body.rises() and falls)


@pytest.mark.parametrize(
    "op", ["Elu", "Selu", "Celu<alpha=0.5>", "Softplus", "Softsign", "Exp", "Erf", "Floor", "Atan", "PRelu"]
)
def test_functions_that_rise_are_known_to(op, tmp_path):
    slope = {"s": np.array([0.5, 0.25, 0.0]).reshape(3, 1, 1)} if op == "PRelu" else {}
    model = tiny(f"y = {op}(x{', s' if slope else ''})", **slope)
    assert imported(model, tmp_path).nodes[0].op.rises()


# -- fuse-scalars --------------------------------------------------------------------------------------------------
FUSED = {
    "a silu written out, twice": 2,
    "a gelu written out behind a residual": 1,
    "a hard swish written out that two layers read": 1,
    "slopes per channel behind a transpose": 1,
    "a silu behind a concat": 2,
}


@pytest.mark.parametrize("name", list(FUSED))
def test_a_written_out_function_is_one_activation_and_one_population(name, tmp_path):
    graph = structured(imported(network(name), tmp_path))
    functions = [n for n in graph.nodes if isinstance(n.op, Layer) and n.op.activation and n.op.activation.body]
    assert len(functions) == FUSED[name]
    assert not [n.name for n in graph.nodes if isinstance(n.op, Layer) and n.op.activation == Activation("identity")]


def test_a_bounded_relu_written_as_two_keeps_its_exact_kind(tmp_path):
    graph = structured(imported(network("a bounded relu written as two"), tmp_path))
    assert [n.op.activation for n in graph.nodes if isinstance(n.op, Layer) and n.op.activation] == [
        Activation("clip", 0.0, 1.5)
    ]


def test_an_inner_value_that_the_network_reads_stays_beside_the_function(tmp_path):
    graph = structured(imported(network("a value that two functions share with the network"), tmp_path))
    kinds = [n.op.activation.kind for n in graph.nodes if isinstance(n.op, Layer) and n.op.activation]
    assert sorted(kinds) == ["scalar", "sigmoid"]


@pytest.mark.parametrize(
    ("body", "label"),
    [
        ("a = Conv(x, w, b) s = Mul(a, t) m = Max(a, s) y = Conv(m, u)", "leaky relu by Max"),
        ("a = Conv(x, w, b) n = Neg(a) e = Exp(n) p = Add(e, o) m = Div(a, p) y = Conv(m, u)", "silu by Exp"),
        ("a = Conv(x, w, b) c = Greater(a, t) e = Exp(a) m = Where(c, a, e) y = Conv(m, u)", "a choice"),
        ("a = Conv(x, w, b) r = Relu(a) m = Add(r, a) y = Conv(m, u)", "a residual without a layer"),
        ("a = Conv(x, w, b) p = Abs(a) q = Add(p, o) m = Div(a, q) y = Conv(m, u)", "softsign"),
        ("a = Conv(x, w, b) p = Softplus(a) t1 = Tanh(p) m = Mul(a, t1) y = Conv(m, u)", "mish"),
        ("a = Conv(x, w, b) s = Tanh(a) t1 = Relu(s) m = Add(t1, o) y = Conv(m, u)", "function of a function"),
    ],
)
def test_any_part_with_one_source_is_one_function(body, label, tmp_path):
    original = imported(tiny(body, **W, t=np.float32(0.2), o=np.float32(1)), tmp_path)
    graph = structured(original)
    assert worst_lie(original, graph, samples(original, 4)) < 1e-12, label
    assert len([n for n in graph.nodes if isinstance(n.op, Layer)]) == 2


def test_affine_chains_stay_linear(tmp_path):
    body = "a = Conv(x, w, b) d = Mul(a, t) e = Add(d, a) y = Conv(e, u)"
    graph = structured(imported(tiny(body, **W, t=np.float32(0.2)), tmp_path))
    assert not [n for n in graph.nodes if isinstance(n.op, Layer) and n.op.activation and n.op.activation.body]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("a = Conv(x, w) d = Conv(x, w, b) [bad] m = Div(a, d) y = Conv(m, u)", "its divisor is computed"),
        ("a = Conv(x, w) d = Conv(x, w, b) [bad] m = Pow(a, d) y = Conv(m, u)", "it takes pow of two"),
    ],
)
def test_what_is_no_function_of_one_value_is_refused_with_its_node(body, words, tmp_path):
    with pytest.raises(CompileError) as caught:
        structured(imported(tiny(body, **W), tmp_path))
    (found,) = caught.value.diagnostics
    assert (found.code, found.where.split()[0]) == ("SFN202", "bad")
    assert words in found.what


# -- hoisting ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "crosses"),
    [("a silu behind a max pool", False), ("slopes per channel behind a max pool", True),
     ("an elu over padding", True), ("slopes per channel behind a transpose", True), ("a silu behind a concat", True)],
)  # fmt: skip
def test_a_function_goes_before_moves_and_before_a_max_pool_only_if_it_rises(name, crosses, tmp_path):
    graph = dict(stages(imported(network(name), tmp_path)))["hoist-activations"]
    order = [n.op for n in graph.nodes]
    function = next(i for i, op in enumerate(order) if isinstance(op, Activation))
    between = next((i for i, op in enumerate(order) if isinstance(op, Moved | MaxPool)), len(order))
    assert (function < between) == crosses


# -- at the ends ---------------------------------------------------------------------------------------------------
def test_functions_on_both_ends_are_the_hosts_and_survive_the_file(tmp_path):
    """Exp, Log before the first layer, the Mish behind the last one: data in the Program, computed like the model."""
    original = imported(network("functions on both ends"), tmp_path)
    x = samples(original, 64)
    program = program_of(mapped(structured(original), x, Options(levels=255)))
    assert [op.kind for op in program.inputs[0].host] == ["scalar"]
    assert [op.kind for op in program.outputs[0].host] == ["scalar"]
    program_files.save(program, tmp_path)
    kept = program_files.load(tmp_path)
    assert program_files.digest(kept) == program_files.digest(program)
    decoded = [answer(p.outputs[0], run_codes(p, encode_all(p, {"x": x}))[p.outputs[0].value]) for p in (program, kept)]
    assert np.array_equal(*decoded)
    real = original.evaluate({"x": x})["y"]
    assert np.abs(decoded[0] - real).max() < 0.05 * np.abs(real).max()  # 255 levels; another function is far off


# -- mapping -------------------------------------------------------------------------------------------------------
def signal_to_noise(activation: str, folder, opset: int = 20) -> tuple[float, list[tuple[int, int]]]:
    """dB of the outputs of a small conv net on new samples, and the code ranges of its sites."""
    rng = np.random.default_rng(7)
    weights = {f"w{i}": rng.standard_normal(s) / math.sqrt(np.prod(s[1:]) / 2)
               for i, s in enumerate([(12, 3, 3, 3), (12, 12, 3, 3), (12, 12, 3, 3)])}  # fmt: skip
    body = " ".join(
        f"a{i} = Conv<pads=[1,1,1,1]>({'x' if i == 0 else f'r{i - 1}'}, w{i}) r{i} = {activation}(a{i})"
        for i in range(3)
    )
    model = tiny(f"{body} f = Flatten(r2) y = Gemm(f, k)", opset=opset, k=rng.standard_normal((432, 10)), **weights)
    original = imported(model, folder)
    graph = mapped(structured(original), samples(original, 64))
    program, x = program_of(graph), samples(original, 64, seed=5)
    got = answer(program.outputs[0], run_codes(program, encode_all(program, {"x": x}))["y"])
    real = original.evaluate({"x": x})["y"]
    ranges = [(n.op.levels.lo, n.op.levels.hi) for n in graph.nodes if isinstance(n.op, Site)]
    return 10 * math.log10((real**2).sum() / ((real - got) ** 2).sum()), ranges


@pytest.mark.parametrize(("activation", "opset"), [("HardSwish", 20), ("Gelu", 20), ("Swish", 24), ("Elu", 20)])
def test_a_smooth_function_is_nearly_as_precise_as_a_relu(activation, opset, tmp_path):
    """At 31 levels. 4 dB of room: a ReLU's zeros are exact and its 31 codes all positive, which no twin can have."""
    relu, _ = signal_to_noise("Relu", tmp_path)
    found, ranges = signal_to_noise(activation, tmp_path, opset)
    assert found > relu - 4
    assert all(hi - lo == 31 for lo, hi in ranges)
    assert all(-lo < hi for lo, hi in ranges)


def test_the_table_of_a_site_follows_the_float_network(tmp_path):
    body = "a = Conv(x, w, b) s = Sigmoid(a) m = Mul(a, s) y = Conv(m, u)"
    original = imported(tiny(body, w=W["w"] / 8, b=W["b"] / 4, u=W["u"]), tmp_path)
    graph = mapped(structured(original), samples(original, 32))
    node = graph.by_name()["m"]
    assert isinstance(node.op.ladder, Table)
    assert (np.diff(node.op.ladder.codes) < 0).any()
    program = program_of(graph)
    codes = run_codes(program, encode_all(program, {"x": samples(original, 8)}))
    real = node.op.evaluate(codes["x"] * program.inputs[0].step)
    off = np.abs(codes["m"] - node.op.levels.quantize(real))
    assert off.max() <= 1  # weights are rounded
    assert (off == 0).mean() > 0.9


def test_a_function_with_gaps_keeps_to_the_range_that_samples_reach(tmp_path):
    """1 / x of a positive branch: an accumulator below what was reached has the value of the nearest one."""
    body = "a = Conv(x, w) s = Sigmoid(a) c = Conv(s, k, o) r = Reciprocal(c) y = Conv(r, u)"
    keep = {"w": W["w"], "u": noise(2, 4, 1, 1), "k": np.abs(noise(4, 4, 1, 1)), "o": np.full(4, 0.5)}
    path = saved(tiny(body, **keep), tmp_path)
    loaded = load_model(path)
    graph = run_passes(import_model(loaded), STRUCTURE)
    x = {"x": samples(graph, 64)}
    stats = collect(graph, FloatRunner(graph, path, None), x)
    reached = graph.evaluate(x)["s"]
    arguments = graph.by_name()["r"].op.drive(reached)
    assert np.allclose(stats["r"].reached[0], arguments.min(axis=(0, 2, 3)), rtol=1e-5)
    assert np.allclose(stats["r"].reached[1], arguments.max(axis=(0, 2, 3)), rtol=1e-5)
    layer = mapped(graph, x["x"]).by_name()["r"].op
    values = layer.activation.evaluate(np.broadcast_to(np.array([-9.0, 0.0, 1e9]).reshape(3, 1, 1, 1), (3, 4, 1, 1)))
    ends = 1 / arguments.min(axis=(0, 2, 3)), 1 / arguments.max(axis=(0, 2, 3))
    assert np.allclose(values[0].reshape(-1), ends[0])
    assert np.allclose(values[1].reshape(-1), ends[0])
    assert np.allclose(values[2].reshape(-1), ends[1])


def test_bias_correction_looks_away_where_the_function_is_flat():
    """Far below zero a SiLU is flat: an error there has no say. On the slope it counts as it is."""
    levels = Levels(np.array([0.1]), -3, 28, np.zeros(1, bool))
    layer = Site(
        (Term(Dense(np.ones((1, 1)))),), np.zeros(1), Activation("scalar", body=BODIES["silu"]), 0, levels=levels
    )
    true, got = np.array([[-30.0], [1.0]]), np.array([[-40.0], [0.75]])
    assert _mean_error(layer, true, got)[0] == pytest.approx(0.25, rel=1e-6)
