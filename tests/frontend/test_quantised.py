"""Quantised networks keep their own integers: every code is the one that onnxruntime computes, or next to it."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.commands.build import build
from sfn_compile.commands.evaluate import evaluate
from sfn_compile.compiler.compilation import Compilation, compile_model
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.frontend.operators import qoperator
from sfn_compile.frontend.reference import FloatReference
from sfn_compile.graph.ops import Layer, Site
from sfn_compile.graph.steps import all_steps
from sfn_compile.host.codec import answer, decode, encode_all
from sfn_compile.program.network import Readout, Table
from sfn_compile.simulator.plain_steps import accumulate
from sfn_compile.simulator.run import run_codes

from .quantised_models import HIDDEN_SCALE, SINGLE, halves, joined, qdq_residual, qonnx, single, tensorrt
from .quantised_models import qoperator as qoperator_model

KINDS = [
    {},
    {"signed": True},
    {"zero": 0},
    {"zero": 119, "per_channel": False},
    {"signed": True, "zero": -128},
]


def inputs(done: Compilation, n: int = 200) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {i.name: rng.standard_normal((n, *i.shape)).astype(np.float32) for i in done.loaded.inputs}


def differing(done: Compilation, x: dict[str, np.ndarray]) -> dict[str, tuple[int, int, int]]:
    """Return per population (codes that differ, largest difference, codes), each fed with onnxruntime's own codes."""
    steps = all_steps(done.graph)
    real: dict[str, list[np.ndarray]] = {}
    for _, values, _ in done.runner.stream(x):
        for name in steps:
            real.setdefault(name, []).append(values[name])
    codes = {name: np.rint(np.concatenate(v) / steps[name]).astype(np.int64) for name, v in real.items()}
    found = {}
    for population in done.program.populations():
        if not isinstance(population.ladder, Readout):
            got = population.ladder.fire(accumulate(population, codes))
            gap = np.abs(got - codes[population.name])
            found[population.name] = int((gap > 0).sum()), int(gap.max()), gap.size
    return found


def all_stated(done: Compilation) -> bool:
    layers = [n.op for n in done.graph.nodes if isinstance(n.op, Layer)]
    return all("imported" in op.integer.notes for op in layers)


@pytest.mark.parametrize("kinds", KINDS, ids=str)
def test_a_qdq_network_computes_the_codes_of_onnxruntime(kinds, tmp_path):
    done = compile_model(qdq_residual(tmp_path / "m.onnx", **kinds), Options())
    assert all_stated(done)
    assert done.warnings == []  # nothing is calibrated, so nothing is to be said of the data
    for name, (n, worst, size) in differing(done, inputs(done)).items():
        # Convolutions that onnxruntime runs in float32, sums and averages may round a tie the other way.
        assert worst <= 1, name
        assert n <= 0.002 * size, name


@pytest.mark.parametrize("kinds", KINDS, ids=str)
def test_integer_kernels_are_matched_bit_for_bit(kinds, tmp_path):
    done = compile_model(qoperator_model(tmp_path / "m.onnx", **kinds), Options())
    assert all_stated(done)
    reference = FloatReference(done.loaded.path, ["x"], None)
    x = inputs(done)
    codes = run_codes(done.program, encode_all(done.program, x))
    (out,) = done.program.outputs
    np.testing.assert_array_equal(decode(out, codes[out.value]).astype(np.float32), reference.run(x)["y"])


@pytest.mark.parametrize("signed", [False, True])
def test_ties_go_where_onnxruntime_sends_them(signed, tmp_path):
    done = compile_model(halves(tmp_path / "m.onnx", signed), Options())
    x = {"x": np.arange(-90, 90, dtype=np.float32).reshape(5, 1, 6, 6) / 8}
    codes = run_codes(done.program, encode_all(done.program, x))
    (out,) = done.program.outputs
    want = FloatReference(done.loaded.path, ["x"], None).run(x)["y"]
    np.testing.assert_array_equal(answer(out, codes[out.value]), want)


def test_values_of_two_scales_that_meet_in_one_weight_are_refused(tmp_path):
    with pytest.raises(CompileError) as caught:
        compile_model(joined(tmp_path / "m.onnx", axis=2), Options())
    assert "SFN202 at joined (Concat)" in str(caught.value)
    assert "QuantizeLinear" in str(caught.value)


def test_a_calibrated_site_takes_the_scale_of_the_quantised_one_that_it_is_joined_with(tmp_path):
    done = compile_model(joined(tmp_path / "m.onnx", axis=2, quantised=False), Options())
    steps = {n.name: n.op.levels.step for n in done.graph.nodes if isinstance(n.op, Site)}
    assert len(steps) == 2
    assert all((step == np.float32(HIDDEN_SCALE)).all() for step in steps.values())


