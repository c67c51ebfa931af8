"""Legalisation folds every move away and changes no integer: the conformance suite, and random chains of moves."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import pytest
from arith_examples import few, ints
from hypothesis import given, settings
from hypothesis import strategies as st

from sfn_compile import legalize as lg
from sfn_compile.backend import Capabilities
from sfn_compile.diagnostics import CompileError, Origin
from sfn_compile.execute import accumulate, run_codes
from sfn_compile.program import (
    MOVES,
    Concat,
    Conv,
    Decoding,
    Dense,
    Elementwise,
    Encoding,
    Gather,
    Identity,
    MaxPool,
    Move,
    Pad,
    Population,
    Product,
    Program,
    Projection,
    Readout,
    Reshape,
    Slice,
    SumPool,
    Take,
    Transpose,
)
from sfn_compile.testing.conformance import CASES, SEVERAL_INPUTS, Builder, edge_inputs

ALL = frozenset({"Dense", "Conv", "SumPool", "Identity", "Gather"})
NO_MOVES = Capabilities(ALL, frozenset({"Reshape"}), max_pool=True, acc_bits=24, weight_bits=8,
                        products=frozenset({"Elementwise"}))  # fmt: skip


def kinds(program: Program) -> list[str]:
    """The projections of all populations, by class name."""
    return [type(p.map).__name__ for population in program.populations() for p in population.projections]


def equal_after_legalisation(program: Program) -> Program:
    """Return the legal Program after checking that it is one, and that it computes the same integers."""
    legal = lg.legalize(program, "test", NO_MOVES)
    assert {e.value for e in legal.inputs} == {e.value for e in program.inputs}
    readers = legal.consumers()
    by_name = {step.name: step for step in legal.steps}
    assert len(by_name) == len(legal.steps)
    for step in legal.steps:
        if isinstance(step, Move):
            assert isinstance(step.op, Reshape)
            assert len(step.shape) == 1
            assert not any(step.name in (p.left, p.right) for r in readers[step.name] for p in by_name[r].products)
            reading = [p for r in readers[step.name] for p in by_name[r].projections if p.source == step.name]
            assert all(isinstance(p.map, Dense) for p in reading)
    inputs = {e.value: np.clip(edge_inputs(program)[e.value], e.lo, e.hi) for e in program.inputs}
    want, got, info = run_codes(program, inputs), run_codes(legal, inputs, engine="reference"), legal.values()
    for population in program.populations():
        assert np.array_equal(got[population.name], want[population.name]), population.name
    for before, after in zip(program.outputs, legal.outputs, strict=True):
        assert np.array_equal(got[after.value], want[before.value]), before.name
        assert info[after.value].shape == before.shape
    for population in legal.populations():
        acc = accumulate(population, got, info)
        assert population.acc_min <= acc.min()
        assert acc.max() <= population.acc_max
        assert got[population.name].shape[1:] == population.shape
        for p in population.projections:
            assert p.map.out_shape(info[p.source].shape) == population.shape
        for q in population.products:
            assert q.form.out_shape(info[q.left].shape, info[q.right].shape) == population.shape
    return legal


# -- the conformance suite ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("case", CASES + SEVERAL_INPUTS, ids=str)
def test_a_legalised_case_computes_the_same_integers(case):
    legal = equal_after_legalisation(case.make())
    lg.check_widths(legal, "test", NO_MOVES)


@pytest.mark.parametrize("case", CASES + SEVERAL_INPUTS, ids=str)
def test_legalising_twice_changes_nothing_more(case):
    legal = lg.legalize(case.make(), "test", NO_MOVES)
    again = lg.legalize(legal, "test", NO_MOVES)
    assert kinds(again) == kinds(legal)
    equal_after_legalisation(legal)


@pytest.mark.parametrize("case", CASES + SEVERAL_INPUTS, ids=str)
def test_a_target_with_every_move_gets_the_program_as_it_is(case):
    program = case.make()
    every = replace(NO_MOVES, moves=MOVES, weight_bits=32)
    assert lg.legalize(program, "test", every) is program


# -- random chains of moves -----------------------------------------------------------------------------------------
def factorisations(n: int) -> list[tuple[int, ...]]:
    """Every shape of one to three axes with n elements."""
    two = [(a, n // a) for a in range(1, n + 1) if n % a == 0]
    return [(n,), *two, *((a, *rest) for a, b in two for rest in factor_pairs(b))]


def factor_pairs(n: int) -> list[tuple[int, int]]:
    return [(a, n // a) for a in range(1, n + 1) if n % a == 0]


def without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The lengths of all axes but one: what values joined along it have in common."""
    return (*shape[:axis], *shape[axis + 1 :])


