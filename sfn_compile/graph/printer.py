"""Graph and Program as text: stable, diffable, for golden tests, bug reports and `--print-after`.

One line per value: ``%name : shape kind = op(attributes) %inputs  # origin``. Real arrays are shown by shape and range,
integer ones by their sum too, and whole where they are short; an array of one number is that number. Behind a Layer
with integers are the real value of one accumulator unit and the accumulator's range.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from typing_extensions import assert_never

from ..program.network import HostOp, MaxPool, Move, Normalization, Population, Product, Program, Projection, Step
from .graph import Graph, Node
from .ops import Activation, Expression, FoldedReadout, FoldedSite, IntegerReadout, IntegerSite, Layer
from .ops.stages import levels_of

SHORT = 8  # numbers


def print_graph(graph: Graph, origins: bool = False) -> str:
    """Return the graph as text, one line per node; ``origins`` adds the ONNX nodes and passes behind each."""
    lines = [f"input %{i.name} : {_shape(i.type.shape)}{_hosts(i.host)}{_levels(i.levels)}" for i in graph.inputs]
    lines += [_node(n, origins) for n in graph.nodes]
    lines += [f"output {o.name} = {', '.join(f'%{v}' for v in o.values)}{_hosts(o.host)}" for o in graph.outputs]
    return "\n".join(lines) + "\n"


def print_program(program: Program, origins: bool = False) -> str:
    """Return the Program as text, one line per step."""
    lines = []
    for e in program.inputs:
        lines.append(f"input %{e.value} : {_shape(e.shape)} {e.lo}..{e.hi} step {_array(e.step)}{_hosts(e.host)}")
    for step in program.steps:
        lines.append(_step(step) + (f"  # {', '.join(step.origin.nodes)}" if origins else ""))
    for d in program.outputs:
        parts = ", ".join(f"%{p.value} step {_array(p.step)}" for p in d.parts)
        lines.append(f"output {d.name} = {parts}{_hosts(d.host)}")
    return "\n".join(lines) + "\n"


def _node(node: Node, origins: bool) -> str:
    op = node.op
    if isinstance(op, Layer):
        weights = op.integer if isinstance(op, IntegerSite | IntegerReadout) else op
        terms = _terms(*weights.drivers(node.inputs))
        fire = "readout" if op.activation is None else _attributes(op.activation)
        norm = "" if (by := op.norm(node.inputs)) is None else f" / sum of %{by.source} over {by.axis}"
        fire += f"{_levels(levels_of(op))}{_relation(op)}{_integers(op)}"
        text = f"layer {terms}{norm} + {_array(op.bias)} -> {fire}"
    else:
        text = f"{_attributes(op)} {' '.join('%' + s for s in node.inputs)}"
    line = f"%{node.name} : {_shape(node.type.shape)} {node.type.kind} = {text}"
    return line + (f"  # {', '.join(node.origin.nodes)} | {' '.join(node.origin.passes)}" if origins else "")


def _integers(op: Layer) -> str:
    if not isinstance(op, IntegerSite | IntegerReadout):
        return ""
    ladder = f" {_attributes(op.ladder)}" if isinstance(op, FoldedSite | FoldedReadout) else ""
    return f"{ladder} unit {_array(op.integer.alpha)} acc {op.integer.acc_min}..{op.integer.acc_max}"


def _step(step: Step) -> str:
    head = f"%{step.name} : {_shape(step.shape)} = "
    if isinstance(step, Population):
        terms = _terms(step.projections, step.products)
        norm = "" if step.norm is None else f" / sum of %{step.norm.source} over {step.norm.axis}"
        fire = f"{_attributes(step.ladder)} acc {step.acc_min}..{step.acc_max}{_relation(step)}"
        return f"{head}population {terms}{norm} -> {fire}"
    if isinstance(step, Normalization):
        what = f"axes={step.axes} epsilon={step.epsilon} bits={step.bits} gain={_array(step.gain)}"
        kind = "normalization" if step.centred else "root_mean_square"
        return f"{head}{kind} {what} {_terms(step.projections, ())} -> {_attributes(step.ladder)}"
    if isinstance(step, MaxPool):
        pool = f"kernel={step.kernel} strides={step.strides} pads={step.pads} dilations={step.dilations}"
        return f"{head}max_pool {pool} %{step.source}"
    if isinstance(step, Move):
        return f"{head}{_attributes(step.op)} {' '.join('%' + s for s in step.sources)}"
    assert_never(step)


def _terms(projections: tuple[Projection, ...], products: tuple[Product, ...]) -> str:
    texts = [f"{_role(p)}{_attributes(p.map)} %{p.source}" for p in projections]
    return " + ".join([*texts, *(f"{_attributes(p.form)} %{p.left} * %{p.right}" for p in products)])


def _relation(of: Layer | Population) -> str:
    return "" if of.relation is None else f" {_attributes(of.relation)}"


def _role(projection: Projection) -> str:
    """Return what a term is there for, nothing of a weighted sum."""
    return "" if projection.role == "main" else f"{projection.role} "


def _attributes(obj: Any) -> str:
    """Return ``ClassName(field=value, ...)`` with arrays abbreviated and empty fields left out."""
    if isinstance(obj, Activation) and obj.body is not None:
        return f"Activation({obj.body})"
    shown = [f"{f.name}={_value(v)}" for f in fields(obj) if (v := getattr(obj, f.name)) is not None]
    return f"{type(obj).__name__}({', '.join(shown)})"


def _value(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, tuple) and any(isinstance(v, np.ndarray) for v in value):
        return f"({', '.join(map(_value, value))})"
    return _attributes(value) if is_dataclass(value) else str(value)


def _array(array: Any) -> str:
    found = np.asarray(array)
    if found.size == 1:
        return f"{found.reshape(-1)[0]:.6g}"
    if not np.issubdtype(found.dtype, np.integer):
        return f"[{_shape(found.shape)} {found.min():.6g}..{found.max():.6g}]"
    if found.size <= SHORT:
        return f"[{_shape(found.shape)}: {' '.join(map(str, found.reshape(-1)))}]"
    return f"[{_shape(found.shape)} {found.min()}..{found.max()} sum {found.sum(dtype=np.int64)}]"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _hosts(host: tuple[HostOp, ...]) -> str:
    return "".join(f" | host {_host(op)}" for op in host)


def _host(op: HostOp) -> str:
    if op.kind == "scalar":
        return f"scalar({Expression(dict(op.args)['steps'])})"
    read = f" of {', '.join(map(str, op.reads))}" if op.reads else ""
    return f"{op.kind}({', '.join(f'{k}={_value(v)}' for k, v in op.args)}){read}"


def _levels(levels: Any) -> str:
    if levels is None:
        return ""
    codes = f"{levels.lo}..{levels.hi}" if levels.book is None else ",".join(map(str, levels.book))
    offset = "" if levels.offset == 0.5 else f" offset {levels.offset:g}"
    reason = f" because {levels.reason}" if levels.reason else ""
    return f" [{codes} step {_array(levels.step)}{offset}{reason}]"
