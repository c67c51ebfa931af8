"""Target ``lava``: a self-contained folder that runs in lava-nc 0.10.0 (CPU simulation), without sfnc.

Weights live in Lava's stock Dense, Conv and Sparse; neurons, max pooling and sinks are processes of ours
(``artifact/sfnproc``). sfnc never imports Lava: it runs the folder in a guarded subprocess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfn_backends.lava import artifacts, interpreter, limits, runner
from sfn_compile.program.network import Program
from sfn_compile.targets.backend import RunRequest, RunResult

WHOLE_LIMIT = 60.0


@dataclass(frozen=True)
class LavaBackend:
    """Lava on the CPU. ``mode``: whole, layerwise, or auto, which is whole up to ``whole_limit`` predicted seconds."""

    mode: str = "auto"
    whole_limit: float = WHOLE_LIMIT

    name = "lava"
    capabilities = limits.CAPABILITIES

    def available(self) -> str | None:
        """Return None where a Python with lava-nc was found, else what was looked at and how to install it."""
        python, problem = interpreter.find()
        return None if python else f"{problem}. To install: {interpreter.INSTALL}"

    def emit(self, program: Program, folder: Path, options: Mapping[str, Any]) -> None:
        """Write the artifact into ``folder``. Raises SFN401, SFN402 where the network does not fit."""
        limits.check_fits(program)
        artifacts.write(program, folder)

    def reload(self, folder: Path) -> Program:
        """Return the Program of the folder, its integers read from ``tensors.npz``. Raises SFN503."""
        return artifacts.read(folder)

    def run(self, folder: Path, request: RunRequest) -> RunResult:
        """Execute the folder's ``run.py``. Raises SFN601 without Lava, SFN603 where it died or took too long."""
        return runner.run(folder, request, self.mode, self.whole_limit)
