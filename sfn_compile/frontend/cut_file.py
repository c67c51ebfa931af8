"""Part of a model as an ONNX file of its own: what the host computes before or behind the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx
import onnx_ir as ir

from ..foundation.diagnostics import CompileError, fail
from .context import node_label

AGAIN = "export the model again"
Dims = tuple[int, ...]  # 0 for a length that is not known before the model runs


def before(node: ir.Node) -> Iterator[ir.Node]:
    """Yield the nodes whose results a node reads."""
    yield from (p for v in node.inputs if v is not None and (p := v.producer()) is not None)


def behind(node: ir.Node) -> Iterator[ir.Node]:
    """Yield the nodes that read a node's results."""
    yield from (user for v in node.outputs for user, _ in v.uses())


def constant(value: ir.Value) -> bool:
    """Whether a value is the same for all samples because the file states it."""
    made = value.producer()
    return value.is_initializer() or (made is not None and made.op_type == "Constant")


def standard(node: ir.Node) -> bool:
    """Whether a node is one of ONNX's own operators."""
    return node.domain in ("", "ai.onnx")


def cut_file(
    model: ir.Model, fed: Sequence[ir.Value], outputs: Sequence[ir.Value], first: ir.Node, side: str
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Return the nodes between ``fed`` and ``outputs`` as a model, and the same with inferred shapes.

    Raises SFN101 where the ``side`` of the graph ("start", "end"), whose ``first`` node it names, cannot be cut off.
    """
    try:
        proto = _extracted(model, fed, outputs)
        return proto, _inferred(proto, outputs)
    except CompileError:
        raise
    except Exception as error:  # damaged graphs break extraction and shape inference with errors of many types
        what = f"the {side} of the graph cannot be cut off ({type(error).__name__}: {str(error).strip()[:200]})"
        raise fail("SFN101", what, node_label(first), AGAIN) from error


def dims_of(inferred: onnx.ModelProto) -> Mapping[str, Dims]:
    """Return the shapes of all computed values and outputs by name, 0 for a length that is unknown."""
    rows = (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input)
    known = {row.name: tuple(d.dim_value for d in row.type.tensor_type.shape.dim) for row in rows}
    return known | {t.name: tuple(t.dims) for t in inferred.graph.initializer}


def _extracted(model: ir.Model, fed: Sequence[ir.Value], outputs: Sequence[ir.Value]) -> onnx.ModelProto:
    graph = ir.convenience.extract(model.graph, fed, outputs)
    for value in graph.initializers.values():
        if isinstance(value.const_value, ir.ExternalTensor):  # one file, wherever the model kept its data
            value.const_value = ir.tensor(value.const_value.numpy().copy(), name=value.name)
    cut = ir.Model(graph, ir_version=min(model.ir_version, 10), producer_name="sfnc")
    graph.opset_imports.update(model.opset_imports)
    proto = ir.to_proto(cut)
    for rows in (proto.graph.initializer, proto.graph.value_info):  # sets have no order, files do
        rows.sort(key=lambda row: row.name)
    return proto


def _inferred(proto: onnx.ModelProto, outputs: Sequence[ir.Value]) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        what = f"its shapes do not fit together ({' '.join(str(error).split())[:200]})"
        raise fail("SFN101", what, f"output {outputs[0].name!r}", AGAIN) from error
