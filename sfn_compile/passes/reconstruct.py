"""reconstruct: weights, biases and steps are learnt so that the network with rounding computes what the float one does.

Post-training and without labels: the float network is the teacher, on the calibration samples. Layer by layer rounding
to nearest is blind to what the layers behind make of its error; here all layers are moved together, through their
rounding (reconstruction as in BRECQ, Li et al., arXiv 2102.05426, with the whole network as the block and the steps of
LSQ). One sample in eight is kept aside; where the network does not get better on these, it stays as it was.

The pass stands behind correct-bias and changes real numbers only. Integers are then chosen from them again by
quantize-weights, from the same grid that was learnt with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..config import Options
from ..host import prepare_all
from ..ir import Graph
from ..learning.descent import Loss, Recipe, Teacher, error_of, learn, pieces_of, signal_of
from ..learning.rounding import Grid, grid_of
from ..learning.student import Parameters, Student, learnable
from ..samples import Samples, n_samples
from .quantize_weights import QuantizeWeights

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
            self.found.update(done=False, reason=why)
            return graph
        student = Student(graph)
        start = student.parameters()
        prepared = prepare_all(graph, self.x)
        aside, rest = _split(prepared)
        teacher = Teacher(student, student.parameters_of(self.origin))
        pieces = pieces_of(aside)
        loss = Loss(student, teacher, signal_of(teacher, pieces), self.recipe.sites)
        quantize = QuantizeWeights(self.options)

        def make(at: Parameters) -> Grid:
            return grid_of(student, at, quantize.run, lambda site: _top(self.options.at(site)))

        before = error_of(loss, start, make(start), aside)
        learnt = learn(student, start, loss, rest, self.recipe, make, self.progress)
        after = error_of(loss, learnt, make(learnt), aside)
        self.found.update(done=bool(after < before), error_before=before, error_after=after,
                          samples=n_samples(self.x), kept_aside=len(next(iter(aside.values()))))  # fmt: skip
        if after >= before:
            self.found["reason"] = "the network did not get better on the samples kept aside"
            return graph
        return quantize.run(student.with_parameters(learnt))

    def _why_not(self, graph: Graph) -> str:
        unknown = learnable(graph)
        if unknown:
            return f"{unknown[0]} and {len(unknown) - 1} more cannot be learnt through" if unknown[1:] else (
                f"{unknown[0]} cannot be learnt through")  # fmt: skip
        if n_samples(self.x) < FEWEST:
            return f"{n_samples(self.x)} samples are too few; {FEWEST} are needed"
        return ""


def _top(options: Options) -> int:
    return int(2 ** (options.weight_bits - 1) - 1)


def _split(x: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return every eighth sample, and all others."""
    n = len(next(iter(x.values())))
    aside = np.arange(n) % KEPT_ASIDE == 0
    return {k: v[aside] for k, v in x.items()}, {k: v[~aside] for k, v in x.items()}
