"""Where the neurons of a Program are on a target: an ordered mapping from what fires to shards on cores, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..program.network import Move, Program, Shape


@dataclass(frozen=True)
class Shard:
    """Neurons ``start`` to ``stop`` (exclusive) of a population on ``core``; neurons are numbered in row-major order
    of the population's shape."""

    core: int
    start: int
    stop: int


@dataclass(frozen=True)
class Tile:
    """Neurons from ``start`` to ``stop`` (exclusive) along every axis of a population's shape on ``core``: what a chip
    that stores a kernel once per core is given, where :class:`Shard` would cut a map into lines."""

    core: int
    start: Shape
    stop: Shape


@dataclass(frozen=True)
class Placed:
    """A population, normalisation or max pool by name, and its shards in the order of its neurons."""

    name: str
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class Placement:
    """What is where, in the order of the Program's steps. A move computes nothing and is nowhere."""

    placed: tuple[Placed, ...]


def on_one_core(program: Program) -> Placement:
    """Return the placement of a target without cores: everything whole, on core 0, which has no limit."""
    return Placement(tuple(Placed(name, (Shard(0, 0, n),)) for name, n in neurons(program)))


def neurons(program: Program) -> list[tuple[str, int]]:
    """Return name and number of neurons of every step that computes, in order."""
    return [(step.name, math.prod(step.shape)) for step in program.steps if not isinstance(step, Move)]


def misplaced(program: Program, placement: Placement) -> str:
    """Return "" where every neuron of ``program`` is on exactly one core, else what is wrong, in words."""
    wanted = neurons(program)
    names = [p.name for p in placement.placed]
    if names != [name for name, _ in wanted]:
        return f"it places {names[:5]}, the network computes {[name for name, _ in wanted][:5]}"
    for placed, (name, n) in zip(placement.placed, wanted, strict=True):
        ends = [0, *(s.stop for s in placed.shards)]
        starts = [*(s.start for s in placed.shards), n]
        if starts != ends or any(s.stop <= s.start for s in placed.shards if n):
            return f"the shards of {name!r} do not hold each of its {n} neurons once, in order"
        if any(s.core < 0 for s in placed.shards):
            return f"a shard of {name!r} is on no core"
    return ""


def miscut(shape: Shape, tiles: tuple[Tile, ...]) -> str:
    """Return "" where every neuron of a population of ``shape`` is in exactly one tile, else what is wrong."""
    held = np.zeros(shape, np.uint8)
    for tile in tiles:
        inside = all(0 <= a < b <= n for a, b, n in zip(tile.start, tile.stop, shape, strict=True))
        if not inside:
            return f"the tile {tile.start} to {tile.stop} is empty or outside {shape}"
        held[tuple(slice(a, b) for a, b in zip(tile.start, tile.stop, strict=True))] += 1
    return "" if (held == 1).all() else f"{int((held != 1).sum())} neurons stand on no core, or on two"
