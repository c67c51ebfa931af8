"""split-digits: a site with more levels than were asked for is fired as two digits, by two populations.

A code ``k = base * q + r`` of the site becomes two. The first population fires ``q``: the same sum against thresholds
``base`` times as far apart. The second fires ``r``, 0 to ``base - 1``: the same sum less what the first has fired.
Whatever read the site reads both, through the same weights. Neither has more levels than were asked for, and together
they are as fine as one of ``base`` times as many. The price: what drives the site and what it drives is paid twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ...graph.graph import Graph, Levels, Node, unique_name
from ...graph.macs import macs
from ...graph.ops import Activation, Layer, Moved, Site, Term
from ...graph.ops.activation import ActivationKind
from ...graph.ops.stages import levels_of, without_integers
from ...program.network import Identity, LinearMap, ValueInfo
from ...program.relations import SecondDigit
from ..base import INTEGERS, PassResult
from .quantize_weights import uniform_site

# What is left of a sum that a clip has cut off from above: the highest code of both digits stands for the bound.
REST: dict[str, ActivationKind] = {"relu": "relu", "identity": "identity", "clip": "relu"}
SECOND = "second digit of {}: its rounding error"


def base_for(levels: int, weight_bits: int = 8) -> int:
    """Return the radix in which populations of so many levels fire two digits: at most 8, and 255 levels in all.

    Weights that read the second digit are so many times smaller and share the bits of those that read the first: with 4
    bits they are -1, 0 and 1 at a radix of 4. A radix of 1 is no second digit.

    >>> [base_for(n) for n in (1, 3, 7, 31, 63, 127, 255)]
    [2, 4, 8, 8, 4, 2, 1]
    >>> [base_for(15, bits) for bits in (2, 3, 4, 5, 6)]
    [1, 2, 4, 8, 8]
    """
    return min(8, levels + 1, 256 // (levels + 1), int(2 ** (weight_bits - 2)))


def levels_in_two_digits(levels: int, base: int) -> int:
    """Return how many levels two populations of at most so many make together.

    >>> levels_in_two_digits(7, 8)
    63
    """
    return base * (levels + 1) - 1


@dataclass(frozen=True, eq=False)
class SplitDigits:
    """Splits the sites of ``bases``, each in its radix; the integers of the graph must be chosen again after it."""

    bases: Mapping[str, int]

    name: ClassVar[str] = "split-digits"
    needs: ClassVar[frozenset[str]] = frozenset({"sites-placed"})
    makes: ClassVar[frozenset[str]] = frozenset()
    breaks: ClassVar[frozenset[str]] = INTEGERS  # the new populations have none
    exact: ClassVar[bool] = True

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with two populations for each of the sites. Those must be :func:`divisible`."""
        return PassResult(_Splitter(graph, self.bases).run())


@dataclass
class _Splitter:
    graph: Graph
    bases: Mapping[str, int]
    nodes: list[Node] = field(default_factory=list)
    seconds: dict[str, str] = field(default_factory=dict)

    def run(self) -> Graph:
        for node in self.graph.nodes:
            if isinstance(node.op, Layer):
                reading, layer = self._reading(node, without_integers(node.op))
                self.nodes += self._split(reading, layer) if node.name in self.bases else [reading]
            else:
                self.nodes.append(node)
                if len(node.inputs) == 1 and node.inputs[0] in self.seconds:
                    moved = replace(node, name=self._named(node.name), inputs=(self.seconds[node.inputs[0]],), tap=None)
                    self.nodes.append(moved)
        return replace(self.graph, nodes=tuple(self.nodes))

    def _reading(self, node: Node, layer: Layer) -> tuple[Node, Layer]:
        """Return a Layer that reads second digits where it reads first ones."""
        k = len(layer.terms)
        terms = [
            (read, term) for s, term in zip(node.inputs[:k], layer.terms, strict=True)
            for read in (s, self.seconds.get(s)) if read is not None
        ]  # fmt: skip
        return _with_terms(node, layer, terms, node.inputs[k:])

    def _split(self, node: Node, layer: Layer) -> list[Node]:
        """Return the populations of both digits."""
        base = self.bases[node.name]
        assert layer.activation is not None
        first = node
        op = replace(layer, activation=Activation(REST[layer.activation.kind]), relation=SecondDigit(node.name, base))
        if isinstance(layer, Site) and isinstance(op, Site):  # levels are chosen
            first = replace(node, op=replace(layer, levels=_first(layer.levels, base)))
            op = replace(op, levels=_second(layer.levels, base, node.name))
        minus = Term(Identity(-np.ones((1,) * len(node.type.shape))), "subtract")
        terms = [*zip(node.inputs[: len(layer.terms)], layer.terms, strict=True), (node.name, minus)]
        second, _ = _with_terms(node, op, terms, ())
        return [first, replace(second, name=self._named(node.name), tap=None)]

    def _named(self, name: str) -> str:
        taken = {*self.graph.types(), *(n.name for n in self.nodes)}
        self.seconds[name] = unique_name(f"{name}/carry", taken.__contains__)
        return self.seconds[name]


