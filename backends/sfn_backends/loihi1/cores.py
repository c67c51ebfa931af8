"""Layers cut into shards, a shard a core: no core passes what nengo-loihi allows, and few cores are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sfn_backends.loihi1.network import Layer, Network, Wire, held_name
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.targets.backend import Placed, Placement, Shard

COMPARTMENTS, AXONS_IN, AXONS_OUT, SYNAPSE_BITS = 1024, 4096, 4096, 16384 * 64  # nengo-loihi 1.1.0, block.py
WEIGHT_BITS, HEADER_BITS, HEADER_WEIGHTS, WORD = 8, 10, 64, 64
INDEX_BITS = (6, 7, 8, 9, 10, 11, 12)
GROWTH = 1.15  # of the number of shards, where one does not fit
Cut = tuple[int, int]


@dataclass(frozen=True)
class Use:
    """What a shard takes of a core."""

    compartments: int
    axons_in: int
    axons_out: int
    synapse_bits: int

    @property
    def over(self) -> str:
        """What it has too much of, "" where it fits."""
        limits = {"compartments": COMPARTMENTS, "axons_in": AXONS_IN, "axons_out": AXONS_OUT,
                  "synapse_bits": SYNAPSE_BITS}  # fmt: skip
        found = {k: (getattr(self, k), n) for k, n in limits.items() if getattr(self, k) > n}
        return ", ".join(f"{has:,} {k.replace('_', ' ')} (of {n:,})" for k, (has, n) in found.items())


def place(network: Network, most: int) -> Placement:
    """Return where the layers of the Program stand; what holds values back stands behind them.

    Raises SFN402 where a neuron alone passes a core, or all layers ``most`` cores.
    """
    cuts = cuts_of(network)
    used = sum(len(c) for c in cuts.values())
    if used > most:
        raise fail("SFN402", f"the network needs {used} cores, {most} may be used", fix="fewer --levels (each is a "
                   "compartment of a neuron), --input-levels 15, a smaller network, or "
                   f"--target-option loihi1.cores={used}: several chips")  # fmt: skip
    core, placed = 0, []
    names = {step.name for step in network.steps()}
    for layer in network.layers:
        if layer.name in names:
            shards = tuple(Shard(core + i, a, b) for i, (a, b) in enumerate(cuts[layer.name]))
            placed.append(Placed(layer.name, shards))
            core += len(shards)
    return Placement(tuple(placed))


def cuts_of(network: Network) -> dict[str, list[Cut]]:
    """Return the shards of every layer by its name. Raises SFN402 where a neuron alone passes a core."""
    cuts: dict[str, list[Cut]] = {}
    for layer in sorted(network.layers, key=lambda x: -x.depth):  # readers first: what a shard sends depends on them
        cuts[layer.name] = _cut(layer, _readers(network, layer, cuts))
    return cuts


def _readers(network: Network, layer: Layer, cuts: dict[str, list[Cut]]) -> list[tuple[Wire, list[Cut]]]:
    """Return the wires that read a layer, which may be held back, with the shards of their layers."""
    return [
        (wire, cuts[reader.name])
        for reader in network.layers for wire in reader.wires
        if held_name(wire.source, wire.delay) == layer.name
    ]  # fmt: skip


def _cut(layer: Layer, readers: Sequence[tuple[Wire, list[Cut]]]) -> list[Cut]:
    """Return the fewest equal shards found that fit. Raises SFN402 where one neuron alone does not."""
    n = layer.neurons
    sent = _sent(layer, readers)
    parts = max(-(-n * layer.levels // COMPARTMENTS), 1)
    while True:
        size = -(-n // parts)
        cuts = [(a, min(a + size, n)) for a in range(0, n, size)]
        over = next((o for a, b in cuts if (o := use(layer, a, b, sent).over)), "")
        if not over:
            return cuts
        if size == 1:
            raise fail("SFN402", f"one neuron of {layer.name} needs more than a core has: {over}", layer.name,
                       "fewer --levels or --input-levels, or fewer inputs of this layer")  # fmt: skip
        parts = min(max(parts + 1, int(parts * GROWTH)), n)


def _sent(layer: Layer, readers: Sequence[tuple[Wire, list[Cut]]]) -> np.ndarray:
    """Return the cores that each neuron sends to, by wire."""
    sent = np.zeros(layer.neurons, np.int64)
    for wire, cuts in readers:
        for a, b in cuts:
            sent[np.unique(wire.found.between(a, b).source)] += 1
    return sent


def use(layer: Layer, start: int, stop: int, sent: np.ndarray) -> Use:
    """Return what the neurons ``start`` to ``stop`` take; ``sent``: cores that each neuron of the layer sends to."""
    axons = bits = 0
    for wire in layer.wires:
        read, fan = np.unique(wire.found.between(start, stop).source, return_counts=True)
        lists = 1 if wire.kind == "all" else wire.lines  # of each source
        size = 1 if wire.kind == "level" else layer.levels  # compartments of a target in a list
        axons += len(read) * wire.lines
        bits += lists * int(list_bits(fan * size, wire.dense, (stop - start) * layer.levels).sum())
    return Use((stop - start) * layer.levels, axons, int(sent[start:stop].sum()) * layer.levels, bits)


def list_bits(weights: np.ndarray, is_dense: bool, compartments: int) -> np.ndarray:
    """Return the bits of lists of so many weights: a header for 64 of them, each block rounded up to a word.

    A list that is not the whole of a core holds an index beside each weight.
    """
    index = 0 if is_dense else next(b for b in INDEX_BITS if (1 << b) >= compartments)
    full, rest = np.divmod(weights, HEADER_WEIGHTS)
    return full * _words(HEADER_WEIGHTS, index) + np.where(rest > 0, _words(rest, index), 0)


def _words(weights: np.ndarray | int, index: int) -> np.ndarray | int:
    return -(-(weights * (WEIGHT_BITS + index) + HEADER_BITS) // WORD) * WORD
