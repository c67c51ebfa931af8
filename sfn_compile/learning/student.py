"""A graph of Layers as a network that computes real values with or without rounding, and slopes of what may be learnt.

Codes are simulated in real numbers: a site gives ``step * clip(floor(f(z) / step + offset), lo, hi)``. Backwards,
rounding is taken to be a straight line inside the codes' range (the straight-through estimator, Bengio et al.,
arXiv 1308.3432), which it is on average where its errors have random signs. All arrays have the batch axis last and are
float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ..graph.graph import Graph, Levels, Node
from ..graph.ops import Activation, Layer, MaxPool, Moved, Normalize, Site, site_op
from ..graph.ops.layer import with_maps
from ..program.network import Conv, Dense, Shape
from ..simulator.kernels import beside
from .slopes import F32, MaxPoolSlope, MoveSlope, Slope, slope_of

Array = NDArray[Any]
Values = dict[str, Array]
Weights = dict[tuple[str, int], Array]  # by node and number of the map


@dataclass
class Parameters:
    """Weights of convolutions and dense maps and every Layer's bias, which are learnt; the chosen steps, which stay."""

    weights: Weights = field(default_factory=dict)
    biases: Values = field(default_factory=dict)
    steps: Values = field(default_factory=dict)

    def copy(self) -> Parameters:
        """Return the same numbers in arrays of their own."""
        parts = (self.weights, self.biases, self.steps)
        return Parameters(*({k: v.copy() for k, v in part.items()} for part in parts))  # type: ignore[arg-type]

    def zeros(self) -> Parameters:
        """Return arrays of zeros of the same shapes, float32: sums of slopes begin there."""
        parts = (self.weights, self.biases, self.steps)
        return Parameters(*({k: np.zeros(v.shape, F32) for k, v in part.items()} for part in parts))  # type: ignore[arg-type]

    def add(self, other: Parameters) -> None:
        """Add the other's numbers to these."""
        for mine, more in ((self.weights, other.weights), (self.biases, other.biases)):
            for key, value in more.items():
                mine[key] += value  # type: ignore[index]


def learnable(graph: Graph) -> list[str]:
    """Return the nodes that a student cannot compute: none where the whole network can learn."""
    return [n.name for n in graph.nodes if not _is_known(n)]


def _is_known(node: Node) -> bool:
    op = site_op(node.op)
    if isinstance(op, Layer):
        stated = isinstance(op, Site) and op.levels.imported
        rows = op.products or op.norm_axis is not None
        return not (stated or rows or op.has_units)
    if isinstance(op, Normalize):
        return False
    if isinstance(op, MaxPool | Moved):
        return True
    assert_never(op)


