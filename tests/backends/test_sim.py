"""The simulator passes the suite that every back end passes, and the suite notices a single wrong integer."""

from __future__ import annotations

import numpy as np
import pytest
from sfn_backends.sim import SimBackend

from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.backend import RunResult
from sfn_compile.testing.conformance import CASES, SEVERAL_INPUTS, check, edge_inputs


@pytest.mark.parametrize("case", CASES + SEVERAL_INPUTS, ids=str)
def test_the_simulator_passes_the_conformance_suite(case, tmp_path):
    result = check(SimBackend(), case, tmp_path)
    assert set(result.values) == set(case.make().values())


@pytest.mark.parametrize("case", CASES + SEVERAL_INPUTS, ids=str)
def test_the_fast_engine_computes_the_integers_of_the_reference(case):
    program = case.make()
    inputs = edge_inputs(program, 20)
    fast, reference = run_codes(program, inputs), run_codes(program, inputs, engine="reference")
    for name in program.values():
        assert np.array_equal(fast[name], reference[name]), name


@pytest.mark.parametrize("case", CASES + SEVERAL_INPUTS, ids=str)
def test_keeping_only_the_outputs_changes_nothing_and_frees_the_rest(case):
    program = case.make()
    inputs, wanted = edge_inputs(program), [o.value for o in program.outputs]
    some, everything = run_codes(program, inputs, keep=wanted), run_codes(program, inputs)
    assert set(some) == set(wanted)
    assert all(np.array_equal(some[name], everything[name]) for name in wanted)


class OffByOne(SimBackend):
    """A back end that gets one integer of its last population wrong."""

    def run(self, folder, request):
        result = super().run(folder, request)
        last = [p.name for p in self.reload(folder).populations()][-1]
        wrong = result.values[last].copy()
        wrong.flat[-1] += 1
        return RunResult({**result.values, last: wrong}, result.executed_by)


@pytest.mark.parametrize("case", CASES + SEVERAL_INPUTS, ids=str)
def test_the_suite_notices_one_wrong_integer(case, tmp_path):
    with pytest.raises(AssertionError, match=r"1 of .* integers differ"):
        check(OffByOne(), case, tmp_path)


@pytest.mark.parametrize("case", CASES + SEVERAL_INPUTS, ids=str)
def test_the_suite_fires_at_least_two_different_codes_in_every_population(case):
    program = case.make()
    values = run_codes(program, edge_inputs(program, 20))
    assert all(np.unique(values[p.name]).size > 1 for p in program.populations())
