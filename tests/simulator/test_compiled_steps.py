"""The fast engine computes the integers of the plain one: at the limits of floats, in pieces, in threads.

Kernels of dense maps and convolutions are compared with plain Python integers in ``test_oracle.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfn_compile.foundation.diagnostics import Origin
from sfn_compile.program import arithmetic
from sfn_compile.program.network import (
    Conv,
    Decoding,
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
    Table,
    Uniform,
)
from sfn_compile.program.ranges import driven_range
from sfn_compile.simulator import compiled_steps, kernels, run
from sfn_compile.simulator.run import run_codes
from sfn_compile.testing.conformance import CASES, SEVERAL_INPUTS, edge_inputs

from ..program.arith_examples import few, fixed, geometry, ints

Array = Any
LIMITS = {np.float32: 2**24, np.float64: 2**53}
dtypes = pytest.mark.parametrize("dtype", LIMITS)


def last(x: Array) -> Array:
    return np.moveaxis(x, 0, -1)


def first(x: Array) -> Array:
    return np.moveaxis(x, -1, 0)


# -- neurons --------------------------------------------------------------------------------------------------------
@dtypes
@fixed
@given(data=st.data())
def test_a_quotient_of_floats_has_the_floor_of_the_integers_up_to_the_limit(dtype, data):
    """Accumulators at, just below and just above multiples of theta, as far out as the proof goes."""
    top = LIMITS[dtype] - 1
    theta = data.draw(st.one_of(st.integers(1, 4096), st.integers(1, top)))
    offset = data.draw(st.integers(-min(theta, top // 2), min(theta, top // 2)))
    multiples = data.draw(st.lists(st.integers(-top // theta, top // theta), min_size=1, max_size=30))
    x = np.array([m * theta + d for m in [*multiples, top // theta, -top // theta] for d in (-1, 0, 1)])
    x = np.append(x, [top, -top])
    acc = x[np.abs(x) <= top - abs(offset)][None] - offset
    acc = acc[:, np.abs(acc[0]) + abs(offset) <= top]
    reach = data.draw(st.sampled_from([1, 31, 255, top]))
    for lo, hi in ((0, reach), (-reach - 1, reach), (-5, -2), (3, 9)):
        lo, hi = max(lo, -(2**31)), min(hi, 2**31 - 1)
        want = arithmetic.fire_uniform(acc, np.array(theta), np.array(offset), lo, hi)
        kernel = kernels.uniform(np.array(theta), np.array(offset), lo, hi, 1, dtype)
        got = kernel(last(acc).astype(dtype))
        assert np.array_equal(first(got), want)
        assert got.dtype == kernels.code_dtype(lo, hi)


@dtypes
@pytest.mark.parametrize("n", [0, 1, 5, kernels.FEW_THRESHOLDS, kernels.FEW_THRESHOLDS + 1, 300])
@pytest.mark.parametrize("lead", [(1, 1, 1), (3, 1, 1), (1,), (1, 4, 1), (3, 4, 2)])
@few
@given(data=st.data())
def test_tables_of_any_length_count_thresholds_within_the_bound_and_far_beyond_it(dtype, n, lead, data):
    bound = data.draw(st.sampled_from([7, 400, LIMITS[dtype] - 2]))
    reach = data.draw(st.sampled_from([bound, 2 * bound, 2**60]))
    thresholds = np.sort(data.draw(ints((*lead, n), -reach, reach)), axis=-1)
    codes = data.draw(ints((n + 1,), -300, 300))
    near = np.resize(np.append(thresholds.ravel(), [bound, -bound, 0]), (2, 3, 4, 2)) + data.draw(st.integers(-1, 1))
    acc = np.clip(near, -bound, bound)
    got = kernels.table(thresholds, codes, 3, bound, dtype)(last(acc).astype(dtype))
    assert np.array_equal(first(got), arithmetic.fire_table(acc, thresholds, codes))


@pytest.mark.parametrize(("lo", "hi"), [(0, 255), (0, 256), (-1, 127), (-129, 0), (-(2**15), 2**15), (0, 2**31)])
def test_codes_are_kept_in_a_type_that_holds_them_and_no_larger_one(lo, hi):
    limits = np.iinfo(kernels.code_dtype(lo, hi))
    assert limits.min <= lo <= hi <= limits.max
    smaller = [t for t in (np.uint8, np.int8, np.int16, np.int32) if np.iinfo(t).bits < limits.bits]
    assert not any(np.iinfo(t).min <= lo and hi <= np.iinfo(t).max for t in smaller)


# -- maps and pools -------------------------------------------------------------------------------------------------
@fixed
@given(st.data(), st.integers(1, 2), st.sampled_from([(0, 15), (-128, 127), (-9, -2)]))
def test_pools_one_axis_after_the_other_are_pools_over_windows(data, n_axes, ends):
    g = data.draw(geometry(n_axes))
    lo, hi = ends
    s = data.draw(ints((2, 2, *g["space"]), lo, hi)).astype(kernels.code_dtype(lo, hi))
    how = (g["kernel"], g["strides"], g["pads"], g["dilations"], lo)
    assert np.array_equal(first(kernels.max_pool(*how)(last(s))), arithmetic.max_pool(s, *how))
    w = data.draw(ints((2, *(1,) * n_axes), -99, 99))
    space, plain = (g["kernel"], g["strides"], g["pads"]), g["pads"]
    if all(x + sum(p) >= k for x, p, k in zip(g["space"], plain, g["kernel"], strict=True)):
        got = kernels.sum_pool(*space, w, np.float32)(last(s))
        assert np.array_equal(first(got), arithmetic.sum_pool(s, *space, w))


@fixed
@given(st.data(), st.sampled_from([(4,), (2, 3), (2, 2, 2)]))
def test_element_by_element_kernels_are_those_of_the_plain_engine(data, shape):
    s = data.draw(ints((3, *shape), -128, 127))
    w = data.draw(ints(shape, -127, 127))
    index = data.draw(ints((2, 3), -1, int(np.prod(shape)) - 1))
    rank = len(shape)
    assert np.array_equal(first(kernels.identity(w, rank, np.float32)(last(s))), arithmetic.identity(s, w))
    assert np.array_equal(first(kernels.product(w, rank, np.float32)(last(s), last(s))), arithmetic.product(s, s, w))
    one = np.array(7)
    assert np.array_equal(first(kernels.gather(index, one, np.float32)(last(s))), arithmetic.gather(s, index, one))


@pytest.mark.parametrize("make", [
    lambda x: kernels.identity(np.array(1), 2, np.float32)(x),
    lambda x: kernels.sum_pool((1,), (1,), ((0, 0),), np.array(1), np.float32)(x),
    lambda x: kernels.gather(np.arange(6).reshape(2, 3), np.array(1), np.float32)(x),
    lambda x: kernels.dense(np.eye(3), np.float32)(x),
    lambda x: kernels.conv(np.eye(2)[..., None], (1,), ((0, 0),), (1,), 1, np.float32)(x),
    lambda x: kernels.max_pool((1,), (1,), ((0, 0),), (1,), 0)(x),
])  # fmt: skip
def test_a_kernel_returns_an_array_of_its_own(make):
    """Ladders write into accumulators: a value that others still read must not be among them."""
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    assert not np.shares_memory(make(x), x)
    assert np.array_equal(make(x), x)


# -- whole populations ----------------------------------------------------------------------------------------------
def population(maps: list[Any], ladder: Any, shape: tuple[int, ...], lo: int, hi: int, product: Any = None) -> Program:
    """A program of one population that reads the input ``x``."""
    source = Encoding("x", "x", shape, "float32", (), np.ones(()), shape, lo, hi)
    projections = tuple(Projection("x", m) for m in maps)
    products = () if product is None else (Product("x", "x", product),)
    low, high = driven_range(projections, products, Program((source,), (), ()).values())
    out = maps[0].out_shape(shape)
    step = Population("y", projections, ladder, out, int(low.min()), int(high.max()), Origin(("y",)), products)
    return Program((source,), (step,), (Decoding("y", "y", np.ones(()), (), out),))


@pytest.mark.parametrize("limit", LIMITS.values())
@pytest.mark.parametrize("short", [-1, 0, 1])
@few
@given(data=st.data())
def test_two_projections_and_a_product_are_exact_where_their_sum_stands_at_a_limit(limit, short, data):
    """Each part alone is far below the limit; what decides is the sum with the offset."""
    shape, top = (2, 3), 3
    third = (limit + short) // 3
    maps = [Identity(np.full((1, 1), third // top)), Identity(data.draw(ints((2, 1), -third // top, third // top)))]
    gate = Elementwise(np.full((1, 1), third // top**2))
    offset = np.array([[data.draw(st.integers(-9, 9))]])
    thresholds = np.sort(data.draw(ints((2, 1, 9), -limit, limit)), axis=-1)
    uniform = Uniform(np.array([[max(third // 7, 1) | 1]]), offset, -99, 99)
    ladder = data.draw(st.sampled_from([uniform, Table(thresholds, np.arange(10)), Readout(offset)]))
    program = population(maps, ladder, shape, -top, top, gate)
    x = {"x": data.draw(ints((5, *shape), -top, top))}
    got, want = run_codes(program, x), run_codes(program, x, engine="reference")
    assert np.array_equal(got["y"], want["y"])
    assert got["y"].dtype == want["y"].dtype


@pytest.mark.parametrize(
    ("weight", "offset", "dtype"),
    [(2**22, 0, "float32"), (2**23 - 1, 1, "float32"), (2**23 - 1, 2, "float64"), (2**23, 0, "float64"),
     (2**52 - 1, 1, "float64"), (2**52, 0, "int64")],
)  # fmt: skip
def test_a_population_is_computed_in_the_smallest_type_that_its_bound_allows(weight, offset, dtype, monkeypatch):
    """Codes up to 2, so the accumulator reaches twice the weight."""
    seen = []
    original = kernels.dense
    monkeypatch.setattr(kernels, "dense", lambda w, t: seen.append(t.__name__) or original(w, t))
    ladder = Uniform(np.array([3]), np.array([offset]), 0, 31)
    program = population([Dense(np.array([[weight]]))], ladder, (1,), 0, 2)
    assert run_codes(program, {"x": np.array([[0], [1], [2]])})["y"].tolist() == [[offset // 3], [31], [31]]
    assert seen == [dtype]


def test_the_bound_of_all_five_maps_and_a_product_covers_what_the_worst_input_reaches():
    rng = np.random.default_rng(0)
    w = rng.integers(-9, 9, (2, 2, 3))
    maps = [Dense(rng.integers(-9, 9, (4, 4))), Conv(w, (1,), ((1, 1),), (1,)), Identity(rng.integers(-9, 9, (2, 4))),
            SumPool((3,), (1,), ((1, 1),), np.array([[5], [-7]])),
            Gather(rng.integers(-1, 8, (2, 4)), rng.integers(-9, 9, (2, 4)))]  # fmt: skip
    program = population(maps, Readout(np.array(0)), (2, 4), -3, 2, Elementwise(np.array([[4]])))
    bound = compiled_steps.accumulator_bound(next(program.populations()), program.values())
    x = {"x": rng.choice([-3, 0, 2], (500, 2, 4))}
    assert np.abs(run_codes(program, x, engine="reference")["y"]).max() <= bound
    assert np.array_equal(run_codes(program, x)["y"], run_codes(program, x, engine="reference")["y"])


# -- pieces and threads ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("case", CASES + SEVERAL_INPUTS, ids=str)
@pytest.mark.parametrize(("threads", "cached"), [(1, 0), (2, 0), (3, 1 << 30)])
def test_pieces_and_threads_change_no_integer(case, threads, cached, monkeypatch):
    monkeypatch.setattr(run, "CACHED_BYTES", cached)
    program = case.make()
    inputs = edge_inputs(program, 30)
    got = run_codes(program, inputs, threads=threads)
    want = run_codes(program, inputs, engine="reference", threads=1)
    for name in program.values():
        assert np.array_equal(got[name], want[name]), name
        assert got[name].dtype == want[name].dtype, name


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_no_samples_give_no_answers(engine):
    program = CASES[0].make()
    inputs = {k: v[:0] for k, v in edge_inputs(program).items()}
    assert all(len(v) == 0 for v in run_codes(program, inputs, engine=engine).values())


def test_the_values_given_are_not_written_into():
    program = CASES[0].make()
    inputs = edge_inputs(program)
    before = {k: v.copy() for k, v in inputs.items()}
    run_codes(program, inputs)
    assert all(np.array_equal(inputs[k], v) for k, v in before.items())


def test_a_network_too_wide_for_the_cache_is_computed_in_pieces_that_fit_the_memory():
    assert run._samples_at_a_time(1) == run.MOST
    assert run._samples_at_a_time(run.CACHED_BYTES) == run.WORTHWHILE
    assert run._samples_at_a_time(run.HELD_BYTES // 3) == 3
    assert run._samples_at_a_time(2 * run.HELD_BYTES) == 1


def test_kernels_are_made_once_per_program(monkeypatch):
    made = []
    original = compiled_steps.prepare
    monkeypatch.setattr(compiled_steps, "prepare", lambda *a: made.append(1) or original(*a))
    program = CASES[0].make()
    for _ in range(3):
        run_codes(program, edge_inputs(program))
    assert made == [1]