@st.composite
def move_of(draw, shapes: dict[str, tuple[int, ...]], value: str, gentle: bool):
    """(move, its sources): of whole channels and margins where ``gentle``, of anything otherwise."""
    shape = shapes[value]
    n_axes = len(shape)
    kind = draw(st.sampled_from(["slice", "pad", "concat", "take", *([] if gentle else ["transpose", "reshape"])]))
    if kind == "transpose":
        return Transpose(tuple(draw(st.permutations(range(n_axes))))), (value,)
    if kind == "reshape":
        return Reshape(draw(st.sampled_from(factorisations(prod(shape))))), (value,)
    if kind == "take":
        axis = 0 if gentle else draw(st.integers(0, n_axes - 1))
        picked = draw(st.lists(st.integers(0, shape[axis] - 1), min_size=1, max_size=5))
        return Take(axis, tuple(picked)), (value,)
    if kind == "slice":
        cut = []
        for axis, n in enumerate(shape):
            whole = gentle and (axis > 0 or draw(st.booleans()))
            start = 0 if whole else draw(st.integers(0, n - 1))
            stop = n if whole else draw(st.integers(start + 1, n))
            cut.append((start, stop, 1 if whole else draw(st.sampled_from([1, 1, 2, 3]))))
        return Slice(tuple(cut)), (value,)
    if kind == "pad":
        return Pad(tuple((draw(st.integers(0, 1)), draw(st.integers(0, 2))) for _ in shape)), (value,)
    axis = 0 if gentle else draw(st.integers(0, n_axes - 1))
    fits = [v for v, s in shapes.items() if len(s) == n_axes and without(s, axis) == without(shape, axis)]
    others = draw(st.lists(st.sampled_from(fits), min_size=1, max_size=2))
    return Concat(axis), tuple(draw(st.permutations([value, *others])))


