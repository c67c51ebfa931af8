"""Every method against its definition: closed forms, or sums over the raw values in plain Python."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfn_compile.calibration import methods
from sfn_compile.calibration.methods import books
from sfn_compile.calibration.methods.entropy import gaussian
from sfn_compile.calibration.statistics import Statistics
from sfn_compile.foundation.diagnostics import CompileError

RNG = np.random.default_rng(7)
NORMAL = RNG.standard_normal((2, 200_000)) * [[1.0], [30.0]]
RELU = np.maximum(NORMAL, 0)
SKEWED = np.exp(RNG.standard_normal((2, 20_000))) * [[0.2], [5.0]]
few = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def statistics(values: np.ndarray) -> Statistics:
    stats = Statistics(len(values))
    stats.update(values)
    return stats


def entropy(codes: np.ndarray) -> float:
    shares = np.unique(codes, return_counts=True)[1] / codes.size
    return float(-(shares * np.log2(shares)).sum())


# -- offset: OPI ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("u", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize(("lo", "hi"), [(0, 15), (-8, 7)])
def test_the_error_of_an_offset_is_that_of_the_theorem(u, lo, hi):
    """Mean ``step (1/2 - u)`` and mean square ``step^2 (1/3 - u + u^2)`` where values spread evenly over the cells."""
    ladder = methods.RealLadder(np.array([0.5]), offset=u)
    x = np.linspace((lo + 1) * 0.5, (hi - 1) * 0.5, 140_001)[None, :-1]
    error = (x - ladder.real(x, lo, hi)) / 0.5
    assert abs(error.mean() - (0.5 - u)) < 1e-3
    assert abs((error**2).mean() - (1 / 3 - u + u**2)) < 1e-3


@pytest.mark.parametrize("name", ["opi", "mse"])
def test_without_an_offset_the_best_error_is_three_to_four_times_as_large(name):
    stats, lost = statistics(RELU), []
    for offset in ("0", "0.5"):
        ladder = methods.choose(name, stats, 0, 31, {"offset": offset})
        assert ladder.offset == float(offset)
        lost.append(((ladder.real(RELU, 0, 31) - RELU) ** 2).sum(axis=1))
    assert ((lost[0] / lost[1] > 3) & (lost[0] / lost[1] < 4)).all()


def test_the_step_of_opi_is_where_the_theorem_and_what_is_cut_off_are_least():
    step = methods.choose("opi", statistics(SKEWED), 0, 15, {"offset": "0.25"}).step
    for row, found in zip(SKEWED, step, strict=True):

        def predicted(s: float, row: np.ndarray = row) -> float:
            beyond = row[row > 15 * s] - 15 * s
            return float((row.size - beyond.size) * s**2 * (1 / 3 - 0.25 + 0.0625) + (beyond**2).sum())

        best = min(predicted(row.max() / 15 * f) for f in np.geomspace(1, 0.04, 400))
        assert predicted(found) <= 1.01 * best


@pytest.mark.parametrize("text", ["1", "-0.1", "half"])
def test_an_offset_lies_from_0_to_below_1(text):
    with pytest.raises(CompileError, match="SFN605"):
        methods.choose("mse", statistics(RELU), 0, 31, {"offset": text})


# -- QCFS ------------------------------------------------------------------------------------------------------------
def straight_through(values: np.ndarray, step: float, lo: int, hi: int) -> float:
    """The gradient with respect to the step of half the squared error, as autograd has it with a floor that passes."""
    code = np.floor(values / step + 0.5)
    inside = (code >= lo) & (code <= hi)
    y = np.clip(code, lo, hi) * step
    slope = np.where(inside, (y - values) / step, np.clip(code, lo, hi))
    return float(((y - values) * slope).sum())


@pytest.mark.parametrize(("values", "lo", "hi"), [(RELU, 0, 7), (SKEWED, 0, 15), (NORMAL, -8, 7), (NORMAL, -3, 3)])
def test_qcfs_ends_where_its_gradient_turns(values, lo, hi):
    step = methods.choose("qcfs", statistics(values), lo, hi, {}).step
    for row, found in zip(values, step, strict=True):
        assert straight_through(row, found * 1.03, lo, hi) > 0 > straight_through(row, found * 0.97, lo, hi)


def test_gradient_descent_lands_on_the_threshold_of_qcfs():
    row = RELU[0, :20_000]
    step = row.max() / 7
    for _ in range(400):
        step -= 0.5 * straight_through(row, step, 0, 7) / row.size / 7
    assert abs(step / methods.choose("qcfs", statistics(row[None]), 0, 7, {}).step[0] - 1) < 0.02


# -- entropy calibration -------------------------------------------------------------------------------------------
def divergence(counts: list[int], width: float, step: float, hi: int) -> float:
    """KL(P||Q) of TensorRT's calibration on a histogram from 0 up, by its definition."""
    edge = hi * step
    inside = [n for i, n in enumerate(counts) if (i + 0.5) * width < edge]
    reference = list(inside)
    reference[-1] += sum(counts) - sum(inside)
    groups: dict[int, list[int]] = {}
    for i in range(len(inside)):
        groups.setdefault(math.floor((i + 0.5) * width / step + 0.5), []).append(i)
    spread = [0.0] * len(inside)
    for bins in groups.values():
        live = [i for i in bins if reference[i]]
        for i in live:
            spread[i] = sum(inside[j] for j in bins) / len(live)
    p, q = sum(reference), sum(spread)
    pairs = [(a / p, b / q) for a, b in zip(reference, spread, strict=True) if a]
    return sum(a * math.log(a / b) if b else math.inf for a, b in pairs)


