"""Histograms, spikes and set bits against the integers themselves; signs of a badly set population."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.graph.graph import Levels
from sfn_compile.program.network import Elementwise, Matmul, ValueInfo
from sfn_compile.report import health
from sfn_compile.report.activity import Counter, Error, met

from .report_examples import N, compiled


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


@pytest.mark.parametrize("offset", [0.5, 0.0])
@pytest.mark.parametrize("book", [None, (0, 1, 3)])
def test_values_beyond_the_last_code_are_counted(book, offset):
    error, step = Error(), np.array(0.5)
    levels = Levels(step, 0, 3, np.array(False), book=book, offset=offset)
    real = np.array([[0.0, 0.49, 0.74, 0.9, 1.4, 1.5, 1.74, 1.76, 9.0]])
    error.add(real, levels.quantize(real), step, levels)
    assert error.row()["beyond"] == pytest.approx(2 / 9)
    assert error.here == pytest.approx(error.accumulated)


def test_codes_that_a_book_does_not_have_are_not_unused():
    counter = Counter(ValueInfo((4,), 0, 7), {})
    counter.add(np.array([[0, 1, 7, 7]]))
    assert counter.unused((0, 1, 3, 7)) == 0.25
    assert counter.unused(range(8)) == 5 / 8


def test_codes_that_the_ladder_never_makes_are_unused():
    counter = Counter(ValueInfo((4,), 0, 2), {})  # a staircase of three steps at a site of eight codes
    counter.add(np.array([[0, 1, 2, 2]]))
    assert counter.unused(range(-1, 7)) == 5 / 8
    assert counter.over(-1, 6).tolist() == [0, 1, 1, 2, 0, 0, 0, 0]
    assert counter.over(1, 2).tolist() == [1, 2]


def test_values_of_sixteen_bits_are_counted():
    codes = np.random.default_rng(0).integers(-(2**15), 2**15, (5, 2, 3))
    codes[0, 0] = 0
    counter = Counter(ValueInfo((2, 3), -(2**15), 2**15 - 1), {"r": np.array([[1, 2, 2]])})
    counter.add(codes[:2])
    counter.add(codes[2:])
    bits = np.array([[[bin(abs(int(k))).count("1") for k in row] for row in one] for one in codes])
    assert counter.density == (codes != 0).mean()
    assert counter.neurons().spikes == pytest.approx(np.abs(codes).sum() / 5)
    assert counter.synapses("r").events == pytest.approx(((codes != 0) * [1, 2, 2]).sum() / 5)
    assert counter.synapses("r").set_bits == pytest.approx((bits * [1, 2, 2]).sum() / 5)
    assert counter.synapse_count("r") == 10
    assert counter.over(-(2**15), 2**15 - 1).sum() == 30
    assert counter.share(0) == (codes == 0).mean()
    assert counter.unused(range(-(2**15), 2**15)) == 1 - len(np.unique(codes)) / 2**16


def healthy(**changes):
    return {
        "levels": 31,
        "beyond": 0.004,
        "dead": 3,
        "channels": 16,
        "unused": 0.1,
        "kind": "uniform",
        "lo": 0,
        "hi": 31,
        "histogram": [9] * 12 + [0] * 20,
        "stated": False,
        **changes,
    }


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
                                     {"levels": 3, "beyond": 0.05}, {"dead": 1, "channels": 1},
                                     {"unused": 0.6, "histogram": [9, 0, 0] * 10 + [9, 1]},  # few values, all in use
                                     {"unused": 0.6, "stated": True}, {"dead": 9, "stated": True}])  # fmt: skip
def test_what_is_no_sign(changes):
    assert health.warnings(healthy(**changes)) == []


def counted(left, right, multiplied) -> list[float]:
    """Events, spikes and set bits of the products of two batches, pair by pair, per sample."""
    found = [0, 0, 0]
    for a, b in multiplied(left.astype(object), right.astype(object)):
        spikes = abs(a) * abs(b)
        bits = bin(abs(a)).count("1") * bin(abs(b)).count("1")
        found = [have + more for have, more in zip(found, (spikes > 0, spikes, bits), strict=True)]
    return [x / len(left) for x in found]


def of_matrices(left, right):
    for n, h, i, j, k in np.ndindex(*left.shape[:3], right.shape[-1], left.shape[-1]):
        yield left[n, h, i, k], right[n, h, k, j]


def of_elements(left, right):
    for at in np.ndindex(*np.broadcast_shapes(left.shape, right.shape)):
        yield tuple(x[tuple(i % s for i, s in zip(at, x.shape, strict=True))] for x in (left, right))


@pytest.mark.parametrize(
    ("form", "shapes", "multiplied"),
    [
        (Matmul(np.ones(())), ((3, 2, 4, 5), (3, 2, 5, 3)), of_matrices),
        (Elementwise(np.ones(())), ((3, 4, 2, 3), (3, 4, 2, 3)), of_elements),
        (Elementwise(np.ones(())), ((3, 4, 1, 1), (3, 4, 2, 3)), of_elements),
    ],
)
def test_products_are_counted_pair_by_pair(form, shapes, multiplied):
    rng = np.random.default_rng(0)
    left, right = rng.integers(-6, 7, shapes[0]), rng.integers(0, 4, shapes[1])
    assert met(left, right, form) == pytest.approx(counted(left, right, multiplied))
