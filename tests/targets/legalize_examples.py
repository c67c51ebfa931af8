"""A target that takes no moves, and what legalisation owes every Program. Used by both tests of legalisation."""

from __future__ import annotations

import numpy as np

from sfn_compile.program.network import ADAPTIVE, Dense, Move, Program, Reshape
from sfn_compile.simulator.plain_steps import accumulate
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets import legalize as lg
from sfn_compile.targets.backend import Capabilities
from sfn_compile.testing.conformance import edge_inputs

ALL = frozenset({"Dense", "Conv", "SumPool", "Identity", "Gather"})
NO_MOVES = Capabilities(ALL, frozenset({"Reshape"}), max_pool=True, acc_bits=24, weight_bits=8,
                        products=frozenset({"Elementwise", "Matmul"}), adaptive=ADAPTIVE, row_bits=63)  # fmt: skip


def kinds(program: Program) -> list[str]:
    """The projections of all populations, by class name."""
    return [type(p.map).__name__ for population in program.populations() for p in population.projections]


def equal_after_legalisation(program: Program) -> Program:
    """Return the legal Program after checking that it is one, and that it computes the same integers."""
    legal = lg.legalize(program, "test", NO_MOVES)
    assert {e.value for e in legal.inputs} == {e.value for e in program.inputs}
    readers = legal.consumers()
    by_name = {step.name: step for step in legal.steps}
    assert len(by_name) == len(legal.steps)
    for step in legal.steps:
        if isinstance(step, Move):
            assert isinstance(step.op, Reshape)
            assert len(step.shape) == 1
            assert not any(step.name in (p.left, p.right) for r in readers[step.name] for p in by_name[r].products)
            reading = [p for r in readers[step.name] for p in by_name[r].projections if p.source == step.name]
            assert all(isinstance(p.map, Dense) for p in reading)
    inputs = {e.value: np.clip(edge_inputs(program)[e.value], e.lo, e.hi) for e in program.inputs}
    want, got, info = run_codes(program, inputs), run_codes(legal, inputs, engine="reference"), legal.values()
    for population in program.populations():
        assert np.array_equal(got[population.name], want[population.name]), population.name
    for before, after in zip(program.outputs, legal.outputs, strict=True):
        assert np.array_equal(got[after.value], want[before.value]), before.name
        assert info[after.value].shape == before.shape
    for population in legal.populations():
        acc = accumulate(population, got)
        assert population.acc_min <= acc.min()
        assert acc.max() <= population.acc_max
        assert got[population.name].shape[1:] == population.shape
        for p in population.projections:
            assert p.map.out_shape(info[p.source].shape) == population.shape
        for q in population.products:
            assert q.form.out_shape(info[q.left].shape, info[q.right].shape) == population.shape
    return legal
