"""Every Program of the conformance suite over time: both engines, legalised, settled, saved, in its proved range."""

from __future__ import annotations

import numpy as np
import pytest
from sfn_backends.lava import LavaBackend

from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.program.network import Program, stands_for
from sfn_compile.program.ranges import charge_range
from sfn_compile.simulator.run import run_codes
from sfn_compile.simulator.run_clock import after_step, final_charges, run_by_definition
from sfn_compile.targets.legalize import legalize
from sfn_compile.testing.conformance import CASES, SEVERAL_INPUTS, Case

from .clocked_programs import WAYS, edges, over_time, shown

NO_CODE_ZERO = {"thresholds_that_share"}  # one of its values is never 0, and no spike at all says 0
ALWAYS = {"signed", "one unit", "no limit", "frames"}  # spikes that are taken back say everything else
ALL = [*CASES, *SEVERAL_INPUTS]


def made_or_refused(case: Case, way: str) -> Program | None:
    """Return a Program of the suite over time; None where it is refused, and has to be."""
    try:
        return over_time(case.make(), way)
    except CompileError as error:
        found = {d.code for d in error.diagnostics}
    assert found == {"SFN608"}
    assert way not in ALWAYS or case.name in NO_CODE_ZERO
    return None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", ALL, ids=str)
def test_both_engines_compute_the_same_spikes(case, way):
    program, made = case.make(), made_or_refused(case, way)
    if made is None:
        return
    x = shown(made, edges(program))
    fast, (plain, charges) = run_codes(made, x), run_by_definition(made, x)
    assert fast.keys() == plain.keys()
    for name, want in plain.items():
        assert np.array_equal(fast[name], want), name
        assert fast[name].dtype == want.dtype
    for name, charge in final_charges(made, fast).items():
        low, high = charge_range(next(p for p in made.populations() if p.name == name), made, made.values())
        assert np.array_equal(charge, charges[name])
        assert low <= charge.min()
        assert charge.max() <= high
    assert made.clock is not None
    if made.clock.certifies or way == "window":
        settled, at_once = after_step(made, fast), run_codes(program, edges(program))
        assert all(np.array_equal(settled[name], at_once[name]) for name in settled)


@pytest.mark.parametrize("way", ["signed", "frames"])
@pytest.mark.parametrize("case", [c for c in ALL if not c.products and not c.adaptive], ids=str)
def test_legalised_programs_emit_the_same_spikes(case, way):
    made = over_time(case.make(), way)
    legal = legalize(made, "lava", LavaBackend.capabilities)
    x = shown(made, edges(made))
    want, got = run_codes(made, x), run_codes(legal, x)
    pairs = [(got[s.name], want[stands_for(s)]) for s in legal.steps if s.name in got and stands_for(s) in want]
    assert pairs
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_a_clock_is_saved_and_leaves_the_network_as_it_is(tmp_path):
    for case in CASES[:6]:
        program = case.make()
        made = over_time(program, "signed")
        program_files.save(made, tmp_path)
        assert program_files.digest(program_files.load(tmp_path)) == program_files.digest(made)
        assert program_files.digest(made.at_once()) == program_files.digest(program)
        assert "clock" not in program_files.to_parts(program)[0]
