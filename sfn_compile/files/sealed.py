"""Sealed and living files of a build: which are which, and whether the sealed ones are still what compile wrote.

A *sealed* file is written by compile alone; its sha256 is in ``manifest.json``, which is sealed itself: ``seal`` is
the sha256 of its own content. A *living* file depends on the clock or on later commands; no number of the network, of a
target or of a proof is read from one. Whatever else lies in the folder belongs to the user and is never read; inside
the folder of a target, where a loader or an interpreter would find it, it is a *stranger*.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..foundation.diagnostics import Diagnostic, fail
from .program_files import read_json
from .sample_files import file_sha256
from .scratch_folders import restore

MANIFEST = "manifest.json"
SEAL = "seal"
AGAIN = "compile again"


@dataclass(frozen=True)
class Part:
    """Files of a build, relative to its folder, that are used together."""

    name: str
    files: tuple[str, ...]
    sealed: bool


# The folder of every target is one more sealed part, named like the target; `model` also has the external data files.
PARTS = (
    Part("program", ("program.json", "program.npz"), True),
    Part("model", ("model.onnx",), True),
    Part("host head", ("host_head.onnx",), True),
    Part("host tail", ("host_tail.onnx",), True),
    Part("golden", ("golden.npz",), True),
    Part("scales", ("scales.npz",), True),
    Part("report", ("report.json",), True),
    Part("targets", ("targets.json",), True),
    Part("page", ("report.html",), False),
    Part("timing", ("timing.json",), False),
    Part("request", ("request.json",), False),
    Part("proof", ("proof.json",), False),
    Part("evaluation", ("eval.json", "pictures.json"), False),
    Part("bisection", ("bisect.json",), False),
    Part("fit", ("fit.json",), False),
)
OPTIONAL = ("host head", "host tail")  # which not every build has
LIVING = frozenset(file for part in PARTS if not part.sealed for file in part.files)
_PART_OF = {file: part.name for part in PARTS for file in part.files}


def file_hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file in a folder that compile has just filled, by relative path, living ones aside."""
    names = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: file_sha256(p) for name, p in names.items() if name not in LIVING and name != MANIFEST}


def seal_of(manifest: Mapping[str, Any]) -> str:
    """Return the sha256 of a manifest's content without its seal; how the JSON text is laid out does not matter."""
    content = {key: value for key, value in manifest.items() if key != SEAL}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a build, after one that a killed build left beside it has been moved back.

    Raises SFN503 where there is none, or one without a seal.
    """
    restore(folder)
    file = folder / MANIFEST
    if not file.is_file():
        raise fail("SFN503", f"there is no {MANIFEST}", str(folder), "give the folder that `sfnc compile` wrote")
    try:
        manifest = read_json(file)
    except (OSError, ValueError) as error:
        raise fail("SFN503", f"{MANIFEST} is damaged: {error!r}", str(folder), AGAIN) from error
    if not isinstance(manifest, dict):
        raise fail("SFN503", f"{MANIFEST} is damaged: it is no object", str(folder), AGAIN)
    if SEAL not in manifest:
        raise fail("SFN503", f"{MANIFEST} has no seal: an older version wrote this build", str(folder), AGAIN)
    if not _has_files_and_targets(manifest):
        raise fail("SFN503", f"{MANIFEST} is damaged: it lists no files or no targets", str(folder), AGAIN)
    return manifest


def _has_files_and_targets(manifest: Mapping[str, Any]) -> bool:
    files, options = manifest.get("files"), manifest.get("options")
    if not isinstance(files, dict) or not isinstance(options, dict) or not isinstance(options.get("targets"), list):
        return False
    return all(isinstance(word, str) for word in (*files, *files.values(), *options["targets"]))


def require_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise SFN503 where a manifest is not the one that compile wrote."""
    if manifest[SEAL] != seal_of(manifest):
        raise fail("SFN503", f"{MANIFEST} is not the file that compile wrote", str(folder), AGAIN)


