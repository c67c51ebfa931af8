"""A build tells its quality at its end, on samples that nothing was chosen from, and warns where it is bad."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.commands.evaluate import evaluate
from sfn_compile.commands.quality import quality_warnings
from sfn_compile.evaluation.summary import least_of_outputs
from sfn_compile.files.sample_files import kept_aside, load_data
from sfn_compile.foundation.decibel import NO_ERROR
from sfn_compile.foundation.samples import ModelInput

from ..frontend.tiny_onnx import noise, saved, tiny
from .cli_helpers import CALIB, DIGITS, contents, document, sfnc, succeeds

IMAGE = [ModelInput("image", (1, 8, 8), "float32")]


def compiled(tmp_path, *options: object, model=DIGITS, calib=CALIB):
    done = succeeds(model, "--calib", calib, "-o", tmp_path / "o", *options)
    return document(tmp_path / "o" / "report.json"), " ".join(done.stdout.split()), " ".join(done.stderr.split())


def test_the_numbers_are_those_of_eval_on_the_samples_kept_aside(tmp_path):
    report, said, warned = compiled(tmp_path, "--samples", 300)
    _, aside = kept_aside(load_data(CALIB, IMAGE, 300, 0), 0)
    np.savez(tmp_path / "aside.npz", **aside.x)
    again = evaluate(tmp_path / "o", tmp_path / "aside.npz")["outputs"]["logits"]
    assert report["outputs"]["logits"] == again
    found = report["kept_aside"]
    assert found == {"samples": 30, "agreement": again["agreement"], "sqnr_db": again["sqnr_db"], "exact": False}
    assert (
        report["calibration"]["samples"] == document(tmp_path / "o" / "manifest.json")["calibration"]["samples"] == 270
    )
    assert f"kept-aside agreement {100 * found['agreement']:.1f} %, {found['sqnr_db']:.1f} dB (30 samples" in said
    assert "output logits" in said
    assert f"- / {found['sqnr_db']:.1f} dB" in said
    assert "SFN407" not in warned
    page = " ".join((tmp_path / "o" / "report.html").read_text().split())
    assert f"signal to noise {found['sqnr_db']:.1f} dB, on 30 samples kept aside" in page


def test_what_is_kept_aside_is_neither_calibrated_on_nor_learnt_from(tmp_path):
    """Other numbers in the samples kept aside change nothing but what is measured on them."""
    _, aside = kept_aside(load_data(CALIB, IMAGE, 200, 0), 0)
    given = load_data(CALIB, IMAGE, 200, 0)
    plain, changed = given.x["image"].copy(), given.x["image"].copy()
    kept = [np.flatnonzero((plain == one).all(axis=(1, 2, 3)))[0] for one in aside.x["image"]]
    changed[kept] = 15.0 - changed[kept] * 0.9
    found = []
    for name, x in (("a", plain), ("b", changed)):
        np.savez(tmp_path / f"{name}.npz", image=x)
        options = "--calib", tmp_path / f"{name}.npz", "--levels", 3, "--epochs", 1, "-o", tmp_path / name, "-q"
        succeeds(DIGITS, *options)
        found.append({k: v for k, v in contents(tmp_path / name).items() if k.startswith(("program", "golden"))})
    assert found[0] == found[1]
    reports = [document(tmp_path / name / "report.json") for name in "ab"]
    assert reports[0]["outputs"] != reports[1]["outputs"]
    assert reports[0]["layers"] == reports[1]["layers"]


def test_below_128_samples_all_calibrate_and_the_line_says_so(tmp_path):
    report, said, _ = compiled(tmp_path, "--samples", 127)
    assert report["calibration"]["samples"] == 127
    assert report["kept_aside"] == {
        "samples": 0,
        "reason": "all 127 samples calibrate; from 128 on a tenth is kept aside",
    }
    assert "no samples were kept aside: all 127 samples calibrate" in said
    assert report["outputs"]["logits"]["agreement"] > 0.9


def test_a_build_that_is_bad_warns_with_the_next_step_which_finds_it(tmp_path):
    _, _, warned = compiled(tmp_path, "--samples", 300, "--site", "relu_2:stretch=0.02")
    assert "SFN407 at output 'logits'" in warned
    assert "of 30 samples kept aside are answered otherwise" in warned
    assert "`sfnc bisect OUT --data FILE` names the layer" in warned
    bisected = sfnc("bisect", tmp_path / "o", "--data", CALIB)
    assert bisected.exit_code == 1
    assert "relu_2" in bisected.stderr


def row(agreement, db, **more) -> dict:
    return {"agreement": agreement, "sqnr_db": db, "max_error": 1.0, **more}


@pytest.mark.parametrize(
    ("output", "is_bad"),
    [
        (row(0.96, 12.0), False),
        (row(0.94, 12.0), True),
        (row(1.0, 5.9), True),
        (row(1.0, 6.1), False),
        (row(None, 14.9), True),
        (row(None, 15.1), False),
        (row(1.0, None), False),
        ({"agreement": 0.9}, True),
    ],
)
def test_the_rule_of_what_is_bad(output, is_bad):
    report = {"outputs": {"y": output}, "options": {"levels": 31}}
    report["kept_aside"] = {"samples": 100, **least_of_outputs(report)}
    found = quality_warnings(report)
    assert bool(found) is is_bad
    assert all(w.code == "SFN407" and w.fix for w in found)


def test_two_samples_of_few_are_chance():
    report = {"outputs": {"y": row(10 / 12, 20.0)}, "options": {"levels": 31}}
    assert not quality_warnings({**report, "kept_aside": {"samples": 12, **least_of_outputs(report)}})


def test_no_levels_are_advised_that_there_are_already():
    report = {"outputs": {"y": row(0.5, 30.0)}, "options": {"levels": 255}}
    (found,) = quality_warnings({**report, "kept_aside": {"samples": 100, **least_of_outputs(report)}})
    assert "--levels" not in found.fix
    assert "--limit 35" in found.fix


def test_behind_a_tail_the_cut_has_the_numbers():
    found = {"outputs": {"boxes": row(None, 3.0)}, "cut": {"c": row(None, 30.0)}}
    assert least_of_outputs(found)["sqnr_db"] == 30.0
    assert least_of_outputs({"outputs": {"y": row(1.0, None, reasons={"sqnr_db": NO_ERROR})}})["exact"] is True


def test_a_quantised_network_without_data_is_not_told_that_data_is_unlike(tmp_path):
    body = ("q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) v = DequantizeLinear(w, t, u) c = Conv(d, v) "
            "r = Relu(c) p = QuantizeLinear(r, s, z) o = DequantizeLinear(p, s, z) "
            "f = Flatten(o) y = Gemm(f, k)")  # fmt: skip
    model = tiny(body, w=np.arange(-54, 54, dtype=np.int8).reshape(4, 3, 3, 3), s=np.float32(0.05), z=np.uint8(0),
                 t=np.float32(0.01), u=np.int8(0), k=noise(64, 2))  # fmt: skip
    path = saved(model, tmp_path)
    done = succeeds(path, "-o", tmp_path / "o")
    np.savez(tmp_path / "d.npz", x=np.abs(noise(64, 3, 6, 6)) * 4 + 1)
    assert "SFN308" not in done.stderr  # every level is stated: nothing was chosen on the generated inputs
    assert "SFN311" not in succeeds("eval", tmp_path / "o", "--data", tmp_path / "d.npz").stderr
