"""The target onnx over time: every spike of every step, every answer so far, and what every neuron has summed up."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from sfn_backends.onnx import OnnxBackend
from sfn_backends.onnx.writer import write

from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.passes.mapping.clock import clocked
from sfn_compile.simulator.run_clock import run_by_definition
from sfn_compile.targets.backend import RunRequest
from sfn_compile.targets.target_build import build_target
from sfn_compile.testing.conformance import CASES

from .clocked_programs import WAYS, edges, over_time, shown
from .test_suite_over_time import ALL, made_or_refused


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", ALL, ids=str)
def test_onnxruntime_computes_every_spike_of_every_step(case, way, tmp_path):
    program = made_or_refused(case, way)
    if program is None:
        return
    backend, x = OnnxBackend(), shown(program, edges(program))
    build_target(program, backend, {}, tmp_path)
    want, charges = run_by_definition(program, x)
    found = backend.run(tmp_path, RunRequest(x, golden=want))
    assert found.values.keys() == want.keys()
    assert all(np.array_equal(found.values[name], want[name]) for name in want)
    assert found.potentials.keys() == charges.keys()
    assert all(np.array_equal(found.potentials[name], charges[name]) for name in charges)
    assert [r["different"] for r in found.readers] == [0]


def case(name):
    return next(c for c in CASES if c.name == name)


def test_the_file_is_valid_and_does_not_grow_with_the_steps():
    sizes = []
    for steps in (4, 400):
        program = clocked(case("residual").make(), Options(timesteps=steps, burst="1"))
        model = write(program)
        onnx.checker.check_model(model, full_check=True)
        assert {o.domain for o in model.opset_import} == {""}
        assert sum(n.op_type == "Scan" for n in model.graph.node) == 4  # one per population that fires
        sizes.append(model.ByteSize())
    assert sizes[1] - sizes[0] < 32  # digits of the numbers in the metadata


def test_a_changed_pace_or_charge_is_noticed(tmp_path):
    backend, program = OnnxBackend(), over_time(case("mlp").make(), "signed")
    build_target(program, backend, {}, tmp_path)
    path = tmp_path / "network.onnx"
    model = onnx.load(path)
    scan = next(n for n in model.graph.node if n.op_type == "Scan")
    body = next(a for a in scan.attribute if a.name == "body").g
    body.initializer[1].CopyFrom(numpy_helper.from_array(np.array(9, np.float32), body.initializer[1].name))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CompileError) as error:
        backend.reload(tmp_path)
    assert error.value.diagnostics[0].code == "SFN503"
    x = shown(program, edges(program))
    want, _ = run_by_definition(program, x)
    found = backend.run(tmp_path, RunRequest(x, golden=want))
    assert any((found.values[name] != want[name]).any() for name in want)
