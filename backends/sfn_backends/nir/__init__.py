"""The target `nir`: Neuromorphic Intermediate Representation 1.0.8, standard nodes only.

Form `binary` (the default) is a chain of 0/1 planes that stock readers execute bit for bit: ``network.nir`` (IF
neurons: Norse, Sinabs, SpikingJelly) and ``network_lif.nir`` (the same with LIF neurons: snnTorch, which reads no IF).
Forms `unary` and `sar` use Threshold and Scale nodes and run in nirtorch with :mod:`.torch_map`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from sfn_backends.nir import (
    clocked,
    clocked_run,
    compact,
    evaluator,
    files,
    guide,
    limits,
    meta,
    read_values,
    reloading,
    witnesses,
)
from sfn_backends.nir.compact import fewer_levels
from sfn_backends.nir.net import Array, Net
from sfn_backends.nir.parts import parts_of
from sfn_backends.nir_options import FORM
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
            build = reloading.builder(form, number)
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
        programs = [
            reloading.reload([folder / files.name(number, kind) for number in range(count)], form, kind)
            for kind in files.kinds(form)
        ]
        return next((program for program, unchanged in programs if not unchanged), programs[0][0])

    def run(self, folder: Path, request: RunRequest) -> RunResult:
        """Run the files with the NumPy evaluator, and with the stock readers where they are installed."""
        self._need()
        if (folder / CLOCKED).exists():
            return clocked_run.run(folder, request)
        form, count = self._described(folder)
        jobs = [
            witnesses.Job(folder, number, reloading.text_of(folder / files.first(form, number))["values"], request)
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
        return dict(reloading.text_of(folder / files.first(form, number))["values"])

    def _described(self, folder: Path) -> tuple[str, int]:
        """Return the form of a folder's files and the number of parts."""
        text = reloading.text_of(folder / "network.nir")
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


def _nets(program: Program, form: str, dry: bool) -> list[Net]:
    return [reloading.builder(form, number)(program, None, dry=dry) for number in range(len(parts_of(program)))]


def _other(program: Program, most: int, form: str, levels: int) -> list[Net]:
    """Return the nets of another form, or with fewer levels than the ``most``: their sizes alone."""
    return _nets(program if levels == most else fewer_levels(program, levels), form, dry=True)