def _with_terms(node: Node, layer: Layer, terms: list[tuple[str, Term]], others: tuple[str, ...]) -> tuple[Node, Layer]:
    op = replace(layer, terms=tuple(t for _, t in terms))
    return replace(node, op=op, inputs=(*(s for s, _ in terms), *others)), op


def _first(levels: Levels, base: int) -> Levels:
    return replace(levels, step=levels.step * base, lo=levels.lo // base, hi=levels.hi // base,
                   offset=levels.offset / base)  # fmt: skip


def _second(levels: Levels, base: int, site: str) -> Levels:
    return replace(levels, lo=0, hi=base - 1, reason=SECOND.format(site))


@dataclass(frozen=True, eq=False)
class Whole:
    """What two digits are together: ``base`` times the first plus those of ``second`` are codes of ``levels``."""

    second: str
    base: int
    levels: Levels


def wholes(graph: Graph) -> dict[str, Whole]:
    """Return the sites that are fired in two digits, by the name of the first."""
    nodes, found = graph.by_name(), dict[str, Whole]()
    for node in graph.nodes:
        relation = node.op.relation if isinstance(node.op, Layer) else None
        if isinstance(relation, SecondDigit):
            site, base = relation.of, relation.radix
            first, second = levels_of(nodes[site].op), levels_of(node.op)
            if first is not None and second is not None:
                both = replace(second, lo=base * first.lo, hi=base * first.hi + base - 1, reason=first.reason)
                found[site] = Whole(node.name, base, both)
    return found


@dataclass(frozen=True)
class Division:
    """What firing a site in two digits means: the multiply-accumulates that it adds, and the Layers that read both."""

    macs: int
    readers: tuple[str, ...]


def divisible(graph: Graph, at_these_levels: bool = False) -> dict[str, Division]:
    """Return the sites that can be fired in two digits: with other levels, or with those that they have.

    Sums behind a ReLU, a clip from 0 or nothing, on uniform levels, that only sums read, as they are or moved. When it
    is divided, a clip's levels must not end above its bound: then the highest code is fired with and without it.
    """
    users, types = graph.users(), graph.types()
    outputs = set(graph.decoded())
    found = {}
    for node in graph.nodes:
        readers = list(_readers(node.name, users))
        names = {node.name, *_moved(node.name, users)}
        if not isinstance(node.op, Site) or not _can_fire(node.op) or (at_these_levels and not uniform_site(node.op)):
            continue
        if readers and not names & outputs:
            maps = [_read_by(reader, source) for reader, source in readers]
            if all(m is not None for m in maps):
                read = [(s, m) for (_, s), some in zip(readers, maps, strict=True) for m in some or ()]
                drive = ((p.source, p.map) for p in node.op.drivers(node.inputs)[0])
                added = sum(macs(m, ValueInfo(types[s].shape, 0, 0)) for s, m in (*read, *drive))
                found[node.name] = Division(added, tuple(dict.fromkeys(reader.name for reader, _ in readers)))
    return found


def _can_fire(layer: Site) -> bool:
    levels, act = layer.levels, layer.activation
    if levels.imported or levels.book is not None or layer.rounding_of:
        return False
    plain = not (layer.products or layer.norm_axis is not None or layer.has_units)
    return plain and act.kind in REST and act.a == 0 and (levels.lo >= 0 or act.kind == "identity")


def _moved(value: str, users: Mapping[str, list[Node]]) -> Iterator[str]:
    """Yield the names of a value behind moves of it alone."""
    for user in users[value]:
        if isinstance(user.op, Moved) and len(user.inputs) == 1:
            yield user.name
            yield from _moved(user.name, users)


def _readers(value: str, users: Mapping[str, list[Node]]) -> Iterator[tuple[Node, str]]:
    """Yield what reads a value, with the name under which it does, through moves of this value alone."""
    for user in dict.fromkeys(users[value]):  # each once, however often it reads
        if isinstance(user.op, Moved) and len(user.inputs) == 1:
            yield from _readers(user.name, users)
        else:
            yield user, value


def _read_by(reader: Node, value: str) -> list[LinearMap] | None:
    """Return the linear maps through which a Layer reads a value; None where it is read in any other way."""
    op = reader.op
    if not isinstance(op, Layer) or op.has_units:
        return None
    if value == op.rounding_of or value in reader.inputs[len(op.terms) :]:
        return None
    return [p.map for p in op.drivers(reader.inputs)[0] if p.source == value]