@st.composite
def linear_reader(draw, shape: tuple[int, ...]):
    """A linear map that can read a value of ``shape``."""
    windows = ["conv", "conv", "grouped", "sum_pool"] if len(shape) in (2, 3) else []
    kind = draw(st.sampled_from(["identity", "dense", "gather", *windows]))
    ones = (1,) * (len(shape) - 1)
    if kind == "identity":
        return Identity(draw(ints(draw(st.sampled_from([(1, *ones), (shape[0], *ones), shape])), -9, 9)))
    if kind == "dense":
        return Dense(draw(ints((3, shape[-1]), -9, 9)))
    if kind == "gather":
        out = draw(st.sampled_from([(4,), (2, 3), (2, 2, 2)]))
        return Gather(draw(ints(out, -1, prod(shape) - 1)), draw(ints(out, -9, 9)))
    space = shape[1:]
    kernel = tuple(draw(st.integers(1, min(n, 3))) for n in space)
    strides = tuple(draw(st.integers(1, 2)) for _ in space)
    pads = tuple((draw(st.integers(0, 1)), draw(st.integers(0, 1))) for _ in space)
    if kind == "sum_pool":
        return SumPool(kernel, strides, pads, draw(ints((shape[0], *(1,) * len(space)), -9, 9)))
    groups = draw(st.sampled_from([g for g in range(1, shape[0] + 1) if shape[0] % g == 0])) if kind == "grouped" else 1
    weight = draw(ints((groups * draw(st.integers(1, 2)), shape[0] // groups, *kernel), -9, 9))
    return Conv(weight, strides, pads, (1,) * len(space), groups)


@st.composite
def moved_program(draw):
    """Two or three values of one shape, a chain of moves over them, then readers of every kind and moved outputs."""
    shape = tuple(draw(st.integers(1, 4)) for _ in range(draw(st.integers(1, 3))))
    lo, hi = draw(st.sampled_from([(0, 15), (-8, 7), (-9, -2), (3, 9)]))
    b = Builder(shape, lo, hi, seed=draw(st.integers(0, 99)))
    shapes = {"x": shape}
    for i in range(draw(st.integers(0, 2))):
        low = draw(st.integers(-4, 2))
        weight = b.weights(shape[0], *(1,) * (len(shape) - 1), top=9)
        b.fire(f"a{i}", Projection("x", Identity(weight)), lo=low, hi=low + draw(st.integers(1, 7)))
        shapes[f"a{i}"] = shape
    gentle = draw(st.booleans())
    value = draw(st.sampled_from(list(shapes)))
    for i in range(draw(st.integers(1, 4))):
        op, sources = draw(move_of(shapes, value, gentle))
        value = b.move(f"m{i}", op, *sources)
        shapes[value] = b.info(value).shape
        if prod(shapes[value]) > 400:
            break
    for i in range(draw(st.integers(1, 2))):
        read = draw(st.sampled_from([value, *shapes])) if i else value
        kind = draw(st.sampled_from(["uniform", "readout"]))
        b.fire(f"r{i}", Projection(read, draw(linear_reader(shapes[read]))), kind=kind)
    if len(shapes[value]) in (2, 3) and draw(st.booleans()):
        space = shapes[value][1:]
        kernel, ones = tuple(min(2, n) for n in space), (1,) * len(space)
        b.max_pool("p", value, kernel, ones, tuple((draw(st.integers(0, k - 1)), 0) for k in kernel))
        b.fire("q", Projection("p", Identity(np.ones((1,) * len(shapes[value]), np.int64))), lo=-9, hi=15)
    program = b.build("r0")
    moved = Decoding("moved", value, np.ones(()), (), shapes[value])
    return replace(program, outputs=(*program.outputs, moved)) if draw(st.booleans()) else program


@settings(few, max_examples=600)
@given(moved_program())
def test_any_chain_of_moves_before_any_reader_is_folded_without_changing_an_integer(program):
    equal_after_legalisation(program)


@settings(few, max_examples=200)
@given(st.data(), st.integers(1, 2), st.booleans())
def test_whole_channels_from_several_sources_are_one_convolution_each(data, n_axes, padded):
    space = tuple(data.draw(st.integers(2, 4)) for _ in range(n_axes))
    b = Builder((3, *space), -8, 7, seed=data.draw(st.integers(0, 99)))
    b.fire("a", Projection("x", Identity(b.weights(3, *(1,) * n_axes, top=9))), lo=-2, hi=5)
    parts = []
    for i in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, 2))
        stop = data.draw(st.integers(start + 1, 3))
        cut = Slice(((start, stop, data.draw(st.integers(1, 2))), *((0, n, 1) for n in space)))
        parts.append(b.move(f"s{i}", cut, data.draw(st.sampled_from(["x", "a"]))))
    joined = b.move("j", Concat(0), *parts)
    if padded:
        margins = tuple((data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))) for _ in range(n_axes))
        joined = b.move("p", Pad(((1, 0), *margins)), joined)
    n = b.info(joined).shape[0]
    groups = data.draw(st.sampled_from([g for g in range(1, n + 1) if n % g == 0]))
    weight = b.weights(groups * 2, n // groups, *(2,) * n_axes, top=9)
    strides, pads = (data.draw(st.integers(1, 2)),) * n_axes, ((1, 0),) * n_axes
    b.fire("y", Projection(joined, Conv(weight, strides, pads, (1,) * n_axes, groups)))
    legal = equal_after_legalisation(b.build("y"))
    assert kinds(legal)[1:] == ["Conv"] * len({b.steps[1 + i].sources for i in range(len(parts))})


@settings(few, max_examples=200)
@given(st.data(), st.integers(1, 2))
def test_a_strided_shortcut_is_a_1x1_convolution_where_it_starts_at_the_first_pixel(data, n_axes):
    space = tuple(data.draw(st.integers(1, 7)) for _ in range(n_axes))
    steps = tuple(data.draw(st.integers(1, 3)) for _ in range(n_axes))
    starts = tuple(data.draw(st.integers(0, min(1, n - 1))) for n in space)
    margin = (data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2)))
    b = Builder((3, *space), -8, 7)
    b.move("s", Slice(((0, 3, 1), *((a, n, s) for a, n, s in zip(starts, space, steps, strict=True)))), "x")
    b.move("p", Pad((margin, *((0, 0),) * n_axes)), "s")
    n_out = 3 + sum(margin)
    weight = b.weights(*data.draw(st.sampled_from([(1,), (n_out,)])), *(1,) * n_axes, top=9)
    b.fire("y", Projection("p", Identity(weight)), lo=-9, hi=9)
    (kind,) = kinds(equal_after_legalisation(b.build("y")))
    untouched = margin == (0, 0) and set(steps) == {1} and not any(starts)
    if untouched:
        assert kind == "Identity"
    elif not any(starts) and all(s == 1 or n % s == 0 for n, s in zip(space, steps, strict=True)):
        assert kind == "Conv"


