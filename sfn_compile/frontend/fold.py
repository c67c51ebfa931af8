"""Operators on constants that the optimizer leaves alone because a quantiser is before them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..foundation.diagnostics import Diagnostic
from .context import Context, Refusal, node_label

Array = NDArray[Any]

# Operators that only move numbers: what the constant is a multiple of moves along.
_MOVES = {"Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice"}
# What exporters put between a quantised weight and its layer.
_LEFT = _MOVES | {"Cast", "Clip", "Relu", "Add", "Sub", "Mul", "Div", "Neg", "Sqrt", "Reciprocal", "Concat", "Gather"}


def fold_constant(node: ir.Node, context: Context) -> bool:
    """Compute a node that reads constants, one of them from a quantiser; return whether it was one.

    Everything else that is constant the optimizer has computed already, within its budget. Refuses what cannot be
    computed (SFN202).
    """
    names = [str(v.name) for v in node.inputs if v is not None and v.name]
    if node.op_type not in _LEFT or node.domain not in ("", "ai.onnx"):
        return False
    if any(n not in context.constants for n in names) or not context.quantised.intersection(names):
        return False
    try:
        found = _evaluate(node, [context.constants[n] for n in names], context.opset)
    except Exception as error:  # the evaluator raises many types; whichever, the node does not fit its inputs
        what = f"it cannot be computed from its constants ({error or type(error).__name__})"
        raise Refusal(Diagnostic("SFN202", what[:300], node_label(node), "export the quantised model again")) from error
    for out, value in zip(node.outputs, found, strict=True):
        context.constants[str(out.name)] = value
        context.quantised.add(str(out.name))
    unit = context.units.get(names[0])
    if unit is not None and node.op_type in _MOVES:
        full = np.broadcast_to(unit, context.constants[names[0]].shape)
        moved = _evaluate(node, [full, *(context.constants[n] for n in names[1:])], context.opset)
        context.units[str(node.outputs[0].name)] = moved[0]
    return True


def _evaluate(node: ir.Node, inputs: list[Array], opset: int) -> list[Array]:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    proto = ir.serde.serialize_node(node)
    names = [n for n in proto.input if n]
    types = [helper.np_dtype_to_tensor_dtype(a.dtype) for a in inputs]
    graph = helper.make_graph(
        [proto], "constants",
        [helper.make_tensor_value_info(n, t, a.shape) for n, t, a in zip(names, types, inputs, strict=True)],
        [helper.make_empty_tensor_value_info(o) for o in proto.output],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", max(opset, 7))])
    return list(ReferenceEvaluator(model).run(None, dict(zip(names, inputs, strict=True))))
