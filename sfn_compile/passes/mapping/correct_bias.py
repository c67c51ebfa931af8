"""correct-bias: subtracts from each bias the mean error that rounding weights and codes makes in its channel.

Layer by layer in execution order, on calibration samples: the integer network computed so far gives the pre-activation
``alpha * acc + beta`` of a layer, the float network its true value; the difference of their means per channel is
added to beta before the thresholds are folded. It costs nothing at run time: the correction ends up in the integer
thresholds. The light bias calibration of SNN Calibration (Li et al., ICML 2021) at T = 1, on pre-activations.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ...calibration.collect import FloatRunner
from ...files.bounded_store import Held
from ...files.program_files import smallest_int
from ...foundation.samples import Samples, n_samples, part
from ...graph.graph import Graph, Levels, Node
from ...graph.ops import (
    Expression,
    IntegerLayer,
    IntegerNormal,
    IntegerSite,
    Layer,
    MaxPool,
    Moved,
    Site,
    is_row_exp,
)
from ...graph.ops.layer import channel_rows
from ...graph.ops.stages import integer_layer
from ...host.codec import prepare_all
from ...program.broadcast import spread
from ...program.network import Population, Readout, ValueInfo
from ...program.relations import Carries
from ...simulator import compiled_steps, kernels
from ...simulator.run import n_cores, single_threaded_blas
from ..base import PassResult
from ..facts import BiasShifts
from .fold_thresholds import ladder
from .lower import info_behind, normalization
from .split_digits import Whole, wholes

Array = NDArray[Any]
Values = Mapping[str, Array]
Fired: TypeAlias = Callable[[Array | None, Values], Array]
Result = TypeVar("Result")

MAX_SAMPLES = 256
MAX_NUMBERS = 96_000_000  # real numbers held, in float32: of large values only the first samples are
MAX_CODES = 200_000_000  # codes of one value held: a very wide network is corrected on fewer samples
# Numbers of one value that are computed together, unless they are too few samples for the vectors of the fast engine.
NUMBERS_AT_A_TIME, FEW, MOST, LARGEST = 1_000_000, 8, 32, 16_000_000


@dataclass(frozen=True, eq=False)
class CorrectBias:
    """Adds the mean pre-activation error of every channel to its bias, measured on the samples ``x``.

    ``origin``: the graph with the float network's own numbers, where those of the graph were corrected before.
    """

    runner: FloatRunner
    x: Samples
    origin: Graph | None = None

    name: ClassVar[str] = "correct-bias"
    needs: ClassVar[frozenset[str]] = frozenset({"weights-integer"})
    makes: ClassVar[frozenset[str]] = frozenset({"bias-corrected"})
    breaks: ClassVar[frozenset[str]] = frozenset({"thresholds-integer"})  # biases are folded into them
    exact: ClassVar[bool] = False

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with corrected biases, and what was added to them."""
        widest = max(int(np.prod(t.shape)) for t in graph.types().values())
        n = max(1, min(n_samples(self.x), MAX_SAMPLES, MAX_CODES // widest))
        x, size = part(self.x, slice(n)), _at_a_time(widest)
        real = _real_values(self.origin or graph, self.runner, x, n, size)
        seen = _Seen(n, size, real, wholes(graph))
        last_use = {s: i for i, node in enumerate(graph.nodes) for s in node.inputs}
        seen.enter(graph, x, last_use)
        nodes = []
        for i, node in enumerate(graph.nodes):
            layer = integer_layer(node)
            if layer is not None:
                node = self._corrected(node, layer, seen)
            else:
                seen.fire(node.name, _unlayered(node, seen.infos), node.inputs)
            seen.infos[node.name] = info_behind(node, seen.infos)
            if node.name in seen.wholes and isinstance(node.op, Site):
                seen.steps[node.name] = node.op.levels.step
            nodes.append(node)
            seen.drop([s for s in dict.fromkeys(node.inputs) if last_use[s] == i])
        before = {node.name: node.op.bias for node in graph.nodes if isinstance(node.op, Layer)}
        return PassResult(replace(graph, nodes=tuple(nodes)), (BiasShifts(before, seen.shifts),))

    def _corrected(self, node: Node, layer: IntegerLayer, seen: _Seen) -> Node:
        projections, products = layer.integer.drivers(node.inputs)
        unfired = Readout(np.zeros(1, np.int64))
        driven = Population(node.name, projections, unfired, node.type.shape, 0, 0, node.origin, products,
                            layer.norm(node.inputs))  # fmt: skip
        seen.shifts[node.name] = self._shift(node, layer, driven, seen)
        better = replace(layer, bias=layer.bias + seen.shifts[node.name])
        if isinstance(better, IntegerSite):
            fired = replace(driven, ladder=ladder(better))
            seen.fire(node.name, _fired(fired, seen.infos), fired.sources)
        return replace(node, op=better, origin=node.origin.touched_by(self.name))

    def _shift(self, node: Node, layer: IntegerLayer, driven: Population, seen: _Seen) -> Array:
        """Return what is added to the bias."""
        first = layer.rounding_of
        if isinstance(layer.relation, Carries):  # the same sum, so it is wrong by the same
            return seen.shifts[first]
        if is_row_exp(layer) or "imported" in layer.integer.notes:
            return np.zeros(())  # a shift of all scores changes nothing; a stated network is computed as it is
        whole = seen.wholes.get(node.name)  # of two digits, both count
        judged = replace(layer, levels=whole.levels) if whole and isinstance(layer, IntegerSite) else layer
        true = node if self.origin is None else self.origin.by_name()[first or node.name]
        error = _mean(*seen.compare(node.name, driven, _Error(judged, true, seen.infos), first))
        return spread(layer.axis, node.type.shape, error)


class _Seen:
    """What is known while one layer after the other is corrected: integers so far, and the real values of the rest.

    Pieces of ``size`` of ``n`` samples pass through a layer in threads. Their sums are added in their order, so that no
    number depends on how many threads there are.
    """

    def __init__(self, n: int, size: int, real: Held, wholes: Mapping[str, Whole]):
        self.n, self.size, self.real, self.wholes = n, size, real, wholes
        self.codes, self.sums = Held(size), Held(size)
        self.infos: dict[str, ValueInfo] = {}
        self.steps: dict[str, Array] = {}
        self.shifts: dict[str, Array] = {}  # what was added to the biases of Layers

    def enter(self, graph: Graph, x: Samples, read: Collection[str]) -> None:
        """Hold the codes of the inputs that are read."""
        for source in graph.inputs:
            self.infos[source.name] = ValueInfo(source.type.shape, source.chosen.lo, source.chosen.hi)
        for start in range(0, self.n, self.size):
            entered = prepare_all(graph, part(x, slice(start, start + self.size)))
            for source in graph.inputs:
                if source.name in read:
                    self.codes.add(source.name, smallest_int(source.chosen.quantize(entered[source.name])))

    def compare(self, name: str, driven: Population, error: _Error, first: str = "") -> tuple[Array, Array]:
        """Return the sums of ``error`` over all samples, (weight, error); keep the accumulators to be fired.

        A second digit fires what remains of the sum after the codes of ``first``, as they are, with their rounding.
        """
        sources, inputs = dict.fromkeys(driven.sources), dict.fromkeys(error.node.inputs)
        accumulated, m = _accumulated(driven, self.infos), min(self.real.count(s) for s in inputs)

        def work(i: int) -> tuple[Array, tuple[Array, Array]]:
            codes = {s: self.codes.piece(s, i) for s in sources}
            acc, k = accumulated(codes), m - i * self.size
            norm = None if driven.norm is None else driven.norm.apply(codes[driven.norm.source][:k])
            fired = codes[first][:k] * self.steps[first].astype(np.float32) if first else None
            return acc, error(acc[:k], norm, {s: self.real.piece(s, i)[:k] for s in inputs}, fired)

        total, wrong = np.zeros(()), np.zeros(())
        for acc, (weight, some) in _in_order(work, -(-m // self.size)):
            total, wrong = total + weight, wrong + some
            if isinstance(error.layer, Site):
                self.sums.add(name, acc)
        return total, wrong

    def fire(self, name: str, fired: Fired, sources: Sequence[str]) -> None:
        """Hold what ``fired`` makes of the sources' codes, and of accumulators where they are held already."""
        ready = self.sums.count(name) if name in self.sums else 0

        def work(i: int) -> Array:
            acc = self.sums.piece(name, i) if i * self.size < ready else None
            return fired(acc, {s: self.codes.piece(s, i) for s in dict.fromkeys(sources)})

        for codes in _in_order(work, -(-self.n // self.size)):
            self.codes.add(name, codes)
        if ready:
            self.sums.drop(name)

    def drop(self, names: Sequence[str]) -> None:
        """Forget values that nothing reads any more."""
        for name in names:
            self.codes.drop(name)
            if name in self.real:
                self.real.drop(name)


def _in_order(work: Callable[[int], Result], n: int) -> Iterator[Result]:
    """Yield ``work(i)`` for ``i`` below ``n``, a few ahead in threads."""
    ahead: deque[Future[Result]] = deque()
    with single_threaded_blas(), ThreadPoolExecutor(n_cores()) as pool:
        for i in range(n):
            ahead.append(pool.submit(work, i))
            if len(ahead) > n_cores():
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _at_a_time(widest: int) -> int:
    """Return how many samples pass through a layer together."""
    return max(1, min(MOST, max(FEW, NUMBERS_AT_A_TIME // widest), LARGEST // widest))


# -- integers ---------------------------------------------------------------------------------------------------------
def _accumulated(step: Population, infos: Mapping[str, ValueInfo]) -> Callable[[Values], Array]:
    """Return what makes accumulators ``(n, *shape)`` of codes."""
    sums = compiled_steps.sums(step, infos)
    return lambda codes: _first(sums({s: _last(v) for s, v in codes.items()}))


def _fired(step: Population, infos: Mapping[str, ValueInfo]) -> Fired:
    """Return what makes codes, in a small type, of codes and of accumulators, which it computes where they are None."""
    dtype, accumulated = compiled_steps.number_type(step, infos), _accumulated(step, infos)
    ladder = compiled_steps.neurons(step, infos)

    def fired(acc: Array | None, codes: Values) -> Array:
        own = accumulated(codes) if acc is None else acc.astype(dtype)
        return _first(ladder(_last(own), {s: _last(v) for s, v in codes.items()}))

    return fired


def _unlayered(node: Node, infos: Mapping[str, ValueInfo]) -> Fired:
    """Return what makes the codes of a node that is no Layer."""
    op = node.op
    assert isinstance(op, IntegerNormal | MaxPool | Moved), "a Layer fires by itself"
    if isinstance(op, IntegerNormal):
        step = normalization(node, op)
        return lambda _, codes: smallest_int(step.apply(*(codes[s] for s in step.sources)))
    if isinstance(op, MaxPool):
        return lambda _, codes: _pooled(op, codes[node.inputs[0]], infos[node.inputs[0]].lo)
    if isinstance(op, Moved):
        return lambda _, codes: op.evaluate(*(codes[s] for s in node.inputs))
    assert_never(op)


def _pooled(op: MaxPool, codes: Array, lowest: int) -> Array:
    found: Array = op.evaluate(codes.astype(np.float64))
    return smallest_int(np.maximum(found, lowest).astype(np.int32))


def _last(x: Array) -> Array:
    return np.moveaxis(x, 0, -1)


def _first(x: Array) -> Array:
    return np.moveaxis(x, -1, 0)


# -- errors -----------------------------------------------------------------------------------------------------------
class _Error:
    """The error of a layer's pre-activations in one piece of the samples: per channel, its weight and its sum.

    ``node``: with the float network's numbers. A call may say what a first digit ``fired`` of the same sum.
    """

    def __init__(self, layer: IntegerLayer, node: Node, infos: Mapping[str, ValueInfo]):
        assert isinstance(node.op, Layer)
        self.layer, self.node = layer, node
        self.drive, dtype = _drive(node.op, node, infos)
        self.alpha, self.bias = (np.asarray(a, dtype) for a in (layer.integer.alpha, layer.bias))

    def __call__(
        self, acc: Array, norm: Array | None, real: Mapping[str, Array], fired: Array | None = None
    ) -> tuple[Array, Array]:
        true = self.drive(*(real[s] for s in self.node.inputs))
        if fired is not None:
            true = true - fired
        return _error_sums(self.layer, true, (acc if norm is None else acc / norm) * self.alpha + self.bias)


def _drive(layer: Layer, node: Node, infos: Mapping[str, ValueInfo]) -> tuple[Callable[..., Array], type[Any]]:
    """Return what computes pre-activations ``(n, *shape)`` of real values, and in which type.

    float32 in the kernels of the fast engine: the mean of many samples is what counts, and the values come from
    onnxruntime's float32. Products, and what is divided by a row, are computed in float64.
    """
    if layer.products or layer.norm_axis is not None:
        return lambda *xs: layer.drive(*(x.astype(np.float64) for x in xs)), np.float64
    parts = [compiled_steps.linear(p.map, infos[p.source], np.float32) for p in layer.drivers(node.inputs)[0]]
    bias = kernels.beside(np.asarray(layer.bias, np.float32), len(node.type.shape))
    return lambda *xs: _first(sum((p(_last(x)) for p, x in zip(parts, xs, strict=True)), start=bias)), np.float32


def _mean_error(layer: Layer, true: Array, got: Array) -> Array:
    """Return per channel the mean of ``true - got``, weighted by how much a neuron's output depends on it."""
    return _mean(*_error_sums(layer, true, got))


def _mean(total: Array, error: Array) -> Array:
    return np.where(total > 0, error / np.where(total > 0, total, 1), 0.0)


def _error_sums(layer: Layer, true: Array, got: Array) -> tuple[Array, Array]:
    """Return per channel the sums of the weights and of ``true - got`` times its weight, in float64.

    Where both stay silent or both saturate, an error changes nothing, so it has no say. A function that is no straight
    line counts by its slope over one code.
    """
    weight = _weight(layer, true, got)
    error = true - got
    if weight is None:
        weight = np.ones_like(true)
    else:
        error *= weight
    total, wrong = (channel_rows(a, layer.axis, batched=True).sum(axis=1, dtype=np.float64) for a in (weight, error))
    return total, wrong


def _weight(layer: Layer, true: Array, got: Array) -> Array | None:
    """Return how much each neuron's output depends on its pre-activation, None for 1 everywhere."""
    if not isinstance(layer, Site):
        return None
    if layer.activation.body is not None:
        return _slope(layer.activation.body, true, layer.levels)
    due = layer.levels.due()
    low, high = float(due[0]) * layer.levels.step, float(due[-1]) * layer.levels.step
    fired, would = layer.activation.evaluate(true), layer.activation.evaluate(got)
    return (np.maximum(fired, would) >= low) & (np.minimum(fired, would) <= high)


def _slope(body: Expression, z: Array, levels: Levels) -> Array:
    """Return |f(z + D/2) - f(z - D/2)| / D with f cut to the codes."""
    ends = levels.lo * levels.step, levels.hi * levels.step
    above, below = (np.clip(body.evaluate(z + side * levels.step), *ends) for side in (0.5, -0.5))
    return np.abs(above - below) / levels.step


# -- real values ------------------------------------------------------------------------------------------------------
def _real_values(graph: Graph, runner: FloatRunner, x: Samples, n: int, size: int) -> Held:
    """Return what Layers read, of the first samples: as many as :data:`MAX_NUMBERS` allows, all ``n`` of small values.

    In pieces of ``size`` samples.
    """
    types = graph.types()
    wanted = {s for node in graph.nodes if isinstance(node.op, Layer) for s in node.inputs}
    sizes = {s: int(np.prod(types[s].shape)) for s in wanted}
    most = _fair_share(list(sizes.values()), n)
    held, start = Held(size), 0
    for count, values, _ in runner.stream(x):
        for name in sorted(wanted):
            room = max(1, int(most // sizes[name])) - start
            if room > 0:
                held.add(name, values[name][:room].astype(np.float32))
        start += count
    return held


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
