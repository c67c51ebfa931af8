"""A Program as its two files state it, read without sfnc: objects with a ``tag`` (the class) and their fields."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

FORMAT = 4
Record = Any  # a SimpleNamespace: ``tag`` and the fields that docs/spec/program.md lists


class NotProved(Exception):
    """Says why a claim could not be proved."""


def read_program(folder: Path) -> Record:
    """Return the Program of a folder that holds ``program.json`` and ``program.npz``."""
    document = json.loads((folder / "program.json").read_text(encoding="utf-8"))
    if document.get("format") != FORMAT:
        raise NotProved(f"program.json has format {document.get('format')}; this checker reads {FORMAT}")
    with np.load(folder / "program.npz", allow_pickle=False) as arrays:
        return _record(document, dict(arrays))


def _record(found: Any, arrays: dict[str, Any]) -> Any:
    if isinstance(found, list):
        return tuple(_record(x, arrays) for x in found)
    if not isinstance(found, dict):
        return found
    if set(found) == {"array"}:
        return arrays[found["array"]]
    fields = {k: _record(v, arrays) for k, v in found.items() if k != "class"}
    return SimpleNamespace(tag=found.get("class", ""), **fields)


def digest(folder: Path) -> str:
    """Return the digest of a Program: sha256 over its JSON text and its arrays in the order of their names."""
    found = hashlib.sha256((folder / "program.json").read_bytes())
    with zipfile.ZipFile(folder / "program.npz") as arrays:
        for name in sorted(arrays.namelist()):
            found.update(arrays.read(name))
    return found.hexdigest()
