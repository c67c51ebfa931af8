"""Sites in two digits, from the command line to the proof on every target, the report and bisect."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from sfn_backends.lava import interpreter

from ..frontend.tiny_onnx import noise, renamed, saved, tiny
from .cli_helpers import CALIB, DIGITS, TEST, document, refused, sfnc, succeeds

LAVA = interpreter.find()[0] is not None
TARGETS = ["sim", "onnx", "nir", *(["lava"] if LAVA else [])]
# Two residuals, and a third that is bounded, its inputs so coarse that its levels end at the bound for digits alone.
BODY = (
    "a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) d = Conv<pads=[1,1,1,1]>(r, v) s = Add(d, r) t = Relu(s)"
    "e = Conv<pads=[1,1,1,1]>(t, u) f = Add(e, t) h = Relu(f) i = Conv(h, k) j = Add(i, h) c = Clip(j, zero, six)"
    "g = GlobalAveragePool(c) l = Flatten(g) y = Gemm(l, o)"
)
ALL = ("--no-reconstruct", "--fine-share", "0", "--digit-share", "2")


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """The folder of a build with two digits for every target, and its calibration data."""
    folder = tmp_path_factory.mktemp("digits")
    weights = {"w": noise(4, 3, 3, 3), "b": noise(4), "v": noise(4, 4, 3, 3), "u": noise(4, 4, 3, 3),
               "k": noise(4, 4, 1, 1), "o": noise(4, 3), "zero": np.float32(0), "six": np.float32(6)}  # fmt: skip
    np.savez(folder / "x.npz", x=noise(96, 3, 8, 8, seed=3))
    model = saved(tiny(BODY, (3, 8, 8), **weights), folder)
    succeeds(model, "--calib", folder / "x.npz", "--target", ",".join(TARGETS), "--levels", "7", "-o", folder / "out",
             *ALL, "--quiet")  # fmt: skip
    succeeds(model, "--calib", folder / "x.npz", "--levels", "7", "-o", folder / "plain", "--no-reconstruct", "--quiet")
    return folder


def layers(folder):
    return {row["name"]: row for row in document(folder / "report.json")["layers"]}


def second_digits(rows):
    """The populations of second digits, and those of the first digits."""
    related = {name: row["relation"] for name, row in rows.items() if row.get("relation")}
    return {name: relation["of"] for name, relation in related.items() if relation["is"] == "SecondDigit"}


def test_every_target_computes_the_same_integers(build):
    succeeds("verify", build / "out", "--samples", "2")
    proved = document(build / "out" / "proof.json")["targets"]
    assert set(proved) == set(TARGETS)
    assert [(t["different"], t["compared"] > 0) for t in proved.values()] == [(0, True)] * len(TARGETS)


def test_no_population_has_more_levels_than_stated_and_the_outputs_are_better(build):
    rows, plain = layers(build / "out"), layers(build / "plain")
    seconds = second_digits(rows)
    assert len(seconds) >= 3
    assert max(r["levels"] for r in rows.values() if r["kind"] not in ("input", "readout")) == 7
    for name, site in seconds.items():
        first = rows[site]
        assert rows[name]["reason"].startswith("second digit of")
        assert "first of two digits" in first["reason"]
        assert first["sqnr_db"] > plain[first["name"]]["sqnr_db"] + 6  # both digits are measured as one value
        assert first["sqnr_accumulated_db"] > plain[first["name"]]["sqnr_accumulated_db"]
    assert rows["y"]["sqnr_accumulated_db"] > plain["y"]["sqnr_accumulated_db"] + 6


def test_the_float_network_has_no_more_work_for_them(build):
    said = [document(build / name / "report.json")["totals"] for name in ("out", "plain")]
    assert said[0]["macs"] == said[1]["macs"]
    energy = [document(build / name / "report.json")["energy"]["totals"] for name in ("out", "plain")]
    assert energy[0]["synapses_float"] == energy[1]["synapses_float"]
    assert energy[0]["float"] == energy[1]["float"]
    assert energy[1]["matched"] < energy[0]["matched"] < 2 * energy[1]["matched"]  # of 5 bits where there are 3
    assert said[0]["synops"] > 1.3 * said[1]["synops"]


def test_the_report_says_what_it_gained(build):
    rows = document(build / "out" / "report.json")["corrections"]
    row = next(r for r in rows if r["correction"] == "two-digits")
    assert row["sites"] == ["c", "h", "r", "t"]
    more = next(r for r in rows if r["correction"] == "more-levels")
    assert row["outputs_db_after"] > more["outputs_db_before"] + 6


def test_bisect_takes_two_digits_as_one_layer(build):
    args = ("bisect", build / "out", "--data", build / "x.npz", "--limit", 12, "--json")  # 14.3 dB about the mean
    found = json.loads(succeeds(*args).stdout)
    assert found["within"] is True
    assert not second_digits(layers(build / "out")).keys() & {r["name"] for r in found["layers"]}
    parts = {r["name"]: r for r in found["layers"]}
    assert {"r", "t", "h", "c"} <= parts.keys()
    said = {r["name"]: r["sqnr_accumulated_db"] for r in document(build / "out" / "report.json")["layers"]}
    for name in ("r", "t", "h", "c"):
        assert parts[name]["accumulated_db"] == pytest.approx(said[name], abs=1)
        assert parts[name]["reach"] > 7  # in codes of both digits
    assert found["output_db"] == pytest.approx(said["y"], abs=3)  # of the same network, on more samples


def test_a_value_named_like_a_second_digit_is_none(tmp_path):
    """The demo network, one value of which is called what the second digit of another would be."""
    documents = {}
    for name in ("relu_2", "relu/carry"):
        folder = tmp_path / str(len(documents))
        folder.mkdir()
        model = saved(renamed(onnx.load(DIGITS), "relu_2", name), folder)
        args = ("--levels", "7", "--no-reconstruct", "--fine-share", "0", "--digit-share", "1", "--samples", "150")
        succeeds(model, "--calib", CALIB, "-o", folder / "out", "--quiet", *args)
        rows = layers(folder / "out")
        said = {r["relation"]["of"]: n for n, r in rows.items() if r.get("relation")}
        assert said["relu"] == ("relu/carry" if name == "relu_2" else "relu/carry.1")
        assert rows[name]["relation"] is None
        done = sfnc("bisect", folder / "out", "--data", TEST, "--limit", "5", "--json")
        assert done.exit_code == 0, done.output
        documents[name] = json.loads(done.stdout.replace(name, "relu_2"))
    assert documents["relu/carry"] == documents["relu_2"]


def test_relu6_does_not_stand_in_the_way(tmp_path):
    """As in a MobileNet: convolutions, depthwise ones among them, each behind a bound that is reached now and then."""
    body = (
        "a = Conv<pads=[1,1,1,1]>(x, w, b) r = Clip(a, zero, six) d = Conv<pads=[1,1,1,1], group=4>(r, v)"
        "s = Clip(d, zero, six) e = Conv(s, k) t = Clip(e, zero, six) g = GlobalAveragePool(t) l = Flatten(g)"
        "y = Gemm(l, o)"
    )
    weights = {"w": 0.6 * noise(4, 3, 3, 3), "b": noise(4), "v": 0.5 * noise(4, 1, 3, 3), "k": noise(4, 4, 1, 1),
               "o": noise(4, 3), "zero": np.float32(0), "six": np.float32(6)}  # fmt: skip
    np.savez(tmp_path / "x.npz", x=noise(96, 3, 8, 8, seed=3))
    model = saved(tiny(body, (3, 8, 8), **weights), tmp_path)
    for name, share in (("out", "2"), ("plain", "0")):
        succeeds(model, "--calib", tmp_path / "x.npz", "--target", ",".join(TARGETS), "--levels", "7", "--quiet",
                 "-o", tmp_path / name, "--no-reconstruct", "--fine-share", "0", "--digit-share", share)  # fmt: skip
    rows, plain = layers(tmp_path / "out"), layers(tmp_path / "plain")
    assert {"r/carry", "s/carry", "t/carry"} <= set(rows)
    assert {r["levels"] for r in rows.values() if r["kind"] == "uniform"} == {7}
    assert all(plain[name]["histogram"][7] > 0 for name in "rs")  # the bound is reached
    assert rows["y"]["sqnr_accumulated_db"] > plain["y"]["sqnr_accumulated_db"] + 6
    succeeds("verify", tmp_path / "out", "--samples", "2", "--quiet")
    succeeds("bisect", tmp_path / "out", "--data", tmp_path / "x.npz", "--limit", "5", "--quiet")


def test_a_clip_whose_levels_end_above_its_bound_stays_one_population(build, tmp_path, monkeypatch):
    """Nothing known makes that happen once a site is to be divided; if anything does, its codes must not be wrong."""
    monkeypatch.setattr("sfn_compile.passes.mapping.decisions.Decisions.is_bounded", lambda self, site: False)
    succeeds(build / "model.onnx", "--calib", build / "x.npz", "--levels", "7", "-o", tmp_path / "out", *ALL, "--quiet")
    rows = layers(tmp_path / "out")
    assert second_digits(rows) == {"r/carry": "r", "t/carry": "t", "h/carry": "h"}
    assert rows["c"]["levels"] == 7


def test_the_demo_network_is_split_and_then_learns(tmp_path):
    succeeds(DIGITS, "--calib", CALIB, "--levels", "3", "-o", tmp_path / "out", "--quiet", "--epochs", "2")
    rows = document(tmp_path / "out" / "report.json")["corrections"]
    assert [r["correction"] for r in rows][-2:] == ["two-digits", "reconstruct"]
    succeeds("verify", tmp_path / "out", "--quiet")
    succeeds("bisect", tmp_path / "out", "--data", TEST, "--limit", "5", "--quiet")


@pytest.mark.parametrize(("bits", "base"), [(4, 4), (3, 2), (2, 1)])
def test_weights_of_few_bits_read_smaller_second_digits(bits, base, tmp_path):
    """With 2 bits they would all be 0."""
    succeeds(DIGITS, "--calib", CALIB, "--levels", "7", "--weight-bits", bits, "-o", tmp_path / "out", "--quiet",
             "--epochs", "1")  # fmt: skip
    rows = layers(tmp_path / "out")
    assert {rows[name]["levels"] for name in second_digits(rows)} == ({base - 1} if base > 1 else set())
    succeeds("verify", tmp_path / "out", "--quiet")


def test_the_fewest_bits_of_what_reads_them_decide(build, tmp_path):
    """The second residual reads r and t with 4 bits: in steps of an eighth their weights would be 0."""
    succeeds(build / "model.onnx", "--calib", build / "x.npz", "--levels", "7", "-o", tmp_path / "out", *ALL,
             "--site", "h:weight-bits=4", "--quiet")  # fmt: skip
    rows = layers(tmp_path / "out")
    assert {n: rows[f"{n}/carry"]["levels"] for n in ("r", "t")} == {"r": 7, "t": 3}


def test_a_network_that_can_have_none_says_so(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((32, 1, 28, 28), np.float32))
    model = DIGITS.parent / "fashion_vit.onnx"
    said = succeeds(model, "--calib", tmp_path / "x.npz", "-o", tmp_path / "out", "--digit-share", "1").output
    assert "no site has more levels: what" in " ".join(said.split())
    row = next(r for r in document(tmp_path / "out" / "report.json")["corrections"] if r["correction"] == "more-levels")
    assert (row["kept"], row["sites"]) == ("before", [])


@pytest.mark.parametrize("share", ["-0.1", "2.5", "nan"])
def test_shares_that_are_not_accepted(share, tmp_path):
    refused("SFN605", 2, DIGITS, "--calib", CALIB, "-o", tmp_path / "out", "--digit-share", share)


def test_every_correction_has_one_row(build):
    rows = [r["correction"] for r in document(build / "out" / "report.json")["corrections"]]
    assert rows == ["correct-bias", "more-levels", "two-digits"]
