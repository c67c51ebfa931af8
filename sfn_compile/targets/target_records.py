"""``targets.json``: what compile knew of each target when it wrote it, for the commands that read its files later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import build_folder, program_files
from ..files.build_checks import TARGETS, check_form
from ..foundation.diagnostics import fail
from ..program.network import Program
from .placement import Placed, Placement, Shard
from .target_build import TargetBuild

FILE = "targets.json"


@dataclass(frozen=True)
class TargetRecord:
    """One target of a build.

    ``made_from``: digest of the Program before it was legalised; ``digest``: of the legal one. ``outputs``: what every
    value that outputs are decoded from is called in the legal Program, by its name in the other.
    """

    name: str
    made_from: str
    digest: str
    outputs: Mapping[str, str]
    placement: Placement


def write_records(program: Program, builds: Iterable[TargetBuild], folder: Path) -> None:
    """Write ``targets.json`` of the targets that were made from ``program``."""
    targets = {made.name: _row(program, made) for made in builds}
    build_folder.write_json(folder / FILE, {"program": program_files.digest(program), "targets": targets})


def _row(program: Program, made: TargetBuild) -> dict[str, Any]:
    placed = [
        {"name": p.name, "shards": [[s.core, s.start, s.stop] for s in p.shards]} for p in made.placement.placed
    ]  # fmt: skip
    return {"digest": made.digest, "outputs": held_values(program, made.program), "placement": placed}


def held_values(program: Program, legal: Program) -> dict[str, str]:
    """Return what every value that outputs are decoded from is called in the legal Program, by its name before.

    Nothing where the two do not have the same outputs.
    """
    ours, theirs = ([(d.name, i, v) for d in p.outputs for i, v in enumerate(d.values)] for p in (program, legal))
    if [row[:2] for row in ours] != [row[:2] for row in theirs]:
        return {}
    return {before: now for (_, _, before), (_, _, now) in zip(ours, theirs, strict=True)}


def read_record(folder: Path, name: str, program: Program) -> TargetRecord:
    """Return the record of a target of the build whose Program is ``program``.

    Raises SFN503 where the build has none, or one that is not of that Program's outputs.
    """
    found = build_folder.read_json(folder / FILE)
    check_form(found, TARGETS, FILE)
    row = found["targets"].get(name)
    if row is None:
        raise fail("SFN503", f"{FILE} says nothing of target {name}", str(folder), "compile again")
    if row["outputs"].keys() != set(program.decoded()):
        raise fail("SFN503", f"{FILE}: target {name} has other outputs than the Program", str(folder), "compile again")
    return TargetRecord(name, found["program"], row["digest"], row["outputs"], _placement(row["placement"], folder))


def _placement(rows: list[dict[str, Any]], folder: Path) -> Placement:
    if any(len(shard) != 3 for row in rows for shard in row["shards"]):
        raise fail("SFN503", f"{FILE}: a shard is not (core, start, stop)", str(folder), "compile again")
    return Placement(tuple(Placed(row["name"], tuple(Shard(*s) for s in row["shards"])) for row in rows))
