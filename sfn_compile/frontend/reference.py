"""The float truth: the user's own model, run by onnxruntime, with any of its values as further outputs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from ..diagnostics import fail
from . import qonnx

Array = NDArray[Any]
_BATCH = 32


class FloatReference:
    """An onnxruntime session over the original file; ``taps`` are values of the graph returned beside the outputs.

    ``batch`` is the model's fixed batch size or None; ``piece`` samples run at a time where the size is free.
    """

    def __init__(self, path: Path, input_name: str, batch: int | None, taps: Sequence[str] = (), piece: int = _BATCH):
        self.input_name = input_name
        self.batch = batch
        self.piece = piece
        self.session = _session(path, taps)
        self.outputs = [o.name for o in self.session.get_outputs()]

    def run(self, x: Array) -> dict[str, Array]:
        """Return every output and tap ``(n, ...)`` for inputs ``(n, *shape)``. Raises SFN106."""
        return {k: np.concatenate([p[k] for p in self.stream(x)]) for k in self.outputs}

    def stream(self, x: Array) -> Iterator[dict[str, Array]]:
        """Yield outputs and taps for consecutive pieces of ``x``, batch axis first."""
        size = self.batch or self.piece
        for start in range(0, len(x), size):
            piece = x[start : start + size]
            missing = size - len(piece) if self.batch else 0
            if missing:  # a fixed batch is filled up with repetitions, which are cut off again
                piece = np.concatenate([piece, np.repeat(piece[-1:], missing, axis=0)])
            try:
                found = self.session.run(self.outputs, {self.input_name: piece})
            except Exception as error:  # onnxruntime's exceptions share no base class
                raise fail("SFN106", f"onnxruntime: {str(error).strip()[:300]}") from error
            keep = len(piece) - missing
            yield {name: value[:keep] for name, value in zip(self.outputs, found, strict=True)}


def _session(path: Path, taps: Sequence[str]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = os.cpu_count() or 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # onnxruntime reads weight data only from the model's folder, which it has to be told for a model in memory.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent.resolve()))
    try:
        model = _prepared(path, taps)
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above: no base class to name
        raise fail("SFN106", f"onnxruntime: {str(error).strip()[:300]}", str(path)) from error


def _prepared(path: Path, taps: Sequence[str]) -> bytes | str:
    """Return what onnxruntime is to load: the file, or in memory the model with more outputs or in standard operators.

    External weight data stays where it is.
    """
    model = onnx.load(str(path), load_external_data=False)
    foreign = qonnx.has_quantisers(model)
    if not taps and not foreign:
        return str(path)
    model = qonnx.standard(model) if foreign else model
    have = {o.name for o in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=t) for t in taps if t not in have)
    return bytes(model.SerializeToString())


def original_names(path: Path) -> set[str]:
    """Return the names of all values that the original file computes."""
    model = onnx.load(str(path), load_external_data=False)
    return {o for node in model.graph.node for o in node.output if o}
