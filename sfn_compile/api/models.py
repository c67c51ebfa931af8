"""From whatever people have as a model to an ONNX file: a path, a ModelProto, torch's ONNXProgram, a torch module."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..foundation.diagnostics import fail

if TYPE_CHECKING:
    import onnx

# Of torch only names are known here: it is imported where a module of it is given.
ModelLike: TypeAlias = "str | Path | onnx.ModelProto | Any"
_EXAMPLE = "say what it takes: example=torch.zeros(1, 3, 32, 32)"


def model_file(model: ModelLike, example: Any, folder: Path) -> Path:
    """Return the ONNX file of a model; one that is in memory is written into ``folder`` first.

    ``example``: inputs of a torch module, a tensor, a tuple of them, or a dict by the names of its arguments. Raises
    SFN322 where torch cannot export it, SFN605 for what is no model.
    """
    if isinstance(model, str | Path):
        _no_example(example)
        return Path(model)
    if hasattr(model, "SerializeToString") and hasattr(model, "graph"):
        _no_example(example)
        return _of_proto(model, folder)
    if hasattr(model, "save") and hasattr(model, "model_proto"):
        _no_example(example)
        path = folder / "model.onnx"
        model.save(path)
        return path
    if hasattr(model, "forward") and hasattr(model, "state_dict"):
        return _of_module(model, example, folder)
    raise fail("SFN605", f"a {type(model).__name__} is no model",
               fix="give the path of an .onnx, an onnx.ModelProto, a torch.nn.Module or an ONNXProgram")  # fmt: skip


def _no_example(example: Any) -> None:
    if example is not None:
        raise fail("SFN605", "an example beside a model that is exported already", fix="leave `example` out")


def _of_proto(model: Any, folder: Path) -> Path:
    path = folder / "model.onnx"
    try:
        content = model.SerializeToString()
    except Exception as error:  # of protobuf: beyond 2 GB
        raise fail("SFN101", f"the model cannot be written: {error}", fix="save it with external data") from error
    path.write_bytes(content)
    return path


def _of_module(module: Any, example: Any, folder: Path) -> Path:
    """Export a torch module, for any number of samples where torch can, and put it back into the mode it was in."""
    import torch

    if example is None:
        raise fail("SFN322", "a torch module without an example", type(module).__name__, _EXAMPLE)
    arguments, keywords = _arguments(example)
    was_training, path = module.training, folder / f"{_file_name(type(module).__name__)}.onnx"
    module.eval()
    try:
        _exported(torch, module, arguments, keywords).save(path)
    finally:
        module.train(was_training)
    return path


def _exported(torch: Any, module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Return torch's ONNXProgram: with a free batch, else with that of the example. Raises SFN322."""
    pairs = [_twice(torch, value) for value in arguments], {k: _twice(torch, v) for k, v in keywords.items()}
    free = _free_batch(torch, module, arguments, keywords)
    attempts: tuple[tuple[Any, Any, Any], ...] = (({"dynamic_shapes": free}, *pairs), ({}, arguments, keywords))
    for number, (how, given, named) in enumerate(attempts):
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch about itself
                return torch.onnx.export(module, tuple(given), kwargs=dict(named), dynamo=True, verbose=False, **how)
        except Exception as error:  # of many types: whatever of the module torch.export cannot follow
            if number == len(attempts) - 1:
                what = f"torch cannot export it: {_told(error)}"
                fix = "make `torch.onnx.export(module, example, dynamo=True)` work, or give an .onnx file"
                raise fail("SFN322", what, type(module).__name__, fix) from error
    raise AssertionError("every attempt returns or raises")


def _arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and named arguments as tensors. Raises SFN322 for what is none."""
    if isinstance(example, Mapping):
        return (), {str(name): _tensor(value) for name, value in example.items()}
    values = example if isinstance(example, tuple | list) else (example,)
    return tuple(_tensor(value) for value in values), {}


def _tensor(value: Any) -> Any:
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    raise fail("SFN322", f"an example holds a {type(value).__name__}, no tensor", "example", _EXAMPLE)


def _twice(torch: Any, value: Any) -> Any:
    """Return two samples of one: torch takes an axis of size 1 for one that never changes."""
    return torch.cat([value, value]) if value.ndim and value.shape[0] == 1 else value


def _free_batch(torch: Any, module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
    """Return which axes are free: the first of every input, by the name of the argument."""
    names = list(inspect.signature(module.forward).parameters)
    by_name = {**dict(zip(names, arguments, strict=False)), **keywords}
    return {name: {0: torch.export.Dim.DYNAMIC} if value.ndim else {} for name, value in by_name.items()}


def _told(error: Exception) -> str:
    """Return what an exporter says: the first cause, a line of it."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line}"[:300]


def _file_name(name: str) -> str:
    """Return a name that a file may have."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name).strip(".") or "model"
