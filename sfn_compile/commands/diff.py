"""Diff: what is different between two builds. Options and versions, files, layers and their integers, quality, energy.

Two builds are the *same network* where their models, Programs, host parts and target files are the same. Options,
versions and reports may differ all the same, and are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import build_folder, program_files, sealed
from ..foundation.diagnostics import CompileError, Diagnostic
from ..host.codec import encode_all
from ..program.network import Program, Step
from ..report.likeness import read_report
from ..report.scores import score_of
from ..simulator.run import run_codes

Array = NDArray[Any]
Pair = list[Any]
DESCRIBING = ("report", "golden", "scales")  # sealed parts that are no part of the network
WORDS = {"projections": "weights", "products": "weights", "ladder": "thresholds", "gain": "thresholds"}
NO_PART = ("name", "origin", "acc_min", "acc_max")  # of a step: its integers hang on none of them
PRICES = ("E1", "E2", "E3", "E4")


@dataclass
class Difference:
    """What :func:`diff` found; ``problems``: SFN510 where the networks differ."""

    document: dict[str, Any]
    problems: list[Diagnostic] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Side:
    """One of the two builds."""

    folder: Path
    manifest: Mapping[str, Any]
    program: Program
    report: Mapping[str, Any]

    @staticmethod
    def of(folder: Path) -> _Side:
        manifest, program = build_folder.open_build(folder, "report", "golden")
        return _Side(folder, manifest, program, read_report(folder))


def diff(a: Path, b: Path) -> Difference:
    """Return what is different between the builds ``a`` and ``b``. Raises SFN503 where one is no build.

    Every pair of the document is ``[of a, of b]``. Both networks compute the golden inputs of ``a``, so that a layer
    whose integers follow from changes before it is told apart from one that was changed itself.
    """
    one, two = _Side.of(a), _Side.of(b)
    document: dict[str, Any] = {
        "a": str(a), "b": str(b),
        "model": _pair(one.manifest["model"]["sha256"], two.manifest["model"]["sha256"]),
        "calibration": _pairs(one.manifest["calibration"], two.manifest["calibration"]),
        "options": _pairs(one.manifest["options"], two.manifest["options"]),
        "versions": _pairs(one.manifest["versions"], two.manifest["versions"]),
        "files": _files(one.manifest, two.manifest),
        **_layers(one, two),
        "totals": {k: [one.report["totals"][k], two.report["totals"][k]] for k in sorted(one.report["totals"])},
        "quality": _quality(one, two), "energy": _energy(one.report, two.report),
    }  # fmt: skip
    changed = [f for f in document["files"]["network"] if f != "model.onnx"] or document["layers"]
    document["same"] = not changed and len(document["model"]) == 1
    return Difference(document, [] if document["same"] else [_problem(document)])


def _pair(a: Any, b: Any) -> Pair:
    """Return both values, or the one that both have."""
    return [a] if a == b else [a, b]


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    """Return both values of every key whose values differ; None for a key that is missing."""
    return {k: [a.get(k), b.get(k)] for k in sorted({*a, *b}) if a.get(k) != b.get(k)}


def _files(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sealed files that differ: of the network, and those that describe it."""
    targets = [*sealed.held_targets(a), *sealed.held_targets(b)]
    files = _pairs(a["files"], b["files"])
    network = {f: pair for f, pair in files.items() if sealed.part_of(f, targets) not in DESCRIBING}
    return {"network": network, "describing": {f: pair for f, pair in files.items() if f not in network}}


