"""A Program as layers of compartments and wires of synapses: what is placed on cores, and what the folder says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from sfn_backends.loihi1 import synapses
from sfn_backends.loihi1.synapses import Synapses
from sfn_compile.program.network import (
    Dense,
    MaxPool,
    Move,
    Population,
    Program,
    Projection,
    Ratio,
    Readout,
    RowTable,
    Shape,
    Table,
    Uniform,
    ValueInfo,
)

Array = NDArray[Any]
# How spikes of a source are wired. ``all``: each of its levels leads to all compartments of its targets, over one list
# of weights. ``level``: each to the compartments of the same level. ``plane``: bit j of an input, with 2**j times the
# weight.
WireKind: TypeAlias = Literal["all", "level", "plane"]


@dataclass(frozen=True, eq=False)
class Wire:
    """Synapses from the value ``source``. ``lines``: spikes that one of its neurons can send: levels, or bits.

    ``delay``: steps that it waits for the others of its layer. ``dense``: whether every list is the whole layer.
    """

    source: str
    kind: WireKind
    lines: int
    delay: int
    dense: bool
    found: Synapses


@dataclass(frozen=True, eq=False)
class Layer:
    """Neurons that become ``levels`` compartments each; ``depth``: steps after the input."""

    name: str
    shape: Shape
    levels: int
    depth: int
    wires: tuple[Wire, ...]

    @property
    def neurons(self) -> int:
        """How many there are."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Network:
    """The layers of a Program in order, with those that hold a value back for a step."""

    program: Program

    @cached_property
    def info(self) -> dict[str, ValueInfo]:
        """Shape and range of every value."""
        return self.program.values()

    @cached_property
    def stands(self) -> dict[str, str]:
        """Which value's neurons hold each value: a flattened one is its source in the same order."""
        found = {e.value: e.value for e in self.program.inputs}
        for step in self.program.steps:
            found[step.name] = found[step.sources[0]] if isinstance(step, Move) else step.name
        return found

    @cached_property
    def depth(self) -> dict[str, int]:
        """Steps after the input, by value: a population and a max pool take one."""
        found = {e.value: 0 for e in self.program.inputs}
        for step in self.program.steps:
            found[step.name] = max(found[s] for s in step.sources) + (not isinstance(step, Move))
        return found

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the Program's steps, and behind each those that hold it back."""
        made = [self._layer(step) for step in self.program.steps if isinstance(step, Population | MaxPool)]
        waits: dict[str, int] = {}
        for layer in made:
            for wire in layer.wires:
                waits[wire.source] = max(waits.get(wire.source, 0), wire.delay)
        return (*made, *(x for layer in made for x in _held(layer, waits.get(layer.name, 0))))

    def steps(self) -> Iterator[Population | MaxPool]:
        """Yield what computes, in order."""
        return (s for s in self.program.steps if isinstance(s, Population | MaxPool))

    def _layer(self, step: Population | MaxPool) -> Layer:
        info = self.info[step.name]
        if isinstance(step, MaxPool):
            wires: tuple[Wire, ...] = (self._pool(step),)
        else:
            wires = tuple(self._wire(p, step) for p in step.projections)
        return Layer(step.name, step.shape, _levels(step, info.hi), self.depth[step.name], wires)

    def _wire(self, p: Projection, step: Population) -> Wire:
        info = self.info[p.source]
        source = self.stands[p.source]
        is_input = any(e.value == source for e in self.program.inputs)
        delay = self.depth[step.name] - 1 - self.depth[p.source]
        is_dense = isinstance(p.map, Dense) and len(info.shape) == 1
        found = synapses.of_map(p.map, info.shape)
        kind: WireKind = "plane" if is_input else "all"
        return Wire(source, kind, info.hi.bit_length() if is_input else info.hi, delay, is_dense, found)

    def _pool(self, pool: MaxPool) -> Wire:
        info = self.info[pool.source]
        return Wire(self.stands[pool.source], "level", info.hi, 0, False, synapses.of_pool(pool, info.shape))


def _levels(step: Population | MaxPool, hi: int) -> int:
    """Return the compartments of a neuron: its levels, one that never fires for a readout."""
    if isinstance(step, MaxPool):
        return hi
    if isinstance(step.ladder, Readout):
        return 1
    if isinstance(step.ladder, Uniform | Table):
        return hi
    if isinstance(step.ladder, RowTable | Ratio):
        raise NotImplementedError(type(step.ladder).__name__)  # refused by the capabilities
    assert_never(step.ladder)


def _held(layer: Layer, steps: int) -> Iterator[Layer]:
    """Yield the layers that hold a value back, each a copy of the one before, for one step more."""
    every = np.arange(layer.neurons)
    for k in range(1, steps + 1):
        wire = Wire(held_name(layer.name, k - 1), "level", layer.levels, 0, False, Synapses(every, every, every * 0))
        yield Layer(held_name(layer.name, k), layer.shape, layer.levels, layer.depth + k, (wire,))


def held_name(name: str, steps: int) -> str:
    """Return what a value is called ``steps`` steps later."""
    return f"{name} + {steps}" if steps else name
