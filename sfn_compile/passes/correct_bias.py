"""correct-bias: the mean error that rounding weights and codes makes in each channel goes into the bias.

Layer by layer in execution order, on calibration samples: the integer network computed so far gives the pre-activation
``alpha * acc + beta`` of a layer, the float network its true value; the difference of their means per channel is
added to beta before the thresholds are folded. It costs nothing at run time: the correction ends up in the integer
thresholds. The light bias calibration of SNN Calibration (Li et al., ICML 2021) at T = 1, on pre-activations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..calibration.collect import FloatRunner
from ..execute import accumulate, fire, in_pieces
from ..host import prepare_all
from ..ir import Graph, Levels, Node
from ..ops import Expression, IntegerForm, Layer, MaxPool, Normalize, is_row_exp
from ..ops.layer import channel_rows
from ..program import Normalization, Population, ValueInfo
from ..samples import Samples, n_samples, part
from ..serialize import smallest_int
from .arrays import spread
from .fold_thresholds import ladder
from .lower import info_behind, normalization

Array = NDArray[Any]

MAX_SAMPLES = 256
MAX_NUMBERS = 96_000_000  # real numbers held at a time, in float32: of large values only the first samples are
MAX_CODES = 200_000_000  # codes of one value held at a time: a very wide network is corrected on fewer samples


@dataclass(frozen=True, eq=False)
class CorrectBias:
    """Adds the mean pre-activation error of every channel to its bias, measured on the samples ``x``."""

    runner: FloatRunner
    x: Samples
    shifts: dict[str, Array] = field(default_factory=dict, init=False)  # of this run, by site

    name: ClassVar[str] = "correct-bias"
    needs: ClassVar[frozenset[str]] = frozenset({"weights-integer"})
    makes: ClassVar[frozenset[str]] = frozenset({"bias-corrected"})
    exact: ClassVar[bool] = False

    def run(self, graph: Graph) -> Graph:
        """Return the graph with corrected biases."""
        widest = max(int(np.prod(t.shape)) for t in graph.types().values())
        n = max(1, min(n_samples(self.x), MAX_SAMPLES, MAX_CODES // widest))
        x = part(self.x, slice(n))
        real, entered = _real_values(graph, self.runner, x, n), prepare_all(graph, x)
        last_use = {s: i for i, node in enumerate(graph.nodes) for s in node.inputs}
        codes: dict[str, Array] = {}
        infos: dict[str, ValueInfo] = {}
        for source in graph.inputs:
            assert source.levels is not None
            infos[source.name] = ValueInfo(source.type.shape, source.levels.lo, source.levels.hi)
            if source.name in last_use:
                codes[source.name] = smallest_int(source.levels.quantize(entered[source.name]))
        nodes = []
        for i, node in enumerate(graph.nodes):
            if isinstance(node.op, Layer):
                node = self._corrected(node, node.op, real, codes, infos)
            elif isinstance(node.op, Normalize):
                codes[node.name] = _normalized(normalization(node, node.op), codes)
            else:
                codes[node.name] = _moved(node, codes, infos)
            infos[node.name] = info_behind(node, infos)
            nodes.append(node)
            for done in [s for s in dict.fromkeys(node.inputs) if last_use[s] == i]:
                codes.pop(done)
                real.pop(done, None)
        return replace(graph, nodes=tuple(nodes))

    def _corrected(
        self, node: Node, layer: Layer, real: Mapping[str, Array], codes: dict[str, Array],
        infos: Mapping[str, ValueInfo],
    ) -> Node:  # fmt: skip
        form = layer.integer
        assert form is not None
        projections, products = form.terms(node.inputs)
        driven = Population(node.name, projections, ladder(layer, form), node.type.shape, 0, 0, node.origin, products,
                            layer.norm(node.inputs))  # fmt: skip
        better = replace(layer, bias=layer.bias + self._shift(node, layer, form, driven, real, codes, infos))
        if layer.levels is not None:
            fired = replace(driven, ladder=ladder(better, form))
            codes[node.name] = _each(lambda at: _fired(fired, at, infos), driven.sources, codes)
        return replace(node, op=better, origin=node.origin.touched_by(self.name))

    def _shift(
        self, node: Node, layer: Layer, form: IntegerForm, driven: Population, real: Mapping[str, Array],
        codes: Mapping[str, Array], infos: Mapping[str, ValueInfo],
    ) -> Array:  # fmt: skip
        """Return what is added to the bias, and keep it for the population that carries on what rounding left."""
        if layer.carries:  # the same sum, so it is wrong by the same
            return self.shifts[node.inputs[len(layer.maps) - 1]]
        if is_row_exp(layer) or "imported" in form.notes:
            return np.zeros(())  # a shift of all scores changes nothing; a stated network is computed as it is
        n = min(len(real[s]) for s in node.inputs)
        acc = _each(lambda at: _divided(driven, at, infos), driven.sources, {s: codes[s][:n] for s in driven.sources})
        true = in_pieces(
            lambda *xs: layer.drive(*(x.astype(np.float64) for x in xs)), *(real[s][:n] for s in node.inputs)
        )
        error = _mean_error(layer, true, acc * form.alpha + layer.bias)
        self.shifts[node.name] = spread(layer.axis, node.type.shape, error)
        return self.shifts[node.name]


def _each(function: Callable[[dict[str, Array]], Array], names: Sequence[str], values: Mapping[str, Array]) -> Array:
    """Return ``function`` of the values ``names``, computed in pieces of the samples."""
    return in_pieces(lambda *some: function(dict(zip(names, some, strict=True))), *(values[s] for s in names))


def _divided(driven: Population, codes: Mapping[str, Array], infos: Mapping[str, ValueInfo]) -> Array:
    """Return the accumulators, divided by the sum of a row where the threshold is scaled by it."""
    acc = accumulate(driven, codes, infos)
    return acc if driven.norm is None else acc / driven.norm.apply(codes[driven.norm.source])


def _normalized(step: Normalization, codes: Mapping[str, Array]) -> Array:
    """Return the codes of a normalisation, in a small type."""
    return _each(lambda at: smallest_int(step.apply(*(at[s] for s in step.sources))), step.sources, codes)


def _fired(population: Population, codes: Mapping[str, Array], infos: Mapping[str, ValueInfo]) -> Array:
    """Return the codes of a population in a type that is small: those of all samples are held at a time."""
    return smallest_int(fire(population, accumulate(population, codes, infos), codes))


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
        due = layer.levels.due()
        low, high = float(due[0]) * layer.levels.step, float(due[-1]) * layer.levels.step
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


def _real_values(graph: Graph, runner: FloatRunner, x: Samples, n: int) -> dict[str, Array]:
    """Return what Layers read, of the first samples: as many as fit, all ``n`` of small values."""
    types = graph.types()
    wanted = {s for node in graph.nodes if isinstance(node.op, Layer) for s in node.inputs}
    sizes = {s: int(np.prod(types[s].shape)) for s in wanted}
    most = _fair_share(list(sizes.values()), n)
    kept: dict[str, list[Array]] = {s: [] for s in wanted}
    start = 0
    for count, values, _ in runner.stream(x):
        for name, parts in kept.items():
            room = max(1, int(most // sizes[name])) - start
            if room > 0:
                parts.append(values[name][:room].astype(np.float32))
        start += count
    return {name: np.concatenate(parts) for name, parts in kept.items()}


def _fair_share(sizes: list[int], n: int) -> float:
    """Return the numbers that one value may take, of ``n`` samples: what small values leave, large ones share.

    >>> _fair_share([1, 10, 30_000_000, 90_000_000], 2)
    47999989.0
    """
    left, share = float(MAX_NUMBERS), 0.0
    for i, size in enumerate(sorted(sizes)):
        share = left / (len(sizes) - i)
        left -= min(float(n * size), share)
    return share


def _moved(node: Node, codes: Mapping[str, Array], infos: Mapping[str, ValueInfo]) -> Array:
    if isinstance(node.op, MaxPool):
        lowest = infos[node.inputs[0]].lo
        moved: Array = node.op.evaluate(codes[node.inputs[0]].astype(np.float64))
        return np.maximum(moved, lowest).astype(np.int32)
    return node.op.evaluate(*(codes[s] for s in node.inputs))
