"""The proof of one target: its files read back, executed, and every integer and decoded number compared.

Nothing that compile computed for the target is computed again: what the files must read back as is its record
(:mod:`.target_records`). That this legal Program means what ``program.npz`` means is shown by executing both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.compilation import silent
from ..compiler.draft import Progress
from ..files import program_files
from ..foundation.diagnostics import CompileError, Diagnostic
from ..foundation.samples import Samples, n_samples
from ..host.codec import decode, decoded, encode_all
from ..program.network import Move, Program, Step, stands_for
from ..simulator.run import Engine, run_codes
from ..simulator.run_clock import after_step
from ..targets import backend
from ..targets.backend import Backend, RunRequest, RunResult
from ..targets.placement import misplaced
from ..targets.target_records import TargetRecord, held_values

Array = NDArray[Any]
Row = dict[str, Any]
MODES = ("whole", "layerwise")


@dataclass(frozen=True, eq=False)
class Expected:
    """What every target must compute: the simulator's integers of ``program`` on the samples ``x``.

    ``charges``: with a clock, what every population has summed up at the end.
    """

    program: Program
    digest: str
    x: Samples
    codes: Mapping[str, Array]
    values: Mapping[str, Array]
    engine: Engine = "fast"
    threads: int | None = None
    charges: Mapping[str, Array] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """The number of samples."""
        return n_samples(self.x)


def prove(
    record: TargetRecord, folder: Path, expected: Expected, time_limit: float, progress: Progress = silent
) -> tuple[Row, list[Diagnostic]]:
    """Return the entry of a target in ``proof.json`` and what is wrong; ``proved`` is true where nothing is.

    ``progress`` is told what is done with the target, and of how many layers integers are compared.
    ``folder`` is the target's own; its files must be those that compile wrote. Raises SFN604 for an unknown target.
    """
    name, target = record.name, backend.load(record.name)
    why = target.available()
    if why is not None:
        return not_executed(why), [Diagnostic("SFN601", f"target {name} was not executed: {why}", name)]
    progress(f"{name}: read back", 0, 1)
    reload, own = _reload(target, folder, record)
    if own is None:
        what = f"target {name}: its files do not read back: {reload['error']}"
        return not_executed(what, reload), [Diagnostic("SFN501", what, name, "compile again")]
    progress(f"{name}: its own layers in the simulator", 0, 1)
    legal, golden = _legal(own, record, expected)
    before = [*_reload_faults(name, reload), *_legal_faults(name, legal)]
    progress(f"{name}: execute", 0, 1)
    try:
        result = target.run(folder, RunRequest(expected.codes, golden, time_limit))
    except CompileError as error:
        return not_executed(str(error), reload), [*before, *error.diagnostics]
    wanted = _wanted(own, expected, golden, result, bool(target.capabilities.moves))

    def compared(layer: int) -> None:
        progress(f"{name}: compare {len(wanted)} layers", layer, len(wanted))

    entry = {
        "reload": reload,
        "legal": legal,
        **_compare(wanted, expected.n, result, compared),
        **_host(own, expected, result),
    }
    if expected.program.clock is not None:
        entry["potentials"] = _potentials(expected, result)
    found = [*before, *_faults(name, entry)]
    return entry | {"proved": not found}, found


def not_executed(why: str, reload: Row | None = None) -> Row:
    """Return the entry of a target that was not executed."""
    return {"proved": False, "samples": 0, "layers": 0, "compared": 0, "different": 0, "first_difference": None,
            "mode": None, "executed_by": None, "readers": [], "notes": [], "reload": reload, "error": why}  # fmt: skip


def _reload(target: Backend, folder: Path, record: TargetRecord) -> tuple[Row, Program | None]:
    """Return (digest of the network that the files say, and whether it is the one of the record; that network)."""
    try:
        own = target.reload(folder)
    except Exception as error:  # a reader of a plug-in may raise anything; that it failed is the finding
        return {"digest": None, "equal": False, "error": f"{type(error).__name__}: {error}"}, None
    digest = program_files.digest(own)
    return {"digest": digest, "equal": digest == record.digest, "error": None}, own


def _legal(own: Program, record: TargetRecord, expected: Expected) -> tuple[Row, dict[str, Array]]:
    """Return how the Program that a target's files say compares with the one it was made from, and its integers.

    Both are executed by the simulator: every layer of ``own`` against the value that it stands for, and every layer
    that the target was given. Integers that the simulator has of that value are the ones returned, so that a target
    that is run layer by layer is never fed what its own files say.
    """
    row: Row = {"made_from": record.made_from, "compared": 0, "different": 0, "error": _misfit(own, record, expected)}
    try:
        theirs = dict(run_codes(own, expected.codes, engine=expected.engine, threads=expected.threads))
    except Exception as error:  # a damaged network may be of other inputs or shapes
        return row | {"error": f"it cannot be executed: {error!r}"}, dict(expected.values)
    origins = {step.name: stands_for(step) for step in own.steps}
    pairs = [(theirs[name], expected.values[of]) for name, of in origins.items() if of in expected.values]
    lacking = [expected.values[step.name] for step in _layers(expected.program) if step.name not in origins]
    row["compared"] = sum(want.size for _, want in pairs) + sum(want.size for want in lacking)
    row["different"] = sum(n_different(got, want) for got, want in pairs) + sum(want.size for want in lacking)
    known = {name: expected.values[of] for name, of in origins.items() if of in expected.values}
    return row, {**theirs, **known}


def _misfit(own: Program, record: TargetRecord, expected: Expected) -> str | None:
    """Return what the record of a target says otherwise than program.npz and the target's own files, if anything."""
    if record.made_from != expected.digest:
        return "it was made from another Program than program.npz"
    if dict(record.outputs) != held_values(expected.program, own):
        return "targets.json says other values of its outputs than its files"
    return misplaced(own, record.placement) or None


