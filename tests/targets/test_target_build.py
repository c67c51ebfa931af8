"""A target is built once: placed, written, read back, and recorded for the commands that read its files later."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sfn_backends.lava import LavaBackend
from sfn_backends.sim import SimBackend

from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.program.network import Dense, Move, Program, Projection, Reshape
from sfn_compile.targets.backend import Backend, Placed, Placement, Placing, Shard
from sfn_compile.targets.placement import misplaced, on_one_core
from sfn_compile.targets.target_build import build_target, place_target
from sfn_compile.targets.target_records import FILE, read_record, write_records
from sfn_compile.testing.builder import Builder
from sfn_compile.testing.conformance import CASES, conv_chain, mlp, pools


class Cores(SimBackend):
    """A target whose cores hold four neurons each; it writes down what it is told of them."""

    name = "cores"

    def __init__(self) -> None:
        self.asked = 0

    def place(self, program: Program, options: Mapping[str, Any]) -> Placement:
        self.asked += 1
        placed, core = [], 0
        for step in program.steps:
            if not isinstance(step, Move):
                n = math.prod(step.shape)
                starts = range(0, n, options["neurons"])
                shards = [Shard(core + i, s, min(n, s + options["neurons"])) for i, s in enumerate(starts)]
                placed.append(Placed(step.name, tuple(shards)))
                core += len(shards)
        return Placement(tuple(placed))

    def emit(
        self, program: Program, folder: Path, options: Mapping[str, Any], placement: Placement | None = None
    ) -> None:
        assert placement is not None
        super().emit(program, folder, options)
        (folder / "cores.txt").write_text(repr(placement))


FOUR = {"neurons": 4}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_without_cores_every_step_that_computes_is_whole_on_one(case):
    program = case.make()
    placement = on_one_core(program)
    assert misplaced(program, placement) == ""
    info = program.values()
    for placed in placement.placed:
        assert placed.shards == (Shard(0, 0, math.prod(info[placed.name].shape)),)
    assert [p.name for p in placement.placed] == [s.name for s in program.steps if not isinstance(s, Move)]


@pytest.mark.parametrize(
    ("shards", "holds"),
    [([(0, 0, 10)], True), ([(3, 0, 4), (1, 4, 10)], True), ([(0, 0, 9)], False), ([(0, 0, 11)], False),
     ([(0, 1, 10)], False), ([(0, 0, 4), (1, 5, 10)], False), ([(0, 0, 5), (1, 4, 10)], False),
     ([(1, 4, 10), (0, 0, 4)], False), ([(0, 0, 4), (1, 4, 4), (2, 4, 10)], False), ([(-1, 0, 10)], False),
     ([], False)],
)  # fmt: skip
def test_a_placement_holds_every_neuron_once(shards, holds):
    program = mlp()  # h has 10 neurons
    first, *others = on_one_core(program).placed
    changed = Placed("h", tuple(Shard(*s) for s in shards))
    assert first.name == "h"
    assert (misplaced(program, Placement((changed, *others))) == "") is holds


@pytest.mark.parametrize("change", [lambda p: p[1:], lambda p: p[::-1], lambda p: (*p, p[0]),
                                    lambda p: (replace(p[0], name="x"), *p[1:])])  # fmt: skip
def test_a_placement_names_every_step_that_computes_in_order(change):
    program = mlp()
    assert misplaced(program, Placement(change(on_one_core(program).placed)))


def test_a_target_with_cores_is_asked_once_and_told_when_it_writes(tmp_path):
    cores: Backend = Cores()
    assert isinstance(cores, Placing)
    assert not isinstance(SimBackend(), Placing)
    program = conv_chain()
    made = build_target(program, cores, FOUR, tmp_path)
    assert cores.asked == 1
    needed = sum(math.ceil(math.prod(p.shape) / 4) for p in program.populations())
    assert [s.core for p in made.placement.placed for s in p.shards] == list(range(needed))
    assert (tmp_path / "cores.txt").read_text() == repr(made.placement)


def test_what_a_back_end_misplaces_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(Cores, "place", lambda self, program, options: Placement(()))
    with pytest.raises(CompileError, match=r"SFN901.*cores has misplaced the network"):
        build_target(mlp(), Cores(), FOUR, tmp_path)
    assert not list(tmp_path.iterdir())


def test_files_that_read_back_as_another_network_are_no_target(tmp_path, monkeypatch):
    monkeypatch.setattr(SimBackend, "reload", lambda self, folder: pools())
    with pytest.raises(CompileError, match=r"SFN901.*do not read back"):
        build_target(mlp(), SimBackend(), {}, tmp_path)


def wide() -> Program:
    """A sum of 26 bits, of connections that reach 23 bits each."""
    b = Builder((300,), hi=200)
    w = np.full((2, 300), 127, np.int64)
    return b.build(b.fire("y", Projection("x", Dense(w)), Projection("x", Dense(w)), kind="readout"))


def test_limits_are_held_for_every_target_before_it_writes(tmp_path):
    with pytest.raises(CompileError, match=r"SFN401.*target lava holds 24 bits"):
        build_target(wide(), LavaBackend(), {}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_record_says_of_what_and_as_what_a_target_was_made(tmp_path):
    program = pools()
    builds = [build_target(program, SimBackend(), {}, folder(tmp_path, "sim")), place_target(program, Cores(), FOUR),
              place_target(program, LavaBackend(), {})]  # fmt: skip
    write_records(program, builds, tmp_path)
    for made in builds:
        record = read_record(tmp_path, made.name, program)
        assert record.made_from == program_files.digest(program)
        assert record.digest == program_files.digest(made.program)
        assert record.outputs == {d.name: d.value for d in made.program.outputs}
        assert record.placement == made.placement


def folder(place: Path, name: str) -> Path:
    (place / name).mkdir()
    return place / name


@pytest.mark.parametrize(
    ("change", "said"),
    [(lambda t: t.pop("program"), "'program' is missing"), (lambda t: t["targets"].pop("sim"), "nothing of target sim"),
     (lambda t: t["targets"]["sim"].update(digest=3), "another type"),
     (lambda t: t["targets"]["sim"].update(outputs={"z": "y"}), "other outputs"),
     (lambda t: t["targets"]["sim"]["placement"][0].update(shards=[[0, 1]]), "core, start, stop"),
     (lambda t: t["targets"]["sim"]["placement"][0].update(shards=[[0, 1, 2.5]]), "another type")],
)  # fmt: skip
def test_a_record_that_is_none_is_refused(change, said, tmp_path):
    program = mlp()
    write_records(program, [place_target(program, SimBackend(), {})], tmp_path)
    tree = json.loads((tmp_path / FILE).read_text())
    read_record(tmp_path, "sim", program)
    change(tree)
    (tmp_path / FILE).write_text(json.dumps(tree))
    with pytest.raises(CompileError, match=f"SFN503.*{said}"):
        read_record(tmp_path, "sim", program)


def test_an_output_that_is_held_under_another_name_is_recorded_with_it(tmp_path):
    """A relay holds it where a target has no moves."""
    b = Builder((12,))
    b.fire("h", Projection("x", Dense(b.weights(10, 12))))
    program = b.build(b.move("flat", Reshape((10,)), "h"))
    made = [place_target(program, SimBackend(), {}), place_target(program, LavaBackend(), {})]
    write_records(program, made, tmp_path)
    assert list(read_record(tmp_path, "sim", program).outputs.values()) == ["flat"]
    assert list(read_record(tmp_path, "lava", program).outputs.values()) == ["flat.relay"]
