"""What the tests of the target lava share: emitting, running, and looking for what a run leaves."""

from __future__ import annotations

import contextlib
import glob
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sfn_backends.lava import LavaBackend, interpreter
from sfn_backends.lava.artifact import guard

from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.installation import clean_environment
from sfn_compile.program.network import (
    Program,
)
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.backend import RunRequest
from sfn_compile.targets.target_build import emit_target, place_target
from sfn_compile.testing.conformance import edge_inputs

PYTHON, PROBLEM = interpreter.find()
needs_lava = pytest.mark.skipif(PYTHON is None, reason=f"lava-nc: {PROBLEM}. {interpreter.INSTALL}")


def emit(program: Program, folder: Path) -> Program:
    folder.mkdir(parents=True, exist_ok=True)
    made = place_target(program, LavaBackend(), {})
    emit_target(made, LavaBackend(), {}, folder)
    return made.program


def request_for(program: Program, time_limit: float = 60.0) -> RunRequest:
    inputs = edge_inputs(program)
    return RunRequest(inputs, run_codes(program, inputs, engine="reference"), time_limit)


def edit(path: Path, **changes: Any) -> None:
    """Replace arrays of an .npz: each change maps an array to an array."""
    with np.load(path) as npz:
        arrays = {key: npz[key] for key in npz.files}
    for key, change in changes.items():
        arrays[key] = change(arrays[key].copy())
    path.write_bytes(program_files.npz_bytes(arrays))


def put(place: Any, value: int) -> Any:
    def change(x: Any) -> Any:
        x[place] = value
        return x

    return change


def running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def processes(place: Path) -> list[str]:
    """Processes of guarded runs whose work folder lies in ``place``."""
    marker = f"{guard.WORK}={place}/".encode()
    found = []
    for path in glob.glob("/proc/[0-9]*/environ"):
        with contextlib.suppress(OSError):
            found += [path] if marker in Path(path).read_bytes() and running(path.split("/")[2]) else []
    return found


def leftovers(place: Path) -> list[str]:
    """Work folders and processes in ``place``, and shared memory of any run whose creator is gone."""
    blocks = [b for b in glob.glob("/dev/shm/psm_sfnc-lava-*") if not running(b.split("_")[-2])]
    return [*map(str, place.iterdir()), *processes(place), *blocks]


def until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def started(place: Path) -> bool:
    """Whether the Lava network of a run in ``place`` is up: it holds shared memory."""
    return any(glob.glob(f"/dev/shm/psm_{work.name}_*") for work in place.glob("sfnc-lava-*"))


def bare() -> dict[str, str]:
    """An environment that helps neither to find sfnc nor to choose an interpreter."""
    return {k: v for k, v in clean_environment().items() if not k.startswith("SFNC")}


def digest_or_code(folder: Path) -> str:
    """What reload makes of a folder: a digest, or SFN503 where an integer is none that a map can mean."""
    try:
        return program_files.digest(LavaBackend().reload(folder))
    except CompileError as error:
        return error.diagnostics[0].code
