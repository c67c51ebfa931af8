"""Program to files and back: nothing lost, every byte determined, damage noticed."""

from __future__ import annotations

import json
import random
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest

from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.program.network import Population, Program
from sfn_compile.testing.conformance import CASES

FILES = ("program.json", "program.npz")
by_name = {case.name: case for case in CASES}


def same_tree(a, b) -> bool:
    """Whether two objects of program.py hold the same values; integer arrays may have another width."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and (a.dtype.kind, a.shape) == (b.dtype.kind, b.shape) and np.array_equal(a, b)
    if is_dataclass(a):
        return type(a) is type(b) and all(same_tree(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, tuple):
        return type(b) is tuple and len(a) == len(b) and all(map(same_tree, a, b))
    return type(a) is type(b) and a == b


def with_first_population(program: Program, change) -> Program:
    first = next(i for i, step in enumerate(program.steps) if isinstance(step, Population))
    steps = list(program.steps)
    steps[first] = change(steps[first])
    return replace(program, steps=tuple(steps))


def add_one_to_the_first_weight(population: Population) -> Population:
    first, *others = population.projections
    weight = first.map.weight.copy()
    weight.flat[0] += 1
    return replace(population, projections=(replace(first, map=replace(first.map, weight=weight)), *others))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_loading_gives_back_what_was_saved(case, tmp_path):
    program = case.make()
    program_files.save(program, tmp_path)
    loaded = program_files.load(tmp_path)
    assert program_files.digest(loaded) == program_files.digest(program)
    assert same_tree(loaded, program)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_saving_twice_writes_the_same_bytes(case, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        program_files.save(case.make(), tmp_path / folder)
    program_files.save(program_files.load(tmp_path / "a"), tmp_path)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_exchanged_factors_are_another_digest():
    """left * right is right * left, but a digest stands for the very files."""
    program = next(case for case in CASES if case.name == "product_gate").make()
    at = next(i for i, step in enumerate(program.steps) if isinstance(step, Population) and step.products)
    (pair,) = program.steps[at].products
    turned = replace(program.steps[at], products=(replace(pair, left=pair.right, right=pair.left),))
    changed = replace(program, steps=(*program.steps[:at], turned, *program.steps[at + 1 :]))
    assert program_files.digest(changed) != program_files.digest(program)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_changed_weight_changes_the_digest(case):
    program = case.make()
    changed = with_first_population(program, add_one_to_the_first_weight)
    assert program_files.digest(changed) != program_files.digest(program)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_array_counts_in_the_digest(case):
    program = case.make()
    text, arrays = program_files.to_parts(program)
    for name, array in arrays.items():
        changed = program_files.from_parts(json.loads(text), {**arrays, name: array + 1})
        assert program_files.digest(changed) != program_files.digest(program), name


@pytest.mark.parametrize("case", CASES, ids=str)
def test_different_programs_have_different_digests(case):
    others = [c for c in CASES if c.name != case.name]
    assert program_files.digest(case.make()) not in {program_files.digest(c.make()) for c in others}


def test_a_changed_range_name_or_origin_changes_the_digest():
    program = by_name["mlp"].make()
    for change in ({"acc_max": 10**6}, {"name": "other"}, {"shape": (5, 2)}):
        changed = with_first_population(program, lambda p, c=change: replace(p, **c))
        assert program_files.digest(changed) != program_files.digest(program), change


def test_the_digest_does_not_depend_on_the_integer_type_in_memory():
    program = by_name["gather"].make()

    def widen(population: Population) -> Population:
        projection = population.projections[0]
        narrow = replace(projection.map, weight=projection.map.weight.astype(np.int8))
        return replace(population, projections=(replace(projection, map=narrow),))

    assert program_files.digest(with_first_population(program, widen)) == program_files.digest(program)


@pytest.mark.parametrize(
    ("top", "dtype"), [(127, np.int8), (128, np.int16), (-129, np.int16), (2**15, np.int32), (-(2**31) - 1, np.int64)]
)
def test_integers_are_stored_in_the_smallest_type_that_holds_them(top, dtype):
    assert program_files.smallest_int(np.array([0, top])).dtype == dtype


# -- damage ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def saved(tmp_path):
    program_files.save(by_name["residual"].make(), tmp_path)
    return tmp_path


def refused(folder) -> None:
    with pytest.raises(CompileError) as caught:
        program_files.load(folder)
    assert [d.code for d in caught.value.diagnostics] == ["SFN503"]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(saved, name):
    (saved / name).unlink()
    refused(saved)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0, 1, 10, 0.3, 0.9])
def test_a_truncated_file_is_refused(saved, name, keep):
    whole = (saved / name).read_bytes()
    (saved / name).write_bytes(whole[: keep if isinstance(keep, int) else int(len(whole) * keep)])
    refused(saved)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"\x00" * 64, b"\xff\xfe\xfd" * 9, b"[]", b"{}", b"null", b"PK\x03\x04"])
def test_a_file_of_something_else_is_refused(saved, name, content):
    (saved / name).write_bytes(content)
    refused(saved)


def test_a_bare_array_in_place_of_the_archive_is_refused(saved):
    np.save(saved / "array.npy", np.arange(3))
    (saved / "array.npy").replace(saved / "program.npz")
    refused(saved)


@pytest.mark.parametrize(
    "edit",
    [
        lambda tree: {**tree, "format": 999},
        lambda tree: {k: v for k, v in tree.items() if k != "format"},
        lambda tree: {**tree, "class": "Nothing"},
        lambda tree: {**tree, "class": "Origin"},
        lambda tree: {**tree, "extra": 1},
        lambda tree: {k: v for k, v in tree.items() if k != "steps"},
        lambda tree: {**tree, "inputs": [{"array": "a99999"}]},
        lambda tree: {**tree, "inputs": [{"array": ["a00000"]}]},
        lambda tree: {**tree, "inputs": [{"no": "class"}]},
    ],
)
def test_an_edited_structure_is_refused(saved, edit):
    tree = json.loads((saved / "program.json").read_text())
    (saved / "program.json").write_text(json.dumps(edit(tree)))
    refused(saved)


def test_any_one_changed_byte_of_the_archive_is_refused_or_harmless(saved):
    """A flipped byte may sit in a field that no reader uses; then the integers are still the same."""
    whole, before = (saved / "program.npz").read_bytes(), program_files.digest(program_files.load(saved))
    chance = random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        (saved / "program.npz").write_bytes(bytes(damaged))
        try:
            assert program_files.digest(program_files.load(saved)) == before
        except CompileError as error:
            assert error.diagnostics[0].code == "SFN503"  # noqa: PT017
