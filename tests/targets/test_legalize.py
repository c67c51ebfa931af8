"""Legalisation folds every move away and changes no integer: the conformance suite, and random chains of moves."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfn_compile.program.network import (
    MOVES,
    Concat,
    Conv,
    Decoding,
    Dense,
    Gather,
    Identity,
    Pad,
    Projection,
    Reshape,
    Slice,
    SumPool,
    Take,
    Transpose,
)
from sfn_compile.targets import legalize as lg
from sfn_compile.testing.conformance import CASES, SEVERAL_INPUTS, Builder

from ..program.arith_examples import few, ints
from .legalize_examples import NO_MOVES, equal_after_legalisation, kinds


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
