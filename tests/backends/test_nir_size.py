"""What NIR files cost: dense layers, max pools and outputs in the fewest bytes, and exact all the same."""

import json
import subprocess
import sys

import nir
import numpy as np
import pytest
from sfn_backends.nir import NirBackend, _nets, files, folded, limits, witnesses
from sfn_backends.nir.compact import compact, fewer_levels
from sfn_backends.nir.pools import rounds

from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.program.network import (
    Dense,
    Identity,
    MaxPool,
    Origin,
    Program,
    Projection,
    Reshape,
    Table,
    window_shape,
)
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.backend import RunRequest
from sfn_compile.targets.legalize import legalize
from sfn_compile.testing.conformance import CASES, Builder, Case, check, edge_inputs

from .nir_programs import ONE, conv, same_source_twice, two_results

PYTHON = witnesses.interpreter()
PLAIN = tuple(case for case in CASES if not case.products and not case.adaptive)


@pytest.fixture(autouse=True)
def no_readers(monkeypatch):
    monkeypatch.setattr(witnesses, "interpreter", lambda: None)


def legal(program: Program) -> Program:
    return legalize(program, "nir", NirBackend.capabilities)


def sizes(program: Program) -> list[dict[str, float]]:
    nets = _nets(compact(legal(program)), "binary", dry=True)
    return [{"IF": n.bytes("IF") / 1e6, "LIF": n.bytes("LIF") / 1e6, "GMAC": n.macs / 1e9} for n in nets]


def ordinary(levels: int = 31) -> Program:
    """1x28x28: conv 32, pool, conv 64, pool, conv 128, dense 256, dense 10."""
    b = Builder((1, 28, 28), hi=255)
    b.fire("a", Projection("x", conv(b.weights(32, 1, 3, 3), pad=1)), hi=levels)
    b.max_pool("p", "a", (2, 2), (2, 2), ((0, 0), (0, 0)))
    b.fire("b", Projection("p", conv(b.weights(64, 32, 3, 3), pad=1)), hi=levels)
    b.max_pool("q", "b", (2, 2), (2, 2), ((0, 0), (0, 0)))
    b.fire("c", Projection("q", conv(b.weights(128, 64, 3, 3))), hi=levels)
    b.move("f", Reshape((3200,)), "c")
    b.fire("d", Projection("f", Dense(b.weights(256, 3200, top=20))), hi=levels)
    return b.build(b.fire("y", Projection("d", Dense(b.weights(10, 256))), kind="readout"))


def wide(n: int = 1024, levels: int = 31) -> Program:
    """64 -> n -> n -> 10 with a threshold per neuron, and a skip over the second layer."""
    b = Builder((64,), hi=15)
    b.fire("a", Projection("x", Dense(b.weights(n, 64))), hi=levels)
    b.fire("b", Projection("a", Dense(b.weights(n, n, top=9))), Projection("x", Dense(b.weights(n, 64))), hi=levels)
    b.fire("c", Projection("b", Identity(np.full((1,), 40))), Projection("a", Identity(np.full((1,), 23))), hi=levels)
    return b.build(b.fire("y", Projection("c", Dense(b.weights(10, n, top=9))), kind="readout"))


def test_an_ordinary_cnn_takes_less_than_25_megabytes():
    (found,) = sizes(ordinary())
    assert found["IF"] < 18
    assert found["LIF"] < 22
    assert found["GMAC"] < 0.5


def test_wide_dense_layers_cost_their_weights():
    (found,) = sizes(wide())
    assert found["LIF"] < 17, "as vectors a layer had two matrices of 130 MB"
    assert found["GMAC"] < 0.2


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_every_program_is_exact_where_all_that_can_be_is_folded(case, tmp_path, monkeypatch):
    monkeypatch.setattr(folded, "SMALL", -1)
    check(NirBackend(), case, tmp_path)


