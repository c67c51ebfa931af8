"""The forms `unary` and `sar`: Threshold and Scale nodes, several edges into one node adding up, any graph.

Every value has one node ``..._code`` that holds its integer code. `unary` spends one Threshold node per level. `sar`
(successive approximation) spends one per binary digit of an evenly spaced ladder: from the largest weight w down, a
digit is set where what is left of the accumulator reaches the threshold of level w, and is then subtracted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from sfn_backends.nir.layout import Misfit, window
from sfn_backends.nir.links import matrix, shape3, spread, taps
from sfn_backends.nir.net import Net, Param, Put, affine, conv, flatten
from sfn_backends.nir.ops import Array, Group, Op, Read, lower, one_input
from sfn_backends.nir.parts import Part
from sfn_backends.nir.tournament import tournament
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import Identity, Program, Shape, SumPool

EXACT = 2**23  # half-integers below are exact in float32
ONE = np.ones(1, np.int64)


def build(program: Program, part: Part, charges: Any = None, dry: bool = False, form: str = "sar") -> Net:
    """Return the graph of one part; ``charges`` is not used. Raises SFN402 (no such node), SFN401."""
    one_input(program, form)
    return _Graph(program, part, Net(dry), form).run(part.results[0])


class _Graph:
    def __init__(self, program: Program, part: Part, net: Net, form: str):
        self.net, self.form = net, form
        entry = program.inputs[0]
        self.ops = lower(program, tournament, part.steps)
        net.thresholds = {op.name: op.groups[0].thresholds for op in self.ops if len(op.groups) == 1}
        self.shapes: dict[str, Shape] = {}  # of nodes
        self.code = {entry.value: self._node("input", "Input", {}, _natural(entry.shape), shape=_natural(entry.shape))}
        self.made: dict[tuple[str, int], str] = {}

    def run(self, result: str) -> Net:
        for i, op in enumerate(self.ops):
            self._op(op, f"n{i:03d}")
        self.net.add("output", "Output", {}, [self.code[result]])
        read = {source for source, _ in self.net.edges}
        for op in self.ops:
            if self.code[op.name] not in read:
                what = f"{op.name} leads to no output; NIR files of form {self.form} cannot hold it"
                raise fail("SFN402", what, op.where, "remove the layer from the model, or use --nir-form binary")
        return self.net

    def _op(self, op: Op, name: str) -> None:
        parts: list[str] = []
        shape = _natural(op.shape)
        for i, group in enumerate(op.groups):
            feeds = [self._read(r, op, f"{name}_r{i}{j}") for j, r in enumerate(group.reads)]
            acc = self._sum(f"{name}_acc{i}", feeds, shape)
            plain = group.plain or op.offset is not None
            parts += [acc] if plain else self._ladder(group, op, f"{name}_g{i}", acc)
            if i == 0 and (op.base or op.offset is not None or not parts):
                parts.append(self._constant(op, name, acc))
        self.code[op.name] = self._sum(f"{name}_code", parts, shape, always=True)
        grid = None if shape3(op.shape) is None else shape[1:]
        self.net.values[op.name] = {"node": self.code[op.name], "start": 0, "shape": op.shape, "grid": grid,
                                    "factor": (1, 1), "phases": ((0, 0),), "shift": 0}  # fmt: skip

    # -- linear maps -----------------------------------------------------------------------------------------------
    def _read(self, read: Read, op: Op, name: str) -> str:
        source = self._shifted(read)
        shape, out = self.shapes[source], _natural(op.shape)
        weight = read.map.weight
        if isinstance(read.map, Identity):
            return self._scale(name, source, weight.reshape(-1), spread(weight.shape, op.shape))
        if isinstance(read.map, SumPool) and taps(read.map, read.shape) is None:
            sums = replace(read, map=replace(read.map, weight=ONE))
            inner = self._conv(sums, op, f"{name}s", source)
            return self._scale(name, inner, weight.reshape(-1), spread(weight.shape, op.shape))
        if len(out) == 3:
            return self._conv(read, op, name, source)
        if len(shape) == 3:
            source = self._flat(source)
        n = int(np.prod(shape))

        def puts() -> Iterator[Put]:
            for rows, cols, index in matrix(read.map, read.shape, op.shape):
                yield Put(name, "weight", (rows, cols), weight.reshape(-1), index)

        self.shapes[name] = out
        return affine(self.net, name, source, (out[0], n), puts)

    def _conv(self, read: Read, op: Op, name: str, source: str) -> str:
        linear, shape, out = taps(read.map, read.shape), self.shapes[source], _natural(op.shape)
        try:
            if linear is None or len(shape) != 3 or read.shape[1:] != shape[1 : len(read.shape)]:
                raise Misfit("NIR has no node that turns a vector into a map or moves elements of a map")
            fit = window(_grid(shape), _grid(out), linear[0], {(t.dy, t.dx) for t in linear[1]})
        except Misfit as reason:
            what = f"the NIR form {self.form} cannot express {op.name}: {reason}"
            raise fail("SFN402", what, op.where, "use --nir-form binary") from reason

        def puts() -> Iterator[Put]:
            for t in linear[1]:
                spot = (t.dy + fit.padding[0]) // fit.dilation[0], (t.dx + fit.padding[1]) // fit.dilation[1]
                yield Put(name, "weight", (t.o, t.c, *spot), read.map.weight.reshape(-1), t.index)

        self.shapes[name] = out
        return conv(self.net, name, source, (out[0], shape[0], fit.kernel, fit.kernel), shape, out, fit.stride,
                    fit.padding, fit.dilation, puts)  # fmt: skip

    def _shifted(self, read: Read) -> str:
        """Return the node that holds ``code - shift`` of a read's source."""
        code, key = self.code[read.source], (read.source, read.shift)
        if read.shift and key not in self.made:
            minus = self._times_one(f"{code}_m", code, np.array([-read.shift]), np.zeros(1, np.int64))
            self.made[key] = self._sum(f"{code}_s", [code, minus], self.shapes[code])
        return self.made[key] if read.shift else code

    def _flat(self, source: str) -> str:
        if (source, -1) not in self.made:
            self.made[source, -1] = name = flatten(self.net, f"{source}_flat", source, self.shapes[source])
            self.shapes[name] = (int(np.prod(self.shapes[source])),)
        return self.made[source, -1]

    # -- neurons ----------------------------------------------------------------------------------------------------
    def _ladder(self, group: Group, op: Op, name: str, acc: str) -> list[str]:
        tau, n = group.thresholds, group.thresholds.shape[-1]
        if max(-group.low, group.high) >= EXACT:
            what = f"accumulators of {op.name} reach {group.low}..{group.high}; half-integers are exact below {EXACT}"
            raise fail("SFN401", what, op.where, "use fewer --levels or --weight-bits")
        if self.form == "sar" and group.even and n > 2:
            theta = tau[..., 1] - tau[..., 0]
            reach = max(-group.low, group.high) + n * int(theta.max()) + int(np.abs(tau).max())
            if reach >= EXACT:
                what = f"digits of {op.name} reach {reach}; half-integers are exact below {EXACT}"
                raise fail("SFN401", what, op.where, "use --nir-form unary, or fewer --levels")
            return self._digits(group, op, name, acc, theta)
        if n and np.abs(tau).max() >= EXACT:
            np.clip(tau, group.low, group.high + 1, out=tau)  # beyond the reachable range all are alike
        made = [self._threshold(f"{name}_t{k:03d}", [acc], group, op, k) for k in range(n)]
        return [z if gain == 1 else self._scale(f"{z}w", z, group.gains[k : k + 1], np.zeros(1, np.int64))
                for k, (z, gain) in enumerate(zip(made, group.gains, strict=True))]  # fmt: skip

    def _digits(self, group: Group, op: Op, name: str, acc: str, theta: Array) -> list[str]:
        left, feeds, out = len(group.gains), [acc], []
        while left:
            w = (left + 1) // 2
            left -= w
            z = self._threshold(f"{name}_t{w:03d}_{left}", list(feeds), group, op, w - 1)
            out.append(z if w == 1 else self._scale(f"{z}w", z, np.array([w]), np.zeros(1, np.int64)))
            if left:
                feeds.append(self._scale(f"{z}b", z, theta.reshape(-1), spread(theta.shape, op.shape), -w))
        return out

    def _threshold(self, name: str, feeds: list[str], group: Group, op: Op, k: int) -> str:
        tau, shape = group.thresholds, _natural(op.shape)
        index = spread(tau.shape[:-1], op.shape).reshape(shape) * tau.shape[-1] + k
        puts = [Put(name, "threshold", (...,), tau.reshape(-1), index, -0.5)]
        return self._node(name, "Threshold", {"threshold": Param(shape)}, shape, feeds, puts)

    # -- small nodes --------------------------------------------------------------------------------------------------
    def _constant(self, op: Op, name: str, acc: str) -> str:
        """Return a node that adds the smallest code, or a readout's offset, whatever the input."""
        if op.offset is None:
            return self._times_one(f"{name}_base", acc, np.array([op.base]), np.zeros(1, np.int64))
        return self._times_one(f"{name}_base", acc, op.offset.reshape(-1), spread(op.offset.shape, op.shape))

    def _times_one(self, name: str, like: str, array: Array, index: Array) -> str:
        shape = self.shapes[like]
        one = self._node(f"{name}_one", "Threshold", {"threshold": Param(shape, fill=-(2.0**24))}, shape, [like])
        return self._scale(name, one, array, index)

    def _scale(self, name: str, source: str, array: Array, index: Array, factor: float = 1.0) -> str:
        shape = self.shapes[source]
        full = index.reshape(()) if index.size == 1 else index.reshape(shape)
        puts = [Put(name, "scale", (...,), array, full, 0.0, factor)]
        return self._node(name, "Scale", {"scale": Param(shape)}, shape, [source], puts)

    def _sum(self, name: str, parts: list[str], shape: Shape, always: bool = False) -> str:
        if len(parts) == 1 and not always:
            return parts[0]
        return self._node(name, "Scale", {"scale": Param(shape, fill=1.0)}, shape, parts)

    def _node(self, name: str, kind: str, params: dict[str, Param], out: Shape,
              sources: list[str] | None = None, puts: list[Put] | None = None, **attrs: Any) -> str:  # fmt: skip
        self.shapes[name] = out
        return self.net.add(name, kind, params, sources or [], (lambda: puts) if puts else None, **attrs)


def _natural(shape: Shape) -> Shape:
    return shape3(shape) or (int(np.prod(shape)),)


def _grid(shape: Shape) -> tuple[int, int]:
    return shape[1], shape[2]
