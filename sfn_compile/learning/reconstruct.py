"""reconstruct: weights and biases are learnt so that the network with rounding computes what the float one does.

Post-training and without labels: the float network is the teacher, on the calibration samples. Layer by layer rounding
to nearest is blind to what the layers behind make of its error; here all layers are moved together, through their
rounding (reconstruction as in BRECQ, Li et al., arXiv 2102.05426, with the whole network as the block). It starts from
weights that are rounded with feedback, Layer by Layer; those of fewer than 8 bits are fitted so and not learnt. One
sample in eight is kept aside; what is best on these is kept, the network as it was included.

The pass stands last, behind correct-bias and split-digits. Integer thresholds stay as quantize-weights chose them;
integer weights and proved ranges are made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..foundation.options import Options
from ..foundation.samples import Samples, n_samples
from ..graph.graph import Graph
from ..host.codec import prepare_all
from ..passes.mapping.quantize_weights import QuantizeWeights
from ..program.ranges import largest
from .descent import FINEST, Loss, Recipe, Teacher, error_of, learn, pieces_of, signal_of
from .refit import refit, samples_for
from .student import Student, learnable
from .weight_grid import grid_of, with_integers

Array = NDArray[Any]

KEPT_ASIDE = 8  # one sample in so many
FEWEST = 64  # samples; with fewer, what is learnt is the samples


@dataclass(frozen=True, eq=False)
class Reconstruct:
    """Learns from the samples ``x``. ``origin`` is the graph with the float network's own weights and biases."""

    origin: Graph
    options: Options
    x: Samples
    recipe: Recipe
    progress: Callable[[int, int], None]
    found: dict[str, Any] = field(default_factory=dict, init=False)  # what the report says of this run

    name: ClassVar[str] = "reconstruct"
    needs: ClassVar[frozenset[str]] = frozenset({"bias-corrected"})
    makes: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = False

    def run(self, graph: Graph) -> Graph:
        """Return the graph with learnt numbers, integer weights included; the same graph where nothing was gained."""
        why = self._why_not(graph)
        if why:
            self.found.update(kept="before", reason=why)
            return graph
        student = Student(graph)
        start, prepared = student.parameters(), prepare_all(graph, self.x)
        aside, rest = _split(prepared)
        teacher = Teacher(self.origin)
        loss = Loss(student, teacher, signal_of(teacher, pieces_of(aside)), self.recipe.sites)
        grid = grid_of(graph, lambda site: largest(self.options.at(site).weight_bits))
        tried = {"before": start}
        few = {k: v[: samples_for(student, len(v))] for k, v in rest.items()}
        tried["fitted"] = refit(student, start, teacher, grid, few)
        errors = {name: error_of(loss, at, grid, aside) for name, at in tried.items()}
        if any(grid.top[site] >= FINEST for site, _ in start.weights):
            best = tried[min(errors, key=errors.__getitem__)]
            learnt = learn(student, best, loss, rest, self.recipe, grid, self.progress)
            tried["learnt"] = refit(student, learnt, teacher, grid, few, weights=False)
            errors["learnt"] = error_of(loss, tried["learnt"], grid, aside)
        kept = min(errors, key=errors.__getitem__)
        self.found.update({"kept": kept, "samples": n_samples(self.x), "kept_aside": len(next(iter(aside.values())))})
        self.found.update({f"error_{name}": error for name, error in errors.items()})
        if kept == "before":
            self.found["reason"] = "the network did not get better on the samples kept aside"
            return graph
        done = with_integers(student, tried[kept], grid, self.options.acc_bits)
        if done is None:  # learnt weights grew beyond what the proved accumulators hold: coarser weights are chosen
            self.found["reason"] = "integers were chosen anew so that accumulators fit"
            return QuantizeWeights(self.options).run(student.with_parameters(tried[kept]))
        return done

    def _why_not(self, graph: Graph) -> str:
        unknown = learnable(graph)
        if unknown:
            return f"{unknown[0]} and {len(unknown) - 1} more cannot be learnt through" if unknown[1:] else (
                f"{unknown[0]} cannot be learnt through")  # fmt: skip
        if n_samples(self.x) < FEWEST:
            return f"{n_samples(self.x)} samples are too few; {FEWEST} are needed"
        return ""


def _split(x: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return every eighth sample, and all others."""
    n = len(next(iter(x.values())))
    aside = np.arange(n) % KEPT_ASIDE == 0
    return {k: v[aside] for k, v in x.items()}, {k: v[~aside] for k, v in x.items()}
