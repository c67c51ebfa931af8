"""The operators of an ONNX graph that sum up: convolutions, matrix products, and onnxruntime's 8-bit kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from .functions import Function, with_constant
from .modular import FIELD, Array, convolve, product
from .onnx_tensors import Form, Tensor, form
from .reading import NotProved

PAIR = 32767  # x86 without VNNI adds two neighbouring products of a uint8 and an int8 in 16 bits that saturate


def conv(x: Tensor, weight: Array, attributes: dict[str, Any]) -> Form:
    """Return ``Conv`` of a form by constant integers."""
    if not isinstance(x, Form):
        raise NotProved("a convolution of what is no form")
    lo, hi, bound = _reach(x, weight, attributes, 0)
    v = convolve(x.v, weight.astype(np.int64), *_window(attributes, weight), True)
    return form(v, lo, hi, x.dtype, bound)


def _window(attributes: dict[str, Any], weight: Array) -> tuple[Any, Any, Any, int]:
    """Return strides, pads, dilations, groups of a convolution's attributes."""
    rank = weight.ndim - 2
    if list(attributes.get("kernel_shape", weight.shape[2:])) != list(weight.shape[2:]):
        raise NotProved("kernel_shape is not that of the weights")
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b""):
        raise NotProved("auto_pad")
    pads = attributes.get("pads", [0] * 2 * rank)
    ends = tuple(zip(pads[:rank], pads[rank:], strict=True))
    ones = [1] * rank
    return attributes.get("strides", ones), ends, attributes.get("dilations", ones), attributes.get("group", 1)


