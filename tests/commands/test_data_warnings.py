"""Warnings of data: constant at calibration, unlike it later; none for the other half of the same data."""

from __future__ import annotations

import json

import numpy as np
import pytest

from .cli_helpers import CALIB, DIGITS, TEST, document, refused, sfnc, succeeds


def evaluated(out, tmp_path, change) -> list[str]:
    """The codes of the warnings of `eval` on changed test data."""
    data = dict(np.load(TEST))
    image, labels = change(data["image"].astype(np.float32), data["labels"])
    np.savez(tmp_path / "d.npz", image=image, labels=labels)
    found = json.loads(succeeds("eval", out, "--data", tmp_path / "d.npz", "--json").stdout)
    assert found["warnings"] == document(out / "eval.json")["warnings"]
    return sorted({w["code"] for w in found["warnings"]})


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: (x, y),
        lambda x, y: (x, np.random.default_rng(0).permutation(y)),
        lambda x, y: (x[np.argsort(y, kind="stable")], np.sort(y)),
        lambda x, y: (x[:100], y[:100]),
        lambda x, y: (x[:5] * 9, y[:5]),
    ],
    ids=["the test data", "labels shuffled", "sorted by class", "a part of it", "too few to tell"],
)
def test_data_like_that_of_calibration_is_not_warned_of(change, out, tmp_path):
    assert evaluated(out, tmp_path, change) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: (x * 3, y),
        lambda x, y: (x / 4, y),
        lambda x, y: (x + 4, y),
        lambda x, y: (16 - x, y),
        lambda x, y: (0 * x, y),
    ],
    ids=["three times larger", "four times smaller", "another mean", "negative images", "nothing but zeros"],
)
def test_data_unlike_that_of_calibration_is_warned_of(change, out, tmp_path):
    assert evaluated(out, tmp_path, change) == ["SFN311"]


def test_eval_prints_the_warning_and_goes_on(out, tmp_path):
    np.savez(tmp_path / "d.npz", image=np.load(TEST)["image"] * 5.0)
    done = sfnc("eval", out, "--data", tmp_path / "d.npz")
    assert done.exit_code == 0
    assert "warning SFN311 at input 'image': the mean of a sample is" in done.stderr


def test_a_build_whose_report_is_gone_is_not_evaluated_without_its_warnings(out):
    (out / "report.json").unlink()
    assert "report.json is missing" in refused("SFN503", 3, "eval", out, "--data", TEST)


# -- at calibration ------------------------------------------------------------------------------------------------
def calibrated(tmp_path, image) -> list[str]:
    np.savez(tmp_path / "c.npz", image=image.astype(np.float32))
    succeeds(DIGITS, "--calib", tmp_path / "c.npz", "-o", tmp_path / "o", "--quiet")
    return [w["code"] for w in document(tmp_path / "o" / "report.json")["warnings"]]


def test_samples_that_are_all_the_same(tmp_path):
    assert calibrated(tmp_path, np.repeat(np.load(CALIB)["image"][:1], 120, axis=0)) == ["SFN310"]


def test_a_constant_channel(tmp_path):
    assert calibrated(tmp_path, np.full((120, 1, 8, 8), 3.0)) == ["SFN310"]


def test_samples_that_differ_in_one_are_not_constant(tmp_path):
    image = np.repeat(np.load(CALIB)["image"][:1], 120, axis=0)
    image[-1] = np.load(CALIB)["image"][5]
    assert calibrated(tmp_path, image) == []


def test_too_few_and_constant_are_both_said(tmp_path):
    assert calibrated(tmp_path, np.repeat(np.load(CALIB)["image"][:1], 7, axis=0)) == ["SFN309", "SFN310"]
