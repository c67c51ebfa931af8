"""Program to ONNX model: one formulation per population, the fastest that is proved exact.

The graph is a witness: it is computed by onnxruntime, in formulations of its own, on purpose; of ours it reads the
Program's integers and proved bounds.
"""

from __future__ import annotations

import json

import onnx
from onnx import helper
from typing_extensions import assert_never

from sfn_backends.onnx import adaptive, firing, kernel
from sfn_backends.onnx.clocked import ClockedNet
from sfn_backends.onnx.moves import write_move, write_pool
from sfn_backends.onnx.net import Net
from sfn_backends.onnx.sums import accumulate
from sfn_backends.onnx.values import TYPES, Values, integer_kind
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import Encoding, MaxPool, Move, Normalization, Population, Program

FORMAT = 1
LARGEST = 2**31 - 2**24  # bytes; protobuf ends at 2 GiB


def write(program: Program) -> onnx.ModelProto:
    """Return the model. Inputs and outputs are integers under their names in the Program.

    The metadata ``sfnc`` says where the integers of every value are: ``tensor - zero``. Names and numbers depend on
    nothing but the Program. Raises SFN402 above 2 GiB.
    """
    if program.clock is not None:
        return _over_time(program)
    info = program.values()
    net = Net(info)
    values = Values(net, info)
    inputs = [_input(values, e) for e in program.inputs]
    for step in program.steps:
        net.scope = step.name
        if isinstance(step, Move):
            write_move(net, values, step)
        elif isinstance(step, MaxPool):
            write_pool(net, values, step)
        elif isinstance(step, Normalization):
            adaptive.normalize(net, values, step)
        elif not isinstance(step, Population):
            assert_never(step)
        elif not kernel.write(net, values, step):
            firing.fire(net, values, step, accumulate(net, values, step, firing.room(step.ladder)))
    outputs = [_output(values, name) for name in program.decoded() if _computed(program, name)]
    _check_size(net)
    return net.model(inputs, outputs, {"sfnc": _places(values)})


def _over_time(program: Program) -> onnx.ModelProto:
    """Return the model of a network over several steps: inputs ``(n, ...)`` or frames, outputs ``(n, steps, ...)``."""
    assert program.clock is not None
    net = Net(program.values())
    clocked = ClockedNet(net, program)
    inputs = []
    for e in program.inputs:
        kind = _input_kind(e)
        clocked.give(e.value, kind)
        shape = e.shape if program.frames is None else (program.frames, *e.shape)
        inputs.append(helper.make_tensor_value_info(e.value, TYPES[kind], ["n", *shape]))
    for step in program.steps:
        clocked.write(step)
    outputs = [clocked.output(name) for name in program.decoded() if _computed(program, name)]
    _check_size(net)
    return net.model(inputs, outputs, {"sfnc": json.dumps({"format": FORMAT, **clocked.places()}, sort_keys=True)})


def _computed(program: Program, name: str) -> bool:
    """Whether a value is made by a step: an input that is an output as well needs no graph."""
    return all(e.value != name for e in program.inputs)


def _input(values: Values, e: Encoding) -> onnx.ValueInfoProto:
    kind = _input_kind(e)
    values.hold(e.value, e.value, kind)
    return helper.make_tensor_value_info(e.value, TYPES[kind], ["n", *e.shape])


def _input_kind(e: Encoding) -> str:
    """Return the smallest type that holds the codes of an input."""
    kind = integer_kind(e.lo, e.hi)
    for small, lowest, highest in (("int8", -128, 127), ("uint8", 0, 255)):
        kind = small if e.lo >= lowest and e.hi <= highest else kind
    return kind


def _output(values: Values, name: str) -> onnx.ValueInfoProto:
    """Return an output of the graph; shifted codes are written as they are, in int32."""
    held = values[name]
    kind = held.kind
    if held.zero:
        kind = "int32"
        values.net.rename(values.net.add("Identity", values.number(name, kind)), name)
    return helper.make_tensor_value_info(name, TYPES[kind], ["n", *held.info.shape])


def _places(values: Values) -> str:
    places = {n: {"tensor": h.tensor, "zero": h.zero, "shape": h.info.shape} for n, h in values.held.items()}
    return json.dumps({"format": FORMAT, "values": places}, sort_keys=True)


def _check_size(net: Net) -> None:
    size = sum(a.nbytes for a in net.constants.values())
    if size > LARGEST:
        what = f"the ONNX file would hold {size / 2**30:.1f} GiB of constants; one file ends at 2 GiB"
        raise fail("SFN402", what, "network.onnx", "leave this target out")
