"""A Program as a float ONNX model that computes its integers: what a .nir file of ours is compiled from.

Every value of the model is a code, as a float. A neuron is a step function of its accumulator, whose levels the front
end reads off exactly, and integer weights of one unit stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import assert_never

from sfn_backends.nir import reloading
from sfn_backends.nir.files import name as file_name
from sfn_backends.nir.links import matrix, per_channel
from sfn_backends.nir.net import Array
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import (
    Conv,
    Decoding,
    Dense,
    Encoding,
    Gather,
    Identity,
    LinearMap,
    MaxPool,
    Move,
    Normalization,
    Population,
    Program,
    Projection,
    Ratio,
    Readout,
    RowTable,
    Shape,
    SumPool,
    Table,
    Uniform,
)

OPSET, IR_VERSION = 18, 8
EXACT = "sfnc.exact"  # a key of the model's metadata: what is compiled from it has to compute the same integers


def of_file(path: Path, kinds: set[str]) -> bytes:
    """Return the ONNX model of a .nir file of ours, whose nodes are of ``kinds``; other parts lie beside it.

    Raises SFN503 where it is damaged or another part is missing, SFN111 where it is a network over time or its input is
    none for floats.
    """
    if '"form": "clocked"' in reloading.parse(path)[3]:  # see .clocked
        fix = "compile the model that it was made from"
        raise fail("SFN111", f"{path.name} is a network over time; sfnc reads networks of one step", str(path), fix)
    text = reloading.text_of(path)
    kind = next((k for k in ("LIF", "IF") if k in kinds), "")
    paths = [path if text["parts"] == 1 else path.with_name(file_name(n, kind)) for n in range(text["parts"])]
    program, unchanged = reloading.reload(paths, text["form"], kind)
    if not unchanged:
        raise fail("SFN503", f"{path.name} is not the network that was written: a number was changed", str(path))
    return model_of(program, path.stem)


def model_of(program: Program, name: str) -> bytes:
    """Return the serialised ONNX model of a legalised Program.

    Its inputs are those of the network, real numbers behind whatever the host computed; its outputs integers times
    their step, before whatever the host makes of them.
    """
    return _Writer(program).model(name)


@dataclass
class _Writer:
    program: Program
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def model(self, name: str) -> bytes:
        """Return the serialised model."""
        from onnx import TensorProto, helper

        info = self.program.values()
        for entry in self.program.inputs:
            self._encode(entry)
        for step in self.program.steps:
            if isinstance(step, Population):
                self._population(step, {name: info[name].shape for name in (step.name, *step.sources)})
            elif isinstance(step, MaxPool):
                self._max_pool(step)
            elif isinstance(step, Move):
                self._reshape(step.sources[0], step.name, step.shape)
            elif isinstance(step, Normalization):
                raise AssertionError(f"{step.name} is in no .nir file")
            else:
                assert_never(step)
        for output in self.program.outputs:
            self._decode(output)
        ends = [
            [helper.make_tensor_value_info(e.name, TensorProto.FLOAT, ["batch", *shape]) for e, shape in found]
            for found in ([(e, e.shape) for e in self.program.inputs],
                          [(o, info[o.value].shape) for o in self.program.outputs])
        ]  # fmt: skip
        graph = helper.make_graph(self.nodes, name, ends[0], ends[1], self.constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        helper.set_model_props(made, {EXACT: "1"})
        return bytes(made.SerializeToString())

    # -- ends ------------------------------------------------------------------------------------------------------
    def _encode(self, entry: Encoding) -> None:
        if entry.rounding != "half_up":
            raise fail("SFN111", f"the input {entry.name} is rounded {entry.rounding}", entry.name)
        steps = self.add("Div", [entry.name, self.constant(entry.step)], f"{entry.name}/steps")
        half = self.add("Add", [steps, self.constant(0.5)], f"{entry.name}/half")
        inner = f"{entry.value}/clipped"
        self._clipped(self.add("Floor", [half], f"{entry.name}/floor"), inner, entry.lo, entry.hi)
        self._stated(self.names[inner], entry.value, entry.lo, entry.hi)

    def _decode(self, output: Decoding) -> None:
        self.add("Mul", [self.names[output.value], self.constant(output.step)], output.name, None)

    # -- layers ----------------------------------------------------------------------------------------------------
    def _population(self, step: Population, shapes: dict[str, Shape]) -> None:
        terms = [
            self._map(p.map, self.names[p.source], shapes[p.source], shapes[step.name], f"{step.name}/{i}")
            for i, p in enumerate(_added_up(step.projections))
        ]
        total = terms[0]
        for i, term in enumerate(terms[1:]):
            total = self.add("Add", [total, term], f"{step.name}/sum{i}")
        ladder = step.ladder
        if isinstance(ladder, Readout):
            self.add("Add", [total, self.constant(ladder.offset)], step.name, step.name)
        elif isinstance(ladder, Uniform):
            self._uniform(step.name, total, ladder)
        elif isinstance(ladder, Table):
            self._table(step.name, total, ladder)
        elif isinstance(ladder, RowTable | Ratio):
            raise AssertionError(f"{step.name} is in no .nir file")
        else:
            assert_never(ladder)

    def _uniform(self, name: str, total: str, ladder: Uniform) -> None:
        """Add ``clip(floor((acc + offset) / theta), lo, hi)`` as a quantiser, which rounds.

        The floor is ``(acc + offset - (theta - 1) / 2) / theta`` rounded to nearest, and never a tie: twice the
        numerator is odd where theta is even, and even where theta is odd.
        """
        offset = ladder.offset - (ladder.theta - 1) / 2
        shifted = self.add("Add", [total, self.constant(offset)], f"{name}/shifted")
        parts = self.add("Div", [shifted, self.constant(ladder.theta)], f"{name}/parts")
        self._clipped(parts, f"{name}/clipped", ladder.lo, ladder.hi)
        self._stated(f"{name}/clipped", name, ladder.lo, ladder.hi)

    def _table(self, name: str, total: str, ladder: Table) -> None:
        """Add ``codes[number of thresholds reached]`` as a sum of steps."""
        value = self.constant(ladder.codes[0])
        for k, gain in enumerate(np.diff(ladder.codes)):
            reached = self.add("GreaterOrEqual", [total, self.constant(ladder.table[..., k])], f"{name}/reached{k}")
            spike = self.add("Cast", [reached], f"{name}/spike{k}", to=1)
            step = self.add("Mul", [spike, self.constant(gain)], f"{name}/step{k}")
            value = self.add("Add", [value, step], f"{name}/code{k}")
        self._stated(value, name, ladder.lo, ladder.hi)

    def _max_pool(self, step: MaxPool) -> None:
        pads = [*(a for a, _ in step.pads), *(b for _, b in step.pads)]
        self.add("MaxPool", [self.names[step.source]], step.name, step.name, kernel_shape=list(step.kernel),
                 strides=list(step.strides), dilations=list(step.dilations), pads=pads)  # fmt: skip

    def _map(self, linear: LinearMap, x: str, shape: Shape, out: Shape, name: str) -> str:
        if isinstance(linear, Dense):
            return self.add("MatMul", [x, self.weights(linear.weight.T)], name)
        if isinstance(linear, Identity):
            return self._identity(linear.weight, x, shape, name)
        if isinstance(linear, Conv):
            return self.add("Conv", [x, self.weights(linear.weight)], name, **_window(linear, linear.dilations),
                            kernel_shape=list(linear.weight.shape[2:]), group=linear.groups)  # fmt: skip
        if isinstance(linear, SumPool):
            ones = np.ones((shape[0], 1, *linear.kernel))
            found = self.add("Conv", [x, self.weights(ones)], f"{name}/pool", kernel_shape=list(linear.kernel),
                             group=shape[0], **_window(linear, (1,) * len(linear.kernel)))  # fmt: skip
            return self.add("Mul", [found, self.constant(linear.weight)], name)
        if isinstance(linear, Gather):
            dense = np.zeros((int(np.prod(shape)), int(np.prod(out))))
            for rows, cols, index in matrix(linear, shape, out):
                dense[cols, rows] = linear.weight.reshape(-1)[index]
            flat = self._reshaped(x, f"{name}/flat", (len(dense),))
            product = self.add("MatMul", [flat, self.weights(dense)], f"{name}/moved")
            return self._reshaped(product, name, out)
        assert_never(linear)

    def _identity(self, weight: Array, x: str, shape: Shape, name: str) -> str:
        """Multiply by a number per channel, where there are channels, as a depthwise convolution does."""
        if len(shape) not in (2, 3) or not per_channel(weight.shape, len(shape)):
            return self.add("Mul", [x, self.weights(weight)], name)
        ones = (1,) * (len(shape) - 1)
        kernel = np.broadcast_to(weight.reshape(-1, 1, *ones), (shape[0], 1, *ones))
        return self.add("Conv", [x, self.weights(kernel)], name, kernel_shape=list(ones), group=shape[0])

    # -- small things --------------------------------------------------------------------------------------------------
    def _clipped(self, x: str, name: str, lo: int, hi: int) -> None:
        self.add("Clip", [x, self.constant(float(lo)), self.constant(float(hi))], name, name)

    def _stated(self, x: str, name: str, lo: int, hi: int) -> None:
        """Round to integers from ``lo`` to ``hi`` that are codes of step 1, by a quantiser."""
        kind = next((k for k in (np.uint8, np.int8) if np.iinfo(k).min <= lo and hi <= np.iinfo(k).max), None)
        if kind is None:
            self.add("Round", [x], name, name)
            return
        scale, zero = self.constant(1.0), self.constant(0, kind)
        stored = self.add("QuantizeLinear", [x, scale, zero], f"{name}/stored")
        self.add("DequantizeLinear", [stored, scale, zero], name, name)

    def _reshape(self, source: str, name: str, shape: Shape) -> None:
        self.names[name] = self._reshaped(self.names[source], name, shape)

    def _reshaped(self, x: str, name: str, shape: Shape) -> str:
        return self.add("Reshape", [x, self.constant([0, *shape], np.int64)], name)

    def add(self, op: str, inputs: list[str], name: str, value: str | None = "", **attributes: Any) -> str:
        """Add a node; with ``value`` its result is that value of the Program; None: it is an output of the model."""
        from onnx import helper

        ends = {e.name for e in self.program.inputs} | {o.name for o in self.program.outputs}
        result = name if value is None or name not in ends else f"{name}/codes"
        self.nodes.append(helper.make_node(op, inputs, [result], name=result, **attributes))
        if value:
            self.names[value] = result
        return result

    def weights(self, numbers: Array) -> str:
        """Add weights that are known to be integers, as a quantised model has them."""
        kind = np.int8 if np.abs(numbers).max(initial=0) <= 127 else np.int32
        stored = self.constant(numbers, kind)
        return self.add("DequantizeLinear", [stored, self.constant(1.0)], f"{stored}/real")

    def constant(self, numbers: Any, dtype: Any = np.float32) -> str:
        """Add a constant."""
        from onnx import numpy_helper

        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(numbers, dtype), name))
        return name


def _added_up(projections: tuple[Projection, ...]) -> list[Projection]:
    """Return the projections with those that differ in their weights alone as one: wide weights stand in several."""
    found: dict[tuple[Any, ...], Projection] = {}
    for p in projections:
        others = {k: v for k, v in vars(p.map).items() if k not in ("weight", "index")}
        index = p.map.index.tobytes() if isinstance(p.map, Gather) else b""
        key = (p.source, type(p.map), p.map.weight.shape, index, *others.items())
        before = found.get(key)
        weight = p.map.weight.astype(np.int64) + (0 if before is None else before.map.weight)
        found[key] = replace(p, map=replace(p.map, weight=weight))
    return list(found.values())


def _window(linear: Conv | SumPool, dilations: tuple[int, ...]) -> dict[str, Any]:
    pads = [*(a for a, _ in linear.pads), *(b for _, b in linear.pads)]
    return {"strides": list(linear.strides), "pads": pads, "dilations": list(dilations)}
