"""Scalar functions that are no straight lines with bends: each becomes a table ladder, or the host's at the ends."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...graph.ops import Activation, Expression
from ...graph.ops.activation import scalar
from ...graph.ops.expression import IDENTITY as X
from ...graph.ops.expression import call
from ...program.functions import FunctionName
from ..onnx_node import OnnxNode

Importer = Callable[[OnnxNode], None]


def _result(node: OnnxNode, body: Expression, value: str | None = None) -> None:
    node.result(scalar(body), node.value() if value is None else value)


def _plain(function: FunctionName, doc: str) -> Importer:
    """Return the importer of an operator that is one of our functions by another name."""

    def importer(node: OnnxNode) -> None:
        _result(node, call(function, X))

    importer.__doc__ = doc
    return importer


# -- functions as expressions ----------------------------------------------------------------------------------------
def times_sigmoid(alpha: float) -> Expression:
    """Return ``x * sigmoid(alpha * x)``."""
    return call("mul", X, call("sigmoid", X if alpha == 1.0 else call("mul", X, alpha)))


def gelu_by_erf() -> Expression:
    """Return ``x / 2 * (1 + erf(x / sqrt(2)))``."""
    bell = call("add", call("erf", call("mul", X, math.sqrt(0.5))), 1.0)
    return call("mul", call("mul", X, 0.5), bell)


def gelu_by_tanh() -> Expression:
    """Return ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))``."""
    cube = call("mul", X, call("mul", X, X))
    inner = call("mul", call("add", X, call("mul", cube, 0.044715)), math.sqrt(2 / math.pi))
    return call("mul", call("mul", X, 0.5), call("add", call("tanh", inner), 1.0))


def bent(below: Expression) -> Expression:
    """Return ``max(x, 0) + below(min(x, 0))``: a function that is x above zero."""
    return call("add", call("max", X, 0.0), below.after(call("min", X, 0.0)))


# -- importers -------------------------------------------------------------------------------------------------------
def hard_sigmoid(node: OnnxNode) -> None:
    """An affine step, folded into the weights before it, and a clip to [0, 1]."""
    alpha, beta = float(node.attr("alpha", 0.2)), float(node.attr("beta", 0.5))
    line = node.emit(node.affine(node.value(), np.asarray(alpha), np.asarray(beta)), node.value())
    node.result(Activation("clip", 0.0, 1.0), line)


def hard_swish(node: OnnxNode) -> None:
    """A table ladder; also written out as x * Clip(x + 3, 0, 6) / 6 or x * HardSigmoid(x)."""
    sixth = call("add", call("mul", X, 1 / 6), 0.5)
    _result(node, call("mul", X, call("min", call("max", sixth, 0.0), 1.0)))


def elu(node: OnnxNode) -> None:
    """A table ladder."""
    _result(node, bent(call("mul", call("expm1", X), float(node.attr("alpha", 1.0)))))


def selu(node: OnnxNode) -> None:
    """A table ladder."""
    alpha, gamma = float(node.attr("alpha", 1.67326319217681884765625)), float(node.attr("gamma", 1.05070102214813))
    _result(node, call("mul", bent(call("mul", call("expm1", X), alpha)), gamma))


def celu(node: OnnxNode) -> None:
    """A table ladder; alpha other than 0."""
    alpha = float(node.attr("alpha", 1.0))
    if alpha == 0:
        raise node.refuse("alpha = 0 divides by zero")
    _result(node, bent(call("mul", call("expm1", call("mul", X, 1 / alpha)), alpha)))


def prelu(node: OnnxNode) -> None:
    """A table ladder; constant slope, one for all or one per channel, of either sign."""
    slope = node.sample_constant(node.need_constant(1, "slope"), node.shape(), "slope")
    if slope.min() == slope.max() and slope.min() >= 0:
        return node.result(Activation("leaky_relu", float(slope.min())), node.value())
    return _result(node, bent(call("mul", X, slope)))


def thresholded_relu(node: OnnxNode) -> None:
    """A table ladder."""
    alpha = float(node.attr("alpha", 1.0))
    _result(node, call("where", call("greater", X, alpha), X, 0.0))


def shrink(node: OnnxNode) -> None:
    """A table ladder; soft and hard shrinking."""
    bias, lambd = float(node.attr("bias", 0.0)), float(node.attr("lambd", 0.5))
    above = call("where", call("greater", X, lambd), call("sub", X, bias), 0.0)
    _result(node, call("where", call("greater", -lambd, X), call("add", X, bias), above))


def mish(node: OnnxNode) -> None:
    """A table ladder; also written out as x * Tanh(Softplus(x))."""
    _result(node, call("mul", X, call("tanh", call("softplus", X))))


def swish(node: OnnxNode) -> None:
    """A table ladder; also written out as x * Sigmoid(x)."""
    _result(node, times_sigmoid(float(node.attr("alpha", 1.0))))


def quick_gelu(node: OnnxNode) -> None:
    """A table ladder: x * Sigmoid(alpha * x)."""
    _result(node, times_sigmoid(float(node.attr("alpha", 1.702))))


def gelu(node: OnnxNode) -> None:
    """A table ladder; both approximations, also written out with Erf or Tanh."""
    way = node.attr("approximate", "none")
    if way not in ("none", "tanh"):
        raise node.refuse(f"approximate = {way!r}; 'none' and 'tanh' are supported")
    _result(node, gelu_by_tanh() if way == "tanh" else gelu_by_erf())


def bias_gelu(node: OnnxNode) -> None:
    """An added constant, folded into the weights before it, and a table ladder."""
    _result(node, gelu_by_erf(), _biased(node))


def fast_gelu(node: OnnxNode) -> None:
    """A table ladder (the tanh form); an optional constant is added first."""
    _result(node, gelu_by_tanh(), _biased(node) if node.has_input(1) else None)


def _biased(node: OnnxNode) -> str:
    bias = node.sample_constant(node.need_constant(1, "bias"), node.shape(), "bias")
    return node.emit(node.affine(node.value(), np.ones(()), bias), node.value())


def neg(node: OnnxNode) -> None:
    """Folded into the neighbouring weights."""
    node.result(node.affine(node.value(), np.asarray(-1.0), np.zeros(())), node.value())


def reciprocal(node: OnnxNode) -> None:
    """A table ladder over the range that calibration reaches."""
    _result(node, call("div", np.ones(()), X))


_TABLE, _REACHED = "A table ladder.", "A table ladder over the range that calibration reaches."

IMPORTERS: dict[str, Importer] = {
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Elu": elu,
    "Selu": selu,
    "Celu": celu,
    "PRelu": prelu,
    "ThresholdedRelu": thresholded_relu,
    "Shrink": shrink,
    "Softplus": _plain("softplus", _TABLE),
    "Softsign": _plain("softsign", _TABLE),
    "Mish": mish,
    "Swish": swish,
    "Gelu": gelu,
    "com.microsoft::Gelu": gelu,
    "com.microsoft::BiasGelu": bias_gelu,
    "com.microsoft::FastGelu": fast_gelu,
    "com.microsoft::QuickGelu": quick_gelu,
    "Erf": _plain("erf", _TABLE),
    "Abs": _plain("abs", _TABLE),
    "Neg": neg,
    "Sign": _plain("sign", _TABLE),
    "Floor": _plain("floor", _TABLE),
    "Ceil": _plain("ceil", _TABLE),
    "Round": _plain("round", "A table ladder; halves go to the even neighbour."),
    "Exp": _plain("exp", _TABLE),
    "Log": _plain("log", _REACHED),
    "Sqrt": _plain("sqrt", _REACHED),
    "Reciprocal": reciprocal,
    "Sin": _plain("sin", _REACHED),
    "Cos": _plain("cos", _REACHED),
    "Atan": _plain("atan", _TABLE),
}