@pytest.mark.parametrize("fold", [(1, 1), (3, 5), (4, 4), (5, 1)])
def test_every_fold_is_exact(fold, tmp_path, monkeypatch):
    """Also folds that end behind their value, on grids that are no squares, with values that are carried."""
    monkeypatch.setattr(folded, "SMALL", -1)
    monkeypatch.setattr(folded, "best_fold", lambda ops, channels, grid: fold)
    check(NirBackend(), Case("wide", lambda: wide(21, 5)), tmp_path)
    kinds = {type(n).__name__ for n in nir.read(tmp_path / "network.nir").nodes.values()}
    assert kinds == {"Input", "Conv2d", "IF", "Flatten", "Affine", "Output"}


def pooled(kernel, strides, pads, dilations=(1, 1), shape=(2, 9, 8), lo=-3, hi=9) -> Program:
    b = Builder(shape, lo=-8, hi=7)
    b.fire("a", Projection("x", conv(b.weights(2, 2, 3, 3), pad=1)), lo=lo, hi=hi)
    out = (2, *window_shape(shape[1:], kernel, strides, pads, dilations))
    b.steps.append(MaxPool("m", "a", kernel, strides, pads, dilations, out, Origin((), ())))
    return b.build(b.fire("y", Projection("m", conv(b.weights(2, 2, 1, 1))), kind="readout"))


POOLS = {
    "2x2": ((2, 2), (2, 2), ((0, 0), (0, 0))),
    "3x3, padded": ((3, 3), (2, 2), ((1, 1), (1, 1))),
    "3x2, padded at one side": ((3, 2), (1, 2), ((0, 1), (1, 0))),
    "1x1 with a stride": ((1, 1), (2, 2), ((0, 0), (0, 0))),
    "5x5 in rounds": ((5, 5), (1, 1), ((2, 2), (2, 2))),
    "9x8, whole": ((9, 8), (1, 1), ((0, 0), (0, 0))),
    "dilated": ((2, 3), (1, 1), ((0, 0), (1, 1)), (3, 2)),
}


@pytest.mark.parametrize("name", list(POOLS))
def test_a_max_pool_is_exact(name, tmp_path):
    program = pooled(*POOLS[name])
    check(NirBackend(), Case("pool", lambda: program), tmp_path)
    stages = sum(type(n).__name__ == "IF" for n in nir.read(tmp_path / "network.nir").nodes.values())
    expected = {"5x5 in rounds": 2, "9x8, whole": 2}.get(name, 1)
    assert stages == 1 + expected


@pytest.mark.parametrize(("size", "stride"), [(1, 2), (2, 1), (17, 1), (27, 1), (40, 3), (331, 1), (1000, 7)])
def test_rounds_of_a_wide_window_read_each_element_of_it_and_none_beside(size, stride):
    pool = MaxPool("m", "x", (size, 17), (stride, 1), ((0, 0), (0, 0)), (1, 1), (1, 1, 1), Origin((), ()))
    x = np.random.default_rng(size).permutation(size * 4).astype(float)
    expected = np.lib.stride_tricks.sliding_window_view(x, size).max(axis=1)[::stride]
    for kernel, strides, _, dilations in rounds(pool):
        if kernel[1] == 1:
            assert int(np.prod(kernel)) <= 16
            span = dilations[0] * (kernel[0] - 1) + 1
            x = np.lib.stride_tricks.sliding_window_view(x, span)[:: strides[0], :: dilations[0]].max(axis=1)
    assert np.array_equal(x, expected)


def test_a_pool_behind_codes_that_fall_is_exact(tmp_path):
    b = Builder((2, 6, 6), lo=-8, hi=7)
    b.fire("a", Projection("x", conv(b.weights(2, 2, 1, 1))))
    b.steps[-1] = Table_of(b.steps[-1])
    b.max_pool("m", "a", (2, 2), (2, 2), ((0, 0), (0, 0)))
    program = b.build(b.max_pool("n", "x", (2, 2), (2, 2), ((0, 0), (0, 0))) or "m")
    check(NirBackend(), Case("falling", lambda: program), tmp_path)


def Table_of(step):
    from dataclasses import replace

    return replace(step, ladder=Table(np.array([[[[-300, -40, 20, 90, 400]]]]), np.array([1, -2, -3, 0, 5, 9])))


