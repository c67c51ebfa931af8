"""Outputs that are decoded from several values, from the command line to the proof on every target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sfn_backends.lava import interpreter

from ..compiler.end_networks import CALIB, X, network
from ..frontend.tiny_onnx import by_onnxruntime, saved
from .cli_helpers import document, succeeds

TARGETS = ["sim", "onnx", "nir", *(["lava"] if interpreter.find()[0] is not None else [])]
# One output of every kind; a is read inside the network as well.
END = """
a = Concat <axis = 1> (h, g) m = MaxPool <kernel_shape = [2, 2]> (a) b = Resize <mode = "linear"> (m, empty, up)
y = Softmax <axis = 1> (b) p = Pad (g, pads, two) z = Sigmoid (p) q = GlobalMaxPool (a) s = Flatten (q) v = Conv (a, k)
"""
OUTPUTS = ("s", "y", "z", "v")


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    model = network(END, OUTPUTS)
    want = by_onnxruntime(model, X)["s"]
    np.savez(folder / "calib.npz", x=CALIB)
    np.savez(folder / "test.npz", x=X, labels=want.argmax(axis=1))
    path = saved(model, folder)
    succeeds("compile", path, "--calib", folder / "calib.npz", "--target", ",".join(TARGETS), "-o", folder / "out")
    return folder / "out"


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_computes_the_same_integers_and_outputs(target, build, tmp_path):
    succeeds("verify", build, "--on", target)
    proof = document(build / "proof.json")["targets"][target]
    assert (proof["proved"], proof["different"], proof["decoded"]["different"]) == (True, 0, 0)
    # 8 samples of s (8), y (8x8x8), z (4x8x7) and v (3x5x5)
    assert proof["decoded"]["compared"] == 8 * (8 + 8 * 8 * 8 + 4 * 8 * 7 + 3 * 5 * 5)
    found = []
    for name in ("sim", target):
        succeeds("run", build, "--input", build.parent / "test.npz", "--on", name, "-o", tmp_path / "y.npz")
        found.append(dict(np.load(tmp_path / "y.npz")))
    assert sorted(found[0]) == sorted(OUTPUTS)
    assert all(np.array_equal(found[0][k], found[1][k]) for k in OUTPUTS)


def test_eval_and_bisect_measure_every_output(build):
    succeeds("eval", build, "--data", build.parent / "test.npz")
    result = document(build / "eval.json")
    assert all(result["outputs"][name]["sqnr_db"] > 12 for name in OUTPUTS)  # about the mean of each element
    assert result["accuracy"]["float_top1"] == 1.0
    assert result["accuracy"]["snn_top1"] > 0.9
    succeeds("bisect", build, "--data", build.parent / "test.npz")
    layers = [row["name"] for row in document(build / "bisect.json")["layers"]]
    assert {"h/readout", "g/readout"} <= set(layers)
