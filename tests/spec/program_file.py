"""``program.json`` and ``program.npz`` as plain dictionaries and arrays, as ``docs/spec/program.md`` section 4 says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FORMAT = 4


def read_program(folder: Path) -> dict[str, Any]:
    """Return the Program of a build: every object a dictionary with its ``class``, every array in its place."""
    tree = json.loads((folder / "program.json").read_text(encoding="utf-8"))
    with np.load(folder / "program.npz", allow_pickle=False) as arrays:
        program: dict[str, Any] = _resolved(tree, dict(arrays))
    assert program["class"] == "Program"
    assert program["format"] == FORMAT
    return program


def _resolved(tree: Any, arrays: dict[str, Array]) -> Any:
    if isinstance(tree, list):
        return [_resolved(t, arrays) for t in tree]
    if isinstance(tree, dict) and set(tree) == {"array"}:
        return arrays[tree["array"]]
    if isinstance(tree, dict):
        return {k: _resolved(v, arrays) for k, v in tree.items()}
    return tree


def read_golden(folder: Path) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return (samples by model input, integers by value) of ``golden.npz``: ``docs/spec/files.md``, section 1."""
    with np.load(folder / "golden.npz", allow_pickle=False) as found:
        inputs = [str(n) for n in found["inputs"]]
        keys = ["x"] if len(inputs) == 1 else [f"x{i:05d}" for i in range(len(inputs))]
        samples = {name: found[key] for name, key in zip(inputs, keys, strict=True)}
        return samples, {str(name): found[f"v{i:05d}"] for i, name in enumerate(found["names"])}
