"""Sites that are fired in two digits: the same real network, codes that add up, no population above its levels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfn_compile.graph.graph import Levels
from sfn_compile.graph.ops import Layer
from sfn_compile.passes.invariants import INVARIANTS
from sfn_compile.passes.mapping.decisions import Decision, Decisions
from sfn_compile.passes.mapping.split_digits import (
    SplitDigits,
    _first,
    _second,
    base_for,
    divisible,
    levels_in_two_digits,
    wholes,
)
from sfn_compile.program.network import Carries, SecondDigit

from ...frontend.tiny_onnx import imported, noise, samples, tiny
from ..pass_examples import NETWORKS, fixed, mapped, network, structured, worst_lie

BODY = (
    "a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) d = Conv<pads=[1,1,1,1]>(r, v) s = Add(d, r) t = Clip(s, zero, six)"
    "m = MaxPool<kernel_shape=[2,2]>(t) c = Conv(m, u) q = Relu(c) n = Transpose<perm=[0,2,3,1]>(q) y = MatMul(n, k)"
)
WEIGHTS = {"w": noise(4, 3, 3, 3), "b": noise(4), "v": noise(4, 4, 3, 3), "u": noise(4, 4, 1, 1), "k": noise(4, 3),
           "zero": np.float32(0), "six": np.float32(6)}  # fmt: skip


def chosen(body, folder, **weights):
    original = imported(tiny(body, (3, 8, 8), **weights), folder)
    return original, mapped(structured(original), samples(original, 16))


@pytest.mark.parametrize("name", [k for k in NETWORKS if "quantiser" not in k])
def test_real_numbers_stay_what_they_are(name, tmp_path):
    original = imported(network(name), tmp_path)
    graph = structured(original)
    can = divisible(mapped(graph, samples(original, 16)))
    sites = [s for s in can if graph.by_name()[s].op.activation.kind != "clip"]  # of a bound only codes are the same
    split = SplitDigits(dict.fromkeys(sites, 4)).run(graph).graph
    assert len([n for n in split.nodes if isinstance(n.op, Layer) and n.op.rounding_of]) >= len(sites)
    assert all(not INVARIANTS[i](split) for i in graph.invariants)
    assert worst_lie(original, split, samples(original, 4)) < 1e-9


def test_a_site_is_divisible_where_only_sums_read_it(tmp_path):
    """Not what is cut off from above, not what a max pool reads; a move is looked through."""
    _, graph = chosen(BODY, tmp_path, **WEIGHTS)
    found = divisible(graph)
    assert set(found) == {"r", "q"}
    # r: 64 places of 4 channels; 27 inputs each drive it, a 3x3 convolution of 4 channels and a copy read it
    assert found["r"].macs == 256 * 27 + 256 * 36 + 256
    assert (found["r"].readers, found["q"].readers) == (("t",), ("y",))


def test_readers_read_both_digits_and_what_moves_moves_both(tmp_path):
    _, graph = chosen(BODY, tmp_path, **WEIGHTS)
    split = SplitDigits({"r": 4, "q": 4}).run(graph).graph.by_name()
    assert split["r/carry"].inputs == (*split["r"].inputs, "r")
    assert split["t"].inputs.count("r") == split["t"].inputs.count("r/carry") == graph.by_name()["t"].inputs.count("r")
    assert split["n/carry"].inputs == ("q/carry",)
    assert split["n/carry"].tap is None
    first, second, whole = split["r"].op.levels, split["r/carry"].op.levels, graph.by_name()["r"].op.levels
    assert (first.hi, second.lo, second.hi) == (7, 0, 3)
    np.testing.assert_array_equal(first.step, 4 * whole.step)
    np.testing.assert_array_equal(second.step, whole.step)


@fixed
@given(st.integers(1, 127), st.booleans(), st.integers(1, 1 << 16), st.lists(st.integers(-(1 << 20), 1 << 20)))
def test_the_digits_of_a_value_are_those_of_its_code(levels, signed, step, values):
    """On numbers that float64 holds exactly."""
    base = base_for(levels)
    n = levels_in_two_digits(levels, base)
    lo = -base * ((levels + 1) // 2) if signed else 0
    one = Levels(np.array([step / 256.0]), lo, lo + n, np.zeros(1, bool), "why")
    assert (one.hi + 1) % base == 0
    x = np.array(values, np.float64).reshape(-1, 1) / 64
    first, second = _first(one, base), _second(one, base, "s")
    assert first is not None
    assert second is not None
    assert first.hi - first.lo <= levels
    assert second.hi <= levels
    q = first.quantize(x)
    r = second.quantize(x - q * first.step)
    np.testing.assert_array_equal(base * q + r, one.quantize(x))


@fixed
@given(st.integers(1, 63), st.integers(1, 200), st.lists(st.integers(-(1 << 20), 1 << 20)))
def test_behind_a_clip_the_digits_are_those_of_its_code(levels, percent, values):
    """Where levels end at the bound or below; the second digit knows of no bound."""
    base = base_for(levels)
    n = levels_in_two_digits(levels, base)
    bound = 6.0
    one = Levels(np.array([bound / n * min(percent / 100, 1.0)]), 0, n, np.zeros(1, bool), "why")
    first, second = _first(one, base), _second(one, base, "s")
    z = np.array([*values, bound * 64, bound * 64 + 1], np.float64).reshape(-1, 1) / 64
    q = first.quantize(np.clip(z, 0, bound))
    r = second.quantize(np.maximum(z - q * first.step, 0))
    exact = np.clip(z, 0, bound) / one.step
    is_tie = np.abs(exact - np.floor(exact) - 0.5) < 1e-9
    np.testing.assert_array_equal((base * q + r)[~is_tie], one.quantize(np.clip(z, 0, bound))[~is_tie])


def test_behind_a_clip_levels_must_not_end_above_the_bound(tmp_path):
    body = "a = Conv(x, w, b) t = Clip(a, zero, six) y = Conv(t, u)"
    _, graph = chosen(body, tmp_path, **{k: WEIGHTS[k] for k in ("w", "b", "zero", "six", "u")})
    assert set(divisible(graph, at_these_levels=True)) == {"t"}
    node = graph.by_name()["t"]
    longer = replace(
        node.op, levels=replace(node.op.levels, step=node.op.levels.step * 1.1 * 6 / 31 / node.op.levels.step.max())
    )
    above = replace(graph, nodes=tuple(replace(n, op=longer) if n is node else n for n in graph.nodes))
    assert divisible(above, at_these_levels=True) == {}
    assert set(divisible(above)) == {"t"}  # with levels of its own it can


def test_what_two_digits_are_together_is_what_the_site_was(tmp_path):
    _, graph = chosen(BODY, tmp_path, **WEIGHTS)
    split = SplitDigits({"r": 4}).run(graph).graph
    ((site, whole),) = wholes(split).items()
    before = graph.by_name()["r"].op.levels
    assert (site, whole.second, whole.base) == ("r", "r/carry", 4)
    assert (whole.levels.lo, whole.levels.hi, whole.levels.offset) == (before.lo, before.hi, before.offset)
    assert wholes(graph) == {}


@pytest.mark.parametrize("relation", [None, SecondDigit("x", 4), Carries("t")])
def test_a_relation_that_names_another_population_than_the_sum_subtracts_is_found(relation, tmp_path):
    _, graph = chosen(BODY, tmp_path, **WEIGHTS)
    split = SplitDigits({"r": 4}).run(graph).graph
    assert split.by_name()["r/carry"].op.relation == SecondDigit("r", 4)
    assert INVARIANTS["sites-placed"](split) == []
    wrong = [replace(n, op=replace(n.op, relation=relation)) if n.name == "r/carry" else n for n in split.nodes]
    assert INVARIANTS["sites-placed"](replace(split, nodes=tuple(wrong))) == ["r/carry"]


def test_what_leaves_the_network_behind_a_move_stays_one_population(tmp_path):
    """The decoder reads one value: it would see the first digit alone."""
    body = "a = Conv(x, w, b) r = Relu(a) n = Transpose<perm=[0,2,3,1]>(r) o = Conv(r, u) y = Add(o, z)"
    onnx = tiny(body, (3, 8, 8), outputs=("n", "y"), **{k: WEIGHTS[k] for k in "wbu"}, z=noise(4, 1, 1))
    original = imported(onnx, tmp_path)
    graph = mapped(structured(original), samples(original, 16))
    assert "r" not in divisible(graph)
    assert graph.outputs[0].value != graph.outputs[1].value


def test_levels_behind_a_clip_end_at_its_bound_however_coarse_the_inputs_are(tmp_path):
    """A quarter of the noise that rounded inputs bring along would be a longer step, of which clips use no codes."""
    body = "a = Conv(x, w, b) t = Clip(a, zero, six) y = Conv(t, u)"
    loud = {**{k: WEIGHTS[k] for k in ("b", "zero", "six", "u")}, "w": 50 * WEIGHTS["w"]}
    original = imported(tiny(body, (3, 8, 8), **loud), tmp_path)
    ends = []
    for bounded in (False, True):
        decisions = Decisions({"t": Decision(63, radix=8 if bounded else 1)})
        graph = mapped(structured(original), samples(original, 16), decisions=decisions)
        ends.append((graph.by_name()["t"].op.levels.step * (63 - 0.5) <= 6).all())
        assert ("t" in divisible(graph, at_these_levels=True)) == bounded
    assert ends == [False, True]
