"""The way back from .nir files of ours: the Program, every integer read from the nodes and the rest compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sfn_backends.nir import chain, files, graph, meta
from sfn_backends.nir.net import Array, Net
from sfn_backends.nir.parts import parts_of
from sfn_backends.nir.planes import known_charges
from sfn_compile.files import program_files
from sfn_compile.files.program_checks import check_program
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import Program


def parse(path: Path) -> tuple[dict[str, dict[str, Array]], list[tuple[str, str]], dict[str, str], str]:
    """Return what :func:`.files.read` does. Raises SFN503 for what is no file of ours."""
    try:
        return files.read(path)
    except Exception as error:  # nir and h5py raise what they stumble over; whichever, the file is not one of ours
        raise fail("SFN503", f"cannot read {path.name}: {error!r}", str(path), "compile again") from error


def text_of(path: Path) -> dict[str, Any]:
    """Return the parsed JSON text of a file. Raises SFN503."""
    return meta.parse(parse(path)[3], path.name)


def reload(paths: Sequence[Path], form: str, kind: str) -> tuple[Program, bool]:
    """Return the Program of the files with one kind of neurons, and whether it is the one that was written.

    ``paths``: one per part. Raises SFN503 where they are damaged, or hold what no Program makes.
    """
    found = [
        (meta.parse(text, p.name), arrays, edges, kinds) for p in paths for arrays, edges, kinds, text in [parse(p)]
    ]
    builds = [builder(form, number) for number in range(len(paths))]
    try:
        program, small = meta.rebuild([(f[0], f[1], build) for f, build in zip(found, builds, strict=True)])
        check_program(program)
        nets = [build(small, known_charges(f[1])) for f, build in zip(found, builds, strict=True)]
        expected = [net.arrays() for net in nets]
    except (LookupError, ValueError, TypeError, AttributeError, AssertionError, ArithmeticError) as error:
        what = f"{paths[0].name} or one beside it is damaged: {error!r}"
        raise fail("SFN503", what, str(paths[0]), "compile again") from error
    for number, (path, net, (text, arrays, edges, kinds)) in enumerate(zip(paths, nets, found, strict=True)):
        _same(path, net, expected[number], arrays, edges, kinds, kind)
        if any(text[k] != v for k, v in json.loads(json.dumps(meta.frame(program, net, form, number))).items()):
            raise fail("SFN503", f"{path.name} was changed: its map of values", str(path), "compile again")
    return program, all(program_files.digest(program) == f[0]["digest"] for f in found)


def builder(form: str, number: int) -> Any:
    """Return the function that makes the net of part ``number`` from a Program."""

    def build(program: Program, charges: dict[str, float] | None, dry: bool = False) -> Net:
        part = parts_of(program)[number]
        if form == "binary":
            return chain.build(program, part, charges, dry)
        return graph.build(program, part, charges, dry, form)

    return build


def _same(path: Path, net: Net, expected: meta.Arrays, arrays: meta.Arrays, edges: list[tuple[str, str]],
          kinds: dict[str, str], neuron: str) -> None:  # fmt: skip
    """Raise SFN503 where a file holds anything but the network that its integers make."""
    wrong = [n for n in arrays if n not in expected] + [n for n in expected if n not in arrays]
    if sorted(edges) != sorted(net.edges):
        wrong.append("edges")
    for name in set(arrays) & set(expected):
        node = net.nodes[name]
        params = dict(expected[name])
        if node.kind == "Neuron":
            params |= files.neuron_parameters(neuron, params["v_threshold"].shape)
        kind = neuron if node.kind == "Neuron" else node.kind
        same = kinds[name] == kind and params.keys() == arrays[name].keys()
        if not same or any(not _equal(params[k], arrays[name][k]) for k in params):
            wrong.append(name)
    if wrong:
        what = f"{path.name} was changed: {', '.join(sorted(wrong)[:5])} differ from what its own integers make"
        raise fail("SFN503", what, str(path), "compile again")


def _equal(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b)
