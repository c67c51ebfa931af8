"""The report's numbers of time, counted anew from the integers; the page draws them."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.files import program_files
from sfn_compile.host.codec import encode_all
from sfn_compile.program.network import Conv
from sfn_compile.report.page.raster import raster
from sfn_compile.simulator.run import run_codes
from sfn_compile.simulator.run_clock import after_step

from ..commands.cli_helpers import MODELS, document, succeeds

DIGITS, CALIB = MODELS / "digits.onnx", MODELS / "digits_calib.npz"


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "out"
    asked = ("--levels", "8", "--no-reconstruct", "--timesteps", "4", "--burst", "2", "--samples", "64")
    succeeds("compile", DIGITS, "--calib", CALIB, *asked, "-o", out, "-q")
    return out


def test_the_rows_are_what_the_integers_say(build):
    found, program = document(build / "report.json")["time"], program_files.load(build)
    with np.load(CALIB) as data:
        x = data["image"] if "image" in data else data["x"]
    chosen = np.sort(np.random.default_rng(0).choice(len(x), 64, replace=False))[:16]
    values = run_codes(program, encode_all(program, {program.inputs[0].name: x[chosen]}))
    once = run_codes(program.at_once(), encode_all(program, {program.inputs[0].name: x[chosen]}))
    assert found["samples"] == 16
    for row in (r for r in found["layers"] if "spikes" in r):
        spikes = values[row["name"]]
        assert row["spikes"] == pytest.approx(np.abs(spikes).sum() / 16)
        assert row["events"] == pytest.approx((spikes != 0).sum() / 16)
        assert row["taken_back"] == pytest.approx(-spikes[spikes < 0].sum() / 16)
        off = (after_step(program, values, 4)[row["name"]] != once[row["name"]]).mean()
        assert row["differ_after_window"] == pytest.approx(off)
        assert row["differ_at_end"] == 0
        active = np.flatnonzero(np.abs(spikes).reshape(16, spikes.shape[1], -1).sum(axis=(0, 2)))
        assert row["quiet_after"] == active[-1] + 1
    assert 0 < found["totals"]["differ_after_window"] < 0.2


def test_synaptic_events_are_spikes_times_the_windows_that_read_them(build):
    program = program_files.load(build)
    row = next(r for r in document(build / "report.json")["time"]["layers"] if r["name"] == "relu_1")
    step = next(s for s in program.populations() if s.name == "relu_1")
    (projection,) = step.projections
    assert isinstance(projection.map, Conv)
    with np.load(CALIB) as data:
        x = data["image"] if "image" in data else data["x"]
    chosen = np.sort(np.random.default_rng(0).choice(len(x), 64, replace=False))[:16]
    spikes = run_codes(program, encode_all(program, {program.inputs[0].name: x[chosen]}))[projection.source]
    n, steps = spikes.shape[:2]
    ones = Conv(
        np.ones_like(projection.map.weight), projection.map.strides, projection.map.pads, projection.map.dilations
    )
    read = ones.apply((spikes != 0).reshape(n * steps, *spikes.shape[2:]).astype(np.int64)).sum() / n
    assert row["synapses_passed"]["events"] == pytest.approx(read)
    assert row["state_accesses"] == 2 * row["neurons"] * steps


def test_the_raster_has_the_spikes_of_the_first_sample(build):
    found = document(build / "report.json")["time"]["raster"]
    assert found["steps"] == program_files.load(build).clock.steps
    assert all(
        1 <= t <= found["steps"] and 0 <= i < layer["neurons"] and k
        for layer in found["layers"]
        for t, i, k in layer["units"]
    )
    drawn = raster(found)
    assert drawn.count("<rect") == sum(len(layer["units"]) for layer in found["layers"])
    assert 'id="time"' in (build / "report.html").read_text(encoding="utf-8")
