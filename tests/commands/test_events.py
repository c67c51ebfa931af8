"""The shipped network of an event camera: recordings in, proved integers out, the binning remembered by the build."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sfn_compile.targets import backend

from ..data.event_files import save
from .cli_helpers import MODELS, document, refused, succeeds

NMNIST, CALIB, TEST = MODELS / "nmnist.onnx", MODELS / "nmnist" / "calib.npz", MODELS / "nmnist" / "test.npz"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The network at one timestep, on summed events."""
    out = tmp_path_factory.mktemp("nmnist") / "out"
    succeeds("compile", NMNIST, "--calib", CALIB, "--target", "sim,onnx", "-o", out, "-q")
    return out


def counts(path: Path, share: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The events of every recording summed up, by NumPy alone, of its first part in time; and the labels."""
    with np.load(path) as data:
        found = np.zeros((len(data["labels"]), 2, 34, 34), np.float32)
        x, y, on, t = (data[name].astype(np.int64) for name in ("x", "y", "polarity", "t_us"))
        for i, (start, stop) in enumerate(zip(data["offsets"], data["offsets"][1:], strict=False)):
            of = slice(start, start + np.searchsorted(t[start:stop], t[start] + share * 1e6))
            np.add.at(found[i], (on[of], y[of], x[of]), 1)
        return found, data["labels"]


def test_codes_of_the_input_are_the_counts(built, tmp_path):
    succeeds("run", built, "--input", TEST, "-o", tmp_path / "codes.npz", "--codes", "-q")
    with np.load(tmp_path / "codes.npz") as codes:
        (held,) = [codes[name] for name in codes.files if codes[name].shape[1:] == (2, 34, 34)]
        assert np.array_equal(held, counts(TEST)[0])


def test_it_is_right_on_recordings_that_it_has_not_seen(built):
    succeeds("eval", built, "--data", TEST, "-q")
    found = document(built / "eval.json")
    assert found["accuracy"]["float_top1"] == 0.9
    assert found["accuracy"]["snn_top1"] >= 0.85  # one recording is 5 points
    assert found["data"]["samples"] == 20


def test_recordings_and_their_sums_are_the_same_samples(built, tmp_path):
    x, labels = counts(TEST)
    np.savez(tmp_path / "sums.npz", events=x, labels=labels)
    for name, data in (("a", TEST), ("b", tmp_path / "sums.npz")):
        succeeds("run", built, "--input", data, "-o", tmp_path / f"{name}.npz", "-q")
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert np.array_equal(a["logits"], b["logits"])


def test_every_target_computes_the_same_integers_of_recordings(built):
    succeeds("verify", built, "--data", TEST, "--samples", "4", "-q")
    proof = document(built / "proof.json")
    assert proof["proved"]
    assert {name: row["different"] for name, row in proof["targets"].items()} == {"sim": 0, "onnx": 0}


def test_a_build_remembers_how_its_recordings_were_cut(tmp_path):
    out = tmp_path / "out"
    succeeds("compile", NMNIST, "--calib", CALIB, "--window", "150", "--bins", "count", "-o", out, "-q")
    said = document(out / "manifest.json")["calibration"]["prepared"]
    assert said == {"kind": "events", "bins": "count", "frames": 1, "window": 150.0, "sensor": None}
    x, labels = counts(TEST, 0.15)
    np.savez(tmp_path / "sums.npz", events=x, labels=labels)
    found = []
    for data in (("--data", TEST), ("--data", tmp_path / "sums.npz"), ("--data", TEST, "--window", "1000")):
        succeeds("eval", out, *data, "-q")
        found.append(document(out / "eval.json"))
    short, sums, whole = (f["outputs"] for f in found)
    assert short == sums != whole
    succeeds("bisect", out, "--data", TEST, "--limit", "0", "-q")


@pytest.mark.slow
def test_lava_computes_the_same_integers_of_recordings(tmp_path):
    if (why := backend.load("lava").available()) is not None:
        pytest.skip(f"target lava: {why}")
    succeeds("compile", NMNIST, "--calib", CALIB, "--target", "lava", "-o", tmp_path / "out", "-q")
    succeeds("verify", tmp_path / "out", "--data", TEST, "--samples", "2", "-q")
    (row,) = document(tmp_path / "out" / "proof.json")["targets"].values()
    assert (row["different"], row["samples"]) == (0, 2)


def test_a_damaged_recording_ends_the_command_and_is_named(built, tmp_path):
    with np.load(TEST) as data:
        made = {name: data[name][:5000] for name in ("x", "y", "polarity", "t_us")}
    save(tmp_path / "d" / "0" / "a.npz", made)
    save(tmp_path / "d" / "1" / "b.npz", {**made, "t_us": made["t_us"][::-1]})
    said = refused("SFN317", 3, "eval", built, "--data", tmp_path / "d")
    assert f"{Path('1') / 'b.npz'}" in said


def test_options_of_events_without_events_are_refused(tmp_path):
    said = refused("SFN605", 2, "compile", NMNIST, "--window", "3", "-o", tmp_path / "out")
    assert "--window without --calib" in said
    said = refused("SFN605", 2, "compile", NMNIST, "--calib", CALIB, "--sensor", "34", "-o", tmp_path / "out")
    assert "--sensor 260x346" in said
