"""Programs of the conformance suite with products of two values and thresholds that follow a row."""

from __future__ import annotations

import numpy as np

from ..program.network import (
    Carries,
    Dense,
    Elementwise,
    Exponentials,
    Identity,
    Matmul,
    Product,
    Program,
    Projection,
    Reshape,
    Slice,
    SumPool,
    Transpose,
)
from .builder import Builder
from .cases import _conv, _ones


def product_gate() -> Program:
    """A gated convolution: signed codes times a gate of the same shape, weights of both signs; then a square."""
    b = Builder((3, 6, 5), lo=-8, hi=7)
    b.fire("a", Projection("x", _conv(b.weights(4, 3, 3, 3), pads=1)), lo=-8, hi=7)
    b.fire("g", Projection("x", _conv(b.weights(4, 3, 1, 1))), hi=15)
    b.fire("p", Product("a", "g", Elementwise(b.weights(4, 1, 1))), lo=-16, hi=15)
    b.fire("q", Product("p", "p", Elementwise(_ones((4, 6, 5), 3))), hi=31)
    return b.build(b.fire("y", Projection("q", _conv(b.weights(2, 4, 6, 5))), kind="readout"))


def product_broadcast() -> Program:
    """Squeeze and excite: a map times one code per channel, then times one code per position, of unequal depth."""
    b = Builder((3, 6, 6), hi=15)
    b.fire("c", Projection("x", _conv(b.weights(4, 3, 3, 3), pads=1)), hi=15)
    b.fire("s", Projection("c", SumPool((6, 6), (6, 6), ((0, 0), (0, 0)), _ones((4, 1, 1)))), hi=31)
    b.fire("e", Projection("s", _conv(b.weights(4, 4, 1, 1))), kind="table", hi=15)
    b.fire("p", Product("c", "e", Elementwise(b.weights(4, 1, 1, top=31))), lo=-16, hi=15)
    b.fire("m", Projection("p", _conv(b.weights(1, 4, 3, 3), pads=1)), lo=-8, hi=7)
    b.fire("o", Product("m", "p", Elementwise(b.weights(4, 6, 6, top=31))), lo=-8, hi=7)
    return b.build(b.fire("y", Projection("o", _conv(b.weights(3, 4, 6, 6))), kind="readout"))


def product_plus_skip() -> Program:
    """Products and projections into one accumulator: a * b + c, vectors too, and a product that is read out."""
    b = Builder((9,), lo=-8, hi=7)
    b.fire("a", Projection("x", Dense(b.weights(7, 9))), hi=15)
    b.fire("b", Projection("a", Dense(b.weights(7, 7))), lo=-4, hi=4)
    skip, mixed = Projection("a", Identity(b.weights(7))), Projection("x", Dense(b.weights(7, 9)))
    b.fire("p", skip, Product("a", "b", Elementwise(b.weights(7, top=15))), mixed, lo=-8, hi=7)
    return b.build(b.fire("y", Product("p", "b", Elementwise(_ones((7,), -3))), Projection("a", Identity(_ones((7,)))),
                          kind="readout"))  # fmt: skip


def product_of_moves() -> Program:
    """Factors that are elsewhere: a gate of rank 1 reshaped to channels, halves of one map, a transposed map."""
    b = Builder((4, 6), hi=15)
    b.fire("c", Projection("x", _conv(b.weights(6, 4, 3), pads=1)), lo=-8, hi=7)
    b.move("l", Slice(((0, 3, 1), (0, 6, 1))), "c")
    b.move("h", Slice(((3, 6, 1), (0, 6, 1))), "c")
    b.fire("p", Product("l", "h", Elementwise(b.weights(3, 1))), lo=-8, hi=7)
    b.move("f", Reshape((18,)), "p")
    b.fire("v", Projection("f", Dense(b.weights(6, 18))), hi=7)
    b.move("w", Reshape((6, 1)), "v")
    b.move("t", Transpose((1, 0)), "p")
    b.fire("q", Product("t", "w", Elementwise(b.weights(6, 3))), lo=-8, hi=7)
    return b.build("q")


def matmul() -> Program:
    """Matrix products: of stacks, of a value with itself, beside a skip, of a table, read out; weights of all kinds."""
    b = Builder((3, 4, 6), lo=-8, hi=7)
    b.fire("a", Projection("x", _conv(b.weights(3, 3, 3, 3), pads=1)), lo=-8, hi=7)
    b.move("t", Transpose((0, 2, 1)), "x")
    skip = Projection(b.move("s", Slice(((0, 3, 1), (0, 4, 1), (0, 4, 1))), "a"), Identity(b.weights(3, 1, 1)))
    b.fire("p", Product("a", "t", Matmul(b.weights(3, 1, 1, top=31))), skip, lo=-16, hi=15)
    b.fire("q", Product("p", "p", Matmul(_ones((3, 4, 4), 3))), Product("p", "p", Elementwise(b.weights(3, 4, 4))),
           lo=-16, hi=15)  # fmt: skip
    b.move("l", Reshape((12, 4)), "q")
    b.move("r", Reshape((4, 12)), "p")
    b.fire("m", Product("l", "r", Matmul(b.weights(12, 12, top=15))), kind="table", lo=-8, hi=7)
    return b.build(b.fire("y", Product("r", "m", Matmul(np.array(-5))), kind="readout"))


