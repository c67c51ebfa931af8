"""Drive an emitted folder: its own ``run.py``, guarded, in the Python that has Lava."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_backends.lava import interpreter
from sfn_backends.lava.artifact import guard
from sfn_backends.lava.artifacts import load_npz
from sfn_compile.foundation.diagnostics import CompileError, fail
from sfn_compile.targets.backend import RunRequest, RunResult

Array = NDArray[Any]


def run(folder: Path, request: RunRequest, mode: str, whole_limit: float) -> RunResult:
    """Return the integers that Lava computed. Raises SFN601 without Lava, SFN603 where it died or took too long."""
    python, problem = interpreter.find()
    if python is None:
        raise fail("SFN601", problem, fix=interpreter.INSTALL)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    with guard.workspace() as work:
        place = Path(work)
        ids = {v["name"]: v["id"] for v in manifest["inputs"] + manifest["layers"]}
        _save(place / "codes.npz", {**request.golden, **request.inputs}, ids)
        command = [python, str((folder / "run.py").resolve()), "--mode", mode, "--whole-limit", f"{whole_limit:g}"]
        for option, file in (("input", "codes.npz"), ("output", "values.npz"), ("report", "report.json")):
            command += [f"--{option}", str(place / file)]
        _execute(command, request.time_limit, folder, place)
        values, report = load_npz(place / "values.npz"), json.loads((place / "report.json").read_text("utf-8"))
    names = {v["id"]: v["name"] for v in manifest["layers"]}
    return RunResult({names[key]: x for key, x in values.items()}, report["executed_by"], report["mode"])


def _save(path: Path, codes: Mapping[str, Array], ids: Mapping[str, str]) -> None:
    arrays: dict[str, Any] = {ids[name]: np.asarray(x) for name, x in codes.items() if name in ids}
    np.savez(path, **arrays)


def _execute(command: list[str], time_limit: float, folder: Path, place: Path) -> None:
    with (place / "log").open("wb") as log:
        status = guard.run(command, str(place), time_limit, log, interpreter.environment())
    if status != 0:
        raise _failure(status, time_limit, folder, (place / "log").read_text("utf-8", "replace"))


def _failure(status: int | None, time_limit: float, folder: Path, output: str) -> CompileError:
    if status is None:
        what = f"Lava had not finished after {time_limit:g} s and was ended"
    else:
        what = f"Lava died ({f'exit status {status}' if status > 0 else f'signal {-status}'})"
    said = _telling(output.strip().splitlines())
    return fail("SFN603", what + (f"; it said:\n{said}" if said else ""), str(folder))


def _telling(lines: list[str]) -> str:
    """Return the first traceback and what follows, or the end of the output: Lava itself goes on to complain."""
    first = next((i for i, line in enumerate(lines) if line.startswith("Traceback")), max(0, len(lines) - 25))
    return "\n".join(lines[first : first + 25])