def test_stated_levels_are_no_error_in_the_report(tmp_path):
    built = build(qdq_residual(tmp_path / "m.onnx"), tmp_path / "out", Options())
    assert [row["sqnr_db"] for row in built.report["layers"]] == [None] * len(built.report["layers"])
    assert all(row["sqnr_accumulated_db"] > 60 for row in built.report["layers"][1:])


def test_stored_scores_are_scores_to_eval_and_not_classes(tmp_path):
    """A network that ends in a quantiser answers with int8 or uint8 scores: the class is the largest."""
    path = single(tmp_path / "m.onnx", "QLinearMatMul")
    build(path, tmp_path / "out", Options())
    x = np.random.default_rng(5).standard_normal((50, 5)).astype(np.float32)
    labels = FloatReference(path, ["x"], None).run({"x": x})["y"].argmax(axis=1)
    np.savez(tmp_path / "d.npz", x=x, labels=labels)
    found = evaluate(tmp_path / "out", tmp_path / "d.npz")
    assert found["accuracy"] == {"n": 50, "float_top1": 1.0, "snn_top1": 1.0, "agreement": 1.0}
    assert found["outputs"]["y"]["max_error"] == 0


def test_weights_that_read_two_scales_are_rounded_again_and_say_so(tmp_path):
    done = compile_model(joined(tmp_path / "m.onnx", axis=1), Options())
    notes = next(n.op.integer.notes for n in done.graph.nodes if n.name == "c_conv")
    assert any("rounded again" in note for note in notes)


@pytest.mark.parametrize("per_channel", [True, False])
def test_convolutions_that_are_summed_before_their_quantiser_share_one_unit(per_channel, tmp_path):
    done = compile_model(tensorrt(tmp_path / "m.onnx", per_channel=per_channel), Options())
    assert all_stated(done)
    for name, (n, worst, size) in differing(done, inputs(done)).items():
        assert worst <= 1, name
        assert n <= 0.01 * size, name


@pytest.mark.parametrize("rounding", ["ROUND", "CEIL", "FLOOR", "ROUND_TO_ZERO", "UP", "HALF_UP", "HALF_DOWN"])
def test_qonnx_rounds_as_its_mode_says(rounding, tmp_path):
    done = compile_model(qonnx(tmp_path / "m.onnx", rounding=rounding), Options())
    assert all_stated(done)
    for name, (n, _, _) in differing(done, inputs(done)).items():
        assert n == 0, name


@pytest.mark.parametrize(("bits", "signed"), [(1.0, 1), (2.0, 1), (4.0, 0), (8.0, 1)])
def test_qonnx_takes_its_levels_from_the_bit_width(bits, signed, tmp_path):
    done = compile_model(qonnx(tmp_path / "m.onnx", bits=bits, signed=signed), Options())
    ladder = next(p.ladder for p in done.program.populations() if isinstance(p.ladder, Table))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    assert (ladder.lo, ladder.hi) == (low, high)
    assert all(n == 0 for n, _, _ in differing(done, inputs(done)).values())


def test_bipolar_codes_are_minus_one_and_one(tmp_path):
    done = compile_model(qonnx(tmp_path / "m.onnx", bipolar=True), Options())
    ladder = next(p.ladder for p in done.program.populations() if isinstance(p.ladder, Table))
    assert ladder.codes.tolist() == [-1, 1]
    assert all(n == 0 for n, _, _ in differing(done, inputs(done)).values())


def test_stored_weights_are_never_rounded_again(tmp_path):
    import onnx
    from onnx import numpy_helper

    path = qoperator_model(tmp_path / "m.onnx")
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    done = compile_model(path, Options(weight_bits=4))
    weights = [p.map.weight for pop in done.program.populations() for p in pop.projections]
    assert any(np.array_equal(w, stored["a_w"]) for w in weights if w.shape == stored["a_w"].shape)
    assert any(np.array_equal(w, stored["mat"].T) for w in weights if w.shape == (4, 5))


# Operators that onnxruntime computes in float32: a tie, or what lies within a rounding error of one, may go either way.
FLOAT_KERNELS = {"QLinearAdd", "QLinearConcat", "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearSoftmax"}


@pytest.mark.parametrize("name", SINGLE)
def test_an_operator_on_stored_integers_gives_the_integers_of_onnxruntime(name, tmp_path):
    done = compile_model(single(tmp_path / "m.onnx", name), Options())
    x = inputs(done)
    codes = run_codes(done.program, encode_all(done.program, x))
    (out,) = done.program.outputs
    got, want = answer(out, codes[out.value]), FloatReference(done.loaded.path, ["x"], None).run(x)["y"]
    gap = np.abs(got.astype(np.int64) - want.astype(np.int64))
    allowed = 0.002 if name.removeprefix("com.microsoft::") in FLOAT_KERNELS else 0.0
    assert got.dtype == want.dtype
    assert gap.max() <= 1
    assert (gap > 0).mean() <= allowed


def test_every_operator_on_stored_integers_is_tested():
    assert set(SINGLE) == set(qoperator.IMPORTERS)
