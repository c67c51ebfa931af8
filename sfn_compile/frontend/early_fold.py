"""Constant arithmetic folded in one sweep, before the folder that infers shapes comes to it.

onnxscript's folder asks who reads a constant each time it has replaced a reader: n nodes that read one stored number
cost n * n. Here every node is looked at once, and is removed after its readers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.reference import ops as evaluators

from ..foundation.diagnostics import CompileError

Array = NDArray[Any]

# Operators of one result whose shape is that of their inputs, broadcast.
_ELEMENTWISE = frozenset((
    "Abs", "Add", "And", "Cast", "Ceil", "Cos", "Div", "Equal", "Erf", "Exp", "Floor", "Greater", "GreaterOrEqual",
    "Identity", "Less", "LessOrEqual", "Log", "Max", "Min", "Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "Relu",
    "Round", "Sigmoid", "Sign", "Sin", "Sqrt", "Sub", "Tanh", "Where", "Xor",
))  # fmt: skip


def fold_elementwise(model: ir.Model, allowed: Callable[[ir.Node], bool]) -> None:
    """Replace element-wise nodes that read constants alone by their results.

    ``allowed`` is asked before a node is computed, when the shape of its result is known. What it does not allow, and
    what the evaluator does not know, stays for the folder.
    """
    made: dict[ir.Value, Array] = {}
    folded = []
    for node in model.graph:
        result = _result(node, made, model, allowed)
        if result is not None:
            made[node.outputs[0]] = result
            folded.append(node)
    for node in reversed(folded):
        old = node.outputs[0]
        if old.uses():
            tensor = ir.tensor(made[old], name=old.name)
            kept = ir.Value(name=old.name, const_value=tensor, shape=ir.Shape(made[old].shape),
                            type=ir.TensorType(tensor.dtype))  # fmt: skip
            model.graph.register_initializer(kept)
            ir.convenience.replace_all_uses_with(old, kept)
        model.graph.remove(node, safe=True)


def _result(
    node: ir.Node, made: dict[ir.Value, Array], model: ir.Model, allowed: Callable[[ir.Node], bool]
) -> Array | None:
    """Return what a node computes, None where it is not element-wise, not allowed, or reads what is no constant."""
    output = node.outputs[0] if len(node.outputs) == 1 else None
    if node.domain not in ("", "ai.onnx") or node.op_type not in _ELEMENTWISE or output is None:
        return None
    read = [_constant(v, made) for v in node.inputs]
    known = [r for r in read if r is not None]
    version = model.opset_imports.get(node.domain)
    if not known or len(known) < len(read) or output.is_graph_output() or version is None:
        return None
    try:
        output.shape = ir.Shape(np.broadcast_shapes(*(r.shape for r in known)))
        if not allowed(node):
            return None
        evaluate = evaluators.load_op(node.domain, node.op_type, version).eval
        with np.errstate(all="ignore"):
            result = evaluate(*known, **{name: a.value for name, a in node.attributes.items()})
    except CompileError:
        raise
    except Exception:  # a damaged node: the folder leaves it, and whoever imports it says what is wrong
        output.shape = None
        return None
    return result if isinstance(result, np.ndarray) else None


def _constant(value: ir.Value | None, made: dict[ir.Value, Array]) -> Array | None:
    """Return the numbers of a constant: computed here, stored, or of a Constant node."""
    if value is None or value in made or value.is_graph_input():
        return None if value is None else made.get(value)
    node = value.producer()
    if node is None:
        return None if value.const_value is None else value.const_value.numpy()
    stored = node.attributes.get("value") if node.op_type == "Constant" else None
    return None if stored is None or stored.type != ir.AttributeType.TENSOR else stored.value.numpy()
