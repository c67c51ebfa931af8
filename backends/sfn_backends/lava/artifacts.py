"""The emitted folder: writing it, and reading the Program back from it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_backends.lava import clocks
from sfn_backends.lava.describe import describe, rebuild
from sfn_compile.files import program_files
from sfn_compile.files.program_checks import check_program
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import Program
from sfn_compile.simulator.edge_inputs import edge_inputs
from sfn_compile.simulator.run import run_codes

Array = NDArray[Any]
FORMAT = 2
TEMPLATES = (
    "README.md", "build.py", "compat.py", "guard.py", "jobs.py", "layout.py", "plan.py", "run.py",
    "sfnproc/__init__.py", "sfnproc/neurons.py", "sfnproc/pool.py", "sfnproc/product.py",
    "sfnproc/rows.py", "sfnproc/sink.py", "over_time.py", "host.py", "sfn_lava.py", "sfnproc/entry.py",
)  # fmt: skip
OVER_TIME = ("OVER_TIME.md", "build_clocked.py", "sfnproc/clock.py")  # only where the network has a clock
GOLDEN_VALUES = 4_000_000  # integers in golden.npz, about one byte each


def write(program: Program, folder: Path) -> None:
    """Write the artifact of a legalised Program into ``folder``."""
    network, tensors = describe(program)
    host, host_arrays = host_parts(program)
    archives = {"tensors.npz": tensors, "golden.npz": golden(program, network), "host.npz": host_arrays}
    digests = {}
    for name, arrays in archives.items():
        data = program_files.npz_bytes(arrays)
        (folder / name).write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()
    manifest = {"format": FORMAT, "target": "lava-nc 0.10.0", "sha256": digests, "host": host, **network}
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    _copy_templates(folder, () if program.clock is None else OVER_TIME)


def host_parts(program: Program) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the description of what is outside the network, and its arrays under names that say what they are.

    Such as ``input.image.step`` and ``output.logits.step``, or ``input.image.host.0.scale`` of an operation.
    """
    text, arrays = program_files.to_parts(replace(program, steps=(), clock=None))
    tree, named = json.loads(text), dict[str, Array]()

    def rename(part: Any, path: str) -> None:
        if isinstance(part, dict) and "array" in part:
            name = path
            while name in named:
                name += "_"
            named[name], part["array"] = arrays[part["array"]], name
        elif isinstance(part, dict):
            for key, value in part.items():
                rename(value, path if key == "args" else f"{path}.{key}")
        elif isinstance(part, list):
            for i, value in enumerate(part):
                is_pair = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
                rename(value[1] if is_pair else value, f"{path}.{value[0] if is_pair else i}")

    for kind in ("input", "output"):
        for entry in tree[f"{kind}s"]:
            rename(entry, f"{kind}.{re.sub(r'[^A-Za-z0-9_-]', '_', entry['name'])}")
    return tree, named


def read(folder: Path) -> Program:
    """Return the Program that the arrays of ``folder`` say. Raises SFN503 where they are no artifact or disagree."""
    try:
        manifest = program_files.read_json(folder / "manifest.json")
        tensors, host_arrays = load_npz(folder / "tensors.npz"), load_npz(folder / "host.npz")
        strange = [name for name, x in tensors.items() if x.dtype.kind != "i"]
        if strange:
            raise fail("SFN503", f"tensors.npz: {strange[0]!r} holds no integers", str(folder), "compile again")
        if manifest["format"] != FORMAT:
            raise fail(
                "SFN503", f"Lava artifact of format {manifest['format']!r}, this version reads {FORMAT}", str(folder)
            )
        outside = program_files.from_parts(manifest["host"], host_arrays)
        clock = clocks.rebuild(manifest, tensors)
        program = check_program(replace(outside, steps=rebuild(manifest, tensors), clock=clock))
        network, again = describe(program)
    except (*program_files.UNREADABLE, IndexError, TypeError, AttributeError) as error:
        raise fail("SFN503", f"not an intact Lava artifact: {error!r}", str(folder)) from error
    _require_equal(folder, manifest, tensors, json.loads(json.dumps(network)), again)
    return program


def golden(program: Program, network: dict[str, Any]) -> dict[str, Array]:
    """Return edge-case and random input codes and every value the simulator makes of them, by id."""
    per_sample = sum(int(np.prod(v.shape)) for v in program.values().values())
    per_sample *= 1 if program.clock is None else program.clock.steps
    n = min(9, max(2, GOLDEN_VALUES // per_sample))
    inputs = {name: clocks.shown(codes[-n:], program) for name, codes in edge_inputs(program.at_once()).items()}
    values = run_codes(program, inputs)
    every = [v for v in network["inputs"] + network["layers"] if v["name"] in values]
    return {v["id"]: program_files.smallest_int(values[v["name"]]) for v in every}


def load_npz(path: Path) -> dict[str, Array]:
    """Return the arrays of an archive. Raises what :data:`sfn_compile.files.program_files.UNREADABLE` names."""
    return program_files.npz_arrays(path.read_bytes())


def _require_equal(folder: Path, manifest: Any, tensors: Any, network: Any, again: Any) -> None:
    """Raise SFN503 unless what was read is described by what it was read from: else Lava would run something else."""
    odd = [key for key, value in network.items() if manifest.get(key) != value]
    odd += sorted(tensors.keys() ^ again.keys())
    odd += [key for key in sorted(tensors.keys() & again.keys()) if not np.array_equal(tensors[key], again[key])]
    if odd:
        raise fail("SFN503", f"manifest.json and tensors.npz disagree at {', '.join(odd[:5])}", str(folder))


def _copy_templates(folder: Path, more: tuple[str, ...]) -> None:
    with as_file(files("sfn_backends.lava") / "artifact") as source:
        for name in (*TEMPLATES, *more):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source / name, folder / name)