def thresholds_that_follow() -> Program:
    """Rows of three directions whose thresholds follow their maximum; thresholds shared, per channel and per neuron."""
    b = Builder((4, 6), lo=-8, hi=7)
    b.follow("rows", Projection("x", _conv(b.weights(5, 4, 3), pads=1)), axis=1)
    b.follow("columns", Projection("rows", _conv(b.weights(5, 5, 1))), axis=0, hi=15, rows=(5, 1))
    b.follow("each", Projection("columns", Identity(b.weights(5, 6))), axis=1, hi=7, rows=(5, 6))
    flat = b.move("f", Reshape((30,)), "each")
    b.follow("vector", Projection(flat, Dense(b.weights(9, 30))), axis=0, hi=31)
    return b.build(b.fire("y", Projection("vector", Dense(b.weights(4, 9))), kind="readout"))


def thresholds_that_share() -> Program:
    """Accumulators divided by the sum of a row of codes, 0 at times; rows of both directions, a skip beside."""
    b = Builder((6, 5), lo=-8, hi=7)
    b.fire("a", Projection("x", Dense(b.weights(5, 5))), hi=15)
    b.fire("c", Projection("x", Dense(b.weights(5, 5))), lo=-8, hi=7)
    b.share("p", Product("a", "c", Elementwise(b.weights(6, 5))), norm="a", axis=1, lo=-8, hi=7)
    b.share("q", Projection("p", Dense(b.weights(5, 5))), Projection("x", Identity(_ones((6, 5), 99))), norm="a",
            axis=0, hi=31)  # fmt: skip
    flat = b.move("f", Reshape((30,)), "q")
    b.share("v", Projection(flat, Dense(b.weights(7, 30))), norm=flat, axis=0, lo=2, hi=9)
    return b.build(b.fire("y", Projection("v", Dense(b.weights(3, 7))), kind="readout"))


def layer_norm() -> Program:
    """Rows of tokens, of which the edge inputs make constant ones; a residual around it; then over two axes."""
    b = Builder((5, 8), lo=-16, hi=15)
    b.normalize("n", "x", (1,), b.weights(8) * 64)
    b.fire("h", Projection("n", Dense(b.weights(8, 8))), Projection("x", Identity(_ones((5, 8), 77))), lo=-16, hi=15)
    b.normalize("m", "h", (1,), _ones((5, 8), 1234), epsilon=10**6, hi=31, lo=0)
    b.move("t", Reshape((2, 4, 5)), b.move("turn", Transpose((1, 0)), "m"))
    b.normalize("o", "t", (1, 2), 2000 * _ones((2, 4, 5)), weight=b.weights(2, 4, 1, top=5))
    return b.build(b.fire("y", Projection("o", _conv(b.weights(3, 2, 4, 5))), kind="readout"))


def root_mean_square() -> Program:
    """Normalisation without a mean: of a vector, of channels; a radicand of 0, one of 61 bits, thresholds as wide."""
    b = Builder((7, 3), lo=-128, hi=127)
    b.normalize("n", "x", (0,), b.weights(7, 3), centred=False, epsilon=0, bits=4)
    b.normalize("w", "x", (0, 1), b.weights(7, 3) * 2**16, centred=True, epsilon=12345, bits=15, weight=np.array(11))
    b.fire("p", Projection("x", Identity(b.weights(7, 1, top=15))), Product("n", "w", Elementwise(b.weights(7, 1))),
           lo=-16, hi=15)  # fmt: skip
    flat = b.move("f", Reshape((21,)), "p")
    b.fire("h", Projection(flat, Dense(b.weights(9, 21))), lo=-8, hi=7)
    b.normalize("v", "h", (0,), _ones((9,), 999), centred=False, bits=6)
    return b.build(b.fire("y", Projection("v", Dense(b.weights(4, 9))), kind="readout"))


def attention() -> Program:
    """A transformer block as it is compiled: pre-norm, fused queries, keys and values, softmax, residual, MLP."""
    b = Builder((5, 8), lo=-16, hi=15)
    b.normalize("n", "x", (1,), b.weights(8) * 64)
    b.fire("qkv", Projection("n", Dense(b.weights(24, 8))), lo=-16, hi=15)
    b.move("turn", Transpose((1, 2, 0, 3)), b.move("apart", Reshape((5, 3, 2, 4)), "qkv"))
    for i, name in enumerate(("q", "k", "v")):
        part = b.move(f"{name}4", Slice(((i, i + 1, 1), (0, 2, 1), (0, 5, 1), (0, 4, 1))), "turn")
        b.move(name, Reshape((2, 5, 4)), part)
    b.move("kt", Transpose((0, 2, 1)), "k")
    b.follow("exp", Product("q", "kt", Matmul(np.array([3, 5]).reshape(2, 1, 1))), axis=2, rows=(2, 1, 1))
    b.relate(Exponentials("softmax"))
    b.share("mix", Product("exp", "v", Matmul(_ones((2, 5, 4), 7))), norm="exp", axis=2, lo=-16)
    b.move("join", Reshape((5, 8)), b.move("back", Transpose((1, 0, 2)), "mix"))
    b.fire("r", Projection("join", Dense(b.weights(8, 8))), Projection("x", Identity(_ones((5, 8), 55))), lo=-16, hi=15)
    left = Projection("r", Identity(_ones((5, 8), -32)), "subtract")
    b.fire("c", Projection("join", Dense(b.weights(8, 8))), Projection("x", Identity(_ones((5, 8), 55))), left, lo=-8,
           hi=7)  # fmt: skip
    b.relate(Carries("r"))
    b.normalize("m", "r", (1,), b.weights(8) * 64, weight=np.array(16), carry="c")
    b.fire("up", Projection("m", Dense(b.weights(16, 8))), hi=15)
    b.fire("s", Projection("up", Dense(b.weights(8, 16))), Projection("r", Identity(_ones((5, 8), 99))), lo=-16, hi=15)
    b.move("first", Reshape((8,)), b.move("head", Slice(((0, 1, 1), (0, 8, 1))), "s"))
    return b.build(b.fire("y", Projection("first", Dense(b.weights(3, 8))), kind="readout"))
