"""A model with a spectrogram in front, on the command line: compiled with a host head, run, measured, proved."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnxruntime as ort
import pytest

from sfn_compile.files.build_folder import load_golden
from sfn_compile.frontend.reference import FloatReference

from ..frontend.host_heads import own_range, spectrogram, with_two_ends
from ..frontend.tiny_onnx import noise, saved
from .cli_helpers import document, refused, reseal, sfnc, succeeds


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    """A folder with the model, data and the build, at 255 levels."""
    folder = tmp_path_factory.mktemp("audio")
    saved(spectrogram(), folder, "words.onnx")
    np.savez(folder / "d.npz", x=noise(96, 512), labels=np.arange(96) % 4)
    options = ("--levels", 255, "--target", "sim,onnx", "-o", folder / "out")
    succeeds(folder / "words.onnx", "--calib", folder / "d.npz", *options)
    return folder


@pytest.fixture
def copy(audio, tmp_path):
    """A build of one's own."""
    return shutil.copytree(audio / "out", tmp_path / "copy")


def test_the_build_says_what_runs_on_the_host_and_what_it_costs(audio):
    report, manifest = document(audio / "out" / "report.json"), document(audio / "out" / "manifest.json")
    assert report["coverage"] == {"nodes": 13, "mapped": 7, "host": 6}
    assert report["host_head"] == manifest["host_head"]
    assert manifest["host_head"]["nodes"][0] == "s (STFT)"
    assert manifest["host_head"]["cut"] == [{"name": "l", "shape": [15, 8], "dtype": "float32"}]
    assert (manifest["host_head"]["inputs"], manifest["host_head"]["batch"]) == (["x"], 1)
    assert manifest["host_head"]["macs"] == 130_680
    assert "host_head.onnx" in manifest["files"]


def test_the_terminal_and_check_say_it_in_one_line(audio, tmp_path):
    model, said = audio / "words.onnx", "6 nodes run on the host before the network, up to 'l' (130,680 multiply-"
    done = succeeds(model, "--calib", audio / "d.npz", "-o", tmp_path / "out")
    assert said in " ".join(done.stdout.split())
    done = succeeds("check", model, "--target", "sim,nir", "--nir-form", "sar")
    assert said in done.stdout
    assert "host     s (STFT)" in done.stdout
    assert "7 of 13 nodes can be mapped" in done.stdout
    assert json.loads(succeeds("check", model, "--json").stdout)["host_head"]["cut"][0]["name"] == "l"


def test_anybody_can_run_the_head_and_gets_what_the_golden_integers_were_made_of(audio):
    x, _ = load_golden(audio / "out")
    session = ort.InferenceSession(audio / "out" / "host_head.onnx")
    (made,) = session.run(["l"], {"x": x["x"][:1]})
    assert np.allclose(made, x["l"][:1], rtol=0, atol=1e-5)


def test_what_is_run_is_close_to_the_float_model(audio, tmp_path):
    want = FloatReference(audio / "words.onnx", ["x"], None).run({"x": noise(96, 512)})["y"]
    for on in ("sim", "onnx"):
        succeeds("run", audio / "out", "--input", audio / "d.npz", "--on", on, "-o", tmp_path / f"{on}.npz")
        with np.load(tmp_path / f"{on}.npz") as npz:
            got = npz["y"]
        assert np.abs(got - want).max() < 0.01 * np.abs(want).max()


@pytest.mark.parametrize("more", [(), ("--workers", 2)])
def test_eval_runs_the_head_piece_by_piece(more, audio):
    succeeds("eval", audio / "out", "--data", audio / "d.npz", *more)
    found = document(audio / "out" / "eval.json")
    assert found["outputs"]["y"]["sqnr_db"] > 34  # about the mean: 5 dB of the squares are the same in all samples
    assert found["warnings"] == []
    assert found["accuracy"]["float_top1"] == pytest.approx(found["accuracy"]["snn_top1"], abs=0.05)


def test_every_target_is_proved_on_golden_and_on_other_samples(audio):
    for data in ((), ("--data", audio / "d.npz", "--samples", 3)):
        succeeds("verify", audio / "out", *data)
        assert document(audio / "out" / "proof.json")["proved"]


def test_bisect_finds_the_same_network_again(audio):
    succeeds("bisect", audio / "out", "--data", audio / "d.npz", "--limit", 10)
    assert document(audio / "out" / "bisect.json")["output_db"] > 34  # about the mean, as eval's


def test_a_changed_head_is_used_by_nothing(copy, audio):
    with (copy / "host_head.onnx").open("ab") as file:
        file.write(b"\n")
    data = audio / "d.npz"
    for command in (("run", copy, "--input", data, "-o", copy / "y.npz"), ("eval", copy, "--data", data),
                    ("bisect", copy, "--data", data), ("verify", copy, "--data", data)):  # fmt: skip
        done = sfnc(*command)
        assert "host_head.onnx is not the file that compile wrote" in done.output or "SFN506" in done.output
        assert done.exit_code in (1, 3)
    assert "host_head.onnx" in refused("SFN506", 1, "verify", copy)


def test_a_manifest_that_tells_of_another_head_is_seen(copy, audio):
    head = document(copy / "manifest.json")["host_head"]
    reseal(copy, host_head={**head, "nodes": []})
    assert "other host_head" in refused("SFN506", 1, "verify", copy)
    reseal(copy, host_head={**head, "cut": [{**head["cut"][0], "shape": [8, 15]}]})
    refused("SFN503", 3, "run", copy, "--input", audio / "d.npz", "-o", copy / "y.npz")


def test_head_and_tail_together(tmp_path):
    saved(with_two_ends(), tmp_path, "m.onnx")
    np.savez(tmp_path / "d.npz", x=noise(64, 1, 8, 8))
    succeeds(tmp_path / "m.onnx", "--calib", tmp_path / "d.npz", "-o", tmp_path / "out")
    succeeds("verify", tmp_path / "out")
    succeeds("eval", tmp_path / "out", "--data", tmp_path / "d.npz")
    found = document(tmp_path / "out" / "eval.json")
    assert found["outputs"]["y"]["sqnr_db"] > 25
    assert set(found["cut"]) == {"z"}


def test_start_and_end_as_the_user_names_them(tmp_path):
    saved(own_range(), tmp_path, "m.onnx")
    np.savez(tmp_path / "d.npz", x=noise(64, 1, 8, 8))
    names = ("--from", "seen", "--to", "p")
    succeeds(tmp_path / "m.onnx", "--calib", tmp_path / "d.npz", *names, "-o", tmp_path / "out")
    manifest = document(tmp_path / "out" / "manifest.json")
    assert (manifest["options"]["start"], manifest["options"]["end"]) == (["seen"], ["p"])
    assert manifest["host_tail"]["nodes"] == ["f (Flatten)", "y (Gemm)"]
    for command in (("verify", tmp_path / "out"), ("eval", tmp_path / "out", "--data", tmp_path / "d.npz"),
                    ("bisect", tmp_path / "out", "--data", tmp_path / "d.npz")):  # fmt: skip
        succeeds(*command)
    assert document(tmp_path / "out" / "eval.json")["outputs"]["y"]["sqnr_db"] > 25
    assert "near: 'seen'" in refused("SFN605", 2, "check", tmp_path / "m.onnx", "--from", "see")
