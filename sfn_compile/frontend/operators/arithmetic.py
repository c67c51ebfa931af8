"""Arithmetic: with a constant Add, Sub, Mul, Div are affine; of two branches Add and Sub are a residual, Mul a gate.

Mul and Div of two computed values are emitted as they stand: fuse-scalars makes them a scalar function where both are
functions of one value. Of different values a product is a population's own term, a quotient is refused.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...ops import Add, Linear, Mul, Pointwise, Softmax
from ...ops.activation import scalar
from ...ops.expression import IDENTITY as X
from ...ops.expression import call
from ..context import OnnxNode
from ..patterns import Matcher
from .branches import aligned, difference
from .norms import normalize


def _sides(node: OnnxNode) -> tuple[int, np.ndarray | None]:
    """Return (index of the computed side, the constant other side or None)."""
    left, right = node.constant(0), node.constant(1)
    if right is not None:
        return 0, node.sample_constant(right, node.shape(0), "operand")
    return (1, node.sample_constant(left, node.shape(1), "operand")) if left is not None else (0, None)


def _affine(node: OnnxNode, value: str, scale: np.ndarray, bias: np.ndarray) -> Linear:
    return node.affine(value, np.asarray(scale), np.asarray(bias))


def add(node: OnnxNode) -> None:
    """Of a constant, or of two branches, which may broadcast."""
    side, constant = _sides(node)
    if constant is None:
        return node.result(Add(), *aligned(node, node.value(0), node.value(1)))
    return node.result(_affine(node, node.value(side), np.ones(()), constant), node.value(side))


def sub(node: OnnxNode) -> None:
    """Of a constant (on either side), or of two branches, which may broadcast."""
    side, constant = _sides(node)
    if constant is None:
        op, read = difference(node, node.value(0), node.value(1))
        return node.result(op, *read)
    if side == 0:
        return node.result(_affine(node, node.value(0), np.ones(()), -constant), node.value(0))
    return node.result(_affine(node, node.value(1), -np.ones(()), constant), node.value(1))


def _normalised(node: OnnxNode) -> bool:
    """Import the node as a normalisation where it is the last of one that was written out."""
    found = Matcher(node.context).norm(node.node)
    if found is None or node.constant(0) is not None or node.constant(1) is not None:
        return False
    source, axes = _whole(node, found.source, found.axes)
    node.result(normalize(node, axes, found.epsilon, found.centred, np.asarray(found.factor)), source)
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
    side, constant = _sides(node)
    if constant is None:
        return node.result(Mul(), *aligned(node, node.value(0), node.value(1)))
    return node.result(_affine(node, node.value(side), constant, np.zeros(())), node.value(side))


def div(node: OnnxNode) -> None:
    """By a constant; of a constant or a function of x by a function of the same x."""
    if _normalised(node) or _is_softmax(node):
        return None
    side, constant = _sides(node)
    if constant is None:
        return node.result(Pointwise("div"), *aligned(node, node.value(0), node.value(1)))
    if side == 1:
        return node.result(scalar(call("div", constant, X)), node.value(1))
    if not constant.all():
        raise node.refuse("its divisor holds zeros")
    return node.result(_affine(node, node.value(0), 1.0 / constant, np.zeros(())), node.value(0))


IMPORTERS = {"Add": add, "Sub": sub, "Mul": mul, "Div": div}
