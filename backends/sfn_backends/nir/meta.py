"""The JSON text in a .nir file, and the way back: structure from the text, every integer from the nodes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from typing_extensions import assert_never

from sfn_backends.nir.net import Array, Net
from sfn_compile.files import program_files
from sfn_compile.files.build_checks import Form, check_form
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import Program, Ratio, Readout, RowTable, Table, Uniform

FORMAT = 1
Arrays = dict[str, dict[str, Array]]
Build = Callable[[Program, "dict[str, float] | None"], Net]
FORMS = ("binary", "unary", "sar")
_MOST_NUMBERS = 1 << 29  # of one array: what the largest file holds
_PLACE: Form = {"node": str, "start": int, "shift": int, "shape": [int]}
_TEXT: Form = {"form": str, "digest": str, "program": {}, "values": {"*": _PLACE},
               "arrays": {"*": {"shape": [int], "full": [int]}}}  # fmt: skip
_UNSET = -(2**62)
_IN_NODES = {
    "Dense": ("weight",), "Conv": ("weight",), "SumPool": ("weight",), "Identity": ("weight",), "Gather": ("weight",),
    "Uniform": ("theta", "offset"), "Table": ("table",), "Readout": ("offset",),
}  # fmt: skip


def describe(program: Program, small: Program, net: Net, arrays: Arrays, form: str, build: Build) -> str:
    """Return the JSON text for ``program``; ``net`` was built from ``small``, its twin of :mod:`.compact`."""
    text, full = program_files.to_parts(program)
    tree = json.loads(text)
    _, numbers = program_files.to_parts(small)
    inside = set(_names(tree))
    entries: dict[str, Any] = {}
    for name, array in numbers.items():
        entries[name] = {"shape": array.shape, "full": full[name].shape}
        if name not in inside:
            entries[name] |= {"dtype": str(array.dtype), "data": array.reshape(-1).tolist()}
    found = _restore(tree, entries, known(arrays), arrays, build)
    for name in inside:
        different = np.flatnonzero(found[name].reshape(-1) != numbers[name].reshape(-1))
        if len(different):
            entries[name]["rest"] = [different.tolist(), numbers[name].reshape(-1)[different].tolist()]
    whole = {"format": FORMAT, "form": form, "program": tree, "arrays": entries, "values": visible(program, net)}
    return json.dumps(whole | {"digest": program_files.digest(program), "note": _NOTE}, sort_keys=True)


def visible(program: Program, net: Net) -> dict[str, Any]:
    """Return where the Program's layers stand (without the input and the rounds of a max pooling)."""
    return {step.name: net.values[step.name] for step in program.steps if step.name in net.values}


_NOTE = (
    "Written by sfnc. The input takes integer codes; one time step from rest is one inference; reset the state between "
    "samples. `values` says where the integer codes of each layer stand: node, first channel, shape, space-to-depth "
    "factor and phases, and the shift that was subtracted."
)


def parse(text: str, file: str) -> dict[str, Any]:
    """Return a file's text as an object whose fields have the forms that its readers expect. Raises SFN503."""
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise fail("SFN503", f"the metadata of {file} is damaged: {error}", file, "compile again") from error
    found = meta.get("format") if isinstance(meta, dict) else None
    if found != FORMAT:
        raise fail("SFN503", f"NIR metadata of format {found!r}, this version reads {FORMAT}")
    check_form(meta, _TEXT, file)
    sizes = (math.prod(max(n, 0) for n in e[k]) for e in meta["arrays"].values() for k in ("shape", "full"))
    if meta["form"] not in FORMS or max(sizes, default=0) > _MOST_NUMBERS:
        raise fail("SFN503", f"{file}: no form, or an array without end", file, "compile again")
    return dict(meta)


def rebuild(meta: Mapping[str, Any], arrays: Arrays, build: Build) -> tuple[Program, Program]:
    """Return (the Program, its compact twin) read from a file's parsed text and arrays. Raises SFN503."""
    entries = meta["arrays"]
    small = _restore(meta["program"], entries, known(arrays), arrays, build)
    for name, array in small.items():
        rest = entries[name].get("rest")
        if rest:
            array.reshape(-1)[rest[0]] = rest[1]
    full = {n: np.array(np.broadcast_to(a, entries[n]["full"])) for n, a in small.items()}
    return program_files.from_parts(meta["program"], full), program_files.from_parts(meta["program"], small)


def _restore(tree: Any, entries: dict[str, Any], known: dict[str, float], arrays: Arrays, build: Build) -> Any:
    """Return the Program's arrays by name: those of the text, and those read back through the puts of a net."""
    small = {
        name: np.array(e["data"], e["dtype"]).reshape(e["shape"]) if "data" in e else np.zeros(e["shape"], np.int64)
        for name, e in entries.items()
    }
    program = program_files.from_parts(tree, small)
    net = build(program, known)
    for tau in net.thresholds.values():
        tau[...] = _UNSET
    net.read_back(arrays)
    for population in program.populations():
        tau = net.thresholds[population.name]
        if isinstance(population.ladder, Uniform):
            _uniform(population.ladder, tau)
        elif isinstance(population.ladder, Table):
            population.ladder.table[...] = tau
        elif isinstance(population.ladder, RowTable | Ratio):
            raise AssertionError(f"{population.name} was refused by legalisation")
        elif not isinstance(population.ladder, Readout):
            assert_never(population.ladder)
    return small


def _uniform(ladder: Uniform, tau: Array) -> None:
    """Write theta and offset from two thresholds; with fewer they stay 0 and stand in the text instead."""
    known = [k for k in range(tau.shape[-1]) if (tau[..., k] != _UNSET).all()]
    if len(known) < 2:
        return
    a, b = known[0], known[-1]
    theta = (tau[..., b] - tau[..., a]) // (b - a)
    offset = theta * (ladder.lo + 1 + a) - tau[..., a]
    for array, value in ((ladder.theta, theta), (ladder.offset, offset)):
        rank = value.ndim - array.ndim
        array[...] = value[(0,) * rank + tuple(slice(1) if n == 1 else slice(None) for n in array.shape)]


def _names(tree: Any) -> Iterator[str]:
    """Yield the names of the arrays that stand in nodes: of none that the host applies."""
    if isinstance(tree, dict) and tree.get("class") == "HostOp":
        return
    for item in tree if isinstance(tree, list) else tree.values() if isinstance(tree, dict) else ():
        yield from _names(item)
    if isinstance(tree, dict):
        for key in _IN_NODES.get(tree.get("class", ""), ()):
            yield tree[key]["array"]


def known(arrays: Arrays) -> dict[str, float]:
    """Return the neurons' thresholds of a file by node."""
    return {name: float(p["v_threshold"].flat[0]) for name, p in arrays.items() if p.get("v_threshold") is not None}
