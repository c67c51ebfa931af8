"""What a run will cost, from the manifest alone: the choice between the whole network and one layer at a time.

Measured on two 2.x GHz cores: Lava's Conv makes one SciPy call per pair of input and output channels, which takes
6 us and 2.6 ns per multiply-add; a Lava process takes 20 ms to start and 0.3 ms per time step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

PAIR_SECONDS, MAC_SECONDS = 6e-6, 2.6e-9
START_SECONDS, STEP_SECONDS = 0.02, 3e-4
MAX_PROCESSES = 200

Json = Mapping[str, Any]


def whole_seconds(manifest: Json, n_samples: int) -> float:
    """Return the predicted seconds of the whole network on ``n_samples``; infinite where it has too many processes."""
    n = n_processes(manifest)
    if n > MAX_PROCESSES:
        return math.inf
    work = sum(layer_seconds(layer, manifest) for layer in manifest["layers"])
    clock = manifest.get("clock")
    if clock:
        n_samples *= int(clock["timesteps"]) + int(clock["settle"])
    return n * START_SECONDS + (n_samples + int(manifest["latency"])) * (work + n * STEP_SECONDS)


def layer_seconds(layer: Json, manifest: Json) -> float:
    """Return the predicted seconds per time step that the connections of ``layer`` compute."""
    return sum(_conv_seconds(c, manifest) for c in layer.get("connections", ()) if c["process"] == "Conv")


def n_processes(manifest: Json) -> int:
    """Return the number of Lava processes of the whole network: connections, neurons, delays, sinks and sources."""
    count = len(manifest["inputs"])
    for layer in manifest["layers"]:
        count += 0 if layer["kind"] == "flatten" else 2
        count += sum(1 + int(c["delay"]) for c in layer.get("connections", ()))
        count += sum(1 + sum(p["delays"]) for p in layer.get("products", ()))
        count += 1 + int(layer["norm"]["delay"]) if layer.get("norm") else 0
        count += sum(int(read["delay"]) for read in layer.get("sources", ()))
    return count


def _conv_seconds(connection: Json, manifest: Json) -> float:
    """SciPy convolves at stride 1 over the padded map, once per pair of channels."""
    out_channels, *kernel, in_channels = connection["weight_size"]
    space = connection["source_shape"][1:]
    space = [1, *space] if len(space) == 1 else space
    margins = zip(reversed(space), connection["padding"], kernel, connection["dilation"], strict=True)
    spans = [(x + 2 * p - d * (k - 1), d * (k - 1) + 1) for x, p, k, d in margins]
    macs = math.prod(positions * taps for positions, taps in spans)
    return float(out_channels * in_channels * (PAIR_SECONDS + macs * MAC_SECONDS))
