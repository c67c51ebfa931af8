"""choose-ladders: every site gets its levels from the statistics of calibration.

Not a pass over the graph alone: it takes the statistics as a field, so that the pass itself stays a pure function.
What the user asked for are its options, what the compiler found out that a site needs its decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...calibration.code_range import code_range
from ...calibration.collect import sites
from ...calibration.methods import RealLadder
from ...calibration.statistics import Statistics
from ...foundation.diagnostics import fail
from ...foundation.options import Options
from ...graph.graph import Graph, GraphInput, Levels, Node
from ...graph.ops import Activation, Layer, MaxPool, Normalize, Site, is_row_exp
from ...graph.ops.layer import channel_rows
from ...graph.ops.stages import at_levels, normal_at_levels
from ...graph.steps import contracted, effective, moved_step, on_codes, rows_of, top_code
from ...program.broadcast import Axis, channel_vector, spread
from ...program.network import Conv, Dense, LinearMap, ProductForm, Shape, ValueInfo
from ...program.ranges import largest
from ..base import PassResult
from .decisions import NO_DECISIONS, Decisions
from .input_levels import input_levels
from .lower import info_behind
from .row_forms import ratio_step, ratio_weight
from .shift_steps import moved_steps, power_of, weighted
from .site_methods import Method, by_groups, of_largest, of_site, plain
from .site_roles import fine_sites, plain_sites
from .ties import Ties

Array = NDArray[Any]

# The smallest step in units of the noise that a channel's inputs bring along. A step far below the noise shows nothing
# but noise, and its threshold is too small an integer: one such channel would make a table of the whole population.
FLOOR = 0.25
ASKED_FOR = "asked for by --site"


@dataclass(frozen=True, eq=False)
class ChooseLadders:
    """Chooses step, lowest and highest code of every input and every firing Layer."""

    statistics: Mapping[str, Statistics]
    options: Options
    decisions: Decisions = NO_DECISIONS

    name: ClassVar[str] = "choose-ladders"
    needs: ClassVar[frozenset[str]] = frozenset({"sites-placed"})
    makes: ClassVar[frozenset[str]] = frozenset({"ladders-chosen"})
    breaks: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = False

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with levels; sites whose readers need one common step get it.

        Raises SFN605 where an option is for a population that does not exist.
        """
        self._check_sites(graph)
        return PassResult(_Chooser(self.statistics, self.options, self.decisions, sites(graph)).run(graph))

    def _check_sites(self, graph: Graph) -> None:
        known = [n.name for n in graph.nodes if isinstance(n.op, Layer | Normalize)]
        for name in sorted(set(self.options.sites) - set(known)):
            near = get_close_matches(name, known, 3, 0.3) or known[:3]
            raise fail(
                "SFN605", f"--site {name}: no such population", fix=f"names are in the report: {', '.join(near)}"
            )


