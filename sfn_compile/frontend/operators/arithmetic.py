"""Arithmetic: with a constant Add, Sub, Mul, Div are affine; of two branches Add and Sub are a residual, Mul a gate.

Mul and Div of two computed values are emitted as they stand: fuse-scalars makes them a scalar function where both are
functions of one value. Of different values a product is a population's own term, a quotient is refused.
"""

from __future__ import annotations

import numpy as np

from ...ops import Add, Linear, Mul, Pointwise
from ...ops.activation import scalar
from ...ops.expression import IDENTITY as X
from ...ops.expression import call
from ..context import OnnxNode
from .branches import aligned, difference


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


def mul(node: OnnxNode) -> None:
    """By a constant, or of two branches (a gate, a square), which may broadcast."""
    side, constant = _sides(node)
    if constant is None:
        return node.result(Mul(), *aligned(node, node.value(0), node.value(1)))
    return node.result(_affine(node, node.value(side), constant, np.zeros(())), node.value(side))


def div(node: OnnxNode) -> None:
    """By a constant; of a constant or a function of x by a function of the same x."""
    side, constant = _sides(node)
    if constant is None:
        return node.result(Pointwise("div"), *aligned(node, node.value(0), node.value(1)))
    if side == 1:
        return node.result(scalar(call("div", constant, X)), node.value(1))
    if not constant.all():
        raise node.refuse("its divisor holds zeros")
    return node.result(_affine(node, node.value(0), 1.0 / constant, np.zeros(())), node.value(0))


IMPORTERS = {"Add": add, "Sub": sub, "Mul": mul, "Div": div}
