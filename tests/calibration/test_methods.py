"""Each way of choosing a step does what its sentence says, against brute force on the raw values."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.calibration import methods
from sfn_compile.calibration.code_range import code_range
from sfn_compile.calibration.collect import FloatRunner, collect, sites
from sfn_compile.calibration.statistics import Statistics
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import METHOD_NAMES, Options
from sfn_compile.frontend import import_model, load_model
from sfn_compile.graph.ops import Activation
from sfn_compile.passes.pipeline import STRUCTURE, run_passes

from ..frontend.tiny_onnx import noise, saved, tiny

RNG = np.random.default_rng(0)
RELU = np.maximum(RNG.standard_normal((3, 4000)) * [[1.0], [7.0], [0.01]], 0)
SIGNED = RNG.standard_normal((3, 4000)) * [[1.0], [7.0], [0.01]]
HEAVY = np.concatenate([RELU, 30 * RELU[:, :20]], axis=1)


def statistics(values: np.ndarray) -> Statistics:
    stats = Statistics(len(values))
    for part in np.array_split(values, 7, axis=1):
        stats.update(part)
    return stats


def squared_error(values: np.ndarray, step: float, lo: int, hi: int) -> float:
    return float(((np.clip(np.floor(values / step + 0.5), lo, hi) * step - values) ** 2).sum())


@pytest.mark.parametrize(("values", "lo", "hi"), [(RELU, 0, 31), (SIGNED, -16, 15), (RELU, 0, 1), (SIGNED, -1, 1)])
def test_minmax_saturates_nothing_and_no_smaller_step_does(values, lo, hi):
    step = methods.choose("minmax", statistics(values), lo, hi, {}).step
    for row, s in zip(values, step, strict=True):
        top = row.max() if hi > 0 else 0.0
        assert s * hi >= top * (1 - 1e-12)
        assert lo == 0 or s * lo <= row.min() * (1 - 1e-12)
        assert s * 0.999 * hi < top or s * 0.999 * -lo < -row.min()


@pytest.mark.parametrize(("values", "lo", "hi"), [(RELU, 0, 31), (SIGNED, -16, 15), (HEAVY, 0, 15), (HEAVY, 0, 255)])
def test_mse_comes_within_a_hundredth_of_the_best_step(values, lo, hi):
    step = methods.choose("mse", statistics(values), lo, hi, {}).step
    for row, s in zip(values, step, strict=True):
        full = max(row.max() / hi, -row.min() / -lo if lo else 0.0)
        best = min(squared_error(row, full * f, lo, hi) for f in np.geomspace(1.0, 0.04, 96))
        assert squared_error(row, s, lo, hi) <= 1.01 * best


def test_mse_cuts_a_heavy_tail_that_minmax_keeps():
    stats = statistics(HEAVY)
    assert (methods.choose("mse", stats, 0, 15, {}).step < 0.8 * methods.choose("minmax", stats, 0, 15, {}).step).all()


@pytest.mark.parametrize("p", [0.5, 0.9, 0.9995, 1.0])
@pytest.mark.parametrize("values", [RELU, SIGNED])
def test_percentile_saturates_the_share_it_was_told(values, p):
    stats = statistics(values)
    step = methods.choose("percentile", stats, -31, 31, {"p": str(p)}).step
    for c, (row, s) in enumerate(zip(np.abs(values), step, strict=True)):
        exact = np.sort(row)[int(np.ceil(p * len(row))) - 1]
        if exact == 0:
            continue  # more than this share is silent: minmax steps in, see below
        assert exact <= s * 31 * (1 + 1e-12) <= exact + stats.span[c] / stats.n_bins + 1e-9


@pytest.mark.parametrize(("reading", "default"), [("step", 0.252), ("scale", 1.0)])
@pytest.mark.parametrize("factor", [None, 0.5])
def test_sfn_scales_the_quantile_in_both_readings(reading, default, factor):
    stats = statistics(RELU)
    options = {"p": "0.9", "reading": reading} | ({} if factor is None else {"lambda": str(factor)})
    quantile = np.sort(RELU, axis=1)[:, int(np.ceil(0.9 * RELU.shape[1])) - 1]
    want = quantile * (default if factor is None else factor) / (31 if reading == "scale" else 1)
    found = methods.choose("sfn", stats, 0, 31, options).step
    assert np.allclose(found, want, rtol=2e-2)
    assert (found >= want * (1 - 1e-12)).all()


def test_sfn_reads_its_quantile_as_the_step_by_default():
    stats = statistics(RELU)
    assert np.array_equal(methods.choose("sfn", stats, 0, 31, {}).step, 0.252 * stats.quantile_abs(0.99))


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_silent_channel_has_step_zero_and_a_live_one_never(name):
    values = np.zeros((2, 1000))
    values[1, 0] = 3.0  # so rare that every quantile is 0
    step = methods.choose(name, statistics(values), 0, 31, {}).step
    assert step[0] == 0
    assert step[1] > 0


@pytest.mark.parametrize("options", [{}, {"reading": "scale"}])
@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_signed_site_of_one_level_has_a_finite_step(name, options):
    """``--levels 1`` gives signed sites the codes -1 and 0."""
    step = methods.choose(name, statistics(SIGNED), -1, 0, options if name == "sfn" else {}).step
    assert (np.isfinite(step) & (step > 0)).all()


def test_all_methods_of_the_command_line_exist():
    assert tuple(methods.METHODS) == METHOD_NAMES


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [("best", {}, "no method called 'best'"), ("mse", {"p": "1"}, "mse has no option 'p'"),
     ("percentile", {"q": "1"}, "its options: offset, p")],
)  # fmt: skip
def test_unknown_methods_and_options_are_refused(name, options, words):
    with pytest.raises(CompileError, match=words) as caught:
        methods.check_options(name, options)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "options"),
    [("percentile", {"p": "0"}), ("percentile", {"p": "1.1"}), ("percentile", {"p": "many"}), ("sfn", {"p": "nan"}),
     ("sfn", {"lambda": "-1"}), ("sfn", {"reading": "both"})],
)  # fmt: skip
def test_values_that_make_no_sense_are_refused(name, options):
    with pytest.raises(CompileError, match="SFN605"):
        methods.choose(name, statistics(RELU), 0, 31, options)


# -- collecting ----------------------------------------------------------------------------------------------------
def test_every_site_is_seen_once_per_sample_with_the_numbers_of_onnxruntime(tmp_path):
    body = "a = Conv(x, w, b) r = Relu(a) d = Conv<pads=[1,1,1,1]>(r, u) s = Add(d, r) t = Relu(s) y = Conv(t, u)"
    path = saved(tiny(body, w=noise(4, 3, 3, 3), b=noise(4), u=noise(4, 4, 3, 3)), tmp_path)
    loaded = load_model(path)
    graph = run_passes(import_model(loaded), STRUCTURE)
    x, steps = noise(70, 3, 6, 6), []
    stats = collect(graph, FloatRunner(graph, path, None), {"x": x}, lambda done, total: steps.append((done, total)))
    assert set(stats) == set(sites(graph)) == {"x", "r", "t"}
    truth = graph.evaluate({"x": x})
    for name, found in stats.items():
        assert found.n == truth[name].size // found.counts.shape[0]
        axes = (0, *range(2, truth[name].ndim))
        assert np.allclose(found.high, truth[name].max(axis=axes), rtol=1e-5)
        assert np.allclose(found.low, truth[name].min(axis=axes), rtol=1e-5)
    assert steps == [(32, 70), (64, 70), (70, 70)]


@pytest.mark.parametrize(
    ("activation", "low", "want"),
    [(Activation("relu"), -5.0, (0, 31)), (Activation("sigmoid"), 0.1, (0, 31)), (Activation("tanh"), -0.5, (-16, 15)),
     (Activation("clip", 0.0, 6.0), -1.0, (0, 31)), (Activation("clip", -1.0, 1.0), -1.0, (-16, 15)),
     (Activation("identity"), 0.0, (0, 31)), (Activation("identity"), -1e-9, (-16, 15)),
     (Activation("leaky_relu", 0.1), -0.1, (-1, 30)), (Activation("leaky_relu", 0.1), 0.0, (0, 31))],
)  # fmt: skip
def test_codes_are_signed_only_where_values_were_negative(activation, low, want):
    stats = Statistics(1)
    stats.update(np.array([[low, 1.0]]))
    assert code_range(activation, stats, Options()) == want
