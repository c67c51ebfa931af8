"""Programs for the target onnx that the shared suite does not have, and the operators that each must become."""

from dataclasses import replace

import numpy as np
from sfn_backends.onnx import parts

from sfn_compile.program.network import (
    Concat,
    Conv,
    Dense,
    Elementwise,
    Gather,
    Identity,
    Matmul,
    Pad,
    Product,
    Projection,
    Ratio,
    Reshape,
    Slice,
    SumPool,
    Table,
    Transpose,
    Uniform,
)
from sfn_compile.testing.builder import Builder

ONE = np.ones((1, 1, 1), np.int64)


def conv(weight, stride=1, pad=0, dilation=1, groups=1):
    n = weight.ndim - 2
    return Conv(weight, (stride,) * n, ((pad, pad),) * n, (dilation,) * n, groups)


def redo(b, **changes):
    """Change the population that was added last."""
    b.steps[-1] = replace(b.steps[-1], **changes)


# -- programs that the shared suite does not have, and the operators that must appear in their graphs ------------------
def eight_bit_input():
    """Codes to 255 and weights to 127: pairs of products would saturate without a second copy of the channels."""
    b = Builder((3, 9, 9), lo=-128, hi=127)
    b.fire("a", Projection("x", conv(b.weights(8, 3, 3, 3), stride=2, pad=1)), hi=255)
    return b.build(b.fire("y", Projection("a", conv(b.weights(8, 8, 1, 1)))))


def nine_bit_weights():
    """Weights of a uint8 grid with a zero: neither int8 nor two copies hold them."""
    b = Builder((4, 6, 6), hi=255)
    b.fire("a", Projection("x", conv(b.rng.integers(-203, 52, (4, 1, 3, 3)), pad=1, groups=4)), hi=255)
    return b.build(b.fire("y", Projection("a", conv(b.rng.integers(-60, 195, (5, 4, 1, 1)))), hi=255))


def basic_block():
    """A stride-2 block with a 1x1 shortcut and then an identity skip, of few channels: laid out by rows."""
    b = Builder((4, 9, 8), hi=31)
    b.fire("a", Projection("x", conv(b.weights(6, 4, 3, 3), stride=2, pad=1)), hi=31)
    shortcut = Projection("x", conv(b.weights(6, 4, 1, 1), stride=2))
    b.fire("b", Projection("a", conv(b.weights(6, 6, 3, 3), pad=1)), shortcut, hi=31)
    b.fire("c", Projection("b", conv(b.weights(6, 6, 3, 3), pad=2, dilation=2)), lo=-16, hi=15)
    skip = Projection("b", Identity(b.weights(6, 1, 1)))
    return b.build(b.fire("y", Projection("c", conv(b.weights(6, 6, 3, 3), pad=1)), skip))


def broad_block():
    """Many channels and windows of three sizes and strides: laid out whole."""
    b = Builder((6, 5, 5), hi=31)
    b.fire("a", Projection("x", conv(b.weights(parts.BROAD, 6, 3, 3), pad=1)), lo=-8, hi=7)
    near = Projection("a", conv(b.weights(7, parts.BROAD, 3, 3), stride=2))
    far = Projection("x", conv(b.weights(7, 6, 5, 5), stride=2, pad=1))
    return b.build(b.fire("y", near, far, Projection("x", conv(b.weights(7, 6, 1, 1), stride=3)), hi=31))


