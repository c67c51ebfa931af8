"""A target is built once: the Program legalised for it, held against its limits, placed on its cores, written, read
back. What later commands need of that is stored (:mod:`.target_records`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..files import program_files
from ..foundation.diagnostics import fail
from ..program.network import Program
from .backend import Backend, Placing
from .legalize import check_widths, legalize
from .placement import Placement, misplaced, on_one_core


@dataclass(frozen=True, eq=False)
class TargetBuild:
    """A Program as target ``name`` is given it: legal and within its limits, and where its neurons are."""

    name: str
    program: Program
    placement: Placement

    @cached_property
    def digest(self) -> str:
        """The digest of :attr:`program`, which the target's files have to read back as."""
        return program_files.digest(self.program)


def build_target(program: Program, backend: Backend, options: Mapping[str, Any], folder: Path) -> TargetBuild:
    """Return the build of ``program`` for a target, whose files now lie in the existing empty ``folder``.

    ``options``: the value of each option of the target, by its own name. Raises SFN401, SFN402, SFN403, SFN610 where
    the network does not fit, SFN901 where the files do not read back as the network that they were made from.
    """
    made = place_target(program, backend, options)
    emit_target(made, backend, options, folder)
    if program_files.digest(backend.reload(folder)) != made.digest:
        raise fail("SFN901", f"the files of target {made.name} do not read back as the network they were made from")
    return made


def place_target(program: Program, backend: Backend, options: Mapping[str, Any]) -> TargetBuild:
    """Return ``program`` legalised for a target, within its capabilities and placed; nothing is written.

    Raises SFN401, SFN402, SFN610 where it does not fit, SFN901 where a back end places a neuron nowhere or twice.
    """
    name = backend.name
    if program.clock is not None and not backend.capabilities.clocked:
        raise fail("SFN610", f"target {name} answers in one timestep, and the network runs over {program.timesteps}",
                   fix="leave this target out, or compile for one timestep")  # fmt: skip
    legal = legalize(program, name, backend.capabilities)
    check_widths(legal, name, backend.capabilities)
    placement = backend.place(legal, options) if isinstance(backend, Placing) else on_one_core(legal)
    wrong = misplaced(legal, placement)
    if wrong:
        raise fail("SFN901", f"target {name} has misplaced the network: {wrong}")
    return TargetBuild(name, legal, placement)


def emit_target(made: TargetBuild, backend: Backend, options: Mapping[str, Any], folder: Path) -> None:
    """Write the files of a target. Raises SFN401, SFN402, SFN403 where the back end refuses what it was given."""
    if isinstance(backend, Placing):
        backend.emit(made.program, folder, options, made.placement)
    else:
        backend.emit(made.program, folder, options)