def _reach(x: Form, weight: Array, attributes: dict[str, Any], zero: int) -> tuple[Array, Array, float]:
    """Return bounds of a convolution's sums ``(1, o, 1, ...)`` and of every partial sum. Padding counts as 0."""
    groups = attributes.get("group", 1)
    lo, hi = (np.minimum(e, 0) if k == 0 else np.maximum(e, 0) for k, e in enumerate(_less(x, zero)))
    o, c = len(weight), weight.shape[1]
    shape = (groups, o // groups, c, -1)
    up, down = np.maximum(weight, 0).astype(float).reshape(shape), np.minimum(weight, 0).astype(float).reshape(shape)
    ends = [e.reshape(groups, 1, c, 1) for e in (lo, hi)]
    low = (up * ends[0] + down * ends[1]).sum(axis=(2, 3)).reshape(o)
    high = (up * ends[1] + down * ends[0]).sum(axis=(2, 3)).reshape(o)
    each = np.maximum(-ends[0], ends[1])
    bound = float(((up - down) * each).sum(axis=(2, 3)).max(initial=0))
    column = (1, o, *(1,) * (weight.ndim - 2))
    return low.reshape(column), high.reshape(column), bound


def _less(x: Form, zero: int) -> tuple[Array, Array]:
    lo, hi = x.channels()
    return lo - zero, hi - zero


def matmul(left: Tensor, right: Tensor) -> Form:
    """Return ``MatMul`` of a form by a constant, or of two forms."""
    if isinstance(left, Form) and isinstance(right, np.ndarray):
        weight = right.astype(np.int64)
        rows = left.v.reshape(-1, left.v.shape[-1])
        v = product(weight.T, rows.T).T.reshape(*left.v.shape[:-1], weight.shape[1])
        others = tuple(range(left.v.ndim - 1))
        lo, hi = (np.broadcast_to(e, left.v.shape) for e in (left.lo, left.hi))
        lo, hi = lo.min(axis=others), hi.max(axis=others)
        up, down = np.maximum(weight, 0).astype(float), np.minimum(weight, 0).astype(float)
        bound = float((np.maximum(-lo, hi) @ (up - down)).max(initial=0))
        return form(v, lo @ up + hi @ down, hi @ up + lo @ down, left.dtype, bound)
    if isinstance(left, Form) and isinstance(right, Form):
        ends = [float(a) * float(b) * left.v.shape[-1] for a in _ends(left) for b in _ends(right)]
        low, high = np.array(min(ends)), np.array(max(ends))
        return form(product(left.v, right.v), low, high, left.dtype, max(map(abs, ends)))
    raise NotProved("a matrix product of what is no form")


def _ends(x: Form) -> tuple[float, float]:
    return float(x.lo.min()), float(x.hi.max())


def qlinear_conv(x: Tensor, numbers: list[Any], attributes: dict[str, Any]) -> Tensor:
    """Return ``QLinearConv``: ``round(sums * x_scale * w_scale / y_scale) + y_zero``, cut to a byte.

    ``numbers``: x_scale, x_zero, weight, w_scale, w_zero, y_scale, y_zero and the bias, all constant.
    """
    x_scale, x_zero, weight, w_scale, w_zero, y_scale, y_zero = numbers[:7]
    bias = numbers[7].astype(np.int64) if len(numbers) > 7 else np.zeros(len(weight), np.int64)
    signed = weight.dtype == np.int8
    weight = weight.astype(np.int64) - int(w_zero.reshape(-1)[0])
    scale = (np.float32(x_scale) * w_scale.astype(np.float32)) / np.float32(y_scale)
    if isinstance(x, Function):
        return _element_wise(x, int(x_zero), weight, bias, scale, int(y_zero), attributes)
    if not isinstance(x, Form):
        raise NotProved("a kernel of what is no form")
    if signed:
        _pairs_fit(x, weight, attributes)
    low, high, bound = _reach(x, weight, attributes, int(x_zero))
    column = (1, len(weight), *(1,) * (weight.ndim - 2))
    shifted = (x.v - int(x_zero)) % FIELD.p
    sums = (convolve(shifted, weight, *_window(attributes, weight), True) + bias.reshape(column)) % FIELD.p
    low, high = low + bias.reshape(column), high + bias.reshape(column)
    raw = _reach(x, weight, attributes, 0)[2]  # some kernels add up bytes, and correct for the zero behind
    found = form(sums, low, high, np.int32, max(bound, raw) + float(np.abs(bias).max(initial=0)))
    zero = int(y_zero)
    if (scale == 1).all() and low.min() + zero >= 0 and high.max() + zero <= 255:
        return form(sums + zero, low + zero, high + zero, np.uint8)  # nothing is rounded or cut
    return requantised(found.function(), scale.reshape(column) if scale.size > 1 else scale, zero)


def requantised(f: Function, scale: Array, zero: int) -> Function:
    """Return ``saturate(round(f * scale) + zero)``: one float32 product, rounded to nearest even."""
    if (scale <= 0).any():
        raise NotProved("a scale that is not positive")
    f, factor = with_constant(f, scale)

    def op(acc: Array, by: Array) -> Array:
        return np.clip(np.rint(acc.astype(np.float32) * by) + np.float32(zero), 0, 255)

    return f.then(op, factor, rising=True, dtype=np.uint8)


def _element_wise(
    f: Function, x_zero: int, weight: Array, bias: Array, scale: Array, zero: int, attributes: dict[str, Any]
) -> Function:
    """Return a depthwise 1x1 kernel of codes that are functions of an accumulator."""
    channels = f.v.shape[1]
    strides, pads, _, groups = _window(attributes, weight)
    plain = weight[0].size == 1 and set(strides) <= {1} and not any(map(any, pads))
    if not (plain and groups == channels == len(weight)) or (weight < 0).any():
        raise NotProved("a kernel of codes that have no name")
    column = (1, channels, *(1,) * (f.v.ndim - 2))
    f, factor = with_constant(f, weight.reshape(column))
    f, added = with_constant(f, bias.reshape(column))
    f = f.then(lambda code, w, b: (code - x_zero) * w + b, factor, added, rising=True, dtype=np.int32)
    return requantised(f, scale.reshape(column) if scale.size > 1 else scale, zero)


def _pairs_fit(x: Form, weight: Array, attributes: dict[str, Any]) -> None:
    """Check that no sum of two neighbouring products leaves 16 bits, on processors that add them there."""
    groups = attributes.get("group", 1)
    if groups > 1 and groups == x.v.shape[1] == len(weight):
        return  # depthwise kernels add in 32 bits
    each = np.abs(weight).reshape(groups, len(weight) // groups, weight.shape[1], -1)
    top = x.channels()[1].reshape(groups, 1, -1, 1)
    products = each * top
    if weight.shape[1] % 2:
        largest = 2 * products.max(initial=0)  # a pair may be of two pixels
    else:
        largest = (products[:, :, ::2] + products[:, :, 1::2]).max(initial=0)
    if largest > PAIR:
        raise NotProved(f"two products reach {int(largest)}: kernels without VNNI saturate at {PAIR}")
