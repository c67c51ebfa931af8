"""Normalisation by the mean and deviation of computed values: over the last axes, over space, over groups."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...graph.ops import Moved, Normalize
from ...program.network import Reshape
from ..context import Array
from ..onnx_node import OnnxNode


def normalize(
    node: OnnxNode, axes: Sequence[int], epsilon: float, centred: bool = True, scale: Array | None = None,
    bias: Array | None = None,
) -> Normalize:  # fmt: skip
    """Return the op over ``axes`` of one sample; ``scale`` and ``bias`` broadcast against it. Refuses (SFN202)."""
    if not epsilon >= 0 or not math.isfinite(epsilon):
        raise node.refuse(f"epsilon = {epsilon} is no number of at least 0")
    one, zero = np.ones(()), np.zeros(())
    return Normalize(tuple(sorted(axes)), epsilon, one if scale is None else scale, zero if bias is None else bias,
                     centred)  # fmt: skip


def _parameter(node: OnnxNode, i: int, what: str) -> Array | None:
    """Return a constant that broadcasts against one sample, None where it is left out."""
    return node.sample_constant(node.need_constant(i, what), node.shape(), what) if node.has_input(i) else None


def _trailing(node: OnnxNode, centred: bool, epsilon: float = 1e-5) -> None:
    rank = node.rank()
    first = int(node.attr("axis", -1))
    if not -rank <= first < rank:
        raise node.refuse(f"axis {first} is outside a tensor of rank {rank}")
    axes = node.sample_axes(range(first % rank, rank), rank)
    parameters = _parameter(node, 1, "scale"), _parameter(node, 2, "bias")
    epsilon = float(node.attr("epsilon", epsilon))
    node.result(normalize(node, axes, epsilon, centred, *parameters), node.value())


def layer_normalization(node: OnnxNode) -> None:
    """Over the last axes; also written out with ReduceMean, Sub, Pow or Mul, Sqrt and Div."""
    _trailing(node, centred=True)


def rms_normalization(node: OnnxNode) -> None:
    """Over the last axes; also written out with Pow or Mul, ReduceMean, Sqrt and Div or Reciprocal."""
    _trailing(node, centred=False)


def instance_normalization(node: OnnxNode) -> None:
    """Over all space axes, channel by channel."""
    shape = node.shape()
    if len(shape) < 2:
        raise node.refuse(f"a sample of shape {shape} has no space axes")
    parameters = _per_channel(node, shape[0])
    axes = tuple(range(1, len(shape)))
    node.result(normalize(node, axes, float(node.attr("epsilon", 1e-5)), True, *parameters), node.value())


def _per_channel(node: OnnxNode, n: int) -> tuple[Array, Array]:
    column = (-1, *(1,) * (len(node.shape()) - 1))
    scale, bias = (
        np.asarray(node.need_constant(i, what), np.float64) for i, what in enumerate(("scale", "bias"), start=1)
    )
    if scale.shape != (n,) or bias.shape != (n,):
        raise node.refuse(f"its scale of shape {scale.shape} and bias of shape {bias.shape} do not fit {n} channels")
    return scale.reshape(column), bias.reshape(column)


def group_normalization(node: OnnxNode) -> None:
    """Over groups of channels and all space axes; scale and bias per channel (opset 21) or per group (opset 18)."""
    shape, groups = node.shape(), int(node.attr("num_groups", 0))
    if groups < 1 or shape[0] % groups:
        raise node.refuse(f"num_groups = {groups} does not divide {shape[0]} channels")
    each = shape[0] // groups
    scale, bias = _per_channel(node, groups if node.context.opset < 21 else shape[0])
    if node.context.opset < 21:
        scale, bias = np.repeat(scale, each, 0), np.repeat(bias, each, 0)
    rows = node.emit(Moved(Reshape((groups, math.prod(shape) // groups))), node.value())
    normed = node.emit(normalize(node, (1,), float(node.attr("epsilon", 1e-5))), rows)
    back = node.emit(Moved(Reshape(shape)), normed)
    node.result(node.affine(back, scale, bias), back)


IMPORTERS = {
    "LayerNormalization": layer_normalization,
    "RMSNormalization": rms_normalization,
    "SimplifiedLayerNormalization": rms_normalization,
    "InstanceNormalization": instance_normalization,
    "GroupNormalization": group_normalization,
}
