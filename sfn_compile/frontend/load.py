"""Read an ONNX file: everything that can be wrong with it before a single operator is looked at."""

from __future__ import annotations

import hashlib
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

from ..diagnostics import CompileError, Diagnostic, fail
from .operators import unsupported
from .sound import check_functions, check_graph, check_proto, graphs_within, nodes_within, short
from .work import FoldBudget, check_input, numbers

# Operators whose result is not a function of their inputs: never folded.
_RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}
_NO_LIMIT = 1 << 62  # of the folder's own, which looks only after it has computed; FoldBudget looks before
_AT_A_TIME = 1 << 22
_MOST_PIECES = 4096
_LATER = "sfnc.later"
# Infinity is a legitimate bound of these.
_BOUNDED = {"Clip", "Max", "Min", "Pad"}
_FLOATS = {ir.DataType.FLOAT: "float32", ir.DataType.DOUBLE: "float64", ir.DataType.FLOAT16: "float16"}
_INTEGERS = {ir.DataType.UINT8: "uint8", ir.DataType.INT8: "int8"}


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A checked model: its file, the folded IR, and its single real input."""

    path: Path
    model: ir.Model
    input_name: str
    input_shape: tuple[int, ...]
    input_dtype: str
    batch: int | None
    n_nodes: int

    @cached_property
    def sha256(self) -> str:
        """The sha256 of the model file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


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
        graph_input = _single_input(model)
        shape, batch = _pin(graph_input, dict(input_shapes or {}))
        dtype = _dtype(graph_input)
        check_input(str(graph_input.name), shape, batch)
    except CompileError as error:  # nothing can be imported, but what would be refused then is worth telling now
        refused = (unsupported(node, folded=False) for node in model.graph)
        raise CompileError([*error.diagnostics, *(d for d in refused if d is not None)]) from error
    graph_input.shape = ir.Shape([batch or 1, *shape])
    _fold(model)
    _check_finite(model)
    return LoadedModel(path, model, str(graph_input.name), shape, dtype, batch, n_nodes)


def _read(path: Path) -> ir.Model:
    if not path.is_file():
        raise fail("SFN101", "there is no such file", str(path))
    try:
        proto = onnx.load(path, load_external_data=False)
        check_proto(proto, str(path))
        model = ir.serde.deserialize_model(proto)
        ir.external_data.set_base_dir(model.graph, path.parent)
    except CompileError:
        raise
    except Exception as error:  # the parser raises many types; whichever, the file is not readable ONNX
        what = f"not readable as ONNX ({_first_line(error)})"
        raise fail("SFN101", what, str(path), "export the model again; a download may be incomplete") from error
    if not any(True for _ in model.graph) or not model.graph.outputs:
        raise fail("SFN101", "the file holds no network (no node or no output)", str(path), "export the model again")
    return model


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
        if n and readers and (np.isnan(values).any() or not readers <= _BOUNDED):
            what = f"{n} of {values.size} values are NaN or infinite"
            fix = "train or export the model again: a weight that is no number makes every result one that is none"
            bad.append(Diagnostic("SFN104", what, f"initializer {short(str(value.name))}", fix))
    if bad:
        raise CompileError(bad)


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


def _single_input(model: ir.Model) -> ir.Value:
    real = [v for v in model.graph.inputs if v.name not in model.graph.initializers]
    if len(real) != 1:
        names = ", ".join(repr(v.name) for v in real) or "none"
        what = f"the model has {len(real)} inputs ({names}); exactly one is supported"
        raise fail("SFN105", what, fix="export the part of the network between one input tensor and its outputs")
    for value in list(model.graph.inputs):
        if value is not real[0]:
            model.graph.inputs.remove(value)  # an initializer listed as input (old exporters) is a constant
    return real[0]


def _pin(value: ir.Value, input_shapes: dict[str, tuple[int, ...]]) -> tuple[tuple[int, ...], int | None]:
    name = str(value.name)
    wrong = sorted(set(input_shapes) - {name})
    if wrong:
        raise fail("SFN105", f"--input-shape names {wrong[0]!r}; the model's input is {name!r}")
    if value.shape is None or len(value.shape) < 2:
        what = f"its shape is {value.shape}; the first axis must be the batch and at least one more must follow"
        raise fail("SFN105", what, f"input {name!r}", "export with a batch axis")
    dims = [d if isinstance(d, int) else None for d in value.shape]
    given = input_shapes.get(name)
    if given is not None:
        if len(given) != len(dims) or any(d not in (None, g) for d, g in zip(dims[1:], given[1:], strict=True)):
            raise fail(
                "SFN103", f"--input-shape {list(given)} does not fit the model's {value.shape}", f"input {name!r}"
            )
        dims = [dims[0], *given[1:]]
    if any(d is None or d < 1 for d in dims[1:]):
        example = ",".join(str(d) if d else "N" for d in [1, *dims[1:]])
        fix = f"pin it: --input-shape {name}={example} with a number for each N"
        raise fail("SFN103", f"the shape {value.shape} has a symbolic axis besides the batch", f"input {name!r}", fix)
    return tuple(d for d in dims[1:] if d is not None), dims[0]


def _dtype(value: ir.Value) -> str:
    known = {**_FLOATS, **_INTEGERS}
    if value.dtype not in known:
        what = f"its type is {value.dtype}; supported: {', '.join(known.values())}"
        raise fail("SFN105", what, f"input {value.name!r}")
    return known[value.dtype]


def _fold(model: ir.Model) -> None:
    """Fold everything that does not depend on the input, shape arithmetic included (onnxscript's folder)."""

    _tidy(model)
    budget = FoldBudget(sum(numbers(v.shape) or 0 for v in model.graph.initializers.values()))

    def should_fold(node: ir.Node) -> bool:
        return node.op_type not in _RANDOM and budget.allows(node)

    lists = [node for node in model.graph if node.op_type == "SplitToSequence"]
    for node in lists:  # the folder would make one output per piece, as many as the file says: not before that is known
        node.domain = _LATER
    try:
        _fold_constants(model, should_fold)
        for node in lists:
            node.domain = ""
        if lists and all(_few_pieces(node) for node in lists):
            _fold_constants(model, should_fold)
        common.RemoveUnusedNodesPass()(model)
    except CompileError:
        raise
    except Exception as error:  # shape inference meets damaged graphs with errors of many types
        what = f"the graph is inconsistent ({_first_line(error)})"
        raise fail("SFN101", what, fix="export the model again; `onnx.checker.check_model` says more") from error


def _fold_constants(model: ir.Model, should_fold: Callable[[ir.Node], bool]) -> None:
    optimizer.fold_constants(
        model, onnx_shape_inference=True, should_fold=should_fold,
        input_size_limit=_NO_LIMIT, output_size_limit=_NO_LIMIT,
    )  # fmt: skip


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
