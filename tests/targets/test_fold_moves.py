"""What legalisation makes of single patterns, corners that once were wrong, products, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfn_compile.foundation.diagnostics import CompileError, Origin
from sfn_compile.program.network import (
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
from sfn_compile.targets import legalize as lg
from sfn_compile.testing.conformance import CASES, Builder

from .legalize_examples import NO_MOVES, equal_after_legalisation, kinds


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
