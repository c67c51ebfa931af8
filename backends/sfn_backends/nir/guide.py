"""What a .nir folder holds beside the networks: how to run them, and samples with the simulator's integers."""

from __future__ import annotations

import io
import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from sfn_backends.nir.files import kinds, name
from sfn_backends.nir.net import DT, Array
from sfn_backends.nir.parts import parts_of
from sfn_compile.files import program_files
from sfn_compile.program.network import Decoding, Encoding, Program
from sfn_compile.simulator.edge_inputs import edge_inputs
from sfn_compile.simulator.run import run_codes

COPIED = ("artifact/run_nir.py", "readers.py", "evaluator.py", "read_values.py", "torch_map.py")
GOLDEN_VALUES = 4_000_000  # integers in golden.npz, about one byte each


def write(program: Program, folder: Path, form: str) -> None:
    """Write README.md, run_nir.py with what it imports, golden.npz, and the samples as NIR data."""
    golden = _golden(program)
    names = np.array(sorted(golden))
    arrays = {f"v{i:04d}": program_files.smallest_int(golden[str(n)]) for i, n in enumerate(names)}
    (folder / "golden.npz").write_bytes(program_files.npz_bytes(arrays | {"names": names}))
    for number, part in enumerate(parts_of(program)):
        _write_data(folder / data_file(number), golden[program.inputs[0].value], golden[part.results[0]])
    (folder / "README.md").write_text(_readme(program, form), encoding="utf-8")
    with as_file(files("sfn_backends.nir")) as source:
        for file in COPIED:
            shutil.copyfile(source / file, folder / Path(file).name)


def data_file(number: int) -> str:
    """Return the file with the samples of part ``number``."""
    return name(number, "").replace(".nir", "_data.nir")


def _golden(program: Program) -> dict[str, Array]:
    """Return edge-case and random input codes and every value the simulator makes of them, by name."""
    per_sample = sum(int(np.prod(v.shape)) for v in program.values().values())
    n = min(9, max(2, GOLDEN_VALUES // per_sample))
    return dict(run_codes(program, {key: codes[-n:] for key, codes in edge_inputs(program).items()}))


def _write_data(path: Path, codes: Array, values: Array) -> None:
    """Write input codes and output integers as NIR data of the nodes `input` and `output`: one time step a sample."""
    import nir

    if not hasattr(nir, "write_data"):
        return
    nodes = {
        node: nir.NIRNodeData({"integers": nir.TimeGriddedData(x.reshape(len(x), 1, -1).astype(np.int32), DT)})
        for node, x in (("input", codes), ("output", values))
    }
    buffer = io.BytesIO()
    nir.write_data(buffer, nir.NIRGraphData(nodes))
    path.write_bytes(buffer.getvalue())


# -- words ------------------------------------------------------------------------------------------------------------
def _readme(program: Program, form: str) -> str:
    readers = _BINARY if form == "binary" else _GRAPH.format(form=form)
    outputs = "\n".join(
        f"| {_files(number, form)} | {_output(program, part.results[0])} |"
        for number, part in enumerate(parts_of(program))
    )
    return _TEXT.format(input=_input(program.inputs[0]), outputs=outputs, readers=readers, dt=DT)


def _files(number: int, form: str) -> str:
    return ", ".join(f"`{name(number, kind)}`" for kind in kinds(form))


def _input(entry: Encoding) -> str:
    shape, step = "x".join(map(str, entry.shape)), _number(entry.step)
    codes = f"`{entry.name}`: {shape}, integer codes from {entry.lo} to {entry.hi}, as float32"
    if entry.host:
        done = ", ".join(dict.fromkeys(op.kind for op in entry.host))
        return f"{codes}.\nThey are made outside of the network ({done}, a division, rounding): `sfnc run` does it."
    if entry.rounding != "half_up":
        how = entry.rounding.replace("_", " ")
        return f"{codes}:\n`clip(round(x / step), {entry.lo}, {entry.hi})`, rounded {how}, step {step}."
    return f"{codes}:\n`clip(floor(x / step + 1/2), {entry.lo}, {entry.hi})` of the model's real input x, step {step}."


def _output(program: Program, value: str) -> str:
    shape = "x".join(map(str, program.values()[value].shape))
    outputs = [o for o in program.outputs if value in o.values]
    return f"{shape} integers | {'; '.join(_real(o) for o in outputs) or 'none'}"


def _real(output: Decoding) -> str:
    steps = f"integer times {_number(output.step)}"
    if output.joined:
        return f"part of `{output.name}`, put together outside of the network"
    after = f", then {', '.join(dict.fromkeys(op.kind for op in output.host))} on the host" if output.host else ""
    return f"`{output.name}`: {steps}{after}"


def _number(step: Any) -> str:
    return f"{float(step.flat[0])!r}" if step.size == 1 else f"one of {step.size} steps (per channel)"


_TEXT = """# A spiking network in NIR

Written by sfnc, needs none of it: `nir` 1.0.8 and one of the readers below.
One time step from rest is one inference.
Reset the state between samples, or load the model anew.

    python run_nir.py --reader norse --check                  # the samples of golden.npz, every layer
    python run_nir.py --reader norse --input x.npy --check    # your samples, compared with NumPy
    python run_nir.py --reader norse --input x.npy --output y.npz

## Input

{input}

A vector may stand as a map of one position: `run_nir.py` brings samples into the shape of the node `input`.

## Files and outputs

| files | at the node `output` | real values |
|---|---|---|
{outputs}

The tensor at `output` holds the integers as they are, in the order of the output, or where the metadata says
(below), if it is larger.

{readers}

## What else is here

    run_nir.py       runs the files in a reader; readers.py, evaluator.py, read_values.py, torch_map.py belong to it
    golden.npz       samples with the simulator's integers of every layer: `names`, and `v0000`, `v0001`, ... in order
    *_data.nir       the same input codes and output integers as NIR data (`nir.read_data`), one step of {dt:g} s

Every file has one JSON text under the metadata key `sfnc`; readers ignore it.
`values` in it says for every layer at which node its integers stand, and where in the node's tensor.
`read_values.py` reads them out.
"""
_BINARY = """## Readers

| reader | file | loaded by |
|---|---|---|
| Norse 1.1.0 | `network.nir` | `norse.torch.utils.import_nir.from_nir(graph, ignore_warnings=True)` |
| Sinabs 3.1.3 | `network.nir` | `sinabs.nir.from_nir(graph, batch_size=n)` |
| SpikingJelly 2.0.0 | `network.nir` | `spikingjelly.activation_based.nir_exchange.import_from_nir(graph)` |
| snnTorch 1.0.0 | `network_lif.nir` | `snntorch.import_nir.import_from_nir(graph)` |

All compute the same integers, exactly, in float32; `sfnc verify` compares every layer.
With torch switch off NNPACK first (`torch.backends.nnpack.set_flags(False)`): its Winograd kernels round.
Every neuron has the threshold 1 and fires 0 or 1."""
_GRAPH = """## Readers

nirtorch 2.6 runs the form `{form}` with the node map in `torch_map.py`:
`nirtorch.nir_to_torch("network.nir", torch_map.node_map())`."""
