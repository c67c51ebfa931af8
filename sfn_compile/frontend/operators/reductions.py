"""Reductions of powers and exponentials, running sums, triangles: a function, a linear map, a function."""

from __future__ import annotations

import numpy as np

from ...graph.ops import Linear, Moved
from ...graph.ops.activation import scalar
from ...graph.ops.expression import IDENTITY as X
from ...graph.ops.expression import call
from ...program.network import Dense, Transpose
from ..onnx_node import OnnxNode
from .norms import normalize
from .pools import reduce_sum_of

_SQUARE, _ROOT = scalar(call("mul", X, X)), scalar(call("sqrt", X))
_EXP, _LOG = scalar(call("exp", X)), scalar(call("log", X))


def reduce_l1(node: OnnxNode) -> None:
    """The sum of Abs over any axes but the batch."""
    reduce_sum_of(node, scalar(call("abs", X)), None)


def reduce_l2(node: OnnxNode) -> None:
    """The root of the sum of squares over any axes but the batch."""
    reduce_sum_of(node, _SQUARE, _ROOT)


def reduce_sum_square(node: OnnxNode) -> None:
    """The sum of squares over any axes but the batch."""
    reduce_sum_of(node, _SQUARE, None)


def reduce_log_sum(node: OnnxNode) -> None:
    """The logarithm of the sum over any axes but the batch."""
    reduce_sum_of(node, None, _LOG)


def reduce_log_sum_exp(node: OnnxNode) -> None:
    """The logarithm of the sum of Exp over any axes but the batch."""
    reduce_sum_of(node, _EXP, _LOG)


def lp_normalization(node: OnnxNode) -> None:
    """With p = 2, along any axis but the batch: RMSNormalization divided by the root of the length."""
    if int(node.attr("p", 2)) != 2:
        raise node.refuse("it divides by a sum of sizes of computed values", "use p = 2, or normalise on the host")
    axis = node.sample_axis(int(node.attr("axis", -1)), node.rank())
    scale = np.asarray(node.shape()[axis] ** -0.5)
    node.result(normalize(node, (axis,), 0.0, centred=False, scale=scale), node.value())


def mean_variance_normalization(node: OnnxNode) -> None:
    """Over any axes but the batch."""
    axes = node.sample_axes(node.attr("axes", (0, 2, 3)), node.rank())
    node.result(normalize(node, axes, 0.0), node.value())


def cum_sum(node: OnnxNode) -> None:
    """Along any axis but the batch, forwards or in reverse, exclusive or not: a triangle of ones."""
    given = node.attr_or_input("axis", 1)
    if given is None or len(given) != 1:
        raise node.refuse("it has no axis")
    shape, axis = node.shape(), node.sample_axis(given[0], node.rank())
    n, rank = shape[axis], len(shape)
    ones = np.tril(np.ones((n, n)), -1 if node.attr("exclusive", 0) else 0)
    matrix = Linear(Dense(ones.T if node.attr("reverse", 0) else ones), np.zeros(n))
    if axis == rank - 1:
        return node.result(matrix, node.value())
    order = (*(a for a in range(rank) if a != axis), axis)
    back = tuple(int(i) for i in np.argsort(order))
    return node.result(Moved(Transpose(back)), node.emit(matrix, node.transpose(node.value(), order)))


def trilu(node: OnnxNode) -> None:
    """A triangle of computed values, with a constant diagonal: a mask."""
    k = int(node.need_constant(1, "diagonal").reshape(-1)[0]) if node.has_input(1) else 0
    shape, rank = node.shape(), node.rank()
    node.sample_axes((rank - 2, rank - 1), rank)
    ones = np.ones(shape[-2:])
    mask = np.triu(ones, k) if node.attr("upper", 1) else np.tril(ones, k)
    node.result(node.affine(node.value(), mask, np.zeros(())), node.value())


IMPORTERS = {
    "ReduceL1": reduce_l1,
    "ReduceL2": reduce_l2,
    "ReduceSumSquare": reduce_sum_square,
    "ReduceLogSum": reduce_log_sum,
    "ReduceLogSumExp": reduce_log_sum_exp,
    "LpNormalization": lp_normalization,
    "MeanVarianceNormalization": mean_variance_normalization,
    "CumSum": cum_sum,
    "Trilu": trilu,
}
