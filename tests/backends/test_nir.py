"""The target nir: files that compute the simulator's integers, read back exactly, and refuse what they cannot hold."""

import ast
import errno
import re
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from sfn_backends.nir import NirBackend, chain, evaluator, files, limits, witnesses
from sfn_backends.nir.compact import compact
from sfn_backends.nir.net import Net
from sfn_backends.nir.parts import parts_of

from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.program.network import Dense, Identity, Normalization, Pad, Program, Projection, Slice, SumPool
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.backend import RunRequest
from sfn_compile.targets.legalize import legalize
from sfn_compile.testing.conformance import CASES, SEVERAL_INPUTS, Builder, Case, check, edge_inputs, fired

from .nir_programs import (
    ONE,
    bumpy_table,
    conv,
    cropped_skip,
    far_thresholds,
    late_wide_read,
    odd_shortcut,
    one_threshold,
    per_neuron,
    positive_codes,
    same_source_twice,
    two_results,
    widest,
    written_out,
)

FOLDER = Path(evaluator.__file__).parent
PRODUCTS = [case for case in CASES if case.products]
ADAPTIVE = [case for case in CASES if case.adaptive]
CASES = tuple(case for case in CASES if not case.products and not case.adaptive)
BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(autouse=True)
def no_readers(monkeypatch):
    """The stock readers have their own tests: here they would only cost time."""
    monkeypatch.setattr(witnesses, "interpreter", lambda: None)


def legal(program: Program) -> Program:
    return legalize(program, "nir", NirBackend.capabilities)


def emitted(program: Program, folder: Path, form: str = "binary") -> Program:
    program = legal(program)
    NirBackend().emit(program, folder, {"form": form})
    return program


def built(program: Program, dry: bool = False) -> Net:
    return chain.build(compact(program), parts_of(program)[0], dry=dry)


def edit(path: Path, node: str, param: str, step: float = 1.0) -> None:
    with h5py.File(path, "r+") as file:
        data = file[f"node/nodes/{node}/{param}"]
        values = data[()]
        values.flat[0] += step
        data[...] = values


MORE = tuple(
    Case(f.__name__, f)
    for f in (same_source_twice, late_wide_read, odd_shortcut, cropped_skip, per_neuron, written_out, bumpy_table,
              positive_codes, one_threshold, far_thresholds, widest, two_results)
)  # fmt: skip
REFUSED = {  # by (case, form); the first word is the code
    **{
        (case, form): "SFN402 .*vector into a map"
        for case in ("moves", "take", "upsampling")
        for form in ("unary", "sar")
    },
    ("far_thresholds", "sar"): "SFN401 .*digits of a reach .*\n.*--nir-form unary",
}


@pytest.mark.parametrize("case", CASES + MORE, ids=str)
def test_the_binary_file_computes_the_simulators_integers_in_every_layer(case, tmp_path):
    result = check(NirBackend(), case, tmp_path)
    assert set(result.values) >= {p.name for p in legal(case.make()).populations()}
    assert "NIR evaluator + nir 1.0.8" in result.executed_by


@pytest.mark.parametrize("form", ["unary", "sar"])
@pytest.mark.parametrize("case", CASES + MORE, ids=str)
def test_unary_and_sar_compute_the_same_or_say_why_not(case, form, tmp_path):
    if (case.name, form) in REFUSED:
        with pytest.raises(CompileError, match=REFUSED[case.name, form]):
            emitted(case.make(), tmp_path, form)
    else:
        check(NirBackend(), case, tmp_path, {"form": form})


@pytest.mark.parametrize("name", ["late_wide_read", "odd_shortcut", "written_out", "bumpy_table", "positive_codes"])
def test_maps_stay_convolutions(name):
    net = built(legal({c.name: c for c in MORE}[name].make()))
    assert "Affine" not in {n.kind for n in net.nodes.values()}


# -- the files ---------------------------------------------------------------------
@pytest.mark.parametrize("name", ["residual", "pools", "conv1d", "mlp_table"])
def test_the_binary_form_is_a_chain_of_standard_nodes_with_plain_names(name, tmp_path):
    emitted(BY_NAME[name].make(), tmp_path)
    for file, neuron in (("network.nir", "IF"), ("network_lif.nir", "LIF")):
        graph = nir.read(tmp_path / file)
        kinds = {type(n).__name__ for n in graph.nodes.values()}
        assert kinds <= {"Input", "Output", "Conv2d", "Affine", "Flatten", neuron}
        assert all(re.fullmatch(r"[A-Za-z0-9_]+", n) for n in graph.nodes)
        assert sorted(b for _, b in graph.edges) == sorted(set(graph.nodes) - {"input"})
        assert sorted(a for a, _ in graph.edges) == sorted(set(graph.nodes) - {"output"})
        fired = [n for n in graph.nodes.values() if type(n).__name__ == neuron]
        assert all((n.v_threshold == 1).all() for n in fired)


