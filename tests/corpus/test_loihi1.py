"""Trained networks in nengo-loihi's emulator of Loihi 1: an MLP, and a LeNet-sized CNN with two max pools."""

from __future__ import annotations

import pytest
from sfn_backends.loihi1 import interpreter

from sfn_compile.commands.verify import verify
from tests.commands.cli_helpers import document, succeeds

from . import corpus_data

PYTHON, PROBLEM = interpreter.find()
pytestmark = [
    pytest.mark.skipif(not corpus_data.present(), reason=corpus_data.MISSING),
    pytest.mark.skipif(PYTHON is None, reason=f"nengo-loihi: {PROBLEM}. {interpreter.INSTALL}"),
]
FEW = ("--levels", 3, "--input-levels", 15, "--acc-bits", 16, "--no-reconstruct", "--quiet")


@pytest.mark.parametrize(("name", "samples", "layers"), [("mnist_mlp_256x2", 40, 3), ("mnist8_cntk", 4, 5)])
def test_no_integer_of_any_layer_differs(name, samples, layers, tmp_path):
    calib = corpus_data.write_npz(tmp_path / "calib.npz", name, "train", 256, 0)
    test = corpus_data.write_npz(tmp_path / "test.npz", name, "test", samples, 1)
    succeeds(
        "compile", corpus_data.model_path(name), "--calib", calib, "--target", "loihi1", *FEW, "-o", tmp_path / "out"
    )
    found = verify(tmp_path / "out", test, samples).document["targets"]["loihi1"]
    assert (found["samples"], found["different"], found["layers"]) == (samples, 0, layers)
    cores = {
        s[0] for p in document(tmp_path / "out" / "targets.json")["targets"]["loihi1"]["placement"] for s in p["shards"]
    }
    assert 1 < len(cores) <= 128
