"""Non-uniform ladders, two polarities and thresholds of 2^k, from the command line to the proof on every target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sfn_backends.lava import interpreter

from sfn_compile.foundation.options import METHOD_NAMES

from ..frontend.tiny_onnx import noise, saved, tiny
from .cli_helpers import CALIB, DIGITS, document, refused, succeeds

LAVA = interpreter.find()[0] is not None
TARGETS = ["sim", "onnx", "nir", *(["lava"] if LAVA else [])]
# A conv that is fired as it is (a max pool reads it), a residual, a pool, a dense readout.
BODY = (
    "a = Conv<pads=[1,1,1,1]>(x, w, b) p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a) c = Conv(p, u) r = Relu(c)"
    "d = Conv<pads=[1,1,1,1]>(r, v) s = Add(d, r) t = Relu(s) g = GlobalAveragePool(t) f = Flatten(g) y = Gemm(f, k)"
)
LADDERS = {
    "lloyd-max": ("--method", "sfn", "--method-option", "ladder=lloyd-max"),
    "equal-mass": ("--method", "sfn", "--method-option", "ladder=equal-mass"),
    "two polarities": ("--method", "pmsm"),
    "two polarities of a book": ("--method", "sfn", "--method-option", "ladder=lloyd-max", "--method-option",
                                 "polarity=two"),
    "no offset": ("--method", "opi", "--method-option", "offset=0"),
    "shifts": ("--threshold", "pow2"),
    "one step per tensor": ("--granularity", "tensor"),
}  # fmt: skip


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    """A network with signed sites, a residual and a pool, and samples for it."""
    weights = {"w": noise(4, 3, 3, 3), "b": noise(4), "u": noise(4, 4, 1, 1), "v": noise(4, 4, 3, 3), "k": noise(4, 3)}
    np.savez(tmp_path / "x.npz", x=noise(64, 3, 8, 8, seed=3))
    return saved(tiny(BODY, (3, 8, 8), **weights), tmp_path), tmp_path / "x.npz"


def built(small: tuple[Path, Path], out: Path, *options: str, targets: list[str] | None = None) -> dict:
    model, data = small
    succeeds(model, "--calib", data, "--target", ",".join(targets or ["sim"]), "--levels", "15", "-o", out, "--quiet",
             *options)  # fmt: skip
    return {row["name"]: row for row in document(out / "report.json")["layers"]}


@pytest.mark.parametrize("ladder", list(LADDERS))
def test_every_target_computes_the_same_integers(ladder, small, tmp_path):
    out = tmp_path / "out"
    built(small, out, *LADDERS[ladder], targets=TARGETS)
    succeeds("verify", out, "--samples", "2")
    proved = document(out / "proof.json")["targets"]
    assert set(proved) == set(TARGETS)
    assert [(t["different"], t["compared"] > 0) for t in proved.values()] == [(0, True)] * len(TARGETS)


def test_the_report_counts_codes_not_integers(small, tmp_path):
    rows = built(small, tmp_path / "out", *LADDERS["two polarities of a book"])
    fired = [r for r in rows.values() if r["kind"] not in ("input", "readout")]
    signed = [r for r in fired if r["lo"] < 0]
    assert signed
    assert {r["levels"] for r in signed} == {30}
    assert {r["levels"] for r in fired if r["lo"] == 0} == {15}
    for row in fired:
        assert row["kind"] == "table"
        assert len(row["codes"]) == row["levels"] + 1
        assert (row["codes"][0], row["codes"][-1]) == (row["lo"], row["hi"])
        assert row["levels"] < row["hi"] - row["lo"]
    assert rows["x"]["sqnr_db"] == built(small, tmp_path / "plain")["x"]["sqnr_db"]


def test_the_report_shows_thresholds_of_powers_of_two_and_offsets(small, tmp_path):
    for row in built(small, tmp_path / "out", "--threshold", "pow2").values():
        if row["kind"] == "uniform":
            assert row["theta_min"].bit_count() == row["theta_max"].bit_count() == 1
    offsets = {r["offset"] for r in built(small, tmp_path / "opi", *LADDERS["no offset"]).values() if "offset" in r}
    assert offsets == {0.0, None}


def test_the_table_says_how_many_codes_a_book_has(small, tmp_path):
    model, data = small
    shown = succeeds(model, "--calib", data, "--levels", "15", "-o", tmp_path / "out", *LADDERS["lloyd-max"]).output
    row = next(r for r in document(tmp_path / "out" / "report.json")["layers"] if r["name"] == "r")
    assert f" 16: 0..{row['hi']} " in shown


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_every_method_compiles_from_the_command_line(method, small, tmp_path):
    rows = built(small, tmp_path / "out", "--method", method)
    assert all(r["sqnr_db"] is None or r["sqnr_db"] > 5 for r in rows.values())
    assert document(tmp_path / "out" / "report.json")["options"]["method"] == method


@pytest.mark.parametrize(
    "options", [("--method", "sfn", "--method-option", "ladder=curved"), ("--method-option", "polarity=two"),
                ("--method", "pmsm", "--method-option", "polarity=three"), ("--method-option", "offset=1")],
)  # fmt: skip
def test_ladders_that_do_not_exist(options, tmp_path):
    refused("SFN605", 2, DIGITS, "--calib", CALIB, "--samples", "4", "-o", tmp_path / "out", *options)
