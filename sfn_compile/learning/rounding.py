"""Weights as the integers make them: what training computes with is what quantize-weights will write.

A weight ``w`` of a map becomes ``alpha / D * clip(round(w D / alpha))`` with D the step of what it reads and alpha the
real value of one accumulator unit. While steps are learnt, the integer ``theta = step / alpha`` stays, so that alpha
follows the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir import Graph, Node
from ..kernels import beside
from ..ops import Layer
from ..passes.arrays import compress
from ..passes.scale import scale_output
from ..passes.steps import all_steps, effective
from ..program import Conv, Dense, Identity, LinearMap, Shape
from .slopes import F32, IdentitySlope, slope_of
from .student import Parameters, Student

Array = NDArray[Any]
Quantize = Callable[[Graph], Graph]


@dataclass(frozen=True)
class Grid:
    """Of every Layer: the integer threshold (or, where its ladder is a table, alpha), and the largest weight."""

    theta: Mapping[str, Array]
    alpha: Mapping[str, Array]
    top: Mapping[str, int]

    def alphas(self, at: Parameters) -> dict[str, Array]:
        """Return the real value of one accumulator unit of every Layer, for steps that moved since."""
        moved = {name: at.steps[name] / theta for name, theta in self.theta.items()}
        return {**self.alpha, **moved}


def grid_of(student: Student, at: Parameters, quantize: Quantize, top: Callable[[str], int]) -> Grid:
    """Return the grid that ``quantize`` (the pass quantize-weights) chooses for the network as it is now."""
    theta, alpha, tops = dict[str, Array](), dict[str, Array](), dict[str, int]()
    for node in quantize(student.with_parameters(at)).nodes:
        if not isinstance(node.op, Layer):
            continue
        assert node.op.integer is not None
        alpha[node.name], tops[node.name] = node.op.integer.alpha, top(node.name)
        if node.op.levels is not None:
            whole = np.rint(node.op.levels.step / node.op.integer.alpha)
            if np.array_equal(node.op.levels.step / np.maximum(whole, 1), node.op.integer.alpha):
                theta[node.name] = whole
    return Grid(theta, alpha, tops)


def rounded_maps(student: Student, at: Parameters, grid: Grid) -> dict[str, list[Any]]:
    """Return for every Layer the slope and the weights, rounded to the grid, of each of its maps."""
    graph, alphas = student.with_parameters(at), grid.alphas(at)
    steps, found = all_steps(graph), {}
    for node in graph.nodes:
        if isinstance(node.op, Layer):
            unit, top = 1.0 / alphas[node.name], grid.top[node.name]
            found[node.name] = [
                _rounded(node, m, steps[s], student.types[s].shape, unit, top, student.slopes[node.name][i])
                for i, (m, s) in enumerate(zip(node.op.maps, node.inputs, strict=True))
            ]
    return found


def _rounded(node: Node, m: LinearMap, step: Array, shape: Shape, unit: Array, top: int, slope: Any) -> tuple[Any, Any]:
    """Return the slope and weight of one map after rounding; one that is not learnt gets a slope of its own."""
    scaled = effective(replace(m, weight=np.ones_like(m.weight, np.float64)), step, shape)
    assert scaled is not None
    scaled = scale_output(scaled, unit, node.type.shape)
    assert scaled is not None
    codes = np.clip(np.rint(m.weight * scaled.weight), -top, top)
    real = codes / np.where(scaled.weight != 0, scaled.weight, 1.0)
    if isinstance(m, Conv | Dense):
        return slope, real.astype(F32)
    if isinstance(m, Identity):
        return IdentitySlope(beside(compress(real), len(shape)).astype(F32)), None
    return slope_of(replace(m, weight=compress(real)), shape), None
