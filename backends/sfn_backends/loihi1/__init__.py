"""Target ``loihi1``: blocks of Intel's first chip, executed by nengo-loihi's emulator, which raises on overflow.

Spikes are binary: a neuron of N levels is N compartments. sfnc never imports nengo-loihi: it runs the folder in another
process.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfn_backends.loihi1 import artifacts, cores, interpreter, limits, runner
from sfn_backends.loihi1.network import Network
from sfn_compile.program.network import Program
from sfn_compile.targets.backend import Placement, RunRequest, RunResult


class Loihi1Backend:
    """nengo-loihi's emulator of Loihi 1."""

    name = "loihi1"
    capabilities = limits.CAPABILITIES

    def available(self) -> str | None:
        """Return None where a Python with nengo-loihi was found, else what was looked at and how to install it."""
        python, problem = interpreter.find()
        return None if python else f"{problem}. To install: {interpreter.INSTALL}"

    def place(self, program: Program, options: Mapping[str, Any]) -> Placement:
        """Return a core for every part of a layer. Raises SFN401, SFN402 where the network does not fit."""
        limits.check_fits(program, options["cores"])
        return cores.place(Network(program), options["cores"])

    def emit(
        self, program: Program, folder: Path, options: Mapping[str, Any], placement: Placement | None = None
    ) -> None:
        """Write the folder."""
        artifacts.write(program, folder, placement if placement is not None else self.place(program, options))

    def reload(self, folder: Path) -> Program:
        """Return the Program of the arrays that the emulator is given. Raises SFN503."""
        return artifacts.read(folder)

    def run(self, folder: Path, request: RunRequest) -> RunResult:
        """Execute the folder's ``run.py``. Raises SFN601 without nengo-loihi, SFN603 where it died or took too long."""
        return runner.run(folder, request)
