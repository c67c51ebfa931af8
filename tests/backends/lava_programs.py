"""Programs for the target lava that the shared conformance suite does not have."""

from __future__ import annotations

import numpy as np

from sfn_compile.program.network import (
    Conv,
    Dense,
    Elementwise,
    Identity,
    Matmul,
    Product,
    Program,
    Projection,
    Reshape,
    SumPool,
    Transpose,
)
from sfn_compile.testing.conformance import Builder


def odd_shapes() -> Program:
    """What takes the road of Lava's Sparse, or is easily wrong: per-position weights, int8 limits, dilated margins."""
    b = Builder((130, 5, 4), lo=-7, hi=7)
    b.fire("a/b:0", Projection("x", Conv(b.weights(130, 1, 3, 3), (1, 1), ((1, 1), (0, 2)), (1, 1), 130)), lo=-4, hi=3)
    b.fire("µ.1", Projection("a/b:0", Conv(b.weights(3, 130, 2, 2), (1, 1), ((0, 1), (1, 2)), (2, 2))), lo=-9, hi=9)
    weight = b.weights(*b.info("µ.1").shape)
    b.fire("id", Projection("µ.1", Identity(weight)), lo=-9, hi=9)
    b.fire("mean", Projection("id", SumPool((2, 2), (1, 1), ((1, 0), (0, 1)), weight)), kind="table", lo=-9, hi=9)
    b.fire("last", Projection("mean", Dense(b.weights(6, weight.shape[-1]))))
    return b.build(b.fire("../y", Projection("last", Identity(np.array(-3))), kind="readout"))


def products_of_all_ranks() -> Program:
    """Products of a vector, of (channel, length) and of a map, of unequal depth, in one network; one of the input."""
    b = Builder((3, 4), lo=-8, hi=7)
    b.fire("a", Projection("x", Conv(b.weights(3, 3, 3), (1,), ((1, 1),), (1,))), lo=-8, hi=7)
    b.fire("m", Projection("a", SumPool((4,), (4,), ((0, 0),), np.ones((3, 1), np.int64))), lo=-8, hi=7)
    gates = Product("m", "x", Elementwise(b.weights(3, 4))), Product("x", "x", Elementwise(b.weights(1, 4)))
    b.fire("p", *gates, Projection("a", Identity(np.array(-77))), lo=-16, hi=15)
    b.move("t", Reshape((1, 3, 4)), "p")
    b.fire("c", Projection("t", Conv(b.weights(2, 1, 3, 2), (1, 1), ((1, 1), (0, 0)), (1, 1))), lo=-8, hi=7)
    b.fire("s", Projection("c", SumPool((1, 3), (1, 3), ((0, 0), (0, 0)), np.ones((2, 1, 1), np.int64))), lo=-8, hi=7)
    b.fire("q", Product("c", "s", Elementwise(b.weights(2, 3, 3))), lo=-16, hi=15)
    flat = b.move("f", Reshape((18,)), "q")
    b.fire("v", Projection(flat, Dense(b.weights(5, 18))), lo=-8, hi=7)
    return b.build(b.fire("y", Product("v", "v", Elementwise(b.weights(5))), kind="readout"))


def rows_of_all_ranks() -> Program:
    """Matrix products, rows and normalisations of one to four axes, over every axis, of unequal depth in one network.

    No two axes are equally long, so that one taken for another shows.
    """
    b = Builder((2, 3, 4, 5), lo=-8, hi=7)
    b.normalize("n", "x", (1, 3), b.weights(3, 1, 5) * 64, lo=-8, hi=7)
    b.fire("a", Projection("x", Identity(b.weights(2, 3, 1, 5))), lo=-8, hi=7)
    b.move("t", Transpose((0, 1, 3, 2)), "a")
    b.follow("e", Product("n", "t", Matmul(b.weights(3, 1, 4, top=31))), axis=2, hi=63, rows=(3, 1, 1))
    b.share("m", Product("e", "x", Matmul(b.weights(1, 4, 5, top=31))), norm="e", axis=3, lo=-8, hi=7)
    b.move("r", Reshape((6, 4, 5)), "m")
    b.follow("f", Projection("r", Dense(b.weights(7, 5))), axis=0, rows=(6, 4, 7))
    b.share("g", Projection("f", Identity(b.weights(6, 1, 7))), norm="f", axis=1, lo=-8, hi=7)
    b.move("w", Reshape((24, 7)), "g")
    b.normalize("o", "w", (0,), b.weights(24, 7) * 64, centred=False, lo=-8, hi=7)
    b.share("s", Projection("o", Dense(b.weights(3, 7))), norm="w", axis=1, lo=-8, hi=7)
    b.follow("u", Projection("s", Dense(b.weights(3, 3))), Product("s", "s", Elementwise(np.array(-9))), axis=0, hi=15)
    flat = b.move("v", Reshape((72,)), "u")
    b.normalize("z", flat, (0,), b.weights(72) * 64, weight=b.weights(72, top=3), lo=-8, hi=7)
    return b.build(b.share("y", Projection("z", Dense(b.weights(4, 72))), norm=flat, axis=0, lo=-8, hi=7))


def skip_over_max_pool() -> Program:
    """A max pooling beside a delayed skip, 1-D convolution with a margin, and a skip that a readout reads."""
    b = Builder((2, 9), lo=-128, hi=127)
    b.max_pool("m", "x", (3,), (2,), ((1, 1),))
    skip, long_skip = Projection("m", Identity(np.array(99))), Projection("m", Identity(np.array(-127)))
    b.fire("c", Projection("m", Conv(b.weights(2, 2, 3), (1,), ((2, 0),), (1,))), lo=-8, hi=7)
    b.fire("d", Projection("c", Conv(b.weights(2, 2, 1), (1,), ((0, 0),), (1,))), skip, lo=-8, hi=7)
    return b.build(b.fire("y", Projection("d", Identity(np.array(1))), long_skip, kind="readout"))


def wide_map() -> Program:
    """Sizes that wrap in the int8 of Lava's Conv: a map of 140, a padding of 64 + 64, a dilated kernel of 127."""
    b = Builder((2, 3, 140), lo=-128, hi=127)
    b.fire("c", Projection("x", Conv(b.weights(2, 2, 1, 8), (1, 1), ((0, 0), (64, 64)), (1, 18))), lo=-8, hi=7)
    return b.build(b.fire("y", Projection("c", Conv(b.weights(1, 2, 3, 3), (1, 2), ((1, 1), (0, 0)), (1, 1)))))
