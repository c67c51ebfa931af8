"""Maps between maps as taps per phase of the result: convolutions, and moves such as a pixel shuffle or an upsampling.

Element ``(u Y + p, v X + q)`` of the result has the block (Y, X) and the phase (p, q). A tap of that phase reads
``(s Y + dy, t X + dx)`` of the source. A convolution has one phase, u = v = 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_backends.nir.links import Pair, Tap, channel_index, per_channel, shape3, taps
from sfn_compile.program.network import Gather, LinearMap, Shape

Array = NDArray[Any]
_MOST = 8  # phases per axis, as many as a value's factor can be


@dataclass(frozen=True, eq=False)
class Phased:
    """A map as ``taps`` per phase: ``up`` elements per axis make a block, and blocks are ``stride`` elements apart."""

    stride: Pair
    up: Pair
    taps: dict[Pair, list[Tap]]

    def at(self, y: int, x: int) -> Iterator[tuple[Tap, int, int]]:
        """Yield (tap, offset y, x in the source) of element (y, x) of the result."""
        block = y // self.up[0] * self.stride[0], x // self.up[1] * self.stride[1]
        for tap in self.taps.get((y % self.up[0], x % self.up[1]), []):
            yield tap, block[0] + tap.dy, block[1] + tap.dx

    def offsets(self) -> set[Pair]:
        """Return where the taps of all phases read."""
        return {(tap.dy, tap.dx) for found in self.taps.values() for tap in found}


@lru_cache(maxsize=512)
def phased(linear: LinearMap, shape: Shape) -> Phased | None:
    """Return the taps of a map on a source of ``shape``; None where it is no such map."""
    if not isinstance(linear, Gather):
        found = taps(linear, shape)
        return None if found is None else Phased(found[0], (1, 1), {(0, 0): found[1]})
    source, out = shape3(shape), shape3(linear.index.shape)
    if source is None or out is None or not per_channel(linear.weight.shape, linear.index.ndim):
        return None
    each = [[u for u in range(1, _MOST + 1) if n % u == 0 and (u < n or u == 1)] for n in out[1:]]
    for up in sorted(product(*each), key=lambda u: (u[0] * u[1], u)):
        made = _pattern(linear, linear.index.reshape(out), source, (up[0], up[1]))
        if made is not None:
            return made
    return None


def _pattern(linear: Gather, index: Array, source: Shape, up: Pair) -> Phased | None:
    """Return the taps where every phase of every channel reads one channel in equal steps, zeros outside of it."""
    c, h, w = index.shape
    grid = (h // up[0], w // up[1])
    rows = index.reshape(c, grid[0], up[0], grid[1], up[1]).transpose(0, 2, 4, 1, 3).reshape(-1, *grid)
    there = rows >= 0
    live: Array = np.asarray(there.any(axis=(1, 2)))
    place = np.stack([rows // source[2] % source[1], rows % source[2]])
    stride = _step(place[0], there, 1), _step(place[1], there, 2)
    first = there.reshape(len(rows), -1).argmax(axis=1)
    blocks = np.indices(grid)
    begin = [_take(place[i], first) - stride[i] * blocks[i].reshape(-1)[first] for i in range(2)]
    channel = _take(rows, first) // (source[1] * source[2])
    y, x = (stride[i] * blocks[i] + begin[i][:, None, None] for i in range(2))
    inside = (y >= 0) & (y < source[1]) & (x >= 0) & (x < source[2]) & live[:, None, None]
    expected = np.where(inside, (channel[:, None, None] * source[1] + y) * source[2] + x, -1)
    if 0 in stride or not np.array_equal(rows, expected):
        return None
    weight = channel_index(linear.weight.shape, linear.index.ndim, c)
    o, p, q = np.unravel_index(np.arange(len(rows)), (c, *up))
    kinds = np.stack([p, q, *begin], axis=1)
    found: dict[Pair, list[Tap]] = {}
    for kind in np.unique(kinds[live], axis=0):
        (of,) = np.nonzero((kinds == kind).all(axis=1) & live)
        py, px, dy, dx = (int(v) for v in kind)
        found.setdefault((py, px), []).append(Tap(o[of], channel[of], dy, dx, weight[o[of]]))
    return Phased(stride, up, found)


def _take(rows: Array, at: Array) -> Array:
    return rows.reshape(len(rows), -1)[np.arange(len(rows)), at]


def _step(place: Array, there: Array, axis: int) -> int:
    """Return how much ``place`` grows from block to block along ``axis``: 1 without neighbours, 0 where it differs."""
    n = there.shape[axis] - 1
    both: Array = np.logical_and(there.take(range(n), axis), there.take(range(1, n + 1), axis))
    steps = set(np.diff(place, axis=axis)[both].tolist())
    if len(steps) > 1:
        return 0
    return max(int(steps.pop()), 0) if steps else 1
