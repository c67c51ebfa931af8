"""Read an ONNX file: everything that can be wrong with it before a single operator is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common
from onnxscript import optimizer

from ..files.file_kinds import Kind, kind_of
from ..files.sample_files import file_sha256
from ..foundation.diagnostics import CompileError, Diagnostic, fail
from ..foundation.samples import ModelInput
from .early_fold import fold_elementwise
from .head_cut import HostHead
from .inputs import needed_values, read_inputs
from .operators import unsupported
from .size_limits import FoldBudget, check_input, numbers
from .tail_cut import HostTail
from .well_formed import check_functions, check_graph, check_proto, graphs_within, nodes_within, short

# Operators whose result is not a function of their inputs: never folded.
_RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}
# Their constants stay as they are: weights from a quantised network are integers times a unit.
_QUANTISERS = {"QuantizeLinear", "DequantizeLinear", "Quant", "BipolarQuant"}
_SOURCES = "pkg.onnxscript.optimizer.folded_from"  # the folder's note of all that a constant was computed from
_NO_LIMIT = 1 << 62  # of the folder's own, which looks only after it has computed; FoldBudget looks before
_AT_A_TIME = 1 << 22
_MOST_PIECES = 4096
_LATER = "sfnc.later"
# Infinity is a legitimate bound of these.
_BOUNDED = {"Clip", "Max", "Min", "Pad"}
# Minus infinity is what a mask adds to scores: a Softmax behind the one, and nothing but the others between.
_MASKING, _BETWEEN = {"Add", "Where", "Attention"}, {"Reshape", "Transpose", "Cast", "Identity", "Add", "Where", "Sub",
                                                    "ReduceMax", "Unsqueeze", "Squeeze", "Flatten"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A checked model: its file, the folded IR, the inputs that its outputs depend on, and what the host computes."""

    path: Path
    model: ir.Model
    inputs: tuple[ModelInput, ...]
    batch: int | None
    n_nodes: int
    tail: HostTail | None = None
    head: HostHead | None = None

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(i.name for i in self.inputs)

    @property
    def sources(self) -> tuple[ModelInput, ...]:
        """What network and tail may read: the inputs, and what the head hands over."""
        return self.inputs if self.head is None else (*self.inputs, *self.head.cuts)

    @property
    def on_host(self) -> frozenset[str]:
        """The names of the values that head and tail compute."""
        return frozenset().union(*(part.made for part in (self.head, self.tail) if part is not None))

    def coverage(self, unmapped: int = 0) -> dict[str, int]:
        """Return how many nodes the file has, how many are mapped (constants are computed, which counts) and how many
        head and tail hold; ``unmapped`` are refused, or read what is."""
        host = sum(len(part.nodes) for part in (self.head, self.tail) if part is not None)
        return {"nodes": self.n_nodes, "mapped": self.n_nodes - host - unmapped, "host": host}

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the model's outputs."""
        return tuple(str(o.name) for o in self.model.graph.outputs)

    @cached_property
    def sha256(self) -> str:
        """The sha256 of the model file."""
        return file_sha256(self.path)


