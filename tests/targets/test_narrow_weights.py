"""Weights wider than a target's become several narrow ones that add up to them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sfn_compile.program.network import MOVES
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.backend import Capabilities
from sfn_compile.targets.legalize import check_widths, legalize
from sfn_compile.targets.narrow_weights import exponent, mantissa_top, parts
from sfn_compile.testing.conformance import edge_inputs, wide_sum

ANY = arrays(np.int64, st.integers(1, 6), elements=st.integers(-(2**23), 2**23))


@given(weight=ANY, bits=st.integers(2, 8))
def test_the_parts_add_up_and_each_has_a_narrow_mantissa(weight, bits):
    top = 2 ** (bits - 1) - 1
    found = parts(weight, top)
    assert sum(found).tolist() == weight.tolist()
    for part in found:
        assert int(np.abs(part).max()) >> exponent(part) <= top


@given(weight=arrays(np.int64, 4, elements=st.integers(1 - 2**14, 2**14 - 1)))
def test_fifteen_bits_are_two_weights_of_eight(weight):
    assert len(parts(weight, 127)) <= 2


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_a_program_with_split_weights_computes_the_same(bits):
    whole = wide_sum()
    narrow = Capabilities(frozenset({"Conv", "Identity"}), MOVES, True, 32, bits)
    legal = legalize(whole, "narrow", narrow)
    check_widths(legal, "narrow", narrow)
    tops = [mantissa_top(p.map) for s in legal.populations() for p in s.projections]
    assert max(tops) < 2 ** (bits - 1)
    inputs = edge_inputs(whole)
    before, after = run_codes(whole, inputs), run_codes(legal, inputs)
    for name, codes in before.items():
        np.testing.assert_array_equal(after[name], codes)
