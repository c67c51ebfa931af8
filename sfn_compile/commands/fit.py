"""Fit: does a build fit a chip, where would its neurons are, how long would a step take, at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files import build_folder
from ..foundation.codes import CODES, EXIT_OK
from ..foundation.diagnostics import CompileError, Diagnostic
from ..hardware.chip import Chip
from ..hardware.chip_files import load_chip
from ..hardware.fit import Asked, Fit, document, fit_program
from ..hardware.names import PlanName
from ..program.network import Program
from ..report.likeness import read_report
from ..report.page.document import refresh

FILE = "fit.json"


@dataclass(frozen=True)
class Wanted:
    """A chip that a compilation has to fit."""

    chip: Chip
    asked: Asked


@dataclass(frozen=True)
class Fitted:
    """The answer. ``document`` is ``fit.json``; ``problems``: why it does not fit; ``warnings``: what is not known."""

    document: dict[str, Any]
    problems: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """Exit status: that of the first problem."""
        return CODES[self.problems[0].code].exit_code if self.problems else EXIT_OK


def wanted(hardware: str | None, host_work: bool = False) -> Wanted | None:
    """Return what a compilation has to fit, None where no chip is named. Raises SFN605, SFN409."""
    return None if hardware is None else Wanted(load_chip(hardware), Asked(counts_host=host_work))


def fit(
    folder: Path, hardware: str = "loihi2", split: PlanName = "vendor", state_words: float | None = None,
    host_work: bool = False,
) -> Fitted:  # fmt: skip
    """Return whether a build fits a chip, and write ``fit.json`` and the page anew, whatever the answer.

    ``split`` and ``state_words``: which plan the core map shows. Raises SFN605, SFN409 for a chip that cannot be read,
    SFN503 for a build that cannot.
    """
    chip = load_chip(hardware)
    _, program = build_folder.open_build(folder, "report")
    found = fit_program(program, chip, _density(read_report(folder)), Asked(split, state_words or 0, host_work))
    answer = _answer(found)
    build_folder.write_json(folder / FILE, answer.document)
    refresh(folder)
    return answer


def require_fit(program: Program, report: Mapping[str, Any], wanted: Wanted, folder: Path) -> dict[str, Any]:
    """Write ``fit.json`` of a network that is being built, and return it.

    Raises SFN410, SFN411, SFN412 where it can never fit.
    """
    found = fit_program(program, wanted.chip, _density(report), wanted.asked)
    if found.problems:
        raise CompileError(found.problems)
    answer = _answer(found).document
    build_folder.write_json(folder / FILE, answer)
    return answer


def _answer(found: Fit) -> Fitted:
    return Fitted(document(found), found.problems, found.warnings)


def _density(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the share of codes that are not 0, by value, on the samples that the report measured."""
    return {row["name"]: row["density"] for row in report["layers"] if row.get("density") is not None}
