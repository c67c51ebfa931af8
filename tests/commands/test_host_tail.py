"""Detectors on the command line: compiled with a host tail, run, measured, proved; nothing about it is silent."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sfn_compile.frontend.reference import FloatReference

from ..frontend.detectors import ssd, yolo
from ..frontend.tiny_onnx import noise, saved
from .cli_helpers import contents, document, refused, succeeds


def answers(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as npz:
        return dict(npz)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A folder with the detector's model, data and build, at 255 levels."""
    folder = tmp_path_factory.mktemp("detector")
    saved(yolo(), folder, "yolo.onnx")
    np.savez(folder / "d.npz", x=noise(128, 3, 8, 8))
    options = ("--levels", 255, "--target", "sim,lava", "-o", folder / "out")
    succeeds(folder / "yolo.onnx", "--calib", folder / "d.npz", *options)
    return folder


def test_the_build_says_what_runs_on_the_host(detector):
    report, manifest = document(detector / "out" / "report.json"), document(detector / "out" / "manifest.json")
    assert report["coverage"] == {"nodes": 20, "mapped": 4, "host": 16}
    assert report["host_tail"] == manifest["host_tail"]
    assert manifest["host_tail"]["cut"] == ["c"]
    assert manifest["host_tail"]["nodes"][0] == "flat (Reshape)"
    assert manifest["host_tail"]["outputs"] == {"scores": "stacked", "picked": "each", "chosen": "each"}
    assert "host_tail.onnx" in manifest["files"]
    assert (detector / "out" / "host_tail.onnx").stat().st_size < 8000


def test_the_terminal_says_it_in_one_line(detector, tmp_path):
    done = succeeds(detector / "yolo.onnx", "--calib", detector / "d.npz", "-o", tmp_path / "out")
    said = " ".join(done.stdout.split())
    assert "4 of 20 ONNX nodes mapped" in said
    assert "16 nodes run on the host (onnxruntime), cut at 'c': flat (Reshape), turn (Transpose), split (Split)" in said
    assert "SFN201" not in done.output


def test_check_shows_it_node_by_node(detector):
    done = succeeds("check", detector / "yolo.onnx", "--target", "sim")
    assert "host     nms (NonMaxSuppression)" in done.stdout
    assert "4 of 20 nodes can be mapped" in done.stdout
    assert "16 nodes run on the host" in done.stdout
    found = json.loads(succeeds("check", detector / "yolo.onnx", "--json").stdout)
    assert found["coverage"] == {"nodes": 20, "mapped": 4, "host": 16}
    assert found["host_tail"]["cut"] == ["c"]
    assert {n["state"] for n in found["nodes"]} == {"ok", "host"}


def test_run_stores_answers_of_one_shape_as_one_array_and_others_sample_by_sample(detector, tmp_path):
    succeeds("run", detector / "out", "--input", detector / "d.npz", "-o", tmp_path / "y.npz")
    got = answers(tmp_path / "y.npz")
    assert set(got) == {"scores", *(f"{name}/{i}" for name in ("picked", "chosen") for i in range(128))}
    assert got["scores"].shape == (128, 2, 16)
    rows = [len(got[f"picked/{i}"]) for i in range(128)]
    assert len(set(rows)) > 2  # as many as there are objects
    assert all(got[f"chosen/{i}"].shape == (1, n, 4) for i, n in enumerate(rows))
    assert got["picked/0"].dtype == np.int64


def test_what_is_run_is_close_to_the_float_model(detector, tmp_path):
    succeeds("run", detector / "out", "--input", detector / "d.npz", "-o", tmp_path / "y.npz")
    got, x = answers(tmp_path / "y.npz"), {"x": noise(128, 3, 8, 8)}
    want = FloatReference(detector / "yolo.onnx", ["x"], 1).run(x, ["picked", "chosen"])
    assert np.abs(got["scores"] - want["scores"]).max() < 0.02
    same = [i for i in range(128) if np.array_equal(got[f"picked/{i}"], want["picked"][i])]
    assert len(same) > 77  # a box more or less than a threshold, or two boxes in another order, is another answer
    for i in same:
        off, size = np.abs(got[f"chosen/{i}"] - want["chosen"][i]), np.abs(want["chosen"][i])
        assert off.max(initial=0) <= 0.05 * size.max(initial=0), i


def test_eval_compares_the_cut_and_the_outputs_where_their_shapes_agree(detector):
    succeeds("eval", detector / "out", "--data", detector / "d.npz")
    found = document(detector / "out" / "eval.json")
    assert set(found["cut"]) == {"c"}
    assert found["cut"]["c"]["sqnr_db"] > 35
    assert list(found["outputs"]) == ["chosen", "picked", "scores"]
    assert found["outputs"]["scores"]["sqnr_db"] > 34  # about the mean, which alone is 6 dB of these sigmoids
    assert set(found["outputs"]["picked"]) == {"agreement", "same_shape"}
    assert 0.6 < found["outputs"]["picked"]["agreement"] <= found["outputs"]["picked"]["same_shape"] <= 1
    chosen = found["outputs"]["chosen"]
    assert set(chosen) == {"agreement", "same_shape", "sqnr_db", "max_error", "reasons"}
    assert chosen["agreement"] is None  # boxes, as many as there are objects
    assert set(chosen["reasons"]) == {"agreement"}


