"""A Program that was read from damaged parts is refused with SFN503, or it can run: nothing in between."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sfn_compile.files import program_files
from sfn_compile.files.program_checks import check_program
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.program.network import Program
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets import backend
from sfn_compile.targets.legalize import legalize
from sfn_compile.testing.conformance import CASES, edge_inputs

from .damage import ARRAY_SHAPES, json_fields, json_numbers, one_changed

SEED, MOST = 5, 12  # changes of each kind
Parts = tuple[Any, dict[str, np.ndarray]]


def damaged_parts(program: Program, seed: int, most: int) -> Iterator[tuple[str, Parts]]:
    text, arrays = program_files.to_parts(program)
    tree, rng = json.loads(text), random.Random(seed)
    for label, changed in (*json_fields(tree, seed, most), *json_numbers(tree, seed, most)):
        yield label, (changed, arrays)
    for _ in range(most):
        name = rng.choice(sorted(arrays))
        label, change = rng.choice(list(ARRAY_SHAPES.items()))
        yield f"{name} {label}", (tree, {**arrays, name: change(arrays[name])})
        yield f"{name} one number", (tree, {**arrays, name: one_changed(arrays[name], rng)})


def fault_of(parts: Parts) -> str:
    """Return "" where parts are refused or make a Program that both engines run alike, else what became of them."""
    try:
        program = check_program(program_files.from_parts(*parts))
    except CompileError as error:
        return "" if error.diagnostics[0].code == "SFN503" else str(error)
    try:
        inputs = {name: codes[:2] for name, codes in edge_inputs(program).items()}
        fast, plain = run_codes(program, inputs), run_codes(program, inputs, engine="reference")
    except Exception as error:
        return f"it was taken for a Program and ended in {error!r}"
    return "" if all(np.array_equal(fast[name], plain[name]) for name in plain) else "the engines differ"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_damaged_parts_are_refused_or_run(case):
    found = ((label, fault_of(parts)) for label, parts in damaged_parts(case.make(), SEED, MOST))
    faults = [f"{label}: {what}" for label, what in found if what]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name", ["sim", "nir", "lava", "onnx"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_compiler_hands_over_is_a_program(case, name):
    program = case.make()
    assert check_program(program) is program
    for legal in legalised(program, name):
        assert check_program(legal) is legal


def legalised(program: Program, target: str) -> list[Program]:
    """The Program as a target is given it, none where the target cannot say it (which its own tests look at)."""
    try:
        return [legalize(program, target, backend.load(target).capabilities)]
    except CompileError:
        return []