def test_reads_of_one_value_share_its_channels(tmp_path):
    program = legal(same_source_twice())
    NirBackend().emit(program, tmp_path, {})
    graph = nir.read(tmp_path / "network.nir")
    assert graph.nodes["s001_c_sums"].weight.shape == (3, 3, 3, 3)
    assert program_files.digest(NirBackend().reload(tmp_path)) == program_files.digest(program)


# -- several outputs -------------------------------------------------------------------------------------------------
def test_every_output_has_files_of_its_own(tmp_path):
    program = legal(two_results())
    NirBackend().emit(program, tmp_path, {})
    shapes = {}
    for file in ("network.nir", "network_lif.nir", "network_2.nir", "network_2_lif.nir"):
        graph = nir.read(tmp_path / file)
        assert [type(n).__name__ for n in graph.nodes.values()].count("Output") == 1
        shapes[file] = graph.nodes["output"].output_type["output"].tolist()
    assert shapes["network.nir"] == [3]
    assert shapes["network_2.nir"] == [3, 5, 5]
    assert program_files.digest(NirBackend().reload(tmp_path)) == program_files.digest(program)


def test_a_change_of_any_file_is_seen(tmp_path):
    import h5py

    program = legal(two_results())
    NirBackend().emit(program, tmp_path, {})
    for file in ("network.nir", "network_lif.nir", "network_2.nir", "network_2_lif.nir"):
        before = (tmp_path / file).read_bytes()
        with h5py.File(tmp_path / file, "r+") as data:
            weight = data["node/nodes/s000_c_sums/weight"]
            weight[...] = weight[()] + 1
        try:
            assert program_files.digest(NirBackend().reload(tmp_path)) != program_files.digest(program), file
        except CompileError as error:
            assert error.diagnostics[0].code == "SFN503"  # noqa: PT017
        inputs = edge_inputs(program)
        golden = run_codes(program, inputs)
        if not file.endswith("lif.nir"):  # the evaluator runs IF
            values = NirBackend().run(tmp_path, RunRequest(inputs, golden)).values
            assert any(not np.array_equal(values[name], golden[name]) for name in values), file
        (tmp_path / file).write_bytes(before)


