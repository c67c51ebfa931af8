"""Runs the stock readers in another interpreter, under a time limit, and compares every layer with the simulator."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfn_backends.nir.files import name as file_name
from sfn_backends.nir.net import Array
from sfn_backends.nir.read_values import decode
from sfn_compile.foundation.installation import absolute, environments
from sfn_compile.targets.backend import RunRequest

VARIABLE = "SFNC_NIR_PYTHON"
FOLDER = ".venv-nir"
ABSENT = (
    "the stock NIR readers (snnTorch, Norse, Sinabs, SpikingJelly) were not run: no environment with them was found; "
    f"`make readers` makes one, or {VARIABLE} names its Python"
)
# IF is what Norse, Sinabs and SpikingJelly read alike; snnTorch 1.0.0 makes a tuple of it and reads LIF.
READERS = {
    "binary": {"norse": "IF", "sinabs": "IF", "spikingjelly": "IF", "snntorch": "LIF"},
    "unary": {"nirtorch": ""},
    "sar": {"nirtorch": ""},
}


@dataclass(frozen=True, eq=False)
class Job:
    """Part ``number`` of a folder, where its values are, and the codes with the golden integers to compare with."""

    folder: Path
    number: int
    values: Mapping[str, Any]
    request: RunRequest

    @property
    def checked(self) -> dict[str, Any]:
        """The values that the simulator's integers are known of."""
        return {name: where for name, where in self.values.items() if name in self.request.golden}


def interpreter() -> Path | None:
    """Return the interpreter that has the stock readers: ``SFNC_NIR_PYTHON``, or ``.venv-nir`` beside the installation.

    One in the current folder is never executed.
    """
    named = os.environ.get(VARIABLE)
    return Path(named) if named else next(iter(environments(FOLDER)), None)


def run(jobs: Sequence[Job], form: str) -> Iterator[dict[str, Any]]:
    """Yield one entry per stock reader and file; none where no interpreter is known. A failure is an error entry."""
    python, deadline = interpreter(), time.monotonic() + jobs[0].request.time_limit
    if python is not None:
        for name in READERS[form]:
            yield from read(python, name, form, jobs, deadline - time.monotonic())


def read(python: Path, name: str, form: str, jobs: Sequence[Job], seconds: float) -> list[dict[str, Any]]:
    """Return one entry per job, all run in one process by the reader ``name``."""
    names = [file_name(job.number, READERS[form][name]) for job in jobs]
    with tempfile.TemporaryDirectory() as scratch:
        arguments = []
        for i, (job, file) in enumerate(zip(jobs, names, strict=True)):
            before, after = Path(scratch) / f"{i}.in.npz", Path(scratch) / f"{i}.npz"
            (codes,) = job.request.inputs.values()
            nodes = sorted({where["node"] for where in job.checked.values()})
            np.savez(before, x=np.asarray(codes), nodes=np.array(nodes, dtype=str))
            arguments += [str((job.folder / file).resolve()), str(before), str(after)]
        script = str(Path(__file__).with_name("readers.py"))
        error = guarded([absolute(str(python)), "-s", script, name, *arguments], seconds, scratch)
        return [
            {"name": name, "file": file, **_entry(job, Path(arguments[3 * i + 2]), error)}
            for i, (job, file) in enumerate(zip(jobs, names, strict=True))
        ]


def _entry(job: Job, path: Path, error: str | None) -> dict[str, Any]:
    """Return version, samples, compared and different integers, layers, and error (None or the reader's own words)."""
    (codes,) = job.request.inputs.values()
    entry = {"version": "", "samples": len(codes), "compared": 0, "different": 0, "layers": 0, "error": error}
    if not path.exists():
        return entry | {"error": error or "the reader wrote no result"}
    with np.load(path, allow_pickle=False) as found:
        entry["version"] = str(found["@version"])
        if "@error" in found:
            return entry | {"error": str(found["@error"])}
        try:
            return entry | _compare(found, job)
        except ValueError as problem:
            return entry | {"error": str(problem)}


def _compare(found: Mapping[str, Array], job: Job) -> dict[str, int]:
    compared = different = 0
    for name, where in job.checked.items():
        expected = job.request.golden[name]
        compared += expected.size
        different += int((decode(found[where["node"]], where) != expected).sum())
    return {"compared": compared, "different": different, "layers": len(job.checked)}


def guarded(command: list[str], seconds: float, folder: str) -> str | None:
    """Run a program in its own session and in ``folder``, which is ours; return None, or why it failed with the end of
    what it said."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
                cwd=folder,
            )  # fmt: skip
        except OSError as error:
            return f"cannot start {command[0]}: {error}"
        try:
            status = process.wait(max(seconds, 0.1))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"ended after {seconds:.0f} seconds"
        log.seek(0)
        said = log.read()[-2000:].decode(errors="replace").strip()
        return None if status == 0 else f"exit status {status}: {said}"
