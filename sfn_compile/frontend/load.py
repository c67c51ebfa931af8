"""Read an ONNX file: everything that can be wrong with it before a single operator is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common
from onnxscript import optimizer

from ..data import file_sha256
from ..diagnostics import CompileError, Diagnostic, fail
from ..samples import ModelInput
from .inputs import needed_values, read_inputs
from .operators import unsupported
from .tail import HostTail

# Operators whose result is not a function of their inputs: never folded.
_RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}
# Their constants stay as they are: weights from a quantised network are integers times a unit.
_QUANTISERS = {"QuantizeLinear", "DequantizeLinear", "Quant", "BipolarQuant"}
_FOLD_LIMIT_BYTES = 1 << 28
_AT_A_TIME = 1 << 22


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A checked model: its file, the folded IR, the inputs that its outputs depend on, and what the host computes."""

    path: Path
    sha256: str
    model: ir.Model
    inputs: tuple[ModelInput, ...]
    batch: int | None
    n_nodes: int
    tail: HostTail | None = None

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(i.name for i in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the model's outputs."""
        return tuple(str(o.name) for o in self.model.graph.outputs)


def load_model(path: Path, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> LoadedModel:
    """Return the model of ``path`` with shapes pinned and constants folded.

    ``input_shapes`` pins symbolic axes; its batch number is not used. ``batch`` of the result is None where the model
    takes any batch size. Raises SFN101 to SFN105.
    """
    model = _read(path)
    _check_external(model, path)
    _check_finite(model)
    n_nodes = sum(1 for _ in model.graph)
    try:
        inputs, batch = read_inputs(model, input_shapes or {})
    except CompileError as error:  # nothing can be imported, but what would be refused then is worth telling now
        refused = (unsupported(node, folded=False) for node in model.graph)
        raise CompileError([*error.diagnostics, *(d for d in refused if d is not None)]) from error
    _fold(model)
    needed = needed_values(model)  # an input of which only the shape was read is no longer
    inputs = tuple(i for i in inputs if i.name in needed)
    return LoadedModel(path, file_sha256(path), model, inputs, batch, n_nodes)


def _read(path: Path) -> ir.Model:
    if not path.is_file():
        raise fail("SFN101", "there is no such file", str(path))
    try:
        model = ir.load(path)
    except Exception as error:  # the parser raises many types; whichever, the file is not readable ONNX
        what = f"not readable as ONNX ({type(error).__name__}: {_first_line(error)})"
        raise fail("SFN101", what, str(path), "export the model again; a download may be incomplete") from error
    if not any(True for _ in model.graph) or not model.graph.outputs:
        raise fail("SFN101", "the file holds no network (no node or no output)", str(path), "export the model again")
    return model


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


def _tensors(model: ir.Model) -> list[tuple[str, Any]]:
    found = [(name, v.const_value) for name, v in model.graph.initializers.items()]
    for node in model.graph:
        attribute = node.attributes.get("value")
        if node.op_type == "Constant" and attribute is not None and attribute.type == ir.AttributeType.TENSOR:
            found.append((node.outputs[0].name or "", attribute.value))
    return found


def _check_external(model: ir.Model, path: Path) -> None:
    missing: dict[str, str] = {}
    for name, tensor in _tensors(model):
        if isinstance(tensor, ir.ExternalTensor):
            if Path(str(tensor.location)).is_absolute() or ".." in Path(str(tensor.location)).parts:
                what = f"initializer {name!r} points outside the model's folder: {str(tensor.location)!r}"
                raise fail("SFN102", what, str(path), "keep weight data beside the model file")
            file = path.parent / str(tensor.location)
            needed = (tensor.offset or 0) + (tensor.length or 0)
            if not file.is_file() or file.stat().st_size < needed:
                missing.setdefault(str(tensor.location), name)
    if missing:
        raise CompileError(
            Diagnostic("SFN102", f"file {location!r} is missing or too short (first needed for {name!r})", str(path),
                       f"put {location!r} beside the model file") for location, name in missing.items()
        )  # fmt: skip


def _check_finite(model: ir.Model) -> None:
    bad = []
    for name, tensor in _tensors(model):
        try:
            values = tensor.numpy()
        except Exception as error:  # a tensor whose bytes do not fit its shape
            raise fail("SFN101", f"initializer {name!r} is damaged: {_first_line(error)}") from error
        n = _not_finite(values)
        if n:
            bad.append(
                Diagnostic("SFN104", f"{n} of {values.size} values are NaN or infinite", f"initializer {name!r}")
            )
    if bad:
        raise CompileError(bad)


def _not_finite(values: NDArray[Any]) -> int:
    """Return how many numbers are NaN or infinite, looking at a few at a time: weights may fill the memory."""
    if not np.issubdtype(values.dtype, np.floating):
        return 0
    flat = values.reshape(-1)
    return sum(int((~np.isfinite(flat[i : i + _AT_A_TIME])).sum()) for i in range(0, flat.size, _AT_A_TIME))


def _fold(model: ir.Model) -> None:
    """Fold everything that does not depend on the input, shape arithmetic included (onnxscript's folder)."""

    def should_fold(node: ir.Node) -> bool:
        return node.op_type not in _RANDOM | _QUANTISERS

    try:
        optimizer.fold_constants(
            model, onnx_shape_inference=True, should_fold=should_fold,
            input_size_limit=_FOLD_LIMIT_BYTES, output_size_limit=_FOLD_LIMIT_BYTES,
        )  # fmt: skip
        common.RemoveUnusedNodesPass()(model)
    except Exception as error:  # shape inference meets damaged graphs with errors of many types
        raise fail("SFN101", f"the graph is inconsistent ({type(error).__name__}: {_first_line(error)})") from error


def external_files(model: ir.Model) -> list[str]:
    """Return the names of the files, relative to the model's folder, that hold its external weight data."""
    return sorted({str(t.location) for _, t in _tensors(model) if isinstance(t, ir.ExternalTensor)})
