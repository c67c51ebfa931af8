"""What the neurons of a network do on some samples: errors against the float network, and how often each code occurs.

One pass over the samples. Codes are counted once, per class of equally many readers, and every other number (density,
saturation, spikes, set bits, synaptic events) is a sum over those counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ..calibration.collect import FloatRunner
from ..foundation.decibel import Varying, decibel, squares, why_none
from ..foundation.samples import Samples, n_samples, part
from ..graph.graph import Graph, Levels, Node
from ..graph.ops import Layer, Normalize, stages
from ..graph.ops.stages import unit_of
from ..graph.steps import all_steps
from ..host.codec import encode_all
from ..passes.mapping.split_digits import wholes
from ..program.network import Elementwise, Matmul, Population, ProductForm, Program, ValueInfo
from ..simulator.run import run_codes
from . import attention
from .distribution import Distribution
from .fanout import classes, fan_out

Array = NDArray[Any]
AT_A_TIME = 8  # samples that the simulator computes together, where the float network runs fewer
BLOCK = 4096  # numbers whose squares are added in their own type
MOST_CODES = 1024  # of a value with more codes they are not counted per class of elements
MOST_TOGETHER = 2**17  # of a value with more (a readout; stored integers have 16 bits) they are not counted one by one
NO_LEVELS = "it has no levels"
NO_NUMBERS = "the float network has no such numbers"
HALF = 0.5 * (1 + 1e-9)  # of a step, and what float64 rounds
MEASURES = ("events", "spikes", "set_bits")


@dataclass(frozen=True)
class Activity:
    """Averages over samples, of single neurons or of synapses: how many are not 0, sum of |k|, bits set in |k|."""

    events: float = 0.0
    spikes: float = 0.0
    set_bits: float = 0.0

    def __add__(self, other: Activity) -> Activity:
        return Activity(self.events + other.events, self.spikes + other.spikes, self.set_bits + other.set_bits)

    def as_dict(self) -> dict[str, float]:
        """Return the three by name."""
        return {name: getattr(self, name) for name in MEASURES}


def measures(codes: Array) -> tuple[Array, Array, Array]:
    """Return three int64 arrays like ``codes``: 1 where not 0 (an event), unary spikes ``|k|``, set bits of ``|k|``."""
    size = np.abs(codes)
    table = np.array([bin(k).count("1") for k in range(int(size.max(initial=0)) + 1)])
    return (size > 0).astype(np.int64), size.astype(np.int64), table[size]


class Counter:
    """Counts the codes of one value per class of elements; ``fans``: how often each reader reads an element.

    Of a value of more than ``MOST_CODES`` codes the measures are added up per class, and codes are counted over all
    elements together, up to ``MOST_TOGETHER``; those of a wider one (a readout) are not counted one by one.
    """

    def __init__(self, info: ValueInfo, fans: Mapping[Any, Array]):
        self.info, self.n, self.nonzero, self.size = info, 0, 0, 0
        of, per_class = classes(list(fans.values()), info.shape)
        self.fans = dict(zip(fans, per_class, strict=True))
        self.levels = info.hi - info.lo + 1
        self.counted, self.each = self.levels <= MOST_TOGETHER, self.levels <= MOST_CODES
        self.of = np.broadcast_to(of, info.shape)
        n_classes = int(of.max(initial=0)) + 1
        self.sizes = np.bincount(self.of.ravel(), minlength=n_classes)  # elements of each class, of one sample
        self.offset = (of * self.levels - info.lo).astype(np.int32) if self.each else np.array(-info.lo)
        rows = n_classes if self.each else 1
        self.counts = np.zeros((rows, self.levels if self.counted else 0), np.int64)
        self.sums = np.zeros((n_classes, len(MEASURES)))  # of the measures, where codes are not counted per class

    def add(self, codes: Array) -> None:
        """Count the codes ``(n, *shape)`` of some samples."""
        self.n += len(codes)
        self.size += codes.size
        if not self.each:
            self._add_sums(codes)
        if not self.counted:
            return
        index = codes if self.offset.size == 1 and not self.offset.flat[0] else codes + self.offset
        self.counts += np.bincount(index.ravel(order="K"), minlength=self.counts.size).reshape(self.counts.shape)

    def _add_sums(self, codes: Array) -> None:
        self.nonzero += int(np.count_nonzero(codes))
        if not self.counted:
            return
        for k, measure in enumerate(measures(codes)):
            each = measure.sum(axis=0, dtype=np.float64)
            self.sums[:, k] += np.bincount(self.of.ravel(), each.ravel(), len(self.sums))

    @property
    def codes(self) -> Array:
        """The codes that are counted, in ascending order, ``(m,)``."""
        return np.arange(self.info.lo, self.info.lo + self.counts.shape[1])

    @property
    def histogram(self) -> Array:
        """How often each of :attr:`codes` occurred, over all neurons and samples, ``(m,)``."""
        return self.counts.sum(axis=0)

    def over(self, lo: int, hi: int) -> Array:
        """Return how often each of the codes ``lo..hi`` occurred, which may be more or fewer than the ladder makes."""
        found = np.zeros(hi - lo + 1, np.int64)
        inside = (self.codes >= lo) & (self.codes <= hi)
        found[self.codes[inside] - lo] = self.histogram[inside]
        return found

    @property
    def density(self) -> float:
        """Share of codes that are not 0."""
        if not self.counted:
            return self.nonzero / self.size if self.size else 0.0
        return float(self.histogram[self.codes != 0].sum() / self.size) if self.size else 0.0

    def share(self, *codes: int) -> float:
        """Return the share of some codes."""
        return float(self.histogram[np.isin(self.codes, codes)].sum()) / max(self.size, 1)

    def unused(self, codes: Sequence[int]) -> float:
        """Return the share of these codes that never occurred, those that the ladder cannot make among them."""
        return float(1 - np.isin(codes, self.codes[self.histogram > 0]).mean())

    def neurons(self) -> Activity:
        """Return what the neurons of one sample emit, on average."""
        return self._activity(np.ones(len(self.sums)))

    def synapses(self, reader: Any) -> Activity:
        """Return what passes through the synapses of one reader per sample, on average."""
        return self._activity(self.fans[reader])

    def synapse_count(self, reader: Any) -> float:
        """Return how many synapses of one sample a reader has on this value."""
        return float(self.fans[reader] @ self.sizes)

    def _activity(self, weights: Array) -> Activity:
        if not self.each:
            return Activity(*(float(s) for s in weights @ self.sums / max(self.n, 1)))
        per_code = weights @ self.counts / max(self.n, 1)
        return Activity(*(float((per_code * m).sum()) for m in measures(self.codes)))


@dataclass
class Error:
    """Sums of squares of one value: its signal about the mean, the error of its own levels, that of its integers in the
    network.

    ``beyond``: values past the last code by more than half a step, of ``n``.
    """

    signal: Varying = field(default_factory=Varying)
    here: float = 0.0
    accumulated: float = 0.0
    beyond: int = 0
    n: int = 0
    has_levels: bool = False
    values: Distribution | None = None
    steps: tuple[float, float] = (0.0, 0.0)  # the smallest and the largest of its channels

    def add(self, real: Array, codes: Array, step: Array, levels: Levels | None) -> None:
        """Add some samples: real values, the network's integers, real units per integer."""
        if levels is None or levels.imported:  # there an error may be as small as the rounding of float32
            real = real.astype(np.float64)
        step = np.asarray(step, real.dtype)
        self.signal.add(real.reshape(len(real), 1, -1))
        self.accumulated += squares(np.multiply(codes, step, dtype=real.dtype) - real)
        self.has_levels = levels is not None
        self._count(real, step, levels)
        if levels is None or levels.imported:  # stated levels are the network, not an error
            return
        ideal = levels.nearest(real / step)
        error = ideal * step
        error -= real
        self.here += squares(error)
        self.n += real.size
        half = step * step.dtype.type(HALF)
        self.beyond += int(np.count_nonzero((error < -half) & (ideal == levels.hi)))
        if levels.lo < 0:
            self.beyond += int(np.count_nonzero((error > half) & (ideal == levels.lo)))

    def _count(self, real: Array, step: Array, levels: Levels | None) -> None:
        """Count how the real values are spread over the codes."""
        if levels is None:
            return
        if self.values is None:
            self.values, self.steps = Distribution(levels), (float(np.min(step)), float(np.max(step)))
        with np.errstate(all="ignore"):  # a step of a dead channel may be tiny; what is not finite is not counted
            self.values.add(real / step)

    def row(self) -> dict[str, Any]:
        """Return what is reported."""
        signal = self.signal.signal
        noises = {"sqnr_db": self.here, "sqnr_accumulated_db": self.accumulated}
        why = {name: why_none(signal, noise) for name, noise in noises.items() if why_none(signal, noise)}
        if not self.has_levels:  # a readout rounds nothing
            why["sqnr_db"] = NO_LEVELS
        if not self.signal.n:
            why = dict.fromkeys(noises, NO_NUMBERS)
        found: dict[str, Any] = {name: decibel(signal, noise) for name, noise in noises.items()}
        if self.values is not None:
            found |= {"values": self.values.row(), "step": list(self.steps)}
        return {**found, "beyond": self.beyond / self.n if self.n else 0.0, **({"reasons": why} if why else {})}


