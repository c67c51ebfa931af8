"""The form `binary`: a Program as one chain of stages of 0/1 planes, as stock readers execute it bit for bit.

A stage is ``codes -> sums -> drive -> planes``: a 1x1 linear node counts the planes of each value into its integer
code, a convolution (or dense matrix) makes the accumulators, a 1x1 linear node copies each accumulator once per
threshold and subtracts that, and neurons with the single threshold 1 fire 0 or 1 (:mod:`.planes`). A chain has no
fan-in, so values needed later are fired again in every stage (:func:`.ops.carried`).

Maps stay maps as long as there is something to compute on them. What then comes is folded onto a grid (:mod:`.folded`);
where it is small, the tensor is flattened, once, for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sfn_backends.nir import folded
from sfn_backends.nir.fit import carries, fits, geometry
from sfn_backends.nir.layout import Blocks, Held, Key, Misfit, Needs, key
from sfn_backends.nir.links import Pair, shape3
from sfn_backends.nir.net import Net, flatten
from sfn_backends.nir.ops import Op, carried, lower, one_input
from sfn_backends.nir.parts import Part
from sfn_backends.nir.planes import fire, spots_of
from sfn_backends.nir.pools import pooled
from sfn_backends.nir.stage import codes_node, map_sums, record, record_final, vector_sums
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import Program

LARGEST_UNFOLDING = 2**24  # weights, 64 MiB of float32


def build(program: Program, part: Part, charges: dict[str, float] | None = None, dry: bool = False) -> Net:
    """Return the chain of one part. ``charges``: c of each stage (:class:`.planes.Drive`), where known from a file."""
    one_input(program, "binary")
    return _Chain(program, part, Net(dry), charges).run()


class _Chain:
    def __init__(self, program: Program, part: Part, net: Net, charges: dict[str, float] | None):
        self.net, self.charges, self.n = net, charges, 0
        entry = program.inputs[0]
        ops = lower(program, pooled, part.steps)
        net.thresholds = {op.name: op.groups[0].thresholds for op in ops if len(op.groups) == 1 and not op.pool}
        readouts = {op.name: op for op in ops if op.offset is not None}
        self.pending = [op for op in ops if op.offset is None]
        _refuse_read_readouts(ops, readouts)
        source = carried(entry.value, entry.shape, np.arange(entry.lo, entry.hi + 1))
        self.codes = {op.name: op for op in [source, *self.pending]}
        self.final = [readouts.get(name) or self.codes[name] for name in part.results]
        self.graded = True
        shape, size = shape3(entry.shape), int(np.prod(entry.shape))
        self.grid: Pair | None = None if shape is None else shape[1:]
        fold = None
        if shape is None and not folded.small_vectors(self.pending):
            self.grid = fold = (1, 1)
            shape = (size, 1, 1)
        self.held = {entry.value: Held(source, fold=fold)}
        self.tail = net.add("input", "Input", {}, shape=shape or (size,))

    def run(self) -> Net:
        while self.pending:
            ready = [op for op in self.pending if all(r.source in self.held for r in op.reads)]
            if not (self.grid is not None and self._on_map(ready)):
                self._on_vector(ready)
        self._finish()
        return self.net

    # -- one stage of planes -----------------------------------------------------------------------------------
    def _on_map(self, ready: list[Op]) -> bool:
        """Compute what fits one convolution, largest maps first; False where nothing does."""
        for op in sorted(ready, key=lambda o: -int(np.prod((shape3(o.shape) or (0, 0, 0))[1:]))):
            try:
                stride, out = geometry(op, self.held)
                group = [t for o in ready if (t := fits(o, self.held, stride, out)) is not None]
                targets = [*group, *carries(self.held, self._later({t.name for t in group}), stride, out)]
                blocks = self._blocks(targets)
                sums = map_sums(targets, blocks, stride, out)
            except Misfit as reason:
                self.net.why = self.net.why or f"{op.where}: {reason}"
                continue
            self._emit_codes(blocks)
            self.tail = sums.add(self.net, self._name("c_sums"), self.tail)
            self._fire(targets, out)
            return True
        return False

    def _on_vector(self, ready: list[Op]) -> None:
        """Compute everything that is ready as one matrix: folded onto a grid, or dense if that costs little."""
        done = {op.name for op in ready}
        if self.grid is not None and not folded.small_vectors(self.pending):
            self._on_fold(ready, self._kept(done))
            return
        targets = [Held(op) for op in ready] + self._kept(done)
        blocks = self._emit_codes(self._blocks(targets), flat=True)
        self.tail = vector_sums(self.net, self._name("c_sums"), self.tail, targets, blocks)
        self._fire(targets, None)

    def _on_fold(self, ready: list[Op], kept: list[Held]) -> None:
        assert self.grid is not None
        blocks = self._blocks([*map(Held, ready), *kept])
        fold = folded.best_fold([*ready, *(t.op for t in kept)], blocks.size, self.grid)
        targets = [Held(op, fold=fold) for op in ready] + [replace(t, fold=fold) for t in kept]
        spots = spots_of(targets)
        if spots:
            blocks = replace(blocks, one=blocks.size, size=blocks.size + 1)
        self._emit_codes(blocks)
        self.tail = folded.folded_sums(self.net, self._name("c_sums"), self.tail, targets, blocks, fold)
        self._fire(targets, fold, spots)

    def _fire(self, targets: list[Held], out: Pair | None, spots: int = 0) -> None:
        self.grid, self.graded = out, False
        self.tail = fire(self.net, self._name(""), self.tail, targets, out, self.charges, spots)
        self.held = {t.name: t for t in targets}
        done = {t.name for t in targets if not t.carry}
        self.pending = [op for op in self.pending if op.name not in done]
        self.n += 1

    # -- what is read and what is carried ------------------------------------------------------------------------
    def _blocks(self, targets: Sequence[Held]) -> Blocks:
        """Lay out the codes that the targets read, and those of every value computed by the stage before."""
        keys: dict[Key, None] = dict.fromkeys(key(r) for t in targets for r in t.op.reads)
        named = {name for name, _, powers in keys if powers is None}
        fresh = [h for h in self.held.values() if not h.carry and h.name not in named and not self.graded]
        keys.update(dict.fromkeys((h.name, 0, None) for h in fresh))
        start, size = {}, 0
        for k in keys:
            start[k] = size
            size += self.held[k[0]].rows(self.grid is None)
        return Blocks(start, size, self.held, self.grid)

    def _emit_codes(self, blocks: Blocks, flat: bool = False, always: bool = False) -> Blocks:
        """Add the node that counts planes into codes (the input's codes may come as they are) and flatten."""
        plain = (
            self.graded and len(blocks.start) == 1 and next(iter(blocks.start))[1:] == (0, None) and blocks.one is None
        )
        if not plain or always:
            self.tail = codes_node(self.net, self._name("a_codes"), self.tail, blocks, self.graded)
            record(self.net, self.tail, blocks)
        if flat and self.grid is not None:
            self.tail = flatten(self.net, self._name("b_flat"), self.tail, (blocks.size, *self.grid))
        return blocks

    def _later(self, now: set[str]) -> Needs:
        waiting = [op for op in self.pending if op.name not in now]
        readouts = [op for op in self.final if op.offset is not None]
        return Needs([*waiting, *readouts], {op.name for op in self.final if op.offset is None})

    def _kept(self, now: set[str]) -> list[Held]:
        """Return what a vector stage must carry."""
        needs = self._later(now)
        wanted = needs.whole | {r.source for op in needs.ops for r in op.reads}
        return [Held(carried(n, h.op.shape, h.op.codes), carry=True) for n, h in self.held.items() if n in wanted]

    # -- the end ---------------------------------------------------------------------------------------------------
    def _finish(self) -> None:
        """Read out: codes as they are, or one more linear node where a result is an accumulator."""
        if not self._as_they_stand():
            ops = [op if op.offset is not None else carried(op.name, op.shape, op.codes) for op in self.final]
            targets = self._last_on_map(ops) or self._last_on_vector(ops)
            record_final(self.net, self.tail, targets, self.grid)
        self.net.add("output", "Output", {}, [self.tail])

    def _last_on_map(self, ops: list[Op]) -> list[Held] | None:
        try:
            stride, out = geometry(ops[0], self.held)
            targets = [fits(op, self.held, stride, out) for op in ops]
            if any(t is None or (t.factor != (1, 1) and not self._dear(ops)) for t in targets):
                return None
            whole = [t for t in targets if t is not None]
            blocks = self._blocks(whole)
            sums = map_sums(whole, blocks, stride, out)
        except Misfit:
            return None
        self._emit_codes(blocks)
        self.grid, self.tail = out, sums.add(self.net, self._name("c_sums"), self.tail)
        return whole

    def _dear(self, ops: list[Op]) -> bool:
        """Return whether results that are in phases are left so: a matrix that puts them in order is too large."""
        grid = 1 if self.grid is None else self.grid[0] * self.grid[1]
        stored = sum(h.rows(self.grid is None) for h in self.held.values()) * grid
        return stored * sum(int(np.prod(op.shape)) for op in ops) > LARGEST_UNFOLDING

    def _last_on_vector(self, ops: list[Op]) -> list[Held]:
        targets = [Held(op) for op in ops]
        blocks = self._emit_codes(self._blocks(targets), flat=True)
        self.tail = vector_sums(self.net, self._name("c_sums"), self.tail, targets, blocks)
        self.grid = None
        return targets

    def _as_they_stand(self) -> bool:
        """Add the last codes node and return True where it is already the result."""
        if any(op.offset is not None for op in self.final) or {op.name for op in self.final} != set(self.held):
            return False
        plain = all(self.held[op.name].factor == (1, 1) and self.held[op.name].exact for op in self.final)
        if self.grid is not None and (not plain or len(self.final) > 1):
            return False
        size, start = 0, dict[Key, int]()
        for op in self.final:
            start[(op.name, 0, None)] = size
            size += self.held[op.name].rows(self.grid is None)
        in_fold = any(h.fold for h in self.held.values())
        self._emit_codes(Blocks(start, size, self.held, self.grid), flat=in_fold, always=True)
        return True

    def _name(self, part: str) -> str:
        return f"s{self.n:03d}_{part}"


def _refuse_read_readouts(ops: list[Op], readouts: dict[str, Op]) -> None:
    for op in ops:
        for read in op.reads:
            if read.source in readouts:
                what = f"{op.name} reads {read.source}, an accumulator without neurons; planes cannot carry it"
                raise fail("SFN402", what, op.where, "use --nir-form sar")
