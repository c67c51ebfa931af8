"""Target ``onnx``: the integer network as a plain ONNX graph that stock onnxruntime executes bit for bit.

Standard operators only. Each population is one integer kernel (``QLinearConv``), or float32 sums that are proved exact
and a proved rounding, or int64: ``docs/spec/targets.md`` says which and why.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import NodeProto

from sfn_backends.onnx.session import Network
from sfn_backends.onnx.writer import write
from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import ADAPTIVE, MOVES, Program
from sfn_compile.targets.backend import Capabilities, RunRequest, RunResult

Array = NDArray[Any]
FILE = "network.onnx"


@dataclass(frozen=True)
class OnnxBackend:
    """ONNX for onnxruntime's CPU kernels, run with ``threads`` threads."""

    threads: int = 2

    name = "onnx"
    capabilities = Capabilities(
        projections=frozenset({"Dense", "Conv", "SumPool", "Identity", "Gather"}),
        moves=MOVES,
        max_pool=True,
        acc_bits=48,
        weight_bits=16,
        products=frozenset({"Elementwise", "Matmul"}),
        adaptive=ADAPTIVE,
        row_bits=63,
        clocked=True,
        note="integer ONNX graph for stock onnxruntime; standard operators, 8-bit kernels, exact by proof",
    )

    def available(self) -> str | None:
        """Return None: onnxruntime is what sfnc itself needs."""
        return None

    def emit(self, program: Program, folder: Path, options: Mapping[str, Any]) -> None:
        """Write ``network.onnx``, and the Program beside it. Raises SFN402."""
        content = write(program).SerializeToString(deterministic=True)
        program_files.save(program, folder)
        (folder / FILE).write_bytes(content)

    def reload(self, folder: Path) -> Program:
        """Return the Program of the folder. Raises SFN503 where ``network.onnx`` is not what its integers make."""
        program = program_files.load(folder)
        _same(folder / FILE, program)
        return program

    def run(self, folder: Path, request: RunRequest) -> RunResult:
        """Execute ``network.onnx`` as it is for the outputs, and with every layer as a further output for the rest.

        The second run is another graph to onnxruntime, which fuses other nodes: its outputs are compared as a reader.
        """
        network = Network(folder / FILE)
        deadline = time.monotonic() + request.time_limit
        outputs = network.run(request.inputs, self.threads, deadline)
        by = f"onnxruntime {ort.__version__}, CPU, {self.threads} threads"
        inputs = {k: np.asarray(v) for k, v in request.inputs.items()}
        if request.wanted is not None and request.wanted <= {*outputs, *inputs}:
            return RunResult({**inputs, **outputs}, by)
        every, charges = network.run_every(request.inputs, self.threads, deadline)
        readers = (_tapped(every, outputs, request.golden),) if request.golden else ()
        return RunResult({**inputs, **every, **outputs}, by, readers=readers, potentials=charges)


def _tapped(every: Mapping[str, Array], outputs: Mapping[str, Array], golden: Mapping[str, Array]) -> dict[str, Any]:
    """Return the comparison of the outputs that onnxruntime computes when every layer is an output as well."""
    pairs = [(every[name], golden[name]) for name in outputs]
    different = sum(int((a != b).sum()) for a, b in pairs)
    return {
        "name": "onnxruntime, outputs of the run that taps layers", "version": ort.__version__, "file": FILE,
        "samples": len(next(iter(golden.values()))), "compared": sum(b.size for _, b in pairs), "different": different,
        "layers": len(pairs), "error": None,
    }  # fmt: skip


def _same(path: Path, program: Program) -> None:
    """Raise SFN503 unless the file is, node by node and number by number, the graph that the Program makes."""
    found, expected = Network(path).model, write(program)
    wrong = [n.name for n, m in zip_longest(found.graph.node, expected.graph.node, fillvalue=NodeProto()) if n != m]
    constants = [{t.name: t.SerializeToString() for t in m.graph.initializer} for m in (found, expected)]
    wrong += sorted(k for k in constants[0].keys() | constants[1].keys() if constants[0].get(k) != constants[1].get(k))
    ends = [
        (list(m.graph.input), list(m.graph.output), list(m.opset_import), list(m.metadata_props))
        for m in (found, expected)
    ]
    wrong += ["inputs, outputs, operator set or metadata"] if ends[0] != ends[1] else []
    if wrong:
        what = f"{path.name} was changed: {', '.join(map(repr, wrong[:5]))} differ from what its integers make"
        raise fail("SFN503", what, str(path), "compile again")
