"""Recordings of an event camera, frame after frame: settled counts are the codes of their sum, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sfn_compile.data.given import Asked
from sfn_compile.data.sources import data_of_build, open_data
from sfn_compile.files import build_folder, program_files
from sfn_compile.host.codec import encode_all
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets import backend

from ..commands.cli_helpers import MODELS, document, succeeds
from .recordings import different, frames_of, shown

NMNIST, CALIB, TEST = MODELS / "nmnist.onnx", MODELS / "nmnist" / "calib.npz", MODELS / "nmnist" / "test.npz"
T = 5


def compiled(out: Path, *options: str) -> Path:
    succeeds("compile", NMNIST, "--calib", CALIB, *options, "-o", out, "-q")
    return out


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("nmnist")


@pytest.fixture(scope="module")
def at_once(place) -> Path:
    return compiled(place / "once")


@pytest.fixture(scope="module")
def over_time(place) -> Path:
    return compiled(place / "time", "--timesteps", str(T), "--input-coding", "frames", "--target", "sim,onnx")


@pytest.mark.parametrize("options", [(), ("--bins", "count", "--burst", "4")], ids=" ".join)
def test_settled_counts_of_every_recording_are_the_codes_of_its_sum(options, at_once, over_time, tmp_path):
    out = over_time
    if options:
        out = compiled(tmp_path / "out", "--timesteps", str(T), "--input-coding", "frames", *options)
    for recordings in (CALIB, TEST):
        program, spikes, labels = shown(out, recordings)
        _, codes, _ = shown(at_once, recordings)
        assert spikes["div"].shape == (20, T, 2, 34, 34)
        assert different(program, spikes, codes) == 0
        last = [spikes[p.name][:, -1] for p in program.clock.paces if p.most]
        assert not any(step.any() for step in last)  # the step without a spike that proves it
        answers = (spikes["logits"].argmax(axis=2) == labels[:, None]).mean(axis=0)
        assert answers[-1] >= 0.85  # of 20; float: 0.9 of those that it has not seen
        assert answers[0] >= 0.5  # of a fifth of the recording


def test_neurons_that_take_nothing_back_do_not_get_there(at_once, tmp_path):
    out = compiled(tmp_path / "out", "--timesteps", "16", "--input-coding", "frames", "--neuron", "burst")
    program, spikes, _ = shown(out, TEST)
    _, codes, _ = shown(at_once, TEST)
    assert different(program, spikes, codes) > 100_000


def test_frames_that_somebody_cut_himself_are_the_same_samples(over_time, tmp_path):
    data = data_of_build(TEST, build_folder.open_build(over_time)[0])
    np.savez(tmp_path / "frames.npz", events=frames_of(data), labels=data.labels)
    succeeds("eval", over_time, "--data", TEST, "-q")
    ours = document(over_time / "eval.json")
    succeeds("eval", over_time, "--data", tmp_path / "frames.npz", "-q")
    theirs = document(over_time / "eval.json")
    assert ours["accuracy"] == theirs["accuracy"]
    assert ours["outputs"] == theirs["outputs"]
    assert ours["accuracy"]["float_top1"] == 0.9  # of the sums


def test_every_target_computes_every_spike_of_recordings(over_time):
    succeeds("verify", over_time, "--data", TEST, "--samples", "4", "-q")
    proof = document(over_time / "proof.json")
    assert proof["proved"]
    assert {name: row["different"] for name, row in proof["targets"].items()} == {"sim": 0, "onnx": 0}


def test_what_is_held_back_of_a_recording_changes_nothing_before(over_time):
    """The first steps do not depend on later frames: what an early answer and a stream rest on."""
    program = program_files.load(over_time)
    inputs = build_folder.sample_inputs(build_folder.open_build(over_time)[0])
    x = frames_of(open_data(TEST, Asked(list(inputs))))[:4].copy()
    whole = run_codes(program, encode_all(program, {"events": x}))["logits"]
    x[:, 3:] = 0
    assert np.array_equal(run_codes(program, encode_all(program, {"events": x}))["logits"][:, :3], whole[:, :3])


@pytest.mark.slow
def test_lava_computes_every_spike_of_recordings(tmp_path):
    if (why := backend.load("lava").available()) is not None:
        pytest.skip(f"target lava: {why}")
    options = ("--timesteps", str(T), "--input-coding", "frames", "--target", "lava")
    out = compiled(tmp_path / "out", *options)
    succeeds("verify", out, "--data", TEST, "--samples", "2", "-q")
    (row,) = document(out / "proof.json")["targets"].values()
    assert row["different"] == 0
    assert row["samples"] == 2
