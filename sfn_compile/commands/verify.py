"""Verify: every emitted target executed from its own files and compared with the simulator, integer by integer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import build_folder
from ..files.sample_files import load_data, subset
from ..foundation.diagnostics import CompileError, Diagnostic, fail
from ..foundation.options import ONE_PROCESS, Machine, check_choice
from ..foundation.samples import Samples, n_samples, part
from ..foundation.version import __version__
from ..host.codec import encode_all
from ..program.network import Normalization, Population, Program, stands_for
from ..simulator.run import run_codes
from ..targets import backend
from ..targets.backend import RunRequest, RunResult
from ..targets.legalize import legalize

Array = NDArray[Any]
DEFAULT_SAMPLES = 8


@dataclass
class Proof:
    """What :func:`verify` found; ``document`` is ``proof.json``."""

    document: dict[str, Any]
    problems: list[Diagnostic] = field(default_factory=list)


def verify(
    folder: Path, data: Path | None = None, samples: int | None = None, on: Sequence[str] | None = None,
    seed: int = 0, time_limit: float = 1800.0, machine: Machine = ONE_PROCESS,
) -> Proof:  # fmt: skip
    """Return the proof for the targets ``on`` (default: all that the build holds) and write ``proof.json``.

    Inputs are ``samples`` of ``data``, or the golden inputs of the build; ``machine``: engine and threads of the
    simulator. A target that cannot be executed here is a
    problem (SFN601, SFN603), never counted as verified. Raises SFN503 for a folder that is no build.
    """
    check_choice(samples, seed)
    machine.check()
    if not time_limit > 0:
        raise fail("SFN605", f"--time-limit {time_limit:g}; it must be above 0")
    manifest, program = build_folder.open_build(folder)
    x, golden_check = _inputs(folder, manifest, data, samples, seed)
    codes = encode_all(program, x)
    simulate = partial(run_codes, engine=machine.engine, threads=machine.threads)
    expected = simulate(program, codes)
    holds = {file.partition("/")[0] for file in manifest["files"] if "/" in file}
    built = [n for n in dict.fromkeys(manifest["options"]["targets"]) if n in holds]
    absent = sorted(set(on or ()) - set(built))
    if absent:
        raise fail(
            "SFN604", f"the build holds no target {absent[0]!r}", str(folder), f"compile with --target {absent[0]}"
        )
    proof = Proof({
        "sfnc": __version__, "model": manifest["model"]["sha256"], "program": manifest["files"]["program.npz"],
        "files_changed": build_folder.changed_files(folder, manifest), "seed": seed, "samples": n_samples(x),
        "data": str(data.name) if data else "golden inputs", "targets": {},
    })  # fmt: skip
    if golden_check is not None:
        _check_golden(golden_check, expected, proof)
    for name in on or built:
        _verify_target(name, folder, program, codes, expected, proof, time_limit, simulate)
    build_folder.write_json(folder / "proof.json", proof.document)
    return proof


def _inputs(
    folder: Path, manifest: Mapping[str, Any], data: Path | None, samples: int | None, seed: int
) -> tuple[Samples, dict[str, Array] | None]:
    if data is None:
        x, golden = build_folder.load_golden(folder)
        n = min(samples or DEFAULT_SAMPLES, n_samples(x))
        return part(x, slice(n)), part(golden, slice(n))
    found = load_data(data, build_folder.model_inputs(manifest))
    return subset(found, samples or DEFAULT_SAMPLES, seed).x, None


def _check_golden(golden: Mapping[str, Array], expected: Mapping[str, Array], proof: Proof) -> None:
    """The simulator still computes what it computed when the network was compiled."""
    different = sum(int((golden[k] != expected[k]).sum()) for k in expected if k in golden)
    proof.document["golden"] = {"compared": sum(v.size for v in golden.values()), "different": different}
    if different or set(golden) != set(expected):
        what = f"the simulator differs from golden.npz in {different} integers"
        proof.problems.append(Diagnostic("SFN501", what, "golden.npz", "compile again with this version"))


def _verify_target(
    name: str, folder: Path, program: Program, codes: Mapping[str, Array], expected: Mapping[str, Array],
    proof: Proof, time_limit: float, simulate: Callable[..., Mapping[str, Array]],
) -> None:  # fmt: skip
    target = backend.load(name)
    if not (folder / name).is_dir():
        raise fail("SFN503", f"the folder of target {name} is gone", str(folder), "compile again")
    entry: dict[str, Any] = {"samples": 0, "compared": 0, "different": 0, "first_difference": None, "mode": None,
                             "executed_by": None}  # fmt: skip
    proof.document["targets"][name] = entry
    why = target.available()
    if why is not None:
        entry["error"] = why
        proof.problems.append(Diagnostic("SFN601", f"target {name} was not executed: {why}", name))
        return
    legal = legalize(program, name, target.capabilities)
    golden = dict(simulate(legal, codes))
    try:
        result = target.run(folder / name, RunRequest(codes, golden, time_limit))
    except CompileError as error:
        entry["error"] = str(error)
        proof.problems.extend(error.diagnostics)
        return
    entry |= _compare(legal, expected, golden, result)
    if entry["different"]:
        first = entry["first_difference"]
        what = f"target {name}: {entry['different']} of {entry['compared']} integers differ"
        where = f"layer {first['layer']!r}, element {first['index']}: expected {first['expected']}, got {first['got']}"
        proof.problems.append(Diagnostic("SFN501", f"{what}; first at {where}", name))
    for reader in entry["readers"]:
        if reader.get("different") or reader.get("error"):
            fault = reader.get("error") or f"{reader['different']} integers differ"
            what = f"reader {reader['name']} of target {name}: {fault}"
            proof.problems.append(Diagnostic("SFN501", what, name))


def _compare(
    legal: Program, expected: Mapping[str, Array], golden: Mapping[str, Array], result: RunResult
) -> dict[str, Any]:
    """Return the comparison of every layer; neurons that the target did not report are a difference."""
    compared = different = n_layers = 0
    first: dict[str, Any] | None = None
    for step in legal.steps:
        if not isinstance(step, Population | Normalization) and step.name not in result.values:
            continue
        want = expected.get(stands_for(step), golden[step.name])
        got = result.values.get(step.name)
        n_layers += 1
        compared += want.size
        wrong = np.ones(want.shape, bool) if got is None or got.shape != want.shape else got != want
        count = int(wrong.sum())
        different += count
        if count and first is None:
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            value = None if got is None or got.shape != want.shape else int(got[at])
            first = {"layer": step.name, "index": list(at), "expected": int(want[at]), "got": value}
    return {
        "samples": len(next(iter(expected.values()))), "layers": n_layers, "compared": compared, "different": different,
        "first_difference": first, "mode": result.mode, "executed_by": result.executed_by,
        "readers": [dict(r) for r in result.readers], "notes": list(result.notes),
    }  # fmt: skip
