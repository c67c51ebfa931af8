"""The linear nodes of one stage of the binary chain: planes into codes, codes into accumulators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sfn_backends.nir.layout import Blocks, Held, Misfit, Window, window
from sfn_backends.nir.links import Pair, channel_index, matrix, spread
from sfn_backends.nir.net import LARGEST_HALF, Net, Put, affine, conv, halves
from sfn_backends.nir.ops import Array, Group, Powers, Read
from sfn_backends.nir.phases import phased

Link = tuple[Array, Array, int, int, Read, Array]  # rows, columns, grid offset y, x, whose weight, index into it


def record(net: Net, node: str, blocks: Blocks) -> None:
    """Note where the codes of every value of a codes node are (first place wins)."""
    for (name, shift, powers), start in blocks.start.items():
        if powers is None and name not in net.values:
            net.values[name] = _place(node, start, blocks.held[name], blocks.grid) | {"shift": shift}


def record_final(net: Net, node: str, targets: Sequence[Held], grid: Pair | None) -> None:
    """Note where the results are behind the last linear node."""
    start = 0
    for t in targets:
        net.values[t.name] = _place(node, start, t, grid) | {"shift": 0}
        start += t.rows(grid is None)


def _place(node: str, start: int, held: Held, grid: Pair | None) -> dict[str, object]:
    if grid is None:
        return {"node": node, "start": start, "shape": held.op.shape, "grid": None}
    if held.fold:
        return {"node": node, "start": start * grid[0] * grid[1], "shape": held.op.shape, "grid": None}
    return {"node": node, "start": start, "shape": held.op.shape, "grid": grid, "factor": held.factor,
            "phases": held.phases}  # fmt: skip


# -- planes into codes ----------------------------------------------------------------------------------------------
def codes_node(net: Net, name: str, tail: str, blocks: Blocks, graded: bool) -> str:
    """Add the linear node that counts the planes of every value (``graded``: passes the input's codes on)."""
    vector = blocks.grid is None
    width = sum(plane_count(h, vector, graded) for h in blocks.held.values())
    narrow = graded or halves(*(g.gains for h in blocks.held.values() for g in h.op.groups))
    narrow = narrow and halves(*(powers.steps for _, _, powers in blocks.start if powers))
    return one_by_one(
        net, name, tail, blocks.size, width, blocks.grid, lambda p: _count(name, blocks, graded, p), narrow
    )


def plane_count(held: Held, vector: bool, graded: bool = False) -> int:
    """Return how many channels (elements) a value takes as planes (``graded``: as codes)."""
    return held.rows(vector) * (1 if graded else held.op.planes)


def _count(node: str, blocks: Blocks, graded: bool, rest: tuple[int, ...]) -> Iterator[Put]:
    first: dict[str, int] = {}
    vector, total = blocks.grid is None, 0
    for name, held in blocks.held.items():
        first[name], total = total, total + plane_count(held, vector, graded)
    for (name, shift, powers), start in blocks.start.items():
        held = blocks.held[name]
        row, plane, level = np.arange(held.rows(vector))[:, None], first[name], 0
        for gains in [np.ones(1, np.int64)] if graded else [g.gains for g in held.op.groups]:
            n = len(gains)
            counted, adds = _levels(powers, level, gains)
            place = (start + row, plane + row * n + counted, *rest)
            yield Put(node, "weight", place, adds, np.arange(len(adds))[None])
            plane, level = plane + len(row) * n, level + n
        base = 0 if powers else (0 if graded else held.op.base) - shift
        yield Put(node, "bias", (start + row[:, 0],), start=float(base))
    if blocks.one is not None:
        yield Put(node, "bias", (np.array([blocks.one]),), start=1.0)


def _levels(powers: Powers | None, level: int, gains: Array) -> tuple[Array, Array]:
    """Return (which planes of a group count, what each adds); ``level`` planes of the value are before the group."""
    each = np.arange(len(gains))
    if powers is None:
        return each, gains
    inside = (each + level >= powers.first) & (each + level < powers.first + powers.count)
    return each[inside], powers.steps[each[inside] + level - powers.first]


def one_by_one(
    net: Net, name: str, tail: str, rows: int, cols: int, grid: Pair | None,
    puts: Callable[[tuple[int, ...]], Iterator[Put]], narrow: bool,
) -> str:  # fmt: skip
    """Add a 1x1 Conv2d on a map or an Affine on a vector."""
    if grid is None:
        return affine(net, name, tail, (rows, cols), lambda: puts(()), narrow)
    return conv(
        net, name, tail, (rows, cols, 1, 1), (cols, *grid), (rows, *grid), puts=lambda: puts((0, 0)), narrow=narrow
    )


# -- codes into accumulators ------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Sums:
    """A convolution that makes all accumulators of a stage."""

    blocks: Blocks
    targets: Sequence[Held]
    window: Window
    links: list[Link]
    rows: int
    out: Pair

    def add(self, net: Net, name: str, tail: str) -> str:
        """Add the Conv2d and return its name."""
        grid, w = self.blocks.grid, self.window
        assert grid is not None
        weight = (self.rows, self.blocks.size, w.kernel, w.kernel)
        return conv(net, name, tail, weight, (self.blocks.size, *grid), (self.rows, *self.out), w.stride, w.padding,
                    w.dilation, lambda: self._puts(name), narrow_sums(self.targets))  # fmt: skip

    def _puts(self, node: str) -> Iterator[Put]:
        w = self.window
        for rows, cols, dy, dx, read, index in self.links:
            spot = ((dy + w.padding[0]) // w.dilation[0], (dx + w.padding[1]) // w.dilation[1])
            yield Put(node, "weight", (rows, cols, *spot), read.map.weight.reshape(-1), index, given=read.given)
        yield from _offsets(node, self.targets, False)


def map_sums(targets: Sequence[Held], blocks: Blocks, stride: Pair, out: Pair) -> Sums:
    """Return the convolution behind which all targets are on grid ``out``. Raises Misfit."""
    if blocks.grid is None:
        raise Misfit("the map was flattened before")
    links: list[Link] = []
    row = 0
    for t in targets:
        for group in t.op.groups:
            links += _links(t, group, row, blocks)
            row += t.rows(False)
    fit = window(blocks.grid, out, stride, {(link[2], link[3]) for link in links})
    return Sums(blocks, targets, fit, links, row, out)


def _links(t: Held, group: Group, row: int, blocks: Blocks) -> Iterator[Link]:
    for read in group.reads:
        linear = phased(read.map, read.shape)
        if linear is None:
            raise Misfit("it is no convolution of maps")
        for i, (ey, ex) in enumerate(t.phases):
            for tap, oy, ox in linear.at(ey, ex):
                first, dy, dx = blocks.channel(read, oy, ox)
                yield row + i * t.op.shape[0] + tap.o, first + tap.c, dy, dx, read, tap.index


def vector_sums(net: Net, name: str, tail: str, targets: Sequence[Held], blocks: Blocks) -> str:
    """Add one dense matrix that makes all accumulators of the targets from the flattened codes."""
    rows = sum(t.rows(True) * len(t.op.groups) for t in targets)
    n = blocks.size if blocks.grid is None else blocks.size * blocks.grid[0] * blocks.grid[1]
    return affine(net, name, tail, (rows, n), lambda: _entries(name, targets, blocks), narrow_sums(targets))


def narrow_sums(targets: Sequence[Held]) -> bool:
    """Return whether float16 holds every weight of a stage; those of reads of one source add up."""
    largest = (
        sum(int(np.abs(read.map.weight).max(initial=0)) for read in group.reads)
        for t in targets
        for group in t.op.groups
    )
    return max(largest, default=0) <= LARGEST_HALF


def _entries(node: str, targets: Sequence[Held], blocks: Blocks) -> Iterator[Put]:
    row = 0
    for t in targets:
        for group in t.op.groups:
            for read in group.reads:
                where, weight = blocks.elements(read), read.map.weight.reshape(-1)
                for rows, cols, index in matrix(read.map, read.shape, t.op.shape):
                    here = where[cols]
                    if t.carry:  # elements that nobody reads any more were not stored
                        rows, index, here = rows[here >= 0], index[here >= 0], here[here >= 0]
                    yield Put(node, "weight", (row + rows, here), weight, index, given=read.given)
            row += t.rows(True)
    yield from _offsets(node, targets, True)


def _offsets(node: str, targets: Sequence[Held], vector: bool) -> Iterator[Put]:
    row = 0
    for t in targets:
        if t.op.offset is not None:
            place = row + np.arange(t.rows(vector))
            yield Put(node, "bias", (place,), t.op.offset.reshape(-1), numbers(t, t.op.offset.shape, vector))
        row += t.rows(vector) * len(t.op.groups)


def numbers(t: Held, shape: tuple[int, ...], vector: bool) -> Array:
    """Return for every row of one group the flat index into an array of ``shape`` that belongs to the value."""
    if vector or t.fold == (1, 1):
        return spread(shape, t.op.shape)
    if t.fold:
        assert not by_element(shape)
        return np.zeros(t.rows(False), np.int64)
    return np.tile(channel_index(shape, len(t.op.shape), t.op.shape[0]), len(t.phases))


def by_element(shape: tuple[int, ...]) -> bool:
    """Return whether an array of ``shape``, broadcast against a value, has more than one number for it."""
    return int(np.prod(shape)) > 1
