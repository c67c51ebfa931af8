"""One neuron in two spellings, and why an odd theta leaves readers nothing to disagree about."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfn_compile.program.network import Table, Uniform

from .arith_examples import fixed, ints

odd = st.integers(0, 500).map(lambda n: 2 * n + 1)


def accumulators(theta: int, lo: int, hi: int) -> np.ndarray:
    """Every accumulator from two steps below the lowest code to two above the highest, one neuron per sample."""
    return np.arange((lo - 2) * theta, (hi + 2) * theta + 1)[:, None]


@fixed
@given(st.data(), st.integers(-6, 6), st.integers(0, 12))
def test_a_uniform_ladder_spelled_as_a_table_gives_the_same_codes_for_every_accumulator(data, lo, n):
    theta = data.draw(ints((3,), 1, 40))
    offset = data.draw(ints(data.draw(st.sampled_from([(3,), (1,)])), -60, 60))
    uniform = Uniform(theta, offset, lo, lo + n)
    table = Table(uniform.thresholds(), uniform.code_values)
    acc = np.repeat(np.arange(-(n + 8) * 41, (n + 8) * 41)[:, None], 3, axis=1)
    assert np.array_equal(uniform.fire(acc), table.fire(acc))


def test_the_two_spellings_agree_per_channel_on_images():
    uniform = Uniform(np.array([3, 4]).reshape(2, 1, 1), np.array([1, -2]).reshape(2, 1, 1), -2, 5)
    acc = np.random.default_rng(0).integers(-20, 30, (9, 2, 4, 4))
    assert uniform.thresholds().shape == (2, 1, 1, 7)
    assert np.array_equal(uniform.fire(acc), Table(uniform.thresholds(), uniform.code_values).fire(acc))


@fixed
@given(odd, st.integers(-6, 6), st.integers(1, 9))
def test_odd_theta_with_half_an_offset_rounds_to_the_nearest_code_and_never_ties(theta, lo, n):
    neuron = Uniform(np.array([theta]), np.array([(theta - 1) // 2]), lo, lo + n)
    acc = accumulators(theta, lo, lo + n)
    distance = np.abs(acc - theta * neuron.code_values)  # (samples, codes)
    nearest = distance == distance.min(axis=1, keepdims=True)
    assert (nearest.sum(axis=1) == 1).all()
    assert np.array_equal(neuron.code_values[nearest.argmax(axis=1)], neuron.fire(acc)[:, 0])


def test_even_theta_does_tie():
    halfway = {c: abs(3 - c * 6) for c in range(3)}
    assert halfway[0] == halfway[1] == min(halfway.values())


@fixed
@given(odd, st.integers(-6, 6), st.integers(1, 9))
def test_odd_theta_fires_alike_at_reaching_and_at_passing_the_real_threshold(theta, lo, n):
    """In real units code c begins at (c - 1/2) theta; doubled, the odd theta (2c - 1) never meets an even 2 acc."""
    acc = accumulators(theta, lo, lo + n)
    real = theta * (2 * np.arange(lo + 1, lo + n + 1) - 1)
    reaching, passing = (2 * acc >= real).sum(axis=1), (2 * acc > real).sum(axis=1)
    code = Uniform(np.array([theta]), np.array([(theta - 1) // 2]), lo, lo + n).fire(acc)[:, 0]
    assert np.array_equal(lo + reaching, code)
    assert np.array_equal(lo + passing, code)


@fixed
@given(st.data(), st.integers(1, 8))
def test_reaching_an_integer_threshold_is_passing_the_half_integer_below_it(data, n):
    tau = np.sort(data.draw(ints((1, n), -30, 30)), axis=-1)
    acc = np.arange(-32, 33)[:, None]
    code = Table(tau, np.arange(n + 1)).fire(acc)[:, 0]
    half = 2 * tau - 1  # tau - 1/2, doubled
    assert np.array_equal((2 * acc >= half).sum(axis=1), code)
    assert np.array_equal((2 * acc > half).sum(axis=1), code)


@pytest.mark.parametrize("exponent", [0, 1, 5, 20])
def test_a_power_of_two_theta_is_an_arithmetic_shift(exponent):
    acc = np.arange(-300, 300)[:, None] * 2 ** max(0, exponent - 6)
    shifted = np.clip((acc + 7) >> exponent, -5, 9)
    assert np.array_equal(Uniform(np.array([2**exponent]), np.array([7]), -5, 9).fire(acc), shifted)


@fixed
@given(st.data(), st.integers(1, 40), st.integers(-40, 40))
def test_a_uniform_ladder_never_decreases(data, theta, offset):
    acc = np.sort(data.draw(ints((50, 1), -400, 400)), axis=0)
    assert (np.diff(Uniform(np.array([theta]), np.array([offset]), -4, 9).fire(acc)[:, 0]) >= 0).all()
