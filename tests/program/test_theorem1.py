"""Theorem 1 of the Scale-and-Fire neuron: T clocked steps of integrate-and-fire equal one step of a ladder, if.

The integrate-and-fire neuron stands here in exact arithmetic (integers, or fractions where theta / T is one); the
ladder is the compiler's own :class:`Uniform`. Then the temporal forms that a target may choose, which need no "if".
"""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfn_compile.program.network import Table, Uniform

from .arith_examples import fixed

Number = int | Fraction


def clip(x: int, lo: int, hi: int) -> int:
    return max(lo, min(hi, x))


def integrate_and_fire(x: list[Number], theta: Number, v0: Number, burst: int = 1) -> int:
    """Spikes of a neuron that fires up to ``burst`` times per step at ``v >= theta`` and subtracts theta for each."""
    v, count = v0, 0
    for current in x:
        v += current
        spikes = clip(v // theta, 0, burst)  # exact for integers and for fractions
        v -= spikes * theta
        count += spikes
    return count


def ladder(acc: int, theta: int, offset: int, lo: int, hi: int) -> int:
    """The compiler's neuron on one accumulator."""
    return int(Uniform(np.array([theta]), np.array([offset]), lo, hi).fire(np.array([[acc]])).item())


@st.composite
def bounded_input(draw, burst=1):
    """(theta, x(t) in [0, burst theta], with both ends likely)."""
    theta = draw(st.integers(1, 50))
    current = st.one_of(st.integers(0, burst * theta), st.sampled_from([0, theta, burst * theta]))
    return theta, draw(st.lists(current, min_size=1, max_size=12))


# -- the theorem ----------------------------------------------------------------------------------------------------
@fixed
@given(bounded_input(), st.data())
def test_t_steps_of_integrate_and_fire_are_one_step_of_the_ladder(case, data):
    theta, x = case
    v0 = data.draw(st.integers(0, theta - 1))
    assert integrate_and_fire(x, theta, v0) == ladder(sum(x), theta, v0, 0, len(x))


@fixed
@given(st.integers(1, 4), st.data())
def test_bursts_of_m_spikes_make_a_ladder_of_m_times_t_codes(burst, data):
    theta, x = data.draw(bounded_input(burst))
    v0 = data.draw(st.integers(0, theta - 1))
    assert integrate_and_fire(x, theta, v0, burst) == ladder(sum(x), theta, v0, 0, burst * len(x))


@fixed
@given(
    st.lists(st.fractions(0, 1, max_denominator=60), min_size=1, max_size=8),
    st.fractions(Fraction(1, 9), 3, max_denominator=9),
    st.fractions(0, Fraction(59, 60), max_denominator=60),
)
def test_the_average_output_is_the_multi_threshold_neuron_of_the_average_input(shares, theta, v0_share):
    steps, x, v0 = len(shares), [share * theta for share in shares], v0_share * theta
    average_output = integrate_and_fire(x, theta, v0) * theta / steps
    theta_m, v_m, average_input = theta / steps, v0 / steps, sum(x) / steps
    assert average_output == theta_m * clip(floor((average_input + v_m) / theta_m), 0, steps)


@fixed
@given(st.integers(1, 50), st.integers(-120, 120), st.integers(1, 12), st.data())
def test_a_constant_input_of_any_size_and_sign_needs_no_bound(theta, current, steps, data):
    v0 = data.draw(st.integers(0, theta - 1))
    assert integrate_and_fire([current] * steps, theta, v0) == ladder(steps * current, theta, v0, 0, steps)


@fixed
@given(bounded_input(), st.integers(-200, 200))
def test_the_count_holds_for_any_initial_potential_and_only_the_residue_needs_its_bound(case, v0):
    """Stronger than the theorem: above theta it fires at every step, below 0 it is silent until v is in [0, theta)."""
    theta, x = case
    count = integrate_and_fire(x, theta, v0)
    assert count == ladder(sum(x), theta, v0, 0, len(x))
    if 0 <= v0 < theta:
        assert 0 <= v0 + sum(x) - count * theta < theta


# -- where the theorem ends -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("x", "spikes", "codes"),
    [
        ([0, 4], 1, 2),  # an input above theta: one spike per step cannot carry it in the time that is left
        ([2, -2], 1, 0),  # a negative input after a spike: the spike is out and cannot be taken back
        ([-2, 4], 1, 1),  # the same two conditions broken, and equal all the same: they are sufficient, not necessary
    ],
)
def test_outside_its_conditions_the_clocked_neuron_need_not_equal_the_ladder(x, spikes, codes):
    assert integrate_and_fire(x, 2, 0) == spikes
    assert ladder(sum(x), 2, 0, 0, len(x)) == codes