def _layers(a: _Side, b: _Side) -> dict[str, Any]:
    """Return the layers that were changed or whose integers are others, in the order of ``a``, then those of ``b``."""
    mine, theirs = ({step.name: step for step in side.program.steps} for side in (a, b))
    found, compared = _integers(a, b)
    rows = []
    for name in dict.fromkeys((*(e.value for e in a.program.inputs), *mine, *theirs)):
        row = {
            "name": name,
            "in": _where(name, a, b),
            "changed": [],
            **found.get(name, {"compared": 0, "different": 0}),
        }
        if name in mine and name in theirs:
            row["changed"] = sorted(set(_changed(mine[name], theirs[name])))
        if row["in"] != "both" or row["changed"] or row["different"]:
            rows.append(row)
    return {"layers": rows, "compared_on": compared, "of_layers": len(mine)}


def _where(name: str, a: _Side, b: _Side) -> str:
    here, there = name in a.program.values(), name in b.program.values()
    return "both" if here and there else "a" if here else "b"


def _changed(a: Step, b: Step) -> Iterator[str]:
    """Yield what is different in a step, in words."""
    if type(a) is not type(b):
        yield "kind"
        return
    for f in fields(a):
        if f.name not in NO_PART and not _equal(getattr(a, f.name), getattr(b, f.name)):
            yield WORDS.get(f.name, f.name)


def _equal(a: Any, b: Any) -> bool:
    """Return whether two parts of a Program hold the same integers."""
    (tree, arrays), (other, others) = (program_files.parts_of(x) for x in (a, b))
    return bool(tree == other and arrays.keys() == others.keys()
                and all(np.array_equal(arrays[k], others[k]) for k in arrays))  # fmt: skip


def _integers(a: _Side, b: _Side) -> tuple[dict[str, dict[str, int]], dict[str, Any]]:
    """Return by layer how many integers of the golden inputs of ``a`` differ, and on how many samples, or why none."""
    x, _ = build_folder.load_golden(a.folder)
    try:
        mine, theirs = (run_codes(side.program, encode_all(side.program, x)) for side in (a, b))
    except (CompileError, KeyError, ValueError, IndexError) as error:  # inputs of another name or shape
        return {}, {"samples": 0, "reason": f"b does not take the golden inputs of a: {error}"}
    found = {}
    for name, want in mine.items():
        got = theirs.get(name)
        if got is not None:
            wrong = want.size if got.shape != want.shape else int(np.count_nonzero(got != want))
            found[name] = {"compared": int(want.size), "different": wrong}
    return found, {"samples": len(next(iter(x.values())))}


def _quality(a: _Side, b: _Side) -> dict[str, Any]:
    """Return the scores of both where eval left them on the same data, and the outputs as compile measured them."""
    one, two = (_evaluated(side.folder) for side in (a, b))
    found: dict[str, Any] = {"outputs": {
        name: {key: [row.get(key), b.report["outputs"].get(name, {}).get(key)] for key in ("agreement", "sqnr_db")}
        for name, row in a.report["outputs"].items()}}  # fmt: skip
    if one is None or two is None:
        return {**found, "score": None, "reason": "`sfnc eval` has not left eval.json in both"}
    if one["data"] != two["data"]:
        return {**found, "score": None, "reason": "eval.json are of other data"}
    scores = [score_of(one), score_of(two)]
    if scores[0] is None or scores[1] is None:
        return {**found, "score": None, "reason": "without labels there is no score"}
    return {**found, "score": {"name": scores[0][0], "float": scores[0][1], "spiking": [scores[0][2], scores[1][2]]}}


def _evaluated(folder: Path) -> dict[str, Any] | None:
    """Return eval.json, None where there is none that can be read."""
    try:
        found = program_files.read_json(folder / "eval.json")
        return found if isinstance(found, dict) and isinstance(found.get("data"), dict) else None
    except (OSError, ValueError):
        return None


def _energy(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    """Return the estimates in integers, pJ per sample."""
    one, two = (report["energy"]["totals"]["integer"] for report in (a, b))
    return {price: [one.get(price), two.get(price)] for price in PRICES}


def _problem(document: Mapping[str, Any]) -> Diagnostic:
    from ..report.headlines import of_difference

    return Diagnostic("SFN510", of_difference(document), document["b"])
