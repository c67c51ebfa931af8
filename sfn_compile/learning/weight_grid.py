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
from typing_extensions import assert_never

from ..graph.graph import Graph, Node
from ..graph.ops import IntegerForm, IntegerLayer, IntegerSite, Layer, stages
from ..graph.ops.layer import channel_rows, with_maps
from ..graph.ops.stages import integer_layer
from ..graph.scaling import scale_output
from ..graph.steps import all_steps, effective, on_codes
from ..passes.mapping.lower import info_behind
from ..passes.mapping.quantize_weights import integer_terms, too_wide
from ..program.broadcast import compress
from ..program.network import Conv, Dense, Gather, Identity, LinearMap, Shape, SumPool, ValueInfo
from ..program.ranges import driven_range
from ..program.weight_rounding import whole
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
        """Return the real value of one accumulator unit of every Layer, per channel, with the steps of ``at``.

        Where theta is known it stays, and the unit is ``step / theta``.
        """
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
            integer = _integers(node, layer, steps, infos, alphas[node.name], grid.top[node.name], acc_bits)
            if integer is None:
                return None
            node = replace(node, op=stages.with_integers(layer, integer))
        infos[node.name] = info_behind(node, infos)
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _integers(
    node: Node, layer: IntegerLayer, steps: Mapping[str, Array], infos: dict[str, ValueInfo], alpha: Array, top: int,
    acc_bits: int,
) -> IntegerForm | None:  # fmt: skip
    """Return the integers of a Layer for ``alpha``; None where an accumulator does not fit."""
    shape = node.type.shape
    linear, products = integer_terms(on_codes(node, layer, steps, infos), 1.0 / alpha, shape, top)
    low, high = driven_range(linear, products, infos)
    channels = channel_rows(np.broadcast_to(alpha, shape), layer.axis).max(axis=1)
    if too_wide(layer, channels, (low, high), shape, acc_bits).any():
        return None
    terms = with_maps(layer.terms, [_compressed(p.map) for p in linear])
    return replace(layer.integer, terms=terms, alpha=alpha, acc_min=int(low.min()), acc_max=int(high.max()))


def _compressed(m: LinearMap) -> LinearMap:
    """Return the map with one weight where all along an axis became the same integer."""
    if isinstance(m, Conv | Dense):
        return m
    if isinstance(m, Identity | SumPool | Gather):
        return replace(m, weight=compress(m.weight))
    assert_never(m)


def per_code(m: LinearMap, step: Array, shape: Shape, unit: Array, out: Shape) -> Array:
    """Return, in the shape of the map's weight, the accumulator units that a real weight of 1 adds per code it reads.

    ``step`` is that of the source of ``shape``; ``unit`` is the reciprocal of alpha, per channel of ``out``.
    """
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
    real = whole(m.weight * units, top) / np.where(units != 0, units, 1.0)
    if isinstance(m, Conv | Dense):
        return slope, real.astype(F32)
    if isinstance(m, Identity):
        return IdentitySlope(beside(compress(real), len(shape)).astype(F32)), None
    if isinstance(m, SumPool | Gather):
        return slope_of(replace(m, weight=compress(real)), shape), None
    assert_never(m)
