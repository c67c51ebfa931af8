"""The JSON text in a .nir file, and the way back: structure from the text, every integer from the nodes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
from typing_extensions import assert_never

from sfn_backends.nir.net import Array, Net
from sfn_backends.nir.ops import given_reads
from sfn_backends.nir.parts import parts_of
from sfn_backends.nir.planes import known_charges
from sfn_compile.files import program_files
from sfn_compile.files.build_checks import Form, check_form
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import Program, Ratio, Readout, RowTable, Table, Uniform

FORMAT = 2
Arrays = dict[str, dict[str, Array]]
Build = Callable[[Program, "dict[str, float] | None"], Net]  # of the part that is in one file
FORMS = ("binary", "unary", "sar")
_MOST_NUMBERS = 1 << 29  # of one array: what the largest file holds
_PLACE: Form = {"node": str, "start": int, "shift": int, "shape": [int]}
_TEXT: Form = {"form": str, "digest": str, "program": {}, "values": {"*": _PLACE}, "part": int, "parts": int,
               "results": [str],
               "arrays": {"*": {"shape": [int], "full": [int]}}}  # fmt: skip
_UNSET = -(2**62)
_IN_NODES = {
    "Dense": ("weight",), "Conv": ("weight",), "SumPool": ("weight",), "Identity": ("weight",), "Gather": ("weight",),
    "Uniform": ("theta", "offset"), "Table": ("table",), "Readout": ("offset",),
}  # fmt: skip


def describe(program: Program, small: Program, net: Net, arrays: Arrays, form: str, number: int, build: Build) -> str:
    """Return the JSON text of part ``number`` of ``program``; ``net`` was built from ``small``, its twin of
    :mod:`.compact`, by ``build``."""
    text, full = program_files.to_parts(program)
    tree = json.loads(text)
    _, numbers = program_files.to_parts(small)
    part = parts_of(program)[number]
    inside = set(_names(tree, part.steps, given_reads(program) if form == "binary" else set()))
    elsewhere = set(_names(tree, {s.name for s in program.steps} - part.steps, set()))
    entries: dict[str, Any] = {}
    for name, array in numbers.items():
        entries[name] = {"shape": array.shape, "full": full[name].shape}
        if name not in inside | elsewhere:
            entries[name] |= {"dtype": str(array.dtype), "data": array.reshape(-1).tolist()}
    found = _restore(tree, entries, known_charges(arrays), arrays, build)
    for name in inside:
        different = np.flatnonzero(found[name].reshape(-1) != numbers[name].reshape(-1))
        if len(different):
            entries[name]["rest"] = [different.tolist(), numbers[name].reshape(-1)[different].tolist()]
    whole = frame(program, net, form, number) | {"program": tree, "arrays": entries, "note": _NOTE}
    return json.dumps(whole | {"digest": program_files.digest(program)}, sort_keys=True)


def frame(program: Program, net: Net, form: str, number: int) -> dict[str, Any]:
    """Return what a file says about itself beside the Program: which part it is, and where its layers are."""
    parts = parts_of(program)
    values = {step.name: net.values[step.name] for step in program.steps if step.name in net.values}  # the user's alone
    return {"format": FORMAT, "form": form, "part": number, "parts": len(parts), "results": parts[number].results,
            "values": values}  # fmt: skip


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


Stored = tuple[dict[str, Any], Arrays, Build]  # one file: its text, its arrays, what builds its net


def rebuild(files: Sequence[Stored]) -> tuple[Program, Program]:
    """Return (the Program, its compact twin) read from the files of all its parts. Raises SFN503.

    A step that is in several is read from the first.
    """
    tree, entries = files[0][0]["program"], files[0][0]["arrays"]
    small: dict[str, Array] = {}
    done: set[str] = set()
    for meta, arrays, build in files:
        found = _restore(meta["program"], meta["arrays"], known_charges(arrays), arrays, build)
        for name, array in found.items():
            rest = meta["arrays"][name].get("rest")
            if rest:
                array.reshape(-1)[rest[0]] = rest[1]
        held = parts_of(program_files.from_parts(meta["program"], found))[meta["part"]].steps
        own = set(_names(meta["program"], held, set()))
        small |= {name: found[name] for name in found if name in own - done or name not in small}
        done |= own
    full = {n: np.array(np.broadcast_to(a, entries[n]["full"])) for n, a in small.items()}
    return program_files.from_parts(tree, full), program_files.from_parts(tree, small)


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
    for population in (p for p in program.populations() if p.name in net.thresholds):
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
    """Write theta and offset from two thresholds; with fewer they stay 0 and are in the text instead."""
    known = [k for k in range(tau.shape[-1]) if (tau[..., k] != _UNSET).all()]
    if len(known) < 2:
        return
    a, b = known[0], known[-1]
    theta = (tau[..., b] - tau[..., a]) // (b - a)
    offset = theta * (ladder.lo + 1 + a) - tau[..., a]
    for array, value in ((ladder.theta, theta), (ladder.offset, offset)):
        rank = value.ndim - array.ndim
        array[...] = value[(0,) * rank + tuple(slice(1) if n == 1 else slice(None) for n in array.shape)]


def _names(tree: Any, steps: Collection[str], given: Collection[tuple[str, int]]) -> Iterator[str]:
    """Yield the names of the arrays of some steps that are in nodes; none of projections that are ``given``."""
    for step in tree["steps"]:
        if step["name"] in steps and step["class"] == "Population":
            read = [p for i, p in enumerate(step["projections"]) if (step["name"], i) not in given]
            for part in [*(p["map"] for p in read), step["ladder"]]:
                for key in _IN_NODES.get(part["class"], ()):
                    yield part[key]["array"]