@dataclass
class Seen:
    """What was counted and measured: codes and errors by value, products by their two factors."""

    counters: dict[str, Counter]
    errors: dict[str, Error]
    products: dict[tuple[str, str], Activity] = field(default_factory=dict)
    both: dict[tuple[str, str], float] = field(default_factory=dict)

    def row(self, name: str, levels: Levels | None) -> dict[str, Any]:
        """Return what a layer's row says of its activity."""
        counter = self.counters[name]
        at_end: tuple[int, ...] = () if levels is None else (levels.hi, *((levels.lo,) if levels.lo < 0 else ()))
        return {
            **self.errors[name].row(), "density": counter.density,
            "saturation": counter.share(*at_end) if at_end and counter.counted else 0.0,
            "histogram": counter.over(levels.lo, levels.hi).tolist() if levels is not None else [],
            "unused": 0.0 if levels is None else counter.unused(levels.codes),
            "stated": levels is not None and levels.imported,
            **(counter.neurons().as_dict() if levels is not None else dict.fromkeys(MEASURES, 0.0)),
        }  # fmt: skip


def observe(
    graph: Graph, program: Program, runner: FloatRunner, x: Samples, softmaxes: Mapping[str, attention.Softmax]
) -> Seen:
    """Return what every value does on the samples ``x``, the float network beside it."""
    steps, nodes, both = real_steps(graph), graph.by_name(), wholes(graph)
    entry = {i.name: i.levels for i in graph.inputs}
    forms = {(p.left, p.right): p.form for s in program.populations() for p in s.products}
    seen = Seen(counters(program), {name: Error() for name in program.values()}, dict.fromkeys(forms, Activity()),
                dict.fromkeys(forms, 0.0))  # fmt: skip
    total, start, ready = n_samples(x), 0, slice(0, 0)  # of which samples integers are there
    for n, real, _ in runner.stream(x):
        if start + n > ready.stop:
            ready = slice(start, start + max(n, AT_A_TIME))
            integers = run_codes(program, encode_all(program, part(x, ready)))
        codes = part(integers, slice(start - ready.start, start - ready.start + n))
        start += n
        for name, counter in seen.counters.items():
            counter.add(codes[name])
            if name in both:  # two digits are one value
                whole = both[name]
                joined = whole.base * codes[name].astype(np.int64) + codes[whole.second]
                seen.errors[name].add(real[name], joined, steps[whole.second], whole.levels)
            elif is_measured(nodes.get(name)):
                seen.errors[name].add(real[name], codes[name], steps[name], levels_of(name, nodes, entry))
        for name, softmax in softmaxes.items():
            softmax.add(codes[name])
        for (left, right), form in forms.items():
            found = met(codes[left], codes[right], form)
            seen.products[left, right] += Activity(*(m * n / total for m in found))
            dense = form.out_shape(codes[left].shape[1:], codes[right].shape[1:])
            each = form.summed(codes[left].shape[1:])
            seen.both[left, right] += found[0] * n / total / (each * float(np.prod(dense)))
    return seen


