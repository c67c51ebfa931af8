"""Target ``sim``: the Program itself, executed through :mod:`.program.arithmetic`. No arithmetic of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sfn_compile.files import program_files
from sfn_compile.foundation.version import __version__
from sfn_compile.program.network import ADAPTIVE, MOVES, Program
from sfn_compile.simulator.run import run_codes
from sfn_compile.simulator.run_clock import run_by_definition
from sfn_compile.targets.backend import Capabilities, RunRequest, RunResult


class SimBackend:
    """The bit-accurate NumPy simulator."""

    name = "sim"
    capabilities = Capabilities(
        projections=frozenset({"Dense", "Conv", "SumPool", "Identity", "Gather"}),
        moves=MOVES,
        max_pool=True,
        acc_bits=63,
        weight_bits=32,
        note="bit-accurate NumPy simulator; always available",
        products=frozenset({"Elementwise", "Matmul"}),
        adaptive=ADAPTIVE,
        row_bits=63,
        clocked=True,
    )

    def available(self) -> str | None:
        """Return None: it needs nothing beyond sfnc."""
        return None

    def emit(self, program: Program, folder: Path, options: Mapping[str, Any]) -> None:
        """Write ``program.json`` and ``program.npz``."""
        program_files.save(program, folder)

    def reload(self, folder: Path) -> Program:
        """Return the Program of the folder."""
        return program_files.load(folder)

    def run(self, folder: Path, request: RunRequest) -> RunResult:
        """Return every value, computed by the plain int64 engine (the fast one made the golden integers)."""
        program = self.reload(folder)
        by = f"sfnc {__version__} reference engine (int64), NumPy {np.__version__}"
        if program.clock is None:
            return RunResult(run_codes(program, request.inputs, engine="reference"), by)
        values, charges = run_by_definition(program, request.inputs)
        return RunResult(values, by, potentials=charges)
