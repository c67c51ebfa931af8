"""Random small networks over time: oracle of plain integers, engine by definition and fast engine compute the same."""

from __future__ import annotations

import pytest

from .compare import differences
from .random_programs import random_program

AT_A_TIME = 30


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 300, AT_A_TIME))
def test_every_spike_and_potential_of_random_networks(first):
    found = {number: differences(number) for number in range(first, first + AT_A_TIME)}
    assert not {number: what for number, what in found.items() if what}


def test_the_random_networks_have_every_neuron_and_every_kind_of_step():
    made = [random_program(number)[1] for number in range(300)]
    clocks = [m.clock for m in made if m.clock is not None]
    assert {c.presents for c in clocks} == {"constant", "frames"}
    assert {c.timesteps for c in clocks} == set(range(2, 17))
    assert {c.certifies for c in clocks} == {True, False}
    assert any(p.start for c in clocks for p in c.paces)  # layer after layer
    assert any(not p.is_exact for c in clocks for p in c.paces)  # no potential at the start
    limits = {(p.least < 0, p.most == 1) for c in clocks for p in c.paces if p.most}
    assert limits == {(False, False), (False, True), (True, False), (True, True)}
    kinds = {type(s).__name__ for m in made for s in m.steps} | {
        type(s.ladder).__name__ for m in made for s in m.populations()
    }
    assert kinds >= {"MaxPool", "Move", "Normalization", "Uniform", "Table", "RowTable", "Ratio", "Readout"}
    assert any(s.products for m in made for s in m.populations())
