"""Verify: every emitted target executed from its own files and compared with the simulator, integer by integer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..compiler.compilation import silent
from ..compiler.draft import Progress
from ..data.sources import data_of_build
from ..files import build_folder, program_files, sealed
from ..files.build_checks import REPORT, check_form, check_golden, check_manifest
from ..foundation.diagnostics import Diagnostic, fail
from ..foundation.options import ONE_PROCESS, Machine, check_choice
from ..foundation.preparation import Given
from ..foundation.samples import Samples, n_samples, part
from ..foundation.version import __version__
from ..host.codec import encode_all
from ..host.model_inputs import open_beginning
from ..program.network import Program
from ..report.page.document import refresh
from ..simulator.run import run_codes
from ..simulator.run_clock import final_charges
from ..targets.target_records import read_record
from .target_proof import Expected, n_different, not_executed, prove
from .time_proof import against, settled_row

Array = NDArray[Any]
DEFAULT_SAMPLES = 8
GOLDEN = "golden inputs"
NEEDED = ("program", "golden", "targets")  # without them there is nothing to compare with


@dataclass(repr=False)
class Proof:
    """What :func:`verify` found; ``document`` is ``proof.json``."""

    document: dict[str, Any]
    problems: list[Diagnostic] = field(default_factory=list)

    @property
    def proved(self) -> bool:
        """Whether every target that was asked for computes the same integers."""
        return not self.problems

    def __bool__(self) -> bool:
        return self.proved

    def __repr__(self) -> str:
        targets = self.document["targets"]
        counts = ", ".join(f"{name} {t['different']} of {t['compared']:,} integers different" if t.get("mode")
                           else f"{name} not executed" for name, t in targets.items())  # fmt: skip
        lines = [f"<{'proved' if self.proved else 'NOT proved'}: {counts or 'no target'}>", *map(str, self.problems)]
        return "\n".join(lines)


def verify(
    folder: Path, data: Path | Given | None = None, samples: int | None = None, on: Sequence[str] | None = None,
    seed: int = 0, time_limit: float = 1800.0, machine: Machine = ONE_PROCESS, progress: Progress = silent,
    other: Path | None = None,
) -> Proof:  # fmt: skip
    """Return the proof for the targets ``on`` (default: all that the build holds) and write ``proof.json``.

    Inputs are ``samples`` of ``data``, or the golden inputs of the build; ``machine``: engine and threads of the
    simulator. A sealed file that was changed or is missing, or a stranger in the folder of a target, is a problem
    (SFN506), and a target of which that is true is not executed. A target that cannot be executed here is a problem
    (SFN601, SFN603), never counted as verified; so is a proof of nothing (SFN507). ``other``: a build whose integers
    the counts are compared with (SFN611). Raises SFN503 for a folder that is no build, SFN605 for a time limit that is
    not above 0.
    """
    check_choice(samples, seed)
    machine.check()
    if not time_limit > 0:
        raise fail("SFN605", f"--time-limit {time_limit:g}; it must be above 0")
    manifest = sealed.read_manifest(folder)
    broken = sealed.problems(folder, manifest)
    chosen = _chosen(folder, sealed.held_targets(manifest), on)
    odd = {d.where for d in broken}
    proof = _begun(manifest, broken, seed)
    if sealed.MANIFEST not in odd and not set(sealed.changed(folder, manifest, *NEEDED)) & odd:
        progress("simulator", 0, 1)
        expected = _expected(folder, manifest, data, samples, machine, proof)
        _add_time(expected, other, proof)
        progress("simulator", 1, 1)
        for name in chosen:
            _add(name, folder, expected, proof, time_limit, progress)
    if not chosen:
        proof.problems.append(Diagnostic("SFN507", "no target was asked for", str(folder), "leave --on out"))
    proof.document["proved"] = not proof.problems
    build_folder.write_json(folder / "proof.json", proof.document)
    refresh(folder)
    return proof


def _begun(manifest: Mapping[str, Any], broken: list[Diagnostic], seed: int) -> Proof:
    """Return a proof of which nothing is proved yet."""
    return Proof({
        "sfnc": __version__, "proved": False, "model": _of(manifest, "model", "sha256"),
        "program": _of(manifest, "files", "program.npz"), "files_changed": sorted({d.where for d in broken}),
        "seed": seed, "samples": 0, "data": GOLDEN, "targets": {},
    }, broken)  # fmt: skip


def _add_time(expected: Expected, other: Path | None, proof: Proof) -> None:
    """Add what is proved of time: against the same network at one timestep, and against another build."""
    if expected.program.clock is not None:
        proof.document["time"], found = settled_row(expected)
        proof.problems += found
    if other is not None:
        proof.document["against"], found = against(expected, other)
        proof.problems += found


def _of(manifest: Mapping[str, Any], section: str, key: str) -> Any:
    """Return an entry of the manifest, None where a changed one has it no more."""
    found = manifest.get(section)
    return found.get(key) if isinstance(found, dict) else None


def _chosen(folder: Path, built: Sequence[str], on: Sequence[str] | None) -> list[str]:
    """Return the targets to verify. Raises SFN604 for one that the build does not hold."""
    chosen = list(dict.fromkeys(built if on is None else on))
    absent = sorted(set(chosen) - set(built))
    if absent:
        fix = f"compile with --target {absent[0]}"
        raise fail("SFN604", f"the build holds no target {absent[0]!r}", str(folder), fix)
    return chosen


def _expected(
    folder: Path,
    manifest: Mapping[str, Any],
    data: Path | Given | None,
    samples: int | None,
    machine: Machine,
    proof: Proof,
) -> Expected:
    """Return what the targets are compared with; the manifest and the golden integers are checked against it."""
    program = program_files.load(folder)
    check_manifest(manifest, program)
    if "report.json" not in proof.document["files_changed"]:
        said = _contradictions(folder, manifest, program)
        proof.problems += [Diagnostic("SFN506", what, sealed.MANIFEST, "compile again") for what in said]
    x, golden, source = _inputs(folder, manifest, program, data, samples, proof.document["seed"])
    proof.document["data"] = source
    codes = encode_all(program, x)
    values = run_codes(program, codes, engine=machine.engine, threads=machine.threads)
    proof.document["samples"] = n_samples(x)
    if golden is not None:
        _check_golden(golden, values, proof)
    charges = {} if program.clock is None else final_charges(program, values)
    return Expected(program, program_files.digest(program), x, codes, values, machine.engine, machine.threads, charges)


def _contradictions(folder: Path, manifest: Mapping[str, Any], program: Program) -> list[str]:
    """Return where a manifest says other things than the files it seals."""
    report = build_folder.read_json(folder / "report.json")
    check_form(report, REPORT, "report.json")
    found = []
    if _of(manifest, "model", "sha256") != manifest["files"].get("model.onnx"):
        found.append("it states another sha256 of the model than of model.onnx")
    if manifest.get("format") != program.format:
        found.append(f"it states format {manifest.get('format')!r}, program.json format {program.format}")
    found += [f"it states other {key} than report.json" for key in ("options", "host_head", "host_tail")
              if report.get(key) != manifest.get(key)]  # fmt: skip
    refused = {name for name, row in dict(report.get("targets", {})).items() if "refused" in row}
    lacking = set(manifest["options"]["targets"]) - refused - set(sealed.held_targets(manifest))
    return found + [f"it lists no file of target {name}" for name in sorted(lacking)]


def _inputs(
    folder: Path,
    manifest: Mapping[str, Any],
    program: Program,
    data: Path | Given | None,
    samples: int | None,
    seed: int,
) -> tuple[Samples, dict[str, Array] | None, str]:
    """Return the samples, their golden integers where they are the build's own, and what they are called."""
    if data is None:
        x, golden = build_folder.load_golden(folder)
        check_golden(x, golden, program)
        n = min(samples or DEFAULT_SAMPLES, n_samples(x))
        if not n:
            raise fail("SFN507", "golden.npz holds no sample", str(folder), "compile again")
        return part(x, slice(n)), part(golden, slice(n)), GOLDEN
    found = data_of_build(data, manifest, samples or DEFAULT_SAMPLES, seed)
    return open_beginning(folder, manifest).samples(found.x), None, found.source


def _check_golden(golden: Mapping[str, Array], expected: Mapping[str, Array], proof: Proof) -> None:
    """The simulator still computes what it computed when the network was compiled."""
    different = sum(n_different(golden[k], expected[k]) for k in expected if k in golden)
    proof.document["golden"] = {"compared": sum(v.size for v in golden.values()), "different": different}
    if different or set(golden) != set(expected):
        what = f"the simulator differs from golden.npz in {different} integers"
        proof.problems.append(Diagnostic("SFN501", what, "golden.npz", "compile again with this version"))


def _add(name: str, folder: Path, expected: Expected, proof: Proof, time_limit: float, progress: Progress) -> None:
    """Add the proof of a target; one whose files are not those that compile wrote is not executed."""
    odd = [file for file in proof.document["files_changed"] if file.startswith(f"{name}/")]
    if odd:
        why = f"not executed: {', '.join(odd[:5])} {'is' if len(odd) == 1 else 'are'} not of this build"
        proof.document["targets"][name] = not_executed(why)
        return
    record = read_record(folder, name, expected.program)
    proof.document["targets"][name], found = prove(record, folder / name, expected, time_limit, progress)
    proof.problems += found
