"""correct-bias: the mean error that rounding weights and codes makes in each channel goes into the bias.

Layer by layer in execution order, on calibration samples: the integer network computed so far gives the pre-activation
``alpha * acc + beta`` of a layer, the float network its true value; the difference of their means per channel is
added to beta before the thresholds are folded. It costs nothing at run time: the correction ends up in the integer
thresholds. The light bias calibration of SNN Calibration (Li et al., ICML 2021) at T = 1, on pre-activations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..calibration.collect import FloatRunner, RealValues
from ..execute import accumulate, fire, in_pieces
from ..ir import Graph, Levels, Node
from ..ops import Expression, Layer, MaxPool, Normalize, is_row_exp
from ..ops.layer import channel_rows
from ..program import Population, ValueInfo
from ..samples import Samples, n_samples, part
from .arrays import spread
from .fold_thresholds import ladder
from .lower import info_behind, normalization

Array = NDArray[Any]

MAX_NUMBERS = 32_000_000  # real numbers held at a time; wide networks are corrected on fewer samples
MAX_SAMPLES = 256


@dataclass(frozen=True, eq=False)
class CorrectBias:
    """Adds the mean pre-activation error of every channel to its bias, measured on the samples ``x``."""

    runner: FloatRunner
    x: Samples
    shifts: dict[str, Array] = field(default_factory=dict)

    name: ClassVar[str] = "correct-bias"
    needs: ClassVar[frozenset[str]] = frozenset({"weights-integer"})
    makes: ClassVar[frozenset[str]] = frozenset({"bias-corrected"})
    exact: ClassVar[bool] = False

    def run(self, graph: Graph) -> Graph:
        """Return the graph with corrected biases."""
        size = sum(int(np.prod(t.shape)) for t in graph.types().values())
        n = max(1, min(n_samples(self.x), MAX_SAMPLES, MAX_NUMBERS // size))
        real = _real_values(graph, self.runner, part(self.x, slice(n)))
        codes: dict[str, Array] = {}
        infos: dict[str, ValueInfo] = {}
        for source in graph.inputs:
            assert source.levels is not None
            infos[source.name] = ValueInfo(source.type.shape, source.levels.lo, source.levels.hi)
            if source.name in real:
                codes[source.name] = source.levels.quantize(real[source.name])
        last_use = {s: i for i, node in enumerate(graph.nodes) for s in node.inputs}
        nodes = []
        for i, node in enumerate(graph.nodes):
            if isinstance(node.op, Layer):
                node = self._corrected(node, node.op, real, codes, infos)
            elif isinstance(node.op, Normalize):
                codes[node.name] = normalization(node, node.op).apply(*(codes[s] for s in node.inputs))
            else:
                codes[node.name] = _moved(node, codes, infos)
            infos[node.name] = info_behind(node, infos)
            nodes.append(node)
            for done in [s for s in dict.fromkeys(node.inputs) if last_use[s] == i]:
                codes.pop(done)
                real.pop(done, None)
        return replace(graph, nodes=tuple(nodes))

    def _carried(self, node: Node, layer: Layer, driven: Population, acc: Array, codes: dict[str, Array]) -> Node:
        form = layer.integer
        assert form is not None
        better = replace(layer, bias=layer.bias + self.shifts[node.inputs[len(layer.maps) - 1]])
        codes[node.name] = fire(replace(driven, ladder=ladder(better, form)), acc, codes)
        return replace(node, op=better, origin=node.origin.touched_by(self.name))

    def _corrected(
        self, node: Node, layer: Layer, real: Mapping[str, Array], codes: dict[str, Array],
        infos: Mapping[str, ValueInfo],
    ) -> Node:  # fmt: skip
        form = layer.integer
        assert form is not None
        projections, products = form.terms(node.inputs)
        driven = Population(node.name, projections, ladder(layer, form), node.type.shape, 0, 0, node.origin, products,
                            layer.norm(node.inputs))  # fmt: skip
        sources = driven.sources
        acc = in_pieces(
            lambda *some: accumulate(driven, dict(zip(sources, some, strict=True)), infos), *(codes[s] for s in sources)
        )
        if is_row_exp(layer):  # a shift of all scores changes nothing
            codes[node.name] = fire(driven, acc, codes)
            return node
        if layer.carries:  # it carries on what the rounding of the same sum left, corrected like that
            return self._carried(node, layer, driven, acc, codes)
        got = acc if driven.norm is None else acc / driven.norm.apply(codes[driven.norm.source])
        true = in_pieces(layer.drive, *(real[s] for s in node.inputs))
        shift = spread(layer.axis, node.type.shape, _mean_error(layer, true, got * form.alpha + layer.bias))
        stated = "imported" in form.notes  # such a network is computed as it is, its errors included
        self.shifts[node.name] = shift
        better = layer if stated else replace(layer, bias=layer.bias + shift)
        if layer.levels is not None:
            codes[node.name] = fire(replace(driven, ladder=ladder(better, form)), acc, codes)
        return replace(node, op=better, origin=node.origin.touched_by(self.name))


def _mean_error(layer: Layer, true: Array, got: Array) -> Array:
    """Return per channel the mean of ``true - got``, weighted by how much a neuron's output depends on it.

    Where both stay silent or both saturate, an error changes nothing, so it has no say. A function that is no straight
    line counts by its slope over one code.
    """
    if layer.levels is None:
        weight = np.ones_like(true)
    elif layer.activation is not None and layer.activation.body is not None:
        weight = _slope(layer.activation.body, true, layer.levels)
    else:
        assert layer.activation is not None
        step, levels = layer.levels.step, layer.levels
        low, high = (levels.lo + 0.5) * step, (levels.hi - 0.5) * step
        fired, would = layer.activation.evaluate(true), layer.activation.evaluate(got)
        weight = ~(((fired < low) & (would < low)) | ((fired > high) & (would > high)))
    total = channel_rows(weight, layer.axis, batched=True).sum(axis=1)
    error = channel_rows((true - got) * weight, layer.axis, batched=True).sum(axis=1)
    return np.where(total > 0, error / np.where(total > 0, total, 1), 0.0)


def _slope(body: Expression, z: Array, levels: Levels) -> Array:
    """Return |f(z + D/2) - f(z - D/2)| / D with f cut to the codes."""
    ends = levels.lo * levels.step, levels.hi * levels.step
    above, below = (np.clip(body.evaluate(z + side * levels.step), *ends) for side in (0.5, -0.5))
    return np.abs(above - below) / levels.step


def _real_values(graph: Graph, runner: FloatRunner, x: Samples) -> dict[str, Array]:
    parts: list[RealValues] = [values for _, values, _ in runner.stream(x)]
    wanted = {s for node in graph.nodes for s in node.inputs}
    return {name: np.concatenate([p[name] for p in parts]) for name in wanted}


def _moved(node: Node, codes: Mapping[str, Array], infos: Mapping[str, ValueInfo]) -> Array:
    if isinstance(node.op, MaxPool):
        lowest = infos[node.inputs[0]].lo
        moved: Array = node.op.evaluate(codes[node.inputs[0]].astype(np.float64))
        return np.maximum(moved, lowest).astype(np.int32)
    return node.op.evaluate(*(codes[s] for s in node.inputs))