@dataclass(frozen=True, eq=False)
class _Chooser:
    """One run of the pass; what was searched is not searched again for the same ties."""

    statistics: Mapping[str, Statistics]
    options: Options
    decisions: Decisions
    axes: Mapping[str, Axis]
    searched: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def run(self, graph: Graph) -> Graph:
        """Return the graph with levels."""
        ties = Ties(graph)
        if self.options.granularity == "tensor":
            ties.join_all()
        while (chosen := self._attempt(graph, ties)) is None:
            pass
        return chosen

    def _attempt(self, graph: Graph, ties: Ties) -> Graph | None:
        """Return the graph with levels, or None with more channels tied to one step."""
        shapes: dict[str, Shape] = {name: t.shape for name, t in graph.types().items()}
        fine, plain = fine_sites(graph), plain_sites(graph)
        inputs = tuple(self._input(source, ties) for source in graph.inputs)
        steps: dict[str, Array] = {i.name: i.chosen.step for i in inputs}
        infos = {i.name: ValueInfo(i.type.shape, i.chosen.lo, i.chosen.hi) for i in inputs}
        nodes = []
        for node in graph.nodes:
            if isinstance(node.op, Layer):
                if _tied(node, node.op, steps, shapes, ties):
                    return None
                if isinstance(node.op, Site):
                    steps[node.name] = node.op.levels.step
                elif node.op.activation is not None:
                    why = fine.get(node.name, ""), plain.get(node.name, "")
                    levels = self._levels(node, node.op, node.op.activation, steps, infos, ties, *why)
                    steps[node.name] = levels.step
                    site = at_levels(node.op, self._reached(node, node.op, node.op.activation), levels)
                    node = replace(node, op=site, origin=node.origin.touched_by(ChooseLadders.name))
            elif isinstance(node.op, Normalize):
                levels = self._levels_of_rows(node, node.op, ties, fine.get(node.name, ""))
                steps[node.name], said = levels.step, node.origin.touched_by(ChooseLadders.name)
                node = replace(node, op=normal_at_levels(node.op, levels), origin=said)
            else:
                read = node.inputs[0]
                if isinstance(node.op, MaxPool) and channel_vector(steps[read], shapes[read], 0) is None:
                    ties.demand(read, 0, steps)  # codes of different steps cannot be compared
                    return None
                steps[node.name] = moved_step(node, steps, shapes)
            infos[node.name] = info_behind(node, infos)
            nodes.append(node)
        return replace(graph, inputs=inputs, nodes=tuple(nodes))

    def _input(self, source: GraphInput, ties: Ties) -> GraphInput:
        if source.levels is not None:
            return source
        return replace(source, levels=input_levels(source, self.statistics[source.name], self.options, ties))

    def _reached(self, node: Node, layer: Layer, activation: Activation) -> Activation:
        """Return the activation; one that is not defined everywhere keeps to the range that the samples reached."""
        if not activation.is_local():
            return activation
        low, high = (spread(layer.axis, node.type.shape, v) for v in self.statistics[node.name].reached)
        return activation.within(low, high)

    def _range(self, site: str, activation: Activation, options: Options) -> tuple[int, int]:
        """Return the lowest and highest code of a site."""
        key = (site, options.levels, options.method)
        if key not in self.searched:
            self.searched[key] = code_range(activation, self.statistics[site], options)
        found: tuple[int, int] = self.searched[key]
        return found

    def _search(
        self, site: str, groups: Array | None, lo: int, hi: int, options: Options, method: Method
    ) -> RealLadder:  # fmt: skip
        """Return the ladder of a site, with one step for all channels of a group."""
        key = (site, lo, hi, options.levels, options.method, None if groups is None else groups.tobytes())
        if key not in self.searched:
            self.searched[key] = by_groups(self.statistics[site], groups, lo, hi, options, method)
        found: RealLadder = self.searched[key]
        return replace(found, step=found.step * self.options.stretch(site))

    def _at(self, site: str) -> Options:
        """Return the options of a site, with the levels that were decided for it."""
        own, levels = self.options.at(site), self.decisions.levels(site)
        return own if levels is None else replace(own, levels=levels)

    def _own_levels(self, site: str) -> str:
        """Return why a site has levels of its own, "" where it has none."""
        given = self.options.sites.get(site)
        return ASKED_FOR if given is not None and given.levels is not None else self.decisions.reason(site)

    def _options(self, site: str, reason: str) -> Options:
        """Return the options of a site; one that has a ``reason`` gets the levels of attention, or those of its own."""
        own = self._at(site)
        if not reason or self._own_levels(site):
            return own
        one = {**own.method_options, "polarity": "one"}  # they have more codes than asked for as it is
        return replace(own, levels=max(own.levels, own.attention_levels), method_options=one)

    def _said(self, site: str, reason: str, follows: str = "") -> str:
        """Return the reason for other levels than asked for, or for a plain ladder; none where all is as asked for."""
        options = self._at(site)
        if follows and plain(options) != options:
            return f"uniform, rounding to nearest: {follows}"
        levels = self._options(site, reason).levels
        return "" if levels == self.options.levels else self._own_levels(site) or reason

    def _for_shifts(
        self, node: Node, layer: Layer, activation: Activation, found: RealLadder, codes: range,
        steps: Mapping[str, Array], infos: Mapping[str, ValueInfo],
    ) -> Array:  # fmt: skip
        """Return the steps of a site; for a uniform ladder, changed to those that suit thresholds of 2^k best."""
        shape = node.type.shape
        plain = activation.kind == "identity" or activation.linear_above_zero
        if not plain or found.book is not None or layer.norm_axis is not None:
            return found.step

        def power(source: str) -> float:
            step = channel_vector(steps[source], infos[source].shape, self.axes.get(source, 0))
            if source not in self.axes or step is None:
                return top_code(infos[source]) ** 2 / 3  # codes spread evenly
            return power_of(self.statistics[source], step)

        longest = _longest(activation, codes[0], codes[-1])
        terms = weighted(on_codes(node, layer, steps, infos), shape, layer.axis, power)
        bits = self.options.at(node.name).weight_bits
        return moved_steps(found.step, longest, self.statistics[node.name], codes, found.offset, terms, bits)

    def _exponentials(self, node: Node, activation: Activation) -> int:
        """Return the highest code of a softmax's exponentials: so many that a row of them times values still fits.

        Values are taken to be signed, as those of attention are.
        """
        wanted = self._options(node.name, "softmax").levels
        row = node.type.shape[activation.axis] * ((wanted + 1) // 2)
        return max(1, min(wanted, largest(self.options.acc_bits) // row))

    def _left_over(self, node: Node, layer: Layer, steps: Mapping[str, Array]) -> Levels:
        """Return levels that divide one step of the site whose rounding error is fired."""
        n = self._at(node.name).levels
        step = steps[layer.rounding_of] / (n + 1)
        return Levels(step, -((n + 1) // 2), n // 2, np.zeros(step.shape, bool), "the rounding error of a residual sum")

    def _levels_of_rows(self, node: Node, op: Normalize, ties: Ties, reason: str) -> Levels:
        shape, options = node.type.shape, plain(self._options(node.name, reason))
        lo, hi = self._range(node.name, op.activation, options)
        step = self._search(node.name, ties.groups(node.name), lo, hi, options, of_site).step
        dead = step <= 0
        step[dead] = step.max() if (step > 0).any() else 1.0
        step = spread(op.axis, shape, ties.tied(node.name, step))
        said = self._said(node.name, reason, "its threshold follows a deviation")
        return Levels(step, lo, hi, spread(op.axis, shape, dead), said)

    def _of_row_exp(self, node: Node, activation: Activation) -> Levels:
        one, top = np.ones((1,) * len(node.type.shape)), self._exponentials(node, activation)
        return Levels(one / top, 0, top, one == 0, "exponential of a softmax: from 0 to the largest of its row")

    def _levels(
        self, node: Node, layer: Layer, activation: Activation, steps: Mapping[str, Array],
        infos: Mapping[str, ValueInfo], ties: Ties, reason: str, follows: str,
    ) -> Levels:  # fmt: skip
        if is_row_exp(layer):
            return self._of_row_exp(node, activation)
        if layer.rounding_of:
            return self._left_over(node, layer, steps)
        options = self._options(node.name, reason)
        options = plain(options) if follows else options
        lo, hi = self._range(node.name, activation, options)
        # SFormer's cap: the largest weight of attention is the one that must not be cut.
        method = of_largest if layer.norm_axis is not None and layer.terms else of_site
        found = self._search(node.name, ties.groups(node.name), lo, hi, options, method)
        lo, hi = found.ends(lo, hi)
        step = np.minimum(found.step, _longest(activation, lo, hi))
        dead = step <= 0
        rows = _rows_on_codes(node, layer, steps, infos)
        if dead.any():
            # No larger than that of any live channel: readers would have to spend their weights' bits on a dead one.
            most = step[~dead].max(initial=0) or np.inf
            step[dead] = np.minimum(_step_of_weights(node, layer, rows)[dead], most)
        if activation.linear_above_zero:
            step = np.maximum(step, FLOOR * rounding_noise(rows))
        if self.decisions.is_bounded(node.name):
            step = np.minimum(step, _longest(activation, lo, hi))
        if options.threshold == "pow2" and self.options.stretch(node.name) == 1 and ties.groups(node.name) is None:
            codes = range(lo, hi + 1)
            step = self._for_shifts(node, layer, activation, replace(found, step=step), codes, steps, infos)
        step = ties.tied(node.name, step)
        if layer.norm_axis is not None:
            terms = on_codes(node, layer, steps, infos)
            term: LinearMap | ProductForm = terms[1][0].form if terms[1] else terms[0][0].map
            unit = np.abs(rows_of(term, node.type.shape, layer.axis)).max(axis=1)
            whole = ratio_step(step, unit, ratio_weight(terms, infos, options))
            # Channels that share one step, of terms that do not, keep it: their weights are rounded like any others.
            step = whole if np.array_equal(ties.tied(node.name, whole), whole) else step
        axis, shape, said = layer.axis, node.type.shape, self._said(node.name, reason, follows)
        return Levels(spread(axis, shape, step), lo, hi, spread(axis, shape, dead), said, book=found.book,
                      offset=found.offset)  # fmt: skip


def _tied(node: Node, layer: Layer, steps: Mapping[str, Array], shapes: Mapping[str, Shape], ties: Ties) -> bool:
    """Return whether a Layer asks for one step where it reads several: codes that share a weight or are summed up."""
    projections, products = layer.drivers(node.inputs)
    for p in projections:
        if effective(p.map, steps[p.source], shapes[p.source]) is None:
            ties.demand(p.source, -1 if isinstance(p.map, Dense) else 0, steps)
            return True
    for q in products:
        for side, factor in enumerate((q.left, q.right)):
            if contracted(q.form, side, steps[factor], shapes[factor]):
                ties.demand_rows(factor, -1 - side, steps)
                return True
    return False


def _longest(activation: Activation, lo: int, hi: int) -> float:
    """Return the step at which the codes just span a bounded function: a longer one would leave codes unused."""
    bounds = {"clip": (activation.a, activation.b), "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
    low, high = bounds.get(activation.kind, (-np.inf, np.inf))
    return max(max(high, 0.0) / max(hi, 1), max(-low, 0.0) / max(-lo, 1)) or np.inf


def _rows_on_codes(node: Node, layer: Layer, steps: Mapping[str, Array], infos: Mapping[str, ValueInfo]) -> Array:
    """Return per channel the real value of one code of everything that drives it ``(n_channels, n_weights)``.

    One code of a factor is worth what the other factor is at; codes spread evenly over 0..hi have the root mean
    square hi / sqrt(3).
    """
    shape, (projections, products) = node.type.shape, on_codes(node, layer, steps, infos)
    rows = [_row(p.map, shape, layer.axis) for p in projections]
    for p in products:
        row = _row(p.form, shape, layer.axis) / np.sqrt(3)
        rows += [row * top_code(infos[p.right]), row * top_code(infos[p.left])]
    return np.concatenate(rows, axis=1)


def _row(linear: LinearMap | ProductForm, shape: Shape, axis: Axis) -> Array:
    """Return the weights that drive one neuron of each channel: the largest where every neuron has its own."""
    rows = rows_of(linear, shape, axis)
    return rows if isinstance(linear, Conv | Dense) else np.abs(rows).max(axis=1, keepdims=True)


def _step_of_weights(node: Node, layer: Layer, rows: Array) -> Array:
    """Return for every channel the largest weight in real units: the step of a channel that calibration saw silent."""
    shape = node.type.shape
    found = np.abs(rows).max(axis=1)
    bias = np.abs(channel_rows(np.broadcast_to(layer.bias, shape), layer.axis))
    found = np.where(found > 0, found, bias.max(axis=1))
    return np.where(found > 0, found, 1.0)


def rounding_noise(rows: Array) -> Array:
    """Return per channel the standard deviation that codes rounded to nearest bring along: 1/12 of a squared code each.

    >>> float(rounding_noise(np.array([[2.0, 2.0, 2.0]]))[0])
    1.0
    """
    return np.sqrt((rows**2).sum(axis=1) / 12)


def levels_vector(levels: Levels, shape: Shape, axis: Axis) -> Array:
    """Return the step per channel ``(c,)``."""
    found = channel_vector(levels.step, shape, axis)
    assert found is not None
    return found
