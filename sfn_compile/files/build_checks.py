"""Do the documents and arrays of a build say what their readers expect? Damage is named before anything is computed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..foundation.declaration import options_of as declared_options
from ..foundation.diagnostics import CompileError
from ..foundation.options import Options
from ..program.broadcast import fits
from ..program.network import Program, Shape
from ..program.signals import shapes_over_time
from .decode import damaged
from .host_shapes import NUMBER_TYPES

Array = NDArray[Any]
NUMBER = (int, float)


@dataclass(frozen=True)
class Maybe:
    """The form of what may be null."""

    form: Form


# Types; a list of one form for lists; a dict for objects that have at least these fields (but for those with a `?`,
# which may be missing), `*` for all their values.
Form: TypeAlias = "type | tuple[type, ...] | list[Form] | dict[str, Form] | Maybe"

_TAIL: Form = {"outputs": {"*": str}, "model_outputs": [str], "inputs": [str], "nodes": [str], "cut": [str]}
_INPUT: Form = {"name": str, "shape": [int], "dtype": str}
_COST: dict[str, Form] = {"macs": Maybe(int), "numbers": Maybe(int)}
_HEAD: Form = {"nodes": [str], "inputs": [str], "batch": int, "cut": [_INPUT], **_COST}
MANIFEST: Form = {
    "format": int, "files": {"*": str}, "host_tail": Maybe(_TAIL), "host_head?": Maybe(_HEAD), "versions": {"*": str},
    "model": {"name": str, "sha256": str, "inputs": [_INPUT], "batch": Maybe(int)},
    "calibration": {"source": str, "sha256": str, "samples": int},
    "options": {"targets": [str], "sites": {"*": {}}},
}  # fmt: skip
_LIKE: Form = {"samples": int, "mean": [NUMBER], "spread": [NUMBER]}
REPORT: Form = {
    "targets": {"*": {}},
    "calibration": {"inputs": {"*": _LIKE}},
    "layers": [{"name": str, "saturation": Maybe(NUMBER), "offset?": Maybe(NUMBER)}],
}
TARGETS: Form = {
    "program": str,
    "targets": {"*": {
        "digest": str, "outputs": {"*": str}, "placement": [{"name": str, "shards": [[int]]}],
    }},
}  # fmt: skip


def check_form(found: Any, form: Form, at: str) -> None:
    """Raise SFN503, naming the place, where a JSON document has not the form that its reader expects."""
    if isinstance(form, Maybe):
        if found is not None:
            check_form(found, form.form, at)
    elif isinstance(form, list):
        _require(isinstance(found, list), at, f"{_said(found)} instead of a list")
        for i, one in enumerate(found):
            check_form(one, form[0], f"{at}[{i}]")
    elif isinstance(form, dict):
        _require(isinstance(found, dict), at, f"{_said(found)} instead of an object")
        _check_fields(found, form, at)
    else:
        is_bool = isinstance(found, bool) and form is not bool
        _require(isinstance(found, form) and not is_bool, at, f"{_said(found)} of another type")


def _check_fields(found: Mapping[str, Any], form: Mapping[str, Form], at: str) -> None:
    for name, inner in form.items():
        plain = name.removesuffix("?")
        if plain != name and plain not in found:
            continue
        for key in found if name == "*" else (plain,):
            _require(key in found, at, f"the field {key!r} is missing")
            check_form(found[key], inner, f"{at}.{key}")


def check_manifest(manifest: Any, program: Program) -> None:
    """Raise SFN503 where a manifest is not one, or tells of another model than the Program's."""
    check_form(manifest, MANIFEST, "manifest.json")
    head = manifest.get("host_head")
    inputs = manifest["model"]["inputs"] + ([] if head is None else head["cut"])
    _require(head is None or head["batch"] > 0, "manifest.json", "a host head that takes no sample")
    stated = {i["name"]: (tuple(i["shape"]), i["dtype"]) for i in inputs}
    odd = [name for name, (shape, dtype) in stated.items() if dtype not in NUMBER_TYPES or any(n < 0 for n in shape)]
    odd += [e.name for e in program.inputs if stated.get(e.name) != (e.model_shape, e.dtype)]
    _require(not odd, "manifest.json", f"input {odd[:1]} is not that of the Program")
    tail = manifest["host_tail"]
    if tail is None:
        return
    decoded = {d.name for d in program.outputs}
    strange = [n for n in tail["model_outputs"] if n not in decoded | tail["outputs"].keys()]
    _require(bool(tail["model_outputs"]) and not strange, "manifest.json", f"nothing makes the outputs {strange[:3]}")
    _require(set(tail["outputs"].values()) <= {"stacked", "each"}, "manifest.json", "outputs neither stacked nor each")


def options_of(manifest: Mapping[str, Any]) -> Options:
    """Return the options that a build was compiled with. Raises SFN503 where the manifest holds others."""
    missing = sorted({o.name for o in declared_options(Options)} - manifest["options"].keys())
    _require(not missing, "manifest.json", f"options: {missing[:1]} is missing")
    try:
        return Options.from_dict(manifest["options"])
    except CompileError as error:
        raise damaged("manifest.json", f"options: {error}") from error


def check_golden(x: Mapping[str, Array], values: Mapping[str, Array], program: Program) -> None:
    """Raise SFN503 where the golden samples or integers are not those of the Program's inputs and values."""
    missing = [e.name for e in program.inputs if e.name not in x]
    _require(bool(x) and not missing, "golden.npz", f"no samples of the inputs {missing}")
    n = next((len(v) for v in x.values() if v.ndim), 0)
    _require(n > 0, "golden.npz", "it holds no samples")
    frames = () if program.frames is None else (program.frames,)
    shapes = {e.name: (*frames, *e.model_shape) for e in program.inputs}
    for name, array in x.items():
        _check_array(array, (n, *shapes.get(name, array.shape[1:])), "fiub", f"golden.npz, input {name!r}")
        _require(bool(np.isfinite(array).all()), f"golden.npz, input {name!r}", "numbers that are not finite")
    known = shapes_over_time(program)
    _require(values.keys() == known.keys(), "golden.npz", "it holds other values than the Program")
    for name, shape in known.items():
        _check_array(values[name], (n, *shape), "iu", f"golden.npz, value {name!r}")


def check_scales(steps: Mapping[str, Array], program: Program) -> None:
    """Raise SFN503 where the real value of one integer of a value is missing or no number."""
    for name, info in program.values().items():
        _require(name in steps, "scales.npz", f"no scale of the value {name!r}")
        step, at = steps[name], f"scales.npz, value {name!r}"
        _require(
            fits(step.shape, info.shape) and step.dtype.kind == "f" and bool((np.isfinite(step) & (step > 0)).all()),
            at,
            "it is none",
        )


def check_answers(values: Mapping[str, Array], shapes: Mapping[str, Shape], n: int, at: str) -> None:
    """Raise SFN503 where a target handed over no integers of the shapes that its Program has."""
    for name, shape in shapes.items():
        _require(name in values, at, f"it computed no {name!r}")
        _check_array(values[name], (n, *shape), "iu", f"{at}, value {name!r}")


def _check_array(array: Array, shape: Shape, kinds: Collection[str], at: str) -> None:
    ok = array.dtype.kind in kinds and array.shape == shape
    _require(ok, at, f"an array of {array.dtype} and shape {array.shape}, {shape} is needed")


def _require(holds: bool, at: str, what: str) -> None:
    if not holds:
        raise damaged(at, what)


def _said(found: Any) -> str:
    return repr(found)[:40]
