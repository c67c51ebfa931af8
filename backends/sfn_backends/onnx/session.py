"""Execute ``network.onnx`` in stock onnxruntime, on pieces of the batch."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from sfn_compile.files.build_checks import Form, check_form
from sfn_compile.foundation.diagnostics import CompileError, fail

Array = NDArray[Any]
_DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64}
_PIECE = 64
_PLACE: Form = {"tensor": str, "zero": int, "shape": [int], "over_time?": str}
FORM: Form = {"values": {"*": _PLACE}, "steps?": int, "charges?": {"*": str}}
_PIECE_BYTES = 256 << 20


class Network:
    """The parsed file. Raises SFN503 where it cannot be read."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.model = onnx.load(path)
            described = {p.key: p.value for p in self.model.metadata_props}["sfnc"]
            text = json.loads(described)
            self.inputs = {i.name: _DTYPES[i.type.tensor_type.elem_type] for i in self.model.graph.input}
        except Exception as error:  # protobuf's errors have no common base but this
            raise fail("SFN503", f"cannot read {path.name}: {error!r}", str(path), "compile again") from error
        check_form(text, FORM, path.name)
        self.places: dict[str, dict[str, Any]] = text["values"]
        self.steps: int = text.get("steps", 1)
        self.charges: dict[str, str] = text.get("charges", {})
        self.outputs = [o.name for o in self.model.graph.output]

    def run(self, codes: Mapping[str, Array], threads: int, deadline: float) -> dict[str, Array]:
        """Return the outputs of the file as it is, by value name. Raises SFN503, SFN603."""
        found = self._execute(self.model, codes, threads, deadline, max(1, _PIECE // self.steps))
        return {name: found[name] for name in self.outputs}

    def run_every(
        self, codes: Mapping[str, Array], threads: int, deadline: float
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return every value that a step makes: its tensor, made a further output, less its zero; and, over time, what
        each population has summed up at the end."""
        tapped = onnx.ModelProto()
        tapped.CopyFrom(self.model)
        made = {name: p for name, p in self.places.items() if name not in self.inputs}
        more = dict.fromkeys([*(p["tensor"] for p in made.values()), *self.charges.values()])
        tapped.graph.output.extend(onnx.ValueInfoProto(name=t) for t in more if t not in self.outputs)
        found = self._execute(tapped, codes, threads, deadline, self._piece())
        values = {name: self._told(_codes(found[p["tensor"]], p["zero"]), p) for name, p in made.items()}
        return values, {name: self._over_time(found[t])[:, -1].astype(np.int64) for name, t in self.charges.items()}

    def _over_time(self, tensor: Array) -> Array:
        """Return ``(n * steps, ...)`` as ``(n, steps, ...)``."""
        return tensor.reshape(-1, self.steps, *tensor.shape[1:])

    def _told(self, codes: Array, place: Mapping[str, Any]) -> Array:
        """Return a value as the simulator tells it: what is emitted in each step, of readouts the answer so far."""
        said = place.get("over_time", "held")
        if said == "held":
            return codes
        steps = self._over_time(codes)
        return steps if said == "total" else np.diff(steps.astype(np.int32), axis=1, prepend=np.int32(0))

    def _piece(self) -> int:
        """Return how many samples at a time keep the values of all layers small."""
        per_sample = self.steps * sum(4 * int(np.prod(p["shape"])) for p in self.places.values())
        return max(1, min(_PIECE, _PIECE_BYTES // max(per_sample, 1)))

    def _execute(
        self, model: onnx.ModelProto, codes: Mapping[str, Array], threads: int, deadline: float, piece: int
    ) -> dict[str, Array]:
        names: list[str] = []
        parts: list[list[Array]] = []
        try:
            session = _session(model, threads)
            names = [o.name for o in session.get_outputs()]
            for feed in self._feeds(codes, piece):
                if time.monotonic() > deadline:
                    raise fail("SFN603", "onnxruntime did not finish within the time limit", self.path.name)
                parts.append(session.run(None, feed))
        except CompileError:
            raise
        except Exception as error:  # onnxruntime's errors have no common base but this
            raise fail("SFN603", f"onnxruntime: {error}", str(self.path), "compile again") from error
        return {name: np.concatenate(arrays) for name, arrays in zip(names, zip(*parts, strict=True), strict=True)}

    def _feeds(self, codes: Mapping[str, Array], piece: int) -> Iterator[dict[str, Array]]:
        n = len(next(iter(codes.values())))
        for i in range(0, n, piece):
            yield {k: np.ascontiguousarray(codes[k][i : i + piece], dtype) for k, dtype in self.inputs.items()}


def _session(model: onnx.ModelProto, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _codes(tensor: Array, zero: int) -> Array:
    return tensor.astype(np.int32) - zero if zero else tensor
