"""Moves folded, exactly, into the projections that read them.

Moves that a target lacks are folded into the projections that read them. Any chain of moves is an index map: element
i of the moved value is element ``index[i]`` of one of its sources, or code 0. So

* Identity after moves is a Gather (or a strided 1x1 Conv where the pattern is one: the shortcut of a ResNet);
* Conv after moves of whole channels (Concat, channel Slice, Pad) is one Conv per source with its weights moved;
* Dense after moves is one Dense per source with its columns moved, on the flattened source;
* a product reads the source itself where the move only repeats it along axes of length 1;
* weights that read one element several times are added, in several projections where the sum passes the target's bits;
* everything else reads a *relay*: a population with theta = 1 that holds the moved codes (of accumulators: a readout).

The result has no Move but Reshape to one axis (a flatten) in front of a Dense.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ...foundation.diagnostics import Origin
from ...program.network import (
    Conv,
    Dense,
    Elementwise,
    Gather,
    Identity,
    Matmul,
    MaxPool,
    Move,
    Normalization,
    Pads,
    Population,
    Product,
    Program,
    Projection,
    Readout,
    RelayOf,
    Reshape,
    Shape,
    Step,
    SumPool,
    Uniform,
)
from ...program.ranges import accumulator_range, largest
from ...program.weights import ungrouped, weight_top
from .index_views import Channels, View, copy_of, same_channels, whole_channels

Array = NDArray[Any]


def fold_moves(program: Program, weight_bits: int) -> Program:
    """Return an equal Program without moves but Reshape to one axis; merged weights fit ``weight_bits``."""
    return _Rewriter(program, weight_bits).run()


class _Rewriter:
    def __init__(self, program: Program, weight_bits: int):
        self.program = program
        self.top = largest(weight_bits)
        self.info = program.values()
        self.wide = _accumulators(program)
        self.taken = {e.value for e in program.inputs} | {s.name for s in program.steps if not isinstance(s, Move)}
        self.views: dict[str, View] = {}
        self.steps: list[Step] = []
        self.made: set[str] = set()

    def run(self) -> Program:
        for step in self.program.steps:
            if isinstance(step, Move):
                self.views[step.name] = self._moved(step)
            elif isinstance(step, MaxPool):
                self.steps.append(self._pool(step))
            elif isinstance(step, Normalization):
                read = (replace(p, source=self._concrete(p.source)) for p in step.projections)
                self.steps.append(replace(step, projections=tuple(read)))
            elif isinstance(step, Population):
                self.steps.append(self._population(step))
            else:
                assert_never(step)
        for value in self.program.decoded():
            if value in self.views:
                self._concrete(value)
        outputs = tuple(o.renamed(self._name) for o in self.program.outputs)
        return replace(self.program, steps=tuple(self.steps), outputs=outputs)

    def _population(self, step: Population) -> Population:
        projections = tuple(q for p in step.projections for q in self._projection(p))
        products = tuple(self._product(p) for p in step.products)
        norm = None if step.norm is None else replace(step.norm, source=self._concrete(step.norm.source))
        return replace(step, projections=projections, products=products, norm=norm)

    def _pool(self, pool: MaxPool) -> MaxPool:
        """Return the pool on a value that holds codes; where the smallest code is 0, zero padding becomes its own."""
        view = self.views.get(pool.source)
        channels = None if view is None or self.info[pool.source].lo != 0 else whole_channels(view)
        if view is not None and channels is not None:
            source, pads = same_channels(view, channels[0]), _wider(pool.pads, channels[1])
            narrow = all(max(p) < k for p, k in zip(pads, pool.kernel, strict=True))
            if source is not None and narrow and self.info[source].lo == 0:
                return replace(pool, source=source, pads=pads)
        return replace(pool, source=self._concrete(pool.source))

    def _name(self, value: str) -> str:
        return self._free(f"{value}.relay") if value in self.views else value

    def _free(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        return name

    def _view(self, value: str) -> View:
        if value in self.views:
            return self.views[value]
        shape = self.info[value].shape
        return View(np.arange(int(np.prod(shape))).reshape(shape), ((value, 0, shape),), Origin())

    def _moved(self, step: Move) -> View:
        sources: list[tuple[str, int, Shape]] = []
        arrays, base = [], 0
        for view in map(self._view, step.sources):
            arrays.append(np.where(view.index >= 0, view.index + base, -1) + 1)
            sources += [(n, b + base, s) for n, b, s in view.sources]
            base += max(b + int(np.prod(s)) for _, b, s in view.sources)
        index = step.op.apply(*(a[None] for a in arrays))[0] - 1  # shifted by one so that padding (0) becomes -1
        return View(index, tuple(sources), step.origin)

    def _concrete(self, value: str) -> str:
        """Return a name that holds the value's codes, adding a relay population for a moved one."""
        if value not in self.views:
            return value
        name = self._name(value)
        if name in self.made:
            return name
        self.made.add(name)
        view, info = self.views[value], self.info[value]
        one = np.ones((1,) * len(info.shape), np.int64)
        projections = tuple(copy_of(source, shape, index, one) for source, shape, index in view.parts())
        low, high = accumulator_range([(p.map, self.info[p.source]) for p in projections])
        ladder = Readout(one * 0) if value in self.wide else Uniform(one, one * 0, info.lo, info.hi)
        origin = view.origin.touched_by("legalize")
        ends = int(low.min()), int(high.max())
        self.steps.append(Population(name, projections, ladder, info.shape, *ends, origin, relation=RelayOf(value)))
        return name

    def _projection(self, p: Projection) -> list[Projection]:
        if isinstance(p.map, Dense) and len(self.info[p.source].shape) == 1:
            return self._dense(p.map, self._view(p.source), p)
        if p.source not in self.views:
            return [p]
        view = self.views[p.source]
        if isinstance(p.map, Identity):
            return [copy_of(source, shape, index, p.map.weight, p.role) for source, shape, index in view.parts()]
        if isinstance(p.map, Gather):
            moved = np.where(p.map.index >= 0, view.index.reshape(-1)[np.maximum(p.map.index, 0)], -1)
            parts = View(moved, view.sources, view.origin).parts()
            return [copy_of(source, shape, index, p.map.weight, p.role) for source, shape, index in parts]
        if isinstance(p.map, Conv | SumPool):
            channels = whole_channels(view)
            merged = None if channels is None else _move_channels(p.map, view, *channels, self.top)
            if merged is None:
                return [replace(p, source=self._concrete(p.source))]
            return [replace(part, role=p.role) for part in merged]
        if isinstance(p.map, Dense):  # over the last axis of several: rows are read as they are
            return [replace(p, source=self._concrete(p.source))]
        assert_never(p.map)

    def _product(self, p: Product) -> Product:
        if isinstance(p.form, Matmul):  # rows and columns are read as they are
            return replace(p, left=self._concrete(p.left), right=self._concrete(p.right))
        if not isinstance(p.form, Elementwise):
            assert_never(p.form)
        left, right = self._operand(p.left), self._operand(p.right)
        shapes = [self.info[s].shape for s in (p.left, p.right)]
        read = [self.info[s].shape if s in self.info else shape for s, shape in zip((left, right), shapes, strict=True)]
        if p.form.out_shape(read[0], read[1]) != p.form.out_shape(shapes[0], shapes[1]):
            left, right = self._concrete(p.left), self._concrete(p.right)  # somebody has to do the repeating
        return replace(p, left=left, right=right)

    def _operand(self, value: str) -> str:
        """Return the source whose broadcast the moved value is, else a name that holds its codes."""
        view = self.views.get(value)
        if view is not None and len(view.parts()) == 1:
            source, shape, index = view.parts()[0]
            if len(shape) == index.ndim and all(n in (1, m) for n, m in zip(shape, index.shape, strict=True)):
                grid = np.arange(int(np.prod(shape))).reshape(shape)
                if np.array_equal(np.broadcast_to(grid, index.shape), index):
                    return source
        return self._concrete(value)

    def _dense(self, dense: Dense, view: View, p: Projection) -> list[Projection]:
        if p.source not in self.views:
            return [p]
        out = []
        for source, shape, index in view.parts():
            weight = np.zeros((dense.weight.shape[0], int(np.prod(shape))), np.int64)
            read = index >= 0
            _add_columns(weight, index[read], dense.weight[:, read])
            flat = self._flat(source, shape)
            out += [Projection(flat, Dense(w), p.role) for w in _within(weight, max(self.top, weight_top(dense)))]
        return out

    def _flat(self, source: str, shape: Shape) -> str:
        if len(shape) == 1:
            return source
        name = self._free(f"{source}.flat")
        if name not in self.made:
            self.made.add(name)
            size = (int(np.prod(shape)),)
            self.steps.append(Move(name, (source,), Reshape(size), size, Origin(passes=("legalize",))))
        return name


