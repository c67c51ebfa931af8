"""choose-ladders: every site gets its levels from the statistics of calibration.

Not a pass over the graph alone: it takes the statistics as a field, so that the pass itself stays a pure function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..calibration import methods
from ..calibration.code_range import code_range
from ..calibration.statistics import Statistics
from ..config import Options
from ..ir import Graph, GraphInput, Levels, Node
from ..ops import Activation, Layer, MaxPool
from ..program import Shape
from .arrays import along, channel_vector
from .steps import effective, moved_step, rows_of

Array = NDArray[Any]

# The smallest step in units of the noise that a channel's inputs bring along. A step far below the noise shows nothing
# but noise, and its threshold is too small an integer: one such channel would make a table of the whole population.
FLOOR = 0.25


@dataclass(frozen=True, eq=False)
class ChooseLadders:
    """Chooses step, lowest and highest code of the input and of every firing Layer."""

    statistics: Mapping[str, Statistics]
    options: Options

    name: ClassVar[str] = "choose-ladders"
    needs: ClassVar[frozenset[str]] = frozenset({"sites-placed"})
    makes: ClassVar[frozenset[str]] = frozenset({"ladders-chosen"})
    exact: ClassVar[bool] = False

    def run(self, graph: Graph) -> Graph:
        """Return the graph with levels; sites whose readers need one common step get it."""
        common: dict[str, float | None] = {}
        while (chosen := self._attempt(graph, common)) is None:
            pass
        return chosen

    def _attempt(self, graph: Graph, common: dict[str, float | None]) -> Graph | None:
        """Return the graph with levels, or None with one more demand in ``common``.

        ``common`` names the sites that must have one step for all their channels: the number, or None where the site
        may choose it.
        """
        shapes: dict[str, Shape] = {name: t.shape for name, t in graph.types().items()}
        source = self._input(graph.inputs[0], common)
        assert source.levels is not None
        steps: dict[str, Array] = {source.name: source.levels.step}
        nodes = []
        for node in graph.nodes:
            if isinstance(node.op, Layer):
                for linear, read in zip(node.op.maps, node.inputs, strict=True):
                    if effective(linear, steps[read], shapes[read]) is None:
                        _demand(graph, read, steps, common)
                        return None
                if node.op.activation is not None:
                    levels = self._levels(node, node.op, steps, shapes, common)
                    steps[node.name] = levels.step
                    chosen = replace(node.op, levels=levels, activation=self._reached(node, node.op.activation))
                    node = replace(node, op=chosen, origin=node.origin.touched_by(self.name))
            else:
                read = node.inputs[0]
                if isinstance(node.op, MaxPool) and channel_vector(steps[read], shapes[read], 0) is None:
                    _demand(graph, read, steps, common)  # codes of different steps cannot be compared
                    return None
                steps[node.name] = moved_step(node, steps, shapes)
            nodes.append(node)
        return replace(graph, inputs=(source,), nodes=tuple(nodes))

    def _input(self, source: GraphInput, common: Mapping[str, float | None]) -> GraphInput:
        stats, shape = self.statistics[source.name], source.type.shape
        n = self.options.input_levels
        whole = source.dtype in ("uint8", "int8") and all(op.kind == "move" for op in source.host)
        lo, hi = (0, n) if (stats.low >= 0).all() else (-((n + 1) // 2), n // 2)
        if whole:  # integer images enter as they are
            lo, hi = (0, 255) if source.dtype == "uint8" else (-128, 127)
            step, dead = np.ones((1,) * len(shape)), np.zeros((1,) * len(shape), bool)
        else:
            step = _input_step(stats, lo, hi, self.options, source.name in common)
            dead = along(0, len(shape), stats.low == stats.high)
            step = along(0, len(shape), step)
        step = _pinned(step, common.get(source.name))
        return replace(source, levels=Levels(step, lo, hi, dead, "input encoding"))

    def _reached(self, node: Node, activation: Activation) -> Activation:
        """Return the activation; one that is not defined everywhere keeps to the range that the samples reached."""
        assert isinstance(node.op, Layer)
        if not activation.is_local():
            return activation
        low, high = (along(node.op.axis, len(node.type.shape), v) for v in self.statistics[node.name].reached)
        return activation.within(low, high)

    def _levels(
        self, node: Node, layer: Layer, steps: Mapping[str, Array], shapes: Mapping[str, Shape],
        common: Mapping[str, float | None],
    ) -> Levels:  # fmt: skip
        stats = self.statistics[node.name]
        assert layer.activation is not None
        lo, hi = code_range(layer.activation, stats, self.options)
        stats = stats.merged() if node.name in common else stats
        if self.options.method == "mse":
            step = methods.mse_of_new_samples(stats, lo, hi)
        else:
            step = methods.choose(self.options.method, stats, lo, hi, self.options.method_options)
        n = node.type.shape[layer.axis]
        step, dead = np.broadcast_to(step, n).copy(), np.broadcast_to(step <= 0, n)
        rows = _rows_on_codes(node, layer, steps, shapes)
        if dead.any():
            step[dead] = _step_of_weights(node, layer, rows)[dead]
        if layer.activation.linear_above_zero:
            step = np.maximum(step, FLOOR * rounding_noise(rows))
        step = _pinned(step, common.get(node.name))
        axis, rank = layer.axis, len(node.type.shape)
        return Levels(along(axis, rank, step), lo, hi, along(axis, rank, dead))


def _input_step(stats: Statistics, lo: int, hi: int, options: Options, common: bool) -> Array:
    """Return the input's steps: per channel, or one for all where channels plainly share a range (flat images)."""
    top = np.maximum(np.abs(stats.low), np.abs(stats.high))
    shared = (top >= 0.99 * top.max()).mean() >= 0.25 or len(top) == 1 or not (top > 0).all()
    if common or shared:
        whole = methods.choose(options.method, stats.merged(), lo, hi, options.method_options)
        return np.full(len(top), whole[0] if whole[0] > 0 else 1.0)
    return methods.choose(options.method, stats, lo, hi, options.method_options)


