"""Attributes that Conv and the pools share: kernel, strides, dilations, pads, auto_pad, ceil_mode."""

from __future__ import annotations

from ..program.network import Pads, Shape
from .onnx_node import OnnxNode


def spread(node: OnnxNode, name: str, n: int) -> tuple[int, ...]:
    """Return a per-axis attribute with 1 as default. Refuses another length or values below 1."""
    found = tuple(int(v) for v in node.attr(name, (1,) * n))
    if len(found) != n or any(v < 1 for v in found):
        raise node.refuse(f"attribute {name} = {list(found)} does not fit {n} space axes")
    return found


def window_pads(
    node: OnnxNode, space: Shape, kernel: Shape, strides: Shape, dilations: Shape, ceil_mode: bool = False
) -> Pads:
    """Return (before, after) per axis. ``ceil_mode`` becomes extra padding after. Refuses negative pads."""
    if min(kernel) < 1:
        raise node.refuse(f"its window {list(kernel)} is empty")
    auto = node.attr("auto_pad", "NOTSET")
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads = tuple(_same(x, span, st, auto) for x, span, st in zip(space, spans, strides, strict=True))
    elif auto == "VALID":
        pads = ((0, 0),) * len(kernel)
    else:
        flat = tuple(int(p) for p in node.attr("pads", (0,) * (2 * len(kernel))))
        if len(flat) != 2 * len(kernel) or min(flat) < 0:
            raise node.refuse(f"attribute pads = {list(flat)} is not {2 * len(kernel)} numbers of 0 or more")
        pads = tuple(zip(flat[: len(kernel)], flat[len(kernel) :], strict=True))
    if ceil_mode:
        pads = tuple(_ceil(x, span, st, p) for x, span, st, p in zip(space, spans, strides, pads, strict=True))
    for x, span, p in zip(space, spans, pads, strict=True):
        if x + sum(p) < span:
            raise node.refuse(f"its window of {span} is larger than the padded axis of {x + sum(p)}")
    node.check_size([x + sum(p) for x, p in zip(space, pads, strict=True)])
    return pads


def _same(x: int, span: int, stride: int, auto: str) -> tuple[int, int]:
    total = max((-(-x // stride) - 1) * stride + span - x, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if auto == "SAME_UPPER" else (large, small)


def _ceil(x: int, span: int, stride: int, pads: tuple[int, int]) -> tuple[int, int]:
    """Return pads enlarged after, so that a last partial window counts unless it starts in the padding."""
    free = x + sum(pads) - span
    n = -(-free // stride) + 1
    if (n - 1) * stride >= x + pads[0]:
        n -= 1
    return pads[0], max(pads[1], (n - 1) * stride + span - x - pads[0])
