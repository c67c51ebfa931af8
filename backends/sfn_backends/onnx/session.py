"""Run ``network.onnx`` in onnxruntime's CPU provider, on pieces of the batch."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from sfn_compile.diagnostics import fail

Array = NDArray[Any]
_PIECE_BYTES = 256 << 20
_LARGEST_PIECE = 64


class Network:
    """The file, parsed: which tensor holds which value."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.model = onnx.load(path)
            described = {p.key: p.value for p in self.model.metadata_props}["sfnc"]
            self.places: dict[str, dict[str, Any]] = json.loads(described)["values"]
        except (OSError, KeyError, ValueError, onnx.shape_inference.InferenceError) as error:
            raise fail("SFN503", f"cannot read {path.name}: {error}", str(path), "compile again") from error
        self.inputs = {i.name: _dtype(i) for i in self.model.graph.input}
        self.outputs = [o.name for o in self.model.graph.output]

    def tapped(self, names: Collection[str]) -> bytes:
        """Return the model with the tensors of the values ``names`` as further outputs."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        tensors = dict.fromkeys(self.places[n]["tensor"] for n in names)
        known = {*self.outputs, *self.inputs}
        model.graph.output.extend(onnx.ValueInfoProto(name=t) for t in tensors if t not in known)
        return bytes(model.SerializeToString())
