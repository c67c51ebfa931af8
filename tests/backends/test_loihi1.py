"""Target loihi1: integers of nengo-loihi's emulator, cores as it counts them, what does not fit refused by name.

Runs need a Python with nengo-loihi (`make loihi1`); where none is found those tests are skipped with the reason.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sfn_backends.loihi1 import Loihi1Backend, artifacts, cores, interpreter, limits
from sfn_backends.loihi1.network import Network
from sfn_backends.loihi1.synapses import of_map, of_pool

from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.program.network import Conv, Dense, Gather, Identity, MaxPool, Projection, SumPool, Table
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.backend import RunRequest
from sfn_compile.targets.target_build import build_target, place_target
from sfn_compile.testing.builder import Builder
from sfn_compile.testing.conformance import CASES, check
from tests.hardware.hardware_cases import conv, dense, ended

PYTHON, PROBLEM = interpreter.find()
needs_emulator = pytest.mark.skipif(PYTHON is None, reason=f"nengo-loihi: {PROBLEM}. {interpreter.INSTALL}")
OPTIONS = {"cores": 128}


def mlp(levels: int = 3, top: int = 20, seed: int = 0) -> Builder:
    build = Builder((12,), hi=7, seed=seed)
    build.fire("a", dense(build, "x", 40, top), hi=levels)
    build.fire("b", dense(build, "a", 30, top), hi=levels)
    build.fire("y", dense(build, "b", 5, top), kind="readout")
    return build


def emitted(program, folder, placement=None):
    folder.mkdir()
    return build_target(program, Loihi1Backend(), OPTIONS, folder) if placement is None else None


def different(folder, program, n: int = 6, seed: int = 1) -> int:
    """Integers of all layers in which emulator and simulator differ, on random codes."""
    rng = np.random.default_rng(seed)
    codes = {e.value: rng.integers(e.lo, e.hi + 1, (n, *e.shape)) for e in program.inputs}
    want = run_codes(program, codes)
    got = Loihi1Backend().run(folder, RunRequest(codes)).values
    assert {s.name for s in program.steps if s.name not in codes} >= set(got)
    return sum(int((got[name] != want[name]).sum()) for name in got)


# -- without the emulator --------------------------------------------------------------------------------------------
MAPS = {
    "dense": (Dense(np.arange(12).reshape(3, 4)), (4,)),
    "dense of rows": (Dense(np.arange(12).reshape(3, 4)), (5, 4)),
    "conv": (Conv(np.arange(54).reshape(3, 2, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)), (2, 5, 4)),
    "strided, dilated, uneven": (Conv(np.arange(36).reshape(3, 2, 2, 3), (2, 1), ((0, 1), (2, 0)), (1, 2)), (2, 5, 6)),
    "grouped": (Conv(np.arange(36).reshape(4, 1, 3, 3), (1, 1), ((1, 1), (0, 0)), (1, 1), 4), (4, 5, 4)),
    "a line": (Conv(np.arange(18).reshape(3, 2, 3), (2,), ((1, 0),), (1,)), (2, 7)),
    "pool": (SumPool((2, 3), (2, 1), ((1, 0), (1, 1)), np.arange(1, 4).reshape(3, 1, 1)), (3, 5, 4)),
    "identity": (Identity(np.arange(6).reshape(1, 6)), (4, 6)),
    "gather": (Gather(np.array([[3, -1], [0, 0]]), np.array([[2, 3], [4, 5]])), (2, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", MAPS)
def test_synapses_add_up_to_the_map(name):
    linear, shape = MAPS[name]
    found = of_map(linear, shape)
    s = np.random.default_rng(0).integers(0, 9, (1, *shape))
    acc = np.zeros(int(np.prod(linear.out_shape(shape))), np.int64)
    np.add.at(acc, found.target, linear.weight.ravel()[found.position] * s.ravel()[found.source])
    assert np.array_equal(acc, linear.apply(s).ravel())
    assert (np.diff(found.target) >= 0).all()


def test_synapses_of_a_pool_lead_to_the_windows_that_hold_a_neuron():
    build = Builder((2, 5, 7), hi=9)
    build.max_pool("p", "x", (3, 2), (2, 2), ((1, 1), (0, 0)))
    pool = build._program().steps[0]
    assert isinstance(pool, MaxPool)
    found = of_pool(pool, (2, 5, 7))
    x = np.random.default_rng(0).integers(0, 9, (1, 2, 5, 7))
    best = np.zeros(int(np.prod(pool.shape)), np.int64)
    np.maximum.at(best, found.target, x.ravel()[found.source])
    want = run_codes(ended(build, "p"), {"x": x})["p"]
    assert np.array_equal(best, want.ravel())


def test_the_folder_reads_back_and_says_where_neurons_stand(tmp_path):
    program = ended(mlp(), "y")
    made = emitted(program, tmp_path / "out")
    assert program_files.digest(Loihi1Backend().reload(tmp_path / "out")) == made.digest
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    placed = {p.name: [[s.start, s.stop] for s in p.shards] for p in made.placement.placed}
    assert {x["name"]: x["cuts"] for x in manifest["layers"]} == placed


@pytest.mark.parametrize("file", ["manifest.json", "tensors.npz"])
def test_damage_is_noticed(tmp_path, file):
    emitted(ended(mlp(), "y"), tmp_path / "out")
    place = tmp_path / "out" / file
    if file == "tensors.npz":
        arrays = program_files.npz_arrays(place.read_bytes())
        arrays["layer0000_0_target"] = arrays["layer0000_0_target"][::-1].copy()
        place.write_bytes(program_files.npz_bytes(arrays))
    else:
        place.write_text(place.read_text().replace('"levels": 3', '"levels": 2'))
    with pytest.raises(CompileError) as error:
        Loihi1Backend().reload(tmp_path / "out")
    assert error.value.diagnostics[0].code == "SFN503"


REFUSED = {
    "signed input": "--input-levels", "wide input": "--input-levels", "signed codes": "ReLU",
    "odd codes": "steps of equal length", "pool of an input": "a convolution before", "threshold": "--levels",
    "sums": "--acc-bits 16", "cores": "loihi1.cores=", "one neuron": "--input-levels",
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused_with_what_helps(kind):
    build = Builder((12,), lo=-1 if kind == "signed input" else 0, hi=511 if kind == "wide input" else 7)
    if kind == "pool of an input":
        build = Builder((1, 4, 4), hi=7)
        build.max_pool("p", "x", (2, 2), (2, 2))
    elif kind == "one neuron":
        build = Builder((1, 2000), hi=7)
        build.fire("y", Projection("x", Conv(np.ones((1, 1, 2000), np.int64), (1,), ((0, 0),), (1,))), hi=1)
    elif kind == "sums":
        build = Builder((300,), hi=7)
        build.fire("y", dense(build, "x", 2), hi=3)
    else:
        build.fire("a", dense(build, "x", 400, 3), lo=-2 if kind == "signed codes" else 0, hi=3)
    last = build.steps[-1]
    if kind == "odd codes":
        build.steps[-1] = replace(last, ladder=Table(np.array([1, 2]), np.array([0, 1, 3])))
    if kind == "threshold":
        build.steps[-1] = replace(last, ladder=replace(last.ladder, theta=last.ladder.theta * 0 + 2**16))
    with pytest.raises(CompileError) as error:
        place_target(ended(build, last.name), Loihi1Backend(), {"cores": 1 if kind == "cores" else 128})
    assert error.value.diagnostics[0].code in ("SFN401", "SFN402")
    assert REFUSED[kind] in error.value.diagnostics[0].fix


def test_a_bias_takes_the_place_of_a_threshold_below_two():
    assert limits.lift(np.array([[1, 5], [2, 3], [-7, 1]])).tolist() == [1, 0, 9]


def test_no_shard_passes_a_core():
    build = Builder((2, 20, 20), hi=15)
    build.fire("a", conv(build, "x", 8, 5, 20), hi=3)
    build.max_pool("p", "a", (2, 2), (2, 2))
    build.fire("y", conv(build, "p", 12, 3, 20), hi=3)
    network = Network(ended(build, "y"))
    for layer, cuts in cores.cuts_of(network).items():
        made = next(x for x in network.layers if x.name == layer)
        sent = cores._sent(made, cores._readers(network, made, cores.cuts_of(network)))
        assert [c for a, b in cuts for c in range(a, b)] == list(range(made.neurons))
        assert not [o for a, b in cuts if (o := cores.use(made, a, b, sent).over)]


# Cases whose codes are 0..N and whose sums have 16 bits; the others are refused.
SAID = {"mlp", "conv_shapes", "conv1d", "pools", "residual", "two_digits", "moves", "upsampling"}


# -- in the emulator -------------------------------------------------------------------------------------------------
@needs_emulator
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_emulator_computes_the_integers_of_the_simulator(case, tmp_path):
    if case.name in SAID:
        check(Loihi1Backend(), case, tmp_path)
    else:
        with pytest.raises(CompileError) as refusal:
            check(Loihi1Backend(), case, tmp_path)
        assert refusal.value.diagnostics[0].code in ("SFN401", "SFN402")


@needs_emulator
@pytest.mark.parametrize("levels", [1, 3, 7])
def test_an_mlp(levels, tmp_path):
    program = ended(mlp(levels), "y")
    emitted(program, tmp_path / "out")
    assert different(tmp_path / "out", program, 20) == 0


@needs_emulator
def test_skips_pools_several_inputs_and_tables(tmp_path):
    """A value that waits two steps, an input that waits one, a padded max pool, unequal steps, thresholds below 2."""
    build = Builder((2, 8, 8), hi=5, seed=3)
    build.input("z", (2, 8, 8), hi=3)
    build.fire("a", conv(build, "x", 4, 3, 9), conv(build, "z", 4, 1, 9), hi=3)
    build.fire("b", conv(build, "a", 4, 3, 9), kind="table", hi=4)
    build.max_pool("p", "b", (3, 3), (1, 1), ((1, 1), (1, 1)))
    one = Identity(np.array([[[3]]]))
    build.fire("c", conv(build, "p", 4, 3, 9), Projection("a", one), conv(build, "x", 4, 1, 9), hi=3)
    build.fire("y", conv(build, "c", 2, 8, 9, pads=((0, 0), (0, 0))), kind="readout")
    program = ended(build, "y", "b")
    emitted(program, tmp_path / "out")
    assert different(tmp_path / "out", program, 5) == 0


@needs_emulator
def test_another_threshold_is_noticed(tmp_path):
    """Thresholds of one layer by a tenth, and one threshold alone by enough that its neuron fires otherwise."""
    program = ended(mlp(), "y")
    emitted(program, tmp_path / "out")
    place = tmp_path / "out" / "tensors.npz"
    arrays = program_files.npz_arrays(place.read_bytes())
    name = json.loads((tmp_path / "out" / "manifest.json").read_text())["layers"][1]["neuron"]["theta"]
    for changed in (arrays[name] * 11 // 10 + 1, np.where(np.arange(arrays[name].size) == 7, 1, arrays[name])):
        place.write_bytes(program_files.npz_bytes({**arrays, name: changed.astype(np.int32)}))
        assert different(tmp_path / "out", program, 40) > 0


@needs_emulator
def test_an_overflow_is_an_error_and_no_other_integer(tmp_path):
    program = ended(mlp(), "y")
    emitted(program, tmp_path / "out")
    place = tmp_path / "out" / "tensors.npz"
    arrays = program_files.npz_arrays(place.read_bytes())
    name = json.loads((tmp_path / "out" / "manifest.json").read_text())["layers"][0]["wires"][0]["weight"]
    place.write_bytes(program_files.npz_bytes({**arrays, name: np.full(arrays[name].shape, 30000, np.int32)}))
    with pytest.raises(CompileError, match="Overflow"):
        different(tmp_path / "out", program)


@needs_emulator
def test_cores_as_nengo_loihi_counts_them(tmp_path):
    """Compartments, axons and synapse bits of 50 random dense networks are those that the emulator's library counts."""
    rng = np.random.default_rng(0)
    for i in range(50):
        build = Builder((int(rng.integers(1, 300)),), hi=int(rng.integers(1, 16)), seed=i)
        last, levels = "x", int(rng.integers(1, 6))
        for k in range(int(rng.integers(1, 3))):
            last = build.fire(f"l{k}", dense(build, last, int(rng.integers(1, 400)), 3), hi=levels)
        build.fire("y", dense(build, last, 3, 3), kind="readout")
        emitted(ended(build, "y"), tmp_path / f"out{i}")
    said = subprocess.run([str(PYTHON), "-W", "ignore", "-c", COUNT, str(tmp_path)], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    for i, counted in enumerate(json.loads(said.stdout)):
        network = Network(artifacts.read(tmp_path / f"out{i}"))
        cuts = cores.cuts_of(network)
        for layer in network.layers:
            sent = cores._sent(layer, cores._readers(network, layer, cuts))
            ours = [cores.use(layer, a, b, sent) for a, b in cuts[layer.name]]
            mine = [[u.compartments, u.axons_in, u.axons_out, u.synapse_bits] for u in ours]
            assert mine == counted[layer.name], (i, layer.name)


COUNT = """
import json, sys
from pathlib import Path
import numpy as np
found = []
root = Path(sys.argv[1])
sys.path.insert(0, str(root / "out0"))
import blocks
for i in range(50):
    place = root / f"out{i}"
    npz = np.load(place / "tensors.npz")
    network = blocks.Network(json.loads((place / "manifest.json").read_text()), {k: npz[k] for k in npz.files})
    keys = ("compartments", "in-axons", "out-axons", "synapses")
    found.append({n: [[int(u[k][0]) for k in keys] for u in us] for n, us in network.utilization().items()})
print(json.dumps(found))
"""


@needs_emulator
def test_the_folder_checks_itself(tmp_path):
    emitted(ended(mlp(), "y"), tmp_path / "out")
    done = subprocess.run([str(PYTHON), "run.py", "--check"], cwd=tmp_path / "out", capture_output=True, text=True)
    assert (done.returncode, done.stdout[:2]) == (0, "OK"), done.stdout + done.stderr
    shutil.copy(tmp_path / "out" / "golden.npz", tmp_path / "kept.npz")
    arrays = program_files.npz_arrays((tmp_path / "kept.npz").read_bytes())
    arrays["layer0002"] = arrays["layer0002"] + 1
    (tmp_path / "out" / "golden.npz").write_bytes(program_files.npz_bytes(arrays))
    done = subprocess.run([str(PYTHON), "run.py", "--check"], cwd=tmp_path / "out", capture_output=True, text=True)
    assert done.returncode == 1
    assert "different: y" in done.stdout


def test_without_nengo_loihi_the_folder_says_so(tmp_path):
    emitted(ended(mlp(), "y"), tmp_path / "out")
    done = subprocess.run([sys.executable, "run.py", "--check"], cwd=tmp_path / "out", capture_output=True, text=True)
    assert done.returncode == 5
    assert "nengo_loihi is missing" in done.stderr
