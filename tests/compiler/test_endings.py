"""Ends of networks that only move, join, pool or interpolate what the last layers make: as good as a plain end.

The right value: the float end, computed by onnxruntime, of what a build with plain ends (h and g) answers.
"""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from sfn_compile.host.codec import answered, encode_all
from sfn_compile.program.network import Program, Readout
from sfn_compile.simulator.run import run_codes

from ..frontend.tiny_onnx import Array, by_onnxruntime
from .end_networks import X, compiled, network

ENDS = {
    "concat": "y = Concat <axis = 1> (h, g)",
    "concat, one twice": "y = Concat <axis = 2> (h, g, h)",
    "concat of concat": "a = Concat <axis = 1> (h, g) m = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (a) "
                        "b = Relu (g) y = Concat <axis = 1> (m, b)",
    "concat, sigmoid": "a = Concat <axis = 1> (h, g) y = Sigmoid (a)",
    "concat, softmax": "a = Concat <axis = 1> (h, g) y = Softmax <axis = 1> (a)",
    "concat, logsoftmax": "a = Concat <axis = 1> (h, g) y = LogSoftmax <axis = 1> (a)",
    "concat of functions": "a = Sigmoid (h) b = Tanh (g) c = Concat <axis = 1> (a, b) "
                           "y = Transpose <perm = [0, 2, 3, 1]> (c)",
    "relu, concat": "a = Relu (h) b = LeakyRelu <alpha = 0.2> (g) y = Concat <axis = 1> (a, b)",
    "concat, affine": "a = Concat <axis = 3> (h, g) b = Mul (a, scale) y = Add (b, offset)",
    "concat with a constant": "a = Reshape (h, flat) b = Reshape (g, flat) y = Concat <axis = 1> (a, b)",
    "pad": "y = Pad (h, pads)",
    "pad with a constant": "y = Pad (h, pads, two)",
    "pad by reflection": 'y = Pad <mode = "reflect"> (h, pads)',
    "pad, sigmoid": "a = Pad (h, pads, two) y = Sigmoid (a)",
    "max pool": "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (h)",
    "max pool, softmax": "a = MaxPool <kernel_shape = [2, 2]> (h) y = Softmax <axis = 1> (a)",
    "relu, max pool": "a = Relu (h) y = MaxPool <kernel_shape = [2, 2]> (a)",
    "global max pool": "y = GlobalMaxPool (h)",
    "global max pool, sigmoid": "a = GlobalMaxPool (h) b = Flatten (a) y = Sigmoid (b)",
    "reduce max": "y = ReduceMax <axes = [2, 3], keepdims = 0> (h)",
    "reduce max of channels": "y = ReduceMax <axes = [1]> (h)",
    "reduce min": "y = ReduceMin <axes = [2, 3]> (h)",
    "max pool, mean": "a = MaxPool <kernel_shape = [2, 2]> (h) y = GlobalAveragePool (a)",
    "padded mean": "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (h)",
    "resize": 'y = Resize <mode = "linear"> (h, empty, up)',
    "resize, any scale": 'y = Resize <mode = "linear"> (h, empty, odd)',
    "resize, cubic": 'y = Resize <mode = "cubic"> (h, empty, up)',
    "resize, nearest": 'y = Resize <mode = "nearest"> (h, empty, odd)',
    "resize, softmax": 'a = Resize <mode = "linear"> (h, empty, up) y = Softmax <axis = 1> (a)',
    "resize twice": 'a = Resize <mode = "linear"> (h, empty, up) y = Resize <mode = "linear"> (a, empty, up)',
    "resize, concat": 'a = Resize <mode = "linear"> (h, empty, up) b = Resize <mode = "linear"> (g, empty, up) '
                      "y = Concat <axis = 1> (a, b)",
    "resize and add": 'a = Resize <mode = "linear"> (h, empty, up) b = Resize <mode = "nearest"> (g, empty, up) '
                      "y = Add (a, b)",
    "max pool and add": "a = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (h) y = Add (a, g)",
    "product of functions": "a = Sigmoid (h) b = Tanh (g) y = Mul (a, b)",
    "concat with the input": "a = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x) y = Concat <axis = 1> (h, a)",
    "sum of two": "y = Add (h, g)",
    "slice": "y = Slice (h, first, third, channel)",
    "transpose, clip": "a = Transpose <perm = [0, 2, 3, 1]> (h) y = Clip (a, low, high)",
}  # fmt: skip


def answers(program: Program) -> dict[str, Array]:
    values = run_codes(program, encode_all(program, {"x": X}), program.decoded())
    return {d.name: answered(d, values) for d in program.outputs}


def decibel(want: Array, got: Array) -> float:
    """Signal to noise about the mean of the whole output."""
    assert want.shape == got.shape
    signal = ((want - want.mean()) ** 2).sum(dtype=np.float64)
    return float(10 * np.log10(signal / ((want.astype(np.float64) - got) ** 2).sum()))


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> dict[str, Array]:
    """What a network that ends with h and g answers."""
    return {**answers(compiled(network("", ("h", "g")), tmp_path_factory.mktemp("plain"))), "x": X}


def behind(end: str, plain: dict[str, Array], outputs: tuple[str, ...] = ("y",)) -> dict[str, Array]:
    """The float end of what a plain network answers."""
    model = network(end, outputs)
    for node in list(model.graph.node)[:6]:
        model.graph.node.remove(node)
    del model.graph.input[:]
    shapes = {name: ("N", *y.shape[1:]) for name, y in plain.items()}
    model.graph.input.extend(helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items())
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options)
    fed = {i.name: plain[i.name] for i in session.get_inputs()}
    return dict(zip(outputs, session.run(list(outputs), fed), strict=True))


@pytest.mark.parametrize("kind", ENDS)
def test_an_end_is_as_good_as_a_plain_one(kind, plain, tmp_path):
    end = ENDS[kind]
    program = compiled(network(end), tmp_path)
    want, got = by_onnxruntime(network(end), X)["y"], answers(program)["y"]
    assert decibel(want, got) >= decibel(want, behind(end, plain)["y"]) - 1.0


INNER = {
    "read inside": ("a = Concat <axis = 1> (h, g) y = Identity (a) v = Conv (a, k)", ("y", "v")),
    "pooled and read inside": ("a = MaxPool <kernel_shape = [3, 3]> (h) b = Relu (h) y = Sigmoid (a) "
                               "v = Conv (b, k4)", ("y", "v")),
    "shared": ("y, v = Split <axis = 1> (h, halves) w = Concat <axis = 1> (y, g)", ("y", "v", "w")),
    "moved behind a sum": ("t = Transpose <perm = [0, 2, 3, 1]> (h) f = Transpose <perm = [0, 2, 3, 1]> (r2) "
                           "l = MatMul (f, k8) s = Add (t, l) p = Transpose <perm = [0, 3, 1, 2]> (s) "
                           "y = Concat <axis = 1> (p, g)", ("y",)),
}  # fmt: skip


@pytest.mark.parametrize("kind", INNER)
def test_what_is_also_read_inside_or_by_another_output_is_decoded_from_accumulators(kind, plain, tmp_path):
    end, outputs = INNER[kind]
    program = compiled(network(end, outputs), tmp_path)
    want, got = by_onnxruntime(network(end, outputs), X), answers(program)
    floor = 25.0 if "r2" in end else decibel(want["y"], behind(end, plain, outputs)["y"]) - 1.0
    assert decibel(want["y"], got["y"]) >= floor
    steps = {s.name: s for s in program.steps}
    assert all(isinstance(steps[v].ladder, Readout) for v in program.decoded())
