"""What the error of a layer is made of: each kind alone, made by hand, and the answer to it."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.evaluation.causes import Parts, advice, cause_of, parts_of

BOOK = np.arange(0, 8)
FED = np.random.default_rng(0).uniform(0, 7, (50, 4, 3))
OPTIONS = {"levels": 31, "weight_bits": 8, "acc_bits": 24, "sites": {"slow": {"weight_bits": 3}}}


def nearest(scaled, book):
    return book[np.abs(np.asarray(scaled)[..., None] - book).argmin(axis=-1)]


def parts(fed=FED, codes=None, unit=1.0, real=None) -> Parts:
    ideal = nearest(fed / unit, BOOK)
    return parts_of(fed, fed if real is None else real, ideal if codes is None else codes, np.array(unit), BOOK, 0)


def test_rounding_alone():
    found = parts()
    assert found.rounding == pytest.approx(((np.floor(FED + 0.5) - FED) ** 2).sum())
    assert found.cut == found.weights == found.inherited == found.beyond == 0
    assert found.accumulated == pytest.approx(found.own)
    assert cause_of(found, 7, False) == "levels"


def test_a_step_too_large_leaves_codes_unused():
    assert cause_of(parts(unit=3.0), 7, False) == "step"


def test_values_beyond_the_last_code_are_cut():
    found = parts(unit=0.2)
    assert found.cut > 100 * found.rounding
    assert found.beyond == pytest.approx((FED > 1.5).mean())
    assert found.reach == pytest.approx(FED.max() / 0.2)
    assert cause_of(found, 7, False) == "saturation"
    assert cause_of(found, 7, True) == "data"


def test_other_codes_than_the_float_layer_would_have_are_the_weights():
    found = parts(codes=np.clip(nearest(FED, BOOK) + 2, 0, 7))
    assert found.weights > found.rounding
    assert cause_of(found, 7, True) == "weights"


def test_silent_channels_are_dead_unless_all_are():
    fed = FED.copy()
    fed[:, 1:] = 0.49
    fed[:, 0] = np.round(fed[:, 0])
    assert cause_of(parts(fed), 7, False) == "dead"
    assert cause_of(parts(np.full((5, 4, 3), 0.4)), 7, False) == "step"


def test_what_inputs_brought_along_is_not_the_layers_own():
    found = parts(real=FED + 1)
    assert found.inherited == pytest.approx(FED.size)
    assert found.own == pytest.approx(parts().own)


def test_a_readout_has_its_weights_only():
    found = parts_of(FED, FED, np.round(FED * 10), np.array(0.1), None, 0)
    assert found.weights == found.own > 0


def test_samples_in_pieces_add_up():
    whole, total = parts(), Parts()
    for piece in (slice(20), slice(20, 50)):
        total.merge(parts(FED[piece]), len(FED[piece]) / 50)
    assert total.row() == pytest.approx(whole.row())


def test_a_book_with_gaps_and_another_offset_are_the_layers_own_rule():
    book = np.array([-4, 0, 1, 8])
    fed = np.linspace(-9.03, 12, 400).reshape(4, 10, 10)
    found = parts_of(fed, fed, nearest(fed, book), np.array(1.0), book, 0)
    assert found.weights == 0
    assert found.beyond == pytest.approx(((fed > 8.5) | (fed < -4.5)).mean())
    down = parts_of(FED, FED, np.floor(FED), np.array(1.0), BOOK, 0, offset=0.0)
    assert (down.weights, down.cut) == (0, 0)
    assert down.rounding == pytest.approx(((FED - np.floor(FED)) ** 2).sum())


@pytest.mark.parametrize(
    ("cause", "name", "kind", "levels", "first"),
    [
        ("levels", "a", "layer", 7, "--site a:levels=31 (it has 7)"),
        ("levels", "a", "layer", 200, "--site a:levels=255 (it has 200)"),
        ("levels", "x", "input", 255, "give the network channels of one size"),
        ("levels", "a", "layer", 255, "--levels 127 (it is 31)"),
        ("levels", "x", "input", 7, "--input-levels 31 (it has 7)"),
        ("weights", "a", "layer", 7, "--acc-bits 28 (room for larger integer weights)"),
        ("weights", "slow", "layer", 7, "--site slow:weight-bits=8 (it has 3)"),
        ("saturation", "a", "layer", 7, "--site a:stretch=5 (it is 1 now)"),
        ("saturation", "x", "input", 7, "--method minmax"),
        ("step", "a", "layer", 70, "--site a:stretch=0.5 (it is 1 now)"),
        ("dead", "a", "layer", 7, "--calib with more samples, 512 or more, of every kind"),
        ("data", "a", "layer", 7, "--calib with samples prepared like these"),
        ("accumulated", "a", "layer", 7, "--levels 127 (it is 31)"),
    ],
)
def test_every_cause_has_an_option(cause, name, kind, levels, first):
    assert advice(cause, name, kind, levels, Parts(reach=35.0), OPTIONS)[0].startswith(first)


CAUSES = ("levels", "weights", "saturation", "step", "dead", "accumulated")


@pytest.mark.parametrize("kind", ["input", "layer"])
@pytest.mark.parametrize("cause", CAUSES)
def test_nothing_is_proposed_that_holds_already(cause, kind):
    most = {"levels": 255, "weight_bits": 8, "acc_bits": 31, "method": "minmax", "reconstruct": True, "sites": {}}
    tries = advice(cause, "a", kind, 255, Parts(reach=300.0, top=255.0), most, 512)
    assert tries
    said = " ".join(tries)
    for held in ("levels=255", "levels 255", "weight-bits", "acc-bits", "method=minmax", "--reconstruct", "512"):
        assert held not in said, tries


@pytest.mark.parametrize("learnt", [False, True])
def test_reconstruction_is_proposed_where_it_was_not_used(learnt):
    tries = advice("accumulated", "a", "layer", 7, Parts(), {**OPTIONS, "reconstruct": learnt})
    assert any(t.startswith("--reconstruct") for t in tries) is not learnt
