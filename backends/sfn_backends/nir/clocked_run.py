"""Executes the NIR files of a network over time: in NumPy, and in the stock readers that can be set to it."""

from __future__ import annotations

import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_backends.nir import clocked_evaluator, witnesses
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.foundation.installation import absolute
from sfn_compile.targets.backend import RunRequest, RunResult

Array = NDArray[Any]
READERS = ("sinabs", "norse", "spikingjelly")


def run(folder: Path, request: RunRequest) -> RunResult:
    """Return what every layer emits in each step. Raises SFN503 where the nodes are no such network."""
    path, (codes,) = folder / "network.nir", request.inputs.values()
    try:
        found = clocked_evaluator.run(path, np.asarray(codes))
    except (LookupError, ValueError, TypeError, AttributeError) as error:  # of another graph than we wrote
        raise fail("SFN503", f"{path.name} cannot be executed: {error!r}", str(path), "compile again") from error
    by = f"sfnc NIR evaluator + nir {version('nir')}, NumPy {np.__version__}"
    python = witnesses.interpreter()
    if not request.golden:
        return RunResult(found, by)
    if python is None:
        return RunResult(found, by, notes=(witnesses.ABSENT,))
    deadline = time.monotonic() + request.time_limit
    rows, notes = [], []
    for reader in READERS:
        row, note = _witness(python, reader, path, np.asarray(codes), request, deadline - time.monotonic())
        rows += [] if row is None else [row]
        notes += [] if note is None else [note]
    return RunResult(found, by, readers=tuple(rows), notes=tuple(notes))


def _witness(
    python: Path, reader: str, path: Path, codes: Array, request: RunRequest, seconds: float
) -> tuple[dict[str, Any] | None, str | None]:
    """Return the comparison with one reader, or a note on why it cannot run this network."""
    names = [layer["name"] for layer in clocked_evaluator.described(path)["layers"]]
    file = "network_cuba.nir" if reader == "norse" else path.name
    row: dict[str, Any] = {"name": reader, "file": file, "version": "", "samples": len(codes), "compared": 0,
                           "different": 0, "layers": 0, "error": None}  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        before, after = Path(scratch) / "in.npz", Path(scratch) / "out.npz"
        np.savez(before, x=codes)
        script = str(Path(__file__).with_name("clocked_readers.py"))
        command = [absolute(str(python)), "-s", script, reader, str(path.resolve()), str(before), str(after)]
        row["error"] = witnesses.guarded(command, seconds, scratch)
        if not after.exists():
            return row | {"error": row["error"] or "the reader wrote no result"}, None
        with np.load(after, allow_pickle=False) as data:
            row["version"] = str(data["@version"])
            if "@refused" in data:
                return None, f"{reader}: {data['@refused']}"
            if "@error" in data:
                return row | {"error": str(data["@error"])}, None
            pairs = [(data[f"v{i:04d}"], request.golden[name]) for i, name in enumerate(names)]
    different = sum(int(np.size(want)) if got.shape != want.shape else int((got != want).sum()) for got, want in pairs)
    size = sum(int(np.size(want)) for _, want in pairs)
    return row | {"compared": size, "different": different, "layers": len(pairs)}, None
