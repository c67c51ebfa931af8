"""What a Program asks of a chip: layers with their grids and links, the host's share, the delays of skips.

A layer's *grid* is ``(channels, height, width)``: the axes along which it can be cut into tiles. ``axes`` says which
axis of the population's shape each of the three is (None: it has none), and ``inner`` counts what is never cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ..graph.macs import macs, product_macs
from ..program.linear_maps import Conv, Dense, Gather, Identity, LinearMap, Shape, SumPool
from ..program.network import MaxPool, Move, Normalization, Population, Program, Step, Table, Uniform, ValueInfo
from ..program.ranges import bits_for, reach
from ..program.weights import exponent

Array = NDArray[Any]
Grid: TypeAlias = tuple[int, int, int]
Axes: TypeAlias = tuple[int | None, int | None, int | None]
MOSTLY_ZERO = 8  # a kernel with one weight in so many is a choice of channels
LinkKind: TypeAlias = Literal["dense", "conv", "sparse"]


@dataclass(frozen=True)
class Window:
    """What one neuron reads through a link.

    dense: ``inputs`` values, the same for all. conv: a window of ``inputs`` channels in ``groups`` groups. sparse:
    ``inputs`` values of its own. ``kernel``: taps by height and width; ``reach``: as far as they extend.

    ``is_printed``: whether rows of such a connection, printed by the vendor's compiler, are known.
    """

    kind: LinkKind
    inputs: int
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    reach: tuple[int, int] = (1, 1)
    groups: int = 1
    is_printed: bool = False

    @property
    def taps(self) -> int:
        """Places of the kernel."""
        return math.prod(self.kernel)

    @property
    def is_strided(self) -> bool:
        """Whether both strides are 2."""
        return self.strides == (2, 2)


@dataclass(frozen=True)
class Link:
    """A connection into a layer. ``bits``: width of its weights, sign included, once their power of two is dropped.

    ``levels``: codes of the source less one. ``delay``: steps that the value
    waits for the others of its layer. ``top``: the largest absolute sum that it alone can reach.
    """

    source: str
    window: Window
    bits: int
    macs: int
    levels: int
    is_input: bool
    delay: int
    top: int

    @property
    def kind(self) -> LinkKind:
        """How its weights are stored."""
        return self.window.kind


@dataclass(frozen=True)
class Layer:
    """Neurons that are on cores: of a population, or of a ``relay`` that holds a value back by a step.

    ``lo``, ``hi``: their codes; of a readout its sums. ``thresholds``: of a table, per neuron. ``is_shift``: whether
    every theta is a power of two. ``is_output``: whether the host reads it.
    """

    name: str
    nodes: tuple[str, ...]
    shape: Shape
    grid: Grid
    axes: Axes
    inner: int
    links: tuple[Link, ...]
    depth: int
    lo: int
    hi: int
    ladder: str
    sum_bits: int = 0
    thresholds: int = 0
    is_shift: bool = True
    is_output: bool = False
    is_relay: bool = False

    @property
    def neurons(self) -> int:
        """How many there are."""
        return math.prod(self.grid) * self.inner


@dataclass(frozen=True)
class HostWork:
    """A step that no core is known to compute: ``operations`` per sample, comparisons or multiplications."""

    name: str
    nodes: tuple[str, ...]
    what: str
    neurons: int
    operations: int


@dataclass(frozen=True)
class Demand:
    """What a network asks for. ``depth``: connections on the longest path. ``inputs``: the range of codes by name.

    ``steps``: that a sample takes from its first input to the last: 1, or those of the network's clock.
    """

    layers: tuple[Layer, ...]
    relays: tuple[Layer, ...]
    host: tuple[HostWork, ...]
    depth: int
    inputs: Mapping[str, ValueInfo] = field(default_factory=dict)
    steps: int = 1


def demand_of(program: Program, neurons_known: Iterable[str]) -> Demand:
    """Return the demand of a legal Program; ``neurons_known``: ladders by class name that are on cores."""
    return _Reader(program, frozenset(neurons_known)).read()


def stored_bits(weight: Array) -> int:
    """Return the width of weights, sign included, once the power of two that they share is dropped.

    >>> stored_bits(np.array([96, -128])), stored_bits(np.array([0, 1]))
    (3, 2)
    """
    low, high, shift = int(weight.min(initial=0)), int(weight.max(initial=0)), exponent(weight)
    return bits_for(low >> shift, high >> shift)


class _Reader:
    def __init__(self, program: Program, neurons_known: frozenset[str]):
        self.program, self.known = program, neurons_known
        self.info = program.values()
        self.depth = {e.value: 0 for e in program.inputs}
        self.stands = {e.value: e.value for e in program.inputs}  # which value's neurons hold a flattened one
        for step in program.steps:
            self.stands[step.name] = self.stands[step.sources[0]] if isinstance(step, Move) else step.name
        read_outside = [s for step in program.steps if _on_host(step, neurons_known) for s in step.sources]
        self.ends = {self.stands[value] for value in (*program.decoded(), *read_outside)}
        self.layers: list[Layer] = []
        self.host: list[HostWork] = []
        self.waits: dict[str, int] = {}

    def read(self) -> Demand:
        for step in self.program.steps:
            before = max(self.depth[s] for s in step.sources)
            what = _on_host(step, self.known)
            steps = isinstance(step, Population | Normalization) or (isinstance(step, MaxPool) and not what)
            self.depth[step.name] = before + steps
            if what:
                neurons = math.prod(step.shape)
                self.host.append(HostWork(step.name, step.origin.nodes, what, neurons, self._operations(step)))
            elif isinstance(step, Population):
                self.layers.append(self._layer(step, before))
            elif isinstance(step, MaxPool):
                self.layers.append(self._pool(step, before))
        ins = {e.value: self.info[e.value] for e in self.program.inputs}
        return Demand(tuple(self.layers), tuple(self._relays()), tuple(self.host), max(self.depth.values()), ins,
                      self.program.timesteps + self.program.settle)  # fmt: skip

    def _layer(self, step: Population, before: int) -> Layer:
        grid, axes, inner = _grid(step)
        links = tuple(self._link(p.source, p.map, before, grid) for p in step.projections)
        for link in links:
            self.waits[link.source] = max(self.waits.get(link.source, 0), link.delay)
        info, ladder = self.info[step.name], step.ladder
        theta = ladder.theta.astype(np.int64) if isinstance(ladder, Uniform) else np.ones(1, np.int64)
        return Layer(
            step.name, step.origin.nodes, step.shape, grid, axes, inner, links, before + 1, info.lo, info.hi,
            type(ladder).__name__, bits_for(step.acc_min, step.acc_max),
            ladder.table.shape[-1] if isinstance(ladder, Table) else 0, bool(((theta & (theta - 1)) == 0).all()),
            step.name in self.ends,
        )  # fmt: skip

    def _pool(self, step: MaxPool, before: int) -> Layer:
        """Return a max pool that cores can compute: neurons that fire with any spike of their level."""
        info, (c, *space) = self.info[step.source], step.shape
        height, width = _pair(tuple(space))
        axes: Axes = (0, 1 if len(space) > 1 else None, len(space))
        window = Window("conv", 1, _pair(step.kernel), _pair(step.strides), _pair(step.kernel), c)
        stands, size = self.stands[step.source], math.prod(step.shape)
        is_input = any(e.value == stands for e in self.program.inputs)
        link = Link(stands, window, 2, size * window.taps, info.hi - info.lo, is_input, 0, max(-info.lo, info.hi))
        grid = (c, height, width)
        return Layer(step.name, step.origin.nodes, step.shape, grid, axes, 1, (link,), before + 1, info.lo, info.hi,
                     "MaxPool", is_output=step.name in self.ends)  # fmt: skip

    def _link(self, source: str, linear: LinearMap, before: int, grid: Grid) -> Link:
        info = self.info[source]
        low, high = reach(linear, info)
        top = max(-int(low.min()), int(high.max()))
        stands, delay = self.stands[source], before - self.depth[source]
        is_input = any(e.value == stands for e in self.program.inputs)
        window, bits, synapses = _window(linear, info.shape, grid), stored_bits(linear.weight), macs(linear, info)
        if isinstance(linear, Conv) and _selects(linear):
            synapses = synapses * int(np.count_nonzero(linear.weight)) // linear.weight.size
        return Link(stands, window, bits, synapses, info.hi - info.lo, is_input, delay, top)

    def _operations(self, step: Step) -> int:
        if isinstance(step, MaxPool):
            return math.prod(step.shape) * math.prod(step.kernel)
        if isinstance(step, Population):
            pairs = sum(product_macs(q, self.info) for q in step.products)
            return pairs + sum(macs(p.map, self.info[p.source]) for p in step.projections) + math.prod(step.shape)
        return 3 * math.prod(step.shape)

    def _relays(self) -> Iterable[Layer]:
        """Yield the populations that would hold back what skips a layer, one for every step of waiting.

        An input is held back by whoever sends it.
        """
        on_cores = {layer.name: layer for layer in self.layers}
        for source, steps in self.waits.items():
            of = on_cores.get(source)
            for k in range(steps if of is not None else 0):
                assert of is not None
                one = Window("conv", 1, groups=of.grid[0])
                link = Link(source, one, 2, of.neurons, of.hi - of.lo, False, 0, max(-of.lo, of.hi))
                yield Layer(f"{source} + {k + 1}", of.nodes, of.shape, of.grid, of.axes, of.inner, (link,),
                            of.depth + k + 1, of.lo, of.hi, "Uniform", is_relay=True)  # fmt: skip


def _on_host(step: Step, known: frozenset[str]) -> str:
    """Return what no core is known to compute of a step, "" where one could."""
    if isinstance(step, Move):
        return ""
    if isinstance(step, MaxPool):
        return "" if "MaxPool" in known else "max pooling"
    if isinstance(step, Normalization):
        return "normalisation by a row's standard deviation"
    if not isinstance(step, Population):
        assert_never(step)
    if step.products:
        return "a product of two values"
    if type(step.ladder).__name__ not in known:
        words = {"RowTable": "thresholds that follow the maximum of a row (softmax)",
                 "Ratio": "thresholds scaled by the sum of a row (softmax)",
                 "Table": "a table of thresholds at unequal distances"}  # fmt: skip
        return words.get(type(step.ladder).__name__, f"a {type(step.ladder).__name__} ladder")
    return ""


def _grid(step: Population) -> tuple[Grid, Axes, int]:
    """Return the grid of a population, its axes, and the neurons at each of its places."""
    shape, rank = step.shape, len(step.shape)
    last = any(isinstance(p.map, Dense) for p in step.projections)
    if rank <= 1:
        return (math.prod(shape), 1, 1), (0 if rank else None, None, None), 1
    if last:  # channels are last: a Dense reads rows
        around = list(range(rank - 1))
        axes: Axes = (rank - 1, around[-2] if rank > 2 else None, around[-1])
    else:
        axes = (0, rank - 2 if rank > 2 else None, rank - 1)
    used = {a for a in axes if a is not None}
    inner = math.prod(n for a, n in enumerate(shape) if a not in used)
    c, h, w = (1 if a is None else shape[a] for a in axes)
    return (c, h, w), axes, inner


def _window(linear: LinearMap, shape: Shape, grid: Grid) -> Window:
    if isinstance(linear, Dense):
        if len(shape) == 1:
            return Window("dense", linear.weight.shape[1], is_printed=True)
        return Window("conv", linear.weight.shape[1])  # the same weights at every place
    if isinstance(linear, Conv):
        is_map = len(linear.strides) == 2
        size, strides, spread = (_pair(x) for x in (linear.weight.shape[2:], linear.strides, linear.dilations))
        reach = (1 + (size[0] - 1) * spread[0], 1 + (size[1] - 1) * spread[1])
        if _selects(linear):  # a channel here and there, as the shortcut of a ResNet: synapses, no kernel
            each = -(-int(np.count_nonzero(linear.weight)) // max(grid[0], 1))
            return Window("conv", max(-(-each // math.prod(size)), 1), size, strides, reach, grid[0])
        printed = linear.groups == 1 and is_map and spread == (1, 1)
        return Window("conv", linear.weight.shape[1], size, strides, reach, linear.groups, printed)
    if isinstance(linear, SumPool | Identity):
        weight, kernel, strides = linear.weight, (1, 1), (1, 1)
        if isinstance(linear, SumPool):
            kernel, strides = _pair(linear.kernel), _pair(linear.strides)
        per_channel = weight.size == 1 or (weight.ndim == len(shape) and weight.size == weight.shape[0])
        if per_channel and len(shape) > 1:
            return Window("conv", 1, kernel, strides, kernel, grid[0])
        return Window("sparse", math.prod(kernel))
    if isinstance(linear, Gather):
        return Window("sparse", 1)
    assert_never(linear)


def _selects(conv: Conv) -> bool:
    """Return whether hardly any weight of a convolution is not 0, so that it is stored as single synapses."""
    return int(np.count_nonzero(conv.weight)) * MOSTLY_ZERO <= conv.weight.size


def _pair(x: tuple[int, ...]) -> tuple[int, int]:
    """Return (height, width) of what is given per space axis: a line has height 1."""
    return (1, x[0]) if len(x) == 1 else (x[0], x[1])
