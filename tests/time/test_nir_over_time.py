"""The target nir over time: chains of integrate-and-fire neurons in stock readers that are set to soft reset."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest
from sfn_backends.nir import NirBackend, witnesses
from sfn_backends.nir.clocked import check

from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.passes.mapping.clock import clocked
from sfn_compile.program.network import Conv, Dense, Projection, Reshape, SumPool, Uniform
from sfn_compile.simulator.run_clock import run_by_definition
from sfn_compile.targets.backend import RunRequest
from sfn_compile.targets.target_build import build_target
from sfn_compile.testing.builder import Builder
from sfn_compile.testing.conformance import CASES

from .clocked_programs import edges, shown


def chain(theta=None):
    """A convolution, a pool, a flatten and two dense layers, thresholds per channel; ``theta``: one for all."""
    b = Builder((2, 8, 8), hi=7)
    kernel = Conv(b.weights(3, 2, 3, 3, top=9), (1, 1), ((1, 1), (1, 1)), (1, 1))
    b.fire("a", Projection("x", kernel), hi=8)
    b.fire("p", Projection("a", SumPool((2, 2), (2, 2), ((0, 0), (0, 0)), np.array([5]))), hi=8)
    b.move("f", Reshape((48,)), "p")
    b.fire("h", Projection("f", Dense(b.weights(6, 48, top=9))), hi=8)
    if theta:
        b.steps = [replace(s, ladder=Uniform(np.array([theta]), np.array([theta // 2]), 0, 8))
                   if s.name in "aph" else s for s in b.steps]  # fmt: skip
    return b.build(b.fire("y", Projection("h", Dense(b.weights(4, 6, top=9))), kind="readout"))


WAYS = {
    "if": {"timesteps": 8, "neuron": "if"},
    "zero": {"timesteps": 8, "neuron": "if", "initial_potential": "zero"},
    "burst": {"timesteps": 4, "neuron": "burst"},
    "frames": {"timesteps": 8, "neuron": "if", "input_coding": "frames"},
}


def built(way, folder, theta=None):
    program = clocked(chain(theta), Options(**WAYS[way], levels=8))
    build_target(program, NirBackend(), {}, folder)
    x = shown(program, edges(program))
    return program, x, run_by_definition(program, x)[0]


@pytest.mark.parametrize("way", WAYS)
def test_the_file_says_every_spike_of_every_step(way, tmp_path):
    _, x, want = built(way, tmp_path)
    found = NirBackend().run(tmp_path, RunRequest(x))
    assert set(found.values) == {"a", "p", "h", "y"}
    assert all(np.array_equal(found.values[name], want[name]) for name in found.values)


@pytest.mark.slow
@pytest.mark.skipif(witnesses.interpreter() is None, reason=witnesses.ABSENT)
@pytest.mark.parametrize(
    ("way", "theta", "readers"),
    [
        ("if", 101, {"sinabs", "norse", "spikingjelly"}),
        ("zero", None, {"sinabs", "norse"}),
        ("burst", None, {"sinabs"}),
        ("frames", 101, {"sinabs", "norse", "spikingjelly"}),
    ],
)
def test_the_readers_emit_every_spike_of_every_step(way, theta, readers, tmp_path):
    _, x, want = built(way, tmp_path, theta)
    found = NirBackend().run(tmp_path, RunRequest(x, golden=want))
    assert {r["name"]: (r["error"], r["different"]) for r in found.readers} == dict.fromkeys(readers, (None, 0))
    assert all(r["compared"] == sum(want[n].size for n in "aphy") for r in found.readers)
    assert len(found.notes) == 3 - len(readers)


@pytest.mark.slow
@pytest.mark.skipif(witnesses.interpreter() is None, reason=witnesses.ABSENT)
def test_the_folder_runs_by_itself(tmp_path):
    (tmp_path / "nir").mkdir()
    _, x, _ = built("if", tmp_path / "nir")
    np.save(tmp_path / "codes.npy", x["x"])
    command = [str(witnesses.interpreter()), str(tmp_path / "nir" / "run_clocked.py"), "--input"]

    def status(*more):
        return subprocess.run([*command, *more], capture_output=True, text=True).returncode

    assert status(str(tmp_path / "codes.npy"), "--reader", "sinabs", "--check") == 0
    assert status(str(tmp_path / "codes.npy"), "--reader", "spikingjelly") == 4  # several thresholds in a layer
    assert status(str(tmp_path / "absent.npy"), "--reader", "numpy") == 3


def refused(program):
    with pytest.raises(CompileError) as error:
        check(program)
    return {d.code for d in error.value.diagnostics}, " ".join(f"{d.what} {d.fix}" for d in error.value.diagnostics)


def test_what_no_reader_can_say_is_refused_with_what_helps():
    codes, text = refused(clocked(chain(), Options(timesteps=4)))
    assert codes == {"SFN610"}
    assert "--neuron burst" in text
    codes, text = refused(clocked(chain(), Options(timesteps=3, neuron="burst", levels=8)))
    assert codes == {"SFN610"}
    assert "--levels 9" in text
    residual = next(c for c in CASES if c.name == "residual").make()
    codes, text = refused(clocked(residual, Options(timesteps=16, neuron="burst", levels=16)))
    assert codes == {"SFN610"}
    assert "a chain" in text


def test_a_changed_threshold_is_noticed_and_computes_otherwise(tmp_path):
    import nir

    _, x, want = built("if", tmp_path)
    path = tmp_path / "network.nir"
    graph = nir.read(path)
    graph.nodes["layer0"].v_threshold = graph.nodes["layer0"].v_threshold + 8 * 8
    nir.write(path, graph)
    with pytest.raises(CompileError) as error:
        NirBackend().reload(tmp_path)
    assert error.value.diagnostics[0].code == "SFN503"
    assert (NirBackend().run(tmp_path, RunRequest(x)).values["a"] != want["a"]).any()
