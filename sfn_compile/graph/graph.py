"""The float graph between ONNX and the Program: immutable, SSA by name, weights inside the ops, no batch axis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import Origin
from ..program.broadcast import Axis
from ..program.network import HostOp, Shape
from ..program.rounding import Rounding, due, nearest, ranks, to_codes, to_ranks

Array = NDArray[Any]
Kind = Literal["real", "spikes", "acc"]
F = TypeVar("F")


class Op(Protocol):
    """An operation on samples. Ops are frozen dataclasses; their NumPy semantics is their meaning."""

    def infer(self, *shapes: Shape) -> Shape:
        """Return the shape of one output sample from those of the inputs."""

    def evaluate(self, *xs: Array) -> Array:
        """Return the output batch ``(n, *shape)`` for input batches, in float64."""


@dataclass(frozen=True)
class TensorType:
    """Shape of one sample and what its numbers are: real, spikes (codes times a step) or accumulators."""

    shape: Shape
    kind: Kind = "real"


@dataclass(frozen=True, eq=False)
class Levels:
    """How a site's real values become codes: ``code = clip(floor(x / step + offset), lo, hi)``.

    ``step`` (real units per code, > 0) broadcasts against the sample; ``dead`` marks channels that calibration saw
    constant; ``reason`` says why a site has other levels than asked for, empty otherwise. ``rounding`` is half up, or
    the rule of the quantiser that the levels were imported from. ``offset``, in steps, is half a step unless a method
    says otherwise. A ``book`` of ascending codes from lo to hi makes the levels non-uniform: then each
    code but the first is due from the share ``1 - offset`` of the way from the code before it. ``stated``: the values
    of the codes are all that the network's own function takes.
    """

    step: Array
    lo: int
    hi: int
    dead: Array
    reason: str = ""
    rounding: Rounding = "half_up"
    book: tuple[int, ...] | None = None
    offset: float = 0.5
    stated: bool = False

    @property
    def codes(self) -> Sequence[int]:
        """All codes, ascending."""
        return range(self.lo, self.hi + 1) if self.book is None else self.book

    def due(self) -> list[Fraction]:
        """Return, in steps and exactly, from where on every code but the first is due."""
        return due(self.codes, self.offset)

    def real(self, x: Array) -> Array:
        """Return the real values that the codes of ``x`` stand for, in float64."""
        return self.quantize(x) * np.asarray(self.step, np.float64)

    def nearest(self, scaled: Array) -> Array:
        """Return the codes of ``scaled``, real values divided by the step, like them in shape and number type.

        May overwrite ``scaled``.
        """
        if self.book is None:
            return nearest(scaled, self.lo, self.hi, self.offset)
        return np.array(self.book, scaled.dtype)[ranks(scaled, self.book, self.offset)]

    @property
    def imported(self) -> bool:
        """Whether the model itself states these levels: nothing about them is ours to choose."""
        return self.stated or self.rounding != "half_up"

    def quantize(self, x: Array) -> Array:
        """Return the codes of real values ``(n, *shape)``."""
        if self.book is None:
            return to_codes(x, self.step, self.lo, self.hi, self.rounding, self.offset)
        return np.array(self.book, np.int32)[self.ranks(x)]

    def ranks(self, x: Array) -> Array:
        """Return the indices, in :attr:`codes`, of the codes of real values ``(n, *shape)``."""
        return to_ranks(x, self.step, self.codes, self.offset)


@dataclass(frozen=True, eq=False)
class Node:
    """One value of the graph. ``tap`` names the ONNX value that holds the same numbers, None where there is none."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    type: TensorType
    origin: Origin
    tap: str | None = None


@dataclass(frozen=True, eq=False)
class InputGrid:
    """What samples show: the ``step`` of each channel ``(c,)`` of which values are integer multiples, NaN where not.

    ``lo``, ``hi``: the range of codes that these multiples have.
    """

    step: Array
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class GraphInput:
    """The network's input after the host's own operations (``host``); ``levels`` once they are chosen.

    ``axis``: the channel axis of a sample, along which steps may differ. ``grid``: where values lie on one.
    """

    name: str
    model_name: str
    model_shape: Shape
    dtype: str
    type: TensorType
    host: tuple[HostOp, ...] = ()
    levels: Levels | None = None
    axis: Axis = 0
    grid: InputGrid | None = None

    @property
    def whole(self) -> bool:
        """Whether it is an integer image of 8 bits that enters as it is, moved at most."""
        return self.dtype in ("uint8", "int8") and all(op.kind == "move" for op in self.host)

    @property
    def chosen(self) -> Levels:
        """The levels, of a graph in which they are chosen."""
        assert self.levels is not None
        return self.levels

    def stated(self, x: Array) -> Array:
        """Return the prepared input ``x`` ``(n, *shape)`` in float64, rounded where the model itself quantises it."""
        return self.levels.real(x) if self.levels is not None and self.levels.imported else np.asarray(x, np.float64)


