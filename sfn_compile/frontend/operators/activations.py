"""Scalar functions, and the final Softmax and ArgMax."""

from __future__ import annotations

import numpy as np

from ...graph.ops import Activation, ArgExtreme, Softmax
from ...graph.ops.activation import scalar
from ...graph.ops.expression import IDENTITY as X
from ...graph.ops.expression import call
from ..onnx_node import OnnxNode
from .scalars import bent


def relu(node: OnnxNode) -> None:
    """A uniform ladder from code 0."""
    node.result(Activation("relu"), node.value())


def clip(node: OnnxNode) -> None:
    """With constant bounds (ReLU6 among them); a missing bound is infinite."""
    ends = []
    for i, (name, default) in enumerate((("min", -np.inf), ("max", np.inf))):
        found = node.constant(i + 1)
        if node.has_input(i + 1) and found is None:
            raise node.refuse(f"its {name} is not a constant", f"export the model with a fixed {name}")
        if found is not None and found.size != 1:
            raise node.refuse(f"its {name} holds {found.size} numbers, not one")
        ends.append(float(np.asarray(found).reshape(-1)[0]) if found is not None else float(node.attr(name, default)))
    lo, hi = ends
    if lo > hi:
        raise node.refuse(f"min {lo} is above max {hi}")
    if np.isinf(lo) and np.isinf(hi):
        return node.alias(node.value())
    if lo == 0 and np.isinf(hi):
        return node.result(Activation("relu"), node.value())
    return node.result(Activation("clip", lo, hi), node.value())


def leaky_relu(node: OnnxNode) -> None:
    """A table ladder; slope of either sign."""
    slope = float(node.attr("alpha", 0.01))
    if slope < 0:
        return node.result(scalar(bent(call("mul", X, slope))), node.value())
    return node.result(Activation("leaky_relu", slope), node.value())


def sigmoid(node: OnnxNode) -> None:
    """A table ladder; at the end of the network the decoder computes it."""
    node.result(Activation("sigmoid"), node.value())


def tanh(node: OnnxNode) -> None:
    """A table ladder; at the end of the network the decoder computes it."""
    node.result(Activation("tanh"), node.value())


def softmax(node: OnnxNode) -> None:
    """Along any axis but the batch. The decoder computes it at the end; inside it is integers (not its logarithm)."""
    rank, old = node.rank(), node.context.opset < 13
    axis = int(node.attr("axis", 1 if old else -1))
    # Before opset 13 the tensor was flattened to two axes at `axis`, so all axes from there on share one sum.
    axes = node.sample_axes(range(axis % rank, rank) if old else (axis,), rank)
    node.result(Softmax(axes, node.node.op_type == "LogSoftmax"), node.value())


def arg_extreme(node: OnnxNode) -> None:
    """At the end of the network; the decoder computes it."""
    axis = node.sample_axis(int(node.attr("axis", 0)), len(node.shape()) + 1)
    keepdims, last = bool(node.attr("keepdims", 1)), bool(node.attr("select_last_index", 0))
    node.result(ArgExtreme(axis, keepdims, node.node.op_type == "ArgMin", last), node.value())


IMPORTERS = {
    "ArgMax": arg_extreme,
    "ArgMin": arg_extreme,
    "Relu": relu,
    "Clip": clip,
    "LeakyRelu": leaky_relu,
    "Sigmoid": sigmoid,
    "Tanh": tanh,
    "Softmax": softmax,
    "LogSoftmax": softmax,
}
