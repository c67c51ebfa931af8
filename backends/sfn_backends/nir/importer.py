"""A .nir file as an ONNX model: what its neurons do over T steps, said in one. Files of ours: :mod:`.own_files`.

An integrate-and-fire neuron with threshold theta that starts at 0, gets the same current I in each of T steps, fires at
most once a step and subtracts theta when it does, has fired ``clip(floor(T I / theta), 0, T)`` times in the end. That
count over T, the rate, is what every neuron of the ONNX model emits: ``clip(floor(I T / theta), 0, T) / T``, I made of
the rates before it. Linear nodes pass on mean currents. For T = 1 this is one step from rest of the network itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np

from sfn_backends.nir import own_files
from sfn_backends.nir.files import KEY
from sfn_backends.nir.net import DT, Array
from sfn_compile.foundation.diagnostics import CompileError, Diagnostic, fail

Shape = tuple[int, ...]
OPSET, IR_VERSION = 18, 8
WHY = {
    "CubaLIF": "its current and its membrane leak from step to step",
    "CubaLI": "its current and its membrane leak from step to step",
    "LI": "its membrane leaks from step to step",
    "I": "it sums over time without a threshold",
    "Delay": "a delay shifts spikes in time",
}


def to_onnx(path: Path, steps: int) -> bytes:
    """Return the ONNX model of a NIR file, for neurons that may fire ``steps`` times.

    Raises SFN101 where it is no NIR graph, SFN111 with every node that one step cannot say, SFN601 without nir.
    """
    try:
        import nir
    except ImportError as error:
        raise fail("SFN601", "the package nir is not installed: pip install 'sfnc[nir]'") from error
    try:
        graph = nir.read(path, type_check=False)  # Norse writes a batch axis into the input's type
    except Exception as error:  # nir and h5py raise what they stumble over
        what = f"it cannot be read as a NIR network: {error!r}"
        raise fail("SFN101", what, str(path), "write it again with nir 1.0.8, or give the network as .onnx") from error
    if KEY in graph.metadata:
        return own_files.of_file(path, {type(node).__name__ for node in graph.nodes.values()})
    nodes, edges = _flat(graph)
    return _Writer(nodes, edges, steps).model(path.stem)


def _flat(graph: Any, prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return nodes and edges with the graphs within a graph written out."""
    nodes: dict[str, Any] = {}
    edges = [(prefix + a, prefix + b) for a, b in dict.fromkeys(map(tuple, graph.edges))]
    for name, node in graph.nodes.items():
        full = prefix + name
        if type(node).__name__ != "NIRGraph":
            nodes[full] = node
            continue
        inner, inside = _flat(node, f"{full}.")
        ports = {kind: [n for n, v in inner.items() if type(v).__name__ == kind] for kind in ("Input", "Output")}
        edges = [
            (ports["Output"][0] if a == full else a, ports["Input"][0] if b == full else b) for a, b in edges
        ] + inside  # fmt: skip
        nodes |= {n: _Through() if type(v).__name__ in ports else v for n, v in inner.items()}
    return nodes, edges


class _Through:
    """An input or output of a graph within the graph."""


