"""Every layer of a network on cores: as the vendor's compiler splits, as few cores as possible, balanced for speed.

A core holds tiles of one layer. Layers are planned from the outputs back, because what a map takes for its axons
depends on how its readers are cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from .chip import Chip
from .demand import Grid, Layer, Link
from .memory import Readers
from .names import PlanName
from .tilings import Choices, Tiling, choices_of, tiling_of, vendor_tile

HALVINGS = 30  # of the range of step times that the balanced plan is searched in
NEIGHBOURS = 4  # tiles of a map that a position can border on
Choose: TypeAlias = Callable[[Layer, Readers], "Grid | None"]


@dataclass(frozen=True)
class Plan:
    """Tilings by layer. ``unplaced``: layers that no core can hold a part of; the plan counts the others."""

    name: PlanName
    state: float
    tilings: Mapping[str, Tiling]
    unplaced: tuple[str, ...]

    @cached_property
    def cores(self) -> int:
        """How many cores it takes."""
        return sum(t.cores for t in self.tilings.values())


class Planner:
    """Plans of one network on one chip. ``work``: of each layer, in any unit that a step's time is proportional to."""

    def __init__(self, chip: Chip, layers: Sequence[Layer], work: Mapping[str, float]):
        self.chip, self.layers, self.work = chip, layers, work
        self._known: dict[tuple[str, Readers, float], Choices] = {}

    def plan(self, name: PlanName, state: float) -> Plan:
        """Return one of the three plans; ``state``: words of a neuron."""
        if name == "vendor":
            return self._plan(name, state, lambda layer, by: vendor_tile(self.chip.memory, layer, by, state))
        fewest = self._fewest(state)
        return fewest if name == "fewest" else self._balanced(fewest)

    def _fewest(self, state: float) -> Plan:
        """Return the plan with the fewest cores found: layer by layer, or the balanced one.

        Smaller tiles of a reader can leave its sources more room, so that the second can need fewer.
        """
        found = self._plan("fewest", state, lambda layer, by: self._choices(layer, by, state).fewest())
        spread = self._balanced(found)
        return found if found.cores <= spread.cores else Plan("fewest", state, spread.tilings, spread.unplaced)

    def _balanced(self, fewest: Plan) -> Plan:
        """Return the fastest plan found on the chips that the fewest cores need, all of whose cores may be used."""
        per_chip = self.chip.cores.count.value
        budget = -(-fewest.cores // per_chip) * per_chip
        best, high = fewest, self.slowest(fewest)
        low = high * fewest.cores / max(budget, 1) / max(len(fewest.tilings), 1)
        for _ in range(HALVINGS if fewest.tilings else 0):
            middle = math.sqrt(low * high) if low > 0 else high / 2
            found = self._within(fewest, middle)
            fits = found is not None and found.cores <= budget
            if fits and found is not None and self.slowest(found) <= self.slowest(best):
                best = found
            low, high = (low, middle) if fits else (middle, high)
        return Plan("balanced", best.state, best.tilings, best.unplaced)

    def slowest(self, plan: Plan) -> float:
        """Return the work of the busiest core."""
        grids = {layer.name: layer.grid for layer in self.layers}
        return max((self.work[name] * _share(t.tile, grids[name]) for name, t in plan.tilings.items()), default=0.0)

    def _within(self, fewest: Plan, most: float) -> Plan | None:
        """Return a plan of which no core works more than ``most``, None where a layer cannot be cut so small."""

        def choose(layer: Layer, by: Readers) -> Grid | None:
            work = self.work[layer.name]
            found = self._choices(layer, by, fewest.state).at_most(most / work if work else 1.0)
            return found[0] if found else None

        found = self._plan("balanced", fewest.state, choose)
        return found if found.unplaced == fewest.unplaced else None

    def _choices(self, layer: Layer, by: Readers, state: float) -> Choices:
        key = (layer.name, by, state)
        if key not in self._known:
            self._known[key] = choices_of(self.chip.memory, layer, by, state)
        return self._known[key]

    def _plan(self, name: PlanName, state: float, choose: Choose) -> Plan:
        tilings: dict[str, Tiling] = {}
        unplaced: list[str] = []
        for layer in reversed(self.layers):
            by = self.readers(layer, tilings)
            tile = choose(layer, by)
            if tile is None:
                unplaced.append(layer.name)
            else:
                tilings[layer.name] = tiling_of(self.chip.memory, layer, tile, by, state)
        return Plan(name, state, dict(reversed(tilings.items())), tuple(reversed(unplaced)))

    def readers(self, layer: Layer, tilings: Mapping[str, Tiling]) -> Readers:
        """Return who reads a layer, of those that are planned already."""
        found = [(link, tilings.get(r.name)) for r in self.layers for link in r.links if link.source == layer.name]
        conv = tuple(_channel_blocks(link, t) for link, t in found if link.kind == "conv")
        flat = layer.is_output or any(link.kind != "conv" for link, _ in found)
        return Readers(conv, flat, max(1, sum(_cores(link, t) for link, t in found)))


def _channel_blocks(link: Link, tiling: Tiling | None) -> int:
    """Return to how many blocks of a reader's channels a place of its source sends."""
    return 1 if tiling is None else -(-tiling.blocks[0] // link.window.groups)


def _cores(link: Link, tiling: Tiling | None) -> int:
    """Return to how many cores of a reader a neuron of its source can have to send."""
    if tiling is None or link.kind == "sparse":
        return 1
    if link.kind == "dense":
        return tiling.cores
    return _channel_blocks(link, tiling) * min(tiling.blocks[1] * tiling.blocks[2], NEIGHBOURS)


def _share(tile: Grid, grid: Grid) -> float:
    return math.prod(tile) / max(math.prod(grid), 1)
