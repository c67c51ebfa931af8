"""What ``replay.py`` keeps of a build: hashes of its files and of the integers in them; what differs between two."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Record = dict[str, Any]

# Files that also say which options and versions made the build: compared with and without those.
STATED = ("manifest.json", "report.json", "report.html")
STATED_KEYS = ("files", "options", "versions")
STATED_ROWS = re.compile(r"<tr><td>(options|versions)</td>.*?</tr>", re.DOTALL)
CLOCK = ("timing.json",)
_CODE = re.compile(r"\bSFN\d{3}\b")


def of_build(folder: Path) -> Record:
    """Return what is kept of a build folder; empty where there is none."""
    if not folder.is_dir():
        return {}
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return {
        "files": {n: sha256((folder / n).read_bytes()) for n in names if n not in CLOCK and "__pycache__" not in n},
        "rest": {n: sha256(without_stated(folder / n)) for n in STATED if n in names},
        "program": program_digest(folder),
        "golden": golden(folder / "golden.npz"),
        "options": manifest.get("options"),
        "versions": manifest.get("versions"),
    }


def of_messages(text: str) -> Record:
    """Return what is kept of the error output: codes in order, and a hash of the words."""
    return {"codes": _CODE.findall(text), "words": sha256(text.encode())}


def sha256(content: bytes) -> str:
    """Return the hash of some bytes."""
    return hashlib.sha256(content).hexdigest()


def without_stated(file: Path) -> bytes:
    """Return a file's content without what it says of options, versions and hashes of other files."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".html":
        return STATED_ROWS.sub("", text).encode()
    kept = {k: v for k, v in json.loads(text).items() if k not in STATED_KEYS}
    return json.dumps(kept, sort_keys=True).encode()


def program_digest(folder: Path) -> str:
    """Return a hash of a Program's structure and arrays, whatever they are packed with."""
    sha = hashlib.sha256(json.dumps(json.loads((folder / "program.json").read_bytes()), sort_keys=True).encode())
    with np.load(folder / "program.npz", allow_pickle=False) as arrays:
        for name in sorted(arrays.files):
            sha.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
            sha.update(np.ascontiguousarray(arrays[name]).tobytes())
    return sha.hexdigest()


def golden(file: Path) -> dict[str, dict[str, str]]:
    """Return hashes of ``golden.npz``: its samples by input, its integers by value, whatever type holds them."""
    with np.load(file, allow_pickle=False) as arrays:
        values = {str(n): _integers(arrays[f"v{i:05d}"]) for i, n in enumerate(arrays["names"])}
        inputs = [str(n) for n in arrays["inputs"]]
        keys = ["x"] if len(inputs) == 1 else [f"x{i:05d}" for i in range(len(inputs))]
        samples = {n: _hashed(arrays[k], arrays[k].dtype.str) for n, k in zip(inputs, keys, strict=True)}
    return {"samples": samples, "values": values}


def _integers(array: np.ndarray) -> str:
    if array.dtype.kind not in "iub":
        raise TypeError(f"golden.npz holds {array.dtype} where integers belong")
    return _hashed(array.astype("<i8"), "integers")


def _hashed(array: np.ndarray, kind: str) -> str:
    return sha256(f"{kind} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes())


def differences(old: Record, new: Record, integers_only: bool) -> tuple[list[str], list[str]]:
    """Return (what must be equal and is not, what may differ and does) between two records of one case."""
    if old["inputs"] != new["inputs"]:
        return ["compiled from another model or other samples: nothing can be compared"], []
    wrong = [f"exit status {old['exit']} -> {new['exit']}"] if old["exit"] != new["exit"] else []
    said, says = old["messages"], new["messages"]
    if said["codes"] != says["codes"]:
        wrong.append(f"diagnostics {said['codes']} -> {says['codes']}")
    notes = ["the words of diagnostics differ"] if said["words"] != says["words"] else []
    if not old["build"] or not new["build"]:
        one_sided = bool(old["build"]) != bool(new["build"])
        return wrong + (["there is a build on one side only"] if one_sided else []), notes
    broken, listed = _of_builds(old["build"], new["build"], integers_only)
    return wrong + broken, notes + listed


def _of_builds(a: Record, b: Record, integers_only: bool) -> tuple[list[str], list[str]]:
    notes = list(_stated(a, b))
    program = ["the Program's digest differs"] if a["program"] != b["program"] else []
    wrong = [
        f"golden.npz: {line}"
        for part in ("samples", "values")
        for line in changed(a["golden"][part], b["golden"][part])
    ]
    if integers_only:
        return wrong, notes + program
    # Other options or versions make other bytes of the files that state them, which is listed above.
    same = {f"{n} differs" for n in STATED if a["rest"].get(n) == b["rest"].get(n)} if notes else set()
    return program + wrong + [line for line in changed(a["files"], b["files"]) if line not in same], notes


def _stated(a: Record, b: Record) -> Iterator[str]:
    """Yield one line per option or version that two builds state differently."""
    for part in ("options", "versions"):
        old, new = a[part] or {}, b[part] or {}
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name) or (name in old) != (name in new):
                yield f"{part}: {name} {old.get(name, 'absent')} -> {new.get(name, 'absent')}"


def changed(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Return ``NAME differs``, ``NAME is missing`` or ``NAME is new`` for every name whose hashes are not equal."""
    lines = []
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            lines.append(f"{name} {'is missing' if name not in new else 'is new' if name not in old else 'differs'}")
    return lines
