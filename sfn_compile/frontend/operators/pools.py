"""Pooling. Averages are sums with the divisor in their real weight; maxima stay maxima."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...arith import windows
from ...ir import Op
from ...ops import Linear, MaxPool, Moved
from ...program import Reshape, SumPool
from ..context import OnnxNode
from ..windows import spread, window_pads


def _kernel(node: OnnxNode) -> tuple[int, ...]:
    kernel = tuple(int(k) for k in node.attr("kernel_shape", ()))
    if len(kernel) not in (1, 2) or len(node.shape()) != len(kernel) + 1:
        raise node.refuse(f"a window over {len(kernel)} axes of input {node.shape()}; 1 and 2 are supported")
    return kernel


def max_pool(node: OnnxNode) -> None:
    """1-D and 2-D; stride, dilation, pads, auto_pad, ceil_mode."""
    kernel, space = _kernel(node), node.shape()[1:]
    strides, dilations = spread(node, "strides", len(kernel)), spread(node, "dilations", len(kernel))
    pads = window_pads(node, space, kernel, strides, dilations, bool(node.attr("ceil_mode", 0)))
    node.result(MaxPool(kernel, strides, pads, dilations), node.value())


def average_pool(node: OnnxNode) -> None:
    """1-D and 2-D; stride, pads, auto_pad, ceil_mode, count_include_pad both ways."""
    node.result(average_map(node), node.value())


def average_map(node: OnnxNode) -> Linear:
    """Return the linear map of an AveragePool with the node's attributes."""
    kernel, space = _kernel(node), node.shape()[1:]
    strides, dilations = spread(node, "strides", len(kernel)), spread(node, "dilations", len(kernel))
    if any(d != 1 for d in dilations):
        raise node.refuse(f"dilations = {list(dilations)}; only 1 is supported")
    declared = window_pads(node, space, kernel, strides, dilations)
    pads = window_pads(node, space, kernel, strides, dilations, bool(node.attr("ceil_mode", 0)))
    counted = np.ones((1, 1, *space))
    if node.attr("count_include_pad", 0):  # declared padding counts, what ceil_mode adds does not
        counted = np.pad(counted, ((0, 0), (0, 0), *declared), constant_values=1.0)
        extra = tuple((p[0] - d[0], p[1] - d[1]) for p, d in zip(pads, declared, strict=True))
    else:
        extra = pads
    count = windows(counted, kernel, strides, dilations, extra).sum(axis=tuple(range(-len(kernel), 0)))[0]
    weight = 1.0 / count
    if (count == count.flat[0]).all():
        weight = weight.reshape(-1)[:1].reshape((1,) * weight.ndim)
    return Linear(SumPool(kernel, strides, pads, weight), np.zeros((1,) * (len(kernel) + 1)))


def global_average_pool(node: OnnxNode) -> None:
    """The mean over all space axes."""
    space = node.shape()[1:]
    node.result(mean_map(space), node.value())


def mean_map(space: tuple[int, ...]) -> Linear:
    """Return the mean over all of ``space``."""
    ones = (1,) * (len(space) + 1)
    weight = np.full(ones, 1.0 / np.prod(space))
    return Linear(SumPool(space, space, ((0, 0),) * len(space), weight), np.zeros(ones))


def global_max_pool(node: OnnxNode) -> None:
    """The maximum over all space axes."""
    node.result(_whole_max(node.shape()[1:]), node.value())


def _whole_max(space: tuple[int, ...]) -> MaxPool:
    return MaxPool(space, space, ((0, 0),) * len(space), (1,) * len(space))


def reduce_mean(node: OnnxNode) -> None:
    """The mean over any axes but the batch, keepdims both ways."""
    _reduce(node, mean_map)


def reduce_max(node: OnnxNode) -> None:
    """The maximum over any axes but the batch, keepdims both ways."""
    _reduce(node, _whole_max)


def _reduce(node: OnnxNode, pool: Callable[[tuple[int, ...]], Op]) -> None:
    """Reduce by the global ``pool`` of the given space: over all space axes as they are, else over one joined axis."""
    shape, rank = node.shape(), len(node.shape()) + 1
    given = node.attr_or_input("axes", 1)
    if not given:
        if node.attr("noop_with_empty_axes", 0):
            return node.alias(node.value())
        raise node.refuse("it reduces all axes, the batch included", "give the axes to reduce", "SFN203")
    axes = sorted({node.sample_axis(a, rank) for a in given})
    kept = [a for a in range(len(shape)) if a not in axes]
    if kept == [0] and len(axes) in (1, 2):
        if node.attr("keepdims", 1):
            return node.result(pool(shape[1:]), node.value())
        reduced = node.emit(pool(shape[1:]), node.value())
    else:
        turned = node.transpose(node.value(), (*kept, *axes))
        n_kept, n_reduced = int(np.prod([shape[a] for a in kept])), int(np.prod([shape[a] for a in axes]))
        reduced = node.emit(pool((n_reduced,)), node.emit(Moved(Reshape((n_kept, n_reduced))), turned))
    keep = bool(node.attr("keepdims", 1))
    out = tuple(1 if a in axes else shape[a] for a in range(len(shape)) if keep or a not in axes)
    return node.result(Moved(Reshape(out)), reduced)


IMPORTERS = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "ReduceMean": reduce_mean,
    "ReduceMax": reduce_max,
}
