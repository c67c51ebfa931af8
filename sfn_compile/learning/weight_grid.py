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

from ..graph.graph import Graph, Node
from ..graph.ops import IntegerForm, IntegerLayer, IntegerSite, Layer, Site, stages
from ..graph.ops.layer import with_maps
from ..graph.ops.stages import integer_layer
from ..graph.scaling import scale_output
from ..graph.steps import all_steps, effective
from ..passes.mapping.lower import info_behind
from ..program.broadcast import compress
from ..program.network import Conv, Dense, Identity, LinearMap, Shape, ValueInfo
from ..program.ranges import driven_range
from ..simulator.kernels import beside
from .slopes import F32, IdentitySlope, slope_of
from .student import Parameters, Student

Array = NDArray[Any]


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


def grid_of(graph: Graph, top: Callable[[str], int]) -> Grid:
    """Return the grid of a graph with integer weights; ``top`` says the largest integer weight of a node."""
    theta, alpha, tops = dict[str, Array](), dict[str, Array](), dict[str, int]()
    for node in graph.nodes:
        layer = integer_layer(node)
        if layer is None:
            continue
        alpha[node.name], tops[node.name] = layer.integer.alpha, top(node.name)
        if isinstance(layer, IntegerSite):
            whole = np.rint(layer.levels.step / layer.integer.alpha)
            if np.array_equal(layer.levels.step / np.maximum(whole, 1), layer.integer.alpha):
                theta[node.name] = whole
    return Grid(theta, alpha, tops)


def with_integers(student: Student, at: Parameters, grid: Grid, acc_bits: int) -> Graph | None:
    """Return the graph with these numbers and their integers on the grid; None where an accumulator does not fit."""
    graph, alphas = student.with_parameters(at), grid.alphas(at)
    steps, infos, nodes = all_steps(graph), dict[str, ValueInfo](), []
    for source in graph.inputs:
        infos[source.name] = ValueInfo(source.type.shape, source.chosen.lo, source.chosen.hi)
    for node in graph.nodes:
        layer = integer_layer(node)
        if layer is not None:
            integer = _integers(node, layer, steps, infos, alphas[node.name], grid.top[node.name])
            if not _fits(layer, integer, acc_bits):
                return None
            node = replace(node, op=stages.with_integers(layer, integer))
        infos[node.name] = info_behind(node, infos)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _integers(
    node: Node, layer: IntegerLayer, steps: Mapping[str, Array], infos: Mapping[str, ValueInfo], alpha: Array, top: int
) -> IntegerForm:
    maps = []
    for m, s in zip(layer.maps, node.inputs, strict=True):
        units = per_code(m, steps[s], infos[s].shape, 1.0 / alpha, node.type.shape)
        codes = np.clip(np.rint(m.weight * units), -top, top).astype(np.int64)
        maps.append(replace(m, weight=codes if isinstance(m, Conv | Dense) else compress(codes)))
    found = replace(layer.integer, terms=with_maps(layer.terms, maps), alpha=alpha)
    low, high = driven_range(*found.drivers(node.inputs), infos)
    return replace(found, acc_min=int(low.min()), acc_max=int(high.max()))


def _fits(layer: Layer, integer: IntegerForm, acc_bits: int) -> bool:
    """Return whether accumulators, with what offset and thresholds add to them, fit their bits."""
    more = layer.levels.step * (layer.levels.hi + 1) if isinstance(layer, Site) else np.abs(layer.bias)
    worst = max(-integer.acc_min, integer.acc_max) + float((more / integer.alpha).max())
    return worst <= 2 ** (acc_bits - 1) - 1


def per_code(m: LinearMap, step: Array, shape: Shape, unit: Array, out: Shape) -> Array:
    """Return, like the map's weight, how many accumulator units (1 / ``unit``) a weight of 1 adds per code it reads."""
    scaled = effective(replace(m, weight=np.ones_like(m.weight, np.float64)), step, shape)
    assert scaled is not None
    scaled = scale_output(scaled, unit, out)
    assert scaled is not None
    return np.asarray(scaled.weight)


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
    units = per_code(m, step, shape, unit, node.type.shape)
    real = np.clip(np.rint(m.weight * units), -top, top) / np.where(units != 0, units, 1.0)
    if isinstance(m, Conv | Dense):
        return slope, real.astype(F32)
    if isinstance(m, Identity):
        return IdentitySlope(beside(compress(real), len(shape)).astype(F32)), None
    return slope_of(replace(m, weight=compress(real)), shape), None
