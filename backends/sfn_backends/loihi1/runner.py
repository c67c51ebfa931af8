"""Drive an emitted folder: its own ``run.py`` in the Python that has nengo-loihi."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from sfn_backends.loihi1 import interpreter
from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.foundation.installation import clean_environment
from sfn_compile.targets.backend import RunRequest, RunResult

COPIED = ("manifest.json", "tensors.npz", "blocks.py", "run.py")
THRESHOLDS = 16  # different ones that a core of the chip holds: nengo-loihi 1.1.0, hardware/validate.py


def run(folder: Path, request: RunRequest) -> RunResult:
    """Return the integers that the emulator computed. Raises SFN503, SFN601 without it, SFN603 where it died.

    The folder's program runs in a copy that holds no golden integers; it is given input codes only.
    """
    python, problem = interpreter.find()
    if python is None:
        raise fail("SFN601", problem, fix=interpreter.INSTALL)
    with tempfile.TemporaryDirectory(prefix="sfnc-loihi1-") as work:
        place = Path(work)
        (place / "network").mkdir()
        manifest = _copy(folder, place / "network")
        ids = {v["name"]: v["id"] for v in manifest["inputs"]}
        codes: dict[str, Any] = {ids[name]: np.asarray(x) for name, x in request.inputs.items()}
        np.savez(place / "codes.npz", **codes)
        answer = place / "values.npz"
        command = [python, "network/run.py", "--input", "codes.npz", "--output", "values.npz"]
        _execute(command, place, request.time_limit)
        try:
            found = program_files.npz_arrays(answer.read_bytes())
            said = json.loads(str(found.pop("said")))
        except (OSError, ValueError, KeyError) as error:
            raise fail("SFN603", f"it left no result: {error}", "run.py", "compile again") from error
    names = {layer["id"]: layer["name"] for layer in manifest["layers"]}
    notes = ["nengo-loihi's emulator of Loihi 1, no chip"]
    if said["thresholds"] > THRESHOLDS:
        notes.append(f"a core has up to {said['thresholds']} different thresholds; one of the chip holds {THRESHOLDS}")
    return RunResult({names[key]: x for key, x in found.items()}, said["executed_by"], notes=tuple(notes))


def _copy(folder: Path, to: Path) -> dict[str, Any]:
    try:
        for name in COPIED:
            shutil.copyfile(folder / name, to / name)
        manifest: dict[str, Any] = json.loads((to / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise fail("SFN503", f"not an intact Loihi 1 folder: {error}", str(folder), "compile again") from error
    return manifest


def _execute(command: list[str], place: Path, time_limit: float) -> None:
    try:
        done = subprocess.run(
            command, cwd=place, capture_output=True, text=True, timeout=time_limit, env=clean_environment(),
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise fail("SFN603", f"the emulator had not finished after {time_limit:g} s and was ended", "run.py") from None
    if done.returncode:
        told = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
        raise fail("SFN603", f"the emulator ended with exit status {done.returncode}; it said:\n{told}", "run.py")
