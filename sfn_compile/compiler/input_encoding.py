"""How the inputs of a network are encoded, decided on the samples that calibrate it; or as a Program says it."""

from __future__ import annotations

import numpy as np

from ..calibration.input_survey import survey
from ..foundation.options import Options
from ..foundation.samples import Samples
from ..graph.graph import Graph
from ..passes.mapping.encode_inputs import EncodeInputs, with_offset
from ..passes.mapping.input_axes import separate_axes
from ..passes.pipeline import run_passes
from ..program.network import Program
from .draft import After


def with_encoders(graph: Graph, x: Samples, options: Options, after: After | None = None) -> Graph:
    """Return a graph of Layers with the encoders that serve samples ``x`` best."""
    chosen = [i for i in graph.inputs if i.levels is None and not i.whole]
    by_grid = options.input_levels is None
    seen = {i.name: survey(i, x[i.model_name], separate_axes(graph, i), by_grid) for i in chosen}
    return run_passes(graph, (EncodeInputs(seen, options),), after=after)


def encoded_as(graph: Graph, program: Program) -> Graph:
    """Return a graph of Layers with the offsets that the encoders of a Program subtract."""
    encoders = {e.value: e for e in program.inputs}
    for source in graph.inputs:
        host = encoders[source.name].host if source.name in encoders else ()
        if len(host) == len(source.host) + 1:
            found = with_offset(graph, source.name, -np.asarray(dict(host[-1].args)["bias"]))
            graph = graph if found is None else found
    return graph
