"""Writes an ONNX graph node by node: each node is run by onnxruntime as it is added, so shapes and sizes are known."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]
IR_VERSION = 10
LARGEST = 1e3  # of a value: beyond it networks overflow float16, and nothing is learnt from that
MOST = 2048  # numbers of a sample


class Unfit(Exception):
    """The node cannot stand here: onnxruntime refuses it, or its numbers grow too large."""


@dataclass(frozen=True, eq=False)
class Value:
    """A computed value and what onnxruntime makes of it on some samples, ``(batch, *shape)``."""

    name: str
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.array.shape[1:]


@dataclass
class Writer:
    """The graph so far. ``dtype`` is the number type of its values, ``batch`` how many samples it is tried on."""

    rng: random.Random
    opset: int
    dtype: str
    batch: int
    fixed: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    inputs: list[Value] = field(default_factory=list)
    numbers: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.numbers = np.random.default_rng(self.rng.getrandbits(32))

    def name(self) -> str:
        """Return a new name."""
        return f"v{len(self.nodes)}_{len(self.constants)}"

    def constant(self, content: Any, dtype: str | None = None) -> str:
        """Return the name of a new constant, of the graph's number type unless another is said."""
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(content).astype(dtype or self.dtype)
        return name

    def ints(self, *content: int) -> str:
        """Return the name of a constant vector of int64: axes, pads, shapes."""
        return self.constant(content, "int64")

    def normal(self, *shape: int, scale: float = 1.0, mean: float = 0.0) -> str:
        """Return the name of a constant of random numbers."""
        return self.constant(mean + scale * self.numbers.standard_normal(shape))

    def input(self, shape: Sequence[int], dtype: str | None = None) -> Value:
        """Return a new input of the model with random samples."""
        kind = dtype or self.dtype
        value = Value(f"x{len(self.inputs)}", samples(self.numbers, (self.batch, *shape), kind))
        self.inputs.append(value)
        return value

    def node(self, op: str, *inputs: Value | str, domain: str = "", **attributes: Any) -> Value:
        """Return the value of a new node with one output. Raises Unfit."""
        return self.several(op, 1, *inputs, domain=domain, **attributes)[0]

    def several(self, op: str, n: int, *inputs: Value | str, domain: str = "", **attributes: Any) -> tuple[Value, ...]:
        """Return the values of a new node with ``n`` outputs. Raises Unfit."""
        names = [f"{self.name()}_{i}" if n > 1 else self.name() for i in range(n)]
        read = [i.name if isinstance(i, Value) else i for i in inputs]
        node = helper.make_node(op, read, names, name=f"{op}_{len(self.nodes)}", domain=domain, **attributes)
        fed = [i for i in inputs if isinstance(i, Value)]
        arrays = _tried(node, fed, {c: self.constants[c] for c in read if c in self.constants}, self.opset)
        for array in arrays:
            _check(array, self.batch)
        self.nodes.append(node)
        return tuple(Value(n, a) for n, a in zip(names, arrays, strict=True))

    def model(self, outputs: Sequence[Value]) -> onnx.ModelProto:
        """Return the model of the nodes that the outputs need."""
        kept, needed = [], {o.name for o in outputs}
        for node in reversed(self.nodes):
            if needed & set(node.output):
                kept.append(node)
                needed |= set(node.input)
        size = self.batch if self.fixed else "N"
        graph = helper.make_graph(
            kept[::-1], "random",
            [_info(i.name, i.array, size) for i in self.inputs if i.name in needed],
            [_info(o.name, o.array, size) for o in outputs],
            [numpy_helper.from_array(a, n) for n, a in self.constants.items() if n in needed],
        )  # fmt: skip
        return helper.make_model(graph, ir_version=IR_VERSION, opset_imports=_imports(self.opset))


def samples(numbers: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Return random samples of a number type: all integers, or normal numbers."""
    if dtype in ("uint8", "int8"):
        limits = np.iinfo(dtype)
        return numbers.integers(limits.min, limits.max + 1, shape).astype(dtype)
    return numbers.standard_normal(shape).astype(dtype)


def session_of(model: onnx.ModelProto) -> ort.InferenceSession:
    """Return a session of one thread that runs the model as it is written. Raises Unfit."""
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise Unfit(str(error)) from error


def answers(model: onnx.ModelProto, x: dict[str, Array]) -> list[Array]:
    """Return the outputs of a model. Raises Unfit."""
    session = session_of(model)
    try:
        return [np.asarray(a) for a in session.run(None, x)]
    except Exception as error:  # as above
        raise Unfit(str(error)) from error


def _tried(node: onnx.NodeProto, fed: list[Value], constants: dict[str, Array], opset: int) -> list[Array]:
    """Return what onnxruntime makes of one node alone. Raises Unfit."""
    unique = {v.name: v for v in fed}.values()
    graph = helper.make_graph(
        [node], "one", [_info(v.name, v.array, "N") for v in unique],
        [onnx.ValueInfoProto(name=name) for name in node.output],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=_imports(opset))
    return answers(model, {v.name: v.array for v in unique})


def _check(array: Array, batch: int) -> None:
    """Raise Unfit where a value is of no use: empty, too large, not finite, without the batch in front."""
    if array.ndim < 1 or array.shape[0] != batch or not 0 < array[0].size <= MOST:
        raise Unfit("shape")
    if array.dtype.kind == "f" and not (np.abs(array) <= LARGEST).all():
        raise Unfit("numbers")


def _imports(opset: int) -> list[onnx.OperatorSetIdProto]:
    return [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]


def _info(name: str, array: Array, batch: int | str) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, kind, [batch, *array.shape[1:]])
