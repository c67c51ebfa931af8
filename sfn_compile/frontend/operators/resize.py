"""Resize and Upsample: nearest moves elements, linear and cubic are fixed weighted sums of them.

Where the weights repeat along the axis (every scale that is a small fraction), the sum is a depthwise convolution over
the source with its ends repeated, one set of channels per phase, and a pixel shuffle. Elsewhere, and where the result
is read by a sum alone, it is one Gather per tap.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from ...graph.ops import Add, Linear, Moved
from ...program.network import Conv, Gather, Reshape, Shape, Slice, Take, Transpose
from ..onnx_node import OnnxNode
from ..resampling import Axis, Phases, coordinate, nearest, phases, taps, without_outside
from .picks import chain
from .transposed import shuffle

Array = np.ndarray[Any, Any]

_MOST_PHASES = 8
_MODES = "half_pixel, asymmetric, pytorch_half_pixel, align_corners, half_pixel_symmetric"


def resize(node: OnnxNode) -> None:
    """Nearest exactly, linear and cubic as fixed weights; all coordinate modes but tf_crop_and_resize; no antialias."""
    old = node.context.opset < 11
    mode = _text(node, "mode", "nearest")
    where = "asymmetric" if old else _text(node, "coordinate_transformation_mode", "half_pixel")
    axes = _axes(node, 1 if old else 2)
    if node.attr("antialias", 0) and any(a.scale < 1 for a in axes):
        raise node.refuse("antialias = 1 on a smaller result", "export with antialias=False, or average-pool instead")
    if coordinate(axes[0], where, float, 1.0) is None:
        raise node.refuse(f"coordinate_transformation_mode = {where!r}", f"one of {_MODES}")
    if mode == "nearest":
        rounding = "simple" if old else _text(node, "nearest_mode", "round_prefer_floor")
        picked = [(i, nearest(a, where, rounding)) for i, a in enumerate(axes)]
        ops = [Take(i, tuple(p)) for i, p in picked if p != list(range(axes[i].n_in))]
        return chain(node, node.value(), ops)
    if mode not in ("linear", "cubic"):
        raise node.refuse(f"mode = {mode!r}; nearest, linear and cubic are supported")
    if node.grid() is not None:
        what = "it interpolates stored integers, which onnxruntime cuts off where the format rounds"
        raise node.refuse(what, "put it between a DequantizeLinear and a QuantizeLinear")
    cubic = float(node.attr("cubic_coeff_a", -0.75)) if mode == "cubic" else None
    changed = [i for i, a in enumerate(axes) if a.scale != 1]
    if len(changed) > 2:
        raise node.refuse("it interpolates along more than two axes")
    found = {i: taps(axes[i], where, cubic) for i in changed}
    if node.attr("exclude_outside", 0):
        found = {i: (first, without_outside(first, w, axes[i].n_in)) for i, (first, w) in found.items()}
    return _interpolate(node, axes, found)


def _text(node: OnnxNode, name: str, default: str) -> str:
    return str(node.attr(name, default))


def _axes(node: OnnxNode, scales_at: int) -> list[Axis]:
    """Return every axis of one sample. Refuses another scale than 1 for the batch."""
    shape = node.shape()
    rank = len(shape) + 1
    named = [int(a) % rank for a in node.attr("axes", range(rank))]
    scales = _given(node, "scales", scales_at)
    sizes = _given(node, "sizes", scales_at + 1)
    if (scales is None) == (sizes is None):
        raise node.refuse("it has neither or both of scales and sizes")
    values = scales if scales is not None else sizes
    assert values is not None
    if len(values) != len(named) or min(values) <= 0 or not np.isfinite(values).all():
        raise node.refuse(f"scales or sizes {values} do not fit {len(named)} axes")
    full = dict(zip(named, values, strict=True))
    batch = full.pop(0, 1.0)
    if batch not in (1.0, node.context.batch if scales is None else 1.0):
        raise node.refuse("it resizes the batch axis", "keep axis 0 for the samples", "SFN203")
    if scales is not None:
        each = [(d, np.float32(full.get(i + 1, 1.0))) for i, d in enumerate(shape)]
        made = [Axis(d, int(s * np.float32(d)), float(s)) for d, s in each]
    else:
        made = _fitted(node, shape, full)
    if any(a.n_out < 1 for a in made):
        raise node.refuse(f"its scales leave nothing of {shape}")
    node.check_size([a.n_out for a in made])
    return made


def _given(node: OnnxNode, name: str, i: int) -> list[float] | None:
    """Return scales or sizes: an attribute of Upsample 7, else a constant input; None where absent or empty."""
    attribute = node.attr(name) if name == "scales" else None
    if attribute is not None:
        return [float(v) for v in attribute]
    if not node.has_input(i):
        return None
    found = node.need_constant(i, name).reshape(-1)
    return [float(v) for v in found] if found.size else None


def _fitted(node: OnnxNode, shape: Shape, sizes: dict[int, float]) -> list[Axis]:
    """Return the axes for sizes, the aspect ratio kept where that is asked for."""
    policy = _text(node, "keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        ratios = [np.float32(n) / np.float32(shape[i - 1]) for i, n in sizes.items()]
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        sizes = {i: float(np.floor(ratio * np.float32(shape[i - 1]) + np.float32(0.5))) for i in sizes}
        return [Axis(d, int(sizes.get(i + 1, d)), float(ratio) if i + 1 in sizes else 1.0) for i, d in enumerate(shape)]
    outs = [int(sizes.get(i + 1, d)) for i, d in enumerate(shape)]
    return [Axis(d, n, float(np.float32(n) / np.float32(d))) for d, n in zip(shape, outs, strict=True)]


def _interpolate(node: OnnxNode, axes: list[Axis], found: dict[int, tuple[Array, Array]]) -> None:
    patterns = {i: phases(first, weight, _MOST_PHASES) for i, (first, weight) in found.items()}
    regular = {i: p for i, p in patterns.items() if p is not None}
    if not found:
        return node.alias(node.value())
    # A sum takes Gathers in as projections of its own; what a convolution makes would have to be fired for it.
    users = [user.op_type for user, _ in node.node.outputs[0].uses()]
    if len(regular) < len(found) or (users and set(users) <= {"Add", "Sum"}):
        return _gathered(node, axes, found)
    return _convolved(node, axes, regular)


def _convolved(node: OnnxNode, axes: list[Axis], patterns: dict[int, Phases]) -> None:
    """Interpolate by a depthwise convolution along the axes of ``patterns``, all others taken as channels."""
    rank = len(axes)
    space = [*range(1, rank)] if rank in (2, 3) and 0 not in patterns else sorted(patterns)
    order = [*(i for i in range(rank) if i not in space), *space]
    flat = _to_front(node, _bordered(node, axes, patterns), order, len(space))
    channels = node.context.types[flat].shape[0]
    each = [patterns.get(i, Phases(np.ones((1, 1)), 1, 0)) for i in space]
    linear = Linear(_depthwise(each, channels), np.zeros((1,) * (len(each) + 1)), positions=_farthest(axes))
    blocks, counts = linear.infer(node.context.types[flat].shape)[1:], [len(p.kernel) for p in each]
    back = shuffle(channels, counts, blocks)
    if any(b * p != axes[i].n_out for b, p, i in zip(blocks, counts, space, strict=True)):
        back.append(Slice(((0, channels, 1), *((0, axes[i].n_out, 1) for i in space))))
    if order != [*range(rank)] or rank != len(space) + 1:
        back.append(Reshape(tuple(axes[i].n_out for i in order)))
        back.append(Transpose(tuple(int(i) for i in np.argsort(order))))
    if not back:
        return node.result(linear, flat)
    return chain(node, node.emit(linear, flat), back)


def _bordered(node: OnnxNode, axes: list[Axis], patterns: dict[int, Phases]) -> str:
    """Return the node's input with its ends repeated as far as the convolution reads."""
    value = node.value()
    for i, p in patterns.items():
        source = p.source(axes[i])
        if source != list(range(axes[i].n_in)):
            value = node.emit(Moved(Take(i, tuple(source))), value)
    return value


