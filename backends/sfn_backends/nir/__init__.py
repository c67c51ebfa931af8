"""The target `nir`: Neuromorphic Intermediate Representation 1.0.8, standard nodes only.

Form `binary` (the default) is a chain of 0/1 planes that stock readers execute bit for bit: ``network.nir`` (IF
neurons: Norse, Sinabs, SpikingJelly) and ``network_lif.nir`` (the same with LIF neurons: snnTorch, which reads no IF).
Forms `unary` and `sar` use Threshold and Scale nodes and run in nirtorch with :mod:`.torch_map`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from sfn_backends.nir import (
    chain,
    clocked,
    clocked_run,
    compact,
    evaluator,
    files,
    graph,
    guide,
    limits,
    meta,
    read_values,
    witnesses,
)
from sfn_backends.nir.compact import fewer_levels
from sfn_backends.nir.net import Array, Net
from sfn_backends.nir.parts import parts_of
from sfn_backends.nir.planes import known_charges
from sfn_backends.nir_options import FORM
from sfn_compile.files import program_files
from sfn_compile.files.program_checks import check_program
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import Program
from sfn_compile.targets.backend import Capabilities, RunRequest, RunResult

CLOCKED = "network_cuba.nir"  # only folders of networks over time have it


class NirBackend:
    """Writes, reads back and runs .nir files."""

    name = "nir"
    capabilities = Capabilities(
        projections=frozenset({"Dense", "Conv", "SumPool", "Identity", "Gather"}),
        moves=frozenset(),
        max_pool=True,
        acc_bits=25,
        weight_bits=24,
        clocked=True,
        note="NIR 1.0.8 files for snnTorch, Norse, Sinabs, SpikingJelly; float32, exact by proof",
    )

    def available(self) -> str | None:
        """Return None where nir can be imported, else why not."""
        try:
            version("nir")
        except PackageNotFoundError:
            return "the package nir is not installed: pip install 'sfnc[nir]'"
        return None

    def emit(self, program: Program, folder: Path, options: Mapping[str, Any]) -> None:
        """Write the files. Raises SFN401, SFN402, SFN403, SFN601, SFN605."""
        form = options.get(FORM.name, FORM.default)
        FORM.check(form)
        self._need()
        if program.clock is not None:
            clocked.write(program, folder)
            return
        small, most = compact.compact(program), _most_levels(program)
        limits.check(_nets(small, form, dry=True), form, most, partial(_other, small, most))
        for number in range(len(parts_of(program))):
            build = _builder(form, number)
            net = build(small, None)
            arrays = net.arrays()
            text = meta.describe(program, small, net, arrays, form, number, build)
            for name, neuron in files.names(form, number).items():
                files.write(folder / name, net, arrays, neuron, text)
        guide.write(program, folder, form)

    def reload(self, folder: Path) -> Program:
        """Return the Program of a folder, all integers read from the nodes.

        Raises SFN503 where a number was changed in a way that no Program has.
        """
        self._need()
        if (folder / CLOCKED).exists():
            return clocked.read(folder)
        form, count = self._described(folder)
        programs = [_reload(folder, form, count, kind) for kind in files.kinds(form)]
        return next((program for program, unchanged in programs if not unchanged), programs[0][0])

    def run(self, folder: Path, request: RunRequest) -> RunResult:
        """Run the files with the NumPy evaluator, and with the stock readers where they are installed."""
        self._need()
        if (folder / CLOCKED).exists():
            return clocked_run.run(folder, request)
        form, count = self._described(folder)
        jobs = [
            witnesses.Job(folder, number, _text(folder / files.first(form, number))["values"], request)
            for number in range(count)
        ]
        decoded: dict[str, Array] = {}
        for job in jobs:
            found = _evaluated(folder / files.first(form, job.number), job.values, request)
            decoded |= {
                name: v for name, v in found.items() if name not in decoded or _is_wrong(v, request.golden.get(name))
            }
        executed_by = f"sfnc NIR evaluator + nir {version('nir')}, NumPy {np.__version__}"
        if not request.golden:  # nothing to compare with: the readers are witnesses of a proof
            return RunResult(decoded, executed_by)
        readers = tuple(witnesses.run(jobs, form))
        return RunResult(decoded, executed_by, readers=readers, notes=() if readers else (witnesses.ABSENT,))

    def places(self, folder: Path, number: int = 0) -> dict[str, Any]:
        """Return for every layer where its integers are in a file (see :mod:`.read_values`)."""
        form, _ = self._described(folder)
        return dict(_text(folder / files.first(form, number))["values"])

    def _described(self, folder: Path) -> tuple[str, int]:
        """Return the form of a folder's files and the number of parts."""
        text = _text(folder / "network.nir")
        return text["form"], text["parts"]

    def _need(self) -> None:
        missing = self.available()
        if missing:
            raise fail("SFN601", missing)


def _most_levels(program: Program) -> int:
    """Return the most codes, less one, of anything that is fired; 0 where pools and moves are all there is."""
    read = {p.source for step in program.populations() for p in step.projections}
    return max((info.hi - info.lo for name, info in program.values().items() if name in read), default=0)


def _evaluated(path: Path, values: Mapping[str, Any], request: RunRequest) -> dict[str, Array]:
    """Return every layer's integers. Raises SFN503 where the nodes are no network, or hold no integers there."""
    (codes,) = request.inputs.values()
    try:
        found = evaluator.run(path, codes, {v["node"] for v in values.values()})
        return {name: read_values.decode(found[v["node"]], v) for name, v in values.items()}
    except (LookupError, ValueError, TypeError, AttributeError) as error:  # of another graph than we wrote
        raise fail("SFN503", f"{path.name} cannot be executed: {error!r}", str(path), "compile again") from error


def _is_wrong(found: Array, golden: Array | None) -> bool:
    """Return whether a value that another file holds too differs from the simulator's."""
    return golden is not None and not np.array_equal(found, golden)


def _parse(path: Path) -> tuple[dict[str, dict[str, Array]], list[tuple[str, str]], dict[str, str], str]:
    try:
        return files.read(path)
    except Exception as error:  # nir and h5py raise what they stumble over; whichever, the file is not one of ours
        raise fail("SFN503", f"cannot read {path.name}: {error!r}", str(path), "compile again") from error


def _text(path: Path) -> dict[str, Any]:
    return meta.parse(_parse(path)[3], path.name)


def _reload(folder: Path, form: str, count: int, kind: str) -> tuple[Program, bool]:
    """Return the Program of the files with one kind of neurons, and whether it is the one that was written."""
    paths = [folder / files.name(number, kind) for number in range(count)]
    found = [
        (meta.parse(text, p.name), arrays, edges, kinds) for p in paths for arrays, edges, kinds, text in [_parse(p)]
    ]
    builds = [_builder(form, number) for number in range(count)]
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


def _builder(form: str, number: int) -> Any:
    """Return the function that makes the net of part ``number`` from a Program."""

    def build(program: Program, charges: dict[str, float] | None, dry: bool = False) -> Net:
        part = parts_of(program)[number]
        if form == "binary":
            return chain.build(program, part, charges, dry)
        return graph.build(program, part, charges, dry, form)

    return build


def _nets(program: Program, form: str, dry: bool) -> list[Net]:
    return [_builder(form, number)(program, None, dry=dry) for number in range(len(parts_of(program)))]


def _other(program: Program, most: int, form: str, levels: int) -> list[Net]:
    """Return the nets of another form, or with fewer levels than the ``most``: their sizes alone."""
    return _nets(program if levels == most else fewer_levels(program, levels), form, dry=True)


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