def _rows_on_codes(node: Node, layer: Layer, steps: Mapping[str, Array], shapes: Mapping[str, Shape]) -> Array:
    """Return per channel the real value of one code of everything that drives it ``(n_channels, n_weights)``."""
    maps = [effective(m, steps[read], shapes[read]) for m, read in zip(layer.maps, node.inputs, strict=True)]
    return np.concatenate([rows_of(m, node.type.shape, layer.axis) for m in maps if m is not None], axis=1)


def _step_of_weights(node: Node, layer: Layer, rows: Array) -> Array:
    """Return for every channel the largest weight in real units: the step of a channel that calibration saw silent."""
    shape = node.type.shape
    found = np.abs(rows).max(axis=1)
    bias = np.abs(np.moveaxis(np.broadcast_to(layer.bias, shape), layer.axis, 0).reshape(shape[layer.axis], -1))
    found = np.where(found > 0, found, bias.max(axis=1))
    return np.where(found > 0, found, 1.0)


def rounding_noise(rows: Array) -> Array:
    """Return per channel the standard deviation that codes rounded to nearest bring along: 1/12 of a squared code each.

    >>> float(rounding_noise(np.array([[2.0, 2.0, 2.0]]))[0])
    1.0
    """
    return np.sqrt((rows**2).sum(axis=1) / 12)


def _pinned(step: Array, common: float | None) -> Array:
    return step if common is None else np.full_like(step, common, dtype=np.float64)


def _demand(graph: Graph, value: str, steps: Mapping[str, Array], common: dict[str, float | None]) -> None:
    """Add to ``common`` what the reader of ``value`` needs: one site with a single step, or one step for several."""
    sites = _sites_behind(graph, value)
    for site in sites:
        if site not in common:
            common[site] = None
            return
    joint = max(float(steps[site].max()) for site in sites)
    assert any(common[site] != joint for site in sites), f"every site behind {value} has the step {joint}"
    common.update(dict.fromkeys(sites, joint))


def _sites_behind(graph: Graph, value: str) -> list[str]:
    """Return the sites whose codes ``value`` holds, through moves and max pools."""
    nodes, found = graph.by_name(), []
    queue = [value]
    while queue:
        name = queue.pop(0)
        node = nodes.get(name)
        if node is None or isinstance(node.op, Layer):
            found.append(name)
        else:
            queue.extend(node.inputs)
    return list(dict.fromkeys(found))


def levels_vector(levels: Levels, shape: Shape, axis: int) -> Array:
    """Return the step per channel ``(c,)``."""
    found = channel_vector(levels.step, shape, axis)
    assert found is not None
    return found
