"""What terms are for and what populations are to others: kept by every back end, read from its own files."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sfn_compile.program.network import CopyOf, Program, RelayOf, SecondDigit, stands_for
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets import backend
from sfn_compile.targets.legalize import legalize
from sfn_compile.testing.conformance import attention, edge_inputs, moves, two_digits


def relations(program: Program) -> dict[str, object]:
    return {p.name: p.relation for p in program.populations() if p.relation is not None}


def roles(program: Program, name: str) -> list[tuple[str, str]]:
    return [(q.source, q.role) for p in program.populations() if p.name == name for q in p.projections]


@pytest.mark.parametrize("target", ["sim", "onnx", "nir", "lava"])
def test_a_target_keeps_relations_and_roles(target, tmp_path):
    chosen = backend.load(target)
    *steps, last = two_digits().steps
    program = replace(two_digits(), steps=(*steps, replace(last, relation=CopyOf("q"))))
    legal = legalize(program, target, chosen.capabilities)
    chosen.emit(legal, tmp_path, {})
    found = chosen.reload(tmp_path)
    assert relations(found) == {"r": SecondDigit("q", 8), "y": CopyOf("q")}
    for name in ("q", "r", "y"):
        assert roles(found, name) == roles(legal, name)
    assert roles(found, "r")[-1] == ("q", "subtract")
    assert Counter(role for _, role in roles(found, "y")) == {"main": 2, "skip": 2, "copy": 2}


def test_a_relay_says_whose_codes_it_holds_whatever_it_is_called():
    """The name with which it would say so is taken here."""
    program = moves()
    taken = {"h": "q.relay"}
    steps = [_renamed(step, taken) for step in program.steps]
    legal = legalize(Program(program.inputs, tuple(steps), program.outputs), "nir", backend.load("nir").capabilities)
    assert relations(legal)["q.relay_"] == RelayOf("q")
    assert "q.relay" not in relations(legal)
    renamed = Program(program.inputs, tuple(steps), program.outputs)
    inputs = edge_inputs(program)
    before, after = run_codes(renamed, inputs), run_codes(legal, inputs)
    compared = [step.name for step in legal.steps if stands_for(step) in before]
    assert {"q.relay_", "q.relay", "c", "y"} <= set(compared)
    for step in legal.steps:
        if step.name in compared:
            np.testing.assert_array_equal(after[step.name], before[stands_for(step)])


def _renamed(step, names):
    if hasattr(step, "projections"):
        read = tuple(replace(p, source=names.get(p.source, p.source)) for p in step.projections)
        return replace(step, name=names.get(step.name, step.name), projections=read)
    return replace(step, sources=tuple(names.get(s, s) for s in step.sources))


@pytest.mark.parametrize("target", ["sim", "onnx", "lava"])
def test_a_softmax_and_a_carried_stream_are_kept_too(target, tmp_path):
    chosen = backend.load(target)
    legal = legalize(attention(), target, chosen.capabilities)
    chosen.emit(legal, tmp_path, {})
    assert relations(chosen.reload(tmp_path)) == relations(legal)
    assert {"exp", "c"} <= relations(legal).keys()
