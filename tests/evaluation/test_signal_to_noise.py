"""Signal to noise is about the mean: one definition, the same whether samples come at once or in pieces."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.evaluation.agreement import Agreement, n_channels
from sfn_compile.foundation.decibel import NO_ERROR, NO_RANGE, NO_SIGNAL, Varying, varying, why_none

RNG = np.random.default_rng(0)


def by_definition(want, got) -> float:
    return float(10 * np.log10(((want - want.mean(axis=0)) ** 2).sum() / ((want - got) ** 2).sum()))


def score_of(want, got, pieces=(slice(None),)) -> Agreement:
    total = Agreement()
    for piece in pieces:
        other = Agreement()
        other.add(want[piece], got[piece])
        total.merge(other)
    return total


@pytest.mark.parametrize("shape", [(3,), (2, 4, 5), ()])
@pytest.mark.parametrize("mean", [0.0, 300.0, -1e5])
def test_the_mean_of_an_element_is_no_signal(shape, mean):
    want = RNG.normal(size=(50, *shape)) + mean
    got = want + RNG.normal(size=want.shape) / 5
    found = score_of(want, got).row()["sqnr_db"]
    assert found == pytest.approx(by_definition(want, got), abs=0.002)
    assert found < 20  # whatever the mean


def test_pieces_say_what_all_samples_say():
    want = RNG.normal(size=(50, 4, 6)) * [[1], [2], [3], [40]] + 1000
    got = want + RNG.normal(size=want.shape)
    whole = score_of(want, got).row()
    pieces = score_of(want, got, [slice(0, 1), slice(1, 20), slice(20, 50)]).row()
    assert pieces["sqnr_db"] == pytest.approx(whole["sqnr_db"], abs=0.002)
    assert pieces["worst_channel"]["channel"] == whole["worst_channel"]["channel"] == 0


def test_float32_is_summed_as_float64():
    x = (RNG.normal(size=(40, 3000)) + 20).astype(np.float32)
    exact = ((x.astype(np.float64) - x.astype(np.float64).mean(axis=0)) ** 2).sum()
    assert varying([x[:7], x[7:]]) == pytest.approx(exact, rel=1e-5)


def test_a_constant_has_no_signal_in_whatever_pieces_and_with_float32_noise():
    assert varying([np.full((3, 2), 0.1), np.full((5, 2), 0.1)]) == 0
    noisy = np.float32(7.3) * (1 + np.float32(6e-8) * RNG.integers(-1, 2, (30, 4)).astype(np.float32))
    assert varying([noisy]) == 0
    assert varying([noisy + RNG.normal(size=noisy.shape) * 1e-3]) > 0
    assert varying([np.ones((1, 4))]) == 0  # nothing varies in one sample


@pytest.mark.parametrize(
    ("signal", "noise", "why"),
    [(1.0, 0.0, NO_ERROR), (0.0, 0.0, NO_ERROR), (0.0, 1.0, NO_SIGNAL), (np.inf, 1.0, NO_RANGE), (1.0, 0.1, "")],
)
def test_every_number_that_is_none_has_its_reason(signal, noise, why):
    assert why_none(signal, noise) == why


def test_of_channels_that_differ_in_size_the_worst_is_named():
    want = RNG.normal(size=(60, 3)) * [100, 1, 50]
    got = want + RNG.normal(size=want.shape) * [1, 0.5, 1]
    row = score_of(want, got).row()
    assert row["worst_channel"]["channel"] == 1
    assert row["worst_channel"]["sqnr_db"] == pytest.approx(by_definition(want[:, 1], got[:, 1]), abs=0.002)
    assert row["sqnr_db"] > row["worst_channel"]["sqnr_db"] + 20
    assert "worst_channel" not in score_of(want / [100, 1, 50], got / [100, 1, 50]).row()
    still = np.concatenate([want[:, :1], np.full((60, 1), 3.0)], axis=1)  # a channel that is constant is none
    assert "worst_channel" not in score_of(still, still + 0.1).row()


def test_where_shapes_differ_a_sample_is_taken_about_its_own_mean():
    want = [RNG.normal(size=(n, 4)) + 500 for n in (3, 5, 1)]
    got = [w + 0.1 for w in want]
    score = Agreement(each=True)
    score.add(want, got)
    signal = sum(((w - w.mean()) ** 2).sum() for w in want)
    noise = sum(((w - g) ** 2).sum() for w, g in zip(want, got, strict=True))
    assert score.row()["sqnr_db"] == pytest.approx(10 * np.log10(signal / noise), abs=0.002)


@pytest.mark.parametrize(
    ("shape", "channels"), [((10,), 10), ((1, 10), 10), ((8, 4, 4), 8), ((84, 8400), 84), ((25200, 85), 1), ((), 1)]
)
def test_channels_of_an_output(shape, channels):
    assert n_channels(shape) == channels


def test_empty_is_nothing():
    found = Varying()
    found.add(np.zeros((0, 1, 3)))
    assert (found.n, found.signal) == (0, 0.0)