class Student:
    """The network of a graph; one whose levels are not chosen can only be computed without rounding."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.types = graph.types()
        self.users = graph.users()
        self.sites = [n for n in graph.nodes if isinstance(n.op, Site)]
        self.layers = [n for n in graph.nodes if isinstance(n.op, Layer)]
        # Which population fires the rounding error of another; the sum of the two is one value.
        self.rest = {n.op.rounding_of: n.name for n in graph.nodes if isinstance(n.op, Layer) and n.op.rounding_of}
        self.slopes: dict[str, list[Slope]] = {}
        self.moves: dict[str, list[MoveSlope]] = {}
        self.pools: dict[str, MaxPoolSlope] = {}
        for node in graph.nodes:
            shapes = [self.types[s].shape for s in node.inputs]
            if isinstance(node.op, Layer):
                self.slopes[node.name] = [slope_of(m, s) for m, s in zip(node.op.maps, shapes, strict=True)]
            elif isinstance(node.op, MaxPool):
                op = node.op
                self.pools[node.name] = MaxPoolSlope(op.kernel, op.strides, op.pads, op.dilations)
            else:
                assert isinstance(node.op, Moved)
                self.moves[node.name] = _moves(node.op, shapes)
        # Slopes go back as far as something may be learnt: to a Layer, not to an input.
        self.deep = {n.name for n in graph.nodes}

    def parameters(self) -> Parameters:
        """Return the numbers of the graph, float64."""
        found = Parameters()
        for node in self.graph.nodes:
            op = node.op
            if not isinstance(op, Layer):
                continue
            found.biases[node.name] = np.array(op.bias, np.float64)
            if isinstance(op, Site):
                found.steps[node.name] = np.array(op.levels.step, np.float64)
            for i, m in enumerate(op.maps):
                if isinstance(m, Conv | Dense):
                    found.weights[node.name, i] = np.array(m.weight, np.float64)
        return found

    def with_parameters(self, found: Parameters) -> Graph:
        """Return the graph with these numbers."""
        nodes = []
        for node in self.graph.nodes:
            op = node.op
            if isinstance(op, Layer):
                maps = tuple(
                    replace(m, weight=found.weights[node.name, i]) if (node.name, i) in found.weights else m
                    for i, m in enumerate(op.maps)
                )
                op = replace(op, terms=with_maps(op.terms, maps), bias=found.biases[node.name])
            if isinstance(op, Site):
                op = replace(op, levels=replace(op.levels, step=found.steps[node.name]))
            nodes.append(replace(node, op=op))
        return replace(self.graph, nodes=tuple(nodes))

    def encoded(self, real: Mapping[str, Array]) -> Values:
        """Return the prepared inputs ``(n, *shape)`` as the network sees them, rounded to codes, the batch last."""
        found = {}
        for source in self.graph.inputs:
            codes = source.chosen.quantize(real[source.name]) * source.chosen.step
            found[source.name] = np.moveaxis(codes.astype(F32), 0, -1)
        return found

    def forward(
        self, inputs: Mapping[str, Array], at: Parameters, maps: Mapping[str, list[Any]] | None = None,
        rounded: bool = True, rng: np.random.Generator | None = None,
    ) -> tuple[Values, Values]:  # fmt: skip
        """Return every value, and in front of every activation what it is applied to.

        ``maps``: of each Layer the slope and the weight to compute with, where that is not the real one. With ``rng``
        the error of every code has a random sign.
        """
        values, drives = dict(inputs), Values()
        for node in self.graph.nodes:
            xs = [values[s] for s in node.inputs]
            if not isinstance(node.op, Layer):
                values[node.name] = self.moved(node, xs)
                continue
            used = self._maps(node, at) if maps is None else maps[node.name]
            drives[node.name] = z = self.drive(node, xs, used, at)
            values[node.name] = self.fired(node, z, at, rng) if rounded else real_of(node.op, z)
        return values, drives

    def moved(self, node: Node, xs: Sequence[Array]) -> Array:
        """Return the value ``(*shape, n)`` of a max pool or a move; ``xs`` are its inputs, batch last."""
        if isinstance(node.op, MaxPool):
            return self.pools[node.name].forward(xs[0])
        parts = [m.forward(x, None) for m, x in zip(self.moves[node.name], xs, strict=True)]
        return parts[0] if len(parts) == 1 else np.asarray(sum(parts[1:], start=parts[0]))

    def drive(self, node: Node, xs: Sequence[Array], maps: Sequence[Any], at: Parameters) -> Array:
        """Return the pre-activation ``(*shape, n)`` of a Layer, float32: the sum of its maps plus the bias."""
        z = sum((slope.forward(x, w) for (slope, w), x in zip(maps, xs, strict=True)), start=np.zeros((), F32))
        return np.asarray(z + beside(at.biases[node.name].astype(F32), len(node.type.shape)))

    def _maps(self, node: Node, at: Parameters) -> list[Any]:
        return [
            (slope, at.weights[node.name, i].astype(F32) if (node.name, i) in at.weights else None)
            for i, slope in enumerate(self.slopes[node.name])
        ]

    def fired(self, node: Node, z: Array, at: Parameters, rng: np.random.Generator | None = None) -> Array:
        """Return the output ``(*shape, n)`` for the pre-activation ``z``: codes times step; real numbers of a readout.

        With ``rng`` the sign of the rounding error is random (:func:`_mirrored`).
        """
        op = node.op
        assert isinstance(op, Layer)
        y = real_of(op, z)
        if not isinstance(op, Site):
            return y
        step = beside(at.steps[node.name].astype(F32), len(node.type.shape))
        codes = _to_levels(y, step, op.levels)
        if rng is None or node.name in self.rest:  # another population fires the error of this one
            return codes
        return _mirrored(y, codes, _inside(y / step, op.levels), rng)

    def whole(self, name: str, values: Mapping[str, Array]) -> Array:
        """Return the value ``(*shape, n)`` of a name, plus its rounding error where another population fires it."""
        return values[name] + values[self.rest[name]] if name in self.rest else values[name]

    def rounded(self, site: Node, y: Array) -> Array:
        """Return ``y`` ``(*shape, n)`` of a site rounded to the levels that it has in the graph: codes times step."""
        assert isinstance(site.op, Site)
        return _to_levels(y, beside(site.op.levels.step.astype(F32), len(site.type.shape)), site.op.levels)

    def backward(
        self, values: Mapping[str, Array], drives: Mapping[str, Array], at: Parameters,
        maps: Mapping[str, list[Any]], wanted: Mapping[str, Array],
    ) -> tuple[Parameters, Values]:  # fmt: skip
        """Return the slopes of all parameters, and of all values, for those (``wanted``) of some values."""
        slopes, found = dict(wanted), Parameters()
        for node in reversed(self.graph.nodes):
            g, op = slopes.get(node.name), node.op
            if g is None:
                continue
            xs = [values[s] for s in node.inputs]
            if isinstance(op, MaxPool):
                backs: list[Array | None] = [self.pools[node.name].backward(xs[0], values[node.name], g)]
            elif isinstance(op, Moved):
                backs = [m.backward(x, None, g, True)[0] for m, x in zip(self.moves[node.name], xs, strict=True)]
            else:
                assert isinstance(op, Layer)
                g = self._through_neuron(node, op, drives[node.name], g, at, found)
                backs = []
                for i, ((slope, w), x, s) in enumerate(zip(maps[node.name], xs, node.inputs, strict=True)):
                    back, of_weight = slope.backward(x, w, g, s in self.deep)
                    backs.append(back)
                    if of_weight is not None:
                        found.weights[node.name, i] = of_weight
            for source, back in zip(node.inputs, backs, strict=True):
                if back is not None:
                    slopes[source] = slopes[source] + back if source in slopes else back
        return found, slopes

    def _through_neuron(self, node: Node, op: Layer, z: Array, g: Array, at: Parameters, found: Parameters) -> Array:
        """Return the slope in front of the activation; note that of the bias."""
        if isinstance(op, Site):
            step = beside(at.steps[node.name].astype(F32), len(node.type.shape))
            g = g * _inside(real_of(op, z) / step, op.levels)
        if op.activation is not None:
            g = g * _slope(op.activation, z)
        found.biases[node.name] = summed_like(at.biases[node.name], g)
        return g


def _to_levels(y: Array, step: Array, levels: Levels) -> Array:
    """Return ``step * clip(floor(y / step + offset), lo, hi)``, or the step times the code of a book that is due."""
    y = levels.nearest(y / step)
    y *= step
    return y


def _mirrored(y: Array, codes: Array, inside: Array, rng: np.random.Generator) -> Array:
    """Return codes of which half, drawn at random, are as far on the other side of ``y``; not where they are cut off.

    Flips the sign of the rounding error at random, so that training becomes robust to it and cannot fit the errors of
    these samples.
    """
    drawn = np.unpackbits(np.frombuffer(rng.bytes(-(-y.size // 8)), np.uint8), count=y.size).reshape(y.shape)
    return np.where(inside & (drawn == 1), 2 * y - codes, codes)


def _inside(ratio: Array, levels: Levels) -> Array:
    """Return where values in steps are rounded, not cut off: to half a gap beyond the outermost codes."""
    codes, offset = levels.codes, levels.offset
    below, above = codes[1] - codes[0], codes[-1] - codes[-2]
    return np.asarray((ratio >= codes[0] - offset * below) & (ratio <= codes[-1] + (1 - offset) * above))


def _moves(op: Moved, shapes: list[Shape]) -> list[MoveSlope]:
    """Return what a move does to each source, as indices into it; -1 where it takes nothing of it."""
    found = []
    for k, shape in enumerate(shapes):
        numbered = [np.zeros((1, *s), np.int64) for s in shapes]
        numbered[k] = np.arange(1, 1 + int(np.prod(shape))).reshape(1, *shape)
        found.append(MoveSlope(op.evaluate(*numbered)[0] - 1, int(np.prod(shape))))
    return found


def real_of(op: Layer, z: Array) -> Array:
    """Return the activation of a Layer for the pre-activation ``z`` ``(*shape, n)``, without rounding, like ``z``."""
    act = op.activation
    if act is None or act.kind == "identity":
        return z
    if act.kind == "relu":
        return np.maximum(z, F32(0))
    if act.kind == "clip":
        return np.clip(z, F32(act.a), F32(act.b))
    if act.kind == "leaky_relu" or act.kind == "row_exp":
        return _batch_first(act.evaluate, z)
    if act.kind == "sigmoid" or act.kind == "tanh" or act.kind == "scalar":
        return _batch_first(act.evaluate, z)
    assert_never(act.kind)


def _batch_first(function: Any, z: Array) -> Array:
    """Return a function of a batch in front: its constants broadcast against one sample."""
    return np.moveaxis(function(np.moveaxis(z, -1, 0)).astype(F32), 0, -1)


def _slope(act: Activation, z: Array) -> Any:
    if act.kind == "identity":
        return F32(1)
    if act.kind == "relu":
        return z > 0
    if act.kind == "clip":
        return (z > act.a) & (z < act.b)
    if act.kind == "leaky_relu":
        return np.where(z >= 0, F32(1), F32(act.a))
    assert act.kind != "row_exp"  # its slope is that of a row, and a student computes none of these
    if act.kind == "sigmoid" or act.kind == "tanh" or act.kind == "scalar":
        return _batch_first(lambda x: (act.evaluate(x + 1e-3) - act.evaluate(x - 1e-3)) / 2e-3, z)
    assert_never(act.kind)


def summed_like(parameter: Array, terms: Array) -> Array:
    """Return the sum of ``terms`` ``(*shape, n)`` over the batch and all axes along which a parameter is one number."""
    rank = terms.ndim - 1
    ranked = (1,) * (rank - parameter.ndim) + parameter.shape
    over = tuple(a for a in range(rank) if ranked[a] == 1 and terms.shape[a] != 1)
    return terms.sum(axis=(*over, rank), keepdims=True)[..., 0].reshape(parameter.shape)
