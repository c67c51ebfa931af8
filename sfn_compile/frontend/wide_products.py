"""Weights of eight bits as onnxruntime multiplies them exactly on every processor.

Processors without VNNI add two products of an unsigned code by a signed weight into sixteen bits, where they saturate:
the operator's meaning is lost (an answer may be off by most of the range). With weights that are unsigned as well there
is no such instruction, and ``(w + 128) - (zero + 128)`` is the same number.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

# Operator -> the inputs that are the zero point of the codes, the weights, and the zero point of these.
_PRODUCTS = {"QLinearConv": (2, 3, 5), "QLinearMatMul": (2, 3, 5), "QGemm": (2, 3, 5)}


def saturates(model: onnx.ModelProto) -> bool:
    """Return whether any operator of a model multiplies unsigned codes by signed weights."""
    stored = _stored(model)
    return any(_mixed(node, stored) for node in model.graph.node)


def with_unsigned_weights(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """Return the model with unsigned weights for unsigned codes; ``folder`` holds external data."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    stored = _stored(changed)
    made: set[str] = set()
    for node in changed.graph.node:
        if not _mixed(node, stored):
            continue
        for place in _PRODUCTS[node.op_type][1:]:
            name = f"{node.input[place]}/unsigned"
            if name not in made:
                signed = numpy_helper.to_array(stored[node.input[place]], str(folder)).astype(np.int16)
                changed.graph.initializer.append(numpy_helper.from_array((signed + 128).astype(np.uint8), name))
                made.add(name)
            node.input[place] = name
    return changed


def _stored(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Return the constants of a model by name, those included that are nodes."""
    found = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            found.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    return found


def _mixed(node: onnx.NodeProto, stored: dict[str, onnx.TensorProto]) -> bool:
    if node.op_type not in _PRODUCTS or len(node.input) <= max(_PRODUCTS[node.op_type]):
        return False
    kinds = [stored[node.input[i]].data_type if node.input[i] in stored else None for i in _PRODUCTS[node.op_type]]
    return kinds == [onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.INT8]