@pytest.mark.parametrize("form", ["binary", "unary", "sar"])
def test_two_emits_are_byte_identical(form, tmp_path):
    contents = []
    for name in "ab":
        (tmp_path / name).mkdir()
        emitted(BY_NAME["residual"].make(), tmp_path / name, form)
        contents.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})
    assert contents[0] == contents[1]
    networks = {"network.nir", "network_lif.nir"} if form == "binary" else {"network.nir"}
    assert {name for name in contents[0] if name.endswith(".nir") and "data" not in name} == networks


def bytes_of_arrays(path: Path) -> int:
    found: list[int] = []
    shapes = ("input_shape", "stride", "padding", "dilation", "shape", "input_type")
    with h5py.File(path) as data:
        data.visititems(
            lambda name, d: found.append(d.nbytes) if getattr(d, "shape", ()) and not name.endswith(shapes) else None
        )
        assert "edges" in data["node"]
        return sum(found) - data["node/edges"].nbytes


@pytest.mark.parametrize("name", ["residual", "mlp", "max_pool_signed"])
def test_the_predicted_size_is_that_of_the_arrays_in_the_files(name, tmp_path):
    program = emitted(BY_NAME[name].make(), tmp_path)
    predicted = built(program, dry=True)
    for file, neuron in (("network.nir", "IF"), ("network_lif.nir", "LIF")):
        assert bytes_of_arrays(tmp_path / file) == predicted.bytes(neuron)


def test_the_predicted_work_counts_every_product(tmp_path):
    net = built(legal(BY_NAME["mlp"].make()), dry=True)
    assert net.macs == 10 * 12 + 70 * 10 + 10 * 70 + 9 * 10 + 279 * 9 + 9 * 279 + 5 * 9
    net = built(legal(BY_NAME["concat"].make()), dry=True)
    assert net.macs == 36 * (6 * 3 * 9 + 2 * 6 * 58 + 5 * 6 * 9 + 2 * 35 * 5) + 3 * 5 * 36


# -- the way back ---------------------------------------------------------------------
@pytest.mark.parametrize(("name", "form"), [("residual", "binary"), ("mlp_table", "binary"), ("mlp", "binary"),
                                            ("max_pool_signed", "unary"), ("residual", "sar")])  # fmt: skip
def test_every_number_of_a_file_is_guarded(name, form, tmp_path):
    """One changed number anywhere is another Program, or a file that no Program makes."""
    program = emitted(BY_NAME[name].make(), tmp_path, form)
    original = program_files.digest(program)
    for path in [tmp_path / name for name in files.names(form, 0)]:
        before = path.read_bytes()
        for node, made in nir.read(path).nodes.items():
            for param in {"weight", "bias", "v_threshold", "threshold", "scale", "r", "tau"} & set(vars(made)):
                edit(path, node, param)
                try:
                    assert program_files.digest(NirBackend().reload(tmp_path)) != original, (path.name, node, param)
                except CompileError as error:
                    assert error.diagnostics[0].code == "SFN503"  # noqa: PT017
                path.write_bytes(before)
    assert program_files.digest(NirBackend().reload(tmp_path)) == original


@pytest.mark.parametrize("name", ["residual", "mlp"])
def test_a_changed_weight_or_threshold_is_another_program(name, tmp_path):
    program = emitted(BY_NAME[name].make(), tmp_path)
    before = (tmp_path / "network.nir").read_bytes()
    edit(tmp_path / "network.nir", "s000_c_sums", "weight")
    found = NirBackend().reload(tmp_path)
    assert program_files.digest(found) != program_files.digest(program)
    first = [next(p.populations()).projections[0].map.weight.astype(np.int64) for p in (program, found)]
    assert np.abs(first[0] - first[1]).sum() == 1
    (tmp_path / "network.nir").write_bytes(before)
    assert program_files.digest(NirBackend().reload(tmp_path)) == program_files.digest(program)


def test_a_changed_file_computes_other_integers(tmp_path):
    """The evaluator runs the file and nothing else."""
    program = emitted(BY_NAME["residual"].make(), tmp_path)
    inputs = edge_inputs(program)
    golden = run_codes(program, inputs)
    edit(tmp_path / "network.nir", "s001_c_sums", "weight", 2000.0)
    values = NirBackend().run(tmp_path, RunRequest(inputs, golden)).values
    assert np.array_equal(values["a"], golden["a"])
    assert not np.array_equal(values["b"], golden["b"])


