"""Ends of networks that only move, join, pool or interpolate what the last layers make: as good as a plain end.

The right value: the float end, computed by onnxruntime, of what a build with plain ends (h and g) answers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper

from sfn_compile.compiler.compilation import compile_model
from sfn_compile.foundation.options import Options
from sfn_compile.host.codec import answered, encode_all
from sfn_compile.program.network import Program
from sfn_compile.simulator.run import run_codes

from ..frontend.tiny_onnx import Array, by_onnxruntime, ints, noise, saved, tiny

RNG = np.random.default_rng(5)
CALIB, X = (RNG.standard_normal((n, 2, 10, 10)).astype(np.float32) for n in (160, 48))
LAYERS = """
c1 = Conv <pads = [1, 1, 1, 1]> (x, w1, b1) r1 = Relu(c1)
c2 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (r1, w2, b2) r2 = Relu(c2)
h = Conv (r2, wh, bh) g = Conv (r2, wg, bg)
"""
WEIGHTS = {
    "w1": noise(6, 2, 3, 3, seed=1) / 3, "b1": noise(6, seed=2) / 4, "w2": noise(8, 6, 3, 3, seed=3) / 5,
    "b2": noise(8, seed=4) / 4, "wh": noise(4, 8, 1, 1, seed=5), "bh": noise(4, seed=6),
    "wg": noise(4, 8, 1, 1, seed=7) / 4, "bg": noise(4, seed=8) / 4,
}  # fmt: skip
CONSTANTS = {
    "pads": ints(0, 0, 1, 1, 0, 0, 2, 1), "two": np.float32(2.0), "sizes": ints(0, 0, 7, 7), "scale": noise(4, 1, 1),
    "offset": noise(4, 1, 1, seed=9), "axes": ints(2, 3), "channel": ints(1), "flat": ints(0, -1),
    "up": np.array([1, 1, 2, 2], np.float32), "odd": np.array([1, 1, 1.7, 2.3], np.float32),
    "first": ints(0), "third": ints(3), "fixed": noise(1, 2, 5, 5), "empty": np.zeros(0, np.float32),
}  # fmt: skip
ENDS = {
    "concat": "y = Concat <axis = 1> (h, g)",
    "concat, one twice": "y = Concat <axis = 2> (h, g, h)",
    "concat of concat": "a = Concat <axis = 1> (h, g) m = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (a) "
                        "b = Relu (g) y = Concat <axis = 1> (m, b)",
    "concat, sigmoid": "a = Concat <axis = 1> (h, g) y = Sigmoid (a)",
    "concat, softmax": "a = Concat <axis = 1> (h, g) y = Softmax <axis = 1> (a)",
    "concat, logsoftmax": "a = Concat <axis = 1> (h, g) y = LogSoftmax <axis = 1> (a)",
    "concat of functions": "a = Sigmoid (h) b = Tanh (g) c = Concat <axis = 1> (a, b) y = Transpose <perm = [0, 2, 3, 1]> (c)",
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
    "sum of two": "y = Add (h, g)",
    "slice": "y = Slice (h, first, third, channel)",
    "transpose, clip": "a = Transpose <perm = [0, 2, 3, 1]> (h) y = Clip (a, low, high)",
}  # fmt: skip
CONSTANTS |= {"low": np.float32(-0.5), "high": np.float32(1.0)}


def network(end: str, outputs: tuple[str, ...] = ("y",)) -> ModelProto:
    used = {
        k: v for k, v in CONSTANTS.items() if k in end.replace(",", " ").replace(")", " ").replace("(", " ").split()
    }
    return tiny(LAYERS + end, (2, 10, 10), outputs=outputs, **WEIGHTS, **used)


def compiled(model: ModelProto, folder: Path) -> Program:
    np.savez(folder / "calib.npz", x=CALIB)
    return compile_model(saved(model, folder), Options(), folder / "calib.npz").program


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
    return answers(compiled(network("", ("h", "g")), tmp_path_factory.mktemp("plain")))


def behind(end: str, plain: dict[str, Array], outputs: tuple[str, ...] = ("y",)) -> dict[str, Array]:
    """The float end of what a plain network answers."""
    model = network(end, outputs)
    for node in list(model.graph.node)[:6]:
        model.graph.node.remove(node)
    del model.graph.input[:]
    shapes = {name: ("N", *plain[name].shape[1:]) for name in "hg"}
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
