"""NIR files as input: of other simulators, at what T steps count, and our own, integer for integer."""

import itertools
import json
import shutil
from pathlib import Path

import nir
import numpy as np
import onnx
import onnxruntime
import pytest
from sfn_backends.nir import NirBackend, own_files, witnesses
from sfn_backends.nir.importer import to_onnx

import sfn_compile
from sfn_compile.commands.build import build
from sfn_compile.commands.check import check
from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.frontend import foreign
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.legalize import legalize
from sfn_compile.testing.conformance import CASES, edge_inputs

from .nir_programs import two_results

FOLDER = Path(__file__).parent / "nir_foreign"
SIMULATORS = ("sinabs_cnn", "spikingjelly_cnn", "norse_mlp", "snntorch_cnn")
PLAIN = {case.name: case.make for case in CASES if not case.products and not case.adaptive}


@pytest.fixture(autouse=True)
def no_readers(monkeypatch):
    monkeypatch.setattr(witnesses, "interpreter", lambda: None)


def computed(content: bytes, x, value: str | None = None):
    model = onnx.load_from_string(content)
    if value is not None:
        model.graph.output.append(onnx.helper.make_tensor_value_info(value, 1, None))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run([value] if value else None, {session.get_inputs()[0].name: x.astype(np.float32)})
    return found[0]


def written(path: Path, nodes, edges=None) -> Path:
    names = list(nodes)
    chain = edges or list(itertools.pairwise(names))
    nir.write(path, nir.NIRGraph(nodes, chain, type_check=False))
    return path


def ends(inner, n_in, n_out):
    shape = {"input": np.array(n_in)}
    return {"input": nir.Input(shape), **inner, "output": nir.Output({"output": np.array(n_out)})}


def full(value, *shape):
    return np.full(shape or (3,), value, np.float32)


EYE = nir.Affine(np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
IF3 = nir.IF(full(1), full(1))


# -- other simulators --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", SIMULATORS)
def test_one_step_of_a_simulator_is_what_its_file_is_read_as(name):
    """T = 1: every layer of the network itself, one step from rest."""
    with np.load(FOLDER / f"{name}.npz") as data:
        x, one = data["x"], data["one"]
    assert 0.1 < one.mean() < 0.9, "neurons fire, and not all"
    assert np.array_equal(computed(to_onnx(FOLDER / f"{name}.nir", 1), x), one)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIMULATORS)
def test_one_step_of_a_simulator_is_what_its_file_is_compiled_to(name, tmp_path):
    with np.load(FOLDER / f"{name}.npz") as data:
        x, one = data["x"], data["one"]
    network = sfn_compile.compile(FOLDER / f"{name}.nir", tmp_path / "out", calib=x, levels=1, targets="sim,nir")
    assert np.array_equal(network(x), one)
    assert all(p.ladder.hi <= 1 for p in network.program.populations() if hasattr(p.ladder, "hi"))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["model"]["name"] == f"{name}.onnx"


def test_a_neuron_that_subtracts_its_threshold_fires_the_floor_as_often_in_t_steps():
    """Sinabs, 8 steps of constant current: its counts are the codes of a ladder with 8 levels."""
    with np.load(FOLDER / "sinabs_cnn.npz") as data:
        x, counts = data["x"] / 8, data["first"]
    rates = computed(to_onnx(FOLDER / "sinabs_cnn.nir", 8), x, "1")
    assert len(np.unique(counts)) > 3
    assert np.array_equal(rates * 8, counts)


