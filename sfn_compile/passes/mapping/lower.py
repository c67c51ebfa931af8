"""lower: the finished graph, written as a Program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray
from typing_extensions import assert_never

from ...files.program_files import smallest_int
from ...graph.graph import Graph, Node
from ...graph.ops import Layer, MaxPool, Moved, Normalize, site_op
from ...graph.steps import all_steps
from ...program.broadcast import compress
from ...program.network import (
    Decoding,
    Encoding,
    Identity,
    Move,
    Normalization,
    Pad,
    Population,
    Program,
    Projection,
    Step,
    ValueInfo,
)
from ...program.network import MaxPool as PoolStep

Array = NDArray[Any]


def lower(graph: Graph) -> Program:
    """Return the Program of a graph with ``thresholds-integer``."""
    steps = all_steps(graph)
    inputs = []
    for source in graph.inputs:
        levels = source.levels
        assert levels is not None
        shape = source.type.shape
        inputs.append(Encoding(source.model_name, source.name, source.model_shape, source.dtype, source.host,
                               compress(levels.step), shape, levels.lo, levels.hi, levels.rounding))  # fmt: skip
    program_steps = tuple(_step(n) for n in graph.nodes)
    nodes = graph.by_name()
    outputs = []
    for out in graph.outputs:
        op = nodes[out.value].op
        readout = op.integer.alpha if isinstance(op, Layer) and op.levels is None and op.integer else None
        step = compress(readout if readout is not None else steps[out.value])
        outputs.append(Decoding(out.name, out.value, step, out.host, nodes[out.value].type.shape, out.dtype))
    return Program(tuple(inputs), program_steps, tuple(outputs))


def _step(node: Node) -> Step:
    op = site_op(node.op)
    if isinstance(op, Layer):
        form = op.integer
        assert form is not None
        assert form.ladder is not None
        projections, products = form.terms(node.inputs)
        return Population(
            node.name, tuple(replace(p, map=_small(p.map)) for p in projections), form.ladder, node.type.shape,
            form.acc_min, form.acc_max, node.origin, tuple(replace(p, form=_small(p.form)) for p in products),
            op.norm(node.inputs),
        )  # fmt: skip
    if isinstance(op, Normalize):
        return normalization(node, op)
    if isinstance(op, MaxPool):
        return PoolStep(
            node.name, node.inputs[0], op.kernel, op.strides, op.pads, op.dilations, node.type.shape, node.origin
        )
    if isinstance(op, Moved):
        return Move(node.name, node.inputs, op.op, node.type.shape, node.origin)
    assert_never(op)


def normalization(node: Node, op: Normalize) -> Normalization:
    """Return the step of a normalisation with integers."""
    form = op.integer
    assert form is not None
    weighted = zip(node.inputs, form.weights, strict=True)
    read = tuple(Projection(s, Identity(smallest_int(w))) for s, w in weighted)
    return Normalization(
        node.name, read, op.axes, op.centred, form.epsilon, form.bits, smallest_int(form.gain), form.ladder,
        node.type.shape, node.origin,
    )  # fmt: skip


def _small(linear: Any) -> Any:
    return replace(linear, weight=smallest_int(linear.weight))


def value_infos(graph: Graph) -> dict[str, ValueInfo]:
    """Return shape and code range of every value whose levels are chosen."""
    infos: dict[str, ValueInfo] = {}
    for source in graph.inputs:
        if source.levels is not None:
            infos[source.name] = ValueInfo(source.type.shape, source.levels.lo, source.levels.hi)
    for node in graph.nodes:
        infos[node.name] = info_behind(node, infos)
    return infos


def info_behind(node: Node, infos: Mapping[str, ValueInfo]) -> ValueInfo:
    """Return shape and code range of a node's value from those of its sources."""
    shape = node.type.shape
    if isinstance(node.op, Layer):
        levels, form = node.op.levels, node.op.integer
        if levels is not None:
            return ValueInfo(shape, levels.lo, levels.hi)
        return ValueInfo(shape, form.acc_min if form else 0, form.acc_max if form else 0)
    if isinstance(node.op, Normalize) and node.op.levels is not None:
        return ValueInfo(shape, node.op.levels.lo, node.op.levels.hi)
    sources = [infos[s] for s in node.inputs]
    lo, hi = min(s.lo for s in sources), max(s.hi for s in sources)
    if isinstance(node.op, Moved) and isinstance(node.op.op, Pad):
        lo, hi = min(lo, 0), max(hi, 0)
    return ValueInfo(shape, lo, hi)
