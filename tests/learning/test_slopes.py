"""Slopes of maps and moves, against differences of the plain NumPy definition in float64."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.graph.ops import MaxPool
from sfn_compile.learning.slopes import MaxPoolSlope, MoveSlope, slope_of
from sfn_compile.program.network import Conv, Dense, Gather, Identity, SumPool

RNG = np.random.default_rng(0)


def weights(*shape):
    return RNG.standard_normal(shape)


SAME = ((1, 1), (1, 1))
MAPS = {
    "dense": (Dense(weights(3, 5)), (5,)),
    "dense over rows": (Dense(weights(3, 5)), (4, 5)),
    "convolution": (Conv(weights(4, 3, 3, 3), (1, 1), SAME, (1, 1)), (3, 6, 5)),
    "strides, uneven padding": (Conv(weights(4, 3, 3, 2), (2, 3), ((0, 1), (2, 0)), (1, 1)), (3, 7, 8)),
    "windows that leave a border unread": (Conv(weights(2, 3, 2, 2), (3, 3), ((0, 0), (0, 0)), (1, 1)), (3, 7, 8)),
    "dilations": (Conv(weights(2, 3, 3, 3), (1, 1), ((2, 2), (2, 2)), (2, 2)), (3, 6, 6)),
    "groups": (Conv(weights(6, 2, 3, 3), (1, 1), SAME, (1, 1), 3), (6, 5, 5)),
    "depthwise": (Conv(weights(4, 1, 3, 3), (2, 2), SAME, (1, 1), 4), (4, 6, 6)),
    "point": (Conv(weights(4, 3, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)), (3, 4, 4)),
    "point with strides": (Conv(weights(4, 3, 1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1)), (3, 5, 4)),
    "a line": (Conv(weights(4, 3, 3), (2,), ((1, 1),), (1,)), (3, 9)),
    "pool": (SumPool((2, 2), (2, 2), ((0, 0), (0, 0)), weights(3, 1, 1)), (3, 4, 6)),
    "padded pool that overlaps": (SumPool((3, 3), (2, 2), SAME, weights(3, 1, 1)), (3, 5, 6)),
    "pool of a line": (SumPool((2,), (2,), ((0, 0),), weights(1, 1)), (3, 6)),
    "identity": (Identity(weights(3, 1, 1)), (3, 4, 4)),
    "gather that reads twice and nothing": (Gather(np.array([[3, 0, 0], [-1, 2, 3]]), weights(2, 3)), (4,)),
}


def batch_last(x):
    return np.moveaxis(x.astype(np.float32), 0, -1)


@pytest.mark.parametrize("name", MAPS)
def test_forward_is_the_map(name):
    linear, shape = MAPS[name]
    x = weights(3, *shape)
    found = np.moveaxis(slope_of(linear, shape).forward(batch_last(x), linear.weight.astype(np.float32)), -1, 0)
    np.testing.assert_allclose(found, linear.apply(x, np.float64), rtol=1e-4, atol=1e-5)  # float32 against float64


@pytest.mark.parametrize("name", MAPS)
def test_backward_is_the_transposed_map(name):
    """A linear map's slopes are exact: <g, A e> = <back(g), e> for any direction e of the input, and of the weight."""
    linear, shape = MAPS[name]
    x, e = weights(3, *shape), weights(3, *shape)
    y = linear.apply(x, np.float64)
    g = weights(*y.shape)
    slope, w = slope_of(linear, shape), linear.weight.astype(np.float32)
    back, of_weight = slope.backward(batch_last(x), w, batch_last(g), True)
    np.testing.assert_allclose(
        (back * batch_last(e)).sum(), (g * linear.apply(e, np.float64)).sum(), rtol=1e-4, atol=1e-4
    )
    if isinstance(linear, Conv | Dense):
        direction = weights(*linear.weight.shape)
        moved = type(linear)(*[direction, *list(vars(linear).values())[1:]]).apply(x, np.float64)
        np.testing.assert_allclose((of_weight * direction).sum(), (g * moved).sum(), rtol=1e-4, atol=1e-4)
    else:
        assert of_weight is None
    assert slope.backward(batch_last(x), w, batch_last(g), False)[0] is None


@pytest.mark.parametrize(
    "op",
    [MaxPool((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)), MaxPool((3, 3), (2, 2), SAME, (1, 1)),
     MaxPool((2, 2), (1, 1), ((0, 1), (1, 0)), (2, 1))],
)  # fmt: skip
def test_the_slope_of_a_maximum_goes_to_the_number_that_won(op):
    x = weights(3, 2, 6, 6)
    y, pool = op.evaluate(x), MaxPoolSlope(op.kernel, op.strides, op.pads, op.dilations)
    np.testing.assert_array_equal(np.moveaxis(pool.forward(batch_last(x)), -1, 0), y.astype(np.float32))
    g, e = weights(*y.shape), 1e-6 * weights(*x.shape)
    back = pool.backward(batch_last(x), batch_last(y), batch_last(g))
    np.testing.assert_allclose((back * batch_last(e)).sum(), (g * (op.evaluate(x + e) - y)).sum(), rtol=1e-3)


def test_equal_maxima_share_nothing():
    pool = MaxPoolSlope((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1))
    x = np.zeros((1, 2, 2, 1), np.float32)
    assert pool.backward(x, pool.forward(x), np.ones((1, 1, 1, 1), np.float32)).sum() == 1


def test_a_move_that_only_reshapes_copies_nothing():
    move, x = MoveSlope(np.arange(6).reshape(2, 3), 6), np.arange(12, dtype=np.float32).reshape(6, 2)
    assert np.shares_memory(move.forward(x, None), x)
