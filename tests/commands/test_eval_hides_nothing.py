"""`eval` never hides: numbers that are not finite are counted, a null has its reason, agreement is of classes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sfn_compile.evaluation.agreement import Agreement
from sfn_compile.files import build_folder
from sfn_compile.foundation.decibel import NO_RANGE, NO_SIGNAL, decibel

from ..frontend.tiny_onnx import by_onnxruntime, noise, saved, tiny
from .cli_helpers import document, succeeds


def scored(want, got, **kind) -> dict:
    score = Agreement(**kind)
    score.add(np.asarray(want, float), np.asarray(got, float))
    return score.row()


def strict(text: str) -> dict:
    """JSON as the standard has it."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


# -- samples that are not finite -----------------------------------------------------------------------------------
def test_samples_that_are_not_finite_are_counted_and_are_in_no_error():
    want = [[1, 2], [np.nan, 2], [1, np.inf], [3, 4]]
    got = [[1, 2], [1, 2], [1, np.inf], [3, np.nan]]
    row = scored(want, got)
    assert row["not_finite"] == {"samples": 3, "float": 2, "spiking": 2}
    assert (
        row["agreement"] == 2 / 4
    )  # the largest is the same in the first and in the third; NaN is the largest of none
    assert (row["sqnr_db"], row["max_error"]) == (None, 0.0)
    assert row["reasons"] == {"sqnr_db": "no error in the samples that could be compared"}


def test_two_nans_do_not_agree():
    assert scored([[np.nan, 1]], [[np.nan, 1]])["agreement"] == 0


def test_with_no_finite_sample_there_is_no_error_to_tell():
    row = scored([[np.nan, 1]], [[1, 1]])
    assert (row["sqnr_db"], row["max_error"]) == (None, None)
    assert row["reasons"] == dict.fromkeys(("sqnr_db", "max_error"), "no sample could be compared")


def test_no_error_stands_beside_no_error_only():
    zero = [0.0, 0.0]
    assert scored([[1, 2], zero], [[1, 2], zero])["reasons"] == {"sqnr_db": "no error"}
    assert scored([zero, zero], [[1, 2], zero])["reasons"] == {"sqnr_db": NO_SIGNAL}
    assert scored([[1e-200, 0], zero], [zero, zero])["reasons"] == {"sqnr_db": NO_SIGNAL}
    assert scored([[1, 1], zero], [[1 + 1e-16, 1], zero])["reasons"] == {"sqnr_db": "no error"}
    assert scored([[1, 0], zero], [[1, 1e-200], zero])["reasons"] == {"sqnr_db": NO_RANGE}
    assert scored([[1e200, 0], zero], [zero, zero])["reasons"] == {"sqnr_db": NO_RANGE}
    assert scored([[1, 2]], [[1, 2.5]])["reasons"] == {"sqnr_db": NO_SIGNAL}  # of one sample nothing varies
    each = Agreement(each=True)
    each.add([np.ones((2, 3)), np.ones((2, 3))], [np.ones((2, 3)), np.ones((3, 3))])
    assert each.row()["reasons"]["sqnr_db"] == "no error in the samples that could be compared"
    assert "reasons" not in scored([[1, 2], zero], [[1, 2.5], zero])


def test_tallies_that_are_merged_say_the_same_as_one():
    rng = np.random.default_rng(0)
    want, got = rng.normal(size=(2, 40, 5))
    want[3, 1], got[5, 2], got[31] = np.nan, np.inf, np.nan
    whole, first, second = Agreement(), Agreement(), Agreement()
    whole.add(want, got)
    first.add(want[:20], got[:20])
    second.add(want[20:], got[20:])
    first.merge(second)
    assert first.row()["not_finite"] == whole.row()["not_finite"] == {"samples": 3, "float": 1, "spiking": 2}
    assert (first.agree, first.n, first.compared) == (whole.agree, whole.n, whole.compared)


def test_decibels_are_a_number_or_none():
    for signal, noise_ in ((np.nan, 1.0), (1.0, np.nan), (np.inf, 1.0), (1.0, np.inf), (0.0, 1.0), (1e300, 1e-300)):
        assert decibel(signal, noise_) is None
    assert decibel(100.0, 1.0) == 20.0


