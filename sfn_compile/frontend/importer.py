"""Walk the ONNX graph once and import every node, or refuse them all in one message."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from ..foundation.diagnostics import CompileError, Diagnostic
from ..graph.graph import Graph, GraphInput, GraphOutput, TensorType, live_nodes
from ..program.network import HostOp
from .batch_layout import FRONT, WHOLE
from .context import Context, Grid, Refusal, node_label
from .fold import fold_constant
from .inputs import TYPES, needed_values
from .join import masked_readers, with_affine_norms
from .load import LoadedModel
from .onnx_node import OnnxNode
from .operators import SEVERAL_OUTPUTS, TAKE_CONSTANTS, Importer, batch_of, importer_of, unsupported
from .relayout import read_as, readings, relaid
from .stored_integers import integer_problem
from .tail_cut import host_may

_MISFITS = (ArithmeticError, IndexError, KeyError, TypeError, ValueError)


def import_model(loaded: LoadedModel) -> Graph:
    """Return the float graph of a model. Raises SFN201, SFN202 and SFN203, all of them at once."""
    graph, problems, _ = survey(loaded)
    if graph is None:
        raise CompileError(problems)
    return graph


def survey(loaded: LoadedModel) -> tuple[Graph | None, list[Diagnostic], list[tuple[str, str]]]:
    """Return (graph or None, problems, [(node, "ok", "host", "behind" or the code of its refusal)]) without raising.

    The graph starts where the model's head ends, and ends where its tail begins, if it has them.
    """
    ends = _ends(loaded)
    needed = needed_values(loaded.model, ends, frozenset(i.name for i in loaded.sources))
    sources = tuple(i for i in loaded.sources if i.name in needed)
    context = Context(loaded.batch, loaded.model.opset_imports.get("", 1))
    _constants(loaded.model, context)
    for source in sources:
        context.types[source.name] = TensorType(source.shape)
        context.values[source.name] = source.name
        if source.dtype in ("uint8", "int8"):  # stored integers, until an operator says what they mean
            context.integers[source.name] = Grid(np.ones(()), np.zeros(()), source.dtype)
    problems: list[Diagnostic] = []
    states: list[tuple[str, str]] = []
    on_host = loaded.on_host
    for node in loaded.model.graph:
        if any(str(o.name) in on_host for o in node.outputs):
            states.append((node_label(node), "host"))
            continue
        problem = _import_node(node, context)
        if problem is not None:
            problems.append(problem)
        states.append((node_label(node), problem.code if problem else _state(node, context)))
    outputs = _outputs(ends, context, problems, () if loaded.tail is None else loaded.tail.cuts)
    if problems:
        return None, problems, states
    nodes = with_affine_norms(live_nodes(context.nodes, [o.value for o in outputs]), {o.value for o in outputs})
    problems = masked_readers(nodes, context.masked, {o.value for o in outputs})
    if problems:
        return None, problems, states
    inputs = tuple(GraphInput(i.name, i.name, i.shape, i.dtype, TensorType(i.shape)) for i in sources)
    return Graph(inputs, nodes, tuple(outputs), before=context.before), [], states


def _constants(model: ir.Model, context: Context) -> None:
    for name, value in model.graph.initializers.items():
        if value.const_value is not None:
            context.constants[name] = value.const_value.numpy()


def _import_node(node: ir.Node, context: Context) -> Diagnostic | None:
    if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
        return _import_constant(node, context)
    key = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
    try:
        if key not in TAKE_CONSTANTS and fold_constant(node, context):
            return None
    except Refusal as refusal:
        return refusal.diagnostic
    waits = any(v is not None and v.name and not _known(str(v.name), context) for v in node.inputs)
    importer = importer_of(node)
    if waits or importer is None:  # behind a refused node only what would be refused anyway is worth a message
        return unsupported(node, folded=not waits)
    if node.op_type not in SEVERAL_OUTPUTS and any(o.name and o.uses() for o in list(node.outputs)[1:]):
        what = "its optional second output is used"
        return Diagnostic("SFN202", what, node_label(node), "use the first output only")
    problem = integer_problem(node, context)
    if problem is not None:
        return problem
    refused = _tried(importer, node, context, key)
    if refused is not None and refused.code == "SFN203":
        for layout in readings(node, context, batch_of(key) != "front"):
            with read_as(layout, node, context):
                again = _tried(importer, node, context, key)
            if again is None or again.code != "SFN203":
                return again
    return refused


def _tried(importer: Importer, node: ir.Node, context: Context, key: str) -> Diagnostic | None:
    try:
        importer(OnnxNode(node, context, batch_of(key)))
    except Refusal as refusal:
        return refusal.diagnostic
    except _MISFITS as error:  # a combination that onnx's schema allows and no importer expects
        what = f"its inputs and attributes do not fit together ({type(error).__name__}: {str(error)[:200]})"
        fix = "export the model again; if it runs in onnxruntime, please report this with the model"
        return Diagnostic("SFN202", what, node_label(node), fix)
    return None


def _state(node: ir.Node, context: Context) -> str:
    """Return "ok", or "behind" for a node that was not looked at because it reads what was refused."""
    return "ok" if any(_known(str(o.name), context) for o in node.outputs) else "behind"


def _known(name: str, context: Context) -> bool:
    return name in context.values or name in context.constants


def _import_constant(node: ir.Node, context: Context) -> Diagnostic | None:
    value = next(iter(node.attributes.values())).value if node.attributes else None
    if value is None or isinstance(value, ir.SparseTensor if hasattr(ir, "SparseTensor") else ()):
        return Diagnostic("SFN202", "a Constant without a dense value", node_label(node))
    array = value.numpy() if hasattr(value, "numpy") else np.asarray(value)
    context.constants[str(node.outputs[0].name)] = array
    return None


def _stored(grid: Grid | None) -> tuple[HostOp, ...]:
    """Return the host operation that gives the user the stored integers of an output, none for a real one."""
    if grid is None:
        return ()
    return (HostOp("integer", (("scale", grid.scale), ("zero", grid.zero), ("dtype", grid.dtype))),)


def _dtype(out: ir.Value) -> str:
    """Return the NumPy type of an output, float32 where the file does not say."""
    return TYPES.get(out.dtype, "float32") if out.dtype is not None else "float32"


def _ends(loaded: LoadedModel) -> list[ir.Value]:
    """Return where the network ends: the outputs that the host does not make, and what its tail is fed."""
    model, tail = loaded.model, loaded.tail
    if tail is None:
        return list(model.graph.outputs)
    made = {str(v.name): v for node in model.graph for v in node.outputs}
    kept = [v for v in model.graph.outputs if str(v.name) not in tail.outputs]
    return [*kept, *(made[name] for name in tail.cuts if made[name] not in kept)]


def _made_by(value: ir.Value) -> str:
    made = value.producer()
    return f"output {value.name!r}" if made is None else node_label(made)


def _in_front(out: ir.Value, context: Context, fed: Collection[str]) -> None:
    """Give an output of a model of batch 1 as samples: with the batch in front, or whole where no axis is it.

    A host tail is ``fed`` tensors of the file, which need the batch in front. What the host may make itself, it makes.
    """
    name, made = str(out.name), out.producer()
    if context.batch != 1 or made is None or name not in context.layouts:
        return
    front = context.dims(name)[:1] == (1,)
    if front or not (name in fed or host_may(made)):
        context.values[name] = relaid(name, FRONT if front else WHOLE, made, context)
        del context.layouts[name]


def _outputs(
    ends: list[ir.Value], context: Context, problems: list[Diagnostic], fed: Collection[str]
) -> list[GraphOutput]:
    found = []
    for out in ends:
        name = str(out.name)
        _in_front(out, context, fed)
        if name in context.layouts:
            what = f"it {context.layouts[name].says()}, and output {name!r} of the model is its result"
            problems.append(Diagnostic("SFN203", what, _made_by(out), "keep axis 0 for the samples"))
        elif name in context.values:
            grid = context.integers.get(name)
            dtype = _dtype(out) if grid is None else grid.dtype
            found.append(GraphOutput(name, context.values[name], _stored(grid), dtype=dtype))
        elif not problems:
            what = "it does not depend on the input"
            problems.append(Diagnostic("SFN105", what, f"output {name!r}", "remove this output from the model"))
    return found