@pytest.mark.parametrize("hi", [7, 31])
@pytest.mark.parametrize("values", [SKEWED, RELU])
def test_entropy_calibration_finds_the_threshold_of_least_divergence(values, hi):
    stats = statistics(values)
    step = methods.choose("kl", stats, 0, hi, {}).step
    for c, row in enumerate(values):
        width, counts = stats.span[c] / stats.n_bins, [int(n) for n in stats.counts[c, stats.n_bins :]]
        tried = [row.max() / hi * f for f in np.geomspace(1, 0.04, 96)]
        found = {s: divergence(counts, width, s, hi) for s in tried if s >= width}
        assert divergence(counts, width, step[c], hi) <= min(found.values()) + 1e-4


def test_entropy_calibration_cuts_a_tail_that_minmax_keeps():
    stats = statistics(SKEWED)
    assert (methods.choose("kl", stats, 0, 31, {}).step < 0.8 * methods.choose("minmax", stats, 0, 31, {}).step).all()


# -- PMSM ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("reading", ["gaussian", "histogram"])
@pytest.mark.parametrize(
    ("n", "bits", "step"), [(1, 1.585, 0.869), (2, 2.320, 0.560), (4, 3.149, 0.337), (8, 4.032, 0.189)]
)
def test_two_polarities_of_a_normal_channel_have_the_largest_entropy_there_is(n, bits, step, reading):
    ladder = methods.choose("pmsm", statistics(NORMAL), -n, n, {"reading": reading})
    assert np.allclose(ladder.step, [step, 30 * step], rtol=0.04)
    for row, real in zip(NORMAL, ladder.real(NORMAL, -n, n), strict=True):
        assert abs(entropy(real) - bits) < 0.01, row.std()


@pytest.mark.parametrize(("n", "bits"), [(2, 1.38), (4, 1.86), (8, 2.36), (16, 2.87)])
def test_one_polarity_keeps_the_largest_entropy_it_can(n, bits):
    """Half of a channel without mean lands in code 0, so more than a bit is lost. The table counts n + 1 levels."""
    ladder = methods.choose("pmsm", statistics(RELU), 0, n, {})
    assert abs(entropy(ladder.real(RELU, 0, n)[0]) - bits) < 0.02


@pytest.mark.parametrize("mean", [-0.7, 0.0, 0.9])
def test_the_normal_distribution_behind_a_relu_is_found_again(mean):
    found, deviation = gaussian(statistics(np.maximum(NORMAL / [[1.0], [30.0]] + mean, 0) * 2), 0)
    assert np.allclose(found, 2 * mean, atol=0.03)
    assert np.allclose(deviation, 2, rtol=0.02)


# -- density-aware ladders -------------------------------------------------------------------------------------------
def points_of(values: np.ndarray) -> books.Points:
    return books.Points(values, np.ones(values.size))


@pytest.mark.parametrize(
    ("n", "levels", "error"),
    [(1, [1.224], 0.1902), (2, [0.7646, 1.724], 0.07994), (3, [0.5606, 1.188, 2.033], 0.04400)],
)
def test_lloyd_max_of_a_normal_channel_is_the_table_of_max(n, levels, error):
    """J. Max, Quantizing for minimum distortion (1960): 3, 5 and 7 output levels."""
    found = books.lloyd_max(points_of(NORMAL[0]), n, n)
    assert np.allclose(found, [*(-v for v in levels[::-1]), 0, *levels], atol=0.025)
    assert abs(points_of(NORMAL[0]).squared_error(found) / NORMAL[0].size - error) < 0.002


