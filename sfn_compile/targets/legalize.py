"""Rewrite a Program, exactly, into the steps that a target can say.

Moves that a target lacks are folded into the projections that read them. Any chain of moves is an index map: element
i of the moved value is element ``index[i]`` of one of its sources, or code 0. So

* Identity after moves is a Gather (or a strided 1x1 Conv where the pattern is one: the shortcut of a ResNet);
* Conv after moves of whole channels (Concat, channel Slice, Pad) is one Conv per source with its weights moved;
* Dense after moves is one Dense per source with its columns moved, on the flattened source;
* a product reads the source itself where the move only repeats it along axes of length 1;
* weights that read one element several times are added, in several projections where the sum passes the target's bits;
* everything else reads a *relay*: a population with theta = 1 that holds the moved codes (of accumulators: a readout).

Weights wider than the target's are split between several projections (:mod:`sfn_compile.targets.narrow_weights`).

A legalised Program has no Move but Reshape to one axis (a flatten) in front of a Dense.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import CompileError, Diagnostic, Origin, fail
from ..program.network import (
    MOVES,
    Conv,
    Dense,
    Gather,
    Identity,
    LinearMap,
    Matmul,
    MaxPool,
    Move,
    Normalization,
    Pads,
    Population,
    Product,
    ProductForm,
    Program,
    Projection,
    Ratio,
    Readout,
    RelayOf,
    Reshape,
    Role,
    RowTable,
    Shape,
    Step,
    SumPool,
    Uniform,
)
from ..program.ranges import accumulator_range, bits_for, norm_top, normalization_reach, ratio_reach
from .backend import Capabilities
from .narrow_weights import mantissa_top, split_weights

Array = NDArray[Any]
Channels = dict[str, list[tuple[int, int]]]


@dataclass(frozen=True, eq=False)
class _View:
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


def legalize(program: Program, target: str, capabilities: Capabilities) -> Program:
    """Return an equal Program that uses only what ``capabilities`` names. Raises SFN402, all problems at once."""
    legal = program if capabilities.moves >= MOVES else _Rewriter(program, capabilities.weight_bits).run()
    problems = [d for step in legal.steps for d in _problems(step, target, capabilities)]
    if problems:
        raise CompileError(problems)
    return split_weights(legal, capabilities.weight_bits)


class _Rewriter:
    def __init__(self, program: Program, weight_bits: int):
        self.program = program
        self.top = 2 ** (weight_bits - 1) - 1
        self.info = program.values()
        self.wide = _accumulators(program)
        self.taken = {e.value for e in program.inputs} | {s.name for s in program.steps if not isinstance(s, Move)}
        self.views: dict[str, _View] = {}
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
            else:
                self.steps.append(self._population(step))
        for out in self.program.outputs:
            if out.value in self.views:
                self._concrete(out.value)
        outputs = tuple(replace(o, value=self._name(o.value)) for o in self.program.outputs)
        return replace(self.program, steps=tuple(self.steps), outputs=outputs)

    def _population(self, step: Population) -> Population:
        projections = tuple(q for p in step.projections for q in self._projection(p))
        products = tuple(self._product(p) for p in step.products)
        norm = None if step.norm is None else replace(step.norm, source=self._concrete(step.norm.source))
        return replace(step, projections=projections, products=products, norm=norm)

    def _pool(self, pool: MaxPool) -> MaxPool:
        """Return the pool on a value that holds codes; where the smallest code is 0, zero padding becomes its own."""
        view = self.views.get(pool.source)
        channels = None if view is None or self.info[pool.source].lo != 0 else _whole_channels(view)
        if view is not None and channels is not None:
            source, pads = _same_channels(view, channels[0]), _wider(pool.pads, channels[1])
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

    def _view(self, value: str) -> _View:
        if value in self.views:
            return self.views[value]
        shape = self.info[value].shape
        return _View(np.arange(int(np.prod(shape))).reshape(shape), ((value, 0, shape),), Origin())

    def _moved(self, step: Move) -> _View:
        sources: list[tuple[str, int, Shape]] = []
        arrays, base = [], 0
        for view in map(self._view, step.sources):
            arrays.append(np.where(view.index >= 0, view.index + base, -1) + 1)
            sources += [(n, b + base, s) for n, b, s in view.sources]
            base += max(b + int(np.prod(s)) for _, b, s in view.sources)
        index = step.op.apply(*(a[None] for a in arrays))[0] - 1  # shifted by one so that padding (0) becomes -1
        return _View(index, tuple(sources), step.origin)

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
        projections = tuple(_copy(source, shape, index, one) for source, shape, index in view.parts())
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
            return [_copy(source, shape, index, p.map.weight, p.role) for source, shape, index in view.parts()]
        if isinstance(p.map, Gather):
            moved = np.where(p.map.index >= 0, view.index.reshape(-1)[np.maximum(p.map.index, 0)], -1)
            parts = _View(moved, view.sources, view.origin).parts()
            return [_copy(source, shape, index, p.map.weight, p.role) for source, shape, index in parts]
        if isinstance(p.map, Conv | SumPool):
            channels = _whole_channels(view)
            merged = None if channels is None else _move_channels(p.map, view, *channels, self.top)
            if merged is not None:
                return [replace(part, role=p.role) for part in merged]
        return [replace(p, source=self._concrete(p.source))]

    def _product(self, p: Product) -> Product:
        if isinstance(p.form, Matmul):  # rows and columns are read as they stand
            return replace(p, left=self._concrete(p.left), right=self._concrete(p.right))
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

    def _dense(self, dense: Dense, view: _View, p: Projection) -> list[Projection]:
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


def _copy(source: str, shape: Shape, index: Array, weight: Array, role: Role = "main") -> Projection:
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


def _whole_channels(view: _View) -> tuple[Channels, Pads] | None:
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


def _move_channels(
    linear: Conv | SumPool, view: _View, pairs: Channels, margin: Pads, top: int
) -> list[Projection] | None:
    """Return the map read through whole channels: one projection per source, the margin turned into padding."""
    shapes = {name: shape for name, _, shape in view.sources}
    pads = _wider(linear.pads, margin)
    same = _same_channels(view, pairs)
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


def _same_channels(view: _View, pairs: Channels) -> str | None:
    """Return the one source whose channels the view holds, all and in order; None for any other view."""
    (source, moved), *others = pairs.items()
    n = next(shape[0] for name, _, shape in view.sources if name == source)
    return source if not others and moved == [(c, c) for c in range(n)] and view.index.shape[0] == n else None


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


def ungrouped(conv: Conv) -> Array:
    """Return the weight ``(o, c, *k)`` of the same convolution with one group, zeros between groups."""
    if conv.groups == 1:
        return conv.weight.astype(np.int64)
    o, per_in = conv.weight.shape[:2]
    per_out = o // conv.groups
    full = np.zeros((o, per_in * conv.groups, *conv.weight.shape[2:]), np.int64)
    for g in range(conv.groups):
        full[g * per_out : (g + 1) * per_out, g * per_in : (g + 1) * per_in] = conv.weight[
            g * per_out : (g + 1) * per_out
        ]
    return full


def _problems(step: Step, target: str, capabilities: Capabilities) -> list[Diagnostic]:
    where = ", ".join(step.origin.nodes) or step.name
    if isinstance(step, MaxPool) and not capabilities.max_pool:
        return [Diagnostic("SFN402", f"target {target} has no max pooling", where)]
    if isinstance(step, MaxPool | Move):
        return []
    found = [
        Diagnostic("SFN402", f"target {target} has no {what}", where, "leave this target out; the others are built")
        for kind, what in _adaptive(step)
        if kind not in capabilities.adaptive
    ]
    if isinstance(step, Normalization):
        return found
    for q in step.products:
        kind = type(q.form).__name__
        if kind not in capabilities.products:
            what = (
                f"target {target} multiplies by constants only: it has no product of two values ({q.left} * {q.right}"
            )
            what += f", {kind}, into {step.name})"
            found.append(Diagnostic("SFN402", what, where, "leave this target out; the others are built"))
    for p in step.projections:
        kind = type(p.map).__name__
        if kind not in capabilities.projections:
            what = f"target {target} cannot express the projection {kind} from {p.source} into {step.name}"
            found.append(Diagnostic("SFN402", what, where, "leave this target out, or rearrange the moves before it"))
    return found


def _adaptive(step: Population | Normalization) -> list[tuple[str, str]]:
    """Return (class name, what it is in words) of every threshold that follows a row of neurons."""
    if isinstance(step, Normalization):
        return [("Normalization", f"normalisation by a row's standard deviation ({step.sources[0]} into {step.name})")]
    if isinstance(step.ladder, RowTable):
        return [("RowTable", f"thresholds that follow the maximum of a row, as softmax needs ({step.name})")]
    if isinstance(step.ladder, Ratio):
        return [("Ratio", f"thresholds scaled by the sum of a row, as softmax needs ({step.name})")]
    return []


def check_widths(program: Program, target: str, capabilities: Capabilities) -> None:
    """Raise SFN401 where an accumulator, a weight or a number behind an adaptive threshold is wider than the target
    holds."""
    _check_rows(program, target, capabilities)
    for population in program.populations():
        if bits_for(population.acc_min, population.acc_max) > capabilities.acc_bits:
            span = f"{population.acc_min}..{population.acc_max}"
            what = f"accumulators reach {span}, target {target} holds {capabilities.acc_bits} bits"
            raise fail("SFN401", what, ", ".join(population.origin.nodes) or population.name)
        for top in map(
            mantissa_top, (*(p.map for p in population.projections), *(p.form for p in population.products))
        ):
            if top >= 2 ** (capabilities.weight_bits - 1):
                what = f"a weight reaches {top}, target {target} holds {capabilities.weight_bits} bits"
                raise fail("SFN402", what, ", ".join(population.origin.nodes) or population.name)


def _check_rows(program: Program, target: str, capabilities: Capabilities) -> None:
    values = program.values()
    for step in program.steps:
        reach: dict[str, tuple[int, int]] = {}
        if isinstance(step, Normalization):
            reach = normalization_reach(step, values)
        elif isinstance(step, Population) and isinstance(step.ladder, Ratio):
            norm = norm_top(step, values)
            reach = {"threshold": ratio_reach(step.ladder, (step.acc_min, step.acc_max), norm)}
        for name, (lo, hi) in reach.items():
            if bits_for(lo, hi) > capabilities.row_bits:
                need = bits_for(lo, hi)
                what = f"the {name} of an adaptive threshold reaches {max(-lo, hi)}: {need} bits, and target {target} "
                what += f"holds {capabilities.row_bits}"
                raise fail("SFN401", what, ", ".join(step.origin.nodes) or step.name, "leave this target out")


def weight_top(linear: LinearMap | ProductForm) -> int:
    """Return the largest absolute weight of a map or product."""
    return int(np.abs(np.asarray(linear.weight, np.int64)).max(initial=0))
