"""The result of a command in one line: the first that the terminal prints, and the title of a job's summary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..foundation.reasons import NO_ERROR
from .scores import score_of
from .units import decibel, gained, percent

Found = Mapping[str, Any]


def of_build(report: Found, folder: Path | str) -> str:
    """Return what became of a compilation, by ``report.json``."""
    coverage, targets = report["coverage"], report["targets"]
    refused = [name for name, row in targets.items() if "refused" in row]
    made = [name for name in targets if name not in refused]
    but = f", but {', '.join(refused)} refused" if refused else ""
    host = f", {coverage['host']} on the host" if coverage.get("host") else ""
    done = "unchanged in" if report.get("unchanged") else "compiled to"
    return (
        f"{done} {folder}: {coverage['mapped']} of {coverage['nodes']} nodes mapped{host}; "
        f"targets {', '.join(made)}{but}"
    )


def of_proof(proof: Found) -> str:
    """Return what was proved, by ``proof.json``."""
    targets = proof["targets"]
    good = [name for name, row in targets.items() if row["proved"]]
    compared, different = (sum(row[key] for row in targets.values()) for key in ("compared", "different"))
    counts = f"{compared:,} integers compared, {different:,} different"
    if proof["proved"]:
        return f"proved: {len(good)} of {len(targets)} targets compute the simulator's integers ({counts})"
    why = f"; not as compile wrote it: {', '.join(proof['files_changed'][:3])}" if proof["files_changed"] else ""
    return f"NOT proved: {len(good)} of {len(targets)} targets ({counts}){why}"


def of_evaluation(found: Found) -> str:
    """Return how good the spiking network is beside the float one, by ``eval.json``, and how many gates passed."""
    gates = found.get("gates", ())
    passed = sum(row["passed"] for row in gates)
    verdict = (
        "" if not gates else f"{'' if passed == len(gates) else 'FAILED: '}{passed} of {len(gates)} gates passed; "
    )
    samples = found.get("data", {}).get("samples")
    return f"{verdict}{quality_of(found)}" + (f" on {samples:,} samples" if samples else "")


def quality_of(found: Found) -> str:
    """Return the score of a task; without labels how the outputs agree."""
    score = score_of(found)
    if score is not None:
        what, before, after = score
        return f"{what} {percent(after, 2)}, float {percent(before, 2)} ({gained(before, after)})"
    r = found.get("regression", {})
    if r.get("snn_rmse") is not None:
        return f"rmse {r['snn_rmse']:.5g}, float {r['float_rmse']:.5g}"
    said = []
    for name, row in found["outputs"].items():
        one = [] if row["agreement"] is None else [f"agrees in {percent(row['agreement'], 2)}"]
        why = row.get("reasons", {}).get("sqnr_db", "")
        if row.get("sqnr_db") is not None or why.startswith(NO_ERROR):
            one.append(decibel(row.get("sqnr_db"), why, " dB"))
        said.append(f"{name} {' at '.join(one) or 'compared'}")
    return "; ".join(said[:3]) + (f" and {len(said) - 3} outputs more" if len(said) > 3 else "")


def of_bisection(found: Found) -> str:
    """Return where the network leaves the float model, by ``bisect.json``."""
    at = decibel(found["output_db"], NO_ERROR, " dB")
    if found["within"]:
        return f"within the limit: the outputs are at {at}, {found['limit_db']:g} dB are asked for"
    return (
        f"leaves the float model at layer {found['layer']} (cause: {found['cause']}): the outputs are at {at}, "
        f"{found['limit_db']:g} dB are asked for"
    )


def of_difference(found: Found) -> str:
    """Return whether two builds are the same network, by the document of ``sfnc diff``."""
    if found["same"]:
        return f"the same network: every integer of {found['of_layers']} layers, every file of the targets"
    if len(found["model"]) > 1 and not found["layers"]:
        return "another model file, and the same integers in every layer"
    changed = [row["name"] for row in found["layers"] if row["changed"] or row["in"] == "a"]
    other = [row["name"] for row in found["layers"] if row["different"]]
    if not found["layers"]:
        files = list(found["files"]["network"])
        return f"the same integers in every layer, but {len(files)} files differ: {', '.join(files[:3])}"
    said = f"{len(changed)} of {found['of_layers']} layers were changed"
    first = (changed or other or [found["layers"][0]["name"]])[0]
    return f"different: {said}, {len(other)} compute other integers; the first is {first}"


HEADLINES: dict[str, Callable[[Found], str]] = {
    "compile": lambda document: of_build(document, document["output"]),
    "verify": of_proof,
    "eval": of_evaluation,
    "bisect": of_bisection,
    "diff": of_difference,
}
