"""From levels to corrected integer weights: the passes that make errors smaller, each with what it did to the outputs.

The order: ladders and weights as the methods choose them; the mean error of every channel into its bias; more levels
for the sites whose rounding costs the outputs most, all but a few of which are fired in two digits; weights and biases
learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..calibration.collect import FloatRunner
from ..calibration.statistics import Statistics
from ..foundation.decibel import decibel
from ..foundation.options import Options, SiteOptions
from ..foundation.samples import Samples, part
from ..graph.graph import Graph
from ..graph.macs import macs_of
from ..host.codec import encode_all, prepare_all
from ..learning.descent import Loss, Recipe, Teacher, pieces_of, signal_of
from ..learning.reconstruct import Reconstruct
from ..learning.sensitivity import Way, allotted, errors_at_outputs
from ..learning.student import Student, learnable
from ..passes.mapping.choose_ladders import ChooseLadders
from ..passes.mapping.correct_bias import CorrectBias
from ..passes.mapping.equalize import Equalize
from ..passes.mapping.fold_thresholds import FoldThresholds
from ..passes.mapping.lower import lower
from ..passes.mapping.quantize_weights import QuantizeWeights
from ..passes.mapping.split_digits import Division, SplitDigits, base_for, divisible, levels_in_two_digits
from ..passes.pipeline import run_passes
from ..simulator.run import run_codes

Array = NDArray[Any]
Row = dict[str, Any]

GAUGED = 16  # samples on which the outputs' error is taken before and after each correction
SENSED = 32  # samples on which it is found out which sites deserve more levels
MORE_LEVELS = "its rounding costs the outputs most: more levels for a share of the neurons"
TWO_DIGITS = "first of two digits: its rounding costs the outputs most"


class Gauge:
    """The signal to noise of all outputs together, of integers against the float network, on a few samples."""

    def __init__(self, graph: Graph, runner: FloatRunner, x: Samples):
        self.x = part(x, slice(GAUGED))
        self.names = list(dict.fromkeys(o.value for o in graph.outputs))
        found = [[real[name] for name in self.names] for _, real, _ in runner.stream(self.x)]
        self.want = [np.concatenate(parts).astype(np.float64) for parts in zip(*found, strict=True)]

    def decibel(self, graph: Graph) -> float | None:
        """Return 10 log10(signal / noise) of a graph with integer weights, None where there is no error at all."""
        program = lower(run_passes(graph, (FoldThresholds(),)))
        codes = run_codes(program, encode_all(program, self.x), self.names)
        step = {o.value: o.step for o in program.outputs}
        noise = sum(float(((codes[k] * step[k] - w) ** 2).sum()) for k, w in zip(self.names, self.want, strict=True))
        signal = sum(float((w**2).sum()) for w in self.want)
        return decibel(signal, noise)


@dataclass
class Correction:
    """Runs the corrections that the options ask for; ``rows`` says what each did."""

    graph: Graph
    runner: FloatRunner
    statistics: Mapping[str, Statistics]
    x: Samples
    options: Options
    after: Callable[[str, Graph], None] | None
    progress: Callable[[str, int, int], None]
    gauge: Gauge | None
    rows: list[Row] = field(default_factory=list)
    bases: dict[str, int] = field(default_factory=dict)  # of the sites that are to be fired in two digits

    def run(self) -> Graph:
        """Return the graph with integer weights and corrected biases."""
        stages = self._chosen()
        for (_, before), (name, after) in pairwise(stages.items()):
            self._note(name, before, after)
        graph = stages[CorrectBias.name]
        few, self.bases = self._sites_with_more_levels(graph)
        if few or self.bases:
            before, graph = graph, self._with_more_levels(few)
            self._note("more-levels", before, graph, sites=sorted({*few, *self.bases}))
        elif (self.options.fine_share or self.options.digit_share) and self.gauge is not None:  # asked for: say why not
            unknown = learnable(graph)
            why = f"what {unknown[0]} does to the outputs is not known" if unknown else "no site may have them"
            self.rows.append({"correction": "more-levels", "kept": "before", "reason": why, "sites": []})
        if self.bases:
            graph = self._in_digits(graph)
        return self._learnt(graph) if self.options.reconstructs and self.statistics else graph

    def _chosen(self) -> dict[str, Graph]:
        """Return the graph with the options' ladders and integer weights, and what each correction made of it."""
        options, chosen = self.options, self._pass(ChooseLadders(self.statistics, self.options), self.graph)
        stages = {"plain": self._pass(QuantizeWeights(options), chosen)}
        if options.equalize and self.statistics:
            stages["equalize"] = self._pass(QuantizeWeights(options), self._pass(Equalize(self.statistics), chosen))
        *_, last = stages.values()
        return {**stages, CorrectBias.name: self._pass(CorrectBias(self.runner, self.x), last)}

    def _sites_with_more_levels(self, graph: Graph) -> tuple[list[str], dict[str, int]]:
        """Return the sites that get more levels than asked for in one population, and in two, with their radix."""
        options = self.options
        if not (options.share_of_fine or options.share_of_digits) or learnable(graph) or not self.statistics:
            return [], {}
        student = Student(graph)
        aside = prepare_all(graph, part(self.x, slice(SENSED)))
        teacher = Teacher(self.graph)
        loss = Loss(student, teacher, signal_of(teacher, pieces_of(aside)), 0.0)
        neurons = {s.name: int(np.prod(s.type.shape)) for s in student.sites}
        errors = {k: e for k, e in errors_at_outputs(loss, aside, options.seed).items() if k not in options.sites}
        can = divisible(graph)
        bases = {name: self._base(division) for name, division in can.items()}
        added = {name: division.macs for name, division in can.items() if bases[name] > 1}
        few, two = allotted(errors, Way(neurons, options.share_of_fine * sum(neurons.values())),
                            Way(added, options.share_of_digits * macs_of(graph)))  # fmt: skip
        return few, {name: bases[name] for name in two}

    def _base(self, division: Division) -> int:
        """Return the radix of a site in two digits: the fewest bits of whatever reads them decide."""
        bits = (self.options.at(name).weight_bits for name in division.readers)
        return base_for(self.options.levels, min(self.options.weight_bits, *bits))

    def _with_more_levels(self, few: list[str]) -> Graph:
        """Return the graph with more levels for some sites: for those in two digits where they still can be divided.

        Behind a clip they could not if their levels ended above its bound, where other codes would be fired.
        """
        own = self.options.sites
        more = dict.fromkeys(few, SiteOptions(levels=self.options.more_levels, reason=MORE_LEVELS))
        while True:
            levels = {name: levels_in_two_digits(self.options.levels, base) for name, base in self.bases.items()}
            two = {name: SiteOptions(levels=n, reason=TWO_DIGITS, bounded=True) for name, n in levels.items()}
            self.options = replace(self.options, sites={**own, **more, **two})
            graph = self._chosen()[CorrectBias.name]
            can = divisible(graph, at_these_levels=True)
            if self.bases.keys() <= can.keys():
                return graph
            self.bases = {name: base for name, base in self.bases.items() if name in can}

    def _learnt(self, graph: Graph) -> Graph:
        recipe = Recipe(self.options.epochs, seed=self.options.seed).at_levels(self.options.levels)
        reconstruct = Reconstruct(self.graph, self.options, self.x, recipe, lambda i, n: self.progress("learn", i, n))
        learnt = self._pass(reconstruct, graph)
        self._note("reconstruct", graph, learnt, **reconstruct.found)
        return learnt

    def _in_digits(self, graph: Graph) -> Graph:
        """Return the graph with two populations for sites of more levels, and integers for them."""
        real = replace(graph, invariants=graph.invariants - QuantizeWeights.makes - CorrectBias.makes)
        split = self._pass(SplitDigits(self.bases), real)
        plain = self._pass(QuantizeWeights(self.options), split)
        done = self._pass(CorrectBias(self.runner.of(split), self.x, self.graph), plain)
        self._note("two-digits", graph, done, sites=sorted(self.bases))
        return done

    def _pass(self, one: Any, graph: Graph) -> Graph:
        return run_passes(graph, (one,), after=self.after)

    def _note(self, name: str, before: Graph, after: Graph, **more: Any) -> None:
        if self.gauge is not None:
            errors = {"outputs_db_before": self.gauge.decibel(before), "outputs_db_after": self.gauge.decibel(after)}
            self.rows.append({"correction": name, **errors, **more})
