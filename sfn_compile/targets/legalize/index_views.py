"""Moved values as index maps: element i is an element of one of the sources, or code 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...foundation.diagnostics import Origin
from ...program.network import Conv, Gather, Identity, Pads, Projection, Role, Shape

Array = NDArray[Any]
Channels = dict[str, list[tuple[int, int]]]


@dataclass(frozen=True, eq=False)
class View:
    """A moved value: ``index[i] = base of its source + flat position`` or -1 (code 0); one (name, base) per source."""

    index: Array
    sources: tuple[tuple[str, int, Shape], ...]
    origin: Origin

    def parts(self) -> list[tuple[str, Shape, Array]]:
        """Return (source, its shape, index into it with -1 where another source or nothing is read)."""
        out = []
        for name, base, shape in self.sources:
            inside = (self.index >= base) & (self.index < base + int(np.prod(shape)))
            if inside.any():
                out.append((name, shape, np.where(inside, self.index - base, -1)))
        name, _, shape = self.sources[0]
        return out or [(name, shape, np.full_like(self.index, -1))]  # nothing but code 0: an accumulator needs a source


def copy_of(source: str, shape: Shape, index: Array, weight: Array, role: Role = "main") -> Projection:
    """Return the projection ``weight * source.flat[index]`` in its simplest spelling."""
    if index.shape == shape and np.array_equal(index.reshape(-1), np.arange(index.size)):
        return Projection(source, Identity(weight), role)
    strided = _strided_conv(shape, index, weight)
    return Projection(source, strided if strided is not None else Gather(index, weight), role)


def _strided_conv(shape: Shape, index: Array, weight: Array) -> Conv | None:
    """Return the 1x1 Conv that reads every s-th position of whole channels, or None where the index is no such map."""
    ones, size = (1,) * (index.ndim - 1), int(np.prod(shape[1:]))
    if len(shape) not in (2, 3) or index.ndim != len(shape) or not _per_channel(weight, index.ndim):
        return None
    strides = tuple(-(-n // max(m, 1)) for n, m in zip(shape[1:], index.shape[1:], strict=True))
    grid = np.arange(size).reshape(shape[1:])[tuple(slice(None, None, s) for s in strides)]
    if grid.shape != index.shape[1:]:
        return None
    first = index.reshape(index.shape[0], -1)[:, 0]  # where a channel starts in the source, -1 for a channel of zeros
    (rows,) = np.nonzero(first >= 0)
    expected = np.full_like(index, -1)
    expected[rows] = first[rows].reshape(-1, *ones) + grid
    if (first[rows] % size).any() or not np.array_equal(expected, index):
        return None
    kernel = np.zeros((index.shape[0], shape[0]), np.int64)
    kernel[rows, first[rows] // size] = np.broadcast_to(weight.reshape(-1), first.shape)[rows]
    return Conv(kernel.reshape(*kernel.shape, *ones), strides, ((0, 0),) * len(ones), ones)


def _per_channel(weight: Array, n_axes: int) -> bool:
    """Whether a weight that broadcasts against ``n_axes`` axes varies along the first of them only."""
    return all(n == 1 for n in ((1,) * (n_axes - weight.ndim) + weight.shape)[1:])


def whole_channels(view: View) -> tuple[Channels, Pads] | None:
    """Return per source the pairs (channel of the view, channel of the source), and the zero margin around them.

    None where the view is anything but whole channels of its sources inside a common zero margin.
    """
    index = view.index
    if index.ndim not in (2, 3):
        return None
    read = (index >= 0).any(axis=0)
    if not read.any():
        return None
    others = [tuple(a for a in range(read.ndim) if a != axis) for axis in range(read.ndim)]
    spans = [np.flatnonzero(np.any(read, axis=rest)) for rest in others]
    box = tuple(slice(int(s[0]), int(s[-1]) + 1) for s in spans)
    margin = tuple((b.start, n - b.stop) for b, n in zip(box, read.shape, strict=True))
    inner = tuple(b.stop - b.start for b in box)
    pairs: dict[str, list[tuple[int, int]]] = {}
    grid = np.arange(int(np.prod(inner)))
    for source, shape, part in view.parts():
        if shape[1:] != inner:
            return None
        for c in np.flatnonzero((part >= 0).reshape(part.shape[0], -1).any(axis=1)):
            flat = part[c][box].reshape(-1)
            if flat[0] % grid.size or not np.array_equal(flat, flat[0] + grid):
                return None
            pairs.setdefault(source, []).append((int(c), int(flat[0] // grid.size)))
    return pairs, margin


def same_channels(view: View, pairs: Channels) -> str | None:
    """Return the one source whose channels the view holds, all and in order; None for any other view."""
    (source, moved), *others = pairs.items()
    n = next(shape[0] for name, _, shape in view.sources if name == source)
    return source if not others and moved == [(c, c) for c in range(n)] and view.index.shape[0] == n else None