def _accumulators(program: Program) -> set[str]:
    """Return the values that hold accumulators, not codes: readouts, and what is moved or pooled from them."""
    wide: set[str] = set()
    for step in program.steps:
        readout = isinstance(step, Population) and isinstance(step.ladder, Readout)
        if readout or (not isinstance(step, Population) and wide.intersection(step.sources)):
            wide.add(step.name)
    return wide


def _move_channels(
    linear: Conv | SumPool, view: View, pairs: Channels, margin: Pads, top: int
) -> list[Projection] | None:
    """Return the map read through whole channels: one projection per source, the margin turned into padding."""
    shapes = {name: shape for name, _, shape in view.sources}
    pads = _wider(linear.pads, margin)
    same = same_channels(view, pairs)
    if same is not None:
        return [Projection(same, replace(linear, pads=pads))]
    if isinstance(linear, SumPool):
        return None
    full = ungrouped(linear)
    out = []
    for source, moved in pairs.items():
        weight = np.zeros((full.shape[0], shapes[source][0], *full.shape[2:]), np.int64)
        for seen, real in moved:
            weight[:, real] += full[:, seen]
        parts = _within(weight, max(top, weight_top(linear)))
        out += [Projection(source, Conv(w, linear.strides, pads, linear.dilations)) for w in parts]
    return out


def _wider(pads: Pads, margin: Pads) -> Pads:
    return tuple((p[0] + m[0], p[1] + m[1]) for p, m in zip(pads, margin, strict=True))


def _add_columns(weight: Array, at: Array, columns: Array) -> None:
    if len(np.unique(at)) == len(at):
        weight[:, at] = columns
    else:  # an element that is read several times counts several times; this is slower
        np.add.at(weight.T, at, columns.T.astype(np.int64))


def _within(weight: Array, top: int) -> list[Array]:
    """Return weights of at most ``top`` that add up to ``weight``: one array, or as many as its largest needs."""
    parts = [np.clip(weight, -top, top)]
    while (rest := weight - sum(parts)).any():
        parts.append(np.clip(rest, -top, top))
    return parts
