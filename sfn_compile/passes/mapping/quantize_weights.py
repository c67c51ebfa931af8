"""quantize-weights: integer weights, their step chosen so that the uniform threshold is an exact odd integer.

Per channel c with output step D: ``alpha = D / theta``, ``w = round(W * step_in / alpha)``. The largest theta whose
weights still fit the bits is the finest grid; a few smaller odd ones are tried and the one of least squared weight
error is kept. All projections into a population share alpha, the skip of a residual included, so theta is also what
makes the skip's weight fit. A product beside linear terms has the smaller weight by far; there the linear maps are read
several times, each time with a share of their weight, until the product's weight is fine enough. Where no theta of at
least 9 exists, or the activation is not a ReLU, alpha is free and the ladder becomes a table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...foundation.diagnostics import fail
from ...foundation.options import Options
from ...graph.graph import Graph, Node
from ...graph.ops import IntegerForm, Layer, NormalSite, Site, Term
from ...graph.ops.layer import Terms, channel_rows, with_maps
from ...graph.ops.stages import with_integers
from ...graph.ops.step_rows import known_steps
from ...graph.scaling import scale_output, scale_product
from ...graph.steps import all_steps, on_codes, rows_of, top_code
from ...program.broadcast import Axis, channel_vector, spread
from ...program.network import Conv, Dense, LinearMap, Product, ProductForm, Shape, ValueInfo
from ...program.ranges import driven_range, largest
from ...program.weight_rounding import finest_threshold, on_grid, own_unit, whole
from ..base import INTEGERS, PassResult
from . import imported
from .choose_ladders import levels_vector
from .lower import info_behind
from .row_forms import normalized, ratio_weight
from .shift_steps import power_of_two

Array = NDArray[Any]

THETA_LIMIT = 2**15 - 1
SMALLEST_UNIFORM_THETA = 9
WEIGHTS_AT_A_TIME = 1 << 22  # of a large layer, while its thresholds are chosen
FINE_PRODUCT, MOST_COPIES = 4, 8  # of linear maps, beside a product
SHARED = ("skip", "subtract")  # terms that are read several times where their weight is large
COPIES_OF_SKIPS, MOST_CHANNELS = 16, 0.75  # skips of so many of the channels get the integers that they need
COPIES_OF_SPIKES = 64  # ... into a step function: what a membrane loses, where a code is one of few and rarely fired
AGAIN = "stored weights were rounded again: what they read has several steps"


@dataclass(frozen=True)
class QuantizeWeights:
    """Gives every Layer integer weights that fit ``options.weight_bits`` and accumulators that fit ``acc_bits``."""

    options: Options

    name: ClassVar[str] = "quantize-weights"
    needs: ClassVar[frozenset[str]] = frozenset({"ladders-chosen"})
    makes: ClassVar[frozenset[str]] = frozenset({"weights-integer"})
    breaks: ClassVar[frozenset[str]] = INTEGERS
    exact: ClassVar[bool] = False

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with integer weights. Raises SFN401 where an accumulator fits at no threshold."""
        steps = all_steps(graph)
        infos: dict[str, ValueInfo] = {}
        nodes = []
        for source in graph.inputs:
            infos[source.name] = ValueInfo(source.type.shape, source.chosen.lo, source.chosen.hi)
        for node in graph.nodes:
            if isinstance(node.op, Layer):
                node = replace(self, options=self.options.at(node.name))._quantized(node, node.op, steps, infos)
            elif isinstance(node.op, NormalSite):
                op = normalized(node.op, [steps[s] for s in node.inputs], [infos[s] for s in node.inputs])
                node = replace(node, op=op, origin=node.origin.touched_by(self.name))
            infos[node.name] = info_behind(node, infos)
            nodes.append(node)
        return PassResult(replace(graph, nodes=tuple(nodes)))

    def _quantized(self, node: Node, layer: Layer, steps: Mapping[str, Array], infos: dict[str, ValueInfo]) -> Node:
        node, layer = _joined(node, layer)  # of an earlier run: how often terms are read is chosen anew
        terms = on_codes(node, layer, steps, infos)
        form = imported.integer_form(layer, terms, steps, infos, node.type.shape)
        if form is None:
            node, layer, form = self._rounded(node, layer, terms, steps, infos)
        return replace(node, op=with_integers(layer, form), origin=node.origin.touched_by(self.name))

    def _rounded(
        self, node: Node, layer: Layer, terms: Terms, steps: Mapping[str, Array], infos: Mapping[str, ValueInfo]
    ) -> tuple[Node, Layer, IntegerForm]:
        n = self._copies(layer, node.type.shape, terms, infos)
        if n == 1 and max(copies := self._skips(layer, node.type.shape, terms), default=1) > 1:
            return self._with_split_skips(node, layer, copies, steps, infos)
        if n == 1:
            form = self._integer(node, layer, terms, infos)
            return node, layer, replace(form, notes=(AGAIN, *form.notes)) if layer.has_units else form
        node, layer = _repeated(node, layer, n)
        form = self._integer(node, layer, on_codes(node, layer, steps, infos), infos)
        what = f"linear terms are read {n} times, for the precision of the product beside them"
        return node, layer, replace(form, notes=(what, *form.notes))

    def _copies(self, layer: Layer, shape: Shape, terms: Terms, infos: Mapping[str, ValueInfo]) -> int:
        """Return how often linear maps are read so that the product beside them has a weight of at least 4, at most 8.

        Channels whose product never reaches half a code have no say.
        """
        projections, products = terms
        if not projections or not products:
            return 1
        linear = np.concatenate([np.abs(rows_of(p.map, shape, layer.axis)) for p in projections], axis=1).max(axis=1)
        weights = [np.abs(rows_of(p.form, shape, layer.axis)).max(axis=1) for p in products]
        least = _widths(layer, shape) if isinstance(layer, Site) else np.zeros(len(linear))
        n = 1.0
        for p, weight in zip(products, weights, strict=True):
            counts = (weight > 0) & (2 * weight * _worth(p, infos) > least)
            n = max(n, float((FINE_PRODUCT * linear[counts] / (self._top * weight[counts])).max(initial=0)))
        return min(math.ceil(n), MOST_COPIES)

    def _skips(self, layer: Layer, shape: Shape, terms: Terms) -> list[int]:
        """Return how often each skip is read so that the weights beside it keep their bits; empty where there are none.

        A skip's weight is one step of its source, often many times the largest weight of the convolution beside it.
        The same holds for the term that subtracts the first digit, read by the second digit's population.
        """
        projections, products = terms
        wide = [p.map for p in projections if isinstance(p.map, Conv | Dense)]
        if not wide or products:
            return []
        peak = np.max([np.abs(rows_of(m, shape, layer.axis)).max(axis=1) for m in wide], axis=0)
        found, most = [], COPIES_OF_SPIKES if isinstance(layer, Site) and layer.levels.stated else COPIES_OF_SKIPS
        for p in projections:
            if p.role in SHARED:
                own = np.abs(rows_of(p.map, shape, layer.axis)).max(axis=1)
                ratio = own[peak > 0] / peak[peak > 0]
                wanted = math.ceil(np.quantile(ratio, MOST_CHANNELS)) if ratio.size else 1
                found.append(min(max(wanted, 1), most))
        return found

    def _with_split_skips(
        self, node: Node, layer: Layer, copies: list[int], steps: Mapping[str, Array], infos: Mapping[str, ValueInfo]
    ) -> tuple[Node, Layer, IntegerForm]:
        """Return the Layer with its skips read so often each, their integer weights shared out among the copies."""
        node, layer = _split_skips(node, layer, copies)
        form = self._integer(node, layer, on_codes(node, layer, steps, infos), infos)
        what = f"skips are read up to {max(copies)} times, for the precision of the weights beside them"
        return node, layer, replace(form, notes=(what, *form.notes))

    def _integer(self, node: Node, layer: Layer, terms: Terms, infos: Mapping[str, ValueInfo]) -> IntegerForm:
        shape, axis = node.type.shape, layer.axis
        parts = [rows_of(m, shape, axis) for m in _forms(terms)]
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        worth = _column_worth(terms, shape, axis, infos)
        alpha, notes = self._alpha(rows, worth, layer, terms, infos, shape)
        peak, finest = np.abs(rows).max(axis=1), alpha
        for _ in range(24):
            unit = spread(axis, shape, 1.0 / alpha)
            whole_terms = integer_terms(terms, unit, shape, self._top)
            low, high = driven_range(*whole_terms, infos)
            bad = too_wide(layer, alpha, (low, high), shape, self.options.acc_bits)
            if not bad.any():
                ends = int(low.min()), int(high.max())
                integer = with_maps(layer.terms, [p.map for p in whole_terms[0]])
                found = tuple(p.form for p in whole_terms[1])
                return IntegerForm(integer, spread(axis, shape, alpha), *ends, tuple(notes), found)
            notes = [*notes, f"{int(bad.sum())} channels have coarser weights so that accumulators fit"]
            alpha = self._coarser(alpha, bad, layer, shape)
            gone = (alpha > finest) & (peak > 0) & (peak < alpha / 2)
            if gone.any() if isinstance(layer, Site) else gone.all():
                break  # a channel whose every weight rounds to 0 fits, but computes nothing
        raise fail("SFN401", f"accumulators do not fit {self.options.acc_bits} bits", ", ".join(node.origin.nodes),
                   "lower --levels or --weight-bits, or raise --acc-bits for the simulator alone")  # fmt: skip

    @property
    def _top(self) -> int:
        return largest(self.options.weight_bits)

    def _alpha(
        self, rows: Array, worth: Array, layer: Layer, terms: Terms, infos: Mapping[str, ValueInfo], shape: Shape
    ) -> tuple[Array, list[str]]:
        """Return the real value of one accumulator unit per channel, and what a reader of the report should know."""
        alpha, notes = self._rounded_alpha(rows, worth, layer, terms, infos, shape)
        if not isinstance(layer, Site) or not layer.levels.stated:
            return alpha, notes
        own = own_unit(rows, self._top)  # a step function's thresholds are exact at any unit
        return np.where(own > 0, own, alpha), notes

    def _rounded_alpha(
        self, rows: Array, worth: Array, layer: Layer, terms: Terms, infos: Mapping[str, ValueInfo], shape: Shape
    ) -> tuple[Array, list[str]]:
        peak = np.abs(rows).max(axis=1)
        free = np.where(peak > 0, peak, 1.0) / self._top
        if not isinstance(layer, Site):  # a readout: one step for the whole output tensor, or argmax would be wrong
            top = peak.max() / self._top if peak.any() else np.abs(layer.bias).max() / THETA_LIMIT
            return np.full(len(free), top or 1.0), []
        step = _widths(layer, shape)
        if layer.norm_axis is not None:
            theta = np.rint(step * ratio_weight(terms, infos, self.options) / np.where(peak > 0, peak, step))
            return step / np.maximum(theta, 1), ["threshold scaled by the sum of a row"]
        if not uniform_site(layer):  # a single weight needs no rounding: it is the unit
            return (np.where(peak > 0, peak, 1.0) if rows.shape[1] == 1 else free), ["table ladder"]
        theta = self._theta(rows, worth, step, peak)
        small = theta < (1 if self.options.threshold == "pow2" else SMALLEST_UNIFORM_THETA)
        if small.any():
            return np.where(small, free, step / np.maximum(theta, 1)), [
                "table ladder: no integer threshold is fine enough"
            ]
        return step / theta, []

    def _theta(self, rows: Array, worth: Array, step: Array, peak: Array) -> Array:
        """Return per channel the odd threshold of least weight error, 0 where not even 1 fits.

        ``worth`` says how much an error of each column counts; 1 everywhere but beside products.
        """
        safe = np.where(peak > 0, peak, step * self._top / THETA_LIMIT)
        finest = np.minimum(finest_threshold(step, safe, self._top), THETA_LIMIT)
        size = max(1, WEIGHTS_AT_A_TIME // rows.shape[1])
        blocks = [slice(i, i + size) for i in range(0, len(rows), size)]
        return np.concatenate([self._best_theta(rows[b], worth, step[b], finest[b]) for b in blocks])

    def _best_theta(self, rows: Array, worth: Array, step: Array, finest: Array) -> Array:
        best, error = np.zeros(len(step)), np.full(len(step), np.inf)
        # Clipping the largest weights pays below 6 bits only; above, the grid looks at coarser steps alone.
        factors = np.linspace(2.0, 0.7, 40) if self.options.weight_bits < 6 else np.linspace(1.0, 0.75, 12)
        if (worth != 1).any():  # a product's weight may be as small as 1: down to half of it lies an integer
            factors = np.concatenate([factors[factors > 1], np.linspace(1.0, 0.5, 64)])
        for factor in factors:
            theta = self._grid(finest * factor)
            alpha = step / np.maximum(theta, 1)
            lost = on_grid(rows, alpha[:, None], self._top) - rows
            found = np.where(theta >= 1, ((lost * worth) ** 2).sum(axis=1), np.inf)
            better = found < error
            best[better], error[better] = theta[better], found[better]
        return best

    def _grid(self, x: Array) -> Array:
        """Return the largest threshold allowed that is not above ``x``, 0 below 1."""
        return power_of_two(x) if self.options.threshold == "pow2" else _odd(x)

    def _coarser(self, alpha: Array, bad: Array, layer: Layer, shape: Shape) -> Array:
        if not isinstance(layer, Site):
            return alpha * 1.5
        if not uniform_site(layer):
            return np.where(bad, alpha * 1.5, alpha)
        step = _widths(layer, shape)
        theta = self._grid(step / alpha / 1.5)  # 0: coarser than a threshold of 1, which only a table can say
        return np.where(bad, np.where(theta >= 1, step / np.maximum(theta, 1), alpha * 1.5), alpha)


def uniform_site(layer: Site) -> bool:
    """Return whether a uniform ladder says the activation exactly."""
    if layer.levels.book is not None:
        return False
    if layer.levels.stated and layer.activation.body is not None:
        return known_steps(layer.activation.body).width is not None
    if layer.activation.kind == "identity":
        return True
    if layer.activation.kind == "clip":  # levels above the upper bound would have to be cut per channel
        inside = bool((layer.levels.step * float(layer.levels.due()[-1]) <= layer.activation.b).all())
        return layer.activation.a == 0 and inside and layer.levels.lo >= 0
    return layer.activation.kind == "relu" and layer.levels.lo >= 0


def _widths(layer: Site, shape: Shape) -> Array:
    """Return per channel by how much a sum has to rise for one more code: one step, but where a function says so."""
    body = layer.activation.body
    steps = None if body is None or not layer.levels.stated else known_steps(body)
    if steps is None or steps.width is None:
        return levels_vector(layer.levels, shape, layer.axis)
    found = channel_vector(steps.width.reshape(layer.levels.step.shape), shape, layer.axis)
    assert found is not None  # it follows what the step follows
    return found


def _odd(x: Array) -> Array:
    """Return the largest odd integer not above x, 0 below 1."""
    whole = np.floor(x)
    return np.where(whole < 1, 0, whole - (whole % 2 == 0))


def _repeated(node: Node, layer: Layer, n: int) -> tuple[Node, Layer]:
    """Return the Layer with every linear term n times, each with the n-th part of its weights: the same sum."""
    terms = zip(node.inputs[: len(layer.terms)], layer.terms, strict=True)
    shared = [(source, replace(t, map=_part(t, n, node.type.shape), shares=n)) for source, t in terms]
    return _reading(node, layer, shared + [(source, _copy(t)) for source, t in shared] * (n - 1))


def _part(term: Term, n: int, shape: Shape) -> LinearMap:
    found = scale_output(term.map, np.asarray(1.0 / n), shape)
    assert found is not None  # one number scales every map
    return found


def _copy(term: Term) -> Term:
    return Term(term.map, "copy")


def _split_skips(node: Node, layer: Layer, copies: list[int]) -> tuple[Node, Layer]:
    """Return the Layer with its skips read so often, each time with that part of their weight.

    Copies are behind all other terms, those of a last skip behind it. It is the order in which floats are added,
    nothing else.
    """
    k, n = len(layer.terms), iter(copies)
    once, more = list[tuple[str, Term]](), list[tuple[str, Term]]()
    for i, (source, term) in enumerate(zip(node.inputs[:k], layer.terms, strict=True), 1):
        if term.role not in SHARED:
            once.append((source, term))
            continue
        shares = next(n)
        kept = replace(term, map=replace(term.map, weight=term.map.weight / shares), shares=shares)
        (more if i == k else once).append((source, kept))
        more += [(source, _copy(kept))] * (shares - 1)
    return _reading(node, layer, [*once, *more])


def _joined(node: Node, layer: Layer) -> tuple[Node, Layer]:
    """Return the Layer with every term read once, without the copies that share its weight."""
    terms = zip(node.inputs[: len(layer.terms)], layer.terms, strict=True)
    once = [(source, _whole(term)) for source, term in terms if term.role != "copy"]
    return (node, layer) if len(once) == len(layer.terms) else _reading(node, layer, once)


def _whole(term: Term) -> Term:
    n = term.shares
    return term if n == 1 else replace(term, map=replace(term.map, weight=term.map.weight * n), shares=1)


def _reading(node: Node, layer: Layer, terms: list[tuple[str, Term]]) -> tuple[Node, Layer]:
    """Return the Layer with these terms in place of its own, and its node."""
    inputs = (*(source for source, _ in terms), *node.inputs[len(layer.terms) :])
    op = replace(layer, terms=tuple(term for _, term in terms))
    return replace(node, op=op, inputs=inputs), op


def _forms(terms: Terms) -> list[LinearMap | ProductForm]:
    return [*(p.map for p in terms[0]), *(p.form for p in terms[1])]


def _worth(product: Product, infos: Mapping[str, ValueInfo]) -> int:
    return top_code(infos[product.left]) * top_code(infos[product.right])


def _column_worth(terms: Terms, shape: Shape, axis: Axis, infos: Mapping[str, ValueInfo]) -> Array:
    """Return for every column of the weights its largest code, or 1 for all where there is no product."""
    projections, products = terms
    tops = [*(top_code(infos[p.source]) for p in projections), *(_worth(p, infos) for p in products)]
    counts = [rows_of(m, shape, axis).shape[1] for m in _forms(terms)]
    return np.repeat(np.array(tops, np.float64) if products else np.ones(len(tops)), counts)


def integer_terms(terms: Terms, unit: Array, shape: Shape, top: int) -> Terms:
    """Return the terms of a Layer, on codes, with integer weights of at most ``top``.

    ``unit`` says how many accumulator units a real 1 is, and broadcasts against the sample ``shape``.
    """
    projections, products = terms
    linear = tuple(replace(p, map=_round(p.map, unit, shape, top)) for p in projections)
    return linear, tuple(replace(p, form=_round_product(p.form, unit, top)) for p in products)


def too_wide(layer: Layer, alpha: Array, ends: tuple[Array, Array], shape: Shape, acc_bits: int) -> Array:
    """Return per channel whether accumulators within ``ends``, with what the neuron adds to them, need more bits."""
    worst = _per_channel(np.maximum(-ends[0], ends[1]), shape, layer.axis)
    return np.asarray(worst + _headroom(layer, alpha, shape) > largest(acc_bits))


def _headroom(layer: Layer, alpha: Array, shape: Shape) -> Array:
    """Return what offset and threshold add to an accumulator, per channel."""
    if not isinstance(layer, Site):
        return _per_channel(np.abs(layer.bias), shape, layer.axis) / alpha
    # A ladder's offset is cut to where it still changes a code, so its thresholds are what has to fit.
    return _widths(layer, shape) / alpha * (layer.levels.hi + 1)


def _round(linear: LinearMap, unit: Array, shape: Shape, top: int) -> LinearMap:
    scaled = scale_output(linear, unit, shape)
    assert scaled is not None
    return replace(scaled, weight=_codes(scaled.weight, top))


def _codes(real: Array, top: int) -> Array:
    """Return the nearest integers in -top..top in a small type, written over ``real``: weights may be many."""
    return whole(real, top, out=real).astype(np.int8 if top < 2**7 else np.int64)


def _round_product(form: ProductForm, unit: Array, top: int) -> ProductForm:
    scaled = scale_product(form, unit)
    return replace(scaled, weight=whole(scaled.weight, top).astype(np.int64))


def _per_channel(array: Array, shape: Shape, axis: Axis) -> Array:
    return channel_rows(np.broadcast_to(array, shape), axis).max(axis=1)
