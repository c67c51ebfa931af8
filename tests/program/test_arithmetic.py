"""Every function of arithmetic.py, and the kernel beside it, computes what plain Python integers compute."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfn_compile.program import arithmetic
from sfn_compile.program.network import Elementwise
from sfn_compile.program.ranges import exact_dtype
from sfn_compile.simulator import kernels

from . import oracle
from .arith_examples import by_kernel, few, fixed, geometry, ints, worst_case_sum

CODES = [(0, 1), (0, 15), (0, 255), (-8, 7), (-128, 127), (-9, -2), (0, 0)]
code_ranges = st.sampled_from(CODES)
EDGES = [limit + d for limit in (2**24, 2**53) for d in (-2, -1, 0, 1, 2)]


def same(got: np.ndarray, want: oracle.Nested) -> None:
    assert np.issubdtype(got.dtype, np.integer)
    assert got.tolist() == want


# -- linear maps ----------------------------------------------------------------------------------------------------
@fixed
@given(st.data(), st.integers(1, 3), st.lists(st.integers(1, 3), max_size=2), st.integers(1, 5), st.integers(1, 4))
def test_dense_is_the_sum_of_products_over_the_last_axis(data, n, middle, n_in, n_out):
    lo, hi = data.draw(code_ranges)
    s, w = data.draw(ints((n, *middle, n_in), lo, hi)), data.draw(ints((n_out, n_in), -127, 127))
    want = oracle.dense(s.tolist(), w.tolist())
    same(arithmetic.dense(s, w), want)
    same(by_kernel(lambda t: kernels.dense(w, t), worst_case_sum(w, max(-lo, hi)), s), want)


@st.composite
def conv_case(draw, kind):
    """(codes, weight, keywords) of a convolution: plain, grouped, or depthwise (with or without a multiplier)."""
    g = draw(geometry(draw(st.integers(1, 2))))
    groups = 1 if kind == "plain" else draw(st.integers(2, 3))
    per_group = 1 if kind == "depthwise" else draw(st.integers(1, 3))
    n_out = groups * (draw(st.integers(1, 2)) if groups > 1 else draw(st.integers(1, 3)))
    lo, hi = draw(code_ranges)
    s = draw(ints((draw(st.integers(1, 2)), groups * per_group, *g["space"]), lo, hi))
    w = draw(ints((n_out, per_group, *g["kernel"]), -127, 127))
    return s, w, (g["strides"], g["pads"], g["dilations"], groups), worst_case_sum(w, max(-lo, hi))


@pytest.mark.parametrize("kind", ["plain", "grouped", "depthwise"])
@fixed
@given(data=st.data())
def test_convolution_with_stride_dilation_and_asymmetric_padding_is_the_sum_over_its_window(kind, data):
    s, w, how, bound = data.draw(conv_case(kind))
    want = oracle.conv(s.tolist(), w.tolist(), *how)
    same(arithmetic.conv(s, w, *how), want)
    same(by_kernel(lambda t: kernels.conv(w, *how, t), bound, s), want)


@fixed
@given(st.data(), st.integers(1, 2))
def test_sum_pooling_weighs_the_sum_of_each_window(data, n_axes):
    g = data.draw(geometry(n_axes, dilated=False))
    lo, hi = data.draw(code_ranges)
    s = data.draw(ints((2, 3, *g["space"]), lo, hi))
    out = oracle.n_windows(g["space"], g["kernel"], g["strides"], g["pads"], g["dilations"])
    column = (1,) * n_axes
    w = data.draw(ints(data.draw(st.sampled_from([(), (1, *column), (3, *column), (3, *out)])), -99, 99))
    how = g["kernel"], g["strides"], g["pads"]
    want = oracle.sum_pool(s.tolist(), *how, w.tolist())
    same(arithmetic.sum_pool(s, *how, w), want)
    same(by_kernel(lambda t: kernels.sum_pool(*how, w, t), 99 * 9 * max(-lo, hi), s), want)


@fixed
@given(st.data(), st.sampled_from([(5,), (2, 3), (3, 2, 2)]), st.booleans())
def test_identity_multiplies_element_by_element(data, shape, per_neuron):
    s = data.draw(ints((2, *shape), -(2**31), 2**31 - 1))
    w = data.draw(ints(shape if per_neuron else (shape[0], *(1,) * (len(shape) - 1)), -(2**31), 2**31))
    same(arithmetic.identity(s, w), oracle.identity(s.tolist(), w.tolist()))


SIDES = [((5,), (5,)), ((1,), (4,)), ((2, 3), (2, 1)), ((2, 1), (1, 3)), ((3, 2, 2), (3, 1, 1)), ((1, 2, 2), (3, 2, 2))]


@fixed
@given(st.data(), st.sampled_from(SIDES), st.booleans())
def test_a_product_multiplies_element_by_element_and_broadcasts_samples(data, sides, per_neuron):
    left, right = (data.draw(ints((2, *shape), -(2**15), 2**15)) for shape in sides)
    whole = np.broadcast_shapes(*sides)
    w = data.draw(ints(whole if per_neuron else (whole[0], *(1,) * (len(whole) - 1)), -(2**31), 2**31))
    want = oracle.product_of(left.tolist(), right.tolist(), w.tolist())
    same(arithmetic.product(left, right, w), want)
    same(Elementwise(w).apply(left, right), want)
    same(by_kernel(lambda t: kernels.product(w, len(whole), t), 2**61, left, right), want)


@fixed
@given(st.data(), st.sampled_from([(5,), (2, 3), (3, 2, 2)]), st.sampled_from([(4,), (2, 2), (1, 3, 2)]))
def test_gather_reads_by_flat_index_and_a_hole_reads_zero(data, shape, out):
    s = data.draw(ints((2, *shape), -128, 127))
    index = data.draw(ints(out, -1, int(np.prod(shape)) - 1))
    w = data.draw(ints(data.draw(st.sampled_from([out, (1,) * len(out)])), -127, 127))
    same(arithmetic.gather(s, index, w), oracle.gather(s.tolist(), index.tolist(), w.tolist()))


# -- the limits of the fast engine ----------------------------------------------------------------------------------
@st.composite
def row_with_sum(draw, total, n):
    """n integers whose absolute values sum to exactly ``total``, with random signs."""
    cuts = sorted(draw(st.lists(st.integers(0, total), min_size=n - 1, max_size=n - 1)))
    parts = [b - a for a, b in zip([0, *cuts], [*cuts, total], strict=True)]
    signs = draw(st.lists(st.sampled_from([-1, 1, 1]), min_size=n, max_size=n))
    return [p * sign for p, sign in zip(parts, signs, strict=True)]


@pytest.mark.parametrize("bound", EDGES)
@few
@given(data=st.data())
def test_dense_is_exact_where_the_bound_stands_at_a_limit_of_floats(bound, data):
    row = data.draw(row_with_sum(bound, 4))
    w, s = np.array([row, [1, -1, 1, 0]]), np.array([[1, 1, 1, 1], [1, -1, 0, 1], [-1, -1, -1, -1]])
    want = oracle.dense(s.tolist(), w.tolist())
    same(arithmetic.dense(s, w), want)
    same(by_kernel(lambda t: kernels.dense(w, t), bound, s), want)


@pytest.mark.parametrize("bound", EDGES)
@pytest.mark.parametrize("groups", [1, 2])
@few
@given(data=st.data())
def test_convolution_is_exact_where_the_bound_stands_at_a_limit_of_floats(bound, groups, data):
    w = np.array([data.draw(row_with_sum(bound, 4)) for _ in range(2)]).reshape(2, 2 // groups, -1)
    s = data.draw(ints((2, 2, 5), -1, 1))
    how = ((1,), ((1, 0),), (1,), groups)
    want = oracle.conv(s.tolist(), w.tolist(), *how)
    same(arithmetic.conv(s, w, *how), want)
    same(by_kernel(lambda t: kernels.conv(w, *how, t), bound, s), want)


@pytest.mark.parametrize(
    ("bound", "dtype"), [(2**24 - 1, np.float32), (2**24, np.float64), (2**53 - 1, np.float64), (2**53, np.int64)]
)
def test_floats_are_used_strictly_below_the_limit(bound, dtype):
    assert exact_dtype(bound) is dtype


@pytest.mark.parametrize("limit", [2**24, 2**53])
def test_one_more_than_a_float_can_hold_is_computed_exactly(limit):
    s, w = np.array([[limit, 1]]), np.array([[1, 1]])
    how = (1,), ((0, 0),), (1,), 1
    assert arithmetic.dense(s, w).tolist() == [[limit + 1]]
    assert arithmetic.conv(s[:, None], w[None], *how).tolist() == [[[limit + 1]]]
    assert by_kernel(lambda t: kernels.dense(w, t), limit + 1, s).tolist() == [[limit + 1]]
    assert by_kernel(lambda t: kernels.conv(w[None], *how, t), limit + 1, s[:, None]).tolist() == [[[limit + 1]]]


def test_large_batches_cut_into_tiles_equal_one_sample_at_a_time(monkeypatch):
    rng = np.random.default_rng(0)
    s, w = rng.integers(-8, 8, (7, 2, 5, 5)), rng.integers(-9, 9, (3, 2, 3, 3))
    how = ((2, 1), ((1, 0), (0, 1)), (1, 1), 1)
    whole = arithmetic.conv(s, w, *how)

    def tiled(x):
        return by_kernel(lambda t: kernels.conv(w, *how, t), 9 * 2 * 9 * 8, x)

    assert np.array_equal(tiled(s), whole)
    monkeypatch.setattr(kernels, "TILE_BYTES", 0)
    monkeypatch.setattr(kernels, "TILE_COLUMNS", 2 * 5 * 7)  # two of three rows of the map, so the last tile is short
    assert np.array_equal(tiled(s), whole)
    assert np.array_equal(np.concatenate([tiled(x[None]) for x in s]), whole)


def test_an_empty_batch_stays_empty():
    s, w, ones = np.zeros((0, 2, 4, 4), np.int32), np.ones((3, 2, 3, 3), np.int64), np.ones((5, 4), np.int64)
    whole, depthwise = ((1, 1), ((0, 0),) * 2, (1, 1), 1), ((1, 1), ((0, 0),) * 2, (1, 1), 2)
    pool = (2, 2), (2, 2), ((0, 0),) * 2, np.ones(())
    assert arithmetic.conv(s, w, *whole).shape == (0, 3, 2, 2)
    assert by_kernel(lambda t: kernels.conv(w, *whole, t), 99, s).shape == (0, 3, 2, 2)
    assert arithmetic.conv(s, w[:2, :1], *depthwise).shape == (0, 2, 2, 2)
    assert by_kernel(lambda t: kernels.conv(w[:2, :1], *depthwise, t), 99, s).shape == (0, 2, 2, 2)
    assert arithmetic.dense(s, ones).shape == (0, 2, 4, 5)
    assert by_kernel(lambda t: kernels.dense(ones, t), 99, s).shape == (0, 2, 4, 5)
    assert arithmetic.sum_pool(s, *pool).shape == (0, 2, 2, 2)
    assert by_kernel(lambda t: kernels.sum_pool(*pool, t), 99, s).shape == (0, 2, 2, 2)
    assert arithmetic.max_pool(s, (2, 2), (2, 2), ((0, 0),) * 2, (1, 1), 0).shape == (0, 2, 2, 2)
    assert arithmetic.fire_uniform(s, np.array(3), np.array(1), 0, 7).shape == s.shape


# -- neurons --------------------------------------------------------------------------------------------------------
@fixed
@given(st.data(), st.sampled_from([(4,), (2, 3)]), st.booleans())
def test_the_uniform_neuron_counts_the_multiples_of_theta_that_it_reaches(data, shape, per_neuron):
    lo = data.draw(st.integers(-5, 5))
    hi = lo + data.draw(st.integers(0, 9))
    column = shape if per_neuron else (shape[0], *(1,) * (len(shape) - 1))
    theta = data.draw(ints(column, 1, data.draw(st.sampled_from([1, 2, 7, 8, 2**20]))))
    offset = data.draw(ints(column, -int(theta.max()), int(theta.max())))
    edge = theta * data.draw(ints((3, *shape), lo - 1, hi + 2)) - offset  # exactly where codes change
    acc = edge + data.draw(ints(edge.shape, -1, 1))
    same(
        arithmetic.fire_uniform(acc, theta, offset, lo, hi),
        oracle.fire_uniform(acc.tolist(), theta.tolist(), offset.tolist(), lo, hi),
    )


@fixed
@given(st.data(), st.sampled_from([(4,), (2, 3)]), st.integers(0, 6), st.booleans())
def test_the_table_neuron_counts_the_thresholds_that_it_reaches(data, shape, n, per_neuron):
    column = shape if per_neuron else (shape[0], *(1,) * (len(shape) - 1))
    thresholds = np.sort(data.draw(ints((*column, n), -6, 6)), axis=-1)
    codes = data.draw(ints((n + 1,), -128, 127))  # also not monotone, as of a GELU
    acc = data.draw(ints((3, *shape), -8, 8))
    same(
        arithmetic.fire_table(acc, thresholds, codes),
        oracle.fire_table(acc.tolist(), thresholds.tolist(), codes.tolist()),
    )


def test_an_accumulator_at_a_threshold_fires_and_one_below_does_not():
    acc = np.array([[4, 5, 9, 10, -1, 0, -6, -5]])
    assert arithmetic.fire_uniform(acc, np.array([5]), np.array([0]), -2, 9).tolist() == [[0, 1, 1, 2, -1, 0, -2, -1]]
    assert arithmetic.fire_table(np.array([[4, 5, 6]]), np.array([[5]]), np.array([3, 8])).tolist() == [[3, 8, 8]]


def test_equal_thresholds_are_passed_together():
    assert arithmetic.fire_table(np.array([[1, 2]]), np.array([[2, 2, 2]]), np.array([0, 1, 2, 3])).tolist() == [[0, 3]]


def test_a_ladder_without_steps_always_answers_its_only_code():
    acc = np.array([[-(2**40), 0, 2**40]])
    assert arithmetic.fire_uniform(acc, np.array([3]), np.array([1]), 4, 4).tolist() == [[4, 4, 4]]
    assert arithmetic.fire_table(acc, np.zeros((1, 0), np.int64), np.array([4])).tolist() == [[4, 4, 4]]


def test_division_rounds_down_also_below_zero():
    assert arithmetic.fire_uniform(np.array([[-1, -3, -4]]), np.array([3]), np.array([0]), -9, 9).tolist() == [
        [-1, -1, -2]
    ]


# -- pooling and padding --------------------------------------------------------------------------------------------
@fixed
@given(st.data(), st.integers(1, 2))
def test_max_pooling_takes_the_largest_code_of_each_window(data, n_axes):
    g = data.draw(geometry(n_axes))
    lo, hi = data.draw(code_ranges)
    s = data.draw(ints((2, 2, *g["space"]), lo, hi))
    how = (g["kernel"], g["strides"], g["pads"], g["dilations"], lo)
    same(arithmetic.max_pool(s, *how), oracle.max_pool(s.tolist(), *how))


def test_padding_never_wins_a_max_pool():
    s = np.full((1, 1, 3), -7)
    assert arithmetic.max_pool(s, (2,), (1,), ((1, 1),), (1,), -8).tolist() == [[[-7] * 4]]


@fixed
@given(st.data(), st.sampled_from([(3,), (2, 3), (2, 1, 2)]), st.integers(-9, 9))
def test_padding_puts_the_fill_before_and_after_each_axis(data, shape, fill):
    x = data.draw(ints(shape, -9, 9))
    pads = tuple((data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))) for _ in shape)
    same(arithmetic.pad(x, pads, fill), oracle.pad(x.tolist(), pads, fill))
