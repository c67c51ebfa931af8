"""Products of two spike tensors, and thresholds that follow a row, equal what plain Python integers give."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product as combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sfn_backends.sim import SimBackend

from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError, Origin
from sfn_compile.graph.printer import print_program
from sfn_compile.program import arithmetic, ranges
from sfn_compile.program.network import (
    Decoding,
    Elementwise,
    Encoding,
    Identity,
    Matmul,
    Normalization,
    Population,
    Product,
    Program,
    Projection,
    Ratio,
    Readout,
    RowSum,
    RowTable,
    ValueInfo,
)
from sfn_compile.simulator import kernels
from sfn_compile.targets.legalize import check_widths

from . import oracle
from .arith_examples import by_kernel, fixed, ints

CODES = [(0, 1), (0, 31), (0, 255), (-8, 7), (-128, 127), (-9, -2), (0, 0)]
code_ranges = st.sampled_from(CODES)
SHAPES = [(4,), (3, 4), (2, 3, 4)]


def same(got, want):
    assert np.issubdtype(got.dtype, np.integer)
    assert got.tolist() == want


def column(data, shape, lo, hi):
    """Integers per channel, per neuron, or one for all."""
    choices = [shape, (shape[0], *(1,) * (len(shape) - 1)), (1,) * len(shape)]
    return data.draw(ints(data.draw(st.sampled_from(choices)), lo, hi))


# -- products -------------------------------------------------------------------------------------------------------
@fixed
@given(st.data(), st.sampled_from([(), (2,), (2, 3)]), *(st.integers(1, 4) for _ in "mkj"), code_ranges, code_ranges)
def test_a_matrix_product_is_the_sum_over_the_last_axis_times_the_one_before(data, lead, m, k, j, a, b):
    left, right = data.draw(ints((2, *lead, m, k), *a)), data.draw(ints((2, *lead, k, j), *b))
    w = data.draw(ints(data.draw(st.sampled_from([(), (m, j), (*lead, 1, j), (*lead, m, 1)])), -127, 127))
    want = oracle.matmul(left.tolist(), right.tolist(), w.tolist())
    bound = k * max(map(abs, a)) * max(map(abs, b))
    same(arithmetic.matmul(left, right, w), want)
    same(Matmul(w).apply(left, right), want)
    same(by_kernel(lambda t: kernels.matmul(w, len(lead) + 2, t), bound, left, right), want)


@pytest.mark.parametrize("limit", [2**24, 2**53])
def test_a_matrix_product_at_the_limit_of_floats_is_exact(limit):
    """limit + 1 is no float of that size; weights multiply integers, after the sum."""
    left, right = np.array([[[limit // 4, 1, 0]]]), np.array([[[4], [1], [9]]])
    one, three, less = np.array([[1]]), np.array([[3]]), right - [[[0], [2], [9]]]
    assert arithmetic.matmul(left, right, one).tolist() == [[[limit + 1]]]
    assert by_kernel(lambda t: kernels.matmul(one, 2, t), limit + 1, left, right).tolist() == [[[limit + 1]]]
    assert by_kernel(lambda t: kernels.matmul(three, 2, t), limit + 1, left, less).tolist() == [[[3 * limit - 3]]]


@fixed
@given(st.data(), st.sampled_from([(2, 2), (1, 3), (3, 1)]), st.sampled_from(CODES), st.sampled_from(CODES))
def test_no_matrix_product_leaves_its_proved_range_and_both_ends_are_reached(data, sizes, a, b):
    (m, k), j = sizes, 2
    w = data.draw(ints((m, j), -9, 9))
    infos = ValueInfo((m, k), *a), ValueInfo((k, j), *b)
    p = Product("l", "r", Matmul(w))
    low, high = ranges.product_reach(p, *infos)
    bound = ranges.unweighted_bound(p, *infos)
    seen = [
        arithmetic.matmul(np.full((1, m, k), x), np.full((1, k, j), y), w) for x in a for y in b
    ]  # every sum at its extremes: all codes at one end
    assert (np.minimum.reduce(seen) == low).all()
    assert (np.maximum.reduce(seen) == high).all()
    assert max(abs(int(s)) for s in _sums(k, a, b)) == bound
    left, right = data.draw(ints((3, m, k), *a)), data.draw(ints((3, k, j), *b))
    acc = arithmetic.matmul(left, right, w)
    assert np.array_equal(np.clip(acc, low, high), acc)
    assert np.abs(np.matmul(np.abs(left), np.abs(right))).max() <= bound
    assert max(np.abs(acc).max(), np.abs(w).max()) <= ranges.product_bound(p, *infos)


def _sums(k, a, b):
    return [k * x * y for x in a for y in b]


def test_a_matrix_times_itself_may_fall_below_zero_where_a_square_does_not():
    info = ValueInfo((2, 2), -1, 1)
    low, _ = ranges.product_reach(Product("a", "a", Matmul(np.ones((1, 1), np.int64))), info, info)
    square, _ = ranges.product_reach(Product("a", "a", Elementwise(np.ones((1, 1), np.int64))), info, info)
    assert (low.item(), square.item()) == (-2, 0)
    turned = np.array([[[-1, 1], [-1, -1]]])
    assert arithmetic.matmul(turned, turned, np.ones((1, 1), np.int64))[0, 0, 1] == -2


# -- neurons --------------------------------------------------------------------------------------------------------
@fixed
@given(st.data(), st.sampled_from(SHAPES), code_ranges)
def test_a_row_sum_keeps_its_axis_with_length_1(data, shape, codes):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    s = data.draw(ints((2, *shape), *codes))
    want = oracle.row_sum(s.tolist(), axis)
    same(arithmetic.row_sum(s, axis), want)
    same(RowSum("s", axis).apply(s), want)


def test_row_sums_of_bytes_do_not_wrap():
    assert arithmetic.row_sum(np.full((1, 3), 255, np.uint8), 0).tolist() == [[765]]


@fixed
@given(st.data(), st.sampled_from(SHAPES), st.integers(0, 14))
def test_thresholds_of_a_row_table_count_from_the_row_maximum(data, shape, n):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    acc, offset = data.draw(ints((2, *shape), -20, 20)), column(data, shape, -9, 9)
    rows = column(data, shape, 0, 1).shape
    thresholds = np.sort(data.draw(ints((*rows, n), -25, 0)), axis=-1)
    codes = data.draw(ints((n + 1,), 0, 255))
    want = oracle.fire_row_table(acc.tolist(), offset.tolist(), axis, thresholds.tolist(), codes.tolist())
    same(arithmetic.fire_row_table(acc, offset, axis, thresholds, codes), want)
    same(RowTable(thresholds, codes, offset, axis).fire(acc), want)


@fixed
@given(st.data(), st.sampled_from([(4,), (3, 4)]), st.integers(-(2**30), 2**30))
def test_a_shift_of_a_whole_row_changes_no_code_and_its_winner_passes_every_threshold(data, shape, shift):
    acc = data.draw(ints((2, *shape), -20, 20))
    ladder = RowTable(np.sort(data.draw(ints((1,) * len(shape) + (5,), -9, 0)), axis=-1), np.arange(6), np.zeros(1), -1)
    codes = ladder.fire(acc)
    assert np.array_equal(codes, ladder.fire(acc + shift))
    assert (codes.max(axis=-1) == 5).all()


@fixed
@given(st.data(), st.sampled_from(SHAPES), st.sampled_from([(0, 7), (-8, 7), (-3, 0), (-5, -2)]))
def test_a_ratio_neuron_counts_the_thresholds_scaled_by_its_row(data, shape, ends):
    acc, norm = data.draw(ints((2, *shape), -999, 999)), data.draw(ints((2, *shape[:-1], 1), -1, 30))
    theta, offset = column(data, shape, 1, 9), column(data, shape, -20, 20)
    want = oracle.fire_ratio(*(x.tolist() for x in (acc, norm, offset, theta)), *ends)
    same(arithmetic.fire_ratio(acc, norm, offset, theta, *ends), want)
    same(Ratio(theta, offset, *ends).fire(acc, norm), want)


@pytest.mark.parametrize("r", [-7, 0, 1])
def test_a_row_without_codes_counts_as_one(r):
    acc = np.array([[-4, 0, 5, 99]])
    got = arithmetic.fire_ratio(acc, np.array([[r]]), np.array([2]), np.array([5]), -1, 3)
    assert np.array_equal(got, arithmetic.fire_uniform(acc, np.array([5]), np.array([2]), -1, 3))


@fixed
@given(st.integers(-9, 9), st.integers(-30, 30), st.integers(1, 9), st.integers(1, 40), st.integers(1, 40))
def test_the_proved_range_of_a_ratio_holds_every_integer_that_it_compares(lo, offset, theta, span, top):
    ladder = Ratio(np.array([theta]), np.array([offset]), min(lo, 0), max(lo, 0))
    low, high = ranges.ratio_reach(ladder, (-span, span), top)
    compared = {a + offset * r for a in (-span, 0, span) for r in (1, top)}
    compared |= {code * theta * r for code in range(ladder.lo + 1, ladder.hi + 1) for r in (1, top)}
    compared |= {-span, span, theta * top}  # the accumulator itself, and the divisor
    assert low <= min(compared)
    assert max(compared) <= high
    assert low in {*compared, ladder.lo * theta * top, -span}


# -- normalisation --------------------------------------------------------------------------------------------------
def test_integer_roots_are_right_beside_every_kind_of_square():
    powers = 2 ** np.arange(11, 31)
    some = np.random.default_rng(0).integers(0, 2**31, 4000)
    roots = np.unique(np.concatenate([np.arange(2000), powers - 1, powers, powers + 1, some, [2**31 - 1]]))
    x = np.unique(np.concatenate([roots**2 + d for d in (-1, 0, 1, 2)] + [roots**2 + 2 * roots]))
    x = np.append(x[(x >= 0) & (x < 2**62)], 2**62 - 1)
    same(arithmetic.isqrt(x), [math.isqrt(int(v)) for v in x])


@fixed
@given(st.integers(0, 2**62 - 1))
def test_integer_roots_are_right_anywhere(x):
    assert arithmetic.isqrt(np.array([x])).tolist() == [math.isqrt(x)]


AXES = [((5,), (0,)), ((3, 4), (1,)), ((3, 4), (0,)), ((2, 3, 2), (1, 2)), ((2, 3, 2), (-1, -2))]


@fixed
@given(st.data(), st.sampled_from(AXES), st.booleans(), st.sampled_from([0, 1, 77, 2**20]), st.integers(0, 8))
def test_moments_are_deviations_and_the_root_of_the_spread(data, case, centred, epsilon, bits):
    shape, axes = case
    x = data.draw(ints((2, *shape), -300, 300))
    d, root = arithmetic.moments(x, axes, centred, epsilon, bits)
    rows = np.moveaxis(x, [a % len(shape) + 1 for a in axes], range(-len(axes), 0)).reshape(
        2, -1, d[0].size // (root[0].size)
    )
    want = [
        math.isqrt(oracle.spread_of(row, centred) * 4**bits + epsilon) for sample in rows.tolist() for row in sample
    ]
    assert root.reshape(-1).tolist() == want
    n = rows.shape[-1]
    mean = np.expand_dims(rows.sum(axis=-1), -1) if centred else 0
    found = np.moveaxis(d, [a % len(shape) + 1 for a in axes], range(-len(axes), 0)).reshape(rows.shape)
    assert np.array_equal(found, n * rows - mean)


def normalization(weights, axes, shape, gain, ladder, centred=True, epsilon=0, bits=8):
    read = tuple(Projection(f"x{i}", Identity(w)) for i, w in enumerate(weights))
    return Normalization("n", read, axes, centred, epsilon, bits, gain, ladder, shape, Origin(("n",)))


@fixed
@given(st.data(), st.sampled_from(AXES), st.booleans(), st.sampled_from([0, 5, 10**6]), st.booleans())
def test_a_normalisation_of_weighted_values_fires_what_plain_integers_fire(data, case, centred, epsilon, two):
    (shape, axes), bits = case, data.draw(st.sampled_from([0, 1, 4]))
    weights = [column(data, shape, -7, 7) for _ in range(1 + two)]
    codes = [data.draw(ints((2, *shape), -16, 15)) for _ in weights]
    gain, theta, offset = column(data, shape, -90, 90), column(data, shape, 1, 9), column(data, shape, -30, 30)
    step = normalization(weights, axes, shape, gain, Ratio(theta, offset, -6, 7), centred, epsilon, bits)
    x = sum(w * c for w, c in zip(weights, codes, strict=True))
    want = oracle.normalize(
        x.tolist(), axes, centred, epsilon, bits, gain.tolist(), offset.tolist(), theta.tolist(), -6, 7
    )
    same(step.apply(*codes), want)


def test_a_deviation_at_a_threshold_fires_and_one_below_does_not():
    """Deviations -4, -4, -4, 12; V = 48, so r = isqrt(48 << 16) = 1773."""
    for gain, code in ((1773, 1), (1772, 0)):
        step = normalization([np.array([1])], (0,), (4,), np.array([gain]), Ratio(np.array([12]), np.array([0]), 0, 9))
        assert step.apply(np.array([[0, 0, 0, 4]])).tolist() == [[0, 0, 0, code]]


def test_a_row_of_equal_numbers_is_its_offset_alone():
    ladder = Ratio(np.array([64]), np.array([32 + 64 * 3]), -16, 15)
    step = normalization([np.array([3])], (0,), (4,), np.array([64 << 8]), ladder)
    assert step.apply(np.full((1, 4), -16)).tolist() == [[3] * 4]


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(("lo", "hi"), [(0, 2), (-2, 1), (-3, 3)])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_no_codes_drive_a_normalisation_out_of_its_proved_ranges(lo, hi, n, centred):
    """Every pattern of codes. Where the range is centred and n even, or nothing is, the radicand's end is reached."""
    x = np.array(list(combinations(range(lo, hi + 1), repeat=n)))
    ladder = Ratio(np.array([5]), np.array([-7]), -3, 4)
    step = normalization([np.array([2])], (0,), (n,), np.array([-3]), ladder, centred, 11, 3)
    reach = ranges.normalization_reach(step, {"x0": ValueInfo((n,), lo, hi)})
    d, root = arithmetic.moments(2 * x, (0,), centred, 11, 3)
    radicand = [oracle.spread_of(row, centred) * 4**3 + 11 for row in (2 * x).tolist()]
    for name, seen in (("deviation", d), ("radicand", np.array(radicand)), ("root", root)):
        assert reach[name][0] <= seen.min() <= seen.max() <= reach[name][1]
    r = np.maximum(root, 1)
    compared = np.concatenate([-3 * d - 7 * r, -3 * d, *(j * 5 * r for j in range(-2, 5))], axis=1)
    assert reach["threshold"][0] <= compared.min() <= compared.max() <= reach["threshold"][1]
    if not centred or (lo == -hi and n % 2 == 0):
        assert max(radicand) == reach["radicand"][1]
        assert root.max() == reach["root"][1]