# -- advice -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("limit", [20_000_000, 8_000_000, 5_000_000])
def test_the_levels_that_are_advised_fit_and_one_more_does_not(limit, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_BYTES", limit)
    with pytest.raises(CompileError, match="SFN403") as caught:
        NirBackend().emit(legal(ordinary(60)), tmp_path, {})
    fix = caught.value.diagnostics[0].fix
    levels = int(fix.split("--levels ")[1].split()[0])
    assert 1 <= levels < 60
    for n, fits in ((levels, True), (levels + 1, False)):
        assert (sizes(ordinary(n))[0]["LIF"] * 1e6 <= limit) is fits
        small = _nets(fewer_levels(compact(legal(ordinary(60))), n), "binary", dry=True)
        assert small[0].bytes("LIF") / 1e6 == sizes(ordinary(n))[0]["LIF"], "what is advised is what is then compiled"


# -- the folder ------------------------------------------------------------------------------------------------------
def run_nir(folder, *words, python=sys.executable):
    command = [str(python), "-W", "error", str(folder / "run_nir.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder.parent, check=False)


@pytest.mark.slow
def test_the_folder_runs_without_sfnc_and_says_what_differs(tmp_path):
    folder = tmp_path / "nir"
    folder.mkdir()
    program = legal(two_results())
    NirBackend().emit(program, folder, {})
    before = sorted(p.name for p in folder.iterdir())
    done = run_nir(folder, "--reader", "numpy", "--check")
    assert done.returncode == 0, done.stderr
    assert "network_2.nir" in done.stdout
    assert "0 differ from golden.npz" in done.stdout
    np.save(tmp_path / "x.npy", edge_inputs(program)["x"])
    done = run_nir(folder, "--reader", "numpy", "--input", "x.npy", "--output", "y.npz", "--check")
    assert (done.returncode, "differ from NumPy" in done.stdout) == (0, True)
    with np.load(tmp_path / "y.npz") as found:
        golden = run_codes(program, edge_inputs(program))
        assert np.array_equal(found["y"], golden["y"])
        assert np.array_equal(found["z"], golden["a"])
    np.save(tmp_path / "real.npy", np.full((1, 2, 5, 5), 0.5))
    assert run_nir(folder, "--reader", "numpy", "--input", "real.npy").returncode == 0
    np.save(tmp_path / "far.npy", np.full((1, 2, 5, 5), 99))
    done = run_nir(folder, "--reader", "numpy", "--input", "far.npy")
    assert (done.returncode, "codes must be in 0..7" in done.stderr) == (3, True)
    assert run_nir(folder, "--reader", "nirtorch").returncode == 2
    with np.load(folder / "golden.npz") as data:
        arrays = {name: data[name].copy() for name in data}
    arrays["v0000"].flat[0] += 1  # of layer a
    assert sorted(p.name for p in folder.iterdir()) == before, "running leaves nothing in the folder"
    np.savez(folder / "golden.npz", **arrays)
    done = run_nir(folder, "--reader", "numpy", "--check")
    assert (done.returncode, " 1 differ" in done.stdout) == (1, True)


def test_the_samples_are_nir_data_too(tmp_path):
    program = legal(two_results())
    NirBackend().emit(program, tmp_path, {})
    data = nir.read_data(str(tmp_path / "network_2_data.nir"))
    found = {name: node.observables["integers"].data for name, node in data.nodes.items()}
    golden = run_codes(program, {"x": found["input"].reshape(-1, 2, 5, 5)})
    assert np.array_equal(found["output"].reshape(-1, 3, 5, 5), golden["a"])
    text = json.loads(nir.read(tmp_path / "network_2.nir").metadata["sfnc"])
    assert (text["part"], text["parts"], text["results"]) == (1, 2, ["a"])


@pytest.mark.slow
@pytest.mark.skipif(PYTHON is None, reason="no stock NIR readers: make .venv-nir, or set SFNC_NIR_PYTHON")
@pytest.mark.parametrize("reader", ["norse", "sinabs", "spikingjelly", "snntorch"])
def test_stock_readers_are_exact_on_folds_pools_and_several_outputs(reader, tmp_path, monkeypatch):
    programs = {"wide": wide(100), "pool": pooled(*POOLS["3x3, padded"]), "whole": pooled(*POOLS["9x8, whole"]),
                "two": two_results(), "twice": same_source_twice(), "ordinary": ordinary(7)}  # fmt: skip
    monkeypatch.setattr(folded, "SMALL", 100_000)
    jobs = []
    for name, program in programs.items():
        (tmp_path / name).mkdir()
        NirBackend().emit(legal(program), tmp_path / name, {})
        inputs = edge_inputs(legal(program))
        golden = run_codes(legal(program), inputs)
        for number in range(2 if name == "two" else 1):
            places = NirBackend().places(tmp_path / name, number)
            jobs.append(witnesses.Job(tmp_path / name, number, places, RunRequest(inputs, golden)))
    assert "Conv2d" in {type(n).__name__ for n in nir.read(tmp_path / "wide" / files.first("binary", 0)).nodes.values()}
    for entry in witnesses.read(PYTHON, reader, "binary", jobs, 300.0):
        assert (entry["error"], entry["different"]) == (None, 0)
        assert entry["compared"] > 0


def test_a_skip_of_the_whole_map_over_a_dense_layer_is_exact(tmp_path, monkeypatch):
    """A map that is read again, as a map, when the chain has left maps."""
    monkeypatch.setattr(folded, "SMALL", -1)

    def make() -> Program:
        b = Builder((2, 4, 4), hi=7)
        b.fire("a", Projection("x", conv(b.weights(3, 2, 3, 3), pad=1)), hi=5)
        b.move("f", Reshape((48,)), "a")
        b.fire("d", Projection("f", Dense(b.weights(48, 48))), hi=5)
        b.move("g", Reshape((3, 4, 4)), "d")
        b.fire("e", Projection("a", conv(b.weights(3, 3, 3, 3), pad=1)), Projection("g", Identity(ONE * 31)), hi=5)
        return b.build(b.fire("y", Projection("e", conv(b.weights(2, 3, 3, 3), pad=1)), kind="readout"))

    check(NirBackend(), Case("skip", make), tmp_path)
