"""The grid that values lie on: found in float32, not seen where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.calibration.grids import Distinct, grid_of

RNG = np.random.default_rng(0)
F = np.float32


def test_counts_are_a_grid_of_step_1_through_0():
    grid = grid_of(np.array([0.0, 2, 5]), 255)
    assert grid is not None
    assert (grid.step, grid.zero, grid.top, grid.whole) == (1.0, 0.0, 5, True)


def test_a_scaled_and_shifted_image_is_found_with_its_offset():
    pixels = np.unique(RNG.integers(0, 256, 90))
    values = (pixels.astype(F) / F(255) - F(0.1307)) / F(0.3081)
    grid = grid_of(values, 255)
    assert grid is not None
    assert not grid.whole
    assert np.array_equal(np.rint(values / grid.step - grid.zero), pixels - pixels[0])


@pytest.mark.parametrize("seed", range(20))
def test_the_integers_behind_random_grids_are_found(seed):
    rng = np.random.default_rng(seed)
    k = np.unique(rng.integers(0, 256, 60))
    step, zero = F(10.0 ** rng.uniform(-4, 4)), F(rng.uniform(-300, 300))
    values = k.astype(F) * step + zero * step
    grid = grid_of(values, 255)
    assert grid is not None
    assert np.array_equal(np.rint(values.astype(np.float64) / grid.step - grid.zero), k - k[0])


def test_continuous_values_and_too_wide_grids_have_none():
    assert grid_of(RNG.standard_normal(100).astype(F), 255) is None
    assert grid_of(np.arange(0, 4096.0, 7), 255) is None
    assert grid_of(np.array([3.0]), 255) is None
    assert grid_of(np.array([*RNG.standard_normal(100), 1e30]), 255) is None


def test_distinct_values_are_kept_while_they_are_few():
    found = Distinct(2, 16)
    found.update(np.stack([np.arange(100) % 4, np.arange(100)]).astype(np.float64))
    found.update(np.array([[9.0, 1], [0, 0]]))
    assert np.array_equal(found.values[0], [0, 1, 2, 3, 9])
    assert found.values[1] is None
    assert found.together() is None


def test_distinct_values_of_many_channels_are_those_of_each():
    """Short rows are sorted together, long ones one by one: the same values, however they arrive."""
    values = np.stack([RNG.integers(0, most, 600).astype(np.float64) for most in (3, 40, 400, 900, 1)])
    at_once, in_pieces = Distinct(5, 64), Distinct(5, 64)
    at_once.update(values)  # rows longer than are sorted together
    for start in range(0, 600, 50):
        in_pieces.update(values[:, start : start + 50])
    for row, one, other in zip(values, at_once.values, in_pieces.values, strict=True):
        want = np.unique(row)
        assert (one is None) == (other is None) == (len(want) > 64)
        if one is not None:
            assert np.array_equal(one, want)
            assert np.array_equal(other, want)
    assert at_once.together() is None
    in_pieces.values = in_pieces.values[:2]
    assert np.array_equal(in_pieces.together(), np.arange(40))


def test_few_values_seen_once_each_are_no_grid():
    found = Distinct(1, 16)
    found.update(np.array([[0.5, 3.25]]))
    assert not found.believed(found.values[0], found.n)
    found.update(np.tile([[0.5, 3.25]], (1, 8)))
    assert found.believed(found.values[0], found.n)