@pytest.mark.parametrize(
    ("name", "where", "why"),
    [
        ("norse_leaky", "1", "its membrane leaks"),
        ("snntorch_leaky", "1", "its membrane leaks: 0.1 of it"),
        ("snntorch_recurrent", "1.lif", "feed each other: recurrence"),
    ],
)
def test_what_needs_time_is_refused_with_its_node(name, where, why):
    with pytest.raises(CompileError) as caught:
        to_onnx(FOLDER / f"{name}.nir", 31)
    (found,) = caught.value.diagnostics
    assert found.code == "SFN111"
    assert where in found.where
    assert why in found.what


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (nir.Delay(full(1e-3)), "a delay shifts spikes"),
        (nir.I(full(1)), "without a threshold"),
        (nir.LI(full(1e-3), full(1), full(0)), "leaks"),
        (nir.CubaLIF(*(full(1e-3),) * 2, full(1), full(0), full(1)), "its current and its membrane leak"),
        (nir.IF(full(1), full(1), full(0.5)), "reset to a value that is not 0"),
        (nir.IF(full(1), full(-1)), "not positive"),
        (nir.LIF(full(1e-4), full(1), full(0.2), full(1)), "towards a value that is not 0"),
        (nir.Linear(np.ones((3, 4), np.float32)), "it takes 4 numbers and reads"),
        (nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])), "it pools maps and reads"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, nir.NIRNode) else "",
)
def test_every_node_without_a_place_in_one_step_is_named_at_once(node, why, tmp_path):
    inner = {"a": EYE, "odd": node, "b": IF3, "late": nir.Delay(full(1))}
    path = written(tmp_path / "net.nir", ends(inner, [3], [3]))
    with pytest.raises(CompileError) as caught:
        to_onnx(path, 4)
    first = caught.value.diagnostics[0]
    assert (first.code, first.where) == ("SFN111", "odd")
    assert why in first.what
    assert "docs/nir.md" in first.fix


def test_two_refused_nodes_beside_each_other_are_both_told(tmp_path):
    inner = {"a": nir.Delay(full(1)), "b": nir.I(full(1)), "sum": EYE}
    edges = [("input", "a"), ("input", "b"), ("a", "sum"), ("b", "sum"), ("sum", "output")]
    path = written(tmp_path / "net.nir", ends(inner, [3], [3]), edges)
    with pytest.raises(CompileError) as caught:
        to_onnx(path, 4)
    assert {d.where for d in caught.value.diagnostics} == {"a", "b"}


def test_nodes_and_edges_mean_what_nir_says(tmp_path):
    """Linear, Scale, Threshold, fan-in, IF with a resistance, LIF without memory and without leak, a graph within."""
    weight = np.array([[1, 2, 0], [0, -1, 1], [3, 0, 1]], np.float32)
    inside = nir.NIRGraph(
        {
            "in": nir.Input({"input": np.array([3])}),
            "s": nir.Scale(full(2)),
            "out": nir.Output({"output": np.array([3])}),
        },
        [("in", "s"), ("s", "out")],
        type_check=False,
    )
    inner = {
        "lin": nir.Linear(weight), "scale": nir.Scale(np.array([1, 2, 4], np.float32)),
        "step": nir.Threshold(full(1.5)),
        "if": nir.IF(full(5e3), np.array([1, 2, 3], np.float32)),
        "dull": nir.LIF(full(1e-4), full(2), full(0), full(1)),
        "free": nir.LIF(full(np.inf), full(np.inf), full(0), full(1)), "within": inside,
    }  # fmt: skip
    edges = [("input", "lin"), ("lin", "scale"), ("input", "scale"), ("scale", "step"), ("scale", "if"),
             ("input", "dull"), ("input", "free"), ("step", "within"), ("if", "within"), ("dull", "within"),
             ("free", "within"), ("within", "output")]  # fmt: skip
    path = written(tmp_path / "net.nir", ends(inner, [3], [3]), edges)
    x = np.random.default_rng(0).integers(-8, 9, (64, 3)) / 8 + 1 / 64
    t, scaled = 5, (x @ weight.T + x) * [1, 2, 4]

    def rate(current, threshold, steps=t):
        return np.clip(np.floor(current * steps / threshold), 0, steps) / steps

    expected = 2 * ((scaled > 1.5) + rate(scaled * 0.5, np.array([1, 2, 3])) + rate(2 * x, 1, 1) + rate(x, 1))
    assert np.allclose(computed(to_onnx(path, t), x), expected, atol=1e-5)


