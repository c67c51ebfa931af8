"""Add, Sub, Mul, Div: of a constant they are affine; of two branches Add and Sub are a residual, Mul a gate."""

from __future__ import annotations

import numpy as np

from ...ops import Add, Linear, Mul
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
    """By a constant."""
    side, constant = _sides(node)
    if constant is None or side != 0:
        fix = "divide by a constant; or compute 1 / divisor in its own branch from one value, and multiply"
        raise node.refuse("its divisor is computed at run time: spikes add and multiply only", fix, "SFN201")
    if not constant.all():
        raise node.refuse("its divisor holds zeros")
    node.result(_affine(node, node.value(0), 1.0 / constant, np.zeros(())), node.value(0))


IMPORTERS = {"Add": add, "Sub": sub, "Mul": mul, "Div": div}
