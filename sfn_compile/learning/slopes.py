"""Linear maps and moves with their slopes: forward, and backward to the input and to the weights. Batch axis last.

Forward is that of :mod:`.simulator.kernels`. Backward of a convolution unrolls its windows again, a tile at a time,
instead of keeping them: they would take nine times the memory of the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ..program.network import Conv, Dense, Gather, Identity, LinearMap, Shape, SumPool
from ..simulator import kernels
from ..simulator.kernels import Window, beside

Array = NDArray[Any]
F32: Any = np.float32


class Slope(Protocol):
    """One linear map of a source: ``weight`` is what may be learnt of it, None where nothing is."""

    def forward(self, x: Array, weight: Array | None) -> Array:
        """Return the map's values ``(*out, n)`` for ``x`` ``(*shape, n)``: the batch is last."""

    def backward(self, x: Array, weight: Array | None, g: Array, deep: bool) -> tuple[Array | None, Array | None]:
        """Return the slopes of the loss (like ``x``, like ``weight``) for those of the values, ``g`` ``(*out, n)``.

        The first is None unless ``deep``; the second is None for a map whose weight is not learnt.
        """


def slope_of(linear: LinearMap, shape: Shape) -> Slope:
    """Return the slope of a map that reads samples of ``shape``."""
    if isinstance(linear, Dense):
        return DenseSlope()
    if isinstance(linear, Conv):
        line = linear.weight.ndim == 3
        more: tuple[int, ...] = (1,) if line else ()
        pads = (*linear.pads, (0, 0)) if line else linear.pads
        return ConvSlope(linear, Window((*linear.weight.shape[2:], *more), (*linear.strides, *more), pads,
                                        (*linear.dilations, *more)))  # fmt: skip
    if isinstance(linear, SumPool):
        return PoolSlope(linear, shape)
    if isinstance(linear, Gather):
        return MoveSlope(linear.index, int(np.prod(shape)), beside(linear.weight, linear.index.ndim).astype(F32))
    if isinstance(linear, Identity):
        return IdentitySlope(beside(linear.weight, len(shape)).astype(F32))
    assert_never(linear)


@dataclass(frozen=True)
class DenseSlope:
    """``weight @ x`` over the last axis of a sample."""

    def forward(self, x: Array, weight: Array | None) -> Array:
        """Return ``(..., n_out, n)``."""
        assert weight is not None
        return kernels.dense(weight, F32)(x)

    def backward(self, x: Array, weight: Array | None, g: Array, deep: bool) -> tuple[Array | None, Array | None]:
        """Return (``weight.T @ g`` over the last axis of a sample, ``g @ x.T`` summed over all rows and samples)."""
        assert weight is not None
        rows, front = (np.moveaxis(a, -2, 0) for a in (g, x))
        g2, x2 = rows.reshape(rows.shape[0], -1), front.reshape(front.shape[0], -1)
        back = np.moveaxis((weight.T @ g2).reshape(front.shape), 0, -2) if deep else None
        return back, g2 @ x2.T


