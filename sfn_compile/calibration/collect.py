"""Stream calibration data through the original float model and collect the statistics of every site.

Memory does not grow with the number of samples: one batch of taps and one histogram per channel are alive at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import fail
from ..foundation.samples import Samples, n_samples, part
from ..frontend.reference import FloatReference, original_names
from ..graph.graph import Graph, Node
from ..graph.ops import Layer, needs_statistics
from ..graph.ops.layer import channel_rows, n_channels
from ..host.codec import prepare_all
from ..program.broadcast import Axis
from ..simulator.run import n_cores
from .statistics import Statistics

Array = NDArray[Any]
Values = Mapping[str, Array]
Progress = Callable[[int, int], None]

# Real numbers alive at a time (4 bytes each, 8 where they are computed): wide networks are streamed in smaller pieces.
NUMBERS_AT_A_TIME = 4_000_000
MOST_SAMPLES = 32
JOINED_NUMBERS = 4_000_000  # short runs of the model are put together up to here


def sites(graph: Graph) -> dict[str, Axis]:
    """Return the channel axis (of one sample) of every value that needs statistics, by name: not of stated levels."""
    found: dict[str, Axis] = {i.name: i.axis for i in graph.inputs if i.levels is None}
    for node in graph.nodes:
        if needs_statistics(node.op):
            found[node.name] = node.op.axis
    return found


class RealValues:
    """The real value of any node for one batch: the tap where the original model has it, else computed from taps.

    A tap in float32 stays as onnxruntime gives it; everything else is float64.
    """

    def __init__(self, graph: Graph, taps: Mapping[str, Array]):
        self.nodes = graph.by_name()
        self.known: dict[str, Array] = dict(taps)

    def __getitem__(self, name: str) -> Array:
        if name not in self.known:
            node = self.nodes[name]
            if isinstance(node.op, Layer) and node.op.rounding_of:  # nothing is left where nothing is rounded
                like = next(iter(self.known.values()))
                self.known[name] = np.zeros((len(like), *node.type.shape))
                return self.known[name]
            self.known[name] = node.op.evaluate(*(self[s].astype(np.float64, copy=False) for s in node.inputs))
        return self.known[name]


def tapped(graph: Graph, available: set[str]) -> dict[str, str]:
    """Return node name -> ONNX value for every node whose numbers the original model computes."""
    return {n.name: n.tap for n in graph.nodes if n.tap is not None and n.tap in available}


def check_finite(values: Array, name: str) -> None:
    """Raise SFN104 where the float network itself computes NaN or infinity: no threshold can be chosen there."""
    if not np.isfinite(values).all():
        what = f"value {name!r} of the float network is NaN or infinite"
        raise fail("SFN104", what, fix="look at the weights and at the data that lead to it")


Seen = tuple[int, RealValues, Values]


class FloatRunner:
    """The original model under onnxruntime, seen through the names of a graph."""

    def __init__(self, graph: Graph, model: Any, batch: int | None, inputs: Sequence[str] | None = None):
        """``inputs``: the model's, where the graph has others, which a host head makes [default: the graph's]."""
        self.graph = graph
        self.taps = tapped(graph, original_names(model))
        wanted = sorted(set(self.taps.values()))
        size = sum(int(np.prod(t.shape)) for t in graph.types().values())
        piece = max(1, min(MOST_SAMPLES, NUMBERS_AT_A_TIME // size))
        self.joined = max(1, min(piece, JOINED_NUMBERS // size))
        names = [i.model_name for i in graph.inputs] if inputs is None else inputs
        self.reference = FloatReference(model, names, batch, wanted, piece, bool(wanted), before=graph.before)

    def of(self, graph: Graph) -> FloatRunner:
        """Return the same model seen through another graph of it, one whose populations were split."""
        other = copy(self)
        other.graph = graph
        return other

    def stream(self, x: Samples) -> Any:
        """Yield (number of samples, :class:`RealValues`, outputs that are no taps by name) for pieces of ``x``."""
        start, held = 0, list[Seen]()
        for found in self.reference.stream(x):
            n = len(next(iter(found.values())))
            others = {name: value for name, value in found.items() if name not in self.taps.values()}
            held.append((n, RealValues(self.graph, self._known(part(x, slice(start, start + n)), found, n)), others))
            start += n
            if sum(n for n, *_ in held) >= self.joined:
                yield self._joined(held)
                held = []
        if held:
            yield self._joined(held)

    def _known(self, x: Samples, found: Values, n: int) -> dict[str, Array]:
        """Return the values of the graph that are known without computing, for one run of the model."""
        known, types = prepare_all(self.graph, x), self.graph.types()
        for name, tap in self.taps.items():
            value = found[tap] if found[tap].dtype == np.float32 else found[tap].astype(np.float64)
            known[name] = value.reshape(n, *types[name].shape)
            check_finite(known[name], tap)
        return known

    def _joined(self, held: list[Seen]) -> Seen:
        """Return several runs as one: a model of fixed batch 1 would make as many small pieces as samples."""
        if len(held) == 1:
            return held[0]
        known, found = (
            {k: np.concatenate([each[k] for each in some]) for k in some[0]}
            for some in ([values.known for _, values, _ in held], [found for *_, found in held])
        )
        return sum(n for n, *_ in held), RealValues(self.graph, known), found


def collect(graph: Graph, runner: FloatRunner, x: Samples, progress: Progress | None = None) -> dict[str, Statistics]:
    """Return the statistics of every site over the samples ``x``, ``(n, *model_shape)`` per input."""
    axes, types = sites(graph), graph.types()
    stats = {name: Statistics(n_channels(types[name].shape, axis)) for name, axis in axes.items()}
    local = [n for n in graph.nodes if n.name in stats and _is_local(n)]
    done = 0
    with ThreadPoolExecutor(n_cores()) as pool:  # every site has statistics of its own
        for n, values, _ in runner.stream(x):
            seen = [(stats[name], channel_rows(values[name], axis, batched=True)) for name, axis in axes.items()]
            list(pool.map(lambda one: one[0].update(one[1]), seen))
            for node in local:
                stats[node.name].reach(channel_rows(_arguments(node, values), axes[node.name], batched=True))
            done += n
            if progress is not None:
                progress(done, n_samples(x))
    return stats


def _rows(values: Array, axis: int) -> Array:
    """Return values ``(n, *shape)`` as one row per channel, which lie along ``axis`` of a sample."""
    front = np.moveaxis(values, axis + 1, 0)
    return front.reshape(front.shape[0], -1)


def _is_local(node: Node) -> bool:
    return isinstance(node.op, Layer) and node.op.activation is not None and node.op.activation.is_local()


def _arguments(node: Node, values: RealValues) -> Array:
    """Return what the activation of a Layer is applied to."""
    assert isinstance(node.op, Layer)
    return node.op.drive(*(values[s].astype(np.float64, copy=False) for s in node.inputs))