def _layers(program: Program) -> list[Step]:
    """Return the steps that a target always has under their own names: all but moves, which it may fold."""
    return [step for step in program.steps if not isinstance(step, Move)]


def _wanted(
    own: Program, expected: Expected, golden: Mapping[str, Array], result: RunResult, has_moves: bool
) -> dict[str, Array]:
    """Return the integers that a target must have reported, by layer.

    ``has_moves``: the target takes moves as they are. Where it does not, a move that is left may be missing: it
    computes nothing and is another view of its source there.
    """
    folded = () if has_moves else [s.name for s in own.steps if isinstance(s, Move) and s.name not in result.values]
    wanted = {step.name: golden[step.name] for step in own.steps if step.name in golden and step.name not in folded}
    return wanted | {step.name: expected.values[step.name] for step in _layers(expected.program)}


def _compare(wanted: Mapping[str, Array], n: int, result: RunResult, stage: Callable[[int], None]) -> Row:
    """Return the comparison of every layer; a layer that the target did not report differs in all its integers."""
    compared = different = 0
    first: Row | None = None
    for i, (name, want) in enumerate(wanted.items(), 1):
        stage(i)
        got = np.asarray(result.values[name]) if name in result.values else None
        compared += want.size
        wrong = np.ones(want.shape, bool) if got is None or got.shape != want.shape else np.asarray(got != want)
        count = int(wrong.sum())
        different += count
        if count and first is None:
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            value = None if got is None or got.shape != want.shape else float(got[at])
            first = {"layer": name, "index": list(at), "expected": int(want[at]), "got": _whole(value)}
    return {
        "samples": n, "layers": len(wanted), "compared": compared, "different": different,
        "first_difference": first, "mode": result.mode, "executed_by": result.executed_by,
        "readers": [dict(r) for r in result.readers], "notes": list(result.notes),
    }  # fmt: skip


def _potentials(expected: Expected, result: RunResult) -> Row:
    """Return the comparison of what populations have summed up at the end, of those that the target shows."""
    pairs = [(result.potentials[name], want) for name, want in expected.charges.items() if name in result.potentials]
    return {"populations": len(pairs), "compared": sum(want.size for _, want in pairs),
            "different": sum(n_different(np.asarray(got), want) for got, want in pairs)}  # fmt: skip


def _whole(value: float | None) -> int | str | None:
    """Return an integer that a target computed; what is none, as text."""
    return None if value is None else int(value) if value.is_integer() else repr(value)


def _host(own: Program, expected: Expected, result: RunResult) -> Row:
    """Return how the target's own encoding and decoding compare with the simulator's, number by number.

    ``own`` is the Program that the target's files say: its encodings make the codes, its decodings make real numbers
    of the integers that the target computed.
    """
    return {"encoded": _encoded(own, expected), "decoded": _decoded(own, expected, result)}


