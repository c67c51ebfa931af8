"""Conv, Gemm, MatMul, BatchNormalization."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ...graph.ops import Linear, MatMul, Moved
from ...program.network import Conv, Dense, Reshape, Shape, Transpose
from ..batch_layout import FRONT
from ..context import Array
from ..onnx_node import OnnxNode
from ..windows import spread, window_pads
from .picks import expanded


def conv(node: OnnxNode) -> None:
    """1-D and 2-D; stride, dilation, groups, depthwise, auto_pad, asymmetric pads; constant weights."""
    weight = np.asarray(node.need_constant(1, "weight"), np.float64)
    bias = np.asarray(node.need_constant(2, "bias"), np.float64) if node.has_input(2) else None
    node.result(conv_map(node, node.shape(), weight, bias, node.unit(1)), node.value())


def conv_map(node: OnnxNode, shape: Shape, weight: Array, bias: Array | None, unit: Array | None) -> Linear:
    """Return the linear map of a Conv with the node's attributes on a sample of ``shape``."""
    n = weight.ndim - 2
    if n not in (1, 2) or len(shape) != n + 1:
        raise node.refuse(
            f"a Conv over {n} space axes of input {shape}; 1 and 2 are supported",
            "write a 3-D convolution as 2-D ones over its slices, with time or depth among the channels",
        )
    groups = int(node.attr("group", 1))
    if shape[0] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise node.refuse(f"weight {weight.shape} with {groups} groups does not fit {shape[0]} input channels")
    strides, dilations = spread(node, "strides", n), spread(node, "dilations", n)
    pads = window_pads(node, shape[1:], weight.shape[2:], strides, dilations)
    bias = np.zeros(weight.shape[0]) if bias is None else bias
    if bias.shape != (weight.shape[0],):
        raise node.refuse(f"bias of shape {bias.shape} does not fit {weight.shape[0]} output channels")
    ones = (1,) * n
    units = None if unit is None else per_output(unit, weight.shape, 0)
    units = None if units is None else units.reshape(-1, *ones)
    return Linear(Conv(weight, strides, pads, dilations, groups), bias.reshape(-1, *ones), units)


def per_output(unit: Array, shape: Shape, axis: int) -> Array | None:
    """Return the unit per output channel of a weight of ``shape``, None where it varies along another axis."""
    rows = np.moveaxis(np.broadcast_to(unit, shape), axis, 0).reshape(shape[axis], -1)
    return rows[:, 0].copy() if (rows == rows[:, :1]).all() else None


def gemm(node: OnnxNode) -> None:
    """With constant B and C; alpha, beta, transB."""
    alpha, unit = float(node.attr("alpha", 1.0)), node.unit(1)
    b = np.asarray(node.need_constant(1, "matrix B"), np.float64) * alpha
    c = (
        np.asarray(node.need_constant(2, "bias C"), np.float64) * float(node.attr("beta", 1.0))
        if node.has_input(2)
        else None
    )
    node.result(gemm_map(node, node.shape(), b, c, None if unit is None else unit * abs(alpha)), node.value())


def gemm_map(node: OnnxNode, shape: Shape, b: Array, c: Array | None, unit: Array | None) -> Linear:
    """Return the linear map of a Gemm with the node's attributes on a sample of ``shape``."""
    if node.attr("transA", 0):
        raise node.refuse("transA = 1 would transpose the batch", "transpose the weight instead", "SFN203")
    weight = b if node.attr("transB", 0) else b.T
    rank = node.layout.rank(shape)
    if rank != 2 or weight.ndim != 2 or weight.shape[1] != shape[-1]:
        raise node.refuse(f"weight (n_out, n_in) = {weight.shape} does not fit a sample of shape {shape}")
    node.sample_axis(1, rank)
    bias = np.zeros(weight.shape[0])
    if c is not None:
        bias = bias + node.sample_constant(c, (*shape[:-1], weight.shape[0]), "C")
    unit = None if unit is None else per_output(unit, b.shape, 0 if node.attr("transB", 0) else 1)
    return Linear(Dense(weight), bias, unit)


