"""Streaming statistics in fixed memory say what the whole data would have said."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfn_compile.calibration.statistics import Statistics

fixed = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@st.composite
def batches(draw: st.DrawFn) -> list[np.ndarray]:
    """Batches (c, m) whose magnitudes run over many powers of two, zeros and exact bin edges among them."""
    channels = draw(st.integers(1, 4))
    found = []
    for _ in range(draw(st.integers(1, 5))):
        rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        scale = 2.0 ** draw(st.integers(-12, 12))
        values = rng.standard_normal((channels, draw(st.integers(1, 40)))) * scale
        kind = draw(st.sampled_from(["plain", "relu", "zero", "edges"]))
        if kind == "relu":
            values = np.maximum(values, 0)
        elif kind == "zero":
            values = values * 0
        elif kind == "edges":
            values = np.round(values / scale) * scale
        found.append(values)
    return found


def of(parts: list[np.ndarray]) -> Statistics:
    stats = Statistics(len(parts[0]))
    for part in parts:
        stats.update(part)
    return stats


@fixed
@given(parts=batches())
def test_streaming_equals_one_shot(parts):
    one, many = of([np.concatenate(parts, axis=1)]), of(parts)
    for field in ("counts", "span", "low", "high", "zeros"):
        assert np.array_equal(getattr(one, field), getattr(many, field)), field
    assert one.n == many.n


@fixed
@given(parts=batches())
def test_every_value_lies_in_the_bin_that_counts_it(parts):
    """However often the range doubled: the histogram is that of the raw values at the final width."""
    stats, values = of(parts), np.concatenate(parts, axis=1)
    for c, row in enumerate(values):
        live = row[row != 0]
        assert stats.zeros[c] == len(row) - len(live)
        if len(live):
            edges = (np.arange(2 * stats.n_bins + 1) - stats.n_bins) * (stats.span[c] / stats.n_bins)
            index = np.searchsorted(edges, live, side="right") - 1
            assert np.array_equal(np.bincount(index, minlength=2 * stats.n_bins), stats.counts[c])
        else:
            assert stats.counts[c].sum() == 0


@fixed
@given(parts=batches())
def test_extremes_are_exact_and_nothing_is_lost(parts):
    stats, values = of(parts), np.concatenate(parts, axis=1)
    assert np.array_equal(stats.low, values.min(axis=1))
    assert np.array_equal(stats.high, values.max(axis=1))
    assert (stats.counts.sum(axis=1) + stats.zeros == values.shape[1]).all()
    assert (np.maximum(np.abs(stats.low), np.abs(stats.high)) <= stats.span).all()


@fixed
@given(parts=batches())
def test_merged_is_the_statistics_of_all_channels_as_one(parts):
    merged = of(parts).merged()
    direct = of([part.reshape(1, -1) for part in parts])
    for field in ("counts", "span", "low", "high", "zeros"):
        assert np.array_equal(getattr(merged, field), getattr(direct, field)), field
    assert merged.n == direct.n


@fixed
@given(parts=batches(), data=st.data(), p=st.floats(0.01, 1.0))
def test_merged_groups_are_the_statistics_of_their_channels_as_one(parts, data, p):
    n = len(parts[0])
    drawn = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    groups = np.unique(drawn, return_inverse=True)[1]
    merged = of(parts).merged(groups)
    for g in range(groups.max() + 1):
        direct = of([part[groups == g].reshape(1, -1) for part in parts])
        for field in ("counts", "span", "low", "high", "zeros"):
            assert np.array_equal(getattr(merged, field)[g : g + 1], getattr(direct, field)), field
        assert merged.quantile_abs(p)[g] == direct.quantile_abs(p)[0]


@fixed
@given(parts=batches(), p=st.floats(0.01, 1.0))
def test_a_quantile_is_right_to_the_width_of_a_bin(parts, p):
    stats, values = of(parts), np.abs(np.concatenate(parts, axis=1))
    found = stats.quantile_abs(p)
    for c, row in enumerate(values):
        exact = np.sort(row)[max(int(np.ceil(p * len(row))) - 1, 0)]
        assert exact <= found[c] * (1 + 1e-12) <= exact + stats.span[c] / stats.n_bins + 1e-300 + found[c] * 1e-11


def test_a_range_that_doubles_keeps_its_histogram_exact():
    stats = of([np.array([[0.1, 0.4, -0.4]]), np.array([[1000.0]])])
    assert stats.span[0] == 1024
    assert stats.counts[0, stats.n_bins] == 2
    assert stats.counts[0, stats.n_bins - 1] == 1
    assert stats.counts[0, stats.n_bins + 2000] == 1


@pytest.mark.parametrize("value", [1.0, 2.0, 0.5, np.nextafter(2.0, 0), np.nextafter(2.0, 3), 5e-324, 1e300])
def test_the_largest_value_always_lies_inside(value):
    stats = of([np.array([[value, -value]])])
    assert stats.counts.sum() == 2
    assert stats.span[0] > value


def test_memory_does_not_depend_on_the_number_of_samples():
    def size(stats: Statistics) -> int:
        return sum(sys.getsizeof(v) for v in vars(stats).values())

    few, many = Statistics(3), Statistics(3)
    few.update(np.ones((3, 1)))
    for i in range(200):
        many.update(np.random.default_rng(i).standard_normal((3, 500)) * 2.0 ** (i % 20))
    assert set(vars(few)) == set(vars(many))
    assert abs(size(few) - size(many)) <= 64  # a Python integer may grow by a digit


def test_many_channels_take_coarser_histograms():
    assert Statistics(1000).counts.nbytes < 4 * Statistics(256).counts.nbytes