def _encoded(own: Program, expected: Expected) -> Row:
    try:
        codes = encode_all(own, expected.x)
    except Exception as error:  # a damaged encoding may be of another input, shape or kind
        return {"compared": 0, "different": 0, "error": f"its own encoding fails: {error!r}"}
    different = sum(n_different(codes.get(name), want) for name, want in expected.codes.items())
    return {"compared": sum(c.size for c in expected.codes.values()), "different": different, "error": None}


def _decoded(own: Program, expected: Expected, result: RunResult) -> Row:
    compared = different = 0
    theirs = {d.name: d for d in own.outputs}
    said = {v: result.values.get(v, expected.codes.get(v)) for d in own.outputs for v in d.values}
    at_end = after_step(own, {v: np.asarray(x) for v, x in said.items() if x is not None})
    true = after_step(expected.program, {v: expected.values[v] for v in expected.program.decoded()})
    for d in expected.program.outputs:
        want, made = decoded(d, true), theirs.get(d.name)
        found = [] if made is None else [at_end.get(v) for v in made.values]
        integers = [np.asarray(x) for x in found if x is not None]
        compared += want.size
        try:
            got = None if made is None or len(integers) < len(found) else decode(made, *integers)
        except Exception as error:  # a damaged decoding may be of another shape or kind
            return {"compared": compared, "different": different, "error": f"its own decoding fails: {error!r}"}
        different += n_different(got, want)
    return {"compared": compared, "different": different, "error": None}


def n_different(got: Array | None, want: Array) -> int:
    """Return how many numbers differ: all of them where there are none, or others than were wanted."""
    if got is None or got.shape != want.shape:
        return int(want.size)
    same = (got == want) | ((got != got) & (want != want))  # a decoder may make NaN: the same on both sides
    return int(want.size - np.count_nonzero(same))


def _reload_faults(name: str, reload: Row) -> list[Diagnostic]:
    if reload["equal"]:
        return []
    what = f"target {name}: its files read back as another network than compile wrote"
    return [Diagnostic("SFN501", what, name, "compile again with this version")]


def _legal_faults(name: str, legal: Row) -> list[Diagnostic]:
    if not legal["different"] and legal["error"] is None:
        return []
    what = legal["error"] or f"{legal['different']} of {legal['compared']} integers differ in the simulator"
    what = f"target {name}: the network of its files is not the Program: {what}"
    return [Diagnostic("SFN501", what, name, "compile again with this version")]


def _faults(name: str, entry: Row) -> list[Diagnostic]:
    """Return what keeps the entry of a target that was executed from being a proof."""
    found = []
    if entry["different"]:
        first = entry["first_difference"]
        what = f"target {name}: {entry['different']} of {entry['compared']} integers differ"
        where = f"layer {first['layer']!r}, element {first['index']}: expected {first['expected']}, got {first['got']}"
        found.append(Diagnostic("SFN501", f"{what}; first at {where}", name))
    if entry.get("potentials", {}).get("different"):
        row = entry["potentials"]
        what = f"{row['different']} of {row['compared']} potentials differ after the last step"
        found.append(Diagnostic("SFN501", f"target {name}: {what}", name))
    for side in ("encoded", "decoded"):
        row = entry.get(side)
        if row is not None and (row["different"] or row["error"]):
            what = row["error"] or f"{row['different']} {side} numbers differ from the simulator's"
            found.append(Diagnostic("SFN501", f"target {name}: {what}", name))
    if not entry["compared"] or not entry["layers"]:
        found.append(Diagnostic("SFN507", f"target {name}: it reported no integers", name))
    elif entry["mode"] not in MODES:
        what = f"target {name}: its mode {entry['mode']!r} is none of {', '.join(MODES)}"
        found.append(Diagnostic("SFN507", what, name))
    return found + [d for reader in entry["readers"] for d in _reader_faults(name, reader)]


def _reader_faults(name: str, reader: Mapping[str, Any]) -> list[Diagnostic]:
    who = f"reader {reader.get('name')} of target {name}"
    if reader.get("different") or reader.get("error"):
        fault = reader.get("error") or f"{reader['different']} integers differ"
        return [Diagnostic("SFN501", f"{who}: {fault}", name)]
    if not reader.get("compared") or not reader.get("layers"):
        return [Diagnostic("SFN507", f"{who}: it reported no integers", name)]
    return []
