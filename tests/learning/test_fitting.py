"""Fitting in closed form, rounding with feedback, and which sites deserve more levels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfn_compile.learning.least_squares import normal_equations, refitted, rounded_with_feedback
from sfn_compile.learning.sensitivity import LEAST_SHARE, UNITS, Way, allotted
from sfn_compile.learning.slopes import slope_of
from sfn_compile.program.network import Conv, Dense

RNG = np.random.default_rng(3)


def correlated(k, n):
    mixed = RNG.standard_normal((k, k)) @ RNG.standard_normal((k, n))
    return mixed + 0.3 * RNG.standard_normal((k, n))


def lost(weight, rounded, x):
    return float((((weight - rounded) @ x) ** 2).sum())


def test_feedback_loses_less_than_rounding_to_nearest():
    for _ in range(20):
        x, w = correlated(12, 200), RNG.standard_normal((5, 12))
        grid = np.full(w.shape, 0.5)
        found = rounded_with_feedback(w, grid, 7, (x @ x.T)[None])
        np.testing.assert_array_equal(found / grid, np.rint(found / grid))
        assert np.abs(found / grid).max() <= 7
        assert lost(w, found, x) < lost(w, np.clip(np.rint(w / grid), -7, 7) * grid, x)


def test_feedback_is_near_the_best_of_all_roundings():
    """Of three weights every rounding can be tried."""
    for _ in range(20):
        x, w = correlated(3, 50), 2 * RNG.standard_normal((1, 3))
        found = rounded_with_feedback(w, np.ones((1, 3)), 7, (x @ x.T)[None])
        best = min(lost(w, np.array([c], float), x) for c in itertools.product(range(-7, 8), repeat=3))
        assert lost(w, found, x) <= 4 * best + 1e-9


def test_inputs_that_are_silent_are_rounded_to_nearest():
    w = np.array([[0.4, 1.6, -2.4]])
    assert rounded_with_feedback(w, np.ones((1, 3)), 7, np.zeros((1, 3, 3))).tolist() == [[0.0, 2.0, -2.0]]


def batch_last(x):
    return np.moveaxis(x.astype(np.float32), 0, -1)


@pytest.mark.parametrize(
    ("linear", "shape"),
    [(Dense(RNG.standard_normal((3, 5))), (5,)), (Dense(RNG.standard_normal((3, 5))), (4, 5)),
     (Conv(RNG.standard_normal((4, 3, 3, 3)), (2, 1), ((1, 1), (0, 1)), (1, 1)), (3, 7, 6)),
     (Conv(RNG.standard_normal((4, 1, 3, 3)), (1, 1), ((1, 1), (1, 1)), (1, 1), 4), (4, 6, 6)),
     (Conv(RNG.standard_normal((6, 2, 3)), (1,), ((1, 1),), (1,), 3), (6, 9))],
)  # fmt: skip
def test_weights_that_made_the_targets_are_found_again(linear, shape):
    """The targets are those of other weights and a bias: least squares finds the weights, whatever the bias."""
    x = RNG.standard_normal((60, *shape))
    t = linear.apply(x, np.float64) + 3.0
    slope = slope_of(linear, shape)
    equations = normal_equations(slope, linear.weight, batch_last(x), batch_last(t))
    found = refitted(linear.weight, equations)
    np.testing.assert_allclose(found, linear.weight, atol=1e-4)
    far = refitted(np.zeros_like(linear.weight), equations)  # held to zero: shrunk by the ridge, not turned
    assert (far * linear.weight).sum() > 0.2 * (linear.weight**2).sum()


SITES = st.lists(st.tuples(st.integers(1, 100), st.integers(1, 50), st.integers(0, 50)), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60, derandomize=True, database=None)
@given(SITES, st.integers(0, 10), st.integers(0, 10))
def test_the_chosen_sites_are_the_best_that_fit(sites, tenths, others):
    """Of two ways the second is closed to sites of size 0."""
    errors = {f"s{i}": float(e) for i, (e, *_) in enumerate(sites)}
    sizes = [{f"s{i}": site[w] for i, site in enumerate(sites) if site[w]} for w in (1, 2)]
    ways = [Way(some, n / 10 * sum(some.values())) for some, n in zip(sizes, (tenths, others), strict=True)]
    found = allotted(errors, *ways)
    for chosen, way in zip(found, ways, strict=True):
        assert sum(way.sizes[s] for s in chosen) <= way.room
    assert not set(found[0]) & set(found[1])
    worth = [s for s in errors if errors[s] >= LEAST_SHARE * sum(errors.values())]
    best = 0.0
    for how in itertools.product((0, 1, 2), repeat=len(worth)):
        used = [sum(way.units(s) for s, h in zip(worth, how, strict=True) if h == w) for w, way in enumerate(ways, 1)]
        if max(used) <= UNITS:
            best = max(best, sum(errors[s] for s, h in zip(worth, how, strict=True) if h))
    assert sum(errors[s] for s in (*found[0], *found[1])) == pytest.approx(best)
