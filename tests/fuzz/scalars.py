"""Random functions of one number for the generator of graphs: smooth ones, steps of every kind, quantisers."""

from __future__ import annotations

import numpy as np

from .layers import Maker
from .writer import Value, Writer

PLAIN = {  # operator -> the opset it is there from
    "Relu": 7, "Sigmoid": 7, "Tanh": 7, "Softplus": 7, "Softsign": 7, "Elu": 7, "Selu": 7, "LeakyRelu": 7, "Abs": 7,
    "Neg": 7, "HardSigmoid": 7, "Sin": 7, "Cos": 7, "Atan": 7, "Erf": 9, "Shrink": 9, "ThresholdedRelu": 10,
    "Celu": 12, "HardSwish": 14, "Mish": 18, "Gelu": 20, "Identity": 7, "Dropout": 7, "Exp": 7,
}  # fmt: skip
COMPARISONS = {"Greater": 7, "Less": 7, "Equal": 11, "GreaterOrEqual": 12, "LessOrEqual": 12}
FLOAT = {"float32": 1, "float16": 10, "double": 11, "float64": 11}


def plain(g: Writer, x: Value) -> Value | None:
    """An operator of one input."""
    return g.node(g.rng.choice([op for op, since in PLAIN.items() if since <= g.opset]), x)


def contributed(g: Writer, x: Value) -> Value | None:
    """An operator of onnxruntime's own domain."""
    if g.dtype != "float32" or not x.shape:
        return None
    op = g.rng.choice(["Gelu", "FastGelu", "QuickGelu", "BiasGelu"])
    return g.node(op, x, *([g.normal(x.shape[-1])] if op == "BiasGelu" else []), domain="com.microsoft")


def with_domain(g: Writer, x: Value) -> Value | None:
    """A function that is there for some numbers only, of a value that is brought there."""
    positive = g.node("Add", g.node("Abs", x), g.constant(0.3))
    op = g.rng.choice(["Sqrt", "Log", "Reciprocal", "Pow"])
    return g.node("Pow", positive, g.constant(g.rng.choice([0.5, 2.0, 1.5]))) if op == "Pow" else g.node(op, positive)


def prelu(g: Writer, x: Value) -> Value | None:
    """PRelu with a slope for all or per channel."""
    shape = (x.shape[0], *(1,) * (len(x.shape) - 1)) if x.shape and g.rng.randrange(2) else (1,)
    return g.node("PRelu", x, g.normal(*shape, scale=0.3))


def clipped(g: Writer, x: Value, lo: float, hi: float) -> Value:
    """Clip, with attributes or inputs."""
    if g.opset < 11:
        return g.node("Clip", x, min=lo, max=hi)
    return g.node("Clip", x, g.constant(lo), g.constant(hi))


def clip(g: Writer, x: Value) -> Value | None:
    """Clip to some range."""
    return clipped(g, x, *g.rng.choice([(0.0, 6.0), (-1.0, 1.0), (0.0, 1.0), (-2.0, 0.5)]))


def softmax(g: Writer, x: Value) -> Value | None:
    """Softmax along the last axis."""
    return g.node("Softmax", x, axis=len(x.shape)) if x.shape else None


def gate(g: Writer, x: Value) -> Value | None:
    """A value times a function of it."""
    return g.node("Mul", x, g.node(g.rng.choice(["Sigmoid", "Tanh", "HardSigmoid"]), x))


# -- steps ------------------------------------------------------------------------------------------------------
def sign(g: Writer, x: Value) -> Value | None:
    """Sign, as it is or of a shifted value."""
    return (
        g.node("Sign", x if g.opset >= 9 and g.rng.randrange(2) else g.node("Add", x, g.constant(-0.2)))
        if g.opset >= 9
        else None
    )


def compared(g: Writer, x: Value) -> Value | None:
    """A comparison with a constant as 0 and 1, or as the choice between two constants."""
    op = g.rng.choice([op for op, since in COMPARISONS.items() if since <= max(g.opset, 7)])
    if g.opset < 9 and g.dtype == "float16":
        return None
    truth = g.node(op, x, g.constant(g.rng.choice([0.0, 0.25, -0.5])))
    if g.rng.random() < 0.2:
        truth = g.node("Not", truth)
    if g.opset >= 9 and g.rng.random() < 0.5:
        return g.node("Where", truth, g.constant(g.rng.choice([1.0, 0.7])), g.constant(g.rng.choice([-1.0, 0.0])))
    return g.node("Cast", truth, to=FLOAT[g.dtype])


def chosen(g: Writer, x: Value) -> Value | None:
    """A comparison that chooses between two functions of the value."""
    if g.opset < 9:
        return None
    truth = g.node("Greater", x, g.constant(0.1))
    return g.node("Where", truth, g.node("Mul", x, g.constant(0.5)), g.node("Tanh", x))


def stairs(g: Writer, x: Value) -> Value | None:
    """Floor, Ceil or Round of a scaled value, scaled back at times."""
    op = g.rng.choice(["Floor", "Ceil", *(["Round"] if g.opset >= 11 else [])])
    scale = g.rng.choice([1.0, 2.0, 3.0, 0.5])
    y = g.node(op, g.node("Mul", x, g.constant(scale)))
    return g.node("Div", y, g.constant(scale)) if g.rng.random() < 0.6 else y


