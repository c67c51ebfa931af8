"""quantize-weights: integer weights, their step chosen so that the uniform threshold is an exact odd integer.

Per channel c with output step D: ``alpha = D / theta``, ``w = round(W * step_in / alpha)``. The largest theta whose
weights still fit the bits is the finest grid; a few smaller odd ones are tried and the one of least squared weight
error is kept. All projections into a population share alpha, the skip of a residual included, so theta is also what
makes the skip's weight fit. Where no theta of at least 9 exists, or the activation is not a ReLU, alpha is free and
the ladder becomes a table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..config import Options
from ..diagnostics import fail
from ..ir import Graph, Node
from ..ops import IntegerForm, Layer
from ..program import LinearMap, Shape, ValueInfo
from ..ranges import accumulator_range
from . import imported
from .arrays import along
from .choose_ladders import levels_vector
from .lower import info_behind
from .scale import scale_output
from .steps import all_steps, effective, rows_of

Array = NDArray[Any]

THETA_LIMIT = 2**15 - 1
SMALLEST_UNIFORM_THETA = 9
WEIGHTS_AT_A_TIME = 1 << 22  # of a large layer, while its thresholds are chosen


@dataclass(frozen=True)
class QuantizeWeights:
    """Gives every Layer integer weights that fit ``options.weight_bits`` and accumulators that fit ``acc_bits``."""

    options: Options

    name: ClassVar[str] = "quantize-weights"
    needs: ClassVar[frozenset[str]] = frozenset({"ladders-chosen"})
    makes: ClassVar[frozenset[str]] = frozenset({"weights-integer"})
    exact: ClassVar[bool] = False

    def run(self, graph: Graph) -> Graph:
        """Return the graph with integer weights. Raises SFN401 where an accumulator fits at no threshold."""
        steps, shapes = all_steps(graph), {name: t.shape for name, t in graph.types().items()}
        infos: dict[str, ValueInfo] = {}
        nodes = []
        for source in graph.inputs:
            assert source.levels is not None
            infos[source.name] = ValueInfo(source.type.shape, source.levels.lo, source.levels.hi)
        for node in graph.nodes:
            if isinstance(node.op, Layer):
                maps = [effective(m, steps[s], shapes[s]) for m, s in zip(node.op.maps, node.inputs, strict=True)]
                known = [m for m in maps if m is not None]
                read = [infos[s] for s in node.inputs]
                form = imported.integer_form(node.op, known, [steps[s] for s in node.inputs], read, node.type.shape)
                form = form or self._integer(node, node.op, known, read)
                node = replace(node, op=replace(node.op, integer=form), origin=node.origin.touched_by(self.name))
            infos[node.name] = info_behind(node, infos)
            nodes.append(node)
        return replace(graph, nodes=tuple(nodes))

    def _integer(self, node: Node, layer: Layer, maps: list[LinearMap], infos: list[ValueInfo]) -> IntegerForm:
        shape, axis = node.type.shape, layer.axis
        parts = [rows_of(m, shape, axis) for m in maps]
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        alpha, notes = self._alpha(rows, layer, shape)
        limit = 2 ** (self.options.acc_bits - 1) - 1
        largest, finest = np.abs(rows).max(axis=1), alpha
        for _ in range(24):
            integer = [_round(m, alpha, shape, axis, self._top) for m in maps]
            low, high = accumulator_range(list(zip(integer, infos, strict=True)))
            worst = _per_channel(np.maximum(-low, high), shape, axis)
            bad = worst + self._headroom(layer, alpha, shape) > limit
            if not bad.any():
                ends = int(low.min()), int(high.max())
                return IntegerForm(tuple(integer), along(axis, len(shape), alpha), None, *ends, tuple(notes))
            notes = [*notes, f"{int(bad.sum())} channels have coarser weights so that accumulators fit"]
            alpha = self._coarser(alpha, bad, layer, shape)
            gone = (alpha > finest) & (largest > 0) & (largest < alpha / 2)
            if gone.all() if layer.levels is None else gone.any():
                break  # a channel whose every weight rounds to 0 fits, but computes nothing
        raise fail("SFN401", f"accumulators do not fit {self.options.acc_bits} bits", ", ".join(node.origin.nodes),
                   "lower --levels or --weight-bits, or raise --acc-bits for the simulator alone")  # fmt: skip

    @property
    def _top(self) -> int:
        return int(2 ** (self.options.weight_bits - 1) - 1)

    def _alpha(self, rows: Array, layer: Layer, shape: Shape) -> tuple[Array, list[str]]:
        """Return the real value of one accumulator unit per channel, and what a reader of the report should know."""
        largest = np.abs(rows).max(axis=1)
        free = np.where(largest > 0, largest, 1.0) / self._top
        if layer.levels is None:  # a readout: one step for the whole output tensor, or argmax would be wrong
            top = largest.max() / self._top if largest.any() else np.abs(layer.bias).max() / THETA_LIMIT
            return np.full(len(free), top or 1.0), []
        assert layer.activation is not None
        step = levels_vector(layer.levels, shape, layer.axis)
        if not uniform_site(layer):
            return free, ["table ladder"]
        theta = self._theta(rows, step, largest)
        if (theta < SMALLEST_UNIFORM_THETA).any():
            small = theta < SMALLEST_UNIFORM_THETA
            return np.where(small, free, step / np.maximum(theta, 1)), [
                "table ladder: no integer threshold is fine enough"
            ]
        return step / theta, []

    def _theta(self, rows: Array, step: Array, largest: Array) -> Array:
        """Return per channel the odd threshold of least weight error, 0 where not even 1 fits."""
        safe = np.where(largest > 0, largest, step * self._top / THETA_LIMIT)
        finest = np.minimum((self._top + 0.49) * step / safe, THETA_LIMIT)
        size = max(1, WEIGHTS_AT_A_TIME // rows.shape[1])
        blocks = [slice(i, i + size) for i in range(0, len(rows), size)]
        return np.concatenate([self._best_theta(rows[b], step[b], finest[b]) for b in blocks])

    def _best_theta(self, rows: Array, step: Array, finest: Array) -> Array:
        best, error = np.zeros(len(step)), np.full(len(step), np.inf)
        # Clipping the largest weights pays below 6 bits only; above, the grid looks at coarser steps alone.
        factors = np.linspace(2.0, 0.7, 40) if self.options.weight_bits < 6 else np.linspace(1.0, 0.75, 12)
        for factor in factors:
            theta = _odd(finest * factor)
            alpha = step / np.maximum(theta, 1)
            rounded = np.clip(np.rint(rows / alpha[:, None]), -self._top, self._top)
            found = np.where(theta >= 1, ((rounded * alpha[:, None] - rows) ** 2).sum(axis=1), np.inf)
            better = found < error
            best[better], error[better] = theta[better], found[better]
        return best

    def _headroom(self, layer: Layer, alpha: Array, shape: Shape) -> Array:
        """Return what offset and threshold add to an accumulator, per channel."""
        if layer.levels is None:
            return _per_channel(np.abs(layer.bias), shape, layer.axis) / alpha
        # A ladder's offset is cut to where it still changes a code, so its thresholds are what has to fit.
        return levels_vector(layer.levels, shape, layer.axis) / alpha * (layer.levels.hi + 1)

    def _coarser(self, alpha: Array, bad: Array, layer: Layer, shape: Shape) -> Array:
        if layer.levels is None:
            return alpha * 1.5
        if not uniform_site(layer):
            return np.where(bad, alpha * 1.5, alpha)
        step = levels_vector(layer.levels, shape, layer.axis)
        theta = _odd(step / alpha / 1.5)  # 0: coarser than a threshold of 1, which only a table can say
        return np.where(bad, np.where(theta >= 1, step / np.maximum(theta, 1), alpha * 1.5), alpha)


def uniform_site(layer: Layer) -> bool:
    """Return whether a uniform ladder says the activation exactly."""
    if layer.activation is None or layer.levels is None:
        return False
    if layer.activation.kind == "identity":
        return True
    if layer.activation.kind == "clip":  # levels above the upper bound would have to be cut per channel
        inside = bool((layer.levels.step * (layer.levels.hi - 0.5) <= layer.activation.b).all())
        return layer.activation.a == 0 and inside and layer.levels.lo >= 0
    return layer.activation.kind == "relu" and layer.levels.lo >= 0


def _odd(x: Array) -> Array:
    """Return the largest odd integer not above x, 0 below 1."""
    whole = np.floor(x)
    return np.where(whole < 1, 0, whole - (whole % 2 == 0))


def _round(linear: LinearMap, alpha: Array, shape: Shape, axis: int, top: int) -> LinearMap:
    scaled = scale_output(linear, along(axis, len(shape), 1.0 / alpha), shape)
    assert scaled is not None
    return replace(scaled, weight=_codes(scaled.weight, top))


def _codes(real: Array, top: int) -> Array:
    """Return the nearest integers in -top..top in a small type, written over ``real``: weights may be many."""
    rounded = np.rint(real, out=real)
    return np.clip(rounded, -top, top, out=rounded).astype(np.int8 if top < 2**7 else np.int64)


def _per_channel(array: Array, shape: Shape, axis: int) -> Array:
    full = np.moveaxis(np.broadcast_to(array, shape), axis, 0)
    return full.reshape(shape[axis], -1).max(axis=1)