def matmul(node: OnnxNode) -> None:
    """With one constant matrix, on either side, or of two computed values."""
    if node.constant(1) is not None:
        _times_constant(node)
    elif node.constant(0) is not None:
        _constant_times(node)
    else:
        _of_values(node)


def _times_constant(node: OnnxNode) -> None:
    matrix, shape = np.asarray(node.constant(1), np.float64), node.shape(0)
    node.sample_axis(-1, node.rank(0))
    if not _several(matrix):
        return node.result(dense_map(node, shape, matrix, node.unit(1)), node.value(0))
    lead, matrices = _matrices(node, matrix, shape, shape[-1], matrix.shape[-2])
    value = expanded(node, node.value(0), (*lead, *shape[-2:]))
    turned = node.emit(Moved(Transpose(_turned(len(shape)))), value)
    product = grouped(node, turned, np.swapaxes(matrices, -1, -2))
    return node.result(Moved(Transpose(_turned(len(shape)))), product)


def _constant_times(node: OnnxNode) -> None:
    matrix, shape, rank = np.asarray(node.constant(0), np.float64), node.shape(1), node.rank(1)
    if matrix.ndim < 2 or min(rank, len(shape)) < 2 or matrix.shape[-1] != shape[-2]:
        raise node.refuse(f"constant {matrix.shape} times a sample of shape {shape} is not a matrix product")
    node.sample_axes((-2, -1), rank)
    if _several(matrix):
        lead, matrices = _matrices(node, matrix, shape, shape[-2], matrix.shape[-1])
        product = grouped(node, expanded(node, node.value(1), (*lead, *shape[-2:])), matrices)
        return node.move(Reshape((*lead, matrix.shape[-2], shape[-1])), product)
    matrix = matrix.reshape(matrix.shape[-2], matrix.shape[-1])
    last = _turned(len(shape))
    product = node.emit(Linear(Dense(matrix), np.zeros(matrix.shape[0])), node.transpose(node.value(1), last))
    return node.result(Moved(Transpose(last)), product)


def _turned(rank: int) -> tuple[int, ...]:
    """Return the permutation that swaps the last two axes."""
    return (*range(rank - 2), rank - 1, rank - 2)


def _several(matrix: Array) -> bool:
    """Return whether a constant holds more than one matrix: one for each head, say."""
    return matrix.ndim > 2 and math.prod(matrix.shape[:-2]) > 1


def _matrices(node: OnnxNode, constant: Array, shape: Shape, over: int, own: int) -> tuple[Shape, Array]:
    """Return (leading axes of the product, a matrix for every place along them) for a sample of ``shape``."""
    rank = node.layout.rank(shape)
    one = constant if constant.ndim > rank else node.one_sample(constant, rank, "factor")
    one = one.reshape((1,) * (len(shape) - one.ndim) + one.shape)
    if one.ndim != len(shape) or over != own:
        raise node.refuse(f"constant factor {constant.shape} does not fit a sample of shape {shape}")
    lead = tuple(int(n) for n in np.broadcast_shapes(one.shape[:-2], shape[:-2]))
    node.check_size((*lead, *shape[-2:]))
    return lead, np.broadcast_to(one, (*lead, *one.shape[-2:]))


def grouped(node: OnnxNode, value: str, matrices: Array) -> str:
    """Return every matrix of ``(*lead, m, k)`` times its own ``(k, n)`` of a value: one convolution of width 1."""
    shape, lead = node.context.types[value].shape, matrices.shape[:-2]
    m, k = matrices.shape[-2:]
    groups = math.prod(lead)
    rows = node.emit(Moved(Reshape((groups * k, shape[-1]))), value)
    weight = matrices.reshape(groups * m, k, 1)
    product = node.emit(Linear(Conv(weight, (1,), ((0, 0),), (1,), groups), np.zeros((groups * m, 1))), rows)
    return node.emit(Moved(Reshape((*lead, m, shape[-1]))), product)


