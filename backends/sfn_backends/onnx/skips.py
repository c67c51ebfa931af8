"""Skips: a tensor that is read with one weight per channel, such as the short path of a residual block.

The weight of a skip may be far beyond int8; a Program states it as several equal projections. Here they become one,
which reads amplified codes: a 1x1 kernel makes ``m * code`` of the codes, and a skip's weight is ``m * high``, or
``m * high + (m - 1) * low``, which every integer is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_backends.onnx.net import Net
from sfn_backends.onnx.parts import LARGEST_WEIGHT, Part

Array = NDArray[Any]
_BYTE = 255


def gathered(parts: list[Part]) -> list[Part]:
    """Return parts with the same sum, in which all skips of one source are one or two, read as rarely as can be.

    The order of first reads is kept; what is no skip stays as it is.
    """
    even = all(p.shape[0] % 2 == 0 for p in parts)  # then no pair of products straddles two parts
    weights: dict[str, Array] = {}
    for part in parts:
        weight = _per_channel(part)
        if weight is not None:
            weights[part.source] = weights.get(part.source, np.zeros_like(weight)) + weight
    out: list[Part] = []
    for part in parts:
        if _per_channel(part) is None:
            out.append(part)
        elif part.source in weights:
            out += _fewest_reads(replace(part, diagonal=even), weights.pop(part.source))
    return [replace(p, lone=len(out) == 1) for p in out]


def amplified(net: Net, tensor: str, part: Part) -> str:
    """Return the tensor of a part's codes, times its gain; by a dense kernel, as depthwise ones are slower."""
    if part.gain == 1:
        return tensor
    one, none, middle = net.constant(1, "float32"), net.constant(0, "uint8"), net.constant(0, "int8")
    weight = np.diag(np.full(part.shape[0], part.gain, np.int8))[:, :, None, None]
    return net.add("QLinearConv", tensor, one, none, net.constant(weight), one, middle, one, none, kernel_shape=(1, 1))


def _per_channel(part: Part) -> Array | None:
    """Return the weights ``(c,)`` of a part that reads every channel for itself, pixel by pixel; None of any other."""
    weight, conv = part.conv.weight, part.conv
    if part.taps > 1 or set(conv.strides) != {1} or any(map(any, conv.pads)) or len(weight) != part.shape[0]:
        return None
    if conv.groups == len(weight):
        return weight[:, 0, 0, 0]
    square = weight[:, :, 0, 0]
    if conv.groups > 1 or np.count_nonzero(square) > np.count_nonzero(np.diagonal(square)):
        return None
    return np.diagonal(square).copy()


def _fewest_reads(part: Part, weight: Array) -> list[Part]:
    """Return the parts, at most two, that add up to ``weight`` times the codes and are read least often."""
    most = min(max(_BYTE // max(part.top, 1), 1), LARGEST_WEIGHT)
    options = [[_with_gain(part, weight // gain, gain)] for gain in range(1, most + 1) if not (weight % gain).any()]
    pairs = {(gain, other) for gain in range(2, most + 1) for other in (gain - 1, 1)}
    options += [_in_two(part, weight, gain, other) for gain, other in sorted(pairs)]
    return min(options, key=lambda found: (sum(p.copies for p in found), sum(p.gain > 1 for p in found)))


def _in_two(part: Part, weight: Array, gain: int, other: int) -> list[Part]:
    """Return ``weight`` as ``gain * high + other * low``, two coprime gains: ``low`` takes what one read can."""
    second = _with_gain(part, weight, other)
    most = np.clip(weight // other, -second.bound, second.bound)
    residue = weight * pow(other, -1, gain) % gain  # low = residue (mod gain): gain divides what is left for high
    low = most - (most - residue) % gain
    low += np.where(low < -second.bound, gain, 0)
    return [_with_gain(part, (weight - other * low) // gain, gain), _with_gain(part, low, other)]


def _with_gain(part: Part, weight: Array, gain: int) -> Part:
    """Return the part that reads codes times ``gain`` with ``weight`` per channel."""
    conv = replace(part.conv, weight=weight.reshape(-1, 1, 1, 1), groups=len(weight))
    return replace(part, gain=gain, top=gain * part.top, zero=gain * part.zero, conv=conv)
