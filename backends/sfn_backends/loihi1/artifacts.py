"""The emitted folder: a Program as synapses and thresholds that the runner reads, and back."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_backends.loihi1.cores import Cut, cuts_of
from sfn_backends.loihi1.network import Layer, Network
from sfn_compile.files import program_files
from sfn_compile.files.program_checks import check_program
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import Program
from sfn_compile.simulator.edge_inputs import edge_inputs
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.backend import Placement

Array = NDArray[Any]
Json = dict[str, Any]
FORMAT = 1
ENGINE = "nengo-loihi 1.1.0"
TEMPLATES = ("README.md", "blocks.py", "run.py")
GOLDEN_SAMPLES = 4
GOLDEN_VALUES = 1_000_000


def write(program: Program, folder: Path, placement: Placement) -> None:
    """Write the folder of a legalised Program."""
    manifest, tensors = describe(program, _cuts(program, placement))
    archives = {"tensors.npz": tensors, "golden.npz": golden(program, manifest)}
    digests = {}
    for name, arrays in archives.items():
        data = program_files.npz_bytes(arrays)
        (folder / name).write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()
    text = json.dumps({**manifest, "sha256": digests}, indent=1, sort_keys=True) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    with as_file(files("sfn_backends.loihi1") / "artifact") as source:
        for name in TEMPLATES:
            shutil.copyfile(source / name, folder / name)


def _cuts(program: Program, placement: Placement) -> dict[str, list[Cut]]:
    """Return the shards of every layer: those of the placement, and of what holds values back."""
    placed = {p.name: [(s.start, s.stop) for s in p.shards] for p in placement.placed}
    return {**cuts_of(Network(program)), **placed}


def describe(program: Program, cuts: dict[str, list[Cut]]) -> tuple[Json, dict[str, Array]]:
    """Return the manifest (without digests) and the arrays of a Program whose layers are cut into ``cuts``.

    Weights, thetas and offsets are those of the Program, by the names that its own description gives them: what the
    emulator is given is made of them alone.
    """
    network = Network(program)
    text, tensors = program_files.to_parts(program)
    tree = json.loads(text)
    steps = {step["name"]: step for step in tree["steps"]}
    layers = []
    for i, layer in enumerate(network.layers):
        key = f"layer{i:04d}"
        layers.append({**_layer(layer, key, steps.get(layer.name)), "cuts": [list(c) for c in cuts[layer.name]]})
        for j, wire in enumerate(layer.wires):
            one = wire.found
            tensors |= {f"{key}_{j}_source": one.source, f"{key}_{j}_target": one.target}
            if wire.kind != "level":
                tensors[f"{key}_{j}_position"] = one.position
    inputs = [
        {"id": f"in{i}", "name": e.value, "shape": e.shape, "bits": e.hi.bit_length()}
        for i, e in enumerate(program.inputs)
    ]
    manifest = {"format": FORMAT, "target": ENGINE, "inputs": inputs, "layers": layers, "program": tree}
    return manifest, {name: program_files.smallest_int(x) for name, x in tensors.items()}


def _layer(layer: Layer, key: str, step: Json | None) -> Json:
    """Return the record of a layer; ``step``: of the Program's own description, None of what holds a value back."""
    read = [] if step is None or step["class"] == "MaxPool" else step["projections"]
    wires = [
        {"source": w.source, "kind": w.kind, "lines": w.lines, "delay": w.delay, "dense": w.dense,
         "synapses": f"{key}_{j}", "weight": read[j]["map"]["weight"]["array"] if read else None}
        for j, w in enumerate(layer.wires)
    ]  # fmt: skip
    record: Json = {"id": key, "name": layer.name, "shape": layer.shape, "levels": layer.levels, "depth": layer.depth,
                    "wires": wires, "held": step is None}  # fmt: skip
    ladder = None if not read or step is None else step["ladder"]
    arrays = {k: v["array"] for k, v in (ladder or {}).items() if isinstance(v, dict) and "array" in v}
    return {**record, "neuron": {"kind": "Or" if ladder is None else ladder["class"], **arrays}}


def read(folder: Path) -> Program:
    """Return the Program of the arrays that the emulator is given. Raises SFN503 where they are none, or disagree."""
    try:
        manifest = program_files.read_json(folder / "manifest.json")
        tensors = program_files.npz_arrays((folder / "tensors.npz").read_bytes())
        if manifest["format"] != FORMAT:
            what = f"Loihi 1 folder of format {manifest['format']!r}, this version reads {FORMAT}"
            raise fail("SFN503", what, str(folder), "compile again")
        program = check_program(program_files.from_parts(manifest["program"], tensors))
        cuts = {layer["name"]: [(a, b) for a, b in layer["cuts"]] for layer in manifest["layers"]}
        found, again = describe(program, cuts)
    except (*program_files.UNREADABLE, IndexError, TypeError, AttributeError) as error:
        raise fail("SFN503", f"not an intact Loihi 1 folder: {error!r}", str(folder), "compile again") from error
    found = json.loads(json.dumps(found))
    odd = [key for key, value in found.items() if manifest.get(key) != value]
    odd += sorted(tensors.keys() ^ again.keys())
    odd += [key for key in sorted(tensors.keys() & again.keys()) if not np.array_equal(tensors[key], again[key])]
    if odd:
        what = f"manifest.json and tensors.npz disagree at {', '.join(odd[:5])}"
        raise fail("SFN503", what, str(folder), "compile again")
    return program


def golden(program: Program, manifest: Json) -> dict[str, Array]:
    """Return edge-case and random input codes and every value the simulator makes of them, by id."""
    per_sample = sum(int(np.prod(v.shape)) for v in program.values().values())
    n = min(GOLDEN_SAMPLES, max(1, GOLDEN_VALUES // max(per_sample, 1)))
    inputs = {name: codes[-n:] for name, codes in edge_inputs(program).items()}
    values = run_codes(program, inputs)
    shown = [*manifest["inputs"], *(layer for layer in manifest["layers"] if not layer["held"])]
    return {v["id"]: program_files.smallest_int(values[v["name"]]) for v in shown}
