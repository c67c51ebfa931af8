"""Tiny ONNX models written as text, and onnxruntime's word on them. Also used by the tests of passes and of the CLI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import parser

from sfn_compile.frontend import import_model, load_model
from sfn_compile.graph.graph import Graph

Array = NDArray[np.generic]

# onnxruntime rounds to float32 (2**-24 of a result) at every operation; the networks here sum fewer than 2**8 terms, so
# 2**-15 of the largest value holds that with room, and every wrong attribute, axis or pad is a thousand times larger.
TOLERANCE = 2.0**-15


def tiny(
    body: str, x: Sequence[int] = (3, 6, 6), *, opset: int = 17, batch: int | str = "N", dtype: str = "float",
    outputs: Sequence[str] = ("y",), inputs: str = "", result: str = "float",
    **constants: Array | Sequence[float] | float,
) -> onnx.ModelProto:  # fmt: skip
    """A model of the text ``body`` on input ``x`` (one sample's shape); keywords are its initializers, float32."""
    shape = ",".join(str(d) for d in (batch, *x))
    results = ", ".join(f"{result}[] {o}" for o in outputs)
    domains = f'"": {opset}, "custom": 1, "com.microsoft": 1'
    head = f"<ir_version: 10, opset_import: [{domains}]> tiny ({dtype}[{shape}] x{inputs})"
    model = parser.parse_model(f"{head} => ({results}) {{ {body} }}")
    for name, value in constants.items():
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def renamed(model: onnx.ModelProto, old: str, new: str) -> onnx.ModelProto:
    """The model with another name for one of its values: any name, also one that cannot be written as text."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [new if n == old else n for n in names]
    return model


def ints(*values: int) -> Array:
    """The int64 vector that ONNX takes for axes, pads, shapes."""
    return np.array(values, np.int64)


def noise(*shape: int, seed: int = 0) -> Array:
    """Seeded normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def saved(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """The file that holds the model."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def imported(model: onnx.ModelProto, folder: Path) -> Graph:
    """The float graph of the model."""
    return import_model(load_model(saved(model, folder)))


def by_onnxruntime(model: onnx.ModelProto, x: Array) -> dict[str, Array]:
    """Every output of the model for a batch."""
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": x}), strict=True))


def samples(graph: Graph, n: int, seed: int = 1) -> Array:
    """A batch for a graph in the type of its model's input."""
    source, rng = graph.inputs[0], np.random.default_rng(seed)
    if source.dtype in ("uint8", "int8"):
        limits = np.iinfo(source.dtype)
        return rng.integers(limits.min, limits.max + 1, (n, *source.model_shape)).astype(source.dtype)
    return (2 * rng.standard_normal((n, *source.model_shape))).astype(source.dtype)


def assert_parity(model: onnx.ModelProto, folder: Path, n: int = 3) -> Graph:
    """Import the model, compare every output with onnxruntime on ``n`` samples, and return the graph."""
    graph = imported(model, folder)
    x = samples(graph, n)
    want, got = by_onnxruntime(model, x), graph.evaluate({"x": x})
    assert [o.name for o in graph.outputs] == list(want)
    for out in graph.outputs:
        a, b = want[out.name].astype(np.float64), got[out.value]
        assert a.shape == b.shape, out.name
        assert np.abs(a - b).max() <= TOLERANCE * max(np.abs(a).max(), 1e-6), out.name
    return graph
