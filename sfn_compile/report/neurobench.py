"""NeuroBench's metrics by its own definitions (neurobench 2.3.0), of a Program on samples.

* footprint: bytes of all parameters (weights, thresholds, offsets), each array in the smallest type that holds it;
* connection sparsity: share of weights that are 0, of convolutions and dense maps, to four digits;
* activation sparsity: share of codes that are 0, over all fired layers and samples;
* synaptic operations per sample: pairs of an input and a weight that are both not 0, biases left out; ACs where every
  input of a layer is -1, 0 or 1, else MACs; dense: all pairs.

Yik et al., "The NeuroBench framework", Nature Communications 16, 1545 (2025).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.program_files import smallest_int, to_parts
from ..program.network import Conv, Dense, Population, Program, Readout

Array = NDArray[Any]


def neurobench(program: Program, values: Mapping[str, Array]) -> dict[str, Any]:
    """Return the metrics; ``values``: the codes of every value, inputs included, ``(n, *shape)``."""
    _, arrays = to_parts(program)
    weights = zeros = 0
    operations = {"effective_macs": 0.0, "effective_acs": 0.0, "dense": 0.0}
    active = neurons = 0
    for step in program.steps:
        if not isinstance(step, Population):
            continue
        for projection in step.projections:
            linear = projection.map
            if not isinstance(linear, Conv | Dense):
                continue
            weights, zeros = weights + linear.weight.size, zeros + int((linear.weight == 0).sum())
            x = values[projection.source]
            kind = "effective_acs" if np.isin(x, (-1, 0, 1)).all() else "effective_macs"
            operations[kind] += _pairs(linear, x != 0, linear.weight != 0) / len(x)
            operations["dense"] += _pairs(linear, np.ones_like(x), np.ones_like(linear.weight)) / len(x)
        if not isinstance(step.ladder, Readout):
            active += int(np.count_nonzero(values[step.name]))
            neurons += values[step.name].size
    return {
        "footprint": int(sum(smallest_int(a).nbytes for a in arrays.values())),
        "connection_sparsity": round(zeros / weights, 4) if weights else 0.0,
        "activation_sparsity": (neurons - active) / neurons if neurons else 0.0,
        "synaptic_operations": operations,
    }  # fmt: skip


def _pairs(linear: Conv | Dense, x: Array, weight: Array) -> float:
    """Return how many pairs of an input and a weight, both 1, the samples have."""
    binary = replace(linear, weight=weight.astype(np.int8))
    return float(binary.apply(x.astype(np.int32)).sum(dtype=np.float64))