# -- files and text -------------------------------------------------------------------------------------------------
def attention():
    """One head of attention and a normalisation of two values, written by hand."""
    one, column = np.ones((1, 1), np.int64), np.array([[1], [2]])
    inputs = tuple(Encoding(n, n, (2, 3), "float32", (), one * 1.0, (2, 3), -4, 3) for n in "qkvu")
    scores = RowTable(np.array([[[-9, -5, -1]]]), np.arange(4), np.zeros((1, 1), np.int64), 1)
    steps = (
        Population("e", (), scores, (2, 2), -36, 48, Origin(("soft",)), (Product("q", "t", Matmul(one)),)),
        Population("a", (), Ratio(one * 7, one * 3, -4, 3), (2, 3), -48, 36, Origin(("dot",)),
                   (Product("e", "v", Matmul(column)),), RowSum("e", 1)),
        Normalization("n", (Projection("a", Identity(one)), Projection("u", Identity(one * 2))), (1,), True, 5, 8,
                      column, Ratio(one * 64, one * 32, -8, 7), (2, 3), Origin(("norm",))),
        Population("o", (Projection("n", Identity(one)),), Readout(one * 0), (2, 3), -8, 7, Origin(("out",))),
    )  # fmt: skip
    turned = replace(inputs[1], name="t", value="t", shape=(3, 2), model_shape=(3, 2))
    return Program((inputs[0], turned, *inputs[2:]), steps, (Decoding("y", "o", one * 1.0, (), (2, 3)),))


