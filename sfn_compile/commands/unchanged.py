"""Whether a folder already holds the build that is asked for: then compile has nothing to do.

``request.json`` keeps what a build was asked for: sha256 of model and data, options, shapes, versions, and a digest of
the compiler's own code. It counts for the manifest whose seal it states, and only while every sealed file is still
what compile wrote. Nothing heavy is imported here: the answer comes in a fraction of a second.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..files import sealed
from ..files.build_folder import dumps, write_json
from ..files.program_files import read_json
from ..files.sample_files import file_sha256
from ..foundation.declaration import as_json
from ..foundation.diagnostics import CompileError
from ..foundation.version import __version__
from ..targets.backend import GROUP
from .request import Request

FILE = "request.json"
PACKAGES = ("numpy", "onnx", "onnx-ir", "onnxruntime", "onnxscript")
CODE = (".py", ".j2", ".css", ".js", ".toml")


def asked_for(model: Path, request: Request) -> dict[str, Any] | None:
    """Return what a build is asked for, None where that cannot be told apart from something else: a search, whose
    trials are its own; data that come from a function or from memory; a model that is not there."""
    data, options, beside = request.data, request.options, request.arguments
    found = None if data is None else _data_sha256(data.what)
    if request.search is not None or (data is not None and found is None) or not model.is_file():
        return None
    asked = {
        "model": {"name": model.name, "sha256": file_sha256(model)},
        "data": None if data is None else {"name": Path(data.what).name, "sha256": found,
                                           "prepared": as_json(data.preparation)},
        "options": options.as_dict(), "input_shapes": {name: list(s) for name, s in beside.input_shapes.items()},
        "chip": [beside.hardware, beside.host_work, _data_sha256(Path(beside.hardware or "no file"))],
        "versions": {"sfnc": __version__, "python": platform.python_version(),
                     **{name: _version(name) for name in PACKAGES}},
        "code": _code(options.targets),
    }  # fmt: skip
    return dict(json.loads(dumps(asked)))


def record(folder: Path, asked: Mapping[str, Any] | None) -> None:
    """Write what a build was asked for beside its manifest, which is written."""
    if asked is not None:
        write_json(folder / FILE, {**asked, "seal": sealed.read_manifest(folder)[sealed.SEAL]})


def earlier_build(model: Path, out: Path, asked: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the report of the build in ``out`` where it is the one that is asked for and nothing of it was changed,
    no stranger lies in it and no target was refused; None where there is something to do."""
    if asked is None:
        return None
    try:
        manifest = sealed.read_manifest(out)
        if read_json(out / FILE) != {**asked, "seal": manifest[sealed.SEAL]}:
            return None
        if sealed.problems(out, manifest) or not _has_same_weights(model, manifest):
            return None
        report = read_json(out / "report.json")
    except (CompileError, OSError, ValueError):
        return None
    return None if any("refused" in row for row in report["targets"].values()) else dict(report)


def _has_same_weights(model: Path, manifest: Mapping[str, Any]) -> bool:
    """Return whether the model's external data files are those that were copied into the build."""
    targets = sealed.held_targets(manifest)
    files = {f: sha for f, sha in manifest["files"].items() if sealed.part_of(f, targets) == "model"}
    return all(
        (model.parent / f).is_file() and file_sha256(model.parent / f) == sha
        for f, sha in files.items()
        if f != "model.onnx"
    )


def _data_sha256(what: Any) -> str | None:
    """Return the sha256 of a file, or of the names and contents of a folder; None for anything else."""
    if not isinstance(what, Path):
        return None
    if what.is_file():
        return file_sha256(what)
    if not what.is_dir():
        return None
    return _of_files(what, (f for f in what.rglob("*") if f.is_file()))


def _of_files(root: Path, files: Iterator[Path]) -> str:
    sha = hashlib.sha256()
    for file in sorted(files):
        sha.update(f"{file.relative_to(root).as_posix()}\0{file_sha256(file)}\n".encode())
    return sha.hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _code(targets: tuple[str, ...]) -> str:
    """Return a digest of the code that a build depends on: the compiler's and that of the targets' packages."""
    asked = (entry.module.partition(".")[0] for entry in entry_points(group=GROUP) if entry.name in targets)
    sha = hashlib.sha256()
    for package in sorted({"sfn_compile", *asked}):
        spec = find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec is not None else ():
            files = (f for f in Path(place).rglob("*") if f.suffix in CODE)
            sha.update(f"{package} {_of_files(Path(place), files)}\n".encode())
    return sha.hexdigest()