@pytest.fixture
def logarithm(tmp_path):
    """A build whose output is the logarithm of a value that is 0 in some samples of `x.npz`, none of calibration."""
    model = tiny("a = Conv(x, w) r = Relu(a) f = Flatten(r) g = Gemm(f, k) p = Relu(g) y = Log(p)",
                 w=noise(4, 3, 3, 3), k=noise(64, 3) / 20 + 0.02)  # fmt: skip
    x = noise(64, 3, 6, 6, seed=3)
    finite = np.isfinite(by_onnxruntime(model, x)["y"]).all(axis=1)
    assert 16 < finite.sum() < 60
    np.savez(tmp_path / "x.npz", x=x)
    np.savez(tmp_path / "calib.npz", x=x[finite])
    succeeds(saved(model, tmp_path), "--calib", tmp_path / "calib.npz", "-o", tmp_path / "o", "--quiet")
    return tmp_path


def test_eval_counts_and_says_them_everywhere(logarithm):
    out = logarithm / "o"
    said = " ".join(succeeds("eval", out, "--data", logarithm / "x.npz").stdout.split())
    found = strict((out / "eval.json").read_text())
    odd = found["outputs"]["y"]["not_finite"]
    assert 0 < odd["float"] <= odd["samples"] < 64
    assert f"output y: not finite in {odd['samples']} samples" in said
    assert found["outputs"]["y"]["max_error"] > 0
    assert "no error," not in said
    succeeds("report", out, "-q")
    page = " ".join((out / "report.html").read_text(encoding="utf-8").split())
    assert f"not finite in {odd['samples']} samples" in page
    strict((out / "report.json").read_text())
    assert strict(succeeds("eval", out, "--data", logarithm / "x.npz", "--json").stdout) == found


# -- JSON ----------------------------------------------------------------------------------------------------------
def test_json_has_no_nan_but_null_and_a_reason(tmp_path):
    build_folder.write_json(tmp_path / "a.json", {"a": [1.0, float("nan")], "b": {"c": np.float32("inf")}, "d": 2})
    found = strict((tmp_path / "a.json").read_text())
    assert found == {"a": [1.0, None], "b": {"c": None}, "d": 2, "not_finite": {"a[1]": "nan", "b.c": "inf"}}
    assert "not_finite" not in strict(build_folder.dumps({"a": 1.5}))


# -- agreement -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(1,), (), (1, 1), (2, 3), (1, 8, 8)])
def test_agreement_is_withheld_where_a_sample_is_no_row_of_scores(shape):
    y = np.random.default_rng(0).normal(size=(6, *shape))
    row = scored(y, y + 0.1)
    assert row["agreement"] is None
    assert row["reasons"] == {"agreement": "a sample of it is no single row of scores"}


@pytest.mark.parametrize("shape", [(10,), (1, 10), (10, 1, 1)])
def test_agreement_of_a_row_is_the_share_of_equal_largest_scores(shape):
    y = np.random.default_rng(0).normal(size=(6, *shape))
    assert scored(y, y)["agreement"] == 1
    assert scored(y, -y)["agreement"] == 0


def test_labels_make_a_single_number_a_class():
    score = Agreement()
    score.add(np.array([[0.2], [0.9]]), np.array([[0.6], [0.8]]))
    assert score.row(labelled=True)["agreement"] == 0.5
    assert score.row()["agreement"] is None


@pytest.mark.parametrize(("last", "given"), [("Tanh(g)", False), ("Clip(g, lo, hi)", False), ("Softmax(g)", True),
                                             ("Sigmoid(g)", True), ("Identity(g)", True)])  # fmt: skip
def test_a_row_that_ends_in_a_curve_of_values_is_no_row_of_scores(last, given, tmp_path):
    bounds = {"lo": np.float32(-0.5), "hi": np.float32(0.5)} if "Clip" in last else {}
    model = tiny(f"a = Conv(x, w) r = Relu(a) f = Flatten(r) g = Gemm(f, k) y = {last}",
                 w=noise(4, 3, 3, 3), k=noise(64, 12) / 8, **bounds)  # fmt: skip
    np.savez(tmp_path / "x.npz", x=noise(64, 3, 6, 6, seed=3))
    succeeds(saved(model, tmp_path), "--calib", tmp_path / "x.npz", "-o", tmp_path / "o", "--quiet")
    said = " ".join(succeeds("eval", tmp_path / "o", "--data", tmp_path / "x.npz").stdout.split())
    row = document(tmp_path / "o" / "eval.json")["outputs"]["y"]
    assert (row["agreement"] is not None) is given
    assert ("agreement not given (the function that ends it makes values" in said) is not given
    np.savez(tmp_path / "l.npz", x=noise(64, 3, 6, 6, seed=3), labels=np.arange(64) % 12)
    succeeds("eval", tmp_path / "o", "--data", tmp_path / "l.npz", "-q")
    found = document(tmp_path / "o" / "eval.json")
    assert found["outputs"]["y"]["agreement"] == found["accuracy"]["agreement"]
    assert 0 <= found["accuracy"]["agreement"] <= 1
