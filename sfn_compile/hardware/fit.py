"""Does a Program fit a chip: demand, plans, what the rules found, where every neuron is, the estimates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..foundation.diagnostics import Diagnostic
from ..program.network import ADAPTIVE, Population, Program
from ..program.ranges import bits_for
from ..program.weights import weight_top
from ..targets.backend import Capabilities
from ..targets.legalize import legalize
from ..targets.placement import Tile
from .chip import Chip, WordMemory
from .demand import Demand, Grid, Layer, demand_of
from .estimates import core_us, estimate, share_of, work_of
from .findings import Finding
from .memory import asked as on_cores
from .memory import spare_words
from .names import PLANS, PlanName
from .plan import Plan, Planner
from .rules import Case, findings_of
from .tilings import Tiling

LEAST_WEIGHT_BITS = 8  # weights that moves have merged are split into such, whatever the chip has


@dataclass(frozen=True)
class Asked:
    """What is wanted of a fit. ``state``: words of a neuron in the core map, the chip's least if 0."""

    split: PlanName = "vendor"
    state: float = 0
    counts_host: bool = False


@dataclass(frozen=True)
class Fit:
    """A network on a chip. ``plans``: by name and words of a neuron; ``shown``: the one that the core map is of."""

    chip: Chip
    demand: Demand
    density: Mapping[str, float]
    plans: Mapping[tuple[PlanName, float], Plan]
    relays: Mapping[float, Plan]
    shown: Plan
    planner: Planner
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> list[Diagnostic]:
        """Why it does not fit; nothing where it does, as far as known."""
        return [f.diagnostic for f in self.findings if f.diagnostic.severity != "warning"]

    @property
    def warnings(self) -> list[Diagnostic]:
        """What the answer rests on."""
        return [f.diagnostic for f in self.findings if f.diagnostic.severity == "warning"]

    @property
    def chips(self) -> int:
        """Chips that the shown plan takes."""
        return max(-(-self.shown.cores // self.chip.cores.count.value), 1)


def fit_program(program: Program, chip: Chip, density: Mapping[str, float], asked: Asked = Asked()) -> Fit:
    """Return how ``program`` fits ``chip``; ``density``: share of codes not 0, by value (1 if unknown)."""
    demand = demand_of(_legal(program), chip.limits.neurons_known.names)
    work = {name: sum(core_us(chip.time, w)) for name, w in work_of(demand, density).items()}
    planner, behind = Planner(chip, demand.layers, work), Planner(chip, demand.relays, work)
    states = _states(chip)
    plans = {(name, state): planner.plan(name, state) for state in states for name in PLANS}
    relays = {state: behind.plan("fewest", state) for state in states}
    least, most = plans["fewest", states[0]], plans["fewest", states[-1]]
    found = findings_of(Case(chip, demand, least, most, relays[states[0]].cores, asked.counts_host))
    shown = plans.get((asked.split, asked.state or states[0])) or planner.plan(asked.split, asked.state)
    return Fit(chip, demand, density, plans, relays, shown, planner, tuple(found))


def _states(chip: Chip) -> list[float]:
    """Return the least and the most words that a neuron can take, once where they are the same or there are none."""
    if not isinstance(chip.memory, WordMemory):
        return [0.0]
    return sorted({chip.memory.state_words.low, chip.memory.state_words.high})


def plan_name(name: PlanName, state: float) -> str:
    """Return what a plan is called: with the words of a neuron, where the chip has such."""
    return f"{name}, {state:g} words" if state else name


def _legal(program: Program) -> Program:
    """Return the Program with its moves folded into connections; nothing is refused here, the rules say all at once."""
    tops = [weight_top(p.map) for s in program.steps if isinstance(s, Population) for p in s.projections]
    bits = max([LEAST_WEIGHT_BITS, *(bits_for(-t, t) for t in tops)])
    everything = Capabilities(
        projections=frozenset({"Dense", "Conv", "SumPool", "Identity", "Gather"}), moves=frozenset(), max_pool=True,
        acc_bits=64, weight_bits=bits, products=frozenset({"Elementwise", "Matmul"}), adaptive=ADAPTIVE,
    )  # fmt: skip
    return legalize(program, "hardware", everything)


def tiles_of(layer: Layer, tiling: Tiling, first_core: int) -> Iterator[tuple[Tile, Grid]]:
    """Yield where each tile of a layer is, and its size on the grid."""
    for core, at in enumerate(itertools.product(*(range(n) for n in tiling.blocks)), first_core):
        start, stop = [0] * len(layer.shape), list(layer.shape)
        size = []
        for axis, k, part, whole in zip(layer.axes, at, tiling.tile, layer.grid, strict=True):
            begin, end = k * part, min((k + 1) * part, whole)
            size.append(end - begin)
            if axis is not None:
                start[axis], stop[axis] = begin, end
        yield Tile(core, tuple(start), tuple(stop)), (size[0], size[1], size[2])


def document(fit: Fit) -> dict[str, Any]:
    """Return everything as JSON has it."""
    placed, cores = _placement(fit)
    return {
        "chip": _chip(fit.chip), "fits": not fit.problems, "findings": [f.as_dict() for f in fit.findings],
        "shown": {"split": fit.shown.name, "state_words": fit.shown.state, "chips": fit.chips},
        "cores": _counts(fit), "layers": _layers(fit), "core_map": cores, "placement": placed,
        "host": [{"name": h.name, "nodes": list(h.nodes), "what": h.what, "neurons": h.neurons,
                  "operations": h.operations} for h in fit.demand.host],
        "estimate": estimate(fit.chip, fit.demand, fit.shown, fit.chips, fit.density),
        "estimates_of_plans": {
            plan_name(name, state): {k: e[k] for k in ("step_us", "samples_per_s", "latency_us")}
            for (name, state), plan in fit.plans.items()
            for e in (estimate(fit.chip, fit.demand, plan, fit.chips, fit.density),)
        },
    }  # fmt: skip


def _chip(chip: Chip) -> dict[str, Any]:
    board = None if chip.board is None else chip.board.name
    return {"name": chip.name, "title": chip.title, "note": chip.note, "board": board, "chips": chip.most_chips,
            "cores": chip.cores.count.value}  # fmt: skip


def _counts(fit: Fit) -> list[dict[str, Any]]:
    """Return cores and chips of every plan, without relays and with them."""
    per_chip = fit.chip.cores.count.value
    return [
        {"split": name, "state_words": state, "cores": plan.cores, "chips": -(-plan.cores // per_chip),
         "relay_cores": fit.relays[state].cores,
         "chips_with_relays": -(-(plan.cores + fit.relays[state].cores) // per_chip),
         "boards": [b.name for b in fit.chip.boards if b.chips.value * per_chip >= plan.cores],
         "unplaced": list(plan.unplaced)}
        for (name, state), plan in fit.plans.items()
    ]  # fmt: skip


def _layers(fit: Fit) -> list[dict[str, Any]]:
    work, time = work_of(fit.demand, fit.density), fit.chip.time
    rows = []
    for layer in fit.demand.layers:
        row: dict[str, Any] = {
            "name": layer.name, "nodes": list(layer.nodes), "neurons": layer.neurons, "grid": list(layer.grid),
            "ladder": layer.ladder, "synops": work[layer.name].synops,
            "links": [{"source": k.source, "kind": k.kind, "bits": k.bits, "delay": k.delay} for k in layer.links],
            "cores_of_plans": {plan_name(n, s): p.tilings[layer.name].cores
                               for (n, s), p in fit.plans.items() if layer.name in p.tilings},
        }  # fmt: skip
        tiling = fit.shown.tilings.get(layer.name)
        if tiling is not None:
            part = work[layer.name].part(share_of(layer, tiling))
            spare = spare_words(fit.chip.memory, layer, tiling.tile) if isinstance(fit.chip.memory, WordMemory) else 0
            row |= {"tile": list(tiling.tile), "cores": tiling.cores, "use": tiling.use, "percent": 100 * tiling.fill}
            row |= {"core_us": core_us(time, part), "synapses_at_most": tiling.use.get("synapses", 0) + spare}
        rows.append(row)
    return rows


def _placement(fit: Fit) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return where the neurons of every layer are, and a row for every core."""
    placed, cores, first = [], [], 0
    work, per_chip = work_of(fit.demand, fit.density), fit.chip.cores.count.value
    for layer in fit.demand.layers:
        tiling = fit.shown.tilings.get(layer.name)
        if tiling is None:
            continue
        found = list(tiles_of(layer, tiling, first))
        sizes = np.array([size for _, size in found])
        by = fit.planner.readers(layer, fit.shown.tilings)
        use = on_cores(fit.chip.memory, layer, (sizes[:, 0], sizes[:, 1], sizes[:, 2]), by, fit.shown.state)
        whole = math.prod(layer.grid)
        placed.append({"name": layer.name, "tiles": [[t.core, list(t.start), list(t.stop)] for t, _ in found]})
        for i, (tile, size) in enumerate(found):
            part = work[layer.name].part(math.prod(size) / whole)
            cores.append({"core": tile.core, "chip": tile.core // per_chip, "layer": layer.name, "tile": list(size),
                          **{k: int(v[i]) for k, v in use.use.items()}, "percent": 100 * float(use.fill[i]),
                          "us": core_us(fit.chip.time, part)})  # fmt: skip
        first += len(found)
    return placed, cores
