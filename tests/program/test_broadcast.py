"""Arrays that broadcast against a sample go backwards through moves, wherever that is possible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfn_compile.program.broadcast import move_array, unmove_array
from sfn_compile.program.network import MoveOp, Pad, Reshape, Slice, Take, Transpose

from ..frontend.tiny_onnx import noise
from ..passes.pass_examples import fixed

SHAPE = (3, 4, 6)


@st.composite
def picks(draw: st.DrawFn) -> MoveOp:
    axis = draw(st.integers(0, 2))
    if draw(st.booleans()):
        return Take(axis, tuple(draw(st.lists(st.integers(0, SHAPE[axis] - 1), min_size=1, max_size=9))))
    ranges = [(draw(st.integers(0, 2)), draw(st.integers(3, n)), draw(st.integers(1, 2))) for n in SHAPE]
    return Slice(tuple(ranges))


@fixed
@given(op=picks(), free=st.lists(st.sampled_from([0, 1, 2]), max_size=3, unique=True))
def test_an_array_that_a_move_made_goes_back_to_one_that_makes_it(op, free):
    array = noise(*(n if axis in free else 1 for axis, n in enumerate(SHAPE)))
    moved = move_array(op, array, SHAPE)
    back = unmove_array(op, moved, SHAPE)
    assert back is not None
    out = op.apply(np.zeros((1, *SHAPE)))[0].shape
    again = np.broadcast_to(move_array(op, back, SHAPE), out)
    assert np.array_equal(again, np.broadcast_to(moved, out))


@pytest.mark.parametrize("op", [Reshape((12, 6)), Transpose((2, 0, 1))])
def test_permuting_moves_go_back_whatever_the_array(op):
    array = noise(*op.apply(np.zeros((1, *SHAPE))).shape[1:])
    back = unmove_array(op, array, SHAPE)
    assert back is not None
    assert np.array_equal(move_array(op, back, SHAPE), array)


@pytest.mark.parametrize(
    ("op", "array"),
    [
        (Take(2, (0, 0, 1)), np.array([[[1.0, 2.0, 3.0]]])),  # one element would have two values
        (Pad(((0, 0), (0, 0), (1, 0))), np.ones((1, 1, 1))),  # the border is nobody's
    ],
)
def test_what_no_array_makes_has_no_way_back(op, array):
    assert unmove_array(op, array, SHAPE) is None