@given(st.lists(st.floats(-50, 50).filter(lambda v: abs(v) > 1e-3), min_size=4, max_size=60), st.integers(1, 5))
@few
def test_lloyd_max_is_at_its_fixed_point_and_no_worse_than_where_it_began(values, n):
    """Every level but 0 is the mean of the values nearest to it, or stands for none."""
    x = np.array(values)
    levels = books.lloyd_max(points_of(x), n, n)
    assert levels[n] == 0
    cell = np.searchsorted((levels[1:] + levels[:-1]) / 2, x, side="right")
    for i in set(cell.tolist()) - {n}:
        assert abs(x[cell == i].mean() - levels[i]) <= 1e-6 * max(np.abs(x).max(), 1)
    even = np.arange(-n, n + 1) / n * np.abs(x).max()
    assert points_of(x).squared_error(levels) <= points_of(x).squared_error(even) * (1 + 1e-9)


def test_equal_mass_levels_stand_for_the_same_share_at_its_mean():
    x = np.arange(1, 101.0)
    assert books.equal_mass(points_of(x), 0, 4).round(3).tolist() == [0, 13, 38, 63, 88]
    assert books.equal_mass(points_of(np.concatenate([x, -10 * x])), 2, 1).round(3).tolist() == [-755, -255, 0, 50.5]


@given(st.integers(0, 2**20), st.sampled_from([(0, 1), (0, 15), (0, 255), (-1, 0), (-8, 7), (-15, 15), (-128, 127)]),
       st.sampled_from(["lloyd-max", "equal-mass"]))  # fmt: skip
@few
def test_a_book_is_ascending_integers_with_zero_and_as_many_codes_as_were_asked_for(seed, ends, ladder):
    lo, hi = ends
    rng = np.random.default_rng(seed)
    values = rng.standard_t(3, (3, 300)) * np.exp(rng.normal(0, 2, (3, 1)))
    values[2] = 0
    found = methods.choose("sfn", statistics(values if lo < 0 else np.abs(values)), lo, hi, {"ladder": ladder})
    book = tuple(range(lo, hi + 1)) if found.book is None else found.book
    assert all(a < b for a, b in pairwise(book))
    assert (sum(k < 0 for k in book), sum(k > 0 for k in book)) == (-lo, hi)
    assert 0 in book
    assert book[0] >= -128
    assert book[-1] <= (255 if lo == 0 else 127)
    assert (found.step[:2] > 0).all()
    assert found.step[2] == 0


@pytest.mark.parametrize(("values", "lo", "hi"), [(RELU, 0, 15), (SKEWED, 0, 7), (NORMAL, -15, 15), (NORMAL, -8, 7)])
def test_frozen_levels_lose_less_than_any_uniform_ladder_and_little_more_than_real_ones(values, lo, hi):
    """Of several channels, which share a book, less than uniform ones; of one alone, little more than its own."""
    ladder = {"ladder": "lloyd-max"}
    found, even = (methods.choose(n, statistics(values), lo, hi, o) for n, o in (("sfn", ladder), ("mse", {})))
    assert found.book is not None
    lost, uniform = (((ladder.real(values, lo, hi) - values) ** 2).sum(axis=1) for ladder in (found, even))
    assert (lost < 0.95 * uniform).all()
    for row in values:
        alone = methods.choose("sfn", statistics(row[None]), lo, hi, ladder)
        loss = ((alone.real(row[None], lo, hi) - row) ** 2).sum()
        assert loss <= 1.06 * points_of(row).squared_error(books.lloyd_max(points_of(row), -lo, hi))


def test_a_given_lambda_scales_all_levels():
    stats, ladder = statistics(RELU), {"ladder": "lloyd-max"}
    one, half = (methods.choose("sfn", stats, 0, 15, {**ladder, "lambda": f}) for f in ("1", "0.5"))
    assert one.book == half.book
    assert np.array_equal(half.step, one.step / 2)


@pytest.mark.parametrize("more", [{"reading": "scale"}, {"offset": "0"}])
def test_what_belongs_to_uniform_ladders_is_refused_beside_a_book(more):
    with pytest.raises(CompileError, match="SFN605"):
        methods.choose("sfn", statistics(RELU), 0, 15, {"ladder": "lloyd-max", **more})
