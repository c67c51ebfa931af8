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

from sfn_backends.nir import chain, compact, evaluator, files, graph, limits, meta, read_values, witnesses
from sfn_backends.nir.net import Array, Net
from sfn_backends.nir_options import FORM
from sfn_compile.files import program_files
from sfn_compile.files.program_checks import check_program
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import Program
from sfn_compile.targets.backend import Capabilities, RunRequest, RunResult

FILES = {"network.nir": "IF", "network_lif.nir": "LIF"}


class NirBackend:
    """Writes, reads back and runs .nir files."""

    name = "nir"
    capabilities = Capabilities(
        projections=frozenset({"Dense", "Conv", "SumPool", "Identity", "Gather"}),
        moves=frozenset(),
        max_pool=True,
        acc_bits=25,
        weight_bits=24,
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
        small, build = compact.compact(program), _builder(form)
        dry = build(small, None, dry=True)
        limits.check(dry, form, _most_levels(program), lambda name: _builder(name)(small, None, dry=True))
        net = build(small, None)
        arrays = net.arrays()
        text = meta.describe(program, small, net, arrays, form, build)
        for name, neuron in _files(form).items():
            files.write(folder / name, net, arrays, neuron, text)

    def reload(self, folder: Path) -> Program:
        """Return the Program of a folder, all integers read from the nodes.

        Raises SFN503 where a number was changed in a way that no Program has.
        """
        self._need()
        form = self._described(folder)[1]
        programs = [_reload(folder / name, neuron) for name, neuron in _files(form).items()]
        return next((program for program, unchanged in programs if not unchanged), programs[0][0])

    def run(self, folder: Path, request: RunRequest) -> RunResult:
        """Run ``network.nir`` with the NumPy evaluator, and with the stock readers where they are installed."""
        self._need()
        values, form = self._described(folder)
        decoded = _evaluated(folder / "network.nir", values, request)
        executed_by = f"sfnc NIR evaluator + nir {version('nir')}, NumPy {np.__version__}"
        job = witnesses.Job(folder, values, request)
        if not request.golden:  # nothing to compare with: the readers are witnesses of a proof
            return RunResult(decoded, executed_by)
        readers = tuple(witnesses.run(job, form))
        return RunResult(decoded, executed_by, readers=readers, notes=() if readers else (witnesses.ABSENT,))

    def places(self, folder: Path) -> dict[str, Any]:
        """Return for every layer where its integers stand in ``network.nir`` (see :mod:`.read_values`)."""
        return self._described(folder)[0]

    def _described(self, folder: Path) -> tuple[dict[str, Any], str]:
        path = folder / "network.nir"
        text = meta.parse(_parse(path)[3], path.name)
        return text["values"], text["form"]

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


def _parse(path: Path) -> tuple[dict[str, dict[str, Array]], list[tuple[str, str]], dict[str, str], str]:
    try:
        return files.read(path)
    except Exception as error:  # nir and h5py raise what they stumble over; whichever, the file is not one of ours
        raise fail("SFN503", f"cannot read {path.name}: {error!r}", str(path), "compile again") from error


def _reload(path: Path, neuron: str) -> tuple[Program, bool]:
    """Return a file's Program and whether it is the one that was written."""
    arrays, edges, kinds, text = _parse(path)
    try:
        parsed = meta.parse(text, path.name)
        build = _builder(parsed["form"])
        program, small = meta.rebuild(parsed, arrays, build)
        check_program(program)
        net = build(small, meta.known(arrays))
    except (LookupError, ValueError, TypeError, AttributeError, AssertionError) as error:
        raise fail("SFN503", f"{path.name} is damaged: {error!r}", str(path), "compile again") from error
    _same(path, net, arrays, edges, kinds, neuron)
    if parsed["values"] != json.loads(json.dumps(meta.visible(program, net))):
        raise fail("SFN503", f"{path.name} was changed: its map of values", str(path), "compile again")
    return program, program_files.digest(program) == parsed["digest"]


def _files(form: str) -> dict[str, str]:
    return FILES if form == "binary" else {"network.nir": ""}


def _builder(form: str) -> Any:
    return chain.build if form == "binary" else partial(graph.build, form=form)


def _same(path: Path, net: Net, arrays: dict[str, dict[str, Array]], edges: list[tuple[str, str]],
          kinds: dict[str, str], neuron: str) -> None:  # fmt: skip
    """Raise SFN503 where a file holds anything but the network that its integers make."""
    expected = net.arrays()
    wrong = [n for n in arrays if n not in expected] + [n for n in expected if n not in arrays]
    if sorted(edges) != sorted(net.edges):
        wrong.append("edges")
    for name in set(arrays) & set(expected):
        node = net.nodes[name]
        params = dict(expected[name])
        if node.kind == "Neuron":
            params |= {k: np.full_like(params["v_threshold"], v) for k, v in files.NEURONS[neuron].items()}
        kind = neuron if node.kind == "Neuron" else node.kind
        same = kinds[name] == kind and params.keys() == arrays[name].keys()
        if not same or any(not np.array_equal(params[k], arrays[name][k]) for k in params):
            wrong.append(name)
    if wrong:
        what = f"{path.name} was changed: {', '.join(sorted(wrong)[:5])} differ from what its own integers make"
        raise fail("SFN503", what, str(path), "compile again")