def test_eval_prints_both(detector):
    said = " ".join(succeeds("eval", detector / "out", "--data", detector / "d.npz").stdout.split())
    assert "value at the cut c: agreement not given (a sample of it is no single row of scores)" in said
    assert "output picked: the same in" in said
    assert "have the same shape" in said


def test_labels_are_refused_where_the_first_output_is_no_class(detector, tmp_path):
    np.savez(tmp_path / "d.npz", x=noise(8, 3, 8, 8), labels=np.full(8, 40))
    assert "output 'scores' is (2, 16) per sample" in refused(
        "SFN307", 3, "eval", detector / "out", "--data", tmp_path / "d.npz"
    )


def test_the_proof_ends_at_the_cut_and_holds_in_lava(detector, tmp_path):
    from sfn_compile.targets import backend

    targets = ["sim"] if backend.load("lava").available() else ["sim", "lava"]
    succeeds("verify", detector / "out", "--on", ",".join(targets), "--samples", 2)
    proof = document(detector / "out" / "proof.json")["targets"]
    assert {name: proof[name]["different"] for name in targets} == dict.fromkeys(targets, 0)
    if "lava" in targets:
        np.savez(tmp_path / "x.npz", x=noise(3, 3, 8, 8))
        for on in targets:
            succeeds("run", detector / "out", "--input", tmp_path / "x.npz", "-o", tmp_path / f"{on}.npz", "--on", on)
        sim, lava = (answers(tmp_path / f"{on}.npz") for on in targets)
        assert all(np.array_equal(sim[k], lava[k]) for k in sim)


def test_a_tail_that_was_changed_is_not_run(detector, tmp_path):
    succeeds(detector / "yolo.onnx", "--calib", detector / "d.npz", "-o", tmp_path / "out")
    file = tmp_path / "out" / "host_tail.onnx"
    file.write_bytes(file.read_bytes() + b"\0")
    for command in (("run", tmp_path / "out", "--input", detector / "d.npz", "-o", tmp_path / "y.npz"),
                    ("eval", tmp_path / "out", "--data", detector / "d.npz")):  # fmt: skip
        assert "host_tail.onnx is not the file that compile wrote" in refused("SFN503", 3, *command)
    file.unlink()
    refused("SFN503", 3, "run", tmp_path / "out", "--input", detector / "d.npz", "-o", tmp_path / "y.npz")


def test_the_same_detector_compiles_to_the_same_bytes(detector, tmp_path):
    for name in "ab":
        succeeds(detector / "yolo.onnx", "--calib", detector / "d.npz", "-o", tmp_path / name)
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert {k for k in a if a[k] != b[k]} == {"timing.json"}


@pytest.mark.parametrize("batch", [1, "N"])
def test_top_k_and_gather_nd_answer_in_one_array(batch, tmp_path):
    path = saved(ssd(batch), tmp_path)
    np.savez(tmp_path / "d.npz", x=noise(100, 3, 8, 8))
    succeeds(path, "--calib", tmp_path / "d.npz", "-o", tmp_path / "out", "--levels", 255)
    succeeds("run", tmp_path / "out", "--input", tmp_path / "d.npz", "-o", tmp_path / "y.npz")
    got = answers(tmp_path / "y.npz")
    shapes = {"best": (100, 3), "chosen": (100, 3, 4), "labels": (100, 16), "r": (100, 8, 8, 8)}
    assert {k: v.shape for k, v in got.items()} == shapes
    want = FloatReference(path, ["x"], 1).run({"x": noise(100, 3, 8, 8)})
    assert np.abs(got["best"] - want["best"]).max() < 0.02
    assert (got["labels"] == want["labels"]).mean() > 0.95


def test_accuracy_is_that_of_the_first_output_behind_the_tail(tmp_path):
    """Labels name the best of three scores that the host picked."""
    from ..frontend.tiny_onnx import ints, tiny

    body = "a = Conv(x, w) r = Relu(a) f = Flatten(r) s = Gemm(f, g) y, i = TopK<axis=1, sorted=0>(s, k) z = Exp(y)"
    model = tiny(body, x=(3, 6, 6), outputs=("z",), w=noise(4, 3, 3, 3), g=noise(64, 3), k=ints(3))
    path = saved(model, tmp_path)
    x = noise(128, 3, 6, 6)
    labels = FloatReference(path, ["x"], 1).run({"x": x})["z"].argmax(axis=1)
    np.savez(tmp_path / "d.npz", x=x, labels=labels)
    options = ("--levels", 255, "--require-accuracy-drop", 20)
    succeeds(path, "--calib", tmp_path / "d.npz", "-o", tmp_path / "out", *options)
    assert document(tmp_path / "out" / "report.json")["accuracy"]["float_top1"] == 1.0