def counters(program: Program) -> dict[str, Counter]:
    """Return a counter for every value; each projection that reads it is a reader, by population and place."""
    info = program.values()
    fans: dict[str, dict[Any, Array]] = {name: {} for name in info}
    for step in program.steps:
        if isinstance(step, Population):
            for i, p in enumerate(step.projections):
                fans[p.source][step.name, i] = fan_out(p.map, info[p.source].shape)
    return {name: Counter(info[name], fans[name]) for name in info}


def real_steps(graph: Graph) -> dict[str, Array]:
    """Return, by name, the real value of one integer, broadcastable against a sample; of accumulators for readouts."""
    steps = all_steps(graph)
    for node in graph.nodes:
        unit = unit_of(node.op)
        if unit is not None:
            steps[node.name] = unit
    return steps


def is_measured(node: Node | None) -> bool:
    """Return whether a value (None: an input) has numbers of its own in the float network."""
    return node is None or isinstance(node.op, Normalize) or (isinstance(node.op, Layer) and not node.op.rounding_of)


def levels_of(name: str, nodes: Mapping[str, Node], entry: Mapping[str, Levels | None]) -> Levels | None:
    """Return the levels of a population or input, None where it has none."""
    return stages.levels_of(nodes[name].op) if name in nodes else entry.get(name)


def met(left: Array, right: Array, form: ProductForm) -> tuple[float, ...]:
    """Return per sample the multiplications of two codes: both not 0, products of |k|, products of set bits."""
    pairs = zip(measures(left), measures(right), strict=True)
    if isinstance(form, Matmul):
        sums = ((a.sum(axis=-2, dtype=np.float64) * b.sum(axis=-1, dtype=np.float64)).sum() for a, b in pairs)
    elif isinstance(form, Elementwise):
        sums = ((a * b).sum(dtype=np.float64) for a, b in pairs)
    else:
        assert_never(form)
    return tuple(float(s) / len(left) for s in sums)
