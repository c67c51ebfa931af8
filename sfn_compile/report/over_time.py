"""What ``report.json`` says of a network over time: spikes, counts beside the codes of one timestep, quiet, energy.

Everything is counted on samples. Prices are those of :mod:`.energy`; what time adds is a row of its own: the potential
of every neuron is read and written in every step, and compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log2, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.samples import Samples, n_samples, part, summed
from ..host.codec import encode_all
from ..program.network import Population, Program, ValueInfo
from ..program.ranges import charge_range
from ..program.signals import kinds_of
from ..simulator.run import run_codes
from ..simulator.run_clock import after_step
from .activity import Activity, Counter
from .energy import CONSTANTS, addition, multiply_accumulate
from .fanout import fan_out

Array = NDArray[Any]
AT_A_TIME = 4
RASTER_NEURONS = 48  # of a layer, evenly spaced


@dataclass
class _Layer:
    """Sums over samples of one paced value; steps count from 1."""

    counter: Counter
    spikes: Array
    taken_back: int = 0
    differ_window: int = 0
    differ_end: int = 0
    last: int = 0
    n: int = 0

    def add(self, emitted: Array, window: Array, end: Array, codes: Array) -> None:
        n, steps = emitted.shape[:2]
        self.counter.add(emitted.reshape(n * steps, *emitted.shape[2:]))
        per_step = np.abs(emitted).reshape(n, steps, -1).sum(axis=(0, 2))
        self.spikes += per_step
        self.taken_back += int(-emitted[emitted < 0].sum())
        self.differ_window += int((window != codes).sum())
        self.differ_end += int((end != codes).sum())
        self.last = max([self.last, *(np.flatnonzero(per_step) + 1).tolist()])
        self.n += n


def measured(program: Program, rows: Sequence[Mapping[str, Any]], energy: Mapping[str, Any], x: Samples) -> Any:
    """Return the section ``time`` of the report, measured on ``x``; ``rows``, ``energy``: those of one timestep."""
    clock = program.clock
    assert clock is not None
    layers, seen = _counted(program, x), {}
    for step in program.populations():
        seen[step.name] = charge_range(step, program, program.values())
    priced = {row["name"]: row for row in energy["layers"]}
    found = []
    for row in rows:
        name = row["name"]
        if name in clock.pace and name in priced:
            found.append(
                {"name": name, **_row(name, program, layers, seen), **_priced(row, priced[name], program, layers)}
            )
    return {
        "timesteps": clock.timesteps, "settle": clock.settle, "samples": n_samples(x), "layers": found,
        "totals": _totals(found), "raster": _raster(program, part(x, slice(1))),
    }  # fmt: skip


def _counted(program: Program, x: Samples) -> dict[str, _Layer]:
    clock, info = program.clock, program.values()
    assert clock is not None
    fans: dict[str, dict[Any, Array]] = {name: {} for name in info}
    for step in program.populations():
        for i, p in enumerate(step.projections):
            fans[p.source][step.name, i] = fan_out(p.map, info[p.source].shape)
    kinds = kinds_of(program)
    sent = [name for name, k in kinds.items() if k.sent and k.told and not k.total]
    layers = {name: _Layer(Counter(_emitted(info[name]), fans[name]), np.zeros(clock.steps, np.int64)) for name in sent}
    once = program.at_once()
    for start in range(0, n_samples(x), AT_A_TIME):
        some = part(x, slice(start, start + AT_A_TIME))
        values = run_codes(program, encode_all(program, some))
        codes = run_codes(once, encode_all(once, some if program.frames is None else summed(some)))
        window, end = after_step(program, values, clock.timesteps), after_step(program, values)
        for name, layer in layers.items():
            emitted = values[name]
            if emitted.shape[1] < clock.steps:  # frames
                emitted = np.pad(emitted, ((0, 0), (0, clock.settle), *(((0, 0),) * (emitted.ndim - 2))))
            layer.add(emitted, window[name], end[name], codes[name])
    return layers


def _emitted(info: ValueInfo) -> ValueInfo:
    span = info.hi - min(info.lo, 0)
    return ValueInfo(info.shape, -span, span)


def _row(name: str, program: Program, layers: Mapping[str, _Layer], ranges: Mapping[str, Any]) -> dict[str, Any]:
    clock, info = program.clock, program.values()
    assert clock is not None
    pace, layer = clock.pace[name], layers.get(name)
    neurons = prod(info[name].shape)
    row: dict[str, Any] = {"least": pace.least, "most": pace.most, "start": pace.start, "neurons": neurons,
                           "charge": list(ranges[name]) if name in ranges else None}  # fmt: skip
    if layer is None:  # a readout
        return row
    n = max(layer.n, 1)
    return row | {
        "spikes": float(layer.spikes.sum()) / n, "spikes_per_step": [float(v) / n for v in layer.spikes],
        "events": layer.counter.neurons().events * clock.steps, "taken_back": layer.taken_back / n,
        "differ_after_window": layer.differ_window / (n * neurons), "differ_at_end": layer.differ_end / (n * neurons),
        "quiet_after": layer.last,
    }  # fmt: skip


def _priced(row: Mapping[str, Any], once: Mapping[str, Any], program: Program, layers: Mapping[str, _Layer]) -> Any:
    """Return what passes the synapses of a layer over all steps and what that costs, in pJ; integers only."""
    clock = program.clock
    assert clock is not None
    passed, multiplied = Activity(), 0.0
    step = next(s for s in program.steps if s.name == row["name"])
    bits, neurons = row["acc_bits"], prod(row["shape"])
    for i, p in enumerate(step.projections if isinstance(step, Population) else ()):
        layer = layers.get(p.source)
        if layer is not None and p.source not in {e.value for e in program.inputs}:
            one = layer.counter.synapses((step.name, i))
            one = Activity(*(v * clock.steps for v in (one.events, one.spikes, one.set_bits)))
            passed += one
            pace = clock.pace.get(p.source)
            units = 1 if pace is None else pace.most - pace.least + 1
            spike_bits = max(1, ceil(log2(units + 1)))
            multiplied += one.events * multiply_accumulate(row["projections"][i]["weight_bits"], spike_bits, bits)
    # At one timestep, without what events cost: the first layer's multiplications and one search of the ladder.
    search = once["compares_search"] * addition(bits)
    dense = once["integer"]["E1"] - once["events"] * addition(bits) - search
    always = dense + search * clock.steps
    counts = {"E1": passed.events, "E2": passed.spikes, "E3": passed.set_bits}
    integer = {name: always + n * addition(bits) for name, n in counts.items()} | {"E4": always + multiplied}
    state = 2 * neurons * clock.steps
    return {"synapses_passed": passed.as_dict(), "integer": integer, "state_accesses": state,
            "state": state * bits * CONSTANTS["sram_bit"][0], "at_once": dict(once["integer"]),
            "at_once_events": once["events"]}  # fmt: skip


def _totals(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    said = [r for r in rows if "spikes" in r]
    neurons = max(sum(r["neurons"] for r in said), 1)
    return {
        **{k: sum(r[k] for r in said) for k in ("spikes", "events", "taken_back")},
        **{k: sum(r[k] * r["neurons"] for r in said) / neurons for k in ("differ_after_window", "differ_at_end")},
        "quiet_after": max((r["quiet_after"] for r in said), default=0),
        "synaptic_events": sum(r["synapses_passed"]["events"] for r in rows),
        "synaptic_events_at_once": sum(r["at_once_events"] for r in rows),
        "integer": {k: sum(r["integer"][k] for r in rows) for k in ("E1", "E2", "E3", "E4")},
        "at_once": {k: sum(r["at_once"][k] for r in rows) for k in ("E1", "E2", "E3", "E4")},
        "state_accesses": sum(r["state_accesses"] for r in rows), "state": sum(r["state"] for r in rows),
    }  # fmt: skip


def _raster(program: Program, x: Samples) -> dict[str, Any]:
    """Return the spikes of the first sample: per layer the units of some neurons, ``[step, neuron, units]``."""
    clock = program.clock
    assert clock is not None
    fires = [p.name for p in clock.paces if p.most]
    values = run_codes(program, encode_all(program, x), fires)
    found = []
    for name in fires:
        flat = values[name][0].reshape(clock.steps, -1)
        chosen = np.unique(np.linspace(0, flat.shape[1] - 1, min(RASTER_NEURONS, flat.shape[1])).astype(int))
        some = flat[:, chosen]
        found.append({"name": name, "neurons": len(chosen), "of": flat.shape[1],
                      "units": [[int(t) + 1, int(i), int(some[t, i])] for t, i in np.argwhere(some)]})  # fmt: skip
    return {"steps": clock.steps, "window": clock.timesteps, "layers": found}
