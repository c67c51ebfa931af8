"""What a trial may choose: levels, stretch and weight bits of groups of layers, and one method for all.

Layers are tied in groups so that few numbers are searched: neighbours of one shape first, as the stages of a residual
network are. What the user stated with ``--site`` is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import TypeVar

from ..foundation.diagnostics import fail
from ..foundation.options import Options, SiteOptions
from ..graph.graph import Graph
from ..graph.ops import Layer, needs_statistics
from ..passes.mapping.site_roles import fine_sites

Site = tuple[str, tuple[int, ...]]
T = TypeVar("T")
MOST_GROUPS = 8
SHARES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125)  # of the codes that --levels allows
BITS = (8, 6, 5, 4, 3)
METHODS = ("mse", "percentile")  # times a stretch, a percentile is SFN's quantile times lambda
STRETCHES = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)  # AdaFire tries 1 to 10; past 4 no network was of use


@dataclass(frozen=True)
class Point:
    """A choice: levels, weight bits and stretch of every group, and the method of the network."""

    levels: tuple[int, ...]
    bits: tuple[int, ...]
    stretch: tuple[float, ...]
    method: str


@dataclass(frozen=True)
class Space:
    """The choices: ``groups`` of sites in the order of the network, ``readouts`` whose weights go with the last group.

    ``levels`` and ``bits`` list the values that a group may take, the one of the plain compilation first.
    """

    base: Options
    groups: tuple[tuple[str, ...], ...]
    readouts: tuple[str, ...]
    levels: tuple[int, ...]
    bits: tuple[int, ...]
    methods: tuple[str, ...]

    def plain(self) -> Point:
        """Return the choice of a compilation without a search."""
        n = len(self.groups)
        return Point((self.levels[0],) * n, (self.bits[0],) * n, (1.0,) * n, self.base.method)

    def options(self, point: Point) -> Options:
        """Return the compile options of a choice; what is as in the whole network is not said of a site."""
        own = dict(self.base.sites)
        for i, group in enumerate(self.groups):
            levels = None if point.levels[i] == self.base.levels else point.levels[i]
            bits = None if point.bits[i] == self.base.weight_bits else point.bits[i]
            own |= dict.fromkeys(group, SiteOptions(levels, bits, None, point.stretch[i]))
            if group == self.groups[-1]:
                own |= dict.fromkeys(self.readouts, SiteOptions(None, bits))
        return replace(self.base, method=point.method, sites={k: v for k, v in own.items() if v != SiteOptions()})


def space_of(graph: Graph, base: Options, memory: bool, most: int = MOST_GROUPS) -> Space:
    """Return the choices for a network in at most ``most`` groups; weight bits are one only where ``memory`` counts.

    Sites of attention keep their levels. Raises SFN605 where nothing can be chosen.
    """
    fine, types = fine_sites(graph), graph.types()
    free = [n for n in graph.nodes if n.name not in base.sites]
    found = [(n.name, types[n.name].shape) for n in free if needs_statistics(n.op) and n.name not in fine]
    if not found:
        raise fail("SFN605", "--search: the network has no population whose levels could be chosen",
                   fix="a network that states its own levels needs no search")  # fmt: skip
    readouts = tuple(n.name for n in free if isinstance(n.op, Layer) and n.op.activation is None)
    bits = tuple(b for b in (base.weight_bits, *BITS) if b <= base.weight_bits) if memory else (base.weight_bits,)
    methods = tuple(dict.fromkeys((base.method, *METHODS)))
    return Space(base, grouped(found, most), readouts, level_choices(base.levels), tuple(dict.fromkeys(bits)), methods)


def level_choices(top: int) -> tuple[int, ...]:
    """Return the levels that are tried, the most first.

    >>> level_choices(31), level_choices(2)
    ((31, 23, 15, 11, 7, 5, 3), (2, 1))
    """
    return tuple(dict.fromkeys(max(1, round((top + 1) * share) - 1) for share in SHARES))


def grouped(sites: Sequence[Site], most: int) -> tuple[tuple[str, ...], ...]:
    """Return the sites in at most ``most`` runs of neighbours: those of one shape, the longest cut in halves.

    >>> grouped([("a", (8,)), ("b", (8,)), ("c", (8,)), ("d", (2,))], 3)
    (('a', 'b'), ('c',), ('d',))
    """
    runs = [[name for name, _ in run] for _, run in groupby(sites, key=itemgetter(1))]
    while len(runs) < min(most, len(sites)):
        i = max(range(len(runs)), key=lambda j: len(runs[j]))
        half = -(-len(runs[i]) // 2)
        runs[i : i + 1] = [runs[i][:half], runs[i][half:]]
    while len(runs) > most:
        i = min(range(len(runs) - 1), key=lambda j: len(runs[j]) + len(runs[j + 1]))
        runs[i : i + 2] = [runs[i] + runs[i + 1]]
    return tuple(tuple(run) for run in runs)


def put(values: tuple[T, ...], i: int, value: T) -> tuple[T, ...]:
    """Return ``values`` with another one at place ``i``."""
    return (*values[:i], value, *values[i + 1 :])
