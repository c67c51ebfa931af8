"""How values are in the one tensor that a chain carries from stage to stage.

On a map of grid ``(h, w)`` a value of factor f stores element (y, x) at grid point (y // f, x // f), one block of
channels per *phase* (y % f, x % f): space to depth. So a value can pass a strided stage unharmed, and only the phases
that somebody still reads are carried. On a vector every element has its own index. A *folded* value is on a grid
in flat order all the same: element e at channel e // (h * w), position e % (h * w).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_backends.nir.links import Pair, per_channel, shape3
from sfn_backends.nir.ops import Op, Powers, Read
from sfn_backends.nir.phases import phased
from sfn_compile.program.network import Shape

Array = NDArray[Any]
Key = tuple[str, int, Powers | None]  # value, shift, powers instead of codes


class Misfit(Exception):
    """This cannot be said as one convolution here; the text says why."""


@dataclass(frozen=True, eq=False)
class Held:
    """A value as it is on a grid: the op that fires it, its factor and phases; on a vector both are trivial.

    ``exact``: the grid ends where the value ends; else positions behind its end hold code 0. ``fold``: the grid on
    which it is folded, else None.
    """

    op: Op
    factor: Pair = (1, 1)
    phases: tuple[Pair, ...] = ((0, 0),)
    exact: bool = True
    carry: bool = False
    fold: Pair | None = None

    @property
    def name(self) -> str:
        """The value's name."""
        return self.op.name

    def rows(self, vector: bool) -> int:
        """Channels (or elements) of one group."""
        if vector:
            return self.size
        return -(-self.size // (self.fold[0] * self.fold[1])) if self.fold else len(self.phases) * self.op.shape[0]

    @property
    def size(self) -> int:
        """How many elements it has."""
        return int(np.prod(self.op.shape))


@dataclass(frozen=True, eq=False)
class Blocks:
    """Where codes are: first channel (element) of each key, and the grid (None: a vector).

    ``one``: the channel that holds the constant 1, None where there is none.
    """

    start: dict[Key, int]
    size: int
    held: dict[str, Held]
    grid: Pair | None
    one: int | None = None

    def channel(self, read: Read, oy: int, ox: int) -> tuple[int, int, int]:
        """Return (first channel, grid offset y, x) of position ``y * (grid step) + oy`` of a value."""
        held = self.held[read.source]
        for i, (py, px) in enumerate(held.phases):
            if (oy - py) % held.factor[0] == 0 and (ox - px) % held.factor[1] == 0:
                first = self.start[key(read)] + i * held.op.shape[0]
                return first, (oy - py) // held.factor[0], (ox - px) // held.factor[1]
        raise Misfit(f"{read.source} is not stored at the positions it is read at")

    def elements(self, read: Read) -> Array:
        """Return for every element of a value, flat, its index in the flattened tensor (-1: not stored)."""
        held, start = self.held[read.source], self.start[key(read)]
        if self.grid is None:
            return start + np.arange(held.size)
        if held.fold:
            return start * self.grid[0] * self.grid[1] + np.arange(held.size)
        return map_elements(held.op.shape, start, held.factor, held.phases, self.grid)


def map_elements(shape: Shape, start: int, factor: Pair, phases: Sequence[Pair], grid: Pair) -> Array:
    """Return the flat tensor index of every element of a value on a grid, -1 where it is not stored."""
    full = shape3(shape)
    assert full is not None
    c, y, x = np.indices(full).reshape(3, -1)
    index = np.full(c.size, -1)
    for i, (py, px) in enumerate(phases):
        gy, gx = (y - py) // factor[0], (x - px) // factor[1]
        here = ((y - py) % factor[0] == 0) & ((x - px) % factor[1] == 0) & (gy >= 0) & (gx >= 0)
        here &= (gy < grid[0]) & (gx < grid[1])
        index[here] = (((start + i * full[0] + c) * grid[0] + gy) * grid[1] + gx)[here]
    return index


def key(read: Read) -> Key:
    """Return what tells the block of a read apart."""
    return read.source, read.shift, read.powers


def channel_wise(op: Op) -> bool:
    """Return whether an op on maps can be said per channel: no number of it depends on the position."""
    if shape3(op.shape) is None or (op.offset is not None and not per_channel(op.offset.shape, len(op.shape))):
        return False
    return all(per_channel(g.thresholds.shape[:-1], len(op.shape)) for g in op.groups)


@dataclass
class Needs:
    """Which phases of which values the ops still to come read."""

    ops: Iterable[Op]
    whole: set[str] = field(default_factory=set)

    def phases(self, name: str, factor: Pair) -> tuple[Pair, ...]:
        """Return the phases of a value that anything reads when it is stored with ``factor``."""
        every = set(product(range(factor[0]), range(factor[1])))
        if name in self.whole:
            return tuple(sorted(every))
        found: set[Pair] = set()
        for read in (r for op in self.ops for r in op.reads if r.source == name):
            linear = phased(read.map, read.shape)
            found |= every if linear is None else _residues(linear.stride, linear.offsets(), factor)
        return tuple(sorted(found))


def _residues(stride: Pair, offsets: set[Pair], factor: Pair) -> set[Pair]:
    steps = [gcd(st, f) for st, f in zip(stride, factor, strict=True)]
    return {
        spot
        for dy, dx in offsets
        for spot in product(range(dy % steps[0], factor[0], steps[0]), range(dx % steps[1], factor[1], steps[1]))
    }


@dataclass(frozen=True)
class Window:
    """A square Conv2d: kernel size, padding, dilation, stride."""

    kernel: int
    padding: Pair
    dilation: Pair
    stride: Pair


def window(grid: Pair, out: Pair, stride: Pair, offsets: set[Pair]) -> Window:
    """Return the smallest square kernel that reads all grid offsets and makes ``out``. Raises Misfit if none does.

    NIR has no asymmetric padding and its type check takes kernels for square, so the kernel grows zero rows instead.
    """
    axes = [sorted({o[i] for o in offsets}) for i in range(2)]
    spread = [gcd(*(b - a for a, b in pairwise(t))) or 1 for t in axes]
    top = max(grid) + max(out) * max(stride) + max(t[-1] - t[0] for t in axes) + 2
    for kernel in range(1, top):
        for dilation in dict.fromkeys([(spread[0], spread[1]), (1, 1)]):
            pads = [_padding(grid[i], out[i], stride[i], axes[i], kernel, dilation[i]) for i in range(2)]
            if pads[0] is not None and pads[1] is not None:
                return Window(kernel, (pads[0], pads[1]), dilation, stride)
    raise Misfit("no square kernel with symmetric padding has this window (NIR 1.0.8 takes kernels for square)")


def _padding(n: int, out: int, stride: int, offsets: list[int], kernel: int, dilation: int) -> int | None:
    span = dilation * (kernel - 1)
    for pad in range(max(0, -offsets[0]), span + n + 1):
        if offsets[-1] + pad > span:
            return None
        size = (n + 2 * pad - span - 1) // stride + 1 if n + 2 * pad > span else 0
        if size == out and all((o + pad) % dilation == 0 for o in offsets):
            return pad
    return None
