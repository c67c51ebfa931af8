"""`sfnc bisect` on networks of which one layer was broken on purpose: it names that layer, the cause and the option."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from sfn_compile.commands.bisect import _first
from sfn_compile.files import build_folder

from .cli_helpers import CALIB, DIGITS, TEST, document, refused, reseal, sfnc, succeeds


def broken(tmp_path, *options, calib=CALIB):
    """The document of a bisection of the demo network, compiled with some options."""
    succeeds(DIGITS, "--calib", calib, "--samples", 150, "-o", tmp_path / "o", "--quiet", *options)
    done = sfnc("bisect", tmp_path / "o", "--data", TEST, "--json")
    assert done.exit_code == 1, done.output
    found = json.loads(done.stdout)
    assert found == document(tmp_path / "o" / "bisect.json")
    assert found["within"] is False
    return found


def test_a_sound_network_stays_within(out):
    found = json.loads(succeeds("bisect", out, "--data", TEST, "--json").stdout)
    assert found["within"] is True
    assert found["layer"] is None
    assert found["output_db"] > 20
    assert found["warnings"] == []
    assert [r["name"] for r in found["layers"]] == ["div", "relu", "relu_1", "relu_2", "relu_3", "relu_4", "logits"]


@pytest.mark.parametrize("name", ["relu", "relu_2", "relu_4"])
@pytest.mark.parametrize(
    ("setting", "cause", "option"),
    [
        ("levels=1", "levels", "levels=7 (it has 1)"),
        ("stretch=0.05", "saturation", "stretch="),
        ("stretch=30", "step", "stretch="),
        ("weight-bits=2", "weights", "weight-bits=8 (it has 2)"),
    ],
)
def test_the_layer_that_was_broken_is_named_with_cause_and_option(name, setting, cause, option, tmp_path):
    found = broken(tmp_path, "--site", f"{name}:{setting}", "--samples", 400)
    assert (found["layer"], found["cause"]) == (name, cause)
    assert found["try"][0].startswith(f"--site {name}:{option}")


@pytest.mark.parametrize(
    ("setting", "least"), [("stretch=0.05", 20), ("stretch=30", 20), ("weight-bits=2", 20), ("levels=1", 10)]
)
def test_the_option_that_it_names_mends_the_network(setting, least, tmp_path):
    found = broken(tmp_path, "--site", f"relu_2:{setting}")
    site = found["try"][0].split()[1]
    assert site.startswith("relu_2:")
    succeeds(DIGITS, "--calib", CALIB, "--samples", 150, "-o", tmp_path / "o", "--quiet", "--site", site)
    again = json.loads(succeeds("bisect", tmp_path / "o", "--data", TEST, "--limit", least, "--json").stdout)
    assert again["output_db"] > found["output_db"] + 5


def test_of_two_broken_layers_the_first_is_named(tmp_path):
    found = broken(tmp_path, "--site", "relu_1:weight-bits=2", "--site", "relu_3:levels=1")
    assert found["layer"] == "relu_1"


def test_where_no_layer_is_alone_the_levels_of_all_are_said(tmp_path):
    found = broken(tmp_path, "--levels", "5", "--no-reconstruct")
    assert found["cause"] == "accumulated"
    assert found["try"][0] == "--levels 23 (it is 5)"


def test_calibration_data_ten_times_too_small_is_the_cause(tmp_path):
    data = dict(np.load(CALIB))
    np.savez(tmp_path / "small.npz", image=(data["image"] / 10).astype(np.float32))
    found = broken(tmp_path, calib=tmp_path / "small.npz")
    assert (found["layer"], found["cause"]) == ("div", "data")
    assert found["parts"]["beyond"] > 0.2
    assert "SFN311" in {w["code"] for w in found["warnings"]}
    assert "prepared like these" in found["try"][0]


def test_few_calibration_samples_are_named_beside(tmp_path):
    found = broken(tmp_path, "--site", "relu_2:levels=1", "--samples", "20")
    assert found["layer"] == "relu_2"
    assert "calibrate on more than 20 samples" in found["try"][-1]


def test_the_answer_is_a_diagnostic_and_a_table(tmp_path):
    succeeds(DIGITS, "--calib", CALIB, "--samples", 150, "-o", tmp_path / "o", "-q", "--site", "relu_2:levels=1")
    done = sfnc("bisect", tmp_path / "o", "--data", TEST)
    assert done.exit_code == 1
    assert "SFN504 at layer 'relu_2' (block1.second.conv/Conv (Conv))" in done.stderr
    assert "--site relu_2:levels=7" in done.stderr
    assert "» relu_2" in done.stdout
    assert sfnc("bisect", tmp_path / "o", "--data", TEST, "--quiet").stdout == ""


def test_the_limit_decides(out):
    assert sfnc("bisect", out, "--data", TEST, "--limit", 60, "--quiet").exit_code == 1
    assert sfnc("bisect", out, "--data", TEST, "--limit", 5, "--quiet").exit_code == 0
    refused("SFN605", 2, "bisect", out, "--data", TEST, "--limit", "nan")


def test_a_build_whose_model_was_changed_is_refused(out):
    shutil.copy(DIGITS.with_name("fashion_vit.onnx"), out / "model.onnx")
    refused("SFN503", 3, "bisect", out, "--data", TEST)
    reseal(out)
    refused("SFN505", 3, "bisect", out, "--data", TEST)


def test_a_build_whose_scales_were_changed_is_refused(out):
    manifest, _ = build_folder.open_build(out)
    build_folder.save_scales(out, {k: 2 * v for k, v in build_folder.load_scales(out, manifest).items()})
    refused("SFN503", 3, "bisect", out, "--data", TEST)


# -- the search alone ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [1, 2, 3, 10, 37])
def test_a_jump_is_found_wherever_it_is(n):
    for at in range(1, n + 1):
        steps = [0.0] + [1.0 if k == at else 1e-4 for k in range(1, n + 1)]
        assert _first(lambda k, steps=steps: sum(steps[: k + 1]), n, 0.5) == (at, True)


def test_a_jump_just_below_the_limit_is_found_behind_it():
    noise = [0.0, 0.01, 0.02, 0.46, 0.47, 0.49, 0.52, 0.53]
    assert _first(noise.__getitem__, 7, 0.5) == (3, True)


def test_an_even_rise_is_no_jump():
    assert _first(lambda k: 0.1 * k, 10, 0.55) == (6, False)


def test_a_bisection_looks_at_few_layers():
    asked = set()

    def noise(k):
        asked.add(k)
        return 1.0 if k >= 611 else 0.0

    assert _first(noise, 1000, 0.5) == (611, True)
    assert len(asked) <= 12
