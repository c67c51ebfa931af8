"""reconstruct: weights and biases are learnt so that the network with rounding computes what the float one does.

Post-training and without labels: the float network is the teacher, on the calibration samples. Layer by layer rounding
to nearest is blind to what the layers behind make of its error; here all layers are moved together, through their
rounding (reconstruction as in BRECQ, Li et al., arXiv 2102.05426, with the whole network as the block). It starts from
weights that are rounded with feedback, Layer by Layer; those of fewer than 8 bits are fitted so and not learnt. One
sample in eight is kept aside; what is best on these is kept, the network as it was included.

The pass is last, behind correct-bias and split-digits. Integer thresholds stay as quantize-weights chose them;
integer weights and proved ranges are made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..foundation.options import Options
from ..foundation.samples import Samples, n_samples
from ..graph.graph import Graph
from ..host.codec import prepare_all
from ..passes.base import INTEGERS, PassResult
from ..passes.mapping.quantize_weights import QuantizeWeights
from ..program.ranges import largest
from .descent import FINEST, Loss, Recipe, Teacher, error_of, learn, pieces_of, signal_of
from .refit import refit, samples_for
from .student import Parameters, Student, learnable
from .weight_grid import Grid, grid_of, with_integers

Array = NDArray[Any]

KEPT_ASIDE = 8  # one sample in so many
FEWEST = 64  # samples; with fewer, what is learnt is the samples
NO_BETTER = "the network did not get better on the samples kept aside"
CHOSEN_ANEW = "integers were chosen anew so that accumulators fit"


@dataclass(frozen=True, eq=False)
class Learnt:
    """What became of the weights: which were ``kept``, "before", "fitted" or "learnt", and why where that is not plain.

    ``errors``: of the outputs on the samples that were ``kept_aside``, of all that were tried; empty where nothing was.
    """

    kept: str
    reason: str = ""
    samples: int = 0
    kept_aside: int = 0
    errors: Mapping[str, float] = field(default_factory=dict)

    proves: ClassVar[str] = ""

    def row(self) -> dict[str, Any]:
        """Return it as JSON."""
        tried = {"samples": self.samples, "kept_aside": self.kept_aside} if self.errors else {}
        errors = {f"error_{name}": error for name, error in self.errors.items()}
        return {"kept": self.kept, **tried, **errors, **({"reason": self.reason} if self.reason else {})}


@dataclass(frozen=True, eq=False)
class Reconstruct:
    """Learns from the samples ``x``. ``origin`` is the graph with the float network's own weights and biases."""

    origin: Graph
    options: Options
    x: Samples
    recipe: Recipe
    progress: Callable[[int, int], None]

    name: ClassVar[str] = "reconstruct"
    needs: ClassVar[frozenset[str]] = frozenset({"bias-corrected"})
    makes: ClassVar[frozenset[str]] = frozenset()
    breaks: ClassVar[frozenset[str]] = INTEGERS - {"weights-integer"}
    exact: ClassVar[bool] = False

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with learnt numbers, integer weights included; the same graph where nothing was gained."""
        why = self._why_not(graph)
        if why:
            return PassResult(graph, (Learnt("before", why),))
        student = Student(graph)
        aside, rest = _split(prepare_all(graph, self.x))
        grid = grid_of(graph, lambda site: largest(self.options.at(site).weight_bits))
        tried, errors = self._tried(student, grid, aside, rest)
        kept = min(errors, key=errors.__getitem__)
        found = Learnt(kept, "", n_samples(self.x), len(next(iter(aside.values()))), errors)
        if kept == "before":
            return PassResult(graph, (replace(found, reason=NO_BETTER),))
        done = with_integers(student, tried[kept], grid, self.options.acc_bits)
        if done is not None:
            return PassResult(done, (found,))
        # Learnt weights grew beyond what the proved accumulators hold: coarser weights are chosen.
        again = QuantizeWeights(self.options).run(student.with_parameters(tried[kept]))
        return PassResult(again.graph, (replace(found, reason=CHOSEN_ANEW),))

    def _tried(
        self, student: Student, grid: Grid, aside: Mapping[str, Array], rest: Mapping[str, Array]
    ) -> tuple[dict[str, Parameters], dict[str, float]]:
        """Return the parameters before and after every step, and the outputs' error of each on the samples aside."""
        start, teacher = student.parameters(), Teacher(self.origin)
        loss = Loss(student, teacher, signal_of(teacher, pieces_of(aside)), self.recipe.sites)
        few = {k: v[: samples_for(student, len(v))] for k, v in rest.items()}
        tried = {"before": start, "fitted": refit(student, start, teacher, grid, few)}
        errors = {name: error_of(loss, at, grid, aside) for name, at in tried.items()}
        if any(grid.top[site] >= FINEST for site, _ in start.weights):
            best = tried[min(errors, key=errors.__getitem__)]
            learnt = learn(student, best, loss, rest, self.recipe, grid, self.progress)
            tried["learnt"] = refit(student, learnt, teacher, grid, few, weights=False)
            errors["learnt"] = error_of(loss, tried["learnt"], grid, aside)
        return tried, errors

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
