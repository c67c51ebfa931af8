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
from ..foundation.samples import ModelInput, Samples, in_frames
from ..program.network import Program
from . import build_checks, program_files, sealed
from .atomic_files import disk, write_bytes
from .sealed import MANIFEST

Array = NDArray[Any]
SCALES = "scales.npz"
_NUMBERS = re.compile(r"\[\n[-+\d.eE,\s]*\]")  # no string holds a line break, so this is a list


def dumps(obj: Any) -> str:
    """Return JSON text that is the same for the same content; lists of numbers are on one line.

    JSON has no NaN and no infinity: they become null, and ``not_finite`` of the outermost object says what they were.
    """
    odd: dict[str, str] = {}
    clean = _finite(obj, "", odd)
    clean = {**clean, "not_finite": odd} if odd and isinstance(clean, dict) else clean
    text = json.dumps(clean, indent=1, sort_keys=True, default=_plain, allow_nan=False)
    return _NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n"


def _finite(obj: Any, place: str, odd: dict[str, str]) -> Any:
    """Return ``obj`` with None for every number that is not finite, which is added to ``odd`` by its place."""
    if isinstance(obj, Mapping):
        return {key: _finite(value, f"{place}.{key}".lstrip("."), odd) for key, value in obj.items()}
    if isinstance(obj, tuple | list):
        return [_finite(value, f"{place}[{i}]", odd) for i, value in enumerate(obj)]
    if isinstance(obj, float | np.floating) and not np.isfinite(obj):
        odd[place] = str(float(obj))
        return None
    return obj


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


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file of a build holds. Raises SFN503."""
    try:
        found = program_files.read_json(path)
    except (OSError, ValueError) as error:
        raise fail("SFN503", f"{path.name} cannot be read: {error}", str(path), "compile again") from error
    if not isinstance(found, dict):
        raise fail("SFN503", f"{path.name} is damaged: it is no object", str(path), "compile again")
    return found


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write ``manifest.json`` over everything in ``folder``, and seal it."""
    content = json.loads(dumps({**facts, "files": sealed.file_hashes(folder)}))
    write_json(folder / MANIFEST, {**content, sealed.SEAL: sealed.seal_of(content)})


def open_build(folder: Path, *parts: str) -> tuple[dict[str, Any], Program]:
    """Return (manifest, Program) of a build whose sealed files, of the program and of ``parts``, are as compile wrote
    them. Raises SFN503.

    ``parts`` are names of :data:`sealed.PARTS` and of targets: what the caller will read.
    """
    manifest = sealed.read_manifest(folder)
    sealed.require_manifest(folder, manifest)
    sealed.require(folder, manifest, "program", *parts)
    program = program_files.load(folder)
    build_checks.check_manifest(manifest, program)
    return manifest, program


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


def sample_inputs(manifest: Mapping[str, Any]) -> tuple[ModelInput, ...]:
    """Return the inputs as samples of a build have them: in frames where it was compiled for frames."""
    said = manifest.get("options", {})
    return in_frames(model_inputs(manifest), said.get("timesteps") if said.get("input_coding") == "frames" else None)


def head_cuts(manifest: Mapping[str, Any]) -> tuple[ModelInput, ...]:
    """Return the values that a build's host head hands to the network, none where it has no head."""
    head = manifest.get("host_head")
    return () if head is None else tuple(ModelInput(c["name"], tuple(c["shape"]), c["dtype"]) for c in head["cut"])


def save_golden(folder: Path, x: Samples, values: Mapping[str, Array]) -> None:
    """Write ``golden.npz``: the samples of the model's inputs and the integers of every value.

    ``names[i]`` is the value whose integers are array ``v<i>``; names are data because they may hold any character.
    ``inputs`` names the model's inputs, and what a host head makes of them; their samples are ``x``, or ``x<i>`` where
    there are several.
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
    npz = _arrays(folder / "golden.npz")
    inputs = _listed(npz, "inputs", "golden.npz")
    x = _named(npz, inputs, _input_keys(len(inputs)), "golden.npz")
    names = _listed(npz, "names", "golden.npz")
    return x, _named(npz, names, [f"v{i:05d}" for i in range(len(names))], "golden.npz")


def _arrays(file: Path) -> dict[str, Array]:
    """Return the arrays of an archive of a build. Raises SFN503."""
    try:
        return program_files.npz_arrays(file.read_bytes())
    except program_files.UNREADABLE as error:
        raise fail("SFN503", f"{file.name} cannot be read: {error}", str(file.parent), "compile again") from error


def _listed(npz: Mapping[str, Array], name: str, file: str) -> list[str]:
    """Return the names that an archive lists under ``name``. Raises SFN503 where it lists none."""
    found = npz.get(name)
    if found is None or found.dtype.kind != "U" or found.ndim != 1 or len(set(found.tolist())) != len(found):
        raise fail("SFN503", f"{file}: its list of {name} is damaged", fix="compile again")
    return [str(n) for n in found]


def _named(npz: Mapping[str, Array], names: list[str], keys: list[str], file: str) -> dict[str, Array]:
    """Return the arrays of ``keys`` by the ``names`` that belong to them. Raises SFN503 where one is missing."""
    missing = [key for key in keys if key not in npz]
    if missing:
        raise fail("SFN503", f"{file}: there is no array {missing[0]!r}", fix="compile again")
    return {name: npz[key] for name, key in zip(names, keys, strict=True)}


def save_scales(folder: Path, steps: Mapping[str, Array]) -> None:
    """Write ``scales.npz``: the real value of one integer of every value, ``s<i>`` that of ``names[i]``."""
    arrays = {f"s{i:05d}": np.asarray(step, np.float64) for i, step in enumerate(steps.values())}
    arrays["names"] = np.array(list(steps), dtype=np.str_)
    (folder / SCALES).write_bytes(program_files.npz_bytes(arrays))


def load_scales(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Array]:
    """Return the real value of one integer of every value. Raises SFN503."""
    sealed.require(folder, manifest, "scales")
    npz = _arrays(folder / SCALES)
    names = _listed(npz, "names", SCALES)
    return _named(npz, names, [f"s{i:05d}" for i in range(len(names))], SCALES)