def _of_values(node: OnnxNode) -> None:
    ranks = node.rank(0), node.rank(1)
    if min(ranks) < 2:
        what = "a product with a vector of each sample mixes samples"
        raise node.refuse(what, "unsqueeze the vector to a matrix first", "SFN203")
    rank = max(ranks)
    node.sample_axes((rank - 2, rank - 1), rank)
    node.result(MatMul(), *factors(node, node.value(0), node.value(1)))


def factors(node: OnnxNode, left: str, right: str) -> tuple[str, str]:
    """Return names of both values with the leading axes of their samples made equal: samples ``(*lead, m, k)``."""
    shapes = [node.context.types[v].shape for v in (left, right)]
    rank = max(map(len, shapes))
    if any(len(s) != rank for s in shapes) and node.layout == FRONT and node.context.batch != 1:
        what = f"its factors have samples of {shapes[0]} and {shapes[1]}, so the batch is combined with another axis"
        raise node.refuse(what, "give them the same number of axes", "SFN203")
    wide = [(1,) * (rank - len(s)) + s for s in shapes]
    if rank < 2 or wide[0][-1] != wide[1][-2]:
        raise node.refuse(f"its factors have samples of shapes {shapes[0]} and {shapes[1]}: no matrix product")
    try:
        lead = np.broadcast_shapes(wide[0][:-2], wide[1][:-2])
    except ValueError:
        raise node.refuse(f"its factors have samples of shapes {shapes[0]} and {shapes[1]}, which differ") from None
    made = []
    for value, own, full in zip((left, right), shapes, wide, strict=True):
        value = value if own == full else node.emit(Moved(Reshape(full)), value)
        made.append(expanded(node, value, (*lead, *full[-2:])))
    return made[0], made[1]


def dense_map(node: OnnxNode, shape: Shape, matrix: Array, unit: Array | None) -> Linear:
    """Return the linear map of a MatMul of a sample of ``shape`` with a constant matrix on the right."""
    units = None if unit is None else np.broadcast_to(unit, matrix.shape)
    if matrix.ndim > 2 and matrix.shape[:-2] == (1,) * (matrix.ndim - 2) and matrix.ndim <= node.layout.rank(shape):
        matrix = matrix.reshape(matrix.shape[-2:])
        units = None if units is None else units.reshape(matrix.shape)
    if matrix.ndim != 2 or not shape or shape[-1] != matrix.shape[0]:
        raise node.refuse(f"constant factor {matrix.shape} does not fit a sample of shape {shape}")
    per_column = None if units is None else per_output(units, matrix.shape, 1)
    return Linear(Dense(matrix.T.copy()), np.zeros(matrix.shape[1]), per_column)


def batch_normalization(node: OnnxNode) -> None:
    """In inference form: per-channel scale and offset."""
    if node.attr("training_mode", 0):
        raise node.refuse("training_mode = 1", "export the model in evaluation mode")
    names = ("scale", "bias", "mean", "variance")
    gamma, beta, mean, var = (np.asarray(node.need_constant(i + 1, what), np.float64) for i, what in enumerate(names))
    shape = node.shape()
    axis = node.sample_axis(1, node.rank())
    if any(a.shape != (shape[axis],) for a in (gamma, beta, mean, var)):
        raise node.refuse(f"its parameters of shape {gamma.shape} do not fit {shape[axis]} channels")
    wide = var + float(node.attr("epsilon", 1e-5))
    if not (wide > 0).all():
        worst = int(np.argmin(np.where(np.isnan(wide), -np.inf, wide)))
        what = f"variance plus epsilon of channel {worst} is {wide[worst]:.3g}, and its root is divided by"
        raise node.refuse(what, "give it an epsilon, or variances above 0")
    scale = gamma / np.sqrt(wide)
    column = tuple(-1 if a == axis else 1 for a in range(len(shape)))
    offset, terms = beta - mean * scale, np.abs(beta) + np.abs(mean * scale)
    line = node.affine(node.value(), scale.reshape(column), offset.reshape(column))
    node.result(replace(line, terms=terms.reshape(column)), node.value())


IMPORTERS = {"Conv": conv, "Gemm": gemm, "MatMul": matmul, "BatchNormalization": batch_normalization}