@dataclass
class _Writer:
    """Writes one ONNX model; ``shapes`` of values, without the batch."""

    nodes: dict[str, Any]
    edges: list[tuple[str, str]]
    steps: int
    shapes: dict[str, Shape] = field(default_factory=dict)
    made: list[Any] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    problems: list[Diagnostic] = field(default_factory=list)
    pooled: dict[str, _Pooled] = field(default_factory=dict)

    def model(self, name: str) -> bytes:
        """Return the serialised model."""
        from onnx import TensorProto, helper, numpy_helper

        inputs, outputs = self._ends()
        for node in self._order():
            self._write(node)
        if self.problems:
            raise CompileError(self.problems)
        first, last = (
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", *self.shapes[n]]) for n in names]
            for names in (inputs, outputs)
        )
        nodes = self._needed(outputs)
        read = {value for node in nodes for value in node.input}
        constants = [numpy_helper.from_array(a, n) for n, a in self.constants.items() if n in read]
        graph = helper.make_graph(nodes, name, first, last, constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        return bytes(made.SerializeToString())

    def _needed(self, outputs: list[str]) -> list[Any]:
        """Return the nodes that lead to an output: not a pool whose only reader took its place."""
        wanted, kept = set(outputs), []
        for node in reversed(self.made):
            if node.output[0] in wanted:
                wanted |= set(node.input)
                kept.append(node)
        return kept[::-1]

    def _ends(self) -> tuple[list[str], list[str]]:
        found = [[n for n, v in self.nodes.items() if type(v).__name__ == kind] for kind in ("Input", "Output")]
        if not all(found):
            raise fail("SFN111", "the graph has no Input or no Output node")
        return found[0], found[1]

    def _order(self) -> list[str]:
        sources: dict[str, list[str]] = {name: [] for name in self.nodes}
        for a, b in self.edges:
            if a not in sources or b not in sources:
                raise fail("SFN111", f"an edge leads from {a} to {b}, and one of them is no node")
            sources[b].append(a)
        try:
            return list(TopologicalSorter(sources).static_order())
        except CycleError as error:
            ring = list(dict.fromkeys(error.args[1]))
            what = f"{', '.join(ring)} feed each other: recurrence needs one step after another"
            raise fail("SFN111", what, ", ".join(ring), _ADVICE) from error

    def _write(self, name: str) -> None:
        node, kind = self.nodes[name], type(self.nodes[name]).__name__
        if kind == "Input":
            self.shapes[name] = self._input_shape(name)
            return
        sources = [a for a, b in self.edges if b == name]
        if any(s not in self.shapes for s in sources):
            return  # behind a problem
        if not sources:
            self._refuse(name, "nothing leads to it")
            return
        writer = WRITERS.get(kind)
        if writer is None:
            self._refuse(name, f"{kind}: {WHY.get(kind, 'sfnc does not know this node')}")
            return
        try:
            writer(self, name, node, self._sum(name, sources))
        except _Unsayable as reason:
            self._refuse(name, f"{kind}: {reason}")

    def _refuse(self, name: str, why: str) -> None:
        self.problems.append(Diagnostic("SFN111", why, name, _ADVICE))

    def _input_shape(self, name: str) -> Shape:
        """Return the shape of a sample; exporters that keep a batch of one in it are seen by what reads it."""
        given = next(iter(self.nodes[name].input_type.values()))
        if given is None or not np.size(given):
            raise fail("SFN111", "the Input node states no shape", name)
        shape = tuple(int(n) for n in np.asarray(given).reshape(-1))
        read = {type(self.nodes[b]).__name__: self.nodes[b] for a, b in self.edges if a == name}
        rank = {"Conv2d": 3, "Conv1d": 2, "SumPool2d": 3, "AvgPool2d": 3}
        for kind, reader in read.items():
            wanted = rank.get(kind)
            if kind in ("Affine", "Linear") and reader.weight.shape[-1] == int(np.prod(shape)):
                wanted = 1 if shape[0] == 1 else len(shape)
            if wanted is not None and len(shape) == wanted + 1 and shape[0] == 1:
                return shape[1:]
        return shape

    # -- ONNX ------------------------------------------------------------------------------------------------------
    def _sum(self, name: str, sources: list[str]) -> str:
        """Return the value that a node reads: several edges into one add up."""
        total = sources[0]
        for i, other in enumerate(sources[1:]):
            if self.shapes[other] != self.shapes[total]:
                raise _Unsayable(f"it adds up values of the shapes {self.shapes[total]} and {self.shapes[other]}")
            total = self.add("Add", [total, other], f"{name}_in{i}", self.shapes[total])
        return total

    def add(self, op: str, inputs: list[str], name: str, shape: Shape, **attributes: Any) -> str:
        """Add a node that bears the name of its value, and return that."""
        from onnx import helper

        self.made.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        self.shapes[name] = shape
        return name

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        """Add a constant and return its name."""
        self.constants[name] = np.asarray(value, dtype)
        return name


class _Unsayable(Exception):
    """Why one step cannot say a node."""


_ADVICE = (
    "train or export the network with IF neurons without leak, recurrence and delays, or export the float network to "
    "ONNX; docs/nir.md says what is read"
)


# -- one function per node ---------------------------------------------------------------------------------------------
def _through(w: _Writer, name: str, node: Any, x: str) -> None:
    w.add("Identity", [x], name, w.shapes[x])


def _linear(w: _Writer, name: str, node: Any, x: str) -> None:
    n_out, n_in = np.asarray(node.weight).shape[-2:]
    shape = w.shapes[x]
    if shape[-1] != n_in:
        if int(np.prod(shape)) != n_in:
            raise _Unsayable(f"it takes {n_in} numbers and reads {shape}")
        target = w.constant(f"{name}_shape", [0, n_in], np.int64)
        x, shape = w.add("Reshape", [x, target], f"{name}_flat", (n_in,)), (n_in,)
    out = (*shape[:-1], n_out)
    weight = w.constant(f"{name}_weight", np.asarray(node.weight, np.float32).T)
    bias = getattr(node, "bias", None)
    if bias is None:
        w.add("MatMul", [x, weight], name, out)
        return
    product = w.add("MatMul", [x, weight], f"{name}_product", out)
    w.add("Add", [product, w.constant(f"{name}_bias", bias)], name, out)


def _conv(w: _Writer, name: str, node: Any, x: str) -> None:
    weight, shape = np.asarray(node.weight, np.float32), w.shapes[x]
    n = weight.ndim - 2
    groups = int(np.asarray(node.groups))
    if len(shape) != n + 1 or shape[0] != weight.shape[1] * groups:
        raise _Unsayable(f"its kernel {weight.shape} does not fit the shape {shape}")
    stride, dilation = _each(node.stride, n), _each(node.dilation, n)
    pads = _pads(node.padding, _span(weight, dilation), stride)
    composed = _composed(w, x, weight, dilation, groups)
    if composed is not None:
        pool, weight = composed
        x, shape = pool.source, w.shapes[pool.source]
        stride = [s * k for s, k in zip(stride, pool.kernel, strict=True)]
        pads = [(a * k, b * k) for (a, b), k in zip(pads, pool.kernel, strict=True)]
    span = _span(weight, dilation)
    out = _window(shape, span, stride, pads, len(weight))
    inputs = [x, w.constant(f"{name}_weight", weight)]
    if node.bias is not None and np.size(node.bias):
        inputs.append(w.constant(f"{name}_bias", np.asarray(node.bias).reshape(-1)))
    w.add("Conv", inputs, name, out, kernel_shape=list(weight.shape[2:]), strides=stride, dilations=dilation,
          group=groups, pads=[*(a for a, _ in pads), *(b for _, b in pads)])  # fmt: skip


def _pool(average: bool) -> Callable[[_Writer, str, Any, str], None]:
    def write(w: _Writer, name: str, node: Any, x: str) -> None:
        shape = w.shapes[x]
        if len(shape) != 3:
            raise _Unsayable(f"it pools maps and reads {shape}")
        kernel, stride, padding = (_each(v, 2) for v in (node.kernel_size, node.stride, node.padding))
        out = _window(shape, kernel, stride, [(p, p) for p in padding], shape[0])
        covers = kernel == stride and not any(padding) and not any(np.mod(shape[1:], kernel))
        w.pooled[name] = _Pooled(x, kernel, 1 / float(np.prod(kernel)) if average else 1.0, covers)
        mean = name if average else f"{name}_mean"
        w.add("AveragePool", [x], mean, out, kernel_shape=kernel, strides=stride, pads=[*padding, *padding],
              count_include_pad=1)  # fmt: skip
        if not average:
            w.add("Mul", [mean, w.constant(f"{name}_size", float(np.prod(kernel)))], name, out)

    return write


@dataclass(frozen=True)
class _Pooled:
    """A pool of ``source``: what it multiplies elements by, and whether its windows cover the map without overlap."""

    source: str
    kernel: list[int]
    factor: float
    covers: bool


def _composed(w: _Writer, x: str, weight: Array, dilation: list[int], groups: int) -> tuple[_Pooled, Array] | None:
    """Return the pool that a convolution reads, and the kernel with which it reads what the pool does.

    One layer of neurons less, which would have to fire the sums.
    """
    pool = w.pooled.get(x)
    if pool is None or not pool.covers or groups != 1 or dilation != [1, 1]:
        return None
    return pool, weight.repeat(pool.kernel[0], axis=2).repeat(pool.kernel[1], axis=3) * np.float32(pool.factor)


def _flatten(w: _Writer, name: str, node: Any, x: str) -> None:
    shape = w.shapes[x]
    first, last = (int(np.asarray(v)) % max(len(shape), 1) for v in (node.start_dim, node.end_dim))
    if not first <= last:
        raise _Unsayable(f"it joins the axes {first} to {last} of {shape}")
    out = (*shape[:first], int(np.prod(shape[first : last + 1])), *shape[last + 1 :])
    w.add("Reshape", [x, w.constant(f"{name}_shape", [0, *out], np.int64)], name, out)


def _scale(w: _Writer, name: str, node: Any, x: str) -> None:
    w.add("Mul", [x, w.constant(f"{name}_scale", _fitted(node.scale, w.shapes[x]))], name, w.shapes[x])


def _threshold(w: _Writer, name: str, node: Any, x: str) -> None:
    above = w.constant(f"{name}_threshold", _fitted(node.threshold, w.shapes[x]))
    fires = w.add("Greater", [x, above], f"{name}_fires", w.shapes[x])
    w.add("Cast", [fires], name, w.shapes[x], to=1)


def _if(w: _Writer, name: str, node: Any, x: str) -> None:
    r = np.asarray(node.r, np.float64)
    _fire(w, name, node, x, np.where(r == 1, 1.0, r * DT), w.steps)


def _lif(w: _Writer, name: str, node: Any, x: str) -> None:
    tau, r = np.asarray(node.tau, np.float64), np.asarray(node.r, np.float64)
    if np.asarray(node.v_leak).any():
        raise _Unsayable("its membrane leaks towards a value that is not 0")
    if np.isposinf(tau).all():  # no leak: an IF whose resistance grew with tau
        _fire(w, name, node, x, np.ones_like(tau) if np.isposinf(r).all() else np.zeros_like(tau), w.steps)
    elif np.allclose(tau, DT, rtol=1e-5):  # forgets all between steps: the same in each of them
        _fire(w, name, node, x, r, 1)
    else:
        leak = float(np.max(DT / tau))
        raise _Unsayable(
            f"its membrane leaks: {leak:.3g} of it is lost in a step of {DT:g} s, so when spikes come counts"
        )


def _fire(w: _Writer, name: str, node: Any, x: str, gain: Array, steps: int) -> None:
    shape = w.shapes[x]
    threshold, reset = np.asarray(node.v_threshold, np.float64), getattr(node, "v_reset", None)
    if not (threshold > 0).all() or not (gain > 0).all():
        raise _Unsayable("its threshold or its resistance is not positive")
    if reset is not None and np.asarray(reset).any():
        raise _Unsayable("it is reset to a value that is not 0")
    factor = _fitted(gain * steps / threshold, shape)
    scaled = w.add("Mul", [x, w.constant(f"{name}_gain", factor)], f"{name}_charge", shape)
    counted = w.add("Floor", [scaled], f"{name}_floor", shape)
    limits = [w.constant(f"{name}_{word}", v) for word, v in (("none", 0.0), ("most", float(steps)))]
    if steps == 1:
        w.add("Clip", [counted, *limits], name, shape)
        return
    count = w.add("Clip", [counted, *limits], f"{name}_count", shape)
    w.add("Div", [count, w.constant(f"{name}_steps", float(steps))], name, shape)


WRITERS: Mapping[str, Callable[[_Writer, str, Any, str], None]] = {
    "Output": _through, "_Through": _through, "Affine": _linear, "Linear": _linear, "Conv1d": _conv, "Conv2d": _conv,
    "SumPool2d": _pool(False), "AvgPool2d": _pool(True), "Flatten": _flatten, "Scale": _scale,
    "Threshold": _threshold, "IF": _if, "LIF": _lif,
}  # fmt: skip


# -- small things ------------------------------------------------------------------------------------------------------
def _each(value: Any, n: int) -> list[int]:
    """Return one number per axis of space."""
    found = [int(v) for v in np.asarray(value).reshape(-1)]
    return found * n if len(found) == 1 else found


def _span(weight: Array, dilation: list[int]) -> list[int]:
    return [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]


def _pads(padding: Any, span: list[int], stride: list[int]) -> list[tuple[int, int]]:
    """Return (before, after) per axis; "same" is what torch makes of it, the odd row behind."""
    word = padding.decode() if isinstance(padding, bytes) else padding
    if isinstance(word, str):
        if word == "same" and any(s > 1 for s in stride):
            raise _Unsayable("padding 'same' with a stride")
        return [((n - 1) // 2, n // 2) if word == "same" else (0, 0) for n in span]
    return [(p, p) for p in _each(padding, len(span))]


def _window(shape: Shape, span: list[int], stride: list[int], pads: list[tuple[int, int]], channels: int) -> Shape:
    sides = [(n + a + b - s) // t + 1 for n, (a, b), s, t in zip(shape[1:], pads, span, stride, strict=True)]
    if min(sides) < 1:
        raise _Unsayable(f"its window is larger than the map {shape}")
    return (channels, *sides)


def _fitted(values: Any, shape: Shape) -> Array:
    """Return numbers that broadcast against a batch of ``shape``: one where all are alike, one per channel."""
    array = np.asarray(values, np.float64)
    if (array == array.flat[0]).all():
        return np.asarray(array.flat[0], np.float32)
    try:
        full = np.broadcast_to(array.reshape(-1, *(1,) * (len(shape) - 1)) if array.ndim == 1 else array, shape)
    except ValueError as error:
        raise _Unsayable(f"its parameters of the shape {array.shape} do not fit {shape}") from error
    first = full[(slice(None), *(slice(1) for _ in shape[1:]))]
    return np.asarray(first if (full == first).all() else full, np.float32)
