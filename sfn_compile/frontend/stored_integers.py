"""What integer tensors may do: be moved, cast to float, or take part in arithmetic that is the same on real numbers."""

from __future__ import annotations

import onnx_ir as ir

from ..foundation.diagnostics import Diagnostic
from .context import Context, node_label

_TRUNCATES = {"Div", "Mod", "ReduceMean", "Mean"}
_WRAPS = {"Add", "Sub", "Mul", "Neg", "Sum", "ReduceSum", "MatMul", "Gemm"}
_PICKS = {"Gather": 1, "GatherElements": 1, "GatherND": 1, "OneHot": 0, "ScatterElements": 1, "ScatterND": 1}


def integer_problem(node: ir.Node, context: Context) -> Diagnostic | None:
    """Return SFN202 where a node does with integers what has no meaning on real numbers, else None."""
    where, cast = node_label(node), "put a Cast to FLOAT in front of it"
    at = _PICKS.get(node.op_type)
    if at is not None and at < len(node.inputs) and node.inputs[at] is not None:
        index = node.inputs[at]
        if index is not None and str(index.name) in context.values:
            source = _source(index)
            what = f"it picks by indices that are computed at run time{f', from input {source!r}' if source else ''}"
            return Diagnostic("SFN202", what, where, "do the look-up before the model and pass its result as the input")
    kind = next((v.dtype for v in node.inputs if v is not None and str(v.name) in context.values), None)
    if kind is None or not kind.is_integer():
        return None
    if node.op_type in _TRUNCATES:
        return Diagnostic("SFN202", f"on {kind.name} it drops the fraction of its result", where, cast)
    if node.op_type in _WRAPS and kind.bitwidth < 32:
        return Diagnostic("SFN202", f"on {kind.name} its result wraps around", where, cast)
    return None


def _source(value: ir.Value) -> str:
    """Return the model input that a value is made from by operators of one input, empty where it has none."""
    node = value.producer()
    while node is not None and node.inputs and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return str(value.name) if value.is_graph_input() else ""
