"""The range proof: no input leaves it, and where it is said to be exact an input reaches both ends."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfn_compile.foundation.diagnostics import Origin
from sfn_compile.program import ranges
from sfn_compile.program.network import (
    Conv,
    Dense,
    Elementwise,
    Encoding,
    Gather,
    Identity,
    Population,
    Product,
    Program,
    Projection,
    Readout,
    SumPool,
    Uniform,
    ValueInfo,
)
from sfn_compile.simulator.run import run_codes
from sfn_compile.testing.conformance import CASES, SEVERAL_INPUTS, edge_inputs

from .arith_examples import fixed, geometry, ints

CODES = [(0, 1), (0, 255), (-8, 7), (-128, 127), (-9, -2), (3, 9), (0, 0)]


@st.composite
def linear_case(draw):
    """(map, what is known of its source) of every kind."""
    kind = draw(st.sampled_from(["dense", "conv", "grouped", "sum_pool", "identity", "gather"]))
    lo, hi = draw(st.sampled_from(CODES))
    if kind == "dense":
        shape = draw(st.sampled_from([(4,), (2, 4)]))
        return Dense(draw(ints((3, 4), -127, 127))), ValueInfo(shape, lo, hi)
    if kind in ("identity", "gather"):
        shape, weight = (2, 3), draw(ints(draw(st.sampled_from([(2, 3), (2, 1), (1, 1)])), -99, 99))
        index = draw(ints(shape, -1, 5))
        return (Identity(weight) if kind == "identity" else Gather(index, weight)), ValueInfo(shape, lo, hi)
    g = draw(geometry(draw(st.integers(1, 2)), dilated=kind != "sum_pool"))
    if kind == "sum_pool":
        weight = draw(ints((2, *(1,) * len(g["kernel"])), -99, 99))
        return SumPool(g["kernel"], g["strides"], g["pads"], weight), ValueInfo((2, *g["space"]), lo, hi)
    groups = 2 if kind == "grouped" else 1
    weight = draw(ints((4, 2 // groups, *g["kernel"]), -127, 127))
    return Conv(weight, g["strides"], g["pads"], g["dilations"], groups), ValueInfo((2, *g["space"]), lo, hi)


@fixed
@given(linear_case(), st.data())
def test_no_input_drives_an_accumulator_out_of_its_proved_range(case, data):
    linear, info = case
    low, high = ranges.reach(linear, info)
    s = data.draw(ints((4, *info.shape), info.lo, info.hi))
    acc = linear.apply(s)
    assert np.array_equal(np.clip(acc, low, high), acc)


@fixed
@given(linear_case(), st.data())
def test_no_accumulator_exceeds_the_absolute_bound(case, data):
    linear, info = case
    s = data.draw(ints((4, *info.shape), info.lo, info.hi))
    assert np.abs(linear.apply(s)).max() <= ranges.absolute_bound(linear, info)


@fixed
@given(st.data(), st.sampled_from(CODES), st.sampled_from([(5,), (2, 5)]))
def test_both_ends_of_a_dense_range_are_reached(data, codes, shape):
    lo, hi = codes
    dense = Dense(data.draw(ints((3, 5), -127, 127)))
    low, high = ranges.reach(dense, ValueInfo(shape, lo, hi))
    for o in range(3):
        most = np.broadcast_to(np.where(dense.weight[o] > 0, hi, lo), (1, *shape))
        least = np.broadcast_to(np.where(dense.weight[o] > 0, lo, hi), (1, *shape))
        assert (dense.apply(most)[..., o] == high[o]).all()
        assert (dense.apply(least)[..., o] == low[o]).all()


@fixed
@given(st.data(), st.sampled_from(CODES), st.integers(1, 2), st.sampled_from([1, 2]))
def test_both_ends_of_an_unpadded_convolution_range_are_reached(data, codes, n_axes, groups):
    lo, hi = codes
    kernel = tuple(data.draw(st.integers(1, 3)) for _ in range(n_axes))
    weight = data.draw(ints((4, 4 // groups, *kernel), -127, 127))
    conv = Conv(weight, (1,) * n_axes, ((0, 0),) * n_axes, (1,) * n_axes, groups)
    low, high = ranges.reach(conv, ValueInfo((4, *kernel), lo, hi))
    for o in range(4):
        first = o // (4 // groups) * (4 // groups)
        most = np.full((1, 4, *kernel), lo)
        most[0, first : first + 4 // groups] = np.where(weight[o] > 0, hi, lo)
        assert conv.apply(most).reshape(4)[o] == high.reshape(4)[o]
        least = np.full((1, 4, *kernel), lo)
        least[0, first : first + 4 // groups] = np.where(weight[o] > 0, lo, hi)
        assert conv.apply(least).reshape(4)[o] == low.reshape(4)[o]


def test_padding_widens_the_range_to_zero_only_where_there_is_padding():
    weight, info = np.array([[[2, 3]]]), ValueInfo((1, 4), 5, 9)
    inside = ranges.reach(Conv(weight, (1,), ((0, 0),), (1,)), info)
    padded = ranges.reach(Conv(weight, (1,), ((1, 0),), (1,)), info)
    assert [int(x.item()) for x in inside] == [25, 45]
    assert [int(x.item()) for x in padded] == [0, 45]


@pytest.mark.parametrize(("lo", "hi", "want"), [(5, 9, (0, 36)), (-9, -5, (-36, 0))])
def test_a_padded_sum_pool_may_read_only_padding(lo, hi, want):
    pool = SumPool((2,), (1,), ((2, 0),), np.array([[2]]))
    assert tuple(int(x.item()) for x in ranges.reach(pool, ValueInfo((1, 4), lo, hi))) == want


def test_ranges_of_projections_into_one_population_add_up():
    info = ValueInfo((2,), -3, 4)
    maps = [(Identity(np.array([2, -1])), info), (Dense(np.array([[1, 1], [0, -5]])), info)]
    low, high = ranges.accumulator_range(maps)
    assert low.tolist() == [-6 - 6, -4 - 20]
    assert high.tolist() == [8 + 8, 3 + 15]


SMALL = [(lo, hi) for lo in range(-3, 4) for hi in range(lo, 4)]


@pytest.mark.parametrize("weights", [[5], [-4], [3, -2], [0]])
def test_a_product_reaches_both_ends_of_its_range_and_nothing_beyond(weights):
    """Every code of either factor, for all ranges within -3..3: no input is left out."""
    form = Elementwise(np.array(weights))
    for a, b in product(SMALL, SMALL):
        left, right = (np.arange(lo, hi + 1) for lo, hi in (a, b))
        pairs = np.array(list(product(left, right)))
        values = form.apply(np.repeat(pairs[:, :1], len(weights), 1), np.repeat(pairs[:, 1:], len(weights), 1))
        shape = (len(weights),)
        low, high = ranges.product_reach(Product("a", "b", form), ValueInfo(shape, *a), ValueInfo(shape, *b))
        assert values.min(axis=0).tolist() == low.tolist(), (a, b)
        assert values.max(axis=0).tolist() == high.tolist(), (a, b)


@pytest.mark.parametrize("weight", [5, -4])
def test_a_square_reaches_both_ends_of_its_range_and_nothing_beyond(weight):
    form = Elementwise(np.array([weight]))
    for codes in SMALL:
        values = np.arange(codes[0], codes[1] + 1).reshape(-1, 1)
        info = ValueInfo((1,), *codes)
        low, high = ranges.product_reach(Product("a", "a", form), info, info)
        squares = form.apply(values, values)
        assert (squares.min(), squares.max()) == (low.item(), high.item()), codes


def test_ranges_of_products_add_up_with_those_of_projections():
    known = {"a": ValueInfo((2, 1), -3, 4), "b": ValueInfo((2, 2), 0, 5)}
    gate = Product("a", "b", Elementwise(np.array([[2], [-1]])))
    skip = Projection("b", Identity(np.array([[10]])))
    low, high = ranges.driven_range([skip], [gate, Product("b", "b", Elementwise(np.array([[-1]])))], known)
    assert np.broadcast_to(low, (2, 2)).tolist() == [[-30 - 25] * 2, [-20 - 25] * 2]
    assert np.broadcast_to(high, (2, 2)).tolist() == [[50 + 40] * 2, [50 + 15] * 2]


@pytest.mark.parametrize("case", CASES + SEVERAL_INPUTS, ids=str)
def test_a_population_states_the_range_that_its_weights_prove(case):
    program = case.make()
    known = program.values()
    values = run_codes(program, edge_inputs(program, 20))
    for population in program.populations():
        assert ranges.check_population(population, known) == (population.acc_min, population.acc_max)
    for name, info in known.items():
        assert info.lo <= values[name].min()
        assert values[name].max() <= info.hi
        assert values[name].shape[1:] == info.shape


def test_a_readout_value_ranges_over_accumulator_plus_offset():
    encoding = Encoding("x", "x", (2,), "float32", (), np.ones(1), (2,), 0, 9)
    scale = Projection("x", Identity(np.array([1, -2])))
    readout = Population("y", (scale,), Readout(np.array([5, -7])), (2,), -18, 9, Origin())
    info = Program((encoding,), (readout,), ()).values()["y"]
    assert (info.lo, info.hi) == (-18 - 7, 9 + 5)


def test_a_population_ranges_over_its_ladder_whatever_its_accumulator():
    encoding = Encoding("x", "x", (2,), "float32", (), np.ones(1), (2,), 0, 9)
    ladder = Uniform(np.array([1]), np.array([0]), -1, 3)
    wide = Population("y", (Projection("x", Identity(np.array([99]))),), ladder, (2,), 0, 891, Origin())
    info = Program((encoding,), (wide,), ()).values()["y"]
    assert (info.lo, info.hi) == (-1, 3)


def test_the_width_of_a_range_is_the_least_that_holds_both_ends():
    for lo in range(-70, 71):
        for hi in range(lo, 71):
            bits = next(b for b in range(1, 20) if -(2 ** (b - 1)) <= lo and hi <= 2 ** (b - 1) - 1)
            assert ranges.bits_for(lo, hi) == bits, (lo, hi)
