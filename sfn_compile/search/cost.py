"""What a network costs, counted on its integers: spikes, synaptic operations and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ..graph.macs import macs
from ..program.network import Ladder, MaxPool, Move, Normalization, Population, Program, Readout
from ..program.ranges import bits_for
from ..program.weights import weight_top
from ..report.activity import met

Array = NDArray[Any]


def spikes(program: Program, values: Mapping[str, Array]) -> int:
    """Return the unary spikes of all samples together: a code of k counts k times; the input's codes do not count."""
    return sum(int(np.abs(values[name]).sum(dtype=np.int64)) for name in firing(program))


def firing(program: Program) -> list[str]:
    """Return the values that are spikes of this network: no input, no move of what was fired, no readout."""
    return [
        s.name
        for s in program.steps
        if isinstance(s, Normalization) or (isinstance(s, Population) and not isinstance(s.ladder, Readout))
    ]


def synops(program: Program, values: Mapping[str, Array]) -> float:
    """Return the synaptic operations of all samples together, as ``totals.synops`` of the report counts them."""
    info, total = program.values(), 0.0
    density = {name: np.count_nonzero(codes) / codes.size for name, codes in values.items()}
    for step in program.steps:
        if isinstance(step, Population):
            total += sum(macs(p.map, info[p.source]) * density[p.source] for p in step.projections)
            total += sum(met(values[q.left], values[q.right], q.form)[0] for q in step.products)
        elif isinstance(step, Normalization):
            total += 3 * int(np.prod(step.shape))
        elif not isinstance(step, MaxPool | Move):
            assert_never(step)
    return float(total * len(next(iter(values.values()))))


def memory(program: Program) -> int:
    """Return the bits of all weights and thresholds, each in the width that the largest of its array needs."""
    total = 0
    for step in program.steps:
        if isinstance(step, Population | Normalization):
            products = step.products if isinstance(step, Population) else ()
            forms = [*(p.map for p in step.projections), *(q.form for q in products)]
            total += sum(f.weight.size * bits_for(-weight_top(f), weight_top(f)) for f in forms)
            total += _ladder_bits(step.ladder)
    return total


def _ladder_bits(ladder: Ladder) -> int:
    arrays = [np.asarray(getattr(ladder, f.name)) for f in fields(ladder)]
    return sum(a.size * bits_for(int(a.min()), int(a.max())) for a in arrays if a.ndim and a.size)