def test_a_burst_cap_moves_the_bound_and_beyond_it_the_neurons_differ_again():
    assert integrate_and_fire([0, 4], 2, 0, burst=2) == ladder(4, 2, 0, 0, 4) == 2
    assert integrate_and_fire([0, 6], 2, 0, burst=2) == 2
    assert ladder(6, 2, 0, 0, 4) == 3


def test_the_order_of_unbounded_inputs_changes_the_clocked_count_and_never_the_ladder():
    assert integrate_and_fire([4, 0], 2, 0) == 2
    assert integrate_and_fire([0, 4], 2, 0) == 1


# -- temporal forms that give the same bits for every input ------------------------------------------------------------
def accumulate_then_fire(x: list[int], theta: int, v0: int, n: int) -> int:
    """Integrate the whole window silently, then emit at most one spike in each of n further steps."""
    return integrate_and_fire([0] * n, theta, v0 + sum(x))


def bit_serial(x: list[int], theta: int, v0: int, bits: int) -> int:
    """Integrate, then one step per bit: a spike of weight 2**b where ``v >= 2**b theta``."""
    v, code = v0 + sum(x), 0
    for b in reversed(range(bits)):
        if v >= theta * 2**b:
            v -= theta * 2**b
            code += 2**b
    return code


def ramp_compare(acc: int, thresholds: list[int], codes: list[int]) -> int:
    """One step per threshold, no reset: passing threshold j pays the difference of codes j and j - 1."""
    return codes[0] + sum(codes[j + 1] - codes[j] for j, tau in enumerate(thresholds) if acc >= tau)


def st_bif_settled(x: list[int], theta: int, v0: int, lo: int, hi: int) -> int:
    """Spikes of both signs, one per step, counter kept in [lo, hi]; then steps without input until nothing fires."""
    v, count, t = v0, 0, 0
    while True:
        v += x[t] if t < len(x) else 0
        t += 1
        spike = 1 if v >= theta and count < hi else -1 if v < 0 and count > lo else 0
        v -= spike * theta
        count += spike
        if t >= len(x) and spike == 0:
            return count


any_input = st.lists(st.integers(-150, 150), min_size=1, max_size=8)


@fixed
@given(any_input, st.integers(1, 50), st.integers(-50, 99), st.integers(0, 12))
def test_accumulate_then_fire_equals_the_ladder_for_every_input(x, theta, v0, n):
    assert accumulate_then_fire(x, theta, v0, n) == ladder(sum(x), theta, v0, 0, n)


@fixed
@given(any_input, st.integers(1, 50), st.integers(-50, 99), st.integers(0, 6))
def test_bit_serial_firing_equals_the_ladder_of_all_ones_codes(x, theta, v0, bits):
    assert bit_serial(x, theta, v0, bits) == ladder(sum(x), theta, v0, 0, 2**bits - 1)


def test_bit_serial_firing_overshoots_a_ladder_that_ends_below_all_ones():
    assert bit_serial([3], 1, 0, 2) == 3
    assert ladder(3, 1, 0, 0, 2) == 2


@fixed
@given(
    st.lists(st.tuples(st.integers(-40, 40), st.integers(-9, 9)), max_size=8), st.integers(-9, 9), st.integers(-45, 45)
)
def test_a_ramp_of_comparisons_equals_any_table(rungs, first, acc):
    thresholds, codes = sorted(tau for tau, _ in rungs), [first, *(code for _, code in rungs)]
    table = Table(np.array([thresholds], np.int64).reshape(1, -1), np.array(codes))
    assert ramp_compare(acc, thresholds, codes) == table.fire(np.array([[acc]])).item()


@fixed
@given(any_input, st.integers(1, 50), st.integers(-50, 99), st.integers(-6, 0), st.integers(0, 9))
def test_a_settled_neuron_that_takes_spikes_back_equals_the_signed_ladder(x, theta, v0, lo, hi):
    assert st_bif_settled(x, theta, v0, lo, hi) == ladder(sum(x), theta, v0, lo, hi)