def test_a_foreign_or_missing_file_is_refused(tmp_path):
    with pytest.raises(CompileError, match="SFN503"):
        NirBackend().reload(tmp_path)
    (tmp_path / "network.nir").write_bytes(b"not HDF5")
    with pytest.raises(CompileError, match="SFN503"):
        NirBackend().reload(tmp_path)


# -- refusals ---------------------------------------------------------------------
def test_a_network_above_the_limits_is_refused_with_the_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_BYTES", 40_000)
    with pytest.raises(CompileError, match=r"needs 67.6 kB of arrays.*\n.*--nir-form sar") as caught:
        emitted(BY_NAME["residual"].make(), tmp_path)
    assert caught.value.diagnostics[0].code == "SFN403"
    monkeypatch.setattr(limits, "MAX_BYTES", 10**9)
    monkeypatch.setattr(limits, "MAX_MACS", 10**5)
    with pytest.raises(CompileError, match="187 k multiply-accumulates"):
        emitted(BY_NAME["residual"].make(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_refusal_names_the_layer_that_made_the_network_large(monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "MAX_BYTES", 1000)
    with pytest.raises(CompileError, match="one vector: a: its thresholds differ from position to position"):
        emitted(per_neuron(), tmp_path)


def resnet20(levels: int = 31) -> Program:
    """ResNet-20 on CIFAR with parameter-free shortcuts."""
    b = Builder((3, 32, 32), lo=-128, hi=127)
    last, c = b.fire("stem", Projection("x", conv(b.weights(16, 3, 3, 3), pad=1)), hi=levels), 16
    for i, (w, stride) in enumerate([(16, 1)] * 3 + [(32, 2)] + [(32, 1)] * 2 + [(64, 2)] + [(64, 1)] * 2):
        skip, n = last, b.info(last).shape[1]
        if stride == 2:
            b.move(f"s{i}", Slice(((0, c, 1), (0, n, 2), (0, n, 2))), last)
            skip = b.move(f"p{i}", Pad(((c // 2, c // 2), (0, 0), (0, 0))), f"s{i}")
        h = b.fire(f"a{i}", Projection(last, conv(b.weights(w, c, 3, 3), stride, 1)), hi=levels)
        main = Projection(h, conv(b.weights(w, w, 3, 3), pad=1))
        last, c = b.fire(f"b{i}", main, Projection(skip, Identity(ONE * 99)), hi=levels), w
    return b.build(b.fire("y", Projection(last, SumPool((8, 8), (8, 8), ((0, 0), (0, 0)), ONE)), kind="readout"))


def test_resnet20_at_31_levels_is_accepted():
    net = built(legal(resnet20()), dry=True)
    limits.check([net], "binary", 31, lambda form, levels: [net])
    assert net.bytes("LIF") < 8e7
    assert net.macs < 2e9
    assert not net.puts, "a prediction makes no arrays"


def test_sums_beyond_float32_are_refused(tmp_path):
    b = Builder((64,), lo=-128, hi=127)
    b.fire("a", Projection("x", Dense(b.weights(4, 64, top=8000))))
    for form in ("binary", "sar"):
        with pytest.raises(CompileError, match="float32, exact below 16777216") as caught:
            emitted(b.build("a"), tmp_path, form)
        assert caught.value.diagnostics[0].code == "SFN401"
    b = Builder((64,), lo=-128, hi=127)
    b.fire("a", Projection("x", Dense(np.full((2, 64), 900))))
    with pytest.raises(CompileError, match="planes are exact below 8388608") as caught:
        emitted(b.build("a"), tmp_path)
    assert caught.value.diagnostics[0].code == "SFN401"
    check(NirBackend(), Case("wide", lambda: b.build("a")), tmp_path, {"form": "unary"})


@pytest.mark.parametrize("case", PRODUCTS, ids=str)
def test_a_product_of_two_values_is_refused_with_its_factors(case, tmp_path):
    with pytest.raises(CompileError, match=r"SFN402 .*nir multiplies by constants only.*\w+ \* \w+"):
        emitted(case.make(), tmp_path, "binary")


@pytest.mark.parametrize("case", ADAPTIVE, ids=str)
@pytest.mark.parametrize("form", ["binary", "unary", "sar"])
def test_every_threshold_that_follows_a_row_is_refused_with_its_node_and_the_reason(case, form, tmp_path):
    with pytest.raises(CompileError) as caught:
        emitted(case.make(), tmp_path, form)
    said = {d.where: d.what for d in caught.value.diagnostics if "target nir has no" in d.what}
    words = {"RowTable": "the maximum of a row", "Ratio": "the sum of a row", "Normalization": "standard deviation"}
    expected = {
        step.origin.nodes[0]: words[kind]
        for step in fired(case.make())
        if (kind := type(step if isinstance(step, Normalization) else step.ladder).__name__) in words
    }
    assert expected
    assert said.keys() == expected.keys()
    assert [node for node, word in expected.items() if word not in said[node]] == []
    assert {d.code for d in caught.value.diagnostics} == {"SFN402"}


def test_an_accumulator_that_is_read_again_is_refused_in_planes_only(tmp_path):
    def tapped() -> Program:
        b = Builder((4,), hi=7)
        b.fire("a", Projection("x", Dense(b.weights(3, 4))), kind="readout")
        return b.build(b.fire("y", Projection("a", Dense(b.weights(2, 3, top=3)))))

    with pytest.raises(CompileError, match=r"y reads a, an accumulator without neurons.*\n.*--nir-form sar") as caught:
        emitted(tapped(), tmp_path)
    assert caught.value.diagnostics[0].code == "SFN402"
    check(NirBackend(), Case("tapped", tapped), tmp_path, {"form": "sar"})


def test_an_unknown_form_is_wrong_usage(tmp_path):
    with pytest.raises(CompileError, match="SFN605"):
        emitted(BY_NAME["mlp"].make(), tmp_path, "ternary")


def test_a_missing_package_is_said_with_its_command(monkeypatch, tmp_path):
    assert NirBackend().available() is None

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("sfn_backends.nir.version", missing)
    assert "pip install 'sfnc[nir]'" in (NirBackend().available() or "")
    with pytest.raises(CompileError, match="SFN601"):
        emitted(BY_NAME["mlp"].make(), tmp_path)


# -- independence ---------------------------------------------------------------------
@pytest.mark.parametrize(("file", "allowed"), [
    ("evaluator.py", {"numpy", "nir"}), ("read_values.py", {"numpy"}), ("torch_map.py", {"nir", "torch"}),
    ("readers.py", {"numpy", "nir", "torch", "nirtorch", "norse", "sinabs", "snntorch", "spikingjelly"}),
])  # fmt: skip
def test_the_witnesses_share_no_code_with_the_writer(file, allowed):
    found = set()
    for node in ast.walk(ast.parse((FOLDER / file).read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "no relative import"
            found.add(str(node.module).split(".")[0])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[0] for a in node.names}
    assert found - set(sys.stdlib_module_names) <= allowed


def test_a_reader_that_cannot_start_is_an_entry_and_not_silence(tmp_path, monkeypatch):
    program = emitted(BY_NAME["mlp"].make(), tmp_path)
    inputs = edge_inputs(program)
    request = RunRequest(inputs, run_codes(program, inputs))
    monkeypatch.setattr(witnesses, "interpreter", lambda: Path(sys.executable))
    entries = NirBackend().run(tmp_path, request).readers
    assert {e["name"] for e in entries} == {"norse", "sinabs", "spikingjelly", "snntorch"}
    assert all("No module named" in e["error"] or "PackageNotFound" in e["error"] for e in entries)
    monkeypatch.setattr(witnesses, "interpreter", lambda: tmp_path / "nothing")
    assert all("cannot start" in e["error"] for e in NirBackend().run(tmp_path, request).readers)
    hasty = replace(request, time_limit=0.0)
    monkeypatch.setattr(witnesses, "interpreter", lambda: Path(sys.executable))
    assert all("ended after" in e["error"] for e in NirBackend().run(tmp_path, hasty).readers)


def test_the_reader_environment_is_found_by_variable_and_beside_the_installation(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("SFNC_NIR_PYTHON", "/somewhere/python")
    assert witnesses.interpreter() == Path("/somewhere/python")
    monkeypatch.delenv("SFNC_NIR_PYTHON")
    monkeypatch.setattr(witnesses, "environments", lambda name: [tmp_path / name])
    assert witnesses.interpreter() == tmp_path / ".venv-nir"
    monkeypatch.setattr(witnesses, "environments", lambda name: [])
    assert witnesses.interpreter() is None


def test_an_empty_net_has_no_size():
    assert Net().bytes("LIF") == Net().macs == 0


def test_a_full_disk_is_an_error_that_can_be_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The HDF5 library ends the process where it cannot write; so the file is made in memory and written by Python."""

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    backend = NirBackend()
    with pytest.raises(OSError, match="No space left"):
        backend.emit(legalize(CASES[0].make(), backend.name, backend.capabilities), tmp_path, {})


@pytest.mark.parametrize("form", ["binary", "unary", "sar"])
@pytest.mark.parametrize("case", SEVERAL_INPUTS, ids=str)
def test_several_inputs_are_refused_by_name(case, form, tmp_path):
    with pytest.raises(CompileError, match=r"SFN402: .*takes one input .*has 'x', 'z'"):
        emitted(case.make(), tmp_path, form)
