"""Which channels must share one step: those whose codes one weight or one window of a max pool reads.

Every channel of every site has a label. Labels travel through moves and max pools like the codes themselves, so where a
reader finds different steps in one of its channels, the labels found there are the channels to tie together. A pixel
shuffle ties the phases of one channel, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...foundation.diagnostics import fail
from ...graph.graph import Graph, TensorType
from ...graph.ops import MaxPool, Moved, fires
from ...graph.ops.layer import n_channels
from ...graph.ops.stages import levels_of
from ...program.broadcast import Axis, along, channel_vector, spread

Array = NDArray[Any]


class Ties:
    """Groups of channels with one step each, and the steps of groups that span several sites."""

    def __init__(self, graph: Graph):
        self.nodes = graph.by_name()
        types = graph.types()
        axes: dict[str, Axis] = {i.name: i.axis for i in graph.inputs}
        axes |= {n.name: n.op.axis for n in graph.nodes if fires(n.op)}
        self.sites = {name: (types[name], axis) for name, axis in axes.items()}
        self.first: dict[str, int] = {}
        n = 1  # label 0 stands for padding, which has no step
        for name, (kind, axis) in self.sites.items():
            self.first[name] = n
            n += n_channels(kind.shape, axis)
        self.group = np.arange(n)
        self.pins: dict[int, float] = {}
        self.stated = self._stated(graph, n)

    def groups(self, site: str) -> Array | None:
        """Return the group 0, 1, ... of every channel, ``(c,)``; None where none is tied to another."""
        labels = self._own(site)
        found = self.group[labels]
        if np.array_equal(found, labels) and (np.bincount(self.group)[labels] == 1).all():
            return None
        return np.unique(found, return_inverse=True)[1].reshape(-1)

    def tied(self, site: str, step: Array) -> Array:
        """Return steps ``(c,)`` with the largest of each group for all its channels, or what the group is pinned to."""
        groups = self.groups(site)
        if groups is None:
            return step
        top = np.zeros(groups.max() + 1)
        np.maximum.at(top, groups, step)
        pinned = [self.pins.get(int(g)) for g in self.group[self._own(site)]]
        return np.array([t if p is None else p for t, p in zip(top[groups], pinned, strict=True)])

    def demand(self, value: str, axis: int, steps: Mapping[str, Array]) -> None:
        """Tie the channels that one channel of ``value`` along ``axis`` reads: ``steps`` holds those chosen so far."""
        front = np.moveaxis(self._labels(value), axis, 0)
        self._demand(value, front.reshape(front.shape[0], -1), steps)

    def demand_rows(self, value: str, axis: int, steps: Mapping[str, Array]) -> None:
        """Tie what a matrix product sums up: the steps of ``value`` along ``axis``, at each place of the other axes."""
        labels = np.moveaxis(self._labels(value), axis, -1)
        self._demand(value, np.unique(labels.reshape(-1, labels.shape[-1]), axis=0), steps)

    def _demand(self, value: str, rows: Array, steps: Mapping[str, Array]) -> None:
        met = [self._tie(row) for row in rows]
        met.append(self._keep_stated(value, rows))
        if not any(met) and not self._pin(rows, steps) and not self._tie(rows):
            raise AssertionError(f"everything behind {value} has one step already")

    def _stated(self, graph: Graph, n: int) -> Array:
        """Return the step of every label whose site the model itself quantises, 0 for all others."""
        levels = {i.name: i.levels for i in graph.inputs}
        levels |= {x.name: levels_of(x.op) for x in graph.nodes if fires(x.op)}
        found = np.zeros(n)
        for site, (kind, axis) in self.sites.items():
            stated = levels[site]
            if stated is not None:
                found[self._own(site)] = channel_vector(stated.step, kind.shape, axis)
        return found

    def _keep_stated(self, value: str, labels: Array) -> bool:
        """Pin groups to the step that the model states for one of their channels; return whether any was not yet.

        Raises SFN202 where it states two.
        """
        changed = False
        for g in np.unique(self.group[labels[labels > 0]]).tolist():
            steps = np.unique(self.stated[(self.group == g) & (self.stated > 0)])
            if len(steps) > 1:
                what = f"values quantised with scales of {steps[0]:.6g} and {steps[-1]:.6g} reach one weight or window"
                node = self.nodes.get(value)
                where = ", ".join(node.origin.nodes) if node is not None else value
                raise fail("SFN202", what, where, "put a QuantizeLinear and a DequantizeLinear behind it")
            if len(steps) and self.pins.get(g) != steps[0]:
                self.pins[g], changed = float(steps[0]), True
        return changed

    def join_all(self) -> None:
        """Tie all channels of every site whose steps are ours to choose: one step per tensor."""
        for site in self.sites:
            if not self.stated[self._own(site)].any():
                self._tie(self._own(site))

    def _own(self, site: str) -> Array:
        kind, axis = self.sites[site]
        return self.first[site] + np.arange(n_channels(kind.shape, axis))

    def _labels(self, value: str) -> Array:
        if value in self.sites:
            kind, axis = self.sites[value]
            return np.broadcast_to(spread(axis, kind.shape, self._own(value)), kind.shape)
        node = self.nodes[value]
        sources = [self._labels(s) for s in node.inputs]
        if isinstance(node.op, MaxPool):
            return _pooled(sources[0], node.type)
        assert isinstance(node.op, Moved)
        return node.op.evaluate(*(s[None] for s in sources))[0]

    def _tie(self, labels: Array) -> bool:
        """Put labels into one group; return whether they were not yet."""
        old = np.unique(self.group[labels[labels > 0]])
        if len(old) < 2:
            return False
        pinned = [self.pins.pop(int(g)) for g in old if int(g) in self.pins]
        self.group[np.isin(self.group, old)] = old[0]
        if pinned:
            self.pins[int(old[0])] = max(pinned)
        return True

    def _pin(self, labels: Array, steps: Mapping[str, Array]) -> bool:
        """Pin every group among ``labels`` to its largest step, where its sites chose several; return whether any."""
        chosen = np.zeros(len(self.group))  # 0: not chosen yet, because the site comes later
        for site, (kind, axis) in self.sites.items():
            if site in steps:
                chosen[self._own(site)] = channel_vector(steps[site], kind.shape, axis)
        changed = False
        for g in np.unique(self.group[labels[labels > 0]]).tolist():
            if (self.stated[self.group == g] > 0).any():
                continue  # pinned already
            found = chosen[(self.group == g) & (chosen > 0)]
            if (found != found.max()).any():
                self.pins[g], changed = float(found.max()), True
        return changed


def _pooled(labels: Array, kind: TensorType) -> Array:
    """Return the labels behind a max pool: one per channel, since channels in one window are tied."""
    each = labels.reshape(labels.shape[0], -1).max(axis=1)
    return np.broadcast_to(along(0, len(kind.shape), each), kind.shape)