# -- what each pattern becomes --------------------------------------------------------------------------------------
def shortcut(weight, cut, pads) -> Program:
    b = Builder((4, 8, 8))
    b.move("s", Slice(cut), "x")
    b.move("p", Pad(pads), "s")
    b.fire("y", Projection("p", Identity(weight)))
    return b.build("y")


EVEN = ((0, 4, 1), (0, 8, 2), (0, 8, 2))
CHANNELS = ((2, 2), (0, 0), (0, 0))


def test_the_resnet_shortcut_becomes_one_strided_convolution():
    legal = equal_after_legalisation(shortcut(np.full((1, 1, 1), 9), EVEN, CHANNELS))
    (population,) = legal.populations()
    (projection,) = population.projections
    assert projection.source == "x"
    assert projection.map.strides == (2, 2)
    assert projection.map.weight.shape == (8, 4, 1, 1)
    assert np.array_equal(projection.map.weight[:, :, 0, 0], 9 * np.eye(8, 4, k=-2))


@pytest.mark.parametrize(
    ("weight", "cut", "pads"),
    [
        (np.full((1, 1, 1), 9), ((0, 4, 1), (1, 8, 2), (0, 8, 2)), CHANNELS),  # starts at the second pixel
        (np.full((1, 1, 1), 9), ((0, 4, 1), (0, 7, 3), (0, 4, 1)), CHANNELS),  # a corner only
        (np.full((1, 1, 1), 9), EVEN, ((2, 2), (1, 0), (0, 0))),  # a margin of zeros around the pixels
        (np.arange(16).reshape(1, 4, 4), EVEN, CHANNELS),  # another weight for every pixel
        (np.arange(4).reshape(1, 4, 1), EVEN, CHANNELS),  # another weight for every row
    ],
)
def test_a_shortcut_that_is_no_strided_convolution_becomes_a_gather(weight, cut, pads):
    assert kinds(equal_after_legalisation(shortcut(weight, cut, pads))) == ["Gather"]


def test_a_flatten_before_a_dense_stays_and_its_columns_are_not_touched():
    b = Builder((2, 3))
    b.move("f", Reshape((6,)), "x")
    weight = b.weights(4, 6)
    b.fire("y", Projection("f", Dense(weight)))
    legal = equal_after_legalisation(b.build("y"))
    assert np.array_equal(next(legal.populations()).projections[0].map.weight, weight)


def test_a_dense_after_a_transpose_has_its_columns_permuted_and_needs_no_relay():
    b = Builder((2, 3))
    b.move("t", Transpose((1, 0)), "x")
    b.move("f", Reshape((6,)), "t")
    b.fire("y", Projection("f", Dense(b.weights(4, 6))))
    assert [p.name for p in equal_after_legalisation(b.build("y")).populations()] == ["y"]


def test_a_dense_that_reads_one_neuron_twice_adds_the_weights():
    b = Builder((3,))
    b.move("j", Concat(0), "x", "x")
    b.fire("y", Projection("j", Dense(np.array([[1, 2, 3, 10, 20, 30]]))))
    (y,) = equal_after_legalisation(b.build("y")).populations()
    assert sum(p.map.weight for p in y.projections).tolist() == [[11, 22, 33]]


def test_a_dense_that_takes_one_neuron_twice_adds_the_weights():
    b = Builder((3,))
    b.move("t", Take(0, (2, 0, 2)), "x")
    b.fire("y", Projection("t", Dense(np.array([[1, 2, 30]]))))
    (y,) = equal_after_legalisation(b.build("y")).populations()
    assert [p.map.weight.tolist() for p in y.projections] == [[[2, 0, 31]]]