def qcfs(g: Writer, x: Value) -> Value | None:
    """A QCFS quantiser, written out: clip(floor(x L / t + 1/2) / L, 0, 1) t."""
    levels, top = g.rng.choice([2, 4, 8]), g.rng.choice([1.0, 1.7])
    y = g.node("Add", g.node("Mul", g.node("Div", x, g.constant(top)), g.constant(float(levels))), g.constant(0.5))
    y = clipped(g, g.node("Div", g.node("Floor", y), g.constant(float(levels))), 0.0, 1.0)
    return g.node("Mul", y, g.constant(top))


def lif(g: Writer, x: Value) -> Value | None:
    """A leaky integrate-and-fire neuron unrolled over steps: the mean of its spikes."""
    if g.opset < 9 and g.dtype == "float16":
        return None
    membrane, total = x, None
    for _ in range(g.rng.randint(1, 3)):
        spike = g.node("Cast", g.node("Greater", membrane, g.constant(0.8)), to=FLOAT[g.dtype])
        total = spike if total is None else g.node("Add", total, spike)
        kept = g.node("Mul", membrane, g.node("Sub", g.constant(1.0), spike))
        membrane = g.node("Add", g.node("Mul", kept, g.constant(0.5)), x)
    return total


# -- quantisers -------------------------------------------------------------------------------------------------
def fake_quantised(g: Writer, x: Value) -> Value | None:
    """QuantizeLinear and DequantizeLinear behind each other."""
    if g.opset < 10 or g.dtype != "float32":
        return None
    kind = g.rng.choice(["uint8", "int8"])
    scale, zero = _grid(g, x, kind)
    return g.node("DequantizeLinear", g.node("QuantizeLinear", x, scale, zero), scale, zero)


def _grid(g: Writer, x: Value, kind: str) -> tuple[str, str]:
    """Scale and zero point that hold a value."""
    low, high = min(0.0, float(x.array.min())), max(0.0, float(x.array.max()), 1e-2)
    if kind == "int8":
        return g.constant(np.float32(max(-low, high) / 127)), g.constant(0, "int8")
    step = np.float32((high - low) / 255)
    return g.constant(step), g.constant(round(-low / step), "uint8")


def quantised_dense(g: Writer, x: Value) -> Value | None:
    """A dense layer on stored integers: QLinearMatMul between two quantisers."""
    if g.opset < 10 or g.dtype != "float32" or not x.shape:
        return None
    scale, zero = _grid(g, x, "uint8")
    n, out = x.shape[-1], g.rng.randint(1, 5)
    weight = g.constant(g.numbers.integers(-63, 64, (n, out)), "int8")
    w_scale = np.float32(0.6 / np.sqrt(n) / 64)
    y_scale, y_zero = g.constant(np.float32(g.rng.choice([0.02, 0.05]))), g.constant(128, "uint8")
    q = g.node("QuantizeLinear", x, scale, zero)
    y = g.node("QLinearMatMul", q, scale, zero, weight, g.constant(w_scale), g.constant(0, "int8"), y_scale, y_zero)
    return g.node("DequantizeLinear", y, y_scale, y_zero)


def quantised_conv(g: Writer, x: Value) -> Value | None:
    """A convolution with fake-quantised weights, or QLinearConv, between two quantisers."""
    if g.opset < 10 or g.dtype != "float32" or len(x.shape) not in (2, 3):
        return None
    scale, zero = _grid(g, x, "uint8")
    c, out, kernel = x.shape[0], g.rng.randint(1, 4), [g.rng.randint(1, 2) for _ in x.shape[1:]]
    weight = g.constant(g.numbers.integers(-63, 64, (out, c, *kernel)), "int8")
    w_scale, w_zero = g.constant(np.float32(0.01)), g.constant(0, "int8")
    q = g.node("QuantizeLinear", x, scale, zero)
    if g.rng.randrange(2):
        real = g.node("DequantizeLinear", q, scale, zero)
        return fake_quantised(g, _conv(g, real, weight, w_scale, w_zero))
    y_scale, y_zero = g.constant(np.float32(0.05)), g.constant(128, "uint8")
    y = g.node("QLinearConv", q, scale, zero, weight, w_scale, w_zero, y_scale, y_zero)
    return g.node("DequantizeLinear", y, y_scale, y_zero)


def _conv(g: Writer, x: Value, weight: str, scale: str, zero: str) -> Value:
    """Conv whose weights are dequantised constants: the constant node is no value of a sample, so it is added bare."""
    from onnx import helper

    name = f"w{len(g.nodes)}"
    real = (g.constants[weight].astype(np.float32) - g.constants[zero]) * g.constants[scale]
    y = g.node("Conv", x, g.constant(real))
    node = helper.make_node("DequantizeLinear", [weight, scale, zero], [name], name=f"DequantizeLinear_{name}")
    g.nodes.insert(0, node)
    for written in g.nodes:
        if y.name in written.output:
            written.input[1] = name
    return y


FUNCTIONS: tuple[Maker, ...] = (plain, plain, plain, contributed, with_domain, prelu, clip, softmax, gate, chosen)
STEPS: tuple[Maker, ...] = (sign, compared, compared, stairs, stairs, qcfs, lif)
QUANTISERS: tuple[Maker, ...] = (fake_quantised, quantised_dense, quantised_conv)