def load_model(path: Path, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> LoadedModel:
    """Return the model of ``path`` with shapes pinned and constants folded.

    ``input_shapes`` pins symbolic axes; its batch number is not used. ``batch`` of the result is None where the model
    takes any batch size. Raises SFN101 to SFN105, SFN108 and, for what no network holds, SFN202.
    """
    model = _read(path)
    _check_external(model, path)
    _check_readable(model)
    _inline(model, path)
    check_graph(model, str(path))
    n_nodes = sum(1 for _ in model.graph)
    try:
        inputs, batch = read_inputs(model, input_shapes or {})
        for source in inputs:
            check_input(source.name, source.shape, batch)
    except CompileError as error:  # nothing can be imported, but what would be refused then is worth telling now
        refused = (unsupported(node, folded=False) for node in model.graph)
        raise CompileError([*error.diagnostics, *(d for d in refused if d is not None)]) from error
    _fold(model)
    _check_finite(model)
    needed = needed_values(model)  # an input of which only the shape was read is no longer
    inputs = tuple(i for i in inputs if i.name in needed)
    return LoadedModel(path, model, inputs, batch, n_nodes)


def _read(path: Path) -> ir.Model:
    kind = kind_of(path) if path.exists() else None
    if not path.is_file():
        what = "there is no such file" if kind is None else f"it is {kind.name}; an .onnx file is needed"
        raise fail("SFN101", what, str(path), "" if kind is None else kind.model)
    try:
        proto = onnx.load(path, load_external_data=False)
        check_proto(proto, str(path))
        model = ir.serde.deserialize_model(proto)
        ir.external_data.set_base_dir(model.graph, path.parent)
    except CompileError:
        raise
    except Exception as error:  # the parser raises many types; whichever, the file is not readable ONNX
        raise _no_model(kind, path, _first_line(error)) from error
    if not any(True for _ in model.graph) or not model.graph.outputs:
        raise _no_model(kind, path, "the file holds no network: no node or no output")
    return model


def _no_model(kind: Kind | None, path: Path, reason: str) -> CompileError:
    """Return SFN101: what kind of file it is where that is no ONNX file, else what the parser says."""
    if kind is not None and kind.model:
        return fail("SFN101", f"it is {kind.name}, not ONNX", str(path), kind.model)
    again = "export the model again; a download may be incomplete"
    return fail("SFN101", f"not readable as ONNX ({reason})", str(path), again)


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:  # the parser wraps what it found in where it was
        error = error.__cause__
    return (str(error).strip().splitlines() or [""])[0][:200] or type(error).__name__


def _tensors(model: ir.Model) -> Iterator[tuple[str, Any]]:
    """Yield (name of the value, tensor) of every initializer and tensor attribute, those of branches included."""
    for graph in graphs_within(model.graph):
        yield from ((name, v.const_value) for name, v in graph.initializers.items())
        for node in graph:
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                    yield (node.outputs[0].name or "") if node.outputs else "", attribute.value


def _check_external(model: ir.Model, path: Path) -> None:
    missing: dict[str, str] = {}
    for name, tensor in _tensors(model):
        if isinstance(tensor, ir.ExternalTensor):
            if Path(str(tensor.location)).is_absolute() or ".." in Path(str(tensor.location)).parts:
                what = f"initializer {short(name)} points outside the model's folder: {short(str(tensor.location))}"
                raise fail("SFN102", what, str(path), "keep weight data beside the model file")
            file = path.parent / str(tensor.location)
            if not _holds(file, (tensor.offset or 0) + (tensor.length or 0)):
                missing.setdefault(str(tensor.location), name)
    if missing:
        raise CompileError(
            Diagnostic("SFN102", f"file {short(location)} is missing or too short (first needed for {short(name)})",
                       str(path), f"put {short(location)} beside the model file") for location, name in missing.items()
        )  # fmt: skip


def _holds(file: Path, size: int) -> bool:
    """Return whether it is a regular file of at least that many bytes; a name that no file can have is none."""
    try:
        return file.is_file() and file.stat().st_size >= size >= 0
    except (OSError, ValueError):
        return False


def _check_readable(model: ir.Model) -> None:
    for name, tensor in _tensors(model):
        try:
            if tensor is not None and list(tensor.numpy().shape) != list(tensor.shape):
                raise ValueError(f"its shape is {list(tensor.shape)}")
        except Exception as error:  # a tensor whose bytes do not fit its shape
            what = f"initializer {short(name)} is damaged: {_first_line(error)}"
            raise fail("SFN101", what, fix="export the model again; a download may be incomplete") from error


def _check_finite(model: ir.Model) -> None:
    bad = []
    for value in _constants(model):
        values = value.const_value.numpy() if value.const_value is not None else np.zeros(0)
        n, readers = _not_finite(values), {use.node.op_type for use in value.uses()}
        if n and readers and (np.isnan(values).any() or not (readers <= _BOUNDED or _masks(value, values))):
            what = f"{n} of {values.size} values are NaN or infinite"
            fix = "train or export the model again: a weight that is no number makes every result one that is none"
            bad.append(Diagnostic("SFN104", what, f"initializer {short(str(value.name))}", fix))
    if bad:
        raise CompileError(bad)


def _masks(value: ir.Value, values: NDArray[Any]) -> bool:
    """Return whether a constant is a mask: minus infinity where a Softmax gives 0."""
    if np.isposinf(values).any():
        return False
    uses = [use.node for use in value.uses()]
    return all(n.op_type in _MASKING and (n.op_type == "Attention" or _to_softmax(n)) for n in uses)


def _to_softmax(node: ir.Node) -> bool:
    """Return whether a Softmax, named or written out, is all that reads a node, moves and sums in between."""
    waiting, seen = [node], {node}
    while waiting:
        readers = {use.node for output in waiting.pop().outputs for use in output.uses()}
        between = {n for n in readers if n.op_type not in ("Softmax", "Exp")}
        if not readers or any(n.op_type not in _BETWEEN for n in between):
            return False
        waiting += between - seen
        seen |= between
    return True


def _not_finite(values: NDArray[Any]) -> int:
    """Return how many numbers are NaN or infinite, looking at a few at a time: weights may fill the memory."""
    if not np.issubdtype(values.dtype, np.floating):
        return 0
    flat = values.reshape(-1)
    return sum(int((~np.isfinite(flat[i : i + _AT_A_TIME])).sum()) for i in range(0, flat.size, _AT_A_TIME))


def _constants(model: ir.Model) -> Iterator[ir.Value]:
    yield from model.graph.initializers.values()
    yield from (node.outputs[0] for node in model.graph if node.op_type == "Constant")


def _inline(model: ir.Model, path: Path) -> None:
    """Put the bodies of the model's own functions where they are called."""
    if not model.functions:
        return
    check_functions(model, str(path))
    try:
        common.InlinePass()(model)
    except Exception as error:  # of many types, as above
        what = f"its functions are inconsistent ({_first_line(error)})"
        raise fail(
            "SFN101", what, str(path), "export the model without functions, or all of it with one opset"
        ) from error


def _fold(model: ir.Model) -> None:
    """Fold everything that does not depend on the input, shape arithmetic included (onnxscript's folder)."""

    _tidy(model)
    budget = FoldBudget(sum(numbers(v.shape) or 0 for v in model.graph.initializers.values()))

    def should_fold(node: ir.Node) -> bool:
        for value in node.inputs:  # along a chain of n constants the notes would hold n * n / 2 names
            if value is not None:
                value.meta.pop(_SOURCES, None)
        return node.op_type not in _RANDOM | _QUANTISERS and budget.allows(node)

    lists = [node for node in model.graph if node.op_type == "SplitToSequence"]
    for node in lists:  # the folder would make one output per piece, as many as the file says: not before that is known
        node.domain = _LATER
    try:
        fold_elementwise(model, should_fold)
        _fold_constants(model, should_fold)
        for node in lists:
            node.domain = ""
        if lists and all(_few_pieces(node) for node in lists):
            _fold_constants(model, should_fold)
        while _split_constants(model):
            _fold_constants(model, should_fold)
        _drop_unused(model)
    except CompileError:
        raise
    except Exception as error:  # shape inference raises errors of many types on damaged graphs
        what = f"the graph is inconsistent ({_first_line(error)})"
        raise fail("SFN101", what, fix="export the model again; `onnx.checker.check_model` says more") from error


def _drop_unused(model: ir.Model) -> None:
    """Remove nodes that nothing reads. onnx-ir below 0.2 also takes training_mode off a BatchNormalization then."""
    training = {n: n.attributes["training_mode"] for n in nodes_within(model.graph) if "training_mode" in n.attributes}
    common.RemoveUnusedNodesPass()(model)
    for node, attribute in training.items():
        node.attributes["training_mode"] = attribute


def _fold_constants(model: ir.Model, should_fold: Callable[[ir.Node], bool]) -> None:
    optimizer.fold_constants(
        model, onnx_shape_inference=True, should_fold=should_fold,
        input_size_limit=_NO_LIMIT, output_size_limit=_NO_LIMIT,
    )  # fmt: skip


def _split_constants(model: ir.Model) -> bool:
    """Cut the constants that are split (weights of queries, keys and values in one), which the folder leaves alone."""
    found = False
    for node in list(model.graph):
        values = [None if v is None or v.const_value is None else v.const_value.numpy() for v in node.inputs]
        if node.op_type != "Split" or node.domain not in ("", "ai.onnx") or not values or values[0] is None:
            continue
        if any(o.is_graph_output() for o in node.outputs):
            continue
        whole, n = values[0], len(node.outputs)
        axis = int(node.attributes["axis"].value) if "axis" in node.attributes else 0
        size = -(-whole.shape[axis] // n)
        sizes = node.attributes["split"].value if "split" in node.attributes else [size] * n
        sizes = sizes if len(values) < 2 or values[1] is None else values[1].tolist()
        for old, piece in zip(node.outputs, np.split(whole, np.cumsum(sizes)[:-1], axis), strict=True):
            made = ir.Value(name=f"{old.name}/split", const_value=ir.tensor(np.ascontiguousarray(piece)))
            model.graph.register_initializer(made)
            ir.convenience.replace_all_uses_with(old, made)
        model.graph.remove(node, safe=True)
        found = True
    return found


def _few_pieces(node: ir.Node) -> bool:
    shape = node.inputs[0].shape if node.inputs and node.inputs[0] is not None else None
    return shape is not None and all(isinstance(d, int) and d <= _MOST_PIECES for d in shape)


def _tidy(model: ir.Model) -> None:
    """Drop the shapes that the file notes for computed values: they may be stale, and the folder would believe them.

    Nodes without a name get that of their output, before the folder invents one.
    """
    for node in nodes_within(model.graph):
        node.name = node.name or next((o.name for o in node.outputs if o.name), None)
        if node.domain in ("", "ai.onnx"):
            for value in node.outputs:
                value.shape = None


def external_files(model: ir.Model) -> list[str]:
    """Return the names of the files, relative to the model's folder, that hold its external weight data."""
    return sorted({str(t.location) for _, t in _tensors(model) if isinstance(t, ir.ExternalTensor)})
