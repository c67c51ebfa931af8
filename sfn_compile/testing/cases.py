"""Programs of the conformance suite with sums, moves and pools: what back ends most likely compute otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..program.network import (
    Concat,
    Conv,
    Dense,
    Gather,
    Identity,
    Pad,
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