@dataclass(frozen=True, eq=False)
class GraphOutput:
    """An output of the ONNX model: the value it is decoded from, the host operations after decoding, its type.

    ``joined``: further values that the operations read (:class:`.network.HostOp` numbers all of them).
    """

    name: str
    value: str
    host: tuple[HostOp, ...] = ()
    dtype: str = "float32"
    joined: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        """Names of all values that it is decoded from."""
        return (self.value, *self.joined)

    def renamed(self, name: Callable[[str], str]) -> GraphOutput:
        """Return the output with other names of the values that it is decoded from."""
        return replace(self, value=name(self.value), joined=tuple(map(name, self.joined)))

    def behind(self, value: str, source: str, op: HostOp) -> GraphOutput:
        """Return the output with ``op`` of the value ``source`` in the place of ``value``."""
        if value not in self.values:
            return self
        at, new = self.values.index(value), len(self.values)
        numbers = [*range(new), *range(new + 1, new + 1 + len(self.host))]
        numbers[at] = new
        host = [replace(op, reads=() if at == new - 1 else (at,))]
        for i, later in enumerate(self.host, new):
            reads = tuple(numbers[n] for n in later.sources(i))
            host.append(replace(later, reads=() if reads == (i,) else reads))
        found = self.renamed(lambda name: source if name == value else name)
        return replace(found, host=tuple(host))


@dataclass(frozen=True, eq=False)
class Graph:
    """The network. ``nodes`` are in topological order; ``invariants`` are the named facts that hold of it.

    ``before`` says of taps that do not have the batch in front how many numbers of one sample are before it.
    ``facts``: what passes recorded, by kind.
    """

    inputs: tuple[GraphInput, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[GraphOutput, ...]
    invariants: frozenset[str] = field(default=frozenset())
    before: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[type[Any], Any] = field(default_factory=dict)

    def fact(self, kind: type[F]) -> F | None:
        """Return the record of this kind, None where no pass made one."""
        found: F | None = self.facts.get(kind)
        return found

    def types(self) -> dict[str, TensorType]:
        """Return the type of every value by name."""
        return {**{i.name: i.type for i in self.inputs}, **{n.name: n.type for n in self.nodes}}

    def by_name(self) -> dict[str, Node]:
        """Return the nodes by name."""
        return {n.name: n for n in self.nodes}

    def users(self) -> dict[str, list[Node]]:
        """Return the nodes that read each value, one entry per use."""
        found: dict[str, list[Node]] = {name: [] for name in self.types()}
        for node in self.nodes:
            for source in node.inputs:
                found[source].append(node)
        return found

    def is_output(self, value: str) -> bool:
        """Return whether the value is decoded as a network output."""
        return any(value in o.values for o in self.outputs)

    def decoded(self) -> list[str]:
        """Return the names of the values that outputs are decoded from, each once."""
        return list(dict.fromkeys(v for o in self.outputs for v in o.values))

    def evaluate(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return every value ``(n, *shape)`` in float64 for batches of encoded-side inputs, by name."""
        values: dict[str, Array] = {i.name: np.asarray(inputs[i.name], np.float64) for i in self.inputs}
        for node in self.nodes:
            values[node.name] = node.op.evaluate(*(values[s] for s in node.inputs))
        return values


def make_node(
    name: str, op: Op, inputs: Iterable[str], types: Mapping[str, TensorType], origin: Origin,
    tap: str | None = None, kind: Kind = "real",
) -> Node:  # fmt: skip
    """Return a node with its type inferred from its inputs' types."""
    sources = tuple(inputs)
    return Node(name, op, sources, TensorType(op.infer(*(types[s].shape for s in sources)), kind), origin, tap)


def rebuild(graph: Graph, nodes: Iterable[Node], renamed: Mapping[str, str] | None = None) -> Graph:
    """Return the graph with other nodes, uses of renamed values replaced, shapes inferred anew, dead nodes dropped."""
    alias = dict(renamed or {})

    def real(name: str) -> str:
        while name in alias:
            name = alias[name]
        return name

    types = {i.name: i.type for i in graph.inputs}
    made = []
    for node in nodes:
        fresh = make_node(node.name, node.op, map(real, node.inputs), types, node.origin, node.tap, node.type.kind)
        types[node.name] = fresh.type
        made.append(fresh)
    changed = replace(graph, outputs=tuple(o.renamed(real) for o in graph.outputs))
    return replace(changed, nodes=live_nodes(made, changed.decoded()))


def live_nodes(nodes: Iterable[Node], roots: Iterable[str]) -> tuple[Node, ...]:
    """Return the nodes that some root depends on, order kept."""
    needed, kept = set(roots), []
    for node in reversed(tuple(nodes)):
        if node.name in needed:
            needed.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))


def unique_name(base: str, taken: Callable[[str], bool]) -> str:
    """Return ``base``, with a number appended where ``taken`` says it is in use."""
    name, i = base, 1
    while taken(name):
        name, i = f"{base}.{i}", i + 1
    return name
