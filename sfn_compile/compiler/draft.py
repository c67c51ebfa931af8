"""A mapping on its way: what every correction may use, and the network with integer weights that it starts from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..calibration.collect import FloatRunner
from ..calibration.statistics import Statistics
from ..foundation.options import Options
from ..foundation.samples import Samples
from ..graph.graph import Graph
from ..passes.base import Pass
from ..passes.mapping.choose_ladders import ChooseLadders
from ..passes.mapping.decisions import NO_DECISIONS, Decisions
from ..passes.mapping.quantize_weights import QuantizeWeights
from ..passes.pipeline import run_passes

After = Callable[[str, Graph], None]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Work:
    """What is given. ``origin``: the Layers with the float network's own numbers; ``x``: the calibration samples.

    ``statistics`` are empty where the model states all levels itself. ``after`` is called behind every pass.
    """

    origin: Graph
    runner: FloatRunner
    statistics: Mapping[str, Statistics]
    x: Samples
    options: Options
    after: After | None
    progress: Progress

    def run(self, graph: Graph, *passes: Pass) -> Graph:
        """Return the graph after some passes."""
        return run_passes(graph, passes, after=self.after)


@dataclass(frozen=True, eq=False)
class Draft:
    """A network with integer weights, ``graph``, and what it was made of.

    ``chosen``: with levels and real weights, as they were before any integer; ``decisions``: the compiler's own.
    """

    chosen: Graph
    graph: Graph
    decisions: Decisions


def first_draft(work: Work, decisions: Decisions = NO_DECISIONS) -> Draft:
    """Return levels as the methods choose them, and integer weights. Raises SFN401, SFN605."""
    chosen = work.run(work.origin, ChooseLadders(work.statistics, work.options, decisions))
    return Draft(chosen, work.run(chosen, QuantizeWeights(work.options)), decisions)
