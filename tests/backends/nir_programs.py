"""Programs for the target nir that the shared conformance suite does not have."""

from dataclasses import replace

import numpy as np

from sfn_compile.program.network import (
    Conv,
    Decoding,
    Dense,
    Identity,
    Program,
    Projection,
    Readout,
    Reshape,
    SumPool,
    Table,
    Uniform,
)
from sfn_compile.testing.conformance import Builder

ONE = np.ones((1, 1, 1), np.int64)


def conv(weight, stride=1, pad=0):
    return Conv(weight, (stride, stride), ((pad, pad), (pad, pad)), (1, 1), 1)


def same_source_twice() -> Program:
    """conv(a) + 5 a + 7 a: three projections from one value into one population."""
    b = Builder((3, 6, 5), lo=-8, hi=7)
    b.fire("a", Projection("x", conv(b.weights(3, 3, 3, 3), pad=1)))
    skips = [Projection("a", Identity(ONE * k)) for k in (5, 7)]
    b.fire("b", Projection("a", conv(b.weights(3, 3, 3, 3), pad=1)), *skips)
    return b.build("b")


def late_wide_read() -> Program:
    """A value is read by a 3x3 stride-2 convolution after the chain went to the half grid: space to depth."""
    b = Builder((2, 8, 8), hi=7)
    b.fire("a", Projection("x", conv(b.weights(3, 2, 3, 3), pad=1)))
    b.fire("h", Projection("a", conv(b.weights(3, 3, 3, 3), stride=2, pad=1)))
    late = Projection("a", conv(b.weights(3, 3, 3, 3), stride=2, pad=1))
    b.fire("y", Projection("h", conv(b.weights(3, 3, 3, 3), pad=1)), late)
    return b.build("y")


def odd_shortcut() -> Program:
    """A stride-2 shortcut on a map of odd size: the grid of the carried value ends behind the map."""
    b = Builder((2, 7, 9), hi=7)
    b.fire("a", Projection("x", conv(b.weights(3, 2, 3, 3), pad=1)), lo=2, hi=6)
    b.fire("h", Projection("a", conv(b.weights(3, 3, 3, 3), stride=2, pad=1)))
    b.fire("i", Projection("h", conv(b.weights(3, 3, 3, 3), pad=1)))
    late = Projection("a", conv(b.weights(3, 3, 3, 3), stride=2, pad=1))
    b.fire("y", Projection("i", conv(b.weights(3, 3, 3, 3), pad=1)), late)
    return b.build("y")


def cropped_skip() -> Program:
    """A valid convolution makes the grid smaller than a value that is still needed."""
    b = Builder((2, 6, 6), hi=7)
    b.fire("a", Projection("x", conv(b.weights(2, 2, 3, 3))))
    b.fire("b", Projection("a", conv(b.weights(2, 2, 3, 3))))
    pieces = Projection("x", conv(b.weights(2, 2, 5, 5)))
    b.fire("y", Projection("b", Identity(ONE * 9)), pieces)
    return b.build("y")


def per_neuron() -> Program:
    """Thresholds that differ from pixel to pixel, one population per kind of ladder."""
    b = Builder((2, 4, 4), lo=-8, hi=7)
    b.fire("a", Projection("x", conv(b.weights(3, 2, 3, 3), pad=1)))
    offset = b.rng.integers(-99, 99, b.steps[-1].shape)
    b.steps[-1] = replace(b.steps[-1], ladder=replace(b.steps[-1].ladder, offset=offset))
    b.fire("y", Projection("a", conv(b.weights(3, 3, 3, 3), pad=1)), kind="readout")
    b.steps[-1] = replace(b.steps[-1], ladder=Readout(b.rng.integers(-9, 9, b.steps[-1].shape)))
    return b.build("y")