def test_attention_and_normalisation_come_back_from_their_files(tmp_path):
    program = attention()
    program_files.save(program, tmp_path)
    loaded = program_files.load(tmp_path)
    assert program_files.digest(loaded) == program_files.digest(program)
    assert print_program(loaded, origins=True) == print_program(program, origins=True)
    assert loaded.steps[1].norm == RowSum("e", 1)
    assert loaded.steps[2].axes == (1,)
    assert loaded.steps[2].centred is True


def test_the_text_of_a_program_says_what_a_threshold_follows():
    lines = print_program(attention()).splitlines()[4:]
    assert lines == [
        "%e : 2x2 = population Matmul(weight=1) %q * %t -> "
        "RowTable(table=[1x1x3: -9 -5 -1], codes=[4: 0 1 2 3], offset=0, axis=1) acc -36..48",
        "%a : 2x3 = population Matmul(weight=[2x1: 1 2]) %e * %v / sum of %e over 1 -> "
        "Ratio(theta=7, offset=3, lo=-4, hi=3) acc -48..36",
        "%n : 2x3 = normalization axes=(1,) epsilon=5 bits=8 gain=[2x1: 1 2] Identity(weight=1) %a + "
        "Identity(weight=2) %u -> Ratio(theta=64, offset=32, lo=-8, hi=7)",
        "%o : 2x3 = population Identity(weight=1) %n -> Readout(offset=0) acc -8..7",
        "output y = %o step 1",
    ]


@pytest.mark.parametrize(("bits", "where", "what"), [
    (8, "dot", "threshold of an adaptive threshold"), (10, "norm", "squares"), (20, "norm", "radicand"),
])  # fmt: skip
def test_a_target_with_narrow_integers_refuses_by_the_name_of_what_is_too_wide(bits, where, what):
    program = attention()
    narrow = replace(SimBackend.capabilities, row_bits=bits)
    with pytest.raises(CompileError) as caught:
        check_widths(program, "chip", narrow)
    said = str(caught.value)
    assert "SFN401" in said
    assert where in said
    assert what in said
    assert f"target chip holds {bits}" in said
    widest = ranges.normalization_reach(program.steps[2], program.values()).values()
    check_widths(program, "chip", replace(narrow, row_bits=max(ranges.bits_for(*ends) for ends in widest)))


def test_a_norm_counts_as_something_that_is_read():
    program = attention()
    assert program.consumers()["e"] == ["a"]
    assert program.steps[1].sources == ("e", "v", "e")
    assert ranges.norm_top(program.steps[1], program.values()) == 2 * 3
