"""The binary files in the four stock readers, unary and sar in nirtorch: every integer of every layer.

They live in an environment of their own (``.venv-nir`` or ``SFNC_NIR_PYTHON``); without one these tests are skipped.
"""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from sfn_backends.nir import NirBackend, files, witnesses

from sfn_compile.program.network import Dense, Projection, Table
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.backend import RunRequest
from sfn_compile.targets.legalize import legalize
from sfn_compile.testing.conformance import CASES, Builder, edge_inputs

PYTHON = witnesses.interpreter()
pytestmark = pytest.mark.skipif(
    PYTHON is None, reason="no stock NIR readers: make .venv-nir, or set SFNC_NIR_PYTHON to an interpreter with them"
)
CASES = tuple(case for case in CASES if not case.products and not case.adaptive)  # nir refuses the others
NOT_IN_GRAPHS = {"moves", "take", "upsampling"}  # refused in unary and sar, tests/backends/test_nir.py says why
JOBS = [(form, reader) for form, readers in witnesses.READERS.items() for reader in readers]


def widest():
    """Accumulators as large as planes take, thresholds at both ends: c is 2**23."""
    b = Builder((2,), hi=127)
    b.fire("a", Projection("x", Dense(np.array([[2**16, 1]] * 2))))
    ends = np.array([[1, 2, 2**22, 2**22 + 1, 127 * 2**16 + 126, 127 * 2**16 + 127], [1, 1, 1, 128, 2**16, 2**16]])
    b.steps[-1] = replace(b.steps[-1], ladder=Table(ends, np.arange(7)))
    return b.build("a")


def job(case, folder, form):
    folder.mkdir()
    program = legalize(case.make(), "nir", NirBackend.capabilities)
    return emitted_job(program, folder, form, edge_inputs(program))


def emitted_job(program, folder, form, inputs):
    NirBackend().emit(program, folder, {"form": form})
    values = NirBackend().places(folder)
    return witnesses.Job(folder, 0, values, RunRequest(inputs, run_codes(program, inputs, engine="reference")))


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """One process per reader runs all files of a form: result by (form, reader, case)."""
    done = {}
    for form, readers in witnesses.READERS.items():
        cases = [c for c in CASES if form == "binary" or c.name not in NOT_IN_GRAPHS]
        base = tmp_path_factory.mktemp(form)
        jobs = [job(c, base / c.name, form) for c in cases]
        for reader in readers:
            found = witnesses.read(PYTHON, reader, form, jobs, 300.0)
            done |= {(form, reader, c.name): (e, j) for c, e, j in zip(cases, found, jobs, strict=True)}
    return done


@pytest.mark.parametrize(("form", "reader"), JOBS, ids=[f"{form}-{reader}" for form, reader in JOBS])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_stock_reader_computes_the_simulators_integers(entries, case, form, reader):
    if form != "binary" and case.name in NOT_IN_GRAPHS:
        assert (form, reader, case.name) not in entries
        return
    entry, made = entries[form, reader, case.name]
    layers = [v for name, v in made.request.golden.items() if name not in made.request.inputs]
    assert entry["error"] is None
    assert entry["different"] == 0
    assert entry["compared"] == sum(v.size for name, v in made.request.golden.items() if name in made.values)
    assert entry["layers"] == len(made.values) >= len(layers) - 1  # a flatten has no place of its own
    assert entry["samples"] == 9


@pytest.mark.parametrize("reader", witnesses.READERS["binary"])
def test_the_readers_versions_are_those_that_the_proof_names(entries, reader):
    known = {"norse": "1.1.0", "sinabs": "3.1.3", "snntorch": "1.0.0", "spikingjelly": "2.0.0"}
    assert entries["binary", reader, "mlp"][0]["version"] == known[reader]


@pytest.mark.parametrize("reader", witnesses.READERS["binary"])
def test_a_changed_weight_is_seen_by_the_reader(tmp_path, reader):
    made = job(CASES[0], tmp_path / "edited", "binary")
    with h5py.File(made.folder / files.name(0, witnesses.READERS["binary"][reader]), "r+") as file:
        data = file["node/nodes/s001_c_sums/weight"]
        values = data[()]
        values[0] += 500
        data[...] = values
    (entry,) = witnesses.read(PYTHON, reader, "binary", [made], 120.0)
    assert entry["error"] is None
    assert entry["different"] > 0


@pytest.mark.parametrize("reader", witnesses.READERS["binary"])
def test_a_reader_is_exact_on_both_sides_of_every_threshold_up_to_2_to_the_23(tmp_path, reader):
    program = widest()
    taus = program.steps[0].ladder.table
    sums = np.unique(np.clip(np.concatenate([taus - 1, taus, taus + 1], axis=None), 0, None))
    codes = np.stack(np.divmod(sums, 2**16), axis=1).astype(np.int32)
    inputs = {"x": codes[(codes <= 127).all(axis=1)]}
    made = emitted_job(program, tmp_path, "binary", inputs)
    assert set(made.request.golden["a"][:, 0]) == set(range(7)), "every level is met"
    (entry,) = witnesses.read(PYTHON, reader, "binary", [made], 120.0)
    assert (entry["error"], entry["different"], entry["compared"]) == (None, 0, 2 * len(inputs["x"]))


def test_a_broken_file_is_an_error_entry_and_the_next_file_still_runs(tmp_path):
    broken, whole = (job(CASES[0], tmp_path / name, "binary") for name in ("broken", "whole"))
    (broken.folder / "network.nir").write_bytes(b"")
    first, second = witnesses.read(PYTHON, "norse", "binary", [broken, whole], 120.0)
    assert first["error"]
    assert (first["compared"], second["different"], second["error"]) == (0, 0, None)


def test_run_reports_all_four_readers(tmp_path):
    made = job(CASES[0], tmp_path / "mlp", "binary")
    found = NirBackend().run(made.folder, made.request).readers
    assert [e["name"] for e in found] == ["norse", "sinabs", "spikingjelly", "snntorch"]
    assert all(e["error"] is None and e["different"] == 0 and e["compared"] > 0 for e in found)
