"""The files of a build folder, described by ``manifest.json``."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import fail
from ..foundation.samples import ModelInput, Samples
from ..program.network import Program
from . import program_files
from .atomic_files import disk, write_bytes
from .sample_files import READ_ERRORS, file_sha256
from .scratch_folders import restore

Array = NDArray[Any]
MANIFEST = "manifest.json"
SCALES = "scales.npz"
_NUMBERS = re.compile(r"\[\n[-+\d.eE,\s]*\]")  # no string holds a line break, so this is a list
# Written after or beside the build: they depend on the clock or on later commands, so the manifest leaves them out.
OUTSIDE = {MANIFEST, "timing.json", "proof.json", "eval.json", "bisect.json"}
REWRITTEN = {"report.html"}  # by `sfnc report`: another page is no change of the build


def dumps(obj: Any) -> str:
    """Return JSON text that is the same for the same content; lists of numbers stand on one line."""
    text = json.dumps(obj, indent=1, sort_keys=True, default=_plain)
    return _NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not belong into a JSON file")


def write_json(path: Path, obj: Any) -> None:
    """Write ``obj`` as JSON, replacing the file in one step."""
    write_text(path, dumps(obj))


def write_text(path: Path, text: str) -> None:
    """Write a file in one step. Raises SFN602."""
    with disk(path):
        write_bytes(path, text.encode("utf-8"))


def file_hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file of a build that the manifest covers, by relative path."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    names = {p: p.relative_to(folder).as_posix() for p in files}
    return {n: file_sha256(p) for p, n in names.items() if n not in OUTSIDE}


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``manifest.json`` over everything in ``folder``."""
    write_json(folder / MANIFEST, {**facts, "files": file_hashes(folder)})


def open_build(folder: Path) -> tuple[dict[str, Any], Program]:
    """Return (manifest, Program) of a build. Raises SFN503 where it is none or its Program was changed."""
    restore(folder)
    manifest_file = folder / MANIFEST
    if not manifest_file.is_file():
        raise fail("SFN503", "there is no manifest.json", str(folder), "give the folder that `sfnc compile` wrote")
    try:
        manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
        expected = {n: manifest["files"][n] for n in ("program.json", "program.npz")}
    except (ValueError, KeyError, TypeError) as error:
        raise fail("SFN503", f"manifest.json is damaged: {error!r}", str(folder), "compile again") from error
    for name, digest in expected.items():
        file = folder / name
        if not file.is_file() or file_sha256(file) != digest:
            raise fail("SFN503", f"{name} is not the file that compile wrote", str(folder), "compile again")
    return manifest, program_files.load(folder)


def changed_files(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Return the files of a build that are missing, new or no longer what compile wrote."""
    now, then = file_hashes(folder), dict(manifest["files"])
    return sorted(n for n in now.keys() | then.keys() if now.get(n) != then.get(n) and n not in REWRITTEN)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file inside the kernel; a file system that can lets both share their blocks until one is written.

    Never a hard link: whoever writes the model anew in its old place would write into every build made from it.
    """
    try:
        with source.open("rb") as old, target.open("wb") as new:
            left = os.fstat(old.fileno()).st_size
            while left and (n := os.copy_file_range(old.fileno(), new.fileno(), left)):
                left -= n
            if not left:
                return
    except (AttributeError, OSError):  # another system, or a file system without it
        pass
    shutil.copyfile(source, target)


def model_inputs(manifest: Mapping[str, Any]) -> tuple[ModelInput, ...]:
    """Return the model's inputs as a build's manifest lists them. Raises SFN503 where it does not."""
    try:
        return tuple(ModelInput(i["name"], tuple(i["shape"]), i["dtype"]) for i in manifest["model"]["inputs"])
    except (KeyError, TypeError) as error:
        raise fail("SFN503", f"manifest.json lists no model inputs: {error!r}", fix="compile again") from error


def save_golden(folder: Path, x: Samples, values: Mapping[str, Array]) -> None:
    """Write ``golden.npz``: the samples of the model's inputs and the integers of every value.

    ``names[i]`` is the value whose integers are array ``v<i>``; names are data because they may hold any character.
    ``inputs`` names the model's inputs, whose samples are ``x``, or ``x<i>`` where there are several.
    """
    arrays = {f"v{i:05d}": program_files.smallest_int(v) for i, v in enumerate(values.values())}
    arrays["names"] = np.array(list(values), dtype=np.str_)
    arrays["inputs"] = np.array(list(x), dtype=np.str_)
    arrays |= dict(zip(_input_keys(len(x)), x.values(), strict=True))
    (folder / "golden.npz").write_bytes(program_files.npz_bytes(arrays))


def _input_keys(n: int) -> list[str]:
    return ["x"] if n == 1 else [f"x{i:05d}" for i in range(n)]


def load_golden(folder: Path) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return (samples by model input, integers by value name) of ``golden.npz``. Raises SFN503."""
    try:
        with (folder / "golden.npz").open("rb") as file, np.load(file, allow_pickle=False) as npz:
            inputs = [str(n) for n in npz["inputs"]]
            x = {name: npz[key] for name, key in zip(inputs, _input_keys(len(inputs)), strict=True)}
            return x, {str(n): npz[f"v{i:05d}"] for i, n in enumerate(npz["names"])}
    except READ_ERRORS as error:
        raise fail("SFN503", f"golden.npz cannot be read: {error}", str(folder), "compile again") from error


def save_scales(folder: Path, steps: Mapping[str, Array]) -> None:
    """Write ``scales.npz``: the real value of one integer of every value, ``s<i>`` that of ``names[i]``."""
    arrays = {f"s{i:05d}": np.asarray(step, np.float64) for i, step in enumerate(steps.values())}
    arrays["names"] = np.array(list(steps), dtype=np.str_)
    (folder / SCALES).write_bytes(program_files.npz_bytes(arrays))


def load_scales(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Array]:
    """Return the real value of one integer of every value. Raises SFN503."""
    file = folder / SCALES
    if not file.is_file() or file_sha256(file) != manifest["files"].get(SCALES):
        raise fail("SFN503", f"{SCALES} is not the file that compile wrote", str(folder), "compile again")
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as npz:
        return {str(n): npz[f"s{i:05d}"] for i, n in enumerate(npz["names"])}
