"""Quantised networks in the formats that exporters write, made by hand with seeded integers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# No simple ratios: sums of codes on such grids would meet ties, which float kernels round either way.
X_SCALE, HIDDEN_SCALE, OUT_SCALE, SUM_SCALE, MEAN_SCALE = 0.0231, 0.07117, 0.19051, 0.21353, 0.16927


class Maker:
    """Collects nodes and constants of a small quantised network; ``signed`` int8 activations, else uint8."""

    def __init__(self, signed: bool = False, zero: int | None = None, per_channel: bool = True, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        self.dtype = np.int8 if signed else np.uint8
        self.zero = (0 if signed else 128) if zero is None else zero
        self.per_channel = per_channel
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def grid(self, name: str, scale: float, zero: int | None = None) -> list[str]:
        """Return names of a scale and a zero point of an activation."""
        zero = self.zero if zero is None else zero
        return [
            self.constant(f"{name}_scale", np.array(scale, np.float32)),
            self.constant(f"{name}_zero", np.array(zero, self.dtype)),
        ]

    def quantize(self, source: str, name: str, grid: list[str]) -> str:
        """Return the real value behind QuantizeLinear and DequantizeLinear."""
        stored = self.node("QuantizeLinear", [source, *grid], f"{name}_q")
        return self.node("DequantizeLinear", [stored, *grid], f"{name}_dq")

    def weight(self, name: str, shape: tuple[int, ...]) -> list[str]:
        """Return names of stored weights, their scale and zero point (per output channel where asked)."""
        stored = self.rng.integers(-127, 128, shape).astype(np.int8)
        n = shape[0] if self.per_channel else 1
        scale = self.rng.uniform(0.002, 0.006, n).astype(np.float32)
        zero = np.zeros(n, np.int8)
        scale, zero = (scale, zero) if self.per_channel else (scale.reshape(()), zero.reshape(()))
        return [
            self.constant(f"{name}_w", stored),
            self.constant(f"{name}_ws", scale),
            self.constant(f"{name}_wz", zero),
        ]

    def bias(self, name: str, n: int) -> np.ndarray:
        return self.rng.integers(-4000, 4000, n).astype(np.int32)

    def save(self, path: Path, inputs: tuple[int, ...], outputs: list[str], opset: int = 13) -> Path:
        """Write the model with float input ``x`` of a batch of any size."""
        graph = helper.make_graph(
            self.nodes, "quantised", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *inputs])],
            [helper.make_empty_tensor_value_info(o) for o in outputs], self.constants,
        )  # fmt: skip
        domains = sorted({n.domain for n in self.nodes if n.domain})
        imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
        onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
        return path


def qdq_conv(m: Maker, name: str, source: str, source_scale: float, shape: tuple[int, ...], **attributes) -> str:
    """Return a Conv on dequantised weights and bias, before its own quantiser."""
    w, ws, wz = m.weight(name, shape)
    axis = {"axis": 0} if m.per_channel else {}
    real = m.node("DequantizeLinear", [w, ws, wz], f"{name}_weight", **axis)
    scales = next(numpy_helper.to_array(c) for c in m.constants if c.name == ws)
    unit = m.constant(f"{name}_bs", (np.float32(source_scale) * scales).astype(np.float32))
    stored = m.constant(f"{name}_b", m.bias(name, shape[0]))
    bias = m.node("DequantizeLinear", [stored, unit], f"{name}_bias", **axis)
    return m.node("Conv", [source, real, bias], f"{name}_conv", **attributes)


def qdq_residual(path: Path, **kinds) -> Path:
    """Conv-Relu, Conv, residual Add, max pool, average pool, Conv: every value between quantisers."""
    m = Maker(**kinds)
    x = m.quantize("x", "x", m.grid("x", X_SCALE))
    first = m.node("Relu", [qdq_conv(m, "a", x, X_SCALE, (6, 3, 3, 3), pads=[1, 1, 1, 1])], "a_relu")
    a = m.quantize(first, "a", m.grid("a", HIDDEN_SCALE))
    b = m.quantize(qdq_conv(m, "b", a, HIDDEN_SCALE, (6, 6, 3, 3), pads=[1, 1, 1, 1]), "b", m.grid("b", OUT_SCALE))
    total = m.quantize(m.node("Add", [a, b], "sum"), "sum", m.grid("sum", SUM_SCALE))
    pooled = m.node("MaxPool", [total], "pooled", kernel_shape=[2, 2], strides=[2, 2])
    again = m.quantize(pooled, "p", m.grid("p", SUM_SCALE))
    mean = m.node("AveragePool", [again], "mean", kernel_shape=[2, 2], strides=[2, 2])
    last = qdq_conv(m, "c", m.quantize(mean, "m", m.grid("m", MEAN_SCALE)), MEAN_SCALE, (4, 6, 2, 2))
    y = m.quantize(last, "y", m.grid("y", 0.6))
    return m.save(path, (3, 8, 8), [y])


def qoperator(path: Path, **kinds) -> Path:
    """QLinearConv, QLinearAdd with a skip, QLinearGlobalAveragePool, QLinearMatMul."""
    m = Maker(**kinds)
    gx, ga, gb = m.grid("x", X_SCALE), m.grid("a", HIDDEN_SCALE), m.grid("b", OUT_SCALE)
    x = m.node("QuantizeLinear", ["x", *gx], "x_q")
    bias = [m.constant(f"b{i}", m.bias(str(i), 5)) for i in range(2)]
    a = m.node("QLinearConv", [x, *gx, *m.weight("a", (5, 3, 3, 3)), *ga, bias[0]], "a", pads=[1, 1, 1, 1])
    b = m.node("QLinearConv", [a, *ga, *m.weight("b", (5, 5, 1, 1)), *gb, bias[1]], "b")
    gs, gm, gy = m.grid("s", SUM_SCALE), m.grid("m", MEAN_SCALE), m.grid("y", 0.5)
    s = m.node("QLinearAdd", [a, *ga, b, *gb, *gs], "s", domain="com.microsoft")
    mean = m.node("QLinearGlobalAveragePool", [s, *gs, *gm], "mean", domain="com.microsoft", channels_last=0)
    shape = m.constant("shape", np.array([0, 5], np.int64))
    flat = m.node("Reshape", [mean, shape], "flat")
    matrix = m.constant("mat", m.rng.integers(-127, 128, (5, 4)).astype(np.int8))
    grid = [m.constant("ms", np.array(0.01, np.float32)), m.constant("mz", np.array(0, np.int8))]
    y = m.node("QLinearMatMul", [flat, *gm, matrix, *grid, *gy], "y_q")
    return m.save(path, (3, 6, 6), [m.node("DequantizeLinear", [y, *gy], "y")])


def tensorrt(path: Path, **kinds) -> Path:
    """Only the inputs of convolutions are quantised: sums and activations between them stay in float."""
    m = Maker(signed=True, zero=0, **kinds)
    x = m.quantize("x", "x", m.grid("x", X_SCALE))
    a = m.node("Relu", [qdq_conv(m, "a", x, X_SCALE, (6, 3, 3, 3), pads=[1, 1, 1, 1])], "a_relu")
    a = m.quantize(a, "a", m.grid("a", HIDDEN_SCALE))
    left = qdq_conv(m, "b", a, HIDDEN_SCALE, (4, 6, 3, 3), pads=[1, 1, 1, 1])
    right = qdq_conv(m, "c", a, HIDDEN_SCALE, (4, 6, 1, 1))
    total = m.node("Relu", [m.node("Add", [left, right], "sum")], "sum_relu")
    y = qdq_conv(m, "d", m.quantize(total, "t", m.grid("t", 0.13)), 0.13, (3, 4, 3, 3))
    return m.save(path, (3, 6, 6), [y])


def halves(path: Path, signed: bool) -> Path:
    """QLinearConv whose sums are odd multiples of half an output step: every second code is a tie."""
    m = Maker(signed=signed, zero=3)
    gx, gy = m.grid("x", 0.25), m.grid("y", 0.5)
    x = m.node("QuantizeLinear", ["x", *gx], "x_q")
    weight = [m.constant("w", np.array([[[[1]]], [[[-1]]]], np.int8)), m.constant("ws", np.ones(2, np.float32)),
              m.constant("wz", np.zeros(2, np.int8))]  # fmt: skip
    y = m.node("QLinearConv", [x, *gx, *weight, *gy, m.constant("b", np.array([1, -3], np.int32))], "y_q")
    return m.save(path, (1, 6, 6), [m.node("DequantizeLinear", [y, *gy], "y")])


def joined(path: Path, axis: int, quantised: bool = True) -> Path:
    """A convolution over two values of different scale, or one without, joined without a quantiser behind."""
    m = Maker(signed=True)
    x = m.quantize("x", "x", m.grid("x", X_SCALE))
    a = m.quantize(qdq_conv(m, "a", x, X_SCALE, (4, 3, 1, 1)), "a", m.grid("a", HIDDEN_SCALE))
    raw = qdq_conv(m, "b", x, X_SCALE, (4, 3, 1, 1))
    b = m.quantize(raw, "b", m.grid("b", OUT_SCALE)) if quantised else m.node("Relu", [raw], "b_relu")
    both = m.node("Concat", [a, b], "joined", axis=axis)
    return m.save(path, (3, 6, 6), [qdq_conv(m, "c", both, 1.0, (3, 8 if axis == 1 else 4, 3, 3))])


def qonnx(path: Path, bits: float = 3.0, rounding: str = "ROUND", signed: int = 1, bipolar: bool = False) -> Path:
    """Brevitas style: quantised weights and activations around MatMul and BatchNormalization with negative gammas."""
    m = Maker()
    zero, width = m.constant("zero", np.array(0, np.float32)), m.constant("bits", np.array(bits, np.float32))

    def quant(source: str, name: str, scale: float) -> str:
        s = m.constant(f"{name}_s", np.array(scale, np.float32))
        if bipolar:
            return m.node("BipolarQuant", [source, s], f"{name}_quant", domain="onnx.brevitas")
        kind = {"narrow": 0, "signed": signed, "rounding_mode": rounding}
        return m.node("Quant", [source, s, zero, width], f"{name}_quant", domain="onnx.brevitas", **kind)

    w1 = m.constant("w1", m.rng.standard_normal((8, 12)).astype(np.float32))
    h = m.node(
        "MatMul", [quant("x", "x", 0.5), m.node("Transpose", [_weights(m, w1, "w1", zero)], "w1_t", perm=[1, 0])], "h"
    )
    names = [m.constant(k, v) for k, v in _norm(m, 8).items()]
    h = quant(m.node("BatchNormalization", [h, *names], "norm"), "h", 0.4)
    w2 = m.constant("w2", m.rng.standard_normal((8, 3)).astype(np.float32))
    y = m.node("MatMul", [h, _weights(m, w2, "w2", zero)], "y")
    return m.save(path, (12,), [y], opset=9 if rounding == "ROUND" else 13)


def _weights(m: Maker, source: str, name: str, zero: str) -> str:
    parts = [
        m.constant(f"{name}_s", np.array(0.5, np.float32)),
        zero,
        m.constant(f"{name}_bits", np.array(2, np.float32)),
    ]
    return m.node("Quant", [source, *parts], f"{name}_quant", domain="onnx.brevitas", narrow=1, signed=1)


def _norm(m: Maker, n: int) -> dict[str, np.ndarray]:
    return {
        "gamma": m.rng.choice([-1.0, 1.0], n).astype(np.float32) * m.rng.uniform(0.5, 1.5, n).astype(np.float32),
        "beta": m.rng.standard_normal(n).astype(np.float32),
        "mean": m.rng.standard_normal(n).astype(np.float32),
        "variance": m.rng.uniform(0.5, 2.0, n).astype(np.float32),
    }


# name -> (operator, how its inputs stand, attributes): s is the stored source with its grid, o the grid of the result.
SINGLE: dict[str, tuple[str, list[str], dict]] = {
    "QLinearConv": ("QLinearConv", ["s", "w", "o"], {}),
    "QLinearMatMul": ("QLinearMatMul", ["s", "m", "o"], {}),
    "com.microsoft::QLinearConv": ("QLinearConv", ["s", "w", "o"], {"domain": "com.microsoft"}),
    "com.microsoft::QGemm": ("QGemm", ["s", "m", "b", "o"], {"domain": "com.microsoft", "alpha": 0.7}),
    "com.microsoft::QLinearAdd": ("QLinearAdd", ["s", "k", "o"], {"domain": "com.microsoft"}),
    "com.microsoft::QLinearConcat": ("QLinearConcat", ["o", "s", "s"], {"domain": "com.microsoft", "axis": 1}),
    "com.microsoft::QLinearAveragePool": (
        "QLinearAveragePool", ["s", "o"], {"domain": "com.microsoft", "kernel_shape": [2, 3], "pads": [1, 1, 0, 0]}),
    "com.microsoft::QLinearGlobalAveragePool": ("QLinearGlobalAveragePool", ["s", "o"], {"domain": "com.microsoft"}),
    "com.microsoft::QLinearSigmoid": ("QLinearSigmoid", ["s", "u"], {"domain": "com.microsoft"}),
    "com.microsoft::QLinearLeakyRelu": ("QLinearLeakyRelu", ["s", "o"], {"domain": "com.microsoft", "alpha": 0.2}),
    "com.microsoft::QLinearSoftmax": (
        "QLinearSoftmax", ["s", "u"], {"domain": "com.microsoft", "axis": 1, "opset": 13}),
}  # fmt: skip


def single(path: Path, name: str) -> Path:
    """A quantiser and one operator on stored integers, its result read as stored."""
    kind, parts, attributes = SINGLE[name]
    m = Maker()
    shape = (5,) if "m" in parts or "Softmax" in kind else (3, 6, 6)
    grid = m.grid("x", X_SCALE)
    source = m.node("QuantizeLinear", ["x", *grid], "s")
    matrix = m.rng.integers(-127, 128, (5, 4)).astype(np.int8)
    made: dict[str, Callable[[], list[str]]] = {
        "s": lambda: [source, *grid],
        "o": lambda: m.grid("o", SUM_SCALE if "w" in parts or "m" in parts else 0.031),
        "u": lambda: m.grid("u", 1 / 256, 0),
        "w": lambda: m.weight("w", (4, 3, 3, 3)),
        "m": lambda: [m.constant("m", matrix), *m.weight("m", (1,))[1:]],
        "b": lambda: [m.constant("b", m.bias("b", 4))],
        "k": lambda: [m.constant("k", m.rng.integers(0, 255, (3, 1, 1)).astype(np.uint8)), *m.grid("k", HIDDEN_SCALE)],
    }
    if "Softmax" in kind:  # behind a layer: a network of nothing but a decoder is none
        source = m.node("QLinearMatMul", [source, *grid, *made["m"](), *m.grid("s", 0.11)], "h")
        made["s"] = lambda: [source, "s_scale", "s_zero"]
    inputs = [i for part in parts for i in made[part]()]
    return m.save(path, shape, [m.node(kind, inputs, "y", **attributes)])
