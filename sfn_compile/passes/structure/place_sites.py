"""place-sites: decide which values become spikes. Linear parts and the activation behind them become one Layer.

A linear part that is read more than once, or read by something that wants codes (a max pool, a move, a product, another
linear map that does not compose), is fired at a signed *site*: a population without activation. A product of two values
of codes is part of a Layer like a linear map.

A softmax becomes two things: a site that fires ``exp(x - max)``, and the division by its sum. Where a matrix product
reads the softmax, the product reads the exponentials, and its own threshold is scaled by their sum: the weights of
attention are never rounded. Any other reader gets the quotient, fired at a site.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...foundation.diagnostics import Origin
from ...graph.graph import Graph, Levels, Node, TensorType, unique_name
from ...graph.ops import Activation, Add, Layer, Linear, MatMul, Moved, Mul, Normalize, Quantize, Site, Softmax, Term
from ...graph.ops.layer import n_channels, with_roles
from ...graph.ops.stages import at_levels
from ...graph.scaling import scale_output, scale_product
from ...program.broadcast import Axis, compress, move_array, spread
from ...program.network import (
    Concat,
    Conv,
    Dense,
    Elementwise,
    Gather,
    Identity,
    Matmul,
    Pad,
    RowSum,
    Shape,
    SumPool,
)
from ...program.relations import Carries, CopyOf, Exponentials, Relation
from ..base import PassResult, only_user
from .forms import Form, axis_of_rows, merged, mixed, plain, repeated
from .stated_levels import membranes, step_levels, summed_levels

Array = NDArray[Any]

# One code of a product is worth about 1/levels of one code of a linear term beside it, and both share the weights'
# bits. Above so many levels the product's weight would vanish; there a site of its own costs little precision.
MOST_LEVELS_OF_A_MIX = 63

# Above so many levels, the rounding error of a residual stream is too small for a population of its own.
MOST_LEVELS_OF_A_CARRY = 63

# A sum of codes is fired exactly where it has at most so many times the codes of another site.
MOST_SUMMED = 2


@dataclass(frozen=True)
class PlaceSites:
    """Turns linear ops, residual sums, products and activations into Layers.

    ``levels`` (those asked for) decide whether a product can share an accumulator with linear terms. ``carry``:
    the rounding error of a residual stream is fired by another population. ``fire_attention``: a softmax is fired
    before a matrix product reads it, as SFormer does, instead of dividing after the product.
    """

    levels: int = 31
    carry: bool = True
    fire_attention: bool = False

    name: ClassVar[str] = "place-sites"
    needs: ClassVar[frozenset[str]] = frozenset({"moves-sunk", "linear-composed", "pools-composed"})
    makes: ClassVar[frozenset[str]] = frozenset({"sites-placed"})
    breaks: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = True

    def run(self, graph: Graph) -> PassResult:
        """Return a graph of Layers, max pools and moves."""
        return PassResult(_Placer(graph, self.levels, self.carry, self.fire_attention).run())


@dataclass
class _Placer:
    graph: Graph
    levels: int
    carry: bool
    fire_attention: bool
    nodes: list[Node] = field(default_factory=list)
    forms: dict[str, Form] = field(default_factory=dict)
    spikes: dict[str, str] = field(default_factory=dict)
    readouts: dict[str, str] = field(default_factory=dict)
    axes: dict[str, Axis] = field(default_factory=dict)
    carried: dict[str, str] = field(default_factory=dict)
    made: dict[str, Node] = field(default_factory=dict)

    def run(self) -> Graph:
        self.users, self.types = self.graph.users(), self.graph.types()
        self.membranes = membranes(self.graph)
        self.spikes = {i.name: i.name for i in self.graph.inputs}
        for node in self.graph.nodes:
            self._place(node)
        outputs = tuple(o.renamed(self._readout) for o in self.graph.outputs)
        return replace(self.graph, nodes=tuple(self.nodes), outputs=outputs)

    def _place(self, node: Node) -> None:
        if isinstance(node.op, Linear | Add | Mul | MatMul | Softmax):
            self.forms[node.name] = self._form(node)
            if node.name in self.membranes:
                self.forms[node.name] = merged(self.forms[node.name])
            elif self._shared(node):
                self._fire(node.name, node.name)
                exact = isinstance(self.nodes[-1].op, Site)
                if not exact and self.carry and self.levels <= MOST_LEVELS_OF_A_CARRY and self._is_stream(node):
                    self._carry(node.name)
        elif isinstance(node.op, Activation):
            if not self._normalized(node):
                form = self._unscaled(node.inputs[0])
                self._add(node.name, form, node.op, Origin.merge(form.origin, node.origin), node.tap)
        elif isinstance(node.op, Quantize):
            form = self._unscaled(node.inputs[0])
            origin = Origin.merge(form.origin, node.origin)
            self._add(node.name, form, node.op.activation, origin, node.tap, node.op.levels)
        else:
            sources = tuple(self._codes(s) for s in node.inputs)
            if isinstance(node.op, Normalize):
                self.axes[node.name] = axis_of_rows(node.op, len(node.type.shape))
                node = replace(node, op=replace(node.op, axis=self.axes[node.name]))
                sources = tuple(s for s in (*sources, self.carried.get(node.inputs[0])) if s is not None)
            self._append(replace(node, inputs=sources, type=replace(node.type, kind="spikes")))
            self.spikes[node.name] = node.name
            if isinstance(node.op, Moved) and len(node.inputs) == 1 and node.inputs[0] in self.carried:
                self._move_carried(node)

    def _move_carried(self, node: Node) -> None:
        """Move the rounding error with the codes, so that a sum or linear map can read both."""
        name = self._fresh(f"{node.name}/carry")
        kind = replace(node.type, kind="spikes")
        self._append(replace(node, name=name, inputs=(self.carried[node.inputs[0]],), type=kind, tap=None))
        self.spikes[name], self.carried[node.name] = name, name

    def _fresh(self, name: str) -> str:
        """Return a name, like this one, that no value of the model has and none made here."""
        return unique_name(name, lambda n: n in self.types or n in self.made)

    def _append(self, node: Node) -> None:
        self.nodes.append(node)
        self.made[node.name] = node

    def _normalized(self, node: Node) -> bool:
        """Let a ReLU be the lower end of the normalisation that it alone reads; return whether it does."""
        before = self.nodes[-1] if self.nodes else None
        if before is None or before.name != node.inputs[0] or only_user(self.users, self.graph, before.name) is None:
            return False
        if not isinstance(before.op, Normalize) or not isinstance(node.op, Activation) or node.op.kind != "relu":
            return False
        op, origin = replace(before.op, activation=node.op), Origin.merge(before.origin, node.origin)
        self.nodes[-1] = replace(before, name=node.name, op=op, tap=node.tap, origin=origin)
        self.axes[node.name], self.spikes[node.name] = op.axis, node.name
        return True

    def _unscaled(self, value: str) -> Form:
        """Return the value as a form without a norm: a function of a quotient is one of its codes."""
        if value in self.forms and value not in self.spikes and self.forms[value].norm is not None:
            self._codes(value)
        return self._as_form(value)

    def _shared(self, node: Node) -> bool:
        """Return whether several readers want this value; activations can each fire it for themselves."""
        users = self.users[node.name]
        return len(users) > 1 and not all(isinstance(u.op, Activation | Quantize) for u in users)

    def _is_stream(self, node: Node) -> bool:
        """Return whether a later sum reads the value beside other readers: the stream of a residual network."""
        form = self.forms[node.name]
        stated = form.norm is not None or any(t.unit is not None for _, t in form.terms)
        return not stated and any(isinstance(u.op, Add) for u in self.users[node.name])

    def _carry(self, value: str) -> None:
        """Fire what the rounding of a site left, at a site of its own that sums read beside it."""
        form, site = self.forms[value], self.spikes[value]
        minus = Term(Identity(-np.ones((1,) * len(form.shape))), "subtract")
        left = replace(form, terms=(*form.terms, (site, minus)), tap=None)
        same, relation = Activation("identity"), Carries(site)
        self.carried[value] = self._add(self._fresh(f"{value}/carry"), left, same, form.origin, None, relation=relation)

    def _form(self, node: Node) -> Form:
        if isinstance(node.op, Add):
            return self._sum(node)
        if isinstance(node.op, MatMul):
            return self._matrix_product(node)
        if isinstance(node.op, Softmax):
            return self._softmax(node, node.op)
        if isinstance(node.op, Mul):
            (left, a, before), (right, b, also) = (self._factor(s) for s in node.inputs)
            product = (left, right, Elementwise(compress(np.asarray(a * b))))
            zero, origin = np.zeros((1,) * len(node.type.shape)), Origin.merge(before, also, node.origin)
            return Form((), zero, node.type.shape, origin, node.tap, (product,))
        assert isinstance(node.op, Linear)
        source = node.inputs[0]
        if source not in self.spikes and isinstance(node.op.map, Identity):
            scaled = self._scaled(self.forms[source], node.op, node)
            if scaled is not None:
                return scaled
        terms = [(self._codes(source), Term(node.op.map, unit=node.op.unit))]
        if source in self.carried:
            terms.append((self.carried[source], Term(node.op.map)))
        return Form(tuple(terms), node.op.bias, node.type.shape, node.origin, node.tap)

    def _softmax(self, node: Node, op: Softmax) -> Form:
        """Return the exponentials, fired at a site of their own, over their sum."""
        scores = self._unscaled(node.inputs[0])
        name = self._fresh(f"{node.name}/exp")
        exp = Activation("row_exp", axis=op.axes[0])
        origin = Origin.merge(scores.origin, node.origin)
        source = self._add(name, scores, exp, origin, None, relation=Exponentials(node.name))
        one = np.ones((1,) * len(node.type.shape))
        read = ((source, Term(Identity(one))),)
        return Form(read, one * 0.0, node.type.shape, node.origin, node.tap, norm=RowSum(source, op.axes[0]))

    def _matrix_product(self, node: Node) -> Form:
        left, right = node.inputs
        weights = None if left in self.spikes or self.fire_attention else self.forms.get(left)
        norm = None
        if weights is not None and weights.norm is not None and plain(weights, len(node.type.shape) - 1):
            norm, name, a, before = weights.norm, weights.norm.source, np.ones(()), weights.origin
        else:
            name, a, before = self._row_factor(left, -1)
        other, b, also = self._row_factor(right, -2)
        rank = len(node.type.shape)
        scale = np.multiply(*np.broadcast_arrays(*(np.reshape(x, (1,) * (rank - x.ndim) + x.shape) for x in (a, b))))
        zero, origin = np.zeros((1,) * rank), Origin.merge(before, also, node.origin)
        product = (name, other, Matmul(compress(scale)))
        return Form((), zero, node.type.shape, origin, node.tap, (product,), norm)

    def _row_factor(self, value: str, axis: int) -> tuple[str, Array, Origin]:
        """Return spikes, their scale and its origin; a scale that differs along the summed ``axis`` is fired."""
        name, scale, origin = self._factor(value)
        if compress(scale).shape[axis] == 1:
            return name, compress(scale), origin
        return self._codes(value), np.ones((1,) * len(self.types[value].shape)), Origin()

    def _sum(self, node: Node) -> Form:
        for source in node.inputs:  # a quotient adds to nothing
            self._unscaled(source)
        parts = [self._as_form(s, node.type.shape) for s in node.inputs]
        if mixed(replace(parts[0], terms=parts[0].terms + parts[1].terms)):
            self._codes(node.inputs[1])
            parts[1] = self._as_form(node.inputs[1], node.type.shape)
        if self.levels > MOST_LEVELS_OF_A_MIX:
            for i, other in ((0, 1), (1, 0)):
                if parts[i].products and parts[other].terms:
                    self._codes(node.inputs[i])
                    parts[i] = self._as_form(node.inputs[i], node.type.shape)
        bias = compress(np.asarray(parts[0].bias + parts[1].bias))
        origin = Origin.merge(*(p.origin for p in parts), node.origin)
        terms, products = parts[0].terms + parts[1].terms, parts[0].products + parts[1].products
        return Form(terms, bias, node.type.shape, origin, node.tap, products)

    def _scaled(self, form: Form, op: Linear, node: Node) -> Form | None:
        factor = op.map.weight
        terms = []
        for source, term in form.terms:
            scaled = scale_output(term.map, factor, form.shape)
            if scaled is None:
                return None
            unit = None if term.unit is None else np.abs(term.unit * factor)
            terms.append((source, replace(term, map=scaled, unit=unit)))
        bias = compress(np.asarray(form.bias * factor + op.bias))
        products = tuple((left, right, scale_product(f, factor)) for left, right, f in form.products)
        origin = Origin.merge(form.origin, node.origin)
        return Form(tuple(terms), bias, form.shape, origin, node.tap, products, form.norm)

    def _as_form(self, value: str, wanted: Shape | None = None) -> Form:
        """Return the value as a form, of shape ``wanted`` where it has to be repeated along axes of length 1."""
        shape = self.types[value].shape
        wanted = shape if wanted is None else wanted
        if value in self.forms and value not in self.spikes and wanted == shape:
            return self.forms[value]
        name, ones = self._codes(value), np.ones((1,) * len(shape))
        copy = Identity(ones) if wanted == shape else Gather(repeated(shape, wanted), ones)
        terms = tuple((s, Term(copy)) for s in (name, self.carried.get(value)) if s is not None)
        return Form(terms, ones * 0.0, wanted, Origin(), None)

    def _factor(self, value: str) -> tuple[str, Array, Origin]:
        """Return a name that holds spikes, their scale, and the origin of the scale: it needs no site of its own."""
        form = None if value in self.spikes else self.forms[value]
        alone = form is not None and len(form.terms) == 1 and not form.products and form.norm is None
        if form is not None and alone and not form.bias.any():
            source, term = form.terms[0]
            if isinstance(term.map, Identity):
                return source, term.map.weight, form.origin
        return self._codes(value), np.ones((1,) * len(self.types[value].shape)), Origin()

    def _codes(self, value: str) -> str:
        """Return a name that holds the value as spikes, firing it at a signed site where it is not yet."""
        if value not in self.spikes:
            self._fire(value, value)
        return self.spikes[value]

    def _fire(self, value: str, name: str) -> None:
        form = self.forms[value]
        self._add(name, form, Activation("identity"), form.origin, form.tap)

    def _add(
        self, value: str, form: Form, activation: Activation | None, origin: Origin, tap: str | None,
        levels: Levels | None = None, relation: Relation | None = None,
    ) -> str:  # fmt: skip
        name = unique_name(value, self.made.__contains__)
        products, norm_axis = tuple(f for *_, f in form.products), None if form.norm is None else form.norm.axis
        terms, axis = with_roles([t for _, t in form.terms], products), self._channel_axis(form)
        op = Layer(terms, form.bias, activation, axis, products, norm_axis, relation)
        if levels is None and activation is not None and relation is None:
            levels = self._known(form, op, activation)
        if levels is not None and activation is not None:
            op = at_levels(op, activation, levels)
        sources = (*(s for s, _ in form.terms), *(s for *pair, _ in form.products for s in pair),
                   *(() if form.norm is None else (form.norm.source,)))  # fmt: skip
        kind = "acc" if activation is None else "spikes"
        node = Node(name, op, sources, TensorType(form.shape, kind),  # type: ignore[arg-type]
                    origin.touched_by("place-sites"), tap)  # fmt: skip
        self._append(node)
        if activation is not None:
            self.spikes[value] = name
            self.axes[name] = op.axis
        return name

    def _known(self, form: Form, op: Layer, activation: Activation) -> Levels | None:
        """Return the levels of a function of few values, or of a sum of few codes, else None."""
        if activation.kind == "identity":
            most = MOST_SUMMED * (self.levels + 1)
            return summed_levels(op, [s for s, _ in form.terms], self.made, form.shape, most)
        return None if form.norm is not None else step_levels(activation, form.shape, op.axis)

    def _channel_axis(self, form: Form) -> Axis:
        """Return the axis that the weights run along: the last of a Dense, else the first; other maps take either.

        Without either they run along the axis that what is read was fired along.
        """
        last, kinds = len(form.shape) - 1, {type(t.map) for _, t in form.terms}
        if Dense in kinds:
            return last
        if any(isinstance(f, Matmul) for *_, f in form.products):
            return 0 if form.norm is None or last == 0 else (*range(last - 1), last)  # of one head, each channel
        if kinds & {Conv, SumPool}:
            return 0
        fired = [
            self._axis_behind(s) for s in (*(s for s, _ in form.terms), *(s for *p, _ in form.products for s in p))
        ]
        return last if last in fired else 0

    def _axis_behind(self, value: str) -> Axis | None:
        """Return the axis along which the channels of the site behind a value lie after the moves between."""
        node = self.made.get(value)
        if node is None or not isinstance(node.op, Moved):
            return self.axes.get(value)
        before = self._axis_behind(node.inputs[0])
        if before is None or isinstance(node.op.op, Pad | Concat):
            return before
        source = self.made.get(node.inputs[0])
        shape = self.types[node.inputs[0]].shape if source is None else source.type.shape
        labels = move_array(node.op.op, spread(before, shape, np.arange(n_channels(shape, before))), shape)
        varying = tuple(a for a, d in enumerate(labels.shape) if d > 1)
        return varying[0] if len(varying) == 1 else None

    def _readout(self, value: str) -> str:
        """Return the name of what an output is decoded from in the place of a value: accumulators, codes if need be."""
        form = self.forms.get(value)
        if any(value == i.name for i in self.graph.inputs):  # a target answers with what populations make
            form = replace(self._as_form(value), origin=Origin((value,)))
        if form is None or form.norm is not None:
            return self._codes(value)
        if value not in self.readouts:
            site = self.spikes.get(value)
            name, relation = (value, None) if site is None else (self._fresh(f"{value}/readout"), CopyOf(site))
            self.readouts[value] = self._add(name, form, None, form.origin, form.tap, relation=relation)
        return self.readouts[value]
