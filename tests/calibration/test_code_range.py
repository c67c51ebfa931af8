"""Which codes a site gets, and steps that leave room for samples that calibration has not seen."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.calibration import methods
from sfn_compile.calibration.code_range import code_range
from sfn_compile.calibration.statistics import TAIL, Statistics
from sfn_compile.foundation.options import METHOD_NAMES, Options
from sfn_compile.frontend.operators.scalars import gelu_by_erf, times_sigmoid
from sfn_compile.graph.ops import Activation
from sfn_compile.graph.ops.expression import IDENTITY, call

Z = np.random.default_rng(3).normal(0, 2, (6, 4000))
FUNCTIONS = {
    "silu": Activation("scalar", body=times_sigmoid(1.0)),
    "gelu": Activation("scalar", body=gelu_by_erf()),
    "leaky relu": Activation("leaky_relu", 0.2),
    "never above zero": Activation("scalar", body=call("mul", call("softplus", IDENTITY), -1.0)),
    "more below than above": Activation("scalar", body=call("mul", times_sigmoid(1.0), -1.0)),
}


def statistics(values: np.ndarray) -> Statistics:
    stats = Statistics(len(values))
    stats.update(values)
    return stats


def error(values: np.ndarray, stats: Statistics, lo: int, hi: int, options: Options) -> float:
    off = (values - methods.choose(options.method, stats, lo, hi, options.method_options).real(values, lo, hi)) ** 2
    return float((off.sum(axis=1) / (values**2).sum(axis=1)).mean())


@pytest.mark.parametrize("method", [m for m in METHOD_NAMES if m != "kl"])
@pytest.mark.parametrize("levels", [1, 7, 31, 255])
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_a_skewed_site_gets_a_range_near_the_best_and_never_more_codes(name, levels, method):
    """A fifth of room: ranges are compared on a picture of the histogram with fewer bins than 255 codes ask for."""
    values = FUNCTIONS[name].evaluate(Z)
    stats, options = statistics(values), Options(levels=levels, method=method, method_options={"polarity": "one"})
    lo, hi = code_range(FUNCTIONS[name], stats, options)
    assert hi - lo == levels
    assert lo <= 0 <= hi
    best = min(error(values, stats, -k, levels - k, options) for k in range(0, levels + 1, max(levels // 51, 1)))
    assert error(values, stats, lo, hi, options) <= 1.2 * best


def test_entropy_calibration_has_the_range_of_least_squared_error():
    stats = statistics(FUNCTIONS["silu"].evaluate(Z))
    ranges = [code_range(FUNCTIONS["silu"], stats, Options(method=m)) for m in ("kl", "mse")]
    assert ranges[0] == ranges[1] != (-16, 15)


@pytest.mark.parametrize("signed", ["silu", "leaky relu", "tanh", "identity"])
def test_two_polarities_are_n_codes_on_either_side_where_values_are_negative(signed):
    """And none below zero at a ReLU, behind which nothing is negative."""
    activation = FUNCTIONS.get(signed) or Activation(signed)
    stats = statistics(activation.evaluate(Z))
    for method, how in (("pmsm", {}), ("sfn", {"polarity": "two"})):
        options = Options(levels=15, method=method, method_options=how)
        assert code_range(activation, stats, options) == (-15, 15)
        assert code_range(Activation("relu"), stats, options) == (0, 15)
    for method, how in (("pmsm", {"polarity": "one"}), ("sfn", {}), ("mse", {})):
        lo, hi = code_range(activation, stats, Options(levels=15, method=method, method_options=how))
        assert hi - lo == 15


@pytest.mark.parametrize(
    "activation",
    [Activation("identity"), Activation("tanh"), Activation("clip", -1.0, 1.0),
     Activation("scalar", body=call("softsign", IDENTITY)), Activation("scalar", body=call("erf", IDENTITY))],
)  # fmt: skip
def test_odd_functions_and_plain_sites_stay_symmetric_whatever_the_samples(activation):
    assert code_range(activation, statistics(activation.evaluate(Z + 1.5)), Options()) == (-16, 15)


def test_a_function_that_samples_never_bring_below_zero_gets_no_codes_there():
    assert code_range(FUNCTIONS["silu"], statistics(np.abs(Z)), Options()) == (0, 31)


# -- tails ---------------------------------------------------------------------------------------------------------
def test_the_tail_is_the_largest_values_and_their_mean_excess():
    values = np.concatenate([np.linspace(0.01, 1, 500), np.linspace(5, 8, TAIL)])[None]
    start, excess, count = statistics(values).tail(1)
    width = statistics(values).span / statistics(values).n_bins
    assert count[0] == TAIL
    assert abs(start[0] - 5) <= width[0]
    assert abs(excess[0] - 1.5) <= 2 * width[0]
    assert statistics(values).tail(-1)[2][0] == 0
    assert np.allclose(statistics(-values).tail(-1)[1], excess, atol=2 * width[0])


def test_steps_for_new_samples_lose_less_on_new_samples_where_values_are_few():
    rng = np.random.default_rng(0)
    seen, new = rng.normal(0, 1, (200, 256)), rng.normal(0, 1, (200, 20000))
    errors = []
    for choose in (
        lambda s: methods.choose("mse", s, -128, 127, {}).step,
        lambda s: methods.mse_of_new_samples(s, -128, 127, {}).step,
    ):
        step = choose(statistics(seen))[:, None]
        errors.append(float(((new - np.clip(np.floor(new / step + 0.5), -128, 127) * step) ** 2).mean()))
    assert errors[1] < 0.7 * errors[0]


def test_steps_for_new_samples_are_those_of_the_histogram_where_values_are_many():
    stats = statistics(np.maximum(np.random.default_rng(0).normal(0, 1, (3, 200000)), 0))
    plain = methods.choose("mse", stats, 0, 31, {}).step
    wider = methods.mse_of_new_samples(stats, 0, 31, {}).step
    assert np.allclose(plain, wider, rtol=0.04)  # the next candidate


def test_a_silent_channel_has_no_tail_and_no_step():
    stats = statistics(np.stack([np.zeros(50), np.linspace(0, 1, 50)]))
    step = methods.mse_of_new_samples(stats, 0, 31, {}).step
    assert step[0] == 0
    assert step[1] > 0


def test_the_reached_range_grows_with_every_piece():
    stats = Statistics(2)
    stats.reach(np.array([[1.0, 2.0], [-1.0, 0.5]]))
    stats.reach(np.array([[1.5, 3.0], [-0.5, 0.0]]))
    assert stats.reached.tolist() == [[1.0, -1.0], [3.0, 0.5]]
