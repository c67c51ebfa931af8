"""The proof of one target: its files read back, executed, and every integer and decoded number compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import program_files
from ..foundation.diagnostics import CompileError, Diagnostic
from ..foundation.samples import Samples, n_samples
from ..host.codec import decode, decoded, encode_all
from ..program.network import Move, Program, stands_for
from ..simulator.run import Engine, run_codes
from ..targets import backend
from ..targets.backend import Backend, RunRequest, RunResult
from ..targets.legalize import legalize

Array = NDArray[Any]
Row = dict[str, Any]
MODES = ("whole", "layerwise")


@dataclass(frozen=True, eq=False)
class Expected:
    """What every target must compute: the simulator's integers of ``program`` on the samples ``x``."""

    program: Program
    x: Samples
    codes: Mapping[str, Array]
    values: Mapping[str, Array]
    engine: Engine = "fast"
    threads: int | None = None

    @property
    def n(self) -> int:
        """The number of samples."""
        return n_samples(self.x)


def prove(name: str, folder: Path, expected: Expected, time_limit: float) -> tuple[Row, list[Diagnostic]]:
    """Return the entry of a target in ``proof.json`` and what is wrong; ``proved`` is true where nothing is.

    ``folder`` is the target's own; its files must be those that compile wrote. Raises SFN604 for an unknown target.
    """
    target = backend.load(name)
    why = target.available()
    if why is not None:
        return not_executed(why), [Diagnostic("SFN601", f"target {name} was not executed: {why}", name)]
    legal = legalize(expected.program, name, target.capabilities)
    reload, own = _reload(target, folder, legal)
    if own is None:
        what = f"target {name}: its files do not read back: {reload['error']}"
        return not_executed(what, reload), [Diagnostic("SFN501", what, name, "compile again")]
    golden = dict(run_codes(legal, expected.codes, engine=expected.engine, threads=expected.threads))
    try:
        result = target.run(folder, RunRequest(expected.codes, golden, time_limit))
    except CompileError as error:
        return not_executed(str(error), reload), [*_reload_faults(name, reload), *error.diagnostics]
    compared = _compare(legal, expected, golden, result, bool(target.capabilities.moves))
    entry = {"reload": reload, **compared, **_host(own, expected, result)}
    found = [*_reload_faults(name, reload), *_faults(name, entry)]
    return entry | {"proved": not found}, found


def not_executed(why: str, reload: Row | None = None) -> Row:
    """Return the entry of a target that was not executed."""
    return {"proved": False, "samples": 0, "layers": 0, "compared": 0, "different": 0, "first_difference": None,
            "mode": None, "executed_by": None, "readers": [], "notes": [], "reload": reload, "error": why}  # fmt: skip


def _reload(target: Backend, folder: Path, legal: Program) -> tuple[Row, Program | None]:
    """Return (digest of the network that the files say, and whether it is the legalised one; that network)."""
    try:
        own = target.reload(folder)
    except Exception as error:  # a reader of a plug-in may raise anything; that it failed is the finding
        return {"digest": None, "equal": False, "error": f"{type(error).__name__}: {error}"}, None
    digest = program_files.digest(own)
    return {"digest": digest, "equal": digest == program_files.digest(legal), "error": None}, own


def _compare(
    legal: Program, expected: Expected, golden: Mapping[str, Array], result: RunResult, has_moves: bool
) -> Row:
    """Return the comparison of every layer; a layer that the target did not report differs in all its integers.

    ``has_moves``: the target takes moves as they are. Where it does not, a move that is left may be missing: it
    computes nothing and is another view of its source there.
    """
    compared = different = n_layers = 0
    first: Row | None = None
    for step in legal.steps:
        if isinstance(step, Move) and not has_moves and step.name not in result.values:
            continue
        origin = stands_for(step)
        want = expected.values.get(origin, golden[step.name])
        got = np.asarray(result.values[step.name]) if step.name in result.values else None
        n_layers += 1
        compared += want.size
        wrong = np.ones(want.shape, bool) if got is None or got.shape != want.shape else np.asarray(got != want)
        count = int(wrong.sum())
        different += count
        if count and first is None:
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            value = None if got is None or got.shape != want.shape else float(got[at])
            first = {"layer": step.name, "index": list(at), "expected": int(want[at]), "got": _whole(value)}
    return {
        "samples": expected.n, "layers": n_layers, "compared": compared, "different": different,
        "first_difference": first, "mode": result.mode, "executed_by": result.executed_by,
        "readers": [dict(r) for r in result.readers], "notes": list(result.notes),
    }  # fmt: skip


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
    for d in expected.program.outputs:
        want, made = decoded(d, expected.values), theirs.get(d.name)
        found = [] if made is None else [result.values.get(v, expected.codes.get(v)) for v in made.values]
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
    what = f"target {name}: its files read back as another network than the Program"
    return [Diagnostic("SFN501", what, name, "compile again with this version")]


def _faults(name: str, entry: Row) -> list[Diagnostic]:
    """Return what keeps the entry of a target that was executed from being a proof."""
    found = []
    if entry["different"]:
        first = entry["first_difference"]
        what = f"target {name}: {entry['different']} of {entry['compared']} integers differ"
        where = f"layer {first['layer']!r}, element {first['index']}: expected {first['expected']}, got {first['got']}"
        found.append(Diagnostic("SFN501", f"{what}; first at {where}", name))
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