def _depthwise(each: list[Phases], channels: int) -> Conv:
    """Return the convolution of every channel to all its phases."""
    kernel = each[0].kernel if len(each) == 1 else np.einsum("pk,ql->pqkl", each[0].kernel, each[1].kernel)
    kernel = kernel.reshape(-1, 1, *(p.kernel.shape[1] for p in each))
    weight = np.tile(kernel, (channels, *(1,) * (kernel.ndim - 1)))
    return Conv(weight, tuple(p.stride for p in each), ((0, 0),) * len(each), (1,) * len(each), channels)


def _to_front(node: OnnxNode, value: str, order: list[int], n_space: int) -> str:
    """Return the value with its axes in ``order`` and all but the last ``n_space`` of them as one."""
    turned = node.transpose(value, order)
    shape = node.context.types[turned].shape
    n = len(shape) - n_space
    if n == 1:
        return turned
    return node.emit(Moved(Reshape((int(np.prod(shape[:n])), *shape[n:]))), turned)


def _gathered(node: OnnxNode, axes: list[Axis], found: dict[int, tuple[Array, Array]]) -> None:
    """Interpolate by one Gather per combination of taps, whose weights differ from place to place."""
    shape, value = node.shape(), node.value()
    places = np.arange(int(np.prod(shape))).reshape(shape)
    terms = []
    for tap in product(*(range(w.shape[1]) for _, w in found.values())):
        index, weight = places, np.ones((1,) * len(shape))
        for t, (i, (first, w)) in zip(tap, found.items(), strict=True):
            index = index.take(np.clip(first + t, 0, axes[i].n_in - 1), axis=i)
            weight = weight * w[:, t].reshape([-1 if a == i else 1 for a in range(len(shape))])
        if weight.any():
            terms.append(Linear(Gather(index, weight), np.zeros((1,) * len(shape)), positions=_farthest(axes)))
    if len(terms) == 1:
        return node.result(terms[0], value)
    total = node.emit(terms[0], value)
    for term in terms[1:-1]:
        total = node.emit(Add(), total, node.emit(term, value))
    return node.result(Add(), total, node.emit(terms[-1], value))


def _farthest(axes: list[Axis]) -> float:
    """Return the largest number that a place along a resized axis is computed from."""
    return float(max(max(a.n_in, a.n_out) for a in axes if a.n_in != a.n_out or a.scale != 1.0))


def upsample(node: OnnxNode) -> None:
    """As Resize of opset 10: nearest and linear."""
    resize(node)


IMPORTERS = {"Resize": resize, "Upsample": upsample}
