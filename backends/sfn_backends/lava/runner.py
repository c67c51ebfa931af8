"""Drive an emitted folder: its own ``run.py``, guarded, in the Python that has Lava."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_backends.lava import interpreter
from sfn_backends.lava.artifact import guard, plan
from sfn_backends.lava.artifact.layout import sources
from sfn_backends.lava.artifacts import OVER_TIME, TEMPLATES, load_npz
from sfn_compile.foundation.diagnostics import CompileError, fail
from sfn_compile.foundation.installation import clean_environment
from sfn_compile.targets.backend import RunRequest, RunResult

Array = NDArray[Any]
Json = Mapping[str, Any]
CHARGE = ".charge"
COPIED = ("manifest.json", "tensors.npz", *(name for name in TEMPLATES if name.endswith(".py")))


def run(folder: Path, request: RunRequest, mode: str, whole_limit: float) -> RunResult:
    """Return the integers that Lava computed. Raises SFN503 where a file is gone, SFN601 without Lava, SFN603 where it
    died or took too long.

    The folder's programs run in a copy that holds them, ``manifest.json`` and ``tensors.npz``: no golden integers, and
    nothing that compile did not write. They are given input codes; layer by layer, the codes of the sources of those
    layers whose own integers are not among them.
    """
    python, problem = interpreter.find()
    if python is None:
        raise fail("SFN601", problem, fix=interpreter.INSTALL)
    deadline = time.monotonic() + request.time_limit
    with guard.workspace() as work:
        place = Path(work)
        manifest = _copy(folder, place / "network")
        runner = _Runner(python, place, manifest, deadline, request.time_limit)
        tasks = _tasks(manifest, request, mode, whole_limit)
        found = [runner.execute({n: request.golden[n] for n in names} | dict(request.inputs), ids)
                 for ids, names in tasks]  # fmt: skip
    names = {v["id"]: v["name"] for v in manifest["layers"]}
    values = {names[key]: x for part, _ in found for key, x in part.items() if key in names}
    charges = {names[key.removesuffix(CHARGE)]: x for part, _ in found for key, x in part.items() if key not in names}
    report = found[0][1]
    return RunResult(values, report["executed_by"], report["mode"], potentials=charges)


def _copy(folder: Path, to: Path) -> dict[str, Any]:
    """Copy what runs, and what it reads, of a target's folder; return its manifest. Raises SFN503."""
    try:
        for name in COPIED:
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, to / name)
        manifest: dict[str, Any] = json.loads((to / "manifest.json").read_text(encoding="utf-8"))
        for name in OVER_TIME if manifest.get("clock") else ():
            shutil.copyfile(folder / name, to / name)
    except (OSError, ValueError) as error:
        raise fail("SFN503", f"not an intact Lava artifact: {error}", str(folder), "compile again") from error
    return manifest


def _tasks(manifest: Json, request: RunRequest, mode: str, whole_limit: float) -> list[tuple[list[str], list[str]]]:
    """Return (ids of layers that run alone, names of the values that they are fed) of every run.

    Without ids the whole network runs, fed with input codes.
    """
    inputs = {v["name"] for v in manifest["inputs"]}
    needed = {s for layer in manifest["layers"] for s in _sources(layer, manifest)} - inputs
    n = len(next(iter(request.inputs.values())))
    if mode == "auto":
        mode = "whole" if plan.whole_seconds(manifest, n) <= whole_limit else "layerwise"
    if mode == "whole" or not needed <= set(request.golden):
        return [([], [])]
    return [(group.ids, sorted(group.fed)) for group in _groups(manifest, inputs)]


@dataclass
class _Group:
    """Layers that run one after the other, each alone: none of them makes a value that another one is fed."""

    ids: list[str] = field(default_factory=list)
    made: set[str] = field(default_factory=set)
    fed: set[str] = field(default_factory=set)


def _groups(manifest: Json, inputs: set[str]) -> list[_Group]:
    """Return the layers in few groups: their programs never see the integers that they must compute."""
    groups: list[_Group] = []
    for layer in manifest["layers"]:
        if layer["kind"] == "flatten":
            continue
        fed, name = set(_sources(layer, manifest)) - inputs, layer["name"]
        free = (group for group in groups if name not in group.fed and not fed & group.made)
        group = next(free, None)
        if group is None:
            group = _Group()
            groups.append(group)
        group.ids.append(layer["id"])
        group.made.add(name)
        group.fed |= fed
    return groups


def _sources(layer: Json, manifest: Json) -> list[str]:
    """Return the values that a layer reads; of a flattened value the one that it is another view of."""
    flat = {x["name"]: x["source"] for x in manifest["layers"] if x["kind"] == "flatten"}
    found = []
    for source in sources(layer):
        while source in flat:
            source = flat[source]
        found.append(source)
    return found


@dataclass(frozen=True)
class _Runner:
    """Starts the copied ``run.py`` in ``place``, under what is left of the time limit."""

    python: str
    place: Path
    manifest: Json
    deadline: float
    time_limit: float

    def execute(self, codes: Mapping[str, Array], ids: Sequence[str]) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return (integers by id, the report) of a run fed with ``codes``. Raises SFN603."""
        named = {v["name"]: v["id"] for v in (*self.manifest["inputs"], *self.manifest["layers"])}
        arrays: dict[str, Any] = {named[name]: np.asarray(x) for name, x in codes.items()}
        np.savez(self.place / "codes.npz", **arrays)
        command = [self.python, str(self.place / "network" / "run.py"), "--mode", "layerwise" if ids else "whole"]
        command += ["--layers", ",".join(ids)] if ids else []
        for option, file in (("input", "codes.npz"), ("output", "values.npz"), ("report", "report.json")):
            command += [f"--{option}", str(self.place / file)]
        self._guarded(command)
        try:
            return load_npz(self.place / "values.npz"), json.loads((self.place / "report.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise fail("SFN603", f"it left no result: {error}", "run.py", "compile again") from error

    def _guarded(self, command: list[str]) -> None:
        left = max(self.deadline - time.monotonic(), 0.1)
        with (self.place / "log").open("wb") as log:
            status = guard.run(command, str(self.place), left, log, clean_environment(), str(self.place))
        if status != 0:
            raise _failure(status, self.time_limit, (self.place / "log").read_text("utf-8", "replace"))


def _failure(status: int | None, time_limit: float, output: str) -> CompileError:
    if status is None:
        what = f"Lava had not finished after {time_limit:g} s and was ended"
    else:
        what = f"Lava died ({f'exit status {status}' if status > 0 else f'signal {-status}'})"
    said = _telling(output.strip().splitlines())
    return fail("SFN603", what + (f"; it said:\n{said}" if said else ""), "run.py")


def _telling(lines: list[str]) -> str:
    """Return the first traceback and what follows, or the end of the output: Lava itself adds errors of its own."""
    first = next((i for i, line in enumerate(lines) if line.startswith("Traceback")), max(0, len(lines) - 25))
    return "\n".join(lines[first : first + 25])
