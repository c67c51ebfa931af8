"""The target onnx on a processor without VNNI, whose int8 kernels add pairs of products in 16 bits that saturate.

qemu's user mode emulates a Haswell (AVX2), on which onnxruntime chooses those kernels. A witness, a graph that leaves
the limit on purpose, is wrong there: so the kernels that saturate are really those that ran.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from sfn_backends.onnx.writer import write

from sfn_compile.simulator.edge_inputs import edge_inputs
from sfn_compile.simulator.run import run_codes
from sfn_compile.testing.conformance import CASES

from . import run_graphs
from .onnx_programs import MORE
from .test_onnx_skips import BLOCKS

QEMU = shutil.which("qemu-x86_64")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels that saturate are those of x86"),
    pytest.mark.skipif(QEMU is None, reason="no qemu-x86_64 (Debian: apt-get install qemu-user)"),
]
PROGRAMS = {c.name: c.make for c in CASES} | {f.__name__: f for f in MORE} | BLOCKS
CODE, WEIGHT, CHANNELS = 248, 127, 16


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    """All graphs after a run on the emulated processor: the folder, and the codes that went in."""
    folder, codes = tmp_path_factory.mktemp("haswell"), {}
    for name, make in PROGRAMS.items():
        program = make()
        model, codes[name] = write(program), edge_inputs(program, 4)
        types = {i.name: helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type) for i in model.graph.input}
        save(folder / name, model, {n: codes[name][n].astype(t) for n, t in types.items()})
    for name, weight in WITNESSES.items():
        save(folder / name, witness(weight), {"x": np.full((1, CHANNELS, 2, 2), CODE, np.uint8)})
    python, packages = Path(sys.executable).resolve(), Path(onnxruntime.__file__).parents[1]
    command = [QEMU, "-cpu", "Haswell", str(python), run_graphs.__file__, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, codes


def save(path, model, feeds):
    Path(f"{path}.onnx").write_bytes(model.SerializeToString())
    np.savez(f"{path}.npz", **feeds)


def found(folder, name):
    with np.load(folder / f"{name}.out.npz") as outputs:
        return dict(outputs)


WITNESSES = {
    "beyond the limit": np.full((CHANNELS, CHANNELS), WEIGHT),
    "diagonal": np.diag(np.full(CHANNELS, WEIGHT)),
}


def witness(weight):
    """One kernel of int8 weights; its codes are sums divided by 2048."""
    constants = {"one": np.float32(1), "zero": np.uint8(0), "w": weight.astype(np.int8)[:, :, None, None]}
    constants |= {"scale": np.float32(1 / 2048), "middle": np.int8(0)}
    inputs = ["x", "one", "zero", "w", "scale", "middle", "one", "zero"]
    node = helper.make_node("QLinearConv", inputs, ["y"], kernel_shape=[1, 1])
    ends = [helper.make_tensor_value_info(n, TensorProto.UINT8, [1, CHANNELS, 2, 2]) for n in "xy"]
    stored = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = helper.make_graph([node], "witness", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_a_sum_beyond_the_limit_is_wrong_there_and_a_diagonal_one_is_not(emulated):
    folder, _ = emulated
    dense, diagonal = (found(folder, name)["y"] for name in WITNESSES)
    assert np.all(dense == round(CHANNELS // 2 * 32767 / 2048))  # each pair of 127 * 248 became 32767
    assert np.all(diagonal == round(CODE * WEIGHT / 2048))


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_integers_are_those_of_the_simulator(name, emulated):
    folder, codes = emulated
    program = PROGRAMS[name]()
    expected = run_codes(program, codes[name], engine="reference")
    outputs = found(folder, name)
    assert outputs
    for value, array in outputs.items():
        assert np.array_equal(array, expected[value]), value
