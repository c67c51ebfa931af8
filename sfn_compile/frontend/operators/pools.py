"""Pooling. Averages are sums with the divisor in their real weight; maxima stay maxima."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...graph.graph import Op
from ...graph.ops import Activation, Linear, MaxPool, Moved
from ...program.arithmetic import windows
from ...program.network import Conv, Reshape, SumPool
from ..onnx_node import OnnxNode
from ..windows import spread, window_pads

Step = Callable[[OnnxNode, str], Op]  # the op that is applied to a value


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
    """1-D and 2-D; stride, dilation, pads, auto_pad, ceil_mode, count_include_pad both ways."""
    node.result(average_map(node), node.value())


def average_map(node: OnnxNode) -> Linear:
    """Return the linear map of an AveragePool with the node's attributes."""
    kernel, space = _kernel(node), node.shape()[1:]
    strides, dilations = spread(node, "strides", len(kernel)), spread(node, "dilations", len(kernel))
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
    if any(d != 1 for d in dilations):
        return _dilated_average(node, Conv(weight, strides, pads, dilations), kernel)
    return Linear(SumPool(kernel, strides, pads, weight), np.zeros((1,) * (len(kernel) + 1)))


def _dilated_average(node: OnnxNode, pool: Conv, kernel: tuple[int, ...]) -> Linear:
    """Return a depthwise Conv of ``pool``'s windows, whose weight is the divisor, one for all windows."""
    if pool.weight.size != 1:
        raise node.refuse("it leaves padding out and has dilations", "export with count_include_pad = 1")
    channels = node.shape()[0]
    weight = np.full((channels, 1, *kernel), pool.weight.item())
    return Linear(replace(pool, weight=weight, groups=channels), np.zeros((1,) * (len(kernel) + 1)))


def global_average_pool(node: OnnxNode) -> None:
    """The mean over all space axes."""
    space = node.shape()[1:]
    node.result(mean_map(space), node.value())


def mean_map(space: tuple[int, ...]) -> Linear:
    """Return the mean over all of ``space``."""
    return _sum_pool(space, 1.0 / float(np.prod(space)))


def _sum_pool(space: tuple[int, ...], weight: float = 1.0) -> Linear:
    ones = (1,) * (len(space) + 1)
    return Linear(SumPool(space, space, ((0, 0),) * len(space), np.full(ones, weight)), np.zeros(ones))


def global_max_pool(node: OnnxNode) -> None:
    """The maximum over all space axes."""
    node.result(_whole_max(node.shape()[1:]), node.value())


def _whole_max(space: tuple[int, ...]) -> MaxPool:
    return MaxPool(space, space, ((0, 0),) * len(space), (1,) * len(space))


def reduce_mean(node: OnnxNode) -> None:
    """The mean over any axes but the batch, keepdims both ways."""
    _reduce(node, mean_map)


def reduce_sum(node: OnnxNode) -> None:
    """The sum over any axes but the batch, keepdims both ways."""
    _reduce(node, _sum_pool)


def reduce_max(node: OnnxNode) -> None:
    """The maximum over any axes but the batch, keepdims both ways."""
    _reduce(node, _whole_max)


def reduce_min(node: OnnxNode) -> None:
    """The minimum over any axes but the batch, keepdims both ways: minus the maximum of minus x."""
    _reduce(node, _whole_max, _minus, _minus)


def reduce_sum_of(node: OnnxNode, inner: Activation | None, outer: Activation | None) -> None:
    """Let the node's output be ``outer`` of the sum, over the node's axes, of ``inner`` of its input."""
    if node.attr("noop_with_empty_axes", 0) and not node.attr_or_input("axes", 1):
        raise node.refuse("it reduces no axis", "give the axes to reduce, or use the function alone")
    _reduce(node, _sum_pool, *(None if f is None else lambda *_, f=f: f for f in (inner, outer)))


def _reduce(
    node: OnnxNode, pool: Callable[[tuple[int, ...]], Op], before: Step | None = None, after: Step | None = None
) -> None:
    """Reduce by the global ``pool`` of the given space: over all space axes as they are, else over one joined axis.

    ``before`` makes the op that is applied to what is pooled, ``after`` that of the result.
    """
    shape, rank = node.shape(), node.rank()
    given = node.attr_or_input("axes", 1)
    if not given:
        if node.attr("noop_with_empty_axes", 0):
            return node.alias(node.value())
        given = tuple(range(rank))
        if not node.layout.whole:
            raise node.refuse("it reduces all axes, the batch included", "give the axes to reduce", "SFN203")
    axes = sorted(set(node.sample_axes(given, rank)))
    keep = bool(node.attr("keepdims", 1))
    gone = 0 if keep else sum(a % rank < node.layout.axis for a in set(given))
    layout = node.layout.shifted(-gone)
    value = node.value() if before is None else node.emit(before(node, node.value()), node.value())
    kept = [a for a in range(len(shape)) if a not in axes]
    steps: list[Op] = []
    if kept == [0] and len(axes) in (1, 2):
        steps.append(pool(shape[1:]))
    else:
        value = node.transpose(value, (*kept, *axes))
        n_kept, n_reduced = (math.prod(shape[a] for a in group) for group in (kept, axes))
        value, steps = node.emit(Moved(Reshape((n_kept, n_reduced))), value), [pool((n_reduced,))]
    out = tuple(1 if a in axes else shape[a] for a in range(len(shape)) if keep or a not in axes)
    if kept != [0] or len(axes) not in (1, 2) or not keep:
        steps.append(Moved(Reshape(out)))
    for op in steps[: len(steps) - (after is None)]:
        value = node.emit(op, value)
    return node.result(steps[-1] if after is None else after(node, value), value, layout=layout)


def _minus(node: OnnxNode, value: str) -> Op:
    return _scaled(node, value, -1.0)


def _scaled(node: OnnxNode, value: str, factor: float) -> Linear:
    return node.affine(value, np.asarray(factor), np.asarray(0.0))


IMPORTERS = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "ReduceMean": reduce_mean,
    "ReduceSum": reduce_sum,
    "ReduceMax": reduce_max,
    "ReduceMin": reduce_min,
}
