"""The conformance suite: Programs x edge-case inputs that every back end computes bit for bit.

A third party tests its own back end with::

    from sfn_compile.testing.conformance import CASES, check
    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_backend(case, tmp_path): check(MyBackend(), case, tmp_path)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..program.network import (
    ADAPTIVE,
    Carries,
    Concat,
    Conv,
    Dense,
    Elementwise,
    Exponentials,
    Gather,
    Identity,
    Matmul,
    Normalization,
    Pad,
    Population,
    Product,
    Program,
    Projection,
    Reshape,
    SecondDigit,
    Shape,
    Slice,
    SumPool,
    Take,
    Transpose,
)
from ..simulator.edge_inputs import edge_inputs
from ..simulator.run import run_codes
from ..targets import target_options
from ..targets.backend import Backend, RunRequest, RunResult
from ..targets.target_build import build_target
from .builder import Builder

Array = NDArray[Any]


def _conv(weight: Array, strides: Any = 1, pads: Any = 0, dilations: Any = 1, groups: int = 1) -> Conv:
    n = weight.ndim - 2
    pair = ((pads, pads),) * n if isinstance(pads, int) else pads
    spread = [(v,) * n if isinstance(v, int) else v for v in (strides, dilations)]
    return Conv(weight, spread[0], pair, spread[1], groups)


def _ones(shape: Shape, value: int = 1) -> Array:
    return np.full((1,) * len(shape), value, np.int64)


def mlp() -> Program:
    """Two Dense layers and a readout."""
    b = Builder((12,))
    b.fire("h", Projection("x", Dense(b.weights(10, 12))))
    b.fire("g", Projection("h", Dense(b.weights(9, 10))), hi=31)
    return b.build(b.fire("y", Projection("g", Dense(b.weights(5, 9))), kind="readout"))


def mlp_table() -> Program:
    """Non-uniform thresholds."""
    b = Builder((12,), lo=-8, hi=7)
    b.fire("h", Projection("x", Dense(b.weights(10, 12))), kind="table")
    return b.build(b.fire("y", Projection("h", Dense(b.weights(5, 10))), kind="readout"))


def mlp_table_unsorted() -> Program:
    """Codes that fall and rise again along the thresholds, as those of a SiLU do."""
    b = Builder((12,), lo=-8, hi=7)
    b.unsorted("h", Projection("x", Dense(b.weights(10, 12))))
    return b.build(b.fire("y", Projection("h", Dense(b.weights(5, 10))), kind="readout"))


def signed_codes() -> Program:
    """Signed input and signed hidden codes, power-of-two thresholds."""
    b = Builder((6,), lo=-128, hi=127)
    b.fire("h", Projection("x", Dense(b.weights(8, 6))), kind="pow2", lo=-4, hi=3)
    return b.build(b.fire("y", Projection("h", Dense(b.weights(4, 8))), kind="uniform", lo=-16, hi=15))


def conv_chain() -> Program:
    """Conv stride 2 with asymmetric padding, 3x3 Conv, flatten, Dense."""
    b = Builder((3, 9, 8), hi=31)
    b.fire("c1", Projection("x", _conv(b.weights(4, 3, 3, 3), strides=2, pads=((1, 0), (0, 1)))))
    b.fire("c2", Projection("c1", _conv(b.weights(5, 4, 3, 3), pads=1)))
    flat = b.move("f", Reshape((int(np.prod(b.info("c2").shape)),)), "c2")
    return b.build(b.fire("y", Projection(flat, Dense(b.weights(6, b.info(flat).shape[0]))), kind="readout"))


def conv_shapes() -> Program:
    """Dilation, non-square kernel and stride, groups, depthwise."""
    b = Builder((4, 11, 10), hi=15)
    b.fire("dil", Projection("x", _conv(b.weights(4, 4, 3, 3), dilations=2, pads=2)))
    b.fire("rect", Projection("dil", _conv(b.weights(6, 4, 3, 1), strides=(2, 1), pads=((1, 1), (0, 0)))))
    b.fire("grp", Projection("rect", _conv(b.weights(4, 3, 3, 3), groups=2, pads=1)))
    b.fire("dw", Projection("grp", _conv(b.weights(4, 1, 3, 3), groups=4, strides=2, pads=1)))
    return b.build("dw")


def conv1d() -> Program:
    """1-D convolutions, stride and dilation."""
    b = Builder((3, 20), hi=31)
    b.fire("a", Projection("x", _conv(b.weights(5, 3, 5), strides=2, pads=2)))
    b.fire("b", Projection("a", _conv(b.weights(4, 5, 3), dilations=2)))
    flat = b.move("f", Reshape((int(np.prod(b.info("b").shape)),)), "b")
    return b.build(b.fire("y", Projection(flat, Dense(b.weights(3, b.info(flat).shape[0]))), kind="readout"))


def pools() -> Program:
    """Max pooling (also padded), sum pooling, global pooling."""
    b = Builder((2, 12, 12), hi=31)
    b.fire("c", Projection("x", _conv(b.weights(4, 2, 3, 3), pads=1)))
    b.max_pool("m", "c", (2, 2), (2, 2))
    b.fire("s", Projection("m", SumPool((2, 2), (2, 2), ((0, 0), (0, 0)), _ones((4, 3, 3), 5))), hi=15)
    b.max_pool("p", "s", (3, 3), (1, 1), ((1, 1), (1, 1)))
    return b.build(
        b.fire("y", Projection("p", SumPool((3, 3), (3, 3), ((0, 0), (0, 0)), _ones((4, 1, 1)))), kind="readout")
    )


def max_pool_signed() -> Program:
    """Padded max pooling over signed codes: padding never wins, also where all codes are negative."""
    b = Builder((2, 6, 6), lo=-128, hi=127)
    b.fire("c", Projection("x", _conv(b.weights(3, 2, 1, 1))), lo=-8, hi=7)
    b.max_pool("m", "c", (3, 3), (2, 2), ((1, 1), (1, 1)))
    return b.build(b.fire("y", Projection("m", _conv(b.weights(2, 3, 3, 3)))))


def max_pool_unsorted() -> Program:
    """Max pooling over codes of which the largest is not behind the last threshold."""
    b = Builder((2, 6, 6), lo=-8, hi=7)
    b.unsorted("c", Projection("x", _conv(b.weights(3, 2, 3, 3), pads=1)))
    b.max_pool("m", "c", (3, 3), (2, 2), ((1, 1), (1, 1)))
    return b.build(b.fire("y", Projection("m", _conv(b.weights(2, 3, 2, 2)))))


def residual() -> Program:
    """Identity skip over two convolutions, then a projection shortcut with stride 2."""
    b = Builder((4, 8, 8), hi=15)
    b.fire("a", Projection("x", _conv(b.weights(4, 4, 3, 3), pads=1)))
    b.fire("b", Projection("a", _conv(b.weights(4, 4, 3, 3), pads=1)), Projection("x", Identity(_ones((4, 8, 8), 53))))
    b.fire("c", Projection("b", _conv(b.weights(6, 4, 3, 3), strides=2, pads=1)))
    shortcut = Projection("b", _conv(b.weights(6, 4, 1, 1), strides=2))
    b.fire("d", Projection("c", _conv(b.weights(6, 6, 3, 3), pads=1)), shortcut)
    return b.build(
        b.fire("y", Projection("d", SumPool((4, 4), (4, 4), ((0, 0), (0, 0)), _ones((6, 1, 1)))), kind="readout")
    )


def two_digits() -> Program:
    """A site in two digits, its channels turned round, read by a convolution and as a skip in shares."""
    b = Builder((4, 6, 6), hi=7)
    drive = Projection("x", _conv(b.weights(4, 4, 3, 3), pads=1))
    b.fire("q", drive, hi=7)
    b.fire("r", drive, Projection("q", Identity(_ones((4, 6, 6), -120)), "subtract"), hi=7)
    b.relate(SecondDigit("q", 8))
    terms, kernel = list[Projection](), b.weights(4, 4, 3, 3)
    for digit, weight in (("q", 96), ("r", 12)):
        turned = b.move(f"{digit}t", Take(0, (3, 2, 1, 0)), digit)
        skip = Projection(turned, Identity(_ones((4, 6, 6), weight)), "skip")
        terms += [Projection(turned, _conv(kernel, pads=1)), skip, replace(skip, role="copy")]
    return b.build(b.fire("y", *terms, kind="readout"))


def pad_shortcut() -> Program:
    """The parameter-free ResNet shortcut: every second pixel, channels padded with zeros."""
    b = Builder((4, 8, 8), hi=31)
    b.fire("a", Projection("x", _conv(b.weights(8, 4, 3, 3), strides=2, pads=1)), hi=31)
    b.move("s", Slice(((0, 4, 1), (0, 8, 2), (0, 8, 2))), "x")
    b.move("p", Pad(((2, 2), (0, 0), (0, 0))), "s")
    b.fire("b", Projection("a", _conv(b.weights(8, 8, 3, 3), pads=1)), Projection("p", Identity(_ones((8, 4, 4), 99))))
    return b.build("b")


def concat() -> Program:
    """Two branches joined along channels, read by a Conv; a channel slice of the join read by another."""
    b = Builder((3, 6, 6), hi=15)
    b.fire("a", Projection("x", _conv(b.weights(4, 3, 1, 1))))
    b.fire("b", Projection("x", _conv(b.weights(2, 3, 3, 3), pads=1)), hi=15)
    b.move("j", Concat(0), "a", "b")
    b.fire("c", Projection("j", _conv(b.weights(5, 6, 3, 3), pads=1)))
    return b.build(b.fire("y", Projection("c", _conv(b.weights(3, 5, 6, 6))), kind="readout"))


def moves() -> Program:
    """Transpose, Reshape, Pad and Slice between Dense and Conv: nothing folds without a relay."""
    b = Builder((24,), hi=15)
    b.fire("h", Projection("x", Dense(b.weights(24, 24))))
    b.move("r", Reshape((4, 3, 2)), "h")
    b.move("t", Transpose((2, 0, 1)), "r")
    b.move("q", Pad(((0, 0), (1, 0), (0, 2))), "t")
    b.fire("c", Projection("q", _conv(b.weights(3, 2, 2, 2))))
    b.move("s", Slice(((0, 3, 2), (1, 4, 1), (0, 4, 2))), "c")
    flat = b.move("f", Reshape((int(np.prod(b.info("s").shape)),)), "s")
    return b.build(b.fire("y", Projection(flat, Dense(b.weights(3, b.info(flat).shape[0]))), kind="readout"))


def gather() -> Program:
    """A Gather with holes beside an Identity."""
    b = Builder((10,), lo=-8, hi=7)
    index = np.array([3, -1, 0, 9, 9, -1, 5])
    b.fire("h", Projection("x", Gather(index, np.array([2, 3, -5, 7, 1, 4, -6]))), lo=-4, hi=4)
    return b.build(b.fire("y", Projection("h", Dense(b.weights(3, 7))), kind="readout"))


def take() -> Program:
    """Rows read in any order and twice before a Dense and a Conv: weights of 127 meet and must not overflow 8 bits."""
    b = Builder((3, 4, 4), hi=15)
    b.move("k", Take(0, (2, 0, 2, 2)), "x")
    b.fire("c", Projection("k", _conv(np.full((2, 4, 3, 3), 127), pads=1)))
    b.move("up", Take(2, (0, 0, 1, 1, 2, 2, 3, 3)), b.move("rows", Take(1, (3, 2, 2, 0)), "c"))
    b.fire("d", Projection("up", _conv(b.weights(3, 2, 3, 3))))
    flat = b.move("f", Reshape((64,)), "up")
    return b.build(b.fire("y", Projection(flat, Dense(b.weights(4, 64, top=127) | 1)), kind="readout"))


def upsampling() -> Program:
    """A strided Conv, a pixel shuffle with a crop, a skip joined to it, nearest upsampling: a small U-Net."""
    b = Builder((3, 8, 8), hi=15)
    b.fire("down", Projection("x", _conv(b.weights(4, 3, 3, 3), strides=2, pads=1)))
    b.fire("up", Projection("down", _conv(b.weights(8, 4, 2, 2), pads=((1, 0), (0, 1)))))
    b.move("turn", Transpose((0, 3, 1, 4, 2)), b.move("apart", Reshape((2, 2, 2, 4, 4)), "up"))
    b.move("join", Concat(0), b.move("shuffle", Reshape((2, 8, 8)), "turn"), "x")
    b.fire("c", Projection("join", _conv(b.weights(4, 5, 3, 3), pads=1)))
    b.move("cut", Slice(((0, 4, 1), (1, 8, 1), (0, 7, 1))), "c")
    twice = tuple(i // 2 for i in range(14))
    b.move("near", Take(2, twice), b.move("rows", Take(1, twice), "cut"))
    return b.build(b.fire("y", Projection("near", _conv(b.weights(2, 4, 3, 3), pads=1)), hi=31))


def wide_sum() -> Program:
    """A sum whose weights take 15 bits, and a convolution whose weights take 9: narrow targets split them."""
    b = Builder((3, 5, 5), hi=15)
    b.fire("a", Projection("x", _conv(b.weights(4, 3, 3, 3), pads=1)), hi=15)
    b.fire("c", Projection("x", _conv(2 * b.weights(4, 3, 3, 3), pads=1)), hi=15)
    wide = Projection("a", Identity(np.array([16001, -9999, 128, 200]).reshape(4, 1, 1)))
    b.fire("s", wide, Projection("c", Identity(np.array([[[-12345]]]))), lo=-8, hi=7)
    return b.build(b.fire("y", Projection("s", _conv(b.weights(2, 4, 5, 5))), kind="readout"))


def unequal_depth() -> Program:
    """A skip over four layers: pipelined targets must delay it."""
    b = Builder((3, 5, 5), hi=7)
    last = "x"
    for i in range(4):
        last = b.fire(f"c{i}", Projection(last, _conv(b.weights(3, 3, 3, 3), pads=1)))
    b.fire(
        "y",
        Projection(last, Identity(_ones((3, 5, 5), 7))),
        Projection("x", Identity(_ones((3, 5, 5), -9))),
        lo=-7,
        hi=7,
    )
    return b.build("y")


def two_inputs() -> Program:
    """An image and a signed vector: each has layers of its own, one is joined, one is added two layers later."""
    b = Builder((2, 5, 4), hi=31)
    b.input("z", (6,), lo=-8, hi=7)
    b.fire("c", Projection("x", _conv(b.weights(3, 2, 3, 3), pads=1)))
    flat = b.move("f", Reshape((60,)), "c")
    joined = b.move("j", Concat(0), flat, "z")
    b.fire("h", Projection(joined, Dense(b.weights(6, 66))))
    b.fire("g", Projection("h", Dense(b.weights(6, 6))), Projection("z", Identity(_ones((6,), 9))), lo=-7)
    return b.build(b.fire("y", Projection("g", Dense(b.weights(3, 6))), kind="readout"))


def unread_input() -> Program:
    """An input of which every element is cut away again."""
    b = Builder((4,), hi=15)
    b.input("z", (3,), lo=-4, hi=3)
    joined = b.move("j", Concat(0), "z", "x")
    kept = b.move("s", Slice(((3, 7, 1),)), joined)
    b.fire("h", Projection(kept, Dense(b.weights(5, 4))))
    return b.build(b.fire("y", Projection("h", Dense(b.weights(2, 5))), kind="readout"))


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
    """Factors that stand elsewhere: a gate of rank 1 reshaped to channels, halves of one map, a transposed map."""
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


@dataclass(frozen=True)
class Case:
    """A named Program of the suite."""

    name: str
    make: Callable[[], Program]

    def __str__(self) -> str:
        return self.name

    @property
    def products(self) -> frozenset[str]:
        """The forms of products that a target needs for it (:attr:`Capabilities.products`), mostly none."""
        return frozenset(type(p.form).__name__ for step in self.make().populations() for p in step.products)

    @property
    def adaptive(self) -> frozenset[str]:
        """The thresholds that a target needs for it (:attr:`Capabilities.adaptive`), mostly none."""
        made = (step if isinstance(step, Normalization) else step.ladder for step in fired(self.make()))
        return frozenset(type(x).__name__ for x in made) & ADAPTIVE


def fired(program: Program) -> list[Population | Normalization]:
    """Return the steps that compute integers of their own, which every target must return."""
    return [step for step in program.steps if isinstance(step, Population | Normalization)]


CASES: tuple[Case, ...] = tuple(
    Case(f.__name__, f)
    for f in (
        mlp, mlp_table, mlp_table_unsorted, signed_codes, conv_chain, conv_shapes, conv1d, pools, max_pool_signed,
        max_pool_unsorted, residual, two_digits, pad_shortcut, concat, moves, gather, take, upsampling,
        wide_sum, unequal_depth, product_gate,
        product_broadcast, product_plus_skip, product_of_moves,
        matmul, thresholds_that_follow, thresholds_that_share, layer_norm, root_mean_square, attention,
    )
)  # fmt: skip


# For back ends that take several inputs; one that takes a single tensor refuses these with SFN402.
SEVERAL_INPUTS: tuple[Case, ...] = tuple(Case(f.__name__, f) for f in (two_inputs, unread_input))


def check(backend: Backend, case: Case, folder: Path, options: Mapping[str, Any] | None = None) -> RunResult:
    """Emit, reload and run one case; raise AssertionError at the first integer that differs from the simulator.

    CompileError is raised where the target refuses it, with SFN901 where its files do not read back as the network.

    ``options``: those of the target, by their own names; the others have their defaults.
    """
    defaults = {o.name: o.default for o in target_options.declared(backend.name)}
    program = build_target(case.make(), backend, {**defaults, **(options or {})}, folder).program
    inputs = edge_inputs(program)
    golden = run_codes(program, inputs, engine="reference")
    result = backend.run(folder, RunRequest(inputs, golden))
    for step in fired(program):
        got = result.values[step.name]
        different = int((got != golden[step.name]).sum())
        assert different == 0, f"{case}: {step.name}: {different} of {got.size} integers differ"
    return result
