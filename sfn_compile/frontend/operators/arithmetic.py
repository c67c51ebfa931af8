"""Arithmetic: with a constant Add, Sub, Mul, Div are affine; of two branches Add and Sub are a residual, Mul a gate.

Mul and Div of two computed values are emitted as they are: fuse-scalars makes them a scalar function where both are
functions of one value. Of different values a product is a population's own term, a quotient is refused.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...graph.ops import Add, Linear, Mul, Pointwise, Softmax
from ...graph.ops.activation import scalar
from ...graph.ops.expression import IDENTITY as X
from ...graph.ops.expression import call
from ...program.network import Shape
from ..onnx_node import OnnxNode
from ..patterns import Matcher
from .branches import aligned, difference
from .norms import normalize
from .picks import expanded


def _sides(node: OnnxNode) -> tuple[int, str, np.ndarray | None]:
    """Return (index of the computed side, its value, the constant other side or None).

    A value that the constant enlarges is repeated first.
    """
    left, right = node.constant(0), node.constant(1)
    side, constant = (1, left) if right is None and left is not None else (0, right)
    value, shape = node.value(side), node.shape(side)
    if constant is None:
        return side, value, None
    out = _broadcast(shape, node.one_sample(np.asarray(constant), node.layout.rank(shape), "operand").shape)
    node.check_size(out)
    return side, expanded(node, value, out), node.sample_constant(constant, out, "operand")


def _broadcast(shape: Shape, other: Shape) -> Shape:
    """Return what two shapes broadcast to where that has the rank of the first, else the first."""
    try:
        out = tuple(int(n) for n in np.broadcast_shapes(shape, other))
    except ValueError:
        return shape
    return out if len(out) == len(shape) else shape


def _affine(node: OnnxNode, value: str, scale: np.ndarray, bias: np.ndarray) -> Linear:
    return node.affine(value, np.asarray(scale), np.asarray(bias))


def add(node: OnnxNode) -> None:
    """Of a constant, or of two branches, which may broadcast."""
    if _shifted(node):
        return None
    _, value, constant = _sides(node)
    if constant is None:
        return node.result(Add(), *aligned(node, node.value(0), node.value(1)))
    return node.result(_affine(node, value, np.ones(()), constant), value)


def sub(node: OnnxNode) -> None:
    """Of a constant (on either side), or of two branches, which may broadcast."""
    side, value, constant = _sides(node)
    if constant is None:
        op, read = difference(node, node.value(0), node.value(1))
        return node.result(op, *read)
    if side == 0:
        return node.result(_affine(node, value, np.ones(()), -constant), value)
    return node.result(_affine(node, value, -np.ones(()), constant), value)


def _normalised(node: OnnxNode) -> bool:
    """Import the node as a normalisation where it is the last of one that was written out."""
    found = Matcher(node.context).norm(node.node)
    if found is None or node.constant(0) is not None or node.constant(1) is not None:
        return False
    source, axes = _whole(node, found.source, found.axes)
    node.result(normalize(node, axes, found.epsilon, found.centred, np.asarray(found.factor)), source)
    return True


def _shifted(node: OnnxNode) -> bool:
    """Import the node as a normalisation where it is the last of one that TensorFlow wrote out."""
    found = Matcher(node.context).shifted_norm(node.node)
    if found is None:
        return False
    norm, scale, bias = found
    source, axes = _whole(node, norm.source, norm.axes)
    shape = node.context.types[source].shape
    factor = np.ones(()) if scale is None else node.sample_constant(scale, shape, "scale")
    offset = node.sample_constant(bias, shape, "bias")
    node.result(normalize(node, axes, norm.epsilon, True, norm.factor * factor, offset), source)
    return True


def _is_softmax(node: OnnxNode) -> bool:
    """Import the node as Softmax where it is the last of one that was written out."""
    found = Matcher(node.context).softmax(node.node)
    if found is None:
        return False
    source, axes = _whole(node, found.source, found.axes)
    node.result(Softmax(axes), source)
    return True


def _whole(node: OnnxNode, source: ir.Value, axes: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Return the graph name of what a written-out operator reads, and the axes of one sample that it works along."""
    name = str(source.name)
    return node.context.values[name], node.sample_axes(axes, len(node.context.dims(name)))


def mul(node: OnnxNode) -> None:
    """By a constant, or of two branches (a gate, a square), which may broadcast."""
    if _normalised(node):
        return None
    _, value, constant = _sides(node)
    if constant is None:
        return node.result(Mul(), *aligned(node, node.value(0), node.value(1)))
    return node.result(_affine(node, value, constant, np.zeros(())), value)


def div(node: OnnxNode) -> None:
    """By a constant; of a constant or a function of x by a function of the same x."""
    if _normalised(node) or _is_softmax(node):
        return None
    side, value, constant = _sides(node)
    if constant is None:
        return node.result(Pointwise("div"), *aligned(node, node.value(0), node.value(1)))
    if side == 1:
        return node.result(scalar(call("div", constant, X)), value)
    if not constant.all():
        raise node.refuse("its divisor holds zeros")
    return node.result(_affine(node, value, 1.0 / constant, np.zeros(())), value)


IMPORTERS = {"Add": add, "Sub": sub, "Mul": mul, "Div": div}
