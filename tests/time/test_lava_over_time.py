"""The target lava over time: processes with state, one sample behind the other in the pipeline."""

import numpy as np
import pytest
from sfn_backends.lava import LavaBackend

from sfn_compile.simulator.run_clock import run_by_definition
from sfn_compile.targets.backend import RunRequest
from sfn_compile.targets.target_build import build_target

from ..backends.lava_runs import needs_lava
from .clocked_programs import WAYS, edges, shown
from .test_suite_over_time import ALL, made_or_refused

pytestmark = pytest.mark.slow


# Every Program with the default neuron, and every neuron on Programs of all kinds of steps.
CHOSEN = [(case, "signed") for case in ALL]
KINDS = {"residual", "pools", "moves"}
CHOSEN += [(case, way) for case in ALL for way in WAYS if way != "signed" and case.name in KINDS]


@needs_lava
@pytest.mark.parametrize(("case", "way"), CHOSEN, ids=str)
def test_lava_emits_every_spike_of_every_step(case, way, tmp_path):
    program = made_or_refused(case, way)
    if program is None:
        return
    backend, x = LavaBackend(mode="whole"), shown(program, edges(program))
    build_target(program, backend, {}, tmp_path)
    legal = backend.reload(tmp_path)
    want, charges = run_by_definition(legal, x)
    found = backend.run(tmp_path, RunRequest(x, golden=want))
    assert found.values
    assert all(np.array_equal(found.values[name], want[name]) for name in found.values)
    assert all(np.array_equal(found.potentials[name], charges[name]) for name in charges)
