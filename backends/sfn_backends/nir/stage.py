"""The nodes of one stage of the binary chain: codes, sums, drive, planes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sfn_compile.diagnostics import fail

from .layout import Blocks, Held, Misfit, Window, window
from .links import Pair, channel_index, matrix, spread, taps
from .net import Net, Put, affine, conv
from .ops import Array, Group

EXACT = 2**22  # half-integers up to 2 * EXACT are exact in float32
LEAST_CHARGE = 1.0
Link = tuple[Array, Array, int, int, Array, Array]  # rows, columns, grid offset y, x, weight (flat), index into it


def record(net: Net, node: str, blocks: Blocks) -> None:
    """Note where the codes of every value of a codes node stand (first place wins)."""
    for (name, shift, copy), start in blocks.start.items():
        if copy == 0 and name not in net.values:
            net.values[name] = _place(node, start, blocks.held[name], blocks.grid) | {"shift": shift}


def record_final(net: Net, node: str, targets: Sequence[Held], grid: Pair | None) -> None:
    """Note where the results stand behind the last linear node."""
    start = 0
    for t in targets:
        net.values[t.name] = _place(node, start, t, grid) | {"shift": 0}
        start += t.rows(grid is None)


def _place(node: str, start: int, held: Held, grid: Pair | None) -> dict[str, object]:
    if grid is None:
        return {"node": node, "start": start, "shape": held.op.shape, "grid": None}
    return {"node": node, "start": start, "shape": held.op.shape, "grid": grid, "factor": held.factor,
            "phases": held.phases}  # fmt: skip


# -- planes into codes ----------------------------------------------------------------------------------------------
def codes_node(net: Net, name: str, tail: str, blocks: Blocks, graded: bool) -> str:
    """Add the linear node that counts the planes of every value (``graded``: passes the input's codes on)."""
    vector = blocks.grid is None
    width = sum(_planes(h, vector, graded) for h in blocks.held.values())
    return _linear(net, name, tail, blocks.size, width, blocks.grid, lambda p: _count(name, blocks, graded, p))


def _planes(held: Held, vector: bool, graded: bool = False) -> int:
    return held.rows(vector) * (1 if graded else sum(len(g.gains) for g in held.op.groups))


def _count(node: str, blocks: Blocks, graded: bool, rest: tuple[int, ...]) -> Iterator[Put]:
    first, vector = {}, blocks.grid is None
    for name, held in blocks.held.items():
        first[name] = sum(_planes(blocks.held[n], vector, graded) for n in first)
    for (name, shift, _), start in blocks.start.items():
        held = blocks.held[name]
        row, plane = np.arange(held.rows(vector))[:, None], first[name]
        for gains in [np.ones(1, np.int64)] if graded else [g.gains for g in held.op.groups]:
            n = len(gains)
            place = (start + row, plane + row * n + np.arange(n), *rest)
            yield Put(node, "weight", place, gains, np.arange(n)[None])
            plane += len(row) * n
        base = (0 if graded else held.op.base) - shift
        yield Put(node, "bias", (start + row[:, 0],), start=float(base))


def _linear(
    net: Net, name: str, tail: str, rows: int, cols: int, grid: Pair | None,
    puts: Callable[[tuple[int, ...]], Iterator[Put]],
) -> str:  # fmt: skip
    """Add a 1x1 Conv2d on a map or an Affine on a vector."""
    if grid is None:
        return affine(net, name, tail, (rows, cols), lambda: puts(()))
    return conv(net, name, tail, (rows, cols, 1, 1), (cols, *grid), (rows, *grid), puts=lambda: puts((0, 0)))


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
                    w.dilation, lambda: self._puts(name))  # fmt: skip

    def _puts(self, node: str) -> Iterator[Put]:
        w = self.window
        for rows, cols, dy, dx, weight, index in self.links:
            spot = ((dy + w.padding[0]) // w.dilation[0], (dx + w.padding[1]) // w.dilation[1])
            yield Put(node, "weight", (rows, cols, *spot), weight, index)
        yield from _offsets(node, self.targets, False)


def map_sums(targets: Sequence[Held], blocks: Blocks, stride: Pair, out: Pair) -> Sums:
    """Return the convolution behind which all targets stand on grid ``out``. Raises Misfit."""
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
        linear = taps(read.map, read.shape)
        if linear is None:
            raise Misfit("it is no convolution of maps")
        (sy, sx), weight = linear[0], read.map.weight.reshape(-1)
        for i, (ey, ex) in enumerate(t.phases):
            for tap in linear[1]:
                first, dy, dx = blocks.channel(read, ey * sy + tap.dy, ex * sx + tap.dx)
                yield row + i * t.op.shape[0] + tap.o, first + tap.c, dy, dx, weight, tap.index


def vector_sums(net: Net, name: str, tail: str, targets: Sequence[Held], blocks: Blocks) -> str:
    """Add one dense matrix that makes all accumulators of the targets from the flattened codes."""
    rows = sum(t.rows(True) * len(t.op.groups) for t in targets)
    n = blocks.size if blocks.grid is None else blocks.size * blocks.grid[0] * blocks.grid[1]
    return affine(net, name, tail, (rows, n), lambda: _entries(name, targets, blocks))


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
                    yield Put(node, "weight", (row + rows, here), weight, index)
            row += t.rows(True)
    yield from _offsets(node, targets, True)


def _offsets(node: str, targets: Sequence[Held], vector: bool) -> Iterator[Put]:
    row = 0
    for t in targets:
        if t.op.offset is not None:
            place = row + np.arange(t.rows(vector))
            yield Put(node, "bias", (place,), t.op.offset.reshape(-1), _index(t, t.op.offset.shape, vector))
        row += t.rows(vector) * len(t.op.groups)


def _index(t: Held, shape: tuple[int, ...], vector: bool) -> Array:
    if vector:
        return spread(shape, t.op.shape)
    return np.tile(channel_index(shape, len(t.op.shape), t.op.shape[0]), len(t.phases))


# -- accumulators into planes -----------------------------------------------------------------------------------------
def fire(
    net: Net, prefix: str, tail: str, targets: Sequence[Held], grid: Pair | None, charges: dict[str, float] | None
) -> str:
    """Add the node that copies accumulators per threshold and the neurons; return the neurons' name."""
    vector, name = grid is None, f"{prefix}e_planes"
    rows = sum(t.rows(vector) * len(t.op.groups) for t in targets)
    planes = sum(_planes(t, vector) for t in targets)
    charge = charge_of(targets) if charges is None else charges[name]
    drive = f"{prefix}d_drive"
    _linear(net, drive, tail, planes, rows, grid, lambda rest: _drive(drive, targets, vector, charge, rest))
    shape = (planes,) if grid is None else (planes, *grid)
    return net.add(name, "Neuron", {"v_threshold": (shape, charge)}, [drive])


def charge_of(targets: Sequence[Held]) -> float:
    """Return the power of two above every distance of accumulator and threshold. Raises SFN401 above 2**22."""
    top = LEAST_CHARGE
    for t in targets:
        for group in t.op.groups:
            tau = group.thresholds
            if tau.size and _distance(group) >= EXACT:
                np.clip(tau, group.low, group.high + 1, out=tau)  # beyond the reachable range all are alike
            if tau.size and _distance(group) >= EXACT:
                what = f"accumulators of {t.name} span {group.low}..{group.high}; float32 planes are exact below {EXACT}"
                raise fail("SFN401", what, t.op.where, "use fewer --levels or --weight-bits, or --nir-form sar")
            top = max(top, _distance(group) + 1.0 if tau.size else top)
    return float(2 ** int(np.ceil(np.log2(top))))


def _distance(group: Group) -> int:
    tau = group.thresholds
    return int(max(group.high - tau.min(), tau.max() - group.low)) + 1


def _drive(
    node: str, targets: Sequence[Held], vector: bool, charge: float, rest: tuple[int, ...]
) -> Iterator[Put]:
    row = plane = 0
    for t in targets:
        for group in t.op.groups:
            n, each = len(group.gains), np.arange(t.rows(vector))[:, None]
            place = plane + each * n + np.arange(n)
            yield Put(node, "weight", (place, row + each, *rest), start=1.0)
            index = _index(t, group.thresholds.shape[:-1], vector)[:, None] * n + np.arange(n)
            yield Put(node, "bias", (place,), group.thresholds.reshape(-1), index, charge + 0.5, -1.0)
            row, plane = row + len(each), plane + len(each) * n