@dataclass(frozen=True)
class ConvSlope:
    """A convolution over two axes; one over a line is one over a column."""

    map: Conv
    window: Window

    def forward(self, x: Array, weight: Array | None) -> Array:
        """Return ``(o, *space, n)``."""
        assert weight is not None
        m = self.map
        return kernels.conv(weight, m.strides, m.pads, m.dilations, m.groups, F32)(x)

    def backward(self, x: Array, weight: Array | None, g: Array, deep: bool) -> tuple[Array | None, Array | None]:
        """Return the slopes, tile by tile of the map's rows."""
        assert weight is not None
        square, w = self._square(x), weight.reshape(*weight.shape[:2], *self.window.kernel)
        back, slope = self._tiles(square, w, self._square(g), deep)
        return None if back is None else back.reshape(x.shape), slope.reshape(weight.shape)

    def _square(self, x: Array) -> Array:
        return x[:, :, None] if x.ndim == 3 else x

    def _tiles(self, x: Array, w: Array, g: Array, deep: bool) -> tuple[Array | None, Array]:
        groups, window = self.map.groups, self.window
        o, fan_in = w.shape[0], int(np.prod(w.shape[1:]))
        per_group, (n_rows, columns), n = w.shape[1], g.shape[1:3], x.shape[3]
        matrix = w.reshape(groups, o // groups, fan_in)
        plane = window.plane(x, F32)
        back, slope = (np.zeros_like(plane) if deep else None), np.zeros_like(matrix)
        row = columns * n
        fit = max(kernels.TILE_BYTES // (4 * groups * fan_in), kernels.TILE_COLUMNS)
        step = max(1, min(fit // row, n_rows))
        g = np.ascontiguousarray(g).reshape(groups, o // groups, n_rows * row)
        scratch = np.empty(groups * fan_in * step * row, F32)
        for start in range(0, n_rows, step):
            rows = range(start, min(start + step, n_rows))
            tile = scratch[: groups * fan_in * len(rows) * row].reshape(
                groups * per_group, *window.kernel, len(rows), columns, n
            )
            for i, j in window.taps():
                tile[:, i, j] = window.tap(plane, i, j, rows, columns)
            wide, some = tile.reshape(groups, fan_in, len(rows) * row), g[..., start * row : rows.stop * row]
            slope += np.matmul(some, wide.transpose(0, 2, 1))
            if back is not None:
                np.matmul(matrix.transpose(0, 2, 1), some, out=wide)
                for i, j in window.taps():
                    window.tap(back, i, j, rows, columns)[...] += tile[:, i, j]
        return (None if back is None else _unplane(window, back, x.shape)), slope


def _unplane(window: Window, plane: Array, shape: Sequence[int]) -> Array:
    """Return ``(c, h, w, n)`` from a padded plane of that shape: the inverse of :meth:`Window.plane`, borders gone."""
    _, h, w, _ = shape
    (top, _), (left, _) = window.pads
    stride = window.strides[1]
    if plane.shape[2] == 1 and stride == 1:
        return np.ascontiguousarray(plane[:, top : top + h, 0, left : left + w])
    x = np.empty(tuple(shape), plane.dtype)
    for first in range(min(stride, w)):
        column, phase = divmod(first + left, stride)
        some = x[:, :, first::stride]
        some[...] = plane[:, top : top + h, phase, column : column + some.shape[2]]
    return x


@dataclass(frozen=True)
class PoolSlope:
    """A sum of windows: a depthwise convolution whose weights are all 1, times a weight that is not learnt."""

    map: SumPool
    shape: Shape

    @cached_property
    def _conv(self) -> ConvSlope:
        kernel, strides, pads = self.map.kernel, self.map.strides, self.map.pads
        if len(kernel) == 1:
            kernel, strides, pads = (*kernel, 1), (*strides, 1), (*pads, (0, 0))
        ones = np.ones((self.shape[0], 1, *kernel), F32)
        conv = Conv(ones, strides, pads, (1, 1), self.shape[0])
        return ConvSlope(conv, Window(kernel, strides, pads, (1, 1)))

    def forward(self, x: Array, weight: Array | None) -> Array:
        """Return the weighted sums ``(c, *windows, n)``."""
        return kernels.sum_pool(self.map.kernel, self.map.strides, self.map.pads, self.map.weight, F32)(x)

    def backward(self, x: Array, weight: Array | None, g: Array, deep: bool) -> tuple[Array | None, Array | None]:
        """Return the slope like ``x``: every window's slope is added to each of its taps."""
        if not deep:
            return None, None
        scaled = g * beside(self.map.weight, len(self.shape)).astype(F32)
        square = x[:, :, None] if x.ndim == 3 else x
        return self._conv.backward(square, self._conv.map.weight, scaled, True)[0].reshape(x.shape), None  # type: ignore[union-attr]


@dataclass(frozen=True)
class IdentitySlope:
    """``weight * x``, element by element; the weight is not learnt."""

    weight: Array

    def forward(self, x: Array, weight: Array | None) -> Array:
        """Return ``weight * x``, like ``x``."""
        return x * self.weight

    def backward(self, x: Array, weight: Array | None, g: Array, deep: bool) -> tuple[Array | None, Array | None]:
        """Return ``g * weight``, like ``x``."""
        return (g * self.weight if deep else None), None


@dataclass(frozen=True)
class MoveSlope:
    """``weight * x.flat[index]`` with -1 reading 0: a Gather, or any move of codes; the weight is not learnt."""

    index: Array
    size: int
    weight: Array | None = None

    @cached_property
    def _rows(self) -> tuple[Array, Array | None, bool]:
        """Which rows are read, which of the places read nothing, and whether no row is read twice."""
        flat = self.index.reshape(-1)
        read = flat[flat >= 0]
        return np.maximum(flat, 0), (flat < 0) if len(read) < len(flat) else None, len(np.unique(read)) == len(read)

    @cached_property
    def _plain(self) -> bool:
        """Whether it only has another shape."""
        return self.size == self.index.size and bool((self.index.reshape(-1) == np.arange(self.size)).all())

    def forward(self, x: Array, weight: Array | None) -> Array:
        """Return the moved values ``(*index.shape, n)``."""
        flat = x.reshape(self.size, x.shape[-1])
        if not self._plain:
            rows, nothing, _ = self._rows
            flat = flat[rows]
            if nothing is not None:
                flat[nothing] = 0
        moved = flat.reshape(*self.index.shape, x.shape[-1])
        return moved if self.weight is None else moved * self.weight

    def backward(self, x: Array, weight: Array | None, g: Array, deep: bool) -> tuple[Array | None, Array | None]:
        """Return the slope like ``x``: the slopes of all places that read an element are added up."""
        if not deep:
            return None, None
        scaled = (g if self.weight is None else g * self.weight).reshape(self.index.size, g.shape[-1])
        if self._plain:
            return scaled.reshape(x.shape), None
        rows, nothing, single = self._rows
        back = np.zeros((self.size, g.shape[-1]), F32)
        kept = slice(None) if nothing is None else ~nothing
        if single:
            back[rows[kept]] = scaled[kept]
        else:
            np.add.at(back, rows[kept], scaled[kept])
        return back.reshape(x.shape), None


@dataclass(frozen=True)
class MaxPoolSlope:
    """The maximum of windows; the first tap that reaches it has the whole slope."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilations: tuple[int, ...]

    @cached_property
    def _window(self) -> Window:
        line = len(self.kernel) == 1
        more: tuple[int, ...] = (1,) if line else ()
        pads = (*self.pads, (0, 0)) if line else self.pads
        return Window((*self.kernel, *more), (*self.strides, *more), pads, (*self.dilations, *more))

    def forward(self, x: Array) -> Array:
        """Return the maxima ``(c, *windows, n)``; padding never wins."""
        square = x[:, :, None] if x.ndim == 3 else x
        best = self._taps(square)[0]
        for tap in self._taps(square)[1:]:
            best = np.maximum(best, tap)
        return best[:, :, 0] if x.ndim == 3 else best

    def backward(self, x: Array, y: Array, g: Array) -> Array:
        """Return the slope like ``x`` for the maxima ``y`` and their slopes ``g``, both ``(c, *windows, n)``."""
        line = x.ndim == 3
        square, y, g = (a[:, :, None] if line else a for a in (x, y, g))
        window = self._window
        plane = window.plane(square, F32, -np.inf)  # type: ignore[arg-type]
        back, left = np.zeros_like(plane), np.ones(y.shape, bool)
        rows = range(y.shape[1])
        for i, j in window.taps():
            first = (window.tap(plane, i, j, rows, y.shape[2]) == y) & left
            left &= ~first
            window.tap(back, i, j, rows, y.shape[2])[...] += g * first
        return _unplane(window, back, square.shape).reshape(x.shape)

    def _taps(self, square: Array) -> list[Array]:
        window = self._window
        plane = window.plane(square, F32, -np.inf)  # type: ignore[arg-type]
        rows, columns = window.out(*square.shape[1:3])
        return [window.tap(plane, i, j, range(rows), columns) for i, j in window.taps()]
