"""Any linear map on a grid, without one weight more than the matrix has: dense layers as strided convolutions.

From a grid of ``(h, w)`` positions to one of ``(P, Q)``, a Conv2d of stride ``(h, w)`` whose kernel is ``(h P, w Q)``
gives every pair of input and output positions a tap of its own: output position p reads input position q at offset
``q - p h``. So n elements need not be n channels: folded to n / (P Q) channels, each of the 1x1 nodes around their
neurons has (P Q)^2 times fewer weights.

Thresholds that differ from element to element need a number per position: channels that are 1 at one position each,
made by the same convolution from a constant 1 (:data:`.layout.Blocks.one`), are multiplied by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from sfn_backends.nir.layout import Blocks, Held, Misfit, Window, window
from sfn_backends.nir.links import Pair, matrix
from sfn_backends.nir.net import Net, Put, conv
from sfn_backends.nir.ops import Array, Op
from sfn_backends.nir.planes import spots_of
from sfn_backends.nir.stage import by_element, narrow_sums

SMALL = 2_000_000  # bytes: vectors that cost no more stay vectors
_MOST = 32  # positions per axis
_PLANE = 6  # bytes of a neuron in the larger file


def small_vectors(ops: Sequence[Op]) -> bool:
    """Return whether all that is still to be fired costs little as vectors, two matrices each of n by n N numbers."""
    return sum(4 * op.planes * int(np.prod(op.shape)) ** 2 for op in ops) <= SMALL


def best_fold(ops: Sequence[Op], channels: int, grid: Pair) -> Pair:
    """Return the grid on which the values of ``ops`` take the fewest bytes, read from ``channels`` on ``grid``."""
    most = max(int(np.prod(op.shape)) for op in ops)
    folds = [(p, q) for p in range(1, _MOST + 1) for q in range(1, _MOST + 1) if p * q <= most]
    return next(f for f in sorted(folds, key=lambda f: (_cost(ops, channels, grid, f), f)) if _reads(grid, f))


def _reads(grid: Pair, fold: Pair) -> Window | None:
    """Return the convolution with a tap for every pair of positions, None where it has to be square and cannot."""
    rows, cols = (range(-(p - 1) * n, n) for p, n in zip(fold, grid, strict=True))
    try:
        return window(grid, fold, grid, set(product(rows, cols)))
    except Misfit:
        return None


def _cost(ops: Sequence[Op], channels: int, grid: Pair, fold: Pair) -> float:
    """Return bytes of a stage, and a byte per 50 multiply-accumulates: a finer grid is more work."""
    spots, kernel = fold[0] * fold[1], max(grid[0] * fold[0], grid[1] * fold[1])
    apart = spots > 1 and any(by_element(g.thresholds.shape[:-1]) for op in ops for g in op.groups)
    each = [(-(-int(np.prod(op.shape)) // spots), op.planes, len(op.groups)) for op in ops]
    rows = sum(o * groups for o, _, groups in each) + spots * apart
    planes, width = sum(o * n for o, n, _ in each), sum(o for o, _, _ in each)
    sums = rows * (channels + apart) * kernel**2
    dense = planes * rows * (4 if apart else 2) + 2 * planes * width
    return 2 * sums + dense + _PLANE * planes * spots + spots * (sums + planes * (rows + width)) / 50


def folded_sums(net: Net, name: str, tail: str, targets: Sequence[Held], blocks: Blocks, fold: Pair) -> str:
    """Add the convolution behind which all targets are folded on grid ``fold``, and the channels of its positions."""
    grid, spots = blocks.grid, spots_of(targets)
    assert grid is not None
    fit = _reads(grid, fold)
    assert fit is not None
    rows = sum(t.rows(False) * len(t.op.groups) for t in targets)
    weight = (rows + spots, blocks.size, fit.kernel, fit.kernel)
    shape, out = (blocks.size, *grid), (rows + spots, *fold)
    return conv(net, name, tail, weight, shape, out, fit.stride, fit.padding, fit.dilation,
                lambda: _puts(name, targets, blocks, fold, fit), narrow_sums(targets))  # fmt: skip


def _puts(node: str, targets: Sequence[Held], blocks: Blocks, fold: Pair, fit: Window) -> Iterator[Put]:
    row, spots, grid = 0, fold[0] * fold[1], blocks.grid
    assert grid is not None
    for t in targets:
        for group in t.op.groups:
            for read in group.reads:
                stored, weight = blocks.elements(read), read.map.weight.reshape(-1)
                for rows, cols, index in matrix(read.map, read.shape, t.op.shape):
                    rows, here, index = np.broadcast_arrays(rows, stored[cols], index)
                    if t.carry:  # elements that nobody reads any more were not stored
                        rows, here, index = rows[here >= 0], here[here >= 0], index[here >= 0]
                    taps = _taps(here % (grid[0] * grid[1]), rows % spots, grid, fold, fit)
                    place = (row + rows // spots, here // (grid[0] * grid[1]), *taps)
                    yield Put(node, "weight", place, weight, index, given=read.given)
            row += t.rows(False)
    if blocks.one is not None:
        each = np.arange(spots)
        yield Put(node, "weight", (row + each, blocks.one, *_taps(0 * each, each, grid, fold, fit)), start=1.0)


def _taps(source: Array, result: Array, grid: Pair, fold: Pair, fit: Window) -> tuple[Array, Array]:
    """Return where in the kernel the weight from position ``source`` to position ``result`` is."""
    y = source // grid[1] - result // fold[1] * grid[0] + fit.padding[0]
    x = source % grid[1] - result % fold[1] * grid[1] + fit.padding[1]
    return y // fit.dilation[0], x // fit.dilation[1]
