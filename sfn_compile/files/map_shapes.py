"""Shapes that linear maps and windows make, without applying them: of projections, pools and the host's own maps."""

from __future__ import annotations

import numpy as np

from ..program.linear_maps import Conv, Dense, Gather, LinearMap, Shape, SumPool, window_shape
from .decode import damaged

SIZE_LIMIT = 1 << 32  # numbers of one value of one sample


def require(holds: bool, at: str, what: str) -> None:
    """Raise SFN503 for the place ``at`` unless something holds."""
    if not holds:
        raise damaged(at, what)


def check_shape(shape: Shape, at: str) -> None:
    """Raise SFN503 for a shape with an axis below 1, or of more numbers than any value has."""
    size = 1
    for n in shape:
        size *= n
    require(all(n >= 1 for n in shape) and size <= SIZE_LIMIT, at, f"the shape {shape} is none of a value")


def map_shape(one: LinearMap, shape: Shape, at: str) -> Shape:
    """Return the shape that a map makes of a sample of ``shape``. Raises SFN503 where it cannot be applied to one.

    Whether weights that broadcast fit what it makes is not looked at.
    """
    require(one.weight.size > 0, at, "it has no weights")
    if isinstance(one, Dense):
        fits = one.weight.ndim == 2 and one.weight.shape[1:] == shape[-1:]
        require(fits, at, f"weights of shape {one.weight.shape} on a sample of shape {shape}")
    elif isinstance(one, Conv):
        _check_conv(one, shape, at)
    elif isinstance(one, SumPool):
        check_windows(shape, one.kernel, one.strides, one.pads, (1,) * len(one.kernel), at)
    elif isinstance(one, Gather):
        ok = one.index.size > 0 and int(one.index.min()) >= -1 and int(one.index.max()) < int(np.prod(shape))
        require(ok, at, "an index reads beyond its source")
    return one.out_shape(shape)


def _check_conv(conv: Conv, shape: Shape, at: str) -> None:
    ok = conv.weight.ndim in (3, 4) and conv.weight.ndim == len(shape) + 1
    require(ok, at, f"a kernel of shape {conv.weight.shape} on a sample of shape {shape}")
    n_out, n_in = conv.weight.shape[:2]
    ok = conv.groups >= 1 and n_out % conv.groups == 0 and n_in * conv.groups == shape[0]
    require(ok, at, f"{conv.groups} groups of a kernel of shape {conv.weight.shape} on {shape[0]} channels")
    check_windows(shape, conv.weight.shape[2:], conv.strides, conv.pads, conv.dilations, at)


def check_windows(
    shape: Shape, kernel: Shape, strides: Shape, pads: tuple[tuple[int, int], ...], dilations: Shape, at: str
) -> None:
    """Raise SFN503 unless windows can be cut from a sample of ``shape`` ``(c, *space)``."""
    n = len(shape) - 1
    ok = n >= 1 and all(len(x) == n for x in (kernel, strides, pads, dilations))
    require(ok, at, f"windows over {len(kernel)} axes of a sample of shape {shape}")
    ok = all(x >= 1 for x in (*kernel, *strides, *dilations)) and all(x >= 0 for pair in pads for x in pair)
    require(ok, at, "a window, step or border below its least")
    check_shape((shape[0], *(x + sum(p) for x, p in zip(shape[1:], pads, strict=True))), at)
    check_shape(window_shape(shape[1:], kernel, strides, pads, dilations), at)