@pytest.mark.parametrize("sum_pool", [True, False])
@pytest.mark.parametrize("padding", [0, 1])
def test_pools_convolutions_and_flatten_are_those_of_nir(sum_pool, padding, tmp_path):
    """A pool that covers its map goes into the convolution behind it; one that is padded does not."""
    rng = np.random.default_rng(1)
    pool = (nir.SumPool2d if sum_pool else nir.AvgPool2d)(np.array([2, 2]), np.array([2, 2]), np.array([padding] * 2))
    side = 4 + padding
    first = nir.Conv2d(
        None, rng.integers(-2, 3, (4, 1, 3, 3)).astype(np.float32), 1, "same", 1, 2, np.ones(4, np.float32)
    )
    second = nir.Conv2d(None, rng.integers(-2, 3, (3, 4, 3, 3)).astype(np.float32), 2, 1, 1, 1, np.zeros(3, np.float32))
    n = 3 * ((side - 1) // 2 + 1) ** 2
    inner = {"a": first, "p": pool, "b": second, "f": nir.Flatten({"input": None}, 0, -1),
             "d": nir.Affine(rng.integers(-2, 3, (5, n)).astype(np.float32), np.ones(5, np.float32))}  # fmt: skip
    graph = nir.NIRGraph(
        ends(inner, [2, 8, 8], [5]),
        [(a, b) for a, b in zip(["input", *inner], [*inner, "output"], strict=True)],
        type_check=False,
    )
    for node in graph.nodes.values():
        if isinstance(node, nir.Flatten):
            node.input_type = {"input": np.array([3, 2, 2])}
    first.input_shape = second.input_shape = None
    content = _without_none(graph, tmp_path / "net.nir")
    x = rng.integers(-3, 4, (6, 2, 8, 8)).astype(np.float32)
    a = _conv(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), first.weight, 1, 2) + 1
    p = np.pad(a, ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    p = p.reshape(6, 4, side, 2, side, 2).sum(axis=(3, 5)) / (1 if sum_pool else 4)
    b = _conv(np.pad(p, ((0, 0), (0, 0), (1, 1), (1, 1))), second.weight, 2, 1)
    expected = b.reshape(6, -1) @ inner["d"].weight.T + 1
    assert np.allclose(computed(to_onnx(content, 4), x), expected, atol=1e-4)
    ops = [n.op_type for n in onnx.load_from_string(to_onnx(content, 4)).graph.node]
    assert ("AveragePool" in ops) is bool(padding)


def _without_none(graph, path):
    """nir cannot write a shape that is not there, as exporters leave it: any shape does, it is not read."""
    for node in graph.nodes.values():
        if isinstance(node, nir.Conv2d):
            node.input_shape = (8, 8)
    nir.write(path, graph)
    return path


def _conv(x, weight, stride, groups):
    found = []
    for g in range(groups):
        part = x[:, g * weight.shape[1] : (g + 1) * weight.shape[1]]
        view = np.lib.stride_tricks.sliding_window_view(part, weight.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
        w = weight[g * len(weight) // groups : (g + 1) * len(weight) // groups]
        found.append(np.einsum("nchwkl,ockl->nohw", view, w))
    return np.concatenate(found, axis=1)


def test_a_one_dimensional_network_is_read(tmp_path):
    conv = nir.Conv1d(10, np.ones((3, 2, 3), np.float32), 2, 1, 1, 1, np.zeros(3, np.float32))
    inner = {"a": conv, "b": nir.IF(full(1, 3, 5), full(2, 3, 5))}
    x = np.random.default_rng(0).random((4, 2, 10)).astype(np.float32)
    got = computed(to_onnx(written(tmp_path / "n.nir", ends(inner, [2, 10], [3, 5])), 7), x)
    assert got.shape == (4, 3, 5)
    assert np.allclose(got * 7, np.rint(got * 7), atol=1e-5)


# -- our own files -----------------------------------------------------------------------------------------------------
def emitted(program, folder):
    folder.mkdir()
    program = legalize(program, "nir", NirBackend.capabilities)
    NirBackend().emit(program, folder, {})
    return program


def real(program, codes):
    return (codes * program.inputs[0].step).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PLAIN))
def test_a_file_of_ours_is_compiled_to_the_same_integers(name, tmp_path):
    program = emitted(PLAIN[name](), tmp_path / "nir")
    file = shutil.copy(tmp_path / "nir" / "network_lif.nir", tmp_path / "renamed.nir")
    inputs = edge_inputs(program)
    golden, x = run_codes(program, inputs), real(program, inputs["x"])
    network = sfn_compile.compile(file, tmp_path / "out", calib=x, targets="sim")
    (output,) = program.outputs
    assert np.array_equal(np.rint(network(x) / output.step), golden[output.value])


@pytest.mark.slow
def test_a_network_of_several_files_is_read_from_all_of_them(tmp_path):
    program = emitted(two_results(), tmp_path / "nir")
    inputs = edge_inputs(program)
    golden, x = run_codes(program, inputs), real(program, inputs["x"])
    network = sfn_compile.compile(tmp_path / "nir" / "network_2.nir", tmp_path / "out", targets="sim", levels=3)
    found = network(x)
    for output in program.outputs:
        assert np.array_equal(np.rint(found[output.name] / output.step), golden[output.value])
    (tmp_path / "nir" / "network.nir").unlink()
    with pytest.raises(CompileError, match=r"SFN503.*network\.nir"):
        to_onnx(tmp_path / "nir" / "network_2.nir", 31)


def test_a_changed_file_of_ours_is_not_read(tmp_path):
    import h5py

    emitted(PLAIN["mlp"](), tmp_path / "nir")
    with h5py.File(tmp_path / "nir" / "network.nir", "r+") as file:
        weight = file["node/nodes/s000_c_sums/weight"]
        weight[0, 0] = weight[0, 0] + 1
    with pytest.raises(CompileError, match="SFN503"):
        to_onnx(tmp_path / "nir" / "network.nir", 31)


def test_a_network_of_ours_over_time_is_refused_as_one(tmp_path):
    path = written(tmp_path / "network.nir", ends({"a": EYE, "b": IF3}, [3], [3]))
    graph = nir.read(path)
    graph.metadata = {"sfnc": json.dumps({"form": "clocked", "layers": [], "steps": 8})}
    nir.write(path, graph)
    with pytest.raises(CompileError, match=r"SFN111.*over time"):
        to_onnx(path, 8)


def test_other_integers_than_the_files_are_refused(tmp_path, monkeypatch):
    """What compile makes is compared: here codes without a quantiser, whose step compile chooses anew."""
    program = emitted(PLAIN["mlp_table"](), tmp_path / "nir")
    monkeypatch.setattr(
        own_files._Writer, "_stated", lambda self, x, name, lo, hi: self.add("Identity", [x], name, name) and None
    )
    np.savez(tmp_path / "x.npz", x=real(program, edge_inputs(program)["x"]))
    with pytest.raises(CompileError, match="SFN414"):
        build(tmp_path / "nir" / "network.nir", tmp_path / "out", Options(targets=("sim",)), tmp_path / "x.npz")
    assert not (tmp_path / "out").exists()


# -- how files find their importer -------------------------------------------------------------------------------------
def test_the_checker_names_the_nodes_of_the_file(tmp_path):
    found = check(FOLDER / "norse_mlp.nir", Options(), targets=("sim",))
    assert found.exit_code == 0
    assert any(label.startswith("0_product") for label, _ in found.nodes)
    with pytest.raises(CompileError, match=r"SFN111 at 1.*leaks"):
        check(FOLDER / "norse_leaky.nir")


def test_a_broken_file_is_no_nir(tmp_path):
    (tmp_path / "net.nir").write_bytes(b"nothing")
    with pytest.raises(CompileError, match=r"SFN101.*cannot be read as a NIR network"):
        to_onnx(tmp_path / "net.nir", 31)


def test_an_ending_that_two_packages_claim_is_refused(monkeypatch):
    class Entry:
        name = "nir"

        def __init__(self, value):
            self.value = value

    monkeypatch.setattr(foreign, "entry_points", lambda group: [Entry("a:x"), Entry("b:y")])
    with pytest.raises(CompileError, match=r"SFN604.*several packages: a:x, b:y"):
        foreign.importer_of(Path("net.nir"))
    assert foreign.importer_of(Path("net.onnx")) is None


def test_an_importer_that_cannot_be_loaded_is_named(monkeypatch):
    class Entry:
        name, value = "nir", "gone:x"

        def load(self):
            raise ImportError("no module gone")

    monkeypatch.setattr(foreign, "entry_points", lambda group: [Entry()])
    with pytest.raises(CompileError, match=r"SFN604.*\.nir files cannot be loaded.*no module gone"):
        foreign.importer_of(Path("net.nir"))


def test_a_program_read_again_has_the_digest_of_the_first(tmp_path):
    """Reading is by reload: the Program is the one that was written."""
    program = emitted(PLAIN["residual"](), tmp_path / "nir")
    assert program_files.digest(NirBackend().reload(tmp_path / "nir")) == program_files.digest(program)
