"""The network, Layer by Layer from its inputs, with weights refitted to what the Layers before really give.

Every Layer reads the codes that the network with rounding gives so far; its target is the pre-activation of the float
network. Its weights of convolutions and dense maps are rounded with feedback, coarse ones fitted before, and its bias
takes the mean of what is left where the neuron is neither silent nor cut off. One pass over the network; no descent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph.graph import Node
from ..graph.ops import Layer, Site
from ..graph.steps import all_steps
from ..simulator.kernels import beside
from .descent import FINEST, PIECE, Teacher, in_threads, real_inputs
from .least_squares import WIDEST, Normal, normal_equations, refitted, rounded_with_feedback
from .slopes import F32
from .student import Parameters, Student, Values, real_of, summed_like
from .weight_grid import Grid, per_code, rounded_maps

Array = NDArray[Any]

MOST_SAMPLES, MOST_NUMBERS = 256, 48_000_000  # of the widest value, float32


def samples_for(student: Student, n: int) -> int:
    """Return how many of ``n`` samples are used: of wide networks fewer, whose maps have more places."""
    widest = max(int(np.prod(t.shape)) for t in student.types.values())
    return max(1, min(n, MOST_SAMPLES, MOST_NUMBERS // widest))


def refit(
    student: Student, start: Parameters, teacher: Teacher, grid: Grid, x: Mapping[str, Array], weights: bool = True
) -> Parameters:
    """Return parameters with refitted biases, and ``weights`` on the grid, from prepared inputs ``(n, *shape)``."""
    found = _Refit(student, start.copy(), teacher, grid, weights)
    got, true = student.encoded(x), real_inputs(x)
    last_use = {s: i for i, node in enumerate(student.graph.nodes) for s in node.inputs}
    for i, node in enumerate(student.graph.nodes):
        found.one(node, got, true)
        for done in [s for s in dict.fromkeys(node.inputs) if last_use[s] == i]:
            got.pop(done)
            true.pop(done, None)
    return found.at


class _Refit:
    """The parameters so far, and the rounded maps that belong to them."""

    def __init__(self, student: Student, at: Parameters, teacher: Teacher, grid: Grid, weights: bool):
        self.weights = weights
        self.student, self.at, self.teacher, self.grid = student, at, teacher, grid
        self.maps = rounded_maps(student, at, grid)
        self.steps, self.alphas = all_steps(student.graph), grid.alphas(at)

    def one(self, node: Node, got: Values, true: Values) -> None:
        """Refit one node, and compute what it gives: with rounding into ``got``, without into ``true``."""
        student, teacher, at, own = self.student, self.teacher, self.at, self.teacher.nodes.get(node.name)
        if not isinstance(node.op, Layer):
            got[node.name] = _pieces(student.moved, node, got)
            if own is not None:
                true[node.name] = _pieces(teacher.student.moved, own, true)
            return
        first = node.op.rounding_of
        float_node = teacher.nodes[first or node.name]
        want = _pieces(lambda n, xs: teacher.student.drive(n, xs, teacher.maps[n.name], teacher.at), float_node, true)
        if own is not None:  # nothing is left where nothing is rounded
            true[node.name] = np.zeros_like(want) if first else real_of(node.op, want)
        want = want - got[first] if first else want  # what was fired in fact, not what should have been
        self._fit(node, node.op, want, got)
        maps = self.maps[node.name]
        got[node.name] = _pieces(lambda n, xs: student.fired(n, student.drive(n, xs, maps, at), at), node, got)

    def _fit(self, node: Node, layer: Layer, want: Array, got: Values) -> None:
        """Replace the weights of one Layer, map by map, and then its bias."""
        at, used, unit = self.at, self.maps[node.name], 1.0 / self.alphas[node.name]
        bias = beside(at.biases[node.name].astype(F32), len(node.type.shape))
        parts = [self._part(k, node, got) for k in range(len(used))]
        for k, (m, source) in enumerate(zip(layer.maps, node.inputs, strict=True)):
            weight = at.weights.get((node.name, k))
            if not self.weights or weight is None or int(np.prod(weight.shape[1:])) > WIDEST:
                continue
            rest = want - bias - sum((p for j, p in enumerate(parts) if j != k), start=np.zeros((), F32))
            equations = _equations(used[k][0], weight, got[source], rest)
            units = per_code(m, self.steps[source], self.student.types[source].shape, unit, node.type.shape)
            top = self.grid.top[node.name]
            # Fine weights are best where they are, but for rounding: few samples say more of themselves than of others.
            best = weight if top >= FINEST else refitted(weight, equations)
            found = rounded_with_feedback(best, 1.0 / units, top, equations.square)
            at.weights[node.name, k], used[k] = found, (used[k][0], found.astype(F32))
            parts[k] = self._part(k, node, got)
        z = bias + sum(parts, start=np.zeros((), F32))
        at.biases[node.name] = at.biases[node.name] + _mean_left(node, layer, at, want, z)

    def _part(self, k: int, node: Node, got: Values) -> Array:
        """Return what one map of a Layer adds."""
        slope, weight = self.maps[node.name][k]
        return _pieces(lambda n, xs: slope.forward(xs[k], weight), node, got)


def _equations(slope: Any, weight: Array, x: Array, t: Array) -> Normal:
    parts = in_threads(lambda at: normal_equations(slope, weight, x[..., at], t[..., at]), _slices(x.shape[-1]))
    return Normal(sum(p.square for p in parts), sum(p.cross for p in parts))


def _mean_left(node: Node, layer: Layer, at: Parameters, want: Array, got: Array) -> Array:
    """Return the mean of ``want - got`` per number of the bias, where it makes a difference to the codes."""
    matters = np.ones(want.shape, bool)
    if isinstance(layer, Site):
        step = beside(at.steps[node.name].astype(F32), len(node.type.shape))
        low, high = (layer.levels.lo + 0.5) * step, (layer.levels.hi - 0.5) * step
        a, b = real_of(layer, want), real_of(layer, got)
        matters = ~(((a < low) & (b < low)) | ((a > high) & (b > high)))
    bias = at.biases[node.name]
    count = np.maximum(summed_like(bias, matters.astype(F32)), 1.0)
    return np.asarray(summed_like(bias, (want - got) * matters) / count, np.float64)


def _pieces(function: Callable[[Node, list[Array]], Array], node: Node, values: Mapping[str, Array]) -> Array:
    """Return a function of what a node reads, computed in pieces of the batch in threads."""
    xs = [values[s] for s in node.inputs]
    parts = in_threads(lambda at: function(node, [x[..., at] for x in xs]), _slices(xs[0].shape[-1]))
    return np.concatenate(parts, axis=-1)


def _slices(n: int) -> list[slice]:
    return [slice(i, i + PIECE) for i in range(0, n, PIECE)]