def held_targets(manifest: Mapping[str, Any]) -> list[str]:
    """Return the targets that the build has files of, in the order in which they were asked for."""
    holds = {file.partition("/")[0] for file in manifest["files"] if "/" in file}
    return [name for name in dict.fromkeys(manifest["options"]["targets"]) if name in holds]


def part_of(file: str, targets: Iterable[str]) -> str:
    """Return the part that a file of the manifest belongs to: the name of a :class:`Part`, or of a target.

    >>> part_of("sim/program.npz", ["sim"]), part_of("program.npz", ["sim"]), part_of("weights/a.bin", ["sim"])
    ('sim', 'program', 'model')
    """
    first, _, inner = file.partition("/")
    return first if inner and first in targets else _PART_OF.get(file, "model")


def changed(folder: Path, manifest: Mapping[str, Any], *parts: str) -> list[str]:
    """Return the sealed files, of ``parts`` or of all, that are missing or no longer what compile wrote."""
    targets = held_targets(manifest)
    needed = [
        part for part in PARTS if part.sealed and (part.name in parts or (not parts and part.name not in OPTIONAL))
    ]
    wanted = {file: "" for part in needed for file in part.files}  # which the manifest must list
    wanted |= {f: h for f, h in manifest["files"].items() if not parts or part_of(f, targets) in parts}
    return sorted(file for file, digest in wanted.items() if _sha256(folder / file) != digest)


def _sha256(path: Path) -> str | None:
    """Return the sha256 of a file, None where there is none or it cannot be read."""
    try:
        return file_sha256(path) if path.is_file() else None
    except OSError:
        return None


def strangers(folder: Path, manifest: Mapping[str, Any], *targets: str) -> list[str]:
    """Return what lies in the folders of ``targets``, or of all that the build holds, and is none of its files.

    A folder (or a link to one) that holds no file of the build is named with a slash and not looked into.
    """
    files = set(manifest["files"])
    folders = {parent.as_posix() for file in files for parent in Path(file).parents}
    found: list[str] = []
    for target in targets or held_targets(manifest):
        for place, inner, names in os.walk(folder / target):
            here = Path(place).relative_to(folder).as_posix()
            odd = [d for d in inner if f"{here}/{d}" not in folders or os.path.islink(os.path.join(place, d))]
            found += [f"{here}/{d}/" for d in odd] + [f"{here}/{n}" for n in names if f"{here}/{n}" not in files]
            inner[:] = [d for d in inner if d not in odd]
    return sorted(found)


def problems(folder: Path, manifest: Mapping[str, Any]) -> list[Diagnostic]:
    """Return one SFN506 per sealed file that is not what compile wrote, and per stranger in a target's folder."""
    found = []
    if manifest[SEAL] != seal_of(manifest):
        found.append(Diagnostic("SFN506", "it is not the file that compile wrote", MANIFEST, AGAIN))
    for file in changed(folder, manifest):
        what = "it is not the file that compile wrote" if (folder / file).is_file() else "it is missing"
        found.append(Diagnostic("SFN506", what, file, AGAIN))
    for file in strangers(folder, manifest):
        what = "compile did not write it, and a program that reads this folder would find it"
        found.append(Diagnostic("SFN506", what, file, "move it out of the build"))
    return found


def require(folder: Path, manifest: Mapping[str, Any], *parts: str) -> None:
    """Raise SFN503 where a sealed file of ``parts`` was changed, or a stranger lies in the folder of a target."""
    for file in changed(folder, manifest, *parts):
        what = "is not the file that compile wrote" if (folder / file).is_file() else "is missing"
        raise fail("SFN503", f"{file} {what}", str(folder), AGAIN)
    here = [part for part in parts if part in held_targets(manifest)]
    for file in strangers(folder, manifest, *here) if here else ():
        raise fail("SFN503", f"{file} was not written by compile", str(folder), "move it out of the build")
