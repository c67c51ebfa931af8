"""A compiled network in Python: what it is called with, what it gives, what it says of itself."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import sfn_compile
from sfn_compile.commands.running import run_build
from sfn_compile.foundation.diagnostics import CompileError

from ..commands.cli_helpers import CALIB, DIGITS, TEST, contents
from ..frontend.tiny_onnx import noise, saved, tiny
from ..torch_python import ROOT, run_with_torch


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.load(TEST)["image"]


@pytest.fixture(scope="module")
def net(made):
    return sfn_compile.load(made)


def test_a_call_gives_what_run_writes(net, made, x, tmp_path):
    np.savez(tmp_path / "x.npz", image=x[:9])
    assert np.array_equal(net(x[:9]), run_build(made, tmp_path / "x.npz")["logits"])
    codes, written = net.codes(x[:9]), run_build(made, tmp_path / "x.npz", codes=True)
    assert codes.keys() == written.keys()
    assert all(np.array_equal(codes[name], written[name]) for name in codes)
    assert np.array_equal(net({"image": x[:9]}), net(x[:9]))
    assert net(x[:9]).dtype == np.float32


def test_layers_are_found_by_population_and_by_node(net, x):
    codes = net.codes(x[:3])
    assert set(net.layers) <= set(codes)
    for layer in net.layers.values():
        assert np.array_equal(layer.codes(x[:3]), codes[layer.name])
        assert layer.codes(x[:3]).shape == (3, *layer.shape)
    relu = net.layers["relu_2"]
    assert net.layers["block1/Add"] is relu
    assert (relu.lo, relu.hi) == (0, 31)
    assert relu.step.name == "relu_2"
    assert net.layers["div"].step is None
    with pytest.raises(KeyError, match=r"'relu_2'\?"):
        net.layers["reluu_2"]
    assert repr(relu).startswith("<layer 'relu_2': 16x8x8, codes 0..31, from block1.second.conv/Conv (Conv)")


def test_values_are_what_the_integers_stand_for(net, x):
    """The last layer has no host function behind it, so its real numbers are the model's outputs."""
    assert np.array_equal(net.layers["logits"].values(x[:5]).astype(np.float32), net(x[:5]))


def test_it_says_of_itself_what_matters_in_a_line(net):
    assert repr(net).startswith("<sfnc network 'digits': image 1x8x8 -> logits, 7 layers, targets sim, in ")
    assert "\n" not in repr(net)
    assert net.inputs[0].shape == (1, 8, 8)
    assert net.outputs == ("logits",)
    assert net.targets == ("sim",)
    text = net.summary()
    assert all(name in text for name in net.layers)
    assert "3,594 neurons" in text
    html = net._repr_html_()
    assert html.count("<tr>") == len(net.layers) + 1
    assert "&lt;sfnc network" in html


def test_verify_evaluate_and_bisect_take_the_options_of_their_commands(net, x):
    labels = np.load(TEST)["labels"]
    proof = net.verify((x, labels), samples=3, on="sim", engine="reference")
    assert proof
    assert proof.proved
    assert repr(proof).startswith("<proved: sim 0 of ")
    found = net.evaluate((x, labels), samples=50, threads=1, max_drop=50)
    assert found["accuracy"]["n"] == 50
    assert found["gates"][0]["passed"]
    assert net.bisect(x, samples=4, limit=0).document["within"]
    with pytest.raises(CompileError, match="SFN502"):
        net.evaluate((x, labels), samples=50, max_drop=-100)
    for call in (net.verify, net.evaluate, net.bisect):
        with pytest.raises(CompileError, match="no option 'levles'"):
            call(x, levles=3)


@pytest.mark.parametrize(
    ("given", "code"), [(np.zeros((2, 8, 8)), "SFN303"), ({"picture": np.zeros((1, 1, 8, 8))}, "SFN302"),
                        (np.full((1, 1, 8, 8), np.nan), "SFN305"), (np.array(["a"]), "SFN303")]
)  # fmt: skip
def test_a_call_with_something_else_is_refused(net, given, code):
    with pytest.raises(CompileError, match=code):
        net(given)


def test_a_build_without_a_place_lives_as_long_as_its_network(tmp_path, x):
    net = sfn_compile.compile(DIGITS, calib=(x[:40],))
    folder = net.folder
    assert net.is_temporary
    assert "save(out) keeps it" in repr(net)
    kept = net.save(tmp_path / "kept")
    assert contents(kept.folder) == contents(folder)
    assert not kept.is_temporary
    want = net(x[:3])
    del net
    gc.collect()
    assert not folder.exists()
    assert np.array_equal(kept(x[:3]), want)
    assert kept.verify()


def test_save_replaces_builds_only(net, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not lose me")
    with pytest.raises(CompileError, match="SFN503"):
        net.save(tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_model_in_memory_is_that_of_its_file(tmp_path, x):
    held, file = (sfn_compile.compile(m, calib=x[:40]) for m in (onnx.load(DIGITS), DIGITS))
    assert np.array_equal(held(x[:20]), file(x[:20]))
    assert [i.name for i in held.inputs] == ["image"]


def test_a_failed_compilation_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = saved(tiny("y = Gemm(x, k)", (3,), k=noise(3, 2)), tmp_path, "m.onnx")
    with pytest.raises(CompileError, match="SFN303"):
        sfn_compile.compile(model, calib=np.zeros((2, 4)))
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("model", [3, None, np.zeros(3)])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(CompileError, match="is no model"):
        sfn_compile.compile(model)


def test_an_example_beside_a_file_is_refused():
    with pytest.raises(CompileError, match="leave `example` out"):
        sfn_compile.compile(DIGITS, example=np.zeros((1, 1, 8, 8)))


def test_torch_is_not_imported_without_a_module():
    code = (
        "import sys, sfn_compile; net = sfn_compile.compile(sys.argv[1], calib=sys.argv[2], samples=20);"
        "net(net.inputs and __import__('numpy').zeros((1, 1, 8, 8), 'float32')); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(DIGITS), str(CALIB)], check=True, cwd=ROOT)


def test_modules_of_torch(tmp_path):
    assert "all of torch_models.py holds" in run_with_torch(Path(__file__).with_name("torch_models.py"), tmp_path)
