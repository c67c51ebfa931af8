"""Is the file valid ONNX? Every node is held against its operator's schema before an importer looks at it.

So importers may rely on what the ONNX specification promises: attributes have their types, required ones are there, as
many inputs and outputs as the operator has, every name is computed once and before it is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import onnx
import onnx_ir as ir

from ..foundation.diagnostics import CompileError, Diagnostic, fail
from .context import node_label

_FIX = "export the model again; `onnx.checker.check_model` says more"
_FLAGS = {"allowzero", "ceil_mode", "count_include_pad", "exclude_outside", "keepdims", "noop_with_empty_axes",
          "training_mode", "transA", "transB"}  # fmt: skip
# What the first opsets had and later ones say in another way: operator -> attribute -> the value that matters.
_OUTDATED = {
    **{name: {"broadcast": 1} for name in ("Add", "Sub", "Mul", "Div", "And", "Or", "Equal", "Greater", "Less")},
    "BatchNormalization": {"spatial": 0, "is_test": 0},
    "Dropout": {"is_test": 0},
}
_MOST_NODES = 1_000_000  # after functions are inlined
_MOST_CALLS = 64  # of functions within functions


def check_proto(proto: onnx.ModelProto, where: str) -> None:
    """Refuse what has no place in the graph that is read next: sparse weights, unknown opsets.

    Raises SFN101 and SFN202.
    """
    sparse = [f"initializer {short(t.values.name)}" for t in proto.graph.sparse_initializer]
    sparse += [f"constant {short(n.output[0] if n.output else n.name)}" for n in proto.graph.node
               if n.op_type == "Constant" and any(a.HasField("sparse_tensor") for a in n.attribute)]  # fmt: skip
    if sparse:
        fix = "store it dense: onnx.numpy_helper.from_array of the whole tensor"
        raise CompileError(Diagnostic("SFN202", f"{what} is sparse", where, fix) for what in sparse)
    opsets = {i.domain: i.version for i in proto.opset_import}
    newest, version = onnx.defs.onnx_opset_version(), opsets.get("", opsets.get("ai.onnx"))
    if version is None and any(n.domain in ("", "ai.onnx") for n in proto.graph.node):
        raise fail("SFN101", "it does not say which opset its operators are from", where, _FIX)
    if version is not None and not 1 <= version <= newest:
        what = f"opset {version} is not known to onnx {onnx.__version__} (1 to {newest} are)"
        raise fail("SFN101", what, where, f"export with opset {newest} or older, or install a newer onnx")


def check_graph(model: ir.Model, where: str) -> None:
    """Refuse a graph that is no graph, and put its nodes in order. Raises SFN101, all nodes in one message."""
    _check_text(model, where)
    _check_names(model.graph, where)
    try:
        if not _in_order(model.graph):
            model.graph.sort()
    except ValueError as error:
        raise fail("SFN101", "its nodes read each other in a circle", where, _FIX) from error
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 1))
    problems = [p for node in nodes_within(model.graph) if (p := check_node(node, opset)) is not None]
    if problems:
        raise CompileError(problems)


def _check_text(model: ir.Model, where: str) -> None:
    """Refuse names that are no text: protobuf hands over bytes where they are not UTF-8."""
    for graph in graphs_within(model.graph):
        values = [*graph.inputs, *graph.initializers.values(), *(o for node in graph for o in node.outputs)]
        names = [v.name for v in values] + [t for node in graph for t in (node.name, node.op_type, node.domain)]
        wrong = next((n for n in names if n is not None and not isinstance(n, str)), None)
        if wrong is not None:
            raise fail("SFN101", f"name {str(wrong)[:200]} is not UTF-8", where, _FIX)


def _check_names(graph: ir.Graph, where: str) -> None:
    computed = [o.name for node in graph for o in node.outputs if o.name]
    given = {v.name for v in graph.inputs} | set(graph.initializers)
    seen = set(given)
    for name in computed:
        if name in seen:
            raise fail("SFN101", f"value {short(name)} is computed twice", where, _FIX)
        seen.add(name)
    if len({v.name for v in graph.inputs}) != len(graph.inputs):
        raise fail("SFN101", "two inputs have the same name", where, _FIX)
    read = [(node_label(node), v.name or "") for node in graph for v in node.inputs if v is not None]
    for label, name in [*read, *(("output", v.name or "") for v in graph.outputs)]:
        if name and name not in seen:
            raise fail("SFN101", f"value {short(name)} is read, but nothing computes it", label, _FIX)


def _in_order(graph: ir.Graph) -> bool:
    seen: set[ir.Node] = set()
    for node in graph:
        if any(v is not None and (p := v.producer()) is not None and p not in seen for v in node.inputs):
            return False
        seen.add(node)
    return True


def short(name: str) -> str:
    """Return a quoted name for a message, cut where it is longer than anyone reads."""
    return repr(name if len(name) <= 200 else name[:200] + "...")


def graphs_within(graph: ir.Graph) -> Iterator[ir.Graph]:
    """Yield a graph and those of its branches and loops; protobuf has bounded how deep they lie in one another."""
    yield graph
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
                yield from graphs_within(attribute.value)


def nodes_within(graph: ir.Graph) -> Iterator[ir.Node]:
    """Yield the nodes of a graph and those of its branches and loops."""
    return (node for inner in graphs_within(graph) for node in inner)


@lru_cache(maxsize=4096)
def _schema(op_type: str, opset: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(op_type, opset, "")
    except (onnx.defs.SchemaError, TypeError, UnicodeError):  # no such operator; no name that an operator could have
        return None


def check_node(node: ir.Node, opset: int) -> Diagnostic | None:
    """Return SFN101 for a node that its operator's schema does not allow, else None; other domains are not judged.

    SFN202 for one in the meaning that it had in the first opsets.
    """
    if node.domain not in ("", "ai.onnx") or (schema := _schema(node.op_type, opset)) is None:
        return None
    for name, meaning in _OUTDATED.get(node.op_type, {}).items():
        if name in node.attributes and node.attributes[name].value == meaning:
            fix = "convert the model: onnx.version_converter.convert_version(model, 17)"
            return Diagnostic("SFN202", f"attribute {name!r} = {meaning} is from an old opset", node_label(node), fix)
    what = _arity(node, schema) or _attributes(node, schema)
    return Diagnostic("SFN101", f"{what} ({node.op_type} of opset {opset})", node_label(node), _FIX) if what else None


def _arity(node: ir.Node, schema: onnx.defs.OpSchema) -> str:
    given = [i for i, v in enumerate(node.inputs) if v is not None and v.name]
    n_out = len([o for o in node.outputs if o.name])
    if any(i not in given for i in range(schema.min_input)) or len(node.inputs) > schema.max_input:
        return f"it has {len(given)} inputs where {schema.min_input} to {schema.max_input} are needed"
    if not schema.min_output <= len(node.outputs) <= schema.max_output or (schema.min_output and not n_out):
        return f"it has {n_out} outputs where {schema.min_output} to {schema.max_output} are needed"
    return ""


def _attributes(node: ir.Node, schema: onnx.defs.OpSchema) -> str:
    known = schema.attributes
    for name, attribute in node.attributes.items():
        if name not in known:
            return f"attribute {short(name)} does not exist"
        needed = str(known[name].type).rpartition(".")[2]
        if attribute.is_ref() or attribute.type.name != needed or attribute.value is None:
            return f"attribute {name!r} is no {needed}"
        if name in _FLAGS and attribute.value not in (0, 1):
            return f"attribute {name!r} is {attribute.value}, not 0 or 1"
        if attribute.type == ir.AttributeType.FLOAT and math.isnan(attribute.value):
            return f"attribute {name!r} is not a number"
    missing = [name for name, a in known.items() if a.required and name not in node.attributes]
    return f"attribute {missing[0]!r} is missing" if missing else ""


def check_functions(model: ir.Model, where: str) -> None:
    """Refuse functions that call themselves or that would grow to more nodes than any network has. Raises SFN101."""
    sizes: dict[ir.OperatorIdentifier, int] = {}
    _size(model, model.graph, sizes, [], where)


def _size(
    model: ir.Model, body: ir.Graph | ir.Function, sizes: dict[ir.OperatorIdentifier, int],
    calls: list[ir.OperatorIdentifier], where: str,
) -> int:  # fmt: skip
    total = 0
    for node in nodes_within(body.graph if isinstance(body, ir.Function) else body):
        called = node.op_identifier()
        if called in model.functions and called not in sizes:
            if called in calls or len(calls) > _MOST_CALLS:
                raise fail("SFN101", f"function {short(called[1])} calls itself", where, _FIX)
            sizes[called] = _size(model, model.functions[called], sizes, [*calls, called], where)
        total += sizes.get(called, 1)
    if total > _MOST_NODES:
        raise fail("SFN101", f"its functions grow to more than {_MOST_NODES} nodes", where, _FIX)
    return total
