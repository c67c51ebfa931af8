"""Operators on stored integers (onnxruntime's QOperator format): the float operator between two quantisers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...graph.graph import Op
from ...graph.ops import Activation, Add, Moved, Softmax
from ...program.network import Concat
from ..onnx_node import OnnxNode
from .linear import conv_map, dense_map, gemm_map
from .pools import average_map, mean_map
from .quantized import constant_value, grid_of, quantized, real_value, scale_of, stored_type


def qlinear_conv(node: OnnxNode) -> None:
    """As Conv; weights and bias are taken as they are."""
    x = real_value(node, 0, 1, 2)
    weight, unit = constant_value(node, 3, 4, 5)
    bias = None
    if node.has_input(8):  # stored in units of input scale times weight scale
        stored = np.asarray(node.need_constant(8, "bias"), np.float64)
        bias = stored * scale_of(node, 1).reshape(-1) * unit.reshape(-1)
    op = conv_map(node, node.context.types[x].shape, weight, bias, unit)
    _emit(node, op, [x], 6, 7)


def qlinear_matmul(node: OnnxNode) -> None:
    """As MatMul with a constant matrix on the right."""
    x = real_value(node, 0, 1, 2)
    matrix, unit = constant_value(node, 3, 4, 5, axis=-1)
    _emit(node, dense_map(node, node.context.types[x].shape, matrix, unit), [x], 6, 7)


def qgemm(node: OnnxNode) -> None:
    """As Gemm; with or without a quantiser behind it."""
    x = real_value(node, 0, 1, 2)
    alpha = float(node.attr("alpha", 1.0))
    matrix, unit = constant_value(node, 3, 4, 5, axis=0 if node.attr("transB", 0) else 1)
    bias = None
    if node.has_input(6):
        stored = np.asarray(node.need_constant(6, "bias"), np.float64)
        bias = stored * scale_of(node, 1).reshape(-1) * unit.reshape(-1) * alpha
    op = gemm_map(node, node.context.types[x].shape, matrix * alpha, bias, unit * abs(alpha))
    if node.has_input(7):
        return _emit(node, op, [x], 7, 8)
    return node.real_result(op, x)


def qlinear_add(node: OnnxNode) -> None:
    """Of two computed values, or of a computed value and a stored constant."""
    values, constant = [], None
    for i in (0, 3):
        if node.constant(i) is None:
            values.append(real_value(node, i, i + 1, i + 2))
        else:
            constant = constant_value(node, i, i + 1, i + 2)[0]
    if len(values) == 2:
        if node.context.types[values[0]].shape != node.context.types[values[1]].shape:
            raise node.refuse("its operands have different shapes")
        return _emit(node, Add(), values, 6, 7)
    if not values or constant is None:
        raise node.refuse("both operands are constants")
    offset = node.sample_constant(constant, node.context.types[values[0]].shape, "operand")
    return _emit(node, node.affine(values[0], np.ones(()), offset), values, 6, 7)


def _pool(kind: Callable[[OnnxNode], Op]) -> Callable[[OnnxNode], None]:
    def importer(node: OnnxNode) -> None:
        if node.attr("channels_last", 0):
            raise node.refuse("channels_last = 1", "export before onnxruntime's own layout optimisation")
        _emit(node, kind(node), [real_value(node, 0, 1, 2)], 3, 4)

    importer.__doc__ = "As the pool of that name, between two quantisers."
    return importer


def _scalar(kind: Callable[[OnnxNode], Activation]) -> Callable[[OnnxNode], None]:
    def importer(node: OnnxNode) -> None:
        _emit(node, kind(node), [real_value(node, 0, 1, 2)], 3, 4)

    importer.__doc__ = "The scalar function of that name, between two quantisers."
    return importer


def qlinear_concat(node: OnnxNode) -> None:
    """Of values with steps of their own: rounded again to the common one."""
    values = [real_value(node, i, i + 1, i + 2) for i in range(2, len(node.node.inputs), 3)]
    axis = node.sample_axis(int(node.attr("axis", 1)), len(node.context.types[values[0]].shape) + 1)
    _emit(node, Moved(Concat(axis)), values, 0, 1)


def qlinear_softmax(node: OnnxNode) -> None:
    """At the end of the network; the decoder computes it."""
    x = real_value(node, 0, 1, 2)
    rank = len(node.context.types[x].shape) + 1
    axis = node.sample_axis(int(node.attr("axis", -1)), rank)
    axes = tuple(range(axis, rank - 1)) if int(node.attr("opset", 13)) < 13 else (axis,)
    _emit(node, Softmax(axes), [x], 3, 4)


def _emit(node: OnnxNode, op: Op, inputs: list[str], scale: int, zero: int) -> None:
    """Let the node's output be ``op``, rounded to the grid that inputs ``scale`` and ``zero`` state."""
    value = node.emit(op, *inputs)
    shape = node.context.types[value].shape
    grid = grid_of(node, scale_of(node, scale), zero, stored_type(node, zero), shape)
    node.store(quantized(node, value, grid), grid)


def _leaky(node: OnnxNode) -> Activation:
    slope = float(node.attr("alpha", 0.01))
    if slope < 0:
        raise node.refuse(f"alpha = {slope} is negative, so the function is not monotone")
    return Activation("leaky_relu", slope)


_MICROSOFT: dict[str, Callable[[OnnxNode], None]] = {
    "QLinearConv": qlinear_conv,
    "QGemm": qgemm,
    "QLinearAdd": qlinear_add,
    "QLinearConcat": qlinear_concat,
    "QLinearAveragePool": _pool(lambda node: average_map(node)),
    "QLinearGlobalAveragePool": _pool(lambda node: mean_map(node.shape()[1:])),
    "QLinearSigmoid": _scalar(lambda node: Activation("sigmoid")),
    "QLinearLeakyRelu": _scalar(_leaky),
    "QLinearSoftmax": qlinear_softmax,
}

IMPORTERS = {
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    **{f"com.microsoft::{name}": importer for name, importer in _MICROSOFT.items()},
}
