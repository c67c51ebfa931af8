"""lower: the finished graph, written as a Program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray
from typing_extensions import assert_never

from ...files.program_files import smallest_int
from ...graph.graph import Graph, Node
from ...graph.ops import (
    FoldedReadout,
    FoldedSite,
    IntegerNormal,
    IntegerReadout,
    Layer,
    MaxPool,
    Moved,
    folded_op,
)
from ...graph.ops.stages import levels_of, unit_of
from ...graph.steps import all_steps
from ...program.broadcast import compress
from ...program.network import (
    Decoding,
    Encoding,
    Identity,
    Move,
    Normalization,
    Pad,
    Part,
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
        levels = source.chosen
        shape = source.type.shape
        inputs.append(Encoding(source.model_name, source.name, source.model_shape, source.dtype, source.host,
                               compress(levels.step), shape, levels.lo, levels.hi, levels.rounding))  # fmt: skip
    program_steps = tuple(_step(n) for n in graph.nodes)
    nodes = graph.by_name()
    outputs = []
    for out in graph.outputs:
        first, *joined = (_part(nodes[name], steps) for name in out.values)
        decoding = Decoding(out.name, first.value, first.step, out.host, first.shape, out.dtype, tuple(joined))
        outputs.append(decoding)
    return Program(tuple(inputs), program_steps, tuple(outputs))


def _part(node: Node, steps: Mapping[str, Array]) -> Part:
    """Return a node's value as an output is decoded from it: in units of its readout, or with the step of its codes."""
    readout = unit_of(node.op)
    return Part(node.name, compress(readout if readout is not None else steps[node.name]), node.type.shape)


def _step(node: Node) -> Step:
    op = folded_op(node.op)
    if isinstance(op, FoldedSite | FoldedReadout):
        form = op.integer
        projections, products = form.drivers(node.inputs)
        return Population(
            node.name, tuple(replace(p, map=_small(p.map)) for p in projections), op.ladder, node.type.shape,
            form.acc_min, form.acc_max, node.origin, tuple(replace(p, form=_small(p.form)) for p in products),
            op.norm(node.inputs), op.relation,
        )  # fmt: skip
    if isinstance(op, IntegerNormal):
        return normalization(node, op)
    if isinstance(op, MaxPool):
        return PoolStep(
            node.name, node.inputs[0], op.kernel, op.strides, op.pads, op.dilations, node.type.shape, node.origin
        )
    if isinstance(op, Moved):
        return Move(node.name, node.inputs, op.op, node.type.shape, node.origin)
    assert_never(op)


def normalization(node: Node, op: IntegerNormal) -> Normalization:
    """Return the step of a normalisation with integers."""
    form = op.integer
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
    levels = levels_of(node.op)
    if levels is not None:
        return ValueInfo(shape, levels.lo, levels.hi)
    if isinstance(node.op, IntegerReadout):
        return ValueInfo(shape, node.op.integer.acc_min, node.op.integer.acc_max)
    if isinstance(node.op, Layer):
        return ValueInfo(shape, 0, 0)
    sources = [infos[s] for s in node.inputs]
    lo, hi = min(s.lo for s in sources), max(s.hi for s in sources)
    if isinstance(node.op, Moved) and isinstance(node.op.op, Pad):
        lo, hi = min(lo, 0), max(hi, 0)
    return ValueInfo(shape, lo, hi)
