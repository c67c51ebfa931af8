"""Target ``sim``: the Program itself, executed through :mod:`sfn_compile.arith`. No arithmetic of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sfn_compile import __version__, serialize
from sfn_compile.backend import Capabilities, RunRequest, RunResult
from sfn_compile.execute import run_codes
from sfn_compile.program import ADAPTIVE, MOVES, Program


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
    )

    def available(self) -> str | None:
        """Return None: it needs nothing beyond sfnc."""
        return None

    def emit(self, program: Program, folder: Path, options: Mapping[str, str]) -> None:
        """Write ``program.json`` and ``program.npz``."""
        serialize.save(program, folder)

    def reload(self, folder: Path) -> Program:
        """Return the Program of the folder."""
        return serialize.load(folder)

    def run(self, folder: Path, request: RunRequest) -> RunResult:
        """Return every value, computed by the plain int64 engine (the fast one made the golden integers)."""
        values = run_codes(self.reload(folder), request.inputs, engine="reference")
        return RunResult(values, f"sfnc {__version__} reference engine (int64), NumPy {np.__version__}")
