"""How long a step lasts and what a sample costs: ranges, each end with its source in the chip's file.

The busiest core rules the step. Activity is what the report counted (the share of codes that are not 0, on average over
its samples), or every code at once, which no sample passes. Energy is four lines, never one number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .chip import Chip, Figure, Time
from .demand import Demand, Layer
from .plan import Plan
from .tilings import Tiling

NOT_MODELLED = (
    "input and output of the chip", "contention in its network", "the power of the board",
    "whether graded payloads cost more than spikes", "memory and time of delays", "the neuron's microcode",
)  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What a layer, or a part of one, does per sample."""

    synops: float
    neurons: float
    events: float

    def part(self, share: float) -> Work:
        """Return that of a share of the layer."""
        return Work(self.synops * share, self.neurons * share, self.events * share)


@dataclass(frozen=True)
class Step:
    """The time of a step in microseconds, low and high, and the layer whose core takes longest (at the high end)."""

    low: float
    high: float
    layer: str
    core_synops: float
    floor: bool  # whether the chip's own least time is more


def work_of(demand: Demand, density: Mapping[str, float]) -> dict[str, Work]:
    """Return the work of every layer; ``density``: share of codes that are not 0, by value, 1 where unknown."""
    return {
        layer.name: Work(sum(k.macs * density.get(k.source, 1.0) for k in layer.links), layer.neurons,
                         layer.neurons * (0.0 if layer.ladder == "Readout" else density.get(layer.name, 1.0)))
        for layer in (*demand.layers, *demand.relays)
    }  # fmt: skip


def core_us(time: Time, work: Work) -> tuple[float, float]:
    """Return the time that a core takes for its work, in microseconds."""
    terms = ((time.synop_ns, work.synops), (time.neuron_ns, work.neurons), (time.event_out_ns, work.events))
    return sum(f.low * n for f, n in terms) / 1000, sum(f.high * n for f, n in terms) / 1000


def share_of(layer: Layer, tiling: Tiling) -> float:
    """Return the share of a layer that its fullest core holds."""
    return math.prod(tiling.tile) / max(math.prod(layer.grid), 1)


def step_of(chip: Chip, demand: Demand, plan: Plan, work: Mapping[str, Work]) -> Step:
    """Return the time of a step of a plan."""
    time = chip.time
    cores = [
        (*core_us(time, part), layer.name, part.synops)
        for layer in demand.layers if layer.name in plan.tilings
        for part in (work[layer.name].part(share_of(layer, plan.tilings[layer.name])),)
    ]  # fmt: skip
    low = max((c[0] for c in cores), default=0.0) + time.barrier_us.low
    busiest = max(cores, key=lambda c: c[1], default=(0.0, 0.0, "", 0.0))
    high = busiest[1] + time.barrier_us.high
    is_floor = high < time.floor_us.high
    return Step(max(low, time.floor_us.low), max(high, time.floor_us.high), busiest[2], busiest[3], is_floor)


def estimate(chip: Chip, demand: Demand, plan: Plan, chips: int, density: Mapping[str, float]) -> dict[str, Any]:
    """Return what is said of time and energy, for JSON."""
    work = work_of(demand, density)
    step = step_of(chip, demand, plan, work)
    full = step_of(chip, demand, plan, work_of(demand, {}))
    synops = demand.steps * sum(work[layer.name].synops for layer in demand.layers)
    depth, steps = max(demand.depth + demand.steps - 1, 1), demand.steps
    return {
        "step_us": [step.low, step.high], "step_us_if_all_fire": [full.low, full.high], "is_floor": step.floor,
        "busiest": step.layer, "busiest_synops": step.core_synops,
        "latency_steps": depth, "latency_us": [depth * step.low, depth * step.high],
        "samples_per_s": [1e6 / step.high / steps, 1e6 / step.low / steps],
        "synops": synops, "energy": _energy(chip, synops, step, chips, (steps, depth)),
        "not_modelled": list(NOT_MODELLED),
    }  # fmt: skip


def _energy(chip: Chip, synops: float, step: Step, chips: int, lasts: tuple[int, int]) -> list[dict[str, Any]]:
    """Return four lines in microjoule a sample, each with its boundary and source.

    ``lasts``: steps between two samples, and of a sample alone.
    """
    price, (steps, depth) = chip.energy, lasts
    static = [chips * price.static_w.low * step.low, chips * price.static_w.high * step.high]
    return [
        _line("dynamic, low", [synops * price.synop_low_pj.low / 1e6] * 2, "synaptic operations", price.synop_low_pj),
        _line("dynamic, high", [synops * price.synop_high_pj.high / 1e6] * 2, "synaptic operations",
              price.synop_high_pj),
        _line("static, one sample behind the other", [s * steps for s in static],
              f"power of {chips} chip(s) for {steps} step(s)", price.static_w),
        _line("static, one sample at a time", [s * depth for s in static],
              f"power of {chips} chip(s) for {depth} step(s)", price.static_w),
    ]  # fmt: skip


def _line(name: str, uj: list[float], boundary: str, figure: Figure) -> dict[str, Any]:
    said = {"boundary": f"{boundary}; input, output and board not included", "source": figure.source}
    return {"name": name, "uj": uj, **said, "confidence": figure.confidence}