@pytest.mark.parametrize("n", [2, 3])
def test_added_weights_that_pass_the_targets_bits_are_split_between_projections(n):
    """127 twice is 254: no weight of 8 bits, but two of them."""
    b = Builder((2, 3, 3), lo=-8, hi=7)
    b.move("t", Take(0, (1,) * n), "x")
    b.fire("c", Projection("t", Conv(np.full((2, n, 2, 2), -127), (1, 1), ((0, 0), (0, 0)), (1, 1))))
    b.move("f", Take(0, (5,) * n), b.move("r", Reshape((8,)), "c"))
    b.fire("y", Projection("f", Dense(np.full((1, n), 127))))
    legal = equal_after_legalisation(b.build("y"))
    assert kinds(legal) == ["Conv"] * n + ["Dense"] * n
    lg.check_widths(legal, "test", NO_MOVES)


@pytest.mark.parametrize(("lo", "relay"), [(0, []), (-8, ["p.relay"])])
def test_zero_padding_before_a_max_pool_is_its_own_padding_where_no_code_is_negative(lo, relay):
    b = Builder((2, 4, 4), lo=lo, hi=7)
    b.move("p", Pad(((0, 0), (1, 1), (0, 1))), "x")
    b.max_pool("m", "p", (3, 3), (2, 2))
    b.fire("y", Projection("m", Identity(np.array([[[1]]]))), lo=-8, hi=7)
    assert [p.name for p in equal_after_legalisation(b.build("y")).populations()] == [*relay, "y"]


def test_a_margin_of_zeros_becomes_padding_of_the_convolution():
    b = Builder((2, 4, 4), lo=-8, hi=7)
    b.move("p", Pad(((0, 0), (1, 0), (0, 2))), "x")
    b.fire("y", Projection("p", Conv(b.weights(4, 1, 3, 3), (1, 1), ((0, 1), (1, 0)), (1, 1), 2)))
    (y,) = equal_after_legalisation(b.build("y")).populations()
    assert y.projections[0].map.pads == ((1, 1), (1, 2))
    assert y.projections[0].map.groups == 2


def test_channels_cut_across_the_channels_of_their_source_are_not_mistaken_for_whole_ones():
    b = Builder((3, 2, 2), lo=-8, hi=7)
    b.move("flat", Reshape((12,)), "x")
    b.move("cut", Slice(((2, 10, 1),)), "flat")
    b.move("r", Reshape((2, 2, 2)), "cut")
    b.fire("y", Projection("r", Conv(b.weights(3, 2, 2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1))))
    assert [p.name for p in equal_after_legalisation(b.build("y")).populations()] == ["r.relay", "y"]


def test_a_max_pool_of_a_moved_value_reads_a_relay_once_for_all_its_readers():
    b = Builder((2, 4, 4), lo=-8, hi=-1)
    b.move("t", Transpose((0, 2, 1)), "x")
    b.max_pool("p", "t", (2, 2), (2, 2), ((1, 1), (1, 1)))
    b.max_pool("q", "t", (3, 3), (1, 1))
    b.fire("y", Projection("p", Identity(np.ones((1, 1, 1), np.int64))), lo=-8, hi=0)
    legal = equal_after_legalisation(b.build("y"))
    assert [s.name for s in legal.steps] == ["t.relay", "p", "q", "y"]
    assert [s.source for s in legal.steps if isinstance(s, MaxPool)] == ["t.relay"] * 2


# -- corners that once were wrong -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "reader",
    [
        Identity(np.array([[3]])),
        Dense(np.array([[1, 2]])),
        Conv(np.array([[[1]]]), (1,), ((0, 0),), (1,)),
        SumPool((2,), (1,), ((0, 0),), np.array([[1]])),
        Gather(np.array([[0, 1]]), np.array([[2, 5]])),
    ],
    ids=lambda r: type(r).__name__,
)
def test_a_slice_of_nothing_but_padding_is_zeros(reader):
    b = Builder((1, 3), lo=2, hi=9)
    b.move("p", Pad(((0, 0), (0, 2))), "x")
    b.move("s", Slice(((0, 1, 1), (3, 5, 1))), "p")
    b.fire("y", Projection("s", reader), kind="readout")
    equal_after_legalisation(b.build("y"))


def test_a_flat_slice_of_nothing_but_padding_is_zeros_for_a_dense():
    b = Builder((3,), lo=2, hi=9)
    b.move("p", Pad(((0, 2),)), "x")
    b.move("s", Slice(((3, 5, 1),)), "p")
    b.fire("y", Projection("s", Dense(np.array([[1, 2]]))), kind="readout")
    equal_after_legalisation(b.build("y"))


