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

    ``made_from``: digest of the Program before it was legalised; ``digest``: of the legal one. ``outputs``: the value
    of the legal Program that holds each output, by the output's name.
    """

    name: str
    made_from: str
    digest: str
    outputs: Mapping[str, str]
    placement: Placement


def write_records(program: Program, builds: Iterable[TargetBuild], folder: Path) -> None:
    """Write ``targets.json`` of the targets that were made from ``program``."""
    targets = {made.name: _row(made) for made in builds}
    build_folder.write_json(folder / FILE, {"program": program_files.digest(program), "targets": targets})


def _row(made: TargetBuild) -> dict[str, Any]:
    placed = [
        {"name": p.name, "shards": [[s.core, s.start, s.stop] for s in p.shards]} for p in made.placement.placed
    ]  # fmt: skip
    return {"digest": made.digest, "outputs": output_values(made.program), "placement": placed}


def output_values(program: Program) -> dict[str, str]:
    """Return the value that holds each output, by the output's name."""
    return {d.name: d.value for d in program.outputs}


def read_record(folder: Path, name: str, program: Program) -> TargetRecord:
    """Return the record of a target of the build whose Program is ``program``.

    Raises SFN503 where the build has none, or one that is not of that Program's outputs.
    """
    found = build_folder.read_json(folder / FILE)
    check_form(found, TARGETS, FILE)
    row = found["targets"].get(name)
    if row is None:
        raise fail("SFN503", f"{FILE} says nothing of target {name}", str(folder), "compile again")
    if row["outputs"].keys() != output_values(program).keys():
        raise fail("SFN503", f"{FILE}: target {name} has other outputs than the Program", str(folder), "compile again")
    return TargetRecord(name, found["program"], row["digest"], row["outputs"], _placement(row["placement"], folder))


def _placement(rows: list[dict[str, Any]], folder: Path) -> Placement:
    if any(len(shard) != 3 for row in rows for shard in row["shards"]):
        raise fail("SFN503", f"{FILE}: a shard is not (core, start, stop)", str(folder), "compile again")
    return Placement(tuple(Placed(row["name"], tuple(Shard(*s) for s in row["shards"])) for row in rows))
