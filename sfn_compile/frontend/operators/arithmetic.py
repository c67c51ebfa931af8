"""Add, Sub, Mul, Div: with a constant they are affine; Add and Sub of two computed values are a residual."""

from __future__ import annotations

import numpy as np

from ...ops import Add, Linear
from ..context import OnnxNode
from .picks import expanded


def _sides(node: OnnxNode) -> tuple[int, np.ndarray | None]:
    """Return (index of the computed side, the constant other side or None)."""
    left, right = node.constant(0), node.constant(1)
    if right is not None:
        return 0, node.sample_constant(right, node.shape(0), "operand")
    return (1, node.sample_constant(left, node.shape(1), "operand")) if left is not None else (0, None)


def _residual(node: OnnxNode, right: str) -> None:
    shapes = node.shape(0), node.shape(1)
    try:
        out = np.broadcast_shapes(*shapes)
    except ValueError:
        out = ()
    if len(shapes[0]) != len(shapes[1]) or len(out) != len(shapes[0]):
        raise node.refuse(f"its operands have shapes {shapes[0]} and {shapes[1]}, which do not fit")
    node.result(Add(), expanded(node, node.value(0), out), expanded(node, right, out))


def _affine(node: OnnxNode, value: str, scale: np.ndarray, bias: np.ndarray) -> Linear:
    return node.affine(value, np.asarray(scale), np.asarray(bias))


def add(node: OnnxNode) -> None:
    """Of a constant, or of two branches whose shapes broadcast."""
    side, constant = _sides(node)
    if constant is None:
        return _residual(node, node.value(1))
    return node.result(_affine(node, node.value(side), np.ones(()), constant), node.value(side))


def sub(node: OnnxNode) -> None:
    """Of a constant (on either side), or of two branches whose shapes broadcast."""
    side, constant = _sides(node)
    if constant is None:
        minus = node.emit(_affine(node, node.value(1), -np.ones(()), np.zeros(())), node.value(1))
        return _residual(node, minus)
    if side == 0:
        return node.result(_affine(node, node.value(0), np.ones(()), -constant), node.value(0))
    return node.result(_affine(node, node.value(1), -np.ones(()), constant), node.value(1))


def mul(node: OnnxNode) -> None:
    """By a constant."""
    side, constant = _sides(node)
    if constant is None:
        raise node.refuse("both factors are computed at run time", "only a constant factor is supported yet", "SFN201")
    node.result(_affine(node, node.value(side), constant, np.zeros(())), node.value(side))


def div(node: OnnxNode) -> None:
    """By a constant."""
    side, constant = _sides(node)
    if constant is None or side != 0:
        raise node.refuse("its divisor is computed at run time", "only a constant divisor is supported", "SFN201")
    if not constant.all():
        raise node.refuse("its divisor holds zeros")
    node.result(_affine(node, node.value(0), 1.0 / constant, np.zeros(())), node.value(0))


IMPORTERS = {"Add": add, "Sub": sub, "Mul": mul, "Div": div}