def even_block():
    """Windows of a map and a strided shortcut with another zero and half as many channels: read in one go."""
    b = Builder((parts.BROAD // 2, 6, 5), lo=-8, hi=7)
    b.fire("a", Projection("x", conv(b.weights(parts.BROAD, parts.BROAD // 2, 3, 3), stride=2, pad=1)), hi=31)
    shortcut = Projection("x", conv(b.weights(5, parts.BROAD // 2, 1, 1), stride=2))
    return b.build(b.fire("y", Projection("a", conv(b.weights(5, parts.BROAD, 3, 3), pad=1)), shortcut, hi=31))


def small_images():
    """Few pixels and 8-bit codes: windows of all samples in one row, each read twice."""
    b = Builder((parts.BROAD, 3, 3), lo=-128, hi=127)
    return b.build(b.fire("y", Projection("x", conv(b.weights(6, parts.BROAD, 3, 3), pad=1)), hi=255))


def bottleneck():
    """1x1 convolutions and a signed skip with another zero: plain joined channels, a constant in the bias."""
    b = Builder((5, 6, 4), lo=-16, hi=15)
    b.fire("a", Projection("x", conv(b.weights(9, 5, 1, 1))), hi=31)
    return b.build(
        b.fire("y", Projection("a", conv(b.weights(5, 9, 1, 1))), Projection("x", Identity(ONE * 90)), lo=-16, hi=15)
    )


def one_axis_block():
    """The residual block over one axis."""
    b = Builder((3, 17), hi=31)
    b.fire("a", Projection("x", conv(b.weights(3, 3, 5), pad=2)), hi=31)
    return b.build(
        b.fire("y", Projection("a", conv(b.weights(3, 3, 3), pad=1)), Projection("x", Identity(ONE[0] * 77)))
    )


def rows_of_features():
    """Dense over the last axis of a (tokens, features) value, with a skip: one matrix product."""
    b = Builder((4, 6), hi=31)
    b.fire("a", Projection("x", Dense(b.weights(6, 6))), hi=31)
    redo(b, ladder=Uniform(np.arange(301, 313, 2), np.arange(6) - 3, 0, 31))
    b.fire("y", Projection("a", Dense(b.weights(6, 6))), Projection("x", Identity(b.weights(6))), hi=31)
    redo(b, ladder=Uniform(np.array([301]), np.array([7]), 0, 31))
    return b.build("y")


def shifted_tables():
    """A depthwise line whose shifts are no integers, and channels that are cut to fewer codes: two kernels."""
    b = Builder((6, 7, 7), hi=31)
    step = np.array([88.4137, 10.1733, 69.2191, 51.7137, 203.3171, 128.9173])[:, None, None, None]
    tau = np.ceil(step * (np.arange(31) + 0.5) - np.array([350.2, 3.3, 840.1, 600, 0, 77])[:, None, None, None])
    b.fire("a", Projection("x", conv(b.weights(6, 1, 3, 3), pad=1, groups=6)), hi=31)
    top = np.array([31, 31, 4, 31, 10, 0])[:, None, None, None]
    tau = np.where(np.arange(31) < top, tau, b.steps[-1].acc_max + 1)
    redo(b, ladder=Table(tau.astype(np.int64), np.arange(32)))
    return b.build(b.fire("y", Projection("a", conv(b.weights(4, 6, 1, 1)))))


def even_thetas():
    """Ties exist for even thetas: a scale beside the tie, or codes raised by so many that the offset is whole."""
    b = Builder((4, 5, 5), lo=-8, hi=7)
    b.fire("a", Projection("x", conv(b.weights(5, 4, 3, 3), pad=1)), kind="pow2", lo=-8, hi=7)
    return b.build(b.fire("y", Projection("a", conv(b.weights(3, 5, 3, 3), pad=1)), kind="pow2", hi=31))


def per_neuron():
    """Offsets and thresholds that differ from pixel to pixel."""
    b = Builder((2, 4, 4), lo=-8, hi=7)
    b.fire("a", Projection("x", conv(b.weights(3, 2, 3, 3), pad=1)))
    redo(b, ladder=replace(b.steps[-1].ladder, offset=b.rng.integers(-99, 99, (3, 4, 4))))
    b.fire("b", Projection("a", conv(b.weights(3, 3, 1, 1))), kind="table", hi=5)
    redo(b, ladder=Table(np.sort(b.rng.integers(-900, 900, (3, 4, 4, 5))), np.array([0, 3, 1, 4, 1, 5])))
    return b.build(b.fire("y", Projection("b", Identity(b.weights(3, 4, 4))), kind="readout"))


def wide_sums():
    """Sums past 2^24: exact pieces of channels, integer division, a table and a readout in 64 bits."""
    b = Builder((1200,), hi=255)
    big = b.rng.integers(-32767, 32768, (6, 1200))
    b.fire("a", Projection("x", Dense(big)), hi=255)
    b.fire("t", Projection("x", Dense(big[::-1])), kind="table", lo=-3, hi=4)
    b.fire("c", Projection("a", Dense(b.weights(4, 6))), Projection("t", Dense(b.weights(4, 6) * 250)), lo=-128, hi=127)
    return b.build(b.fire("y", Projection("x", Dense(big[:3])), kind="readout"))


def wide_convolutions():
    """The same for convolutions, with one channel too much for float32, groups, pools and a skip."""
    b = Builder((4, 9, 9), hi=255)
    heavy = b.rng.integers(-32767, 32768, (4, 2, 5, 5))
    b.fire("a", Projection("x", conv(heavy, pad=2, groups=2)), Projection("x", Identity(ONE * -32767)), hi=31)
    pool = SumPool((3, 3), (1, 1), ((1, 1), (1, 1)), b.rng.integers(-32767, 32768, (4, 9, 9)))
    index = b.rng.integers(-1, 4 * 81, (4, 9, 9))
    b.fire(
        "y",
        Projection("x", pool),
        Projection("x", conv(heavy, pad=2, groups=2)),
        Projection("a", Gather(index, ONE * 32767)),
    )
    return b.build("y")


def mixed_zeros():
    """A join of signed and unsigned codes, padded; a pool with more padding than kernel."""
    b = Builder((2, 6, 6), lo=-4, hi=7)
    b.fire("a", Projection("x", conv(b.weights(2, 2, 1, 1))), hi=31)
    b.fire("s", Projection("x", conv(b.weights(3, 2, 1, 1))), lo=-9, hi=2)
    b.move("j", Concat(0), "x", "a", "s")
    b.max_pool("m", "j", (2, 2), (1, 1), ((2, 1), (0, 2)))
    return b.build(b.fire("y", Projection("m", conv(b.weights(3, 7, 3, 3), pad=1)), lo=2, hi=9))


def padded_pools():
    """Pools behind padding as wide as their kernel, of signed and unsigned codes and of accumulators."""
    b = Builder((2, 5, 5), hi=7)
    b.fire("s", Projection("x", conv(b.weights(2, 2, 1, 1))), lo=-9, hi=2)
    b.fire("r", Projection("s", conv(b.weights(2, 2, 1, 1))), kind="readout")
    for name in ("x", "s", "r"):
        b.move(f"{name}p", Pad(((0, 0), (2, 3), (0, 2))), name)
        b.max_pool(f"{name}m", f"{name}p", (2, 2), (1, 1))
    b.move("j", Concat(0), "xm", "sm")
    return b.build(b.move("y", Concat(0), "j", "rm"))


def wide_codes():
    """More than 256 codes in and out."""
    b = Builder((7,), lo=-1000, hi=3000)
    b.fire("a", Projection("x", Dense(b.rng.integers(-3, 4, (5, 7)))), lo=-500, hi=400)
    b.fire("t", Projection("a", Dense(b.weights(4, 5))), kind="table", lo=-200, hi=100)
    return b.build(b.fire("y", Projection("t", Dense(b.weights(4, 4))), lo=-3, hi=3))


def moved_readout():
    """Accumulators that are pooled, cut and joined with codes on their way to the output."""
    b = Builder((2, 6), hi=15)
    b.fire("r", Projection("x", conv(b.weights(3, 2, 3), pad=1)), kind="readout")
    b.max_pool("m", "r", (2,), (2,))
    b.move("s", Slice(((0, 2, 1), (0, 3, 2))), "m")
    b.move("c", Slice(((0, 2, 1), (0, 2, 1))), "x")
    return b.build(b.move("y", Concat(0), "s", "c"))


def single_neuron():
    """One output and an even theta: a scalar factor that onnxruntime would fold into the MatMul."""
    b = Builder((9,), lo=-8, hi=7)
    b.fire("y", Projection("x", Dense(b.weights(1, 9))), lo=-200, hi=199)
    redo(b, ladder=Uniform(np.array([214]), np.array([-77]), -200, 199))
    return b.build("y")


def straight_tables():
    """Tables on a line (a ReLU6 that ends below the highest code), one channel of which never fires."""
    b = Builder((3, 5, 5), hi=31)
    b.fire("a", Projection("x", conv(b.weights(4, 3, 3, 3), pad=1)), hi=15)
    top = b.steps[-1].acc_max + 1
    steps = np.array([331.0, 214.0, 150.25, 1e9])[:, None] * (np.arange(15) + 0.5) + 20
    redo(b, ladder=Table(np.minimum(np.ceil(steps), top).astype(np.int64)[:, None, None], np.arange(16)))
    b.fire("y", Projection("a", conv(b.weights(3, 4, 3, 3), pad=1)), hi=15)
    phases = np.array([0.31, 0.77, 0.5])[:, None] + 97.3 * (np.arange(15) + 0.5)
    redo(b, ladder=Table(np.ceil(phases).astype(np.int64)[:, None, None], np.arange(16)))
    return b.build("y")


def curved_tables():
    """Thresholds that bend, repeat, lie out of reach or next to each other; codes in any order."""
    b = Builder((3, 6, 6), hi=255)
    b.fire("a", Projection("x", conv(b.weights(5, 3, 3, 3), pad=1)), hi=255)
    reach = b.steps[-1].acc_max
    tau = np.sort(
        np.concatenate([b.rng.integers(-reach, reach, (5, 200)), np.tile(b.rng.integers(-99, 99, 55), (5, 1))], 1)
    )
    tau[:, 3], tau[:, -3:], tau[0], tau[1, 1:] = tau[:, 2] + 1, 2 * reach, -2 * reach, tau[1, 0]
    redo(b, ladder=Table(tau[:, None, None], b.rng.permutation(256)))
    b.fire("s", Projection("x", conv(b.weights(4, 3, 1, 1))), lo=-8, hi=7)
    bent = np.round(400 * np.sinh(np.linspace(-2, 2, 15))).astype(int)
    redo(b, ladder=Table((bent + np.arange(4)[:, None])[:, None, None], np.arange(-8, 8)))
    return b.build(b.move("y", Concat(0), "a", "s"))


def wide_rows():
    """Rows of sums past 2^24 and quotients past 2^53: everything in 64 bits."""
    b = Builder((700,), hi=255)
    big = b.rng.integers(-32767, 32768, (6, 700))
    b.follow("e", Projection("x", Dense(big)), axis=0)
    b.fire("a", Projection("x", Dense(big[::-1])), lo=-2000, hi=2000)
    b.share("q", Product("e", "a", Elementwise(np.array(32767))), Projection("x", Dense(big)), norm="e", axis=0, hi=99)
    redo(b, ladder=Ratio(np.array([4095]), np.array([2047]), 1 - 2**31, 2**31 - 1))
    b.share("y", Projection("q", Identity(b.weights(6))), norm="e", axis=0, lo=-8, hi=7)
    redo(b, ladder=Ratio(np.array([41]), np.array([20]), -8, 7))
    return b.build("y")


def doubles():
    """Quotients and matrix products between 2^24 and 2^53, codes that do not fit a byte."""
    b = Builder((3, 40), lo=-1000, hi=3000)
    b.move("t", Transpose((1, 0)), "x")
    b.fire("m", Product("x", "t", Matmul(np.array(2))), lo=-300, hi=300)
    b.follow("e", Projection("m", Dense(b.weights(4, 3))), axis=1, hi=900)
    big = b.rng.integers(-9999, 9999, (5, 4))
    b.share("q", Projection("e", Dense(big)), norm="e", axis=1, lo=-400, hi=700)
    b.normalize("n", "q", (0, 1), b.rng.integers(1, 999, (3, 5)), bits=4, weight=b.weights(3, 5), lo=-300, hi=300)
    return b.build(b.fire("y", Product("n", "q", Elementwise(_small())), lo=-8, hi=7))


def _small():
    return np.array([[3], [-2], [1]])


def floats():
    """Quotients below 2^24: float32 to the end."""
    b = Builder((4, 6), hi=3)
    b.follow("e", Projection("x", Dense(b.weights(5, 6))), axis=1, hi=15)
    return b.build(b.share("y", Product("e", "e", Elementwise(ONE[0])), norm="e", axis=1, lo=2, hi=9))


def four_axes():
    """Element by element on a sample of four axes: one kernel over channels and all places."""
    b = Builder((2, 1, 3, 2), lo=-8, hi=7)
    b.fire("a", Projection("x", Identity(b.weights(2, 1, 1, 1))), hi=31)
    b.fire(
        "b", Projection("a", Identity(b.weights(2, 1, 1, 1))), Projection("x", Identity(b.weights(2, 1, 1, 1))), hi=31
    )
    return b.build(b.fire("y", Projection("b", Identity(b.weights(2, 1, 3, 2))), lo=-1, hi=0))


def no_thresholds():
    """Populations of a single code, as constant functions make: of a map, of a vector, in front of a convolution."""
    b = Builder((2, 3, 3), lo=-8, hi=7)
    for name, code in (("a", 3), ("b", -2), ("c", 0)):
        b.fire(name, Projection("x", Identity(b.weights(2, 1, 1))))
        redo(b, ladder=Table(np.zeros((1, 1, 1, 0), np.int64), np.array([code])))
    b.fire("d", *(Projection(s, conv(b.weights(2, 2, 1, 1))) for s in "abcx"), hi=31)
    b.fire("e", Projection(b.move("f", Reshape((18,)), "d"), Dense(b.weights(3, 18))))
    redo(b, ladder=Table(np.zeros((3, 0), np.int64), np.array([200])))
    return b.build(b.fire("y", Projection("e", Dense(b.weights(2, 3))), kind="readout"))


def grown_by_padding():
    """A kernel whose padding makes the map wider, beside skips: they are no columns of what it reads."""
    b = Builder((4, 4, 4), lo=-8, hi=7)
    wide = Conv(b.weights(6, 4, 1, 2), (1, 1), ((0, 0), (1, 1)), (1, 1))
    b.fire("a", Projection("x", wide), lo=-8, hi=7)
    skip = Projection("a", Identity(b.weights(6, 1, 1)))
    return b.build(b.fire("y", Projection("x", wide), skip, lo=-8, hi=7))


def windows_of_two_maps():
    """Strided kernels that are alike on maps of eight and of nine columns."""
    b = Builder((4, 3, 9), lo=-8, hi=7)
    b.fire("a", Projection("x", Conv(b.weights(4, 4, 1, 2), (1, 1), ((0, 0), (0, 0)), (1, 1))), lo=-8, hi=7)
    pair = (Projection(s, Conv(b.weights(5, 4, 1, 2), (1, 2), ((0, 0), (0, 0)), (1, 1))) for s in "ax")
    return b.build(b.fire("y", *pair, lo=-8, hi=7))


def pool_of_one_channel():
    """A sum of one channel of eight bits: a plain kernel, whose pairs of products must not saturate."""
    b = Builder((1, 8, 3), lo=-128, hi=127)
    pool = SumPool((8, 3), (8, 3), ((0, 0), (0, 0)), weight=np.full((1, 1, 1), 104))
    return b.build(b.fire("y", Projection("x", pool), lo=-128, hi=127))


def heavy_skip(channels=16, n=11, lo=0, hi=31, signed=False, kernel=3, weight=None):
    """A residual block whose skip is stated as ``n`` equal projections, as the compiler writes weights beyond int8."""
    b = Builder((channels, 6, 5), lo=lo, hi=hi)
    b.fire("a", Projection("x", conv(b.weights(channels, channels, kernel, kernel), pad=kernel // 2)), hi=hi - lo)
    each = Identity(b.weights(channels, 1, 1) if signed else ONE * 113) if weight is None else Identity(weight)
    branch = Projection("a", conv(b.weights(channels, channels, kernel, kernel), pad=kernel // 2))
    return b.build(b.fire("y", branch, *[Projection("x", each)] * n, lo=lo, hi=hi))


def heavy_skip_of_rows():
    """The same over the last axis of a (tokens, features) value."""
    b = Builder((5, 8), lo=-16, hi=15)
    b.fire("a", Projection("x", Dense(b.weights(8, 8))), lo=-16, hi=15)
    b.fire(
        "y", Projection("a", Dense(b.weights(8, 8))), *[Projection("x", Identity(np.full(8, 101)))] * 9, lo=-16, hi=15
    )
    redo(b, ladder=Uniform(np.array([2001]), np.array([7]), -16, 15))
    return b.build("y")


def skips_of_two_sources():
    """Two skips, of which one is read with two weights, and no convolution beside them."""
    b = Builder((6, 4, 4), hi=15)
    b.fire("a", Projection("x", conv(b.weights(6, 6, 1, 1))), hi=15)
    x = [Projection("x", Identity(np.full((6, 1, 1), w))) for w in (127, 127, -40)]
    return b.build(b.fire("y", *x, *[Projection("a", Identity(-ONE * 127))] * 3, hi=15))


MORE = {
    heavy_skip: {"QLinearConv": 4, "Concat": 1},
    heavy_skip_of_rows: {"QLinearConv": 2, "Concat": 1},
    skips_of_two_sources: {"QLinearConv": 4},
    wide_rows: {"ReduceMax": 1, "ReduceSum": 2, "Div": 3, "Floor": 1, "GreaterOrEqual": 8},
    doubles: {"ReduceMax": 1, "ReduceSum": 3, "Sqrt": 1, "Floor": 4, "MatMul": 4},
    floats: {"Floor": 2, "Div": 1},
    curved_tables: {"GreaterOrEqual": 9},
    eight_bit_input: {"QLinearConv": 2},
    nine_bit_weights: {"QLinearConv": 2},
    basic_block: {"QLinearConv": 4},
    broad_block: {"Gather": 3},
    even_block: {"QLinearConv": 2, "Gather": 1, "Slice": 0},
    small_images: {"QLinearConv": 1, "Gather": 1, "Concat": 0},
    bottleneck: {"QLinearConv": 2, "Concat": 1},
    four_axes: {"QLinearConv": 2},
    no_thresholds: {"QLinearConv": 1, "GreaterOrEqual": 4},
    grown_by_padding: {"QLinearConv": 2},
    windows_of_two_maps: {"QLinearConv": 2},
    pool_of_one_channel: {"QLinearConv": 1},
    one_axis_block: {"QLinearConv": 2},
    rows_of_features: {"QLinearConv": 2, "MatMul": 0},
    even_thetas: {"Conv": 0, "QLinearConv": 3},
    per_neuron: {"Div": 1, "GreaterOrEqual": 1},
    wide_sums: {"Slice": 18, "Div": 2, "GreaterOrEqual": 3},
    wide_convolutions: {"Div": 2, "Conv": 5},
    mixed_zeros: {"MaxPool": 1, "Concat": 2},
    padded_pools: {"MaxPool": 3, "Clip": 4},
    wide_codes: {"Round": 1},
    moved_readout: {"MaxPool": 1},
    single_neuron: {"Div": 1},
    shifted_tables: {"QLinearConv": 3, "Div": 0},
    straight_tables: {"GreaterOrEqual": 0, "QLinearConv": 3, "Div": 0},
}
