"""place-sites: decide which values become spikes. Linear parts and the activation behind them become one Layer.

A linear part that is read more than once, or read by something that wants codes (a max pool, a move, another linear
map that does not compose), is fired at a signed *site*: a population without activation.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..diagnostics import Origin
from ..ir import Graph, GraphOutput, Node, TensorType, unique_name
from ..ops import Activation, Add, Layer, Linear
from ..program import Conv, Dense, Identity, LinearMap, Shape
from .arrays import compress
from .scale import scale_output

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class _Form:
    """A value that is not spikes yet: ``sum of maps(sources) + bias``."""

    terms: tuple[tuple[str, LinearMap], ...]
    bias: Array
    shape: Shape
    origin: Origin
    tap: str | None


@dataclass(frozen=True)
class PlaceSites:
    """Turns linear ops, residual sums and activations into Layers."""

    name: ClassVar[str] = "place-sites"
    needs: ClassVar[frozenset[str]] = frozenset({"moves-sunk", "linear-composed", "pools-composed"})
    makes: ClassVar[frozenset[str]] = frozenset({"sites-placed"})
    exact: ClassVar[bool] = True

    def run(self, graph: Graph) -> Graph:
        """Return a graph of Layers, max pools and moves."""
        return _Placer(graph).run()


@dataclass
class _Placer:
    graph: Graph
    nodes: list[Node] = field(default_factory=list)
    forms: dict[str, _Form] = field(default_factory=dict)
    spikes: dict[str, str] = field(default_factory=dict)
    readouts: dict[str, str] = field(default_factory=dict)

    def run(self) -> Graph:
        self.users, self.types = self.graph.users(), self.graph.types()
        self.spikes = {i.name: i.name for i in self.graph.inputs}
        for node in self.graph.nodes:
            self._place(node)
        outputs = tuple(self._output(o) for o in self.graph.outputs)
        return replace(self.graph, nodes=tuple(self.nodes), outputs=outputs)

    def _place(self, node: Node) -> None:
        if isinstance(node.op, Linear | Add):
            self.forms[node.name] = self._form(node)
            if self._shared(node):
                self._fire(node.name, node.name)
        elif isinstance(node.op, Activation):
            form = self._as_form(node.inputs[0])
            self._add(node.name, form, node.op, Origin.merge(form.origin, node.origin), node.tap)
        else:
            sources = tuple(self._codes(s) for s in node.inputs)
            self.nodes.append(replace(node, inputs=sources, type=replace(node.type, kind="spikes")))
            self.spikes[node.name] = node.name

    def _shared(self, node: Node) -> bool:
        """Return whether several readers want this value; activations can each fire it for themselves."""
        users = self.users[node.name]
        return len(users) > 1 and not all(isinstance(u.op, Activation) for u in users)

    def _form(self, node: Node) -> _Form:
        if isinstance(node.op, Add):
            parts = [self._as_form(s) for s in node.inputs]
            if _mixed(replace(parts[0], terms=parts[0].terms + parts[1].terms)):
                self._codes(node.inputs[1])
                parts[1] = self._as_form(node.inputs[1])
            bias = compress(np.asarray(parts[0].bias + parts[1].bias))
            origin = Origin.merge(*(p.origin for p in parts), node.origin)
            return _Form(parts[0].terms + parts[1].terms, bias, node.type.shape, origin, node.tap)
        assert isinstance(node.op, Linear)
        source = node.inputs[0]
        if source not in self.spikes and isinstance(node.op.map, Identity):
            scaled = self._scaled(self.forms[source], node.op, node)
            if scaled is not None:
                return scaled
        return _Form(((self._codes(source), node.op.map),), node.op.bias, node.type.shape, node.origin, node.tap)

    def _scaled(self, form: _Form, op: Linear, node: Node) -> _Form | None:
        factor = op.map.weight
        terms = [(s, scale_output(m, factor, form.shape)) for s, m in form.terms]
        if any(m is None for _, m in terms):
            return None
        bias = compress(np.asarray(form.bias * factor + op.bias))
        kept = tuple((s, m) for s, m in terms if m is not None)
        return _Form(kept, bias, form.shape, Origin.merge(form.origin, node.origin), node.tap)

    def _as_form(self, value: str) -> _Form:
        if value in self.forms and value not in self.spikes:
            return self.forms[value]
        name, shape = self._codes(value), self.types[value].shape
        ones = np.ones((1,) * len(shape))
        return _Form(((name, Identity(ones)),), ones * 0.0, shape, Origin(), None)

    def _codes(self, value: str) -> str:
        """Return a name that holds the value as spikes, firing it at a signed site where it is not yet."""
        if value not in self.spikes:
            self._fire(value, value)
        return self.spikes[value]

    def _fire(self, value: str, name: str) -> None:
        form = self.forms[value]
        self._add(name, form, Activation("identity"), form.origin, form.tap)

    def _add(self, value: str, form: _Form, activation: Activation | None, origin: Origin, tap: str | None) -> str:
        name = unique_name(value, {n.name for n in self.nodes}.__contains__)
        op = Layer(tuple(m for _, m in form.terms), form.bias, activation, _channel_axis(form))
        kind = "acc" if activation is None else "spikes"
        node = Node(name, op, tuple(s for s, _ in form.terms), TensorType(form.shape, kind),  # type: ignore[arg-type]
                    origin.touched_by("place-sites"), tap)  # fmt: skip
        self.nodes.append(node)
        if activation is not None:
            self.spikes[value] = name
        return name

    def _output(self, out: GraphOutput) -> GraphOutput:
        if out.value not in self.forms:
            return replace(out, value=self.spikes[out.value])
        if out.value not in self.readouts:
            form = self.forms[out.value]
            name = out.value if out.value not in self.spikes else f"{out.value}/readout"
            self.readouts[out.value] = self._add(name, form, None, form.origin, form.tap)
        return replace(out, value=self.readouts[out.value])


def _channel_axis(form: _Form) -> int:
    """Return the axis that the weights run along: the last of a Dense, else the first; the other maps take either."""
    return len(form.shape) - 1 if any(isinstance(m, Dense) for _, m in form.terms) else 0


def _mixed(form: _Form) -> bool:
    """Return whether the terms run along different axes, so that no threshold per channel suits them all."""
    return len(form.shape) > 1 and {Conv, Dense} <= {type(m) for _, m in form.terms}