def written_out() -> Program:
    """The same numbers for every pixel, written out per neuron: they are per channel all the same."""
    b = Builder((2, 4, 4), hi=7)
    b.fire("a", Projection("x", conv(b.weights(3, 2, 3, 3), pad=1)), Projection("x", conv(b.weights(3, 2, 1, 1))))
    ladder = b.steps[-1].ladder
    full = [np.array(np.broadcast_to(v, (3, 4, 4))) for v in (ladder.theta, ladder.offset)]
    b.steps[-1] = replace(b.steps[-1], ladder=Uniform(*full, ladder.lo, ladder.hi))
    weight = np.full((3, 2, 2), 4)
    b.fire("y", Projection("a", SumPool((2, 2), (2, 2), ((0, 0), (0, 0)), weight)))
    return b.build("y")


def bumpy_table() -> Program:
    """A table that falls and rises (as GELU does), with max pooling and zero padding behind it."""
    b = Builder((2, 6, 6), lo=-8, hi=7)
    b.fire("a", Projection("x", conv(b.weights(3, 2, 1, 1))))
    b.steps[-1] = replace(
        b.steps[-1], ladder=Table(np.array([[[[-300, -40, 20, 90, 400]]]]), np.array([1, -2, -3, 0, 5, 9]))
    )
    b.max_pool("m", "a", (3, 3), (2, 2), ((1, 1), (1, 1)))
    b.fire("y", Projection("m", conv(b.weights(2, 3, 3, 3), pad=1)))
    return b.build("y")


def positive_codes() -> Program:
    """Codes 1..4: zero padding is then a code that no neuron has."""
    b = Builder((2, 5, 5), hi=7)
    b.fire("a", Projection("x", conv(b.weights(3, 2, 3, 3), pad=1)), lo=1, hi=4)
    b.fire("h", Projection("a", conv(b.weights(3, 3, 3, 3), pad=1)), lo=-4, hi=-1)
    b.fire("y", Projection("h", conv(b.weights(3, 3, 3, 3), pad=1)), Projection("a", Identity(ONE * 31)))
    return b.build("y")


def one_threshold() -> Program:
    """Two codes: theta cannot be seen in a single threshold and must come back all the same."""
    b = Builder((5,), hi=3)
    b.fire("a", Projection("x", Dense(b.weights(4, 5))), hi=1)
    return b.build(b.fire("y", Projection("a", Dense(b.weights(3, 4))), lo=-1, hi=0))


def far_thresholds() -> Program:
    """Thresholds that no input reaches and float32 could not hold."""
    b = Builder((5,), hi=3)
    b.fire("a", Projection("x", Dense(b.weights(4, 5))), hi=7)
    b.steps[-1] = replace(b.steps[-1], ladder=Uniform(np.full(4, 2**26), np.zeros(1, np.int64), 0, 7))
    return b.build(b.fire("y", Projection("a", Dense(b.weights(3, 4)))))


def widest() -> Program:
    """Accumulators as large as planes take, thresholds at both ends: c is 2**23."""
    b = Builder((2,), hi=127)
    b.fire("a", Projection("x", Dense(np.array([[2**16, 1]] * 2))))
    ends = np.array([[1, 2, 2**22, 2**22 + 1, 127 * 2**16 + 126, 127 * 2**16 + 127], [1, 1, 1, 128, 2**16, 2**16]])
    b.steps[-1] = replace(b.steps[-1], ladder=Table(ends, np.arange(7)))
    return b.build("a")


def two_results() -> Program:
    """Two outputs of different shapes, one of them in the middle."""
    b = Builder((2, 5, 5), hi=7)
    b.fire("a", Projection("x", conv(b.weights(3, 2, 3, 3), pad=1)))
    b.move("f", Reshape((75,)), "a")
    program = b.build(b.fire("y", Projection("f", Dense(b.weights(3, 75))), kind="readout"))
    return replace(program, outputs=(*program.outputs, Decoding("z", "a", np.ones(()), (), (3, 5, 5))))
