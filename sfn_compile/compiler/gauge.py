"""The error of the outputs on a few samples: before and after each correction, for the report."""

from __future__ import annotations

import numpy as np

from ..calibration.collect import FloatRunner
from ..foundation.decibel import decibel, varying
from ..foundation.samples import Samples, part
from ..graph.graph import Graph
from ..host.codec import encode_all
from ..passes.mapping.fold_thresholds import FoldThresholds
from ..passes.mapping.lower import lower
from ..passes.pipeline import run_passes
from ..simulator.run import run_codes

GAUGED = 16  # samples


class Gauge:
    """The signal to noise of all outputs together, of integers against the float network, on a few samples."""

    def __init__(self, graph: Graph, runner: FloatRunner, x: Samples):
        self.x = part(x, slice(GAUGED))
        self.names = graph.decoded()
        found = [[real[name] for name in self.names] for _, real, _ in runner.stream(self.x)]
        self.want = [np.concatenate(parts).astype(np.float64) for parts in zip(*found, strict=True)]
        self.signal = sum(varying([w]) for w in self.want)

    def decibel(self, graph: Graph) -> float | None:
        """Return 10 log10(signal / noise) of a graph with integer weights, None where there is no error at all."""
        program = lower(run_passes(graph, (FoldThresholds(),)))
        codes = run_codes(program, encode_all(program, self.x), self.names)
        step = {p.value: p.step for o in program.outputs for p in o.parts}
        noise = sum(float(((codes[k] * step[k] - w) ** 2).sum()) for k, w in zip(self.names, self.want, strict=True))
        return decibel(self.signal, noise)
