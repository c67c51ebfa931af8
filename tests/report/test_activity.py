"""Histograms, spikes and set bits against the integers themselves; signs of a badly set population."""

from __future__ import annotations

import numpy as np
import pytest
from report_examples import N, compiled

from sfn_compile.program import ValueInfo
from sfn_compile.report import health
from sfn_compile.report.activity import Counter, Error


def rows():
    return {r["name"]: r for r in compiled()[1].layers if r["levels"]}


@pytest.mark.parametrize("name", list(rows()))
def test_a_histogram_counts_every_code(name):
    row, codes = rows()[name], compiled()[2][name]
    assert len(row["histogram"]) == row["hi"] - row["lo"] + 1
    assert row["histogram"] == [int((codes == k).sum()) for k in range(row["lo"], row["hi"] + 1)]
    assert sum(row["histogram"]) == N * np.prod(row["shape"])


@pytest.mark.parametrize("name", list(rows()))
def test_shares_and_spikes_follow_from_the_codes(name):
    row, codes = rows()[name], compiled()[2][name]
    assert row["density"] == pytest.approx((codes != 0).mean())
    ends = (codes == row["hi"]) | ((codes == row["lo"]) & (row["lo"] < 0))
    assert row["saturation"] == pytest.approx(ends.mean())
    assert row["events"] == pytest.approx((codes != 0).sum() / N)
    assert row["spikes"] == pytest.approx(np.abs(codes).sum() / N)
    assert row["set_bits"] == pytest.approx(sum(bin(abs(int(k))).count("1") for k in codes.ravel()) / N)
    assert row["unused"] == pytest.approx(np.mean([k not in codes for k in range(row["lo"], row["hi"] + 1)]))


def test_a_readout_has_no_histogram():
    row = next(r for r in compiled()[1].layers if r["kind"] == "readout")
    assert row["histogram"] == []
    assert row["warnings"] == []


def test_a_counter_takes_pieces_of_any_layout():
    codes = np.random.default_rng(0).integers(-3, 5, (6, 2, 3))
    counter = Counter(ValueInfo((2, 3), -3, 4), {"r": np.array([[1, 2, 2]])})
    counter.add(codes[:4])
    counter.add(np.asfortranarray(codes[4:]))
    assert counter.histogram.tolist() == [int((codes == k).sum()) for k in range(-3, 5)]
    assert counter.synapses("r").spikes == pytest.approx((np.abs(codes) * [1, 2, 2]).sum() / 6)
    assert counter.synapse_count("r") == 10


class Steps:
    imported, lo, hi = False, 0, 3

    @staticmethod
    def quantize(x):
        return np.clip(np.floor(x / 0.5 + 0.5), 0, 3).astype(np.int32)


def test_values_beyond_the_last_code_are_counted():
    error = Error()
    real = np.array([[0.0, 0.74, 1.5, 1.74, 1.76, 9.0]])
    error.add(real, Steps.quantize(real), np.array(0.5), Steps)
    assert error.row()["beyond"] == pytest.approx(2 / 6)
    assert error.here == pytest.approx(error.accumulated)


def healthy(**changes):
    return {"levels": 31, "beyond": 0.004, "dead": 3, "channels": 16, "unused": 0.1, "kind": "uniform", **changes}


def test_a_healthy_layer_is_not_warned_of():
    assert health.warnings(healthy()) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"beyond": 0.05}, "SFN404"), ({"dead": 9}, "SFN405"), ({"unused": 0.6}, "SFN406")],
)
def test_each_sign_has_its_code(changes, code):
    (found,) = health.warnings(healthy(**changes))
    assert found["code"] == code
    assert found["value"] > found["limit"]


@pytest.mark.parametrize("changes", [{"levels": None}, {"kind": "input", "unused": 0.9}, {"levels": 3, "unused": 0.6},
                                     {"levels": 3, "beyond": 0.05}, {"dead": 1, "channels": 1}])  # fmt: skip
def test_what_is_no_sign(changes):
    assert health.warnings(healthy(**changes)) == []