@pytest.mark.parametrize("weight", [1, 2**40])
def test_a_moved_readout_keeps_integers_of_any_width(weight):
    encoding = Encoding("x", "x", (2, 2), "float32", (), np.ones((1, 1)), (2, 2), -4, 4)
    scale = Projection("x", Identity(np.full((1, 1), weight)))
    readout = Population("r", (scale,), Readout(np.array([[5]])), (2, 2), -4 * weight, 4 * weight, Origin())
    turned = Move("t", ("r",), Transpose((1, 0)), (2, 2), Origin())
    program = Program((encoding,), (readout, turned), (Decoding("y", "t", np.ones(()), (), (2, 2)),))
    equal_after_legalisation(program)


def test_names_that_legalisation_would_choose_may_be_taken_already():
    b = Builder((2, 3), lo=-8, hi=7)
    for name in ("x.flat", "t.relay"):
        b.fire(name, Projection("x", Identity(np.array([[5]]))), lo=-3, hi=3)
    b.move("f", Reshape((6,)), "x")
    b.move("t", Transpose((1, 0)), "x")
    b.max_pool("p", "t", (2,), (1,))
    b.fire("d", Projection("f", Dense(b.weights(4, 6))))
    b.fire("y", Projection("x.flat", Identity(np.array([[1]]))), Projection("t.relay", Identity(np.array([[2]]))))
    equal_after_legalisation(b.build("y"))


# -- products ---------------------------------------------------------------------------------------------------------
def squeezed() -> Builder:
    b = Builder((3, 4, 4), hi=15)
    b.fire("s", Projection("x", SumPool((4, 4), (4, 4), ((0, 0), (0, 0)), np.array([[[1]]]))), hi=15)
    return b


def test_a_product_reads_a_factor_through_a_move_that_moves_nothing():
    b = squeezed()
    b.move("t", Transpose((0, 2, 1)), "s")
    b.fire("p", Product("x", "t", Elementwise(b.weights(3, 1, 1))), hi=31)
    legal = equal_after_legalisation(b.build("p"))
    assert [step.name for step in legal.steps] == ["s", "p"]
    assert legal.steps[-1].products[0].right == "s"


def test_a_product_reads_a_moved_factor_through_one_relay():
    b = squeezed()
    b.move("r", Reshape((3,)), "s")
    b.move("c", Reshape((3, 1, 1)), "r")
    b.move("f", Transpose((0, 2, 1)), "x")
    b.fire("p", Product("f", "f", Elementwise(b.weights(3, 1, 1))), Product("x", "c", Elementwise(b.weights(3, 1, 1))),
           hi=31)  # fmt: skip
    legal = equal_after_legalisation(b.build("p"))
    assert [step.name for step in legal.steps] == ["s", "f.relay", "p"]


def test_a_product_is_refused_by_a_target_that_does_not_claim_it():
    program = next(case for case in CASES if case.name == "product_broadcast").make()
    with pytest.raises(
        CompileError, match=r"SFN402 at p: target test multiplies by constants only: .*c \* e"
    ) as caught:
        lg.legalize(program, "test", replace(NO_MOVES, products=frozenset()))
    assert len(caught.value.diagnostics) == 2


# -- refusals -------------------------------------------------------------------------------------------------------
def test_every_projection_that_the_target_lacks_is_named_in_one_error():
    program = next(case for case in CASES if case.name == "gather").make()
    with pytest.raises(CompileError) as caught:
        lg.legalize(program, "test", replace(NO_MOVES, projections=frozenset({"Conv"})))
    assert [d.code for d in caught.value.diagnostics] == ["SFN402", "SFN402"]
    assert "Gather" in str(caught.value)
    assert "Dense" in str(caught.value)


def test_max_pooling_is_refused_where_the_target_has_none():
    program = next(case for case in CASES if case.name == "pools").make()
    with pytest.raises(CompileError, match="no max pooling"):
        lg.legalize(program, "test", replace(NO_MOVES, max_pool=False))


@pytest.mark.parametrize(("limits", "code"), [({"acc_bits": 8}, "SFN401"), ({"weight_bits": 4}, "SFN402")])
def test_accumulators_and_weights_wider_than_the_target_are_refused(limits, code):
    program = next(case for case in CASES if case.name == "mlp").make()
    with pytest.raises(CompileError) as caught:
        lg.check_widths(program, "test", replace(NO_MOVES, **limits))
    assert caught.value.diagnostics[0].code == code
