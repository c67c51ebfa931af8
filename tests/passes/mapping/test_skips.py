"""A skip is read several times, so that the convolution beside it keeps its bits."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.foundation.options import Options
from sfn_compile.passes.mapping.quantize_weights import QuantizeWeights
from sfn_compile.passes.mapping.split_digits import SplitDigits
from sfn_compile.program.network import Conv, Identity

from ...frontend.tiny_onnx import imported, noise, samples, tiny
from ..pass_examples import mapped, structured

BODY = "a = Relu(x) d = Conv<pads=[1,1,1,1]>(a, u, c) s = Add(a, d) r = Relu(s) y = Conv(r, u)"
SMALL = {"x": (4, 5, 5), "u": 0.05 * noise(4, 4, 3, 3, seed=5), "c": noise(4, seed=6)}


def sum_layer(folder, bits):
    """The Layer in which the skip and the convolution meet."""
    original = imported(tiny(BODY, **SMALL), folder)
    done = mapped(structured(original), samples(original, 16), Options(weight_bits=bits))
    return done.by_name()["r"]


def skips(node):
    return [m for m in node.op.integer.maps if isinstance(m, Identity)]


def conv(node):
    return next(m for m in node.op.integer.maps if isinstance(m, Conv)).weight


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
def test_a_skip_is_read_several_times_and_every_weight_fits(bits, tmp_path):
    node, top = sum_layer(tmp_path, bits), 2 ** (bits - 1) - 1
    assert 1 < len(skips(node)) <= 16
    assert {s for s, m in zip(node.inputs, node.op.integer.maps, strict=True) if isinstance(m, Identity)} == {"a"}
    assert max(np.abs(m.weight).max() for m in node.op.integer.maps) <= top
    assert any("skips are read" in note for note in node.op.integer.notes)


def test_the_convolution_beside_it_keeps_its_bits(tmp_path, monkeypatch):
    split = np.abs(conv(sum_layer(tmp_path, 4))).max()
    monkeypatch.setattr("sfn_compile.passes.mapping.quantize_weights.COPIES_OF_SKIPS", 1)
    assert split > np.abs(conv(sum_layer(tmp_path, 4))).max()


def test_the_shares_add_up_to_the_skip(tmp_path):
    node = sum_layer(tmp_path, 4)
    real = sum(m.weight for m in node.op.maps if isinstance(m, Identity))
    np.testing.assert_allclose(real, np.ones_like(real), rtol=1e-12)


def test_with_eight_bits_it_is_read_several_times_too(tmp_path, monkeypatch):
    node = sum_layer(tmp_path, 8)
    assert 4 < len(skips(node)) <= 16
    monkeypatch.setattr("sfn_compile.passes.mapping.quantize_weights.COPIES_OF_SKIPS", 1)
    once = sum_layer(tmp_path, 8)
    assert len(skips(once)) == 1
    fine, coarse = node.op.integer.alpha, once.op.integer.alpha
    assert (fine < coarse / 2).all()  # of one accumulator unit


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_that_are_rounded_again_have_no_more_copies(bits, tmp_path):
    """As behind split-digits, where integers are chosen anew."""
    original = imported(tiny(BODY, **SMALL), tmp_path)
    options = Options(weight_bits=bits)
    done = mapped(structured(original), samples(original, 16), options)
    again = QuantizeWeights(options).run(done).graph
    for old, new in zip(done.nodes, again.nodes, strict=True):
        assert new.inputs == old.inputs
        for a, b in zip(old.op.integer.maps, new.op.integer.maps, strict=True):
            np.testing.assert_array_equal(a.weight, b.weight)


def in_digits(folder, base, order="Add(a, d)"):
    """The Layers of the sum's network in two digits, their integers chosen anew, and before."""
    original = imported(tiny(BODY.replace("Add(a, d)", order), **SMALL), folder)
    done = mapped(structured(original), samples(original, 16), Options(levels=7))
    split = SplitDigits({"a": base, "r": base}).run(done).graph
    return QuantizeWeights(Options(levels=7)).run(split).graph.by_name(), split.by_name()


@pytest.mark.parametrize("order", ["Add(a, d)", "Add(d, a)"])
@pytest.mark.parametrize("base", [2, 8])
def test_every_skip_is_read_as_often_as_it_needs(base, order, tmp_path):
    """Also where both digits are read through one map: each keeps its whole weight, and convolutions their places."""
    now, before = in_digits(tmp_path, base, order)
    for name in ("r", "r/carry", "a/carry"):
        places = [[i for i, m in enumerate(n.op.maps) if isinstance(m, Conv)] for n in (before[name], now[name])]
        assert places[0] == places[1]
        for source in dict.fromkeys(before[name].inputs):
            whole, shares = (
                sum(
                    m.weight
                    for s, m in zip(n.inputs, n.op.maps, strict=True)
                    if s == source and isinstance(m, Identity)
                )
                for n in (before[name], now[name])
            )
            np.testing.assert_allclose(shares, whole, rtol=1e-12)
    counts = {s: now["r"].inputs.count(s) for s in ("a", "a/carry")}
    assert counts["a"] > counts["a/carry"] or base == 2  # a first digit weighs as much as so many second ones


def test_what_was_fired_stays_last_and_is_read_up_to_sixteen_times(tmp_path, monkeypatch):
    now, _ = in_digits(tmp_path, 8)
    assert now["r/carry"].inputs[-1] == "r"
    assert 4 < now["r/carry"].inputs.count("r") <= 16
    monkeypatch.setattr("sfn_compile.passes.mapping.quantize_weights.COPIES_OF_SKIPS", 1)
    once, _ = in_digits(tmp_path, 8)
    assert once["r/carry"].inputs[-1] == "r"
    assert (now["r/carry"].op.integer.alpha < once["r/carry"].op.integer.alpha).all()
