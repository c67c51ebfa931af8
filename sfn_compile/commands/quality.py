"""How good a build is, measured at its end on samples that were kept aside: neither calibrated on nor learnt from.

A tenth of the samples is kept aside, at most 256, from 128 samples on (:func:`~.sample_files.kept_aside`). With fewer,
outputs are measured on the samples that calibrated them, which says less, and nothing is called bad.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..compiler.compilation import Compilation
from ..evaluation.side_by_side import Progress, reference_of
from ..evaluation.summary import least_of_outputs
from ..files.sample_files import ENOUGH_TO_SPARE, GENERATED
from ..foundation.decibel import EXACT_DB
from ..foundation.diagnostics import Diagnostic
from ..foundation.options import BISECT_LIMIT
from ..foundation.samples import n_samples, part
from ..host import model_outputs
from .evaluate import compare

MOST = 64  # of the calibration samples, where none was kept aside
# What is bad. Scores need their order only: one answer in twenty that differs, but for a few samples of chance; of
# errors as large as half the signal no order is safe. Numbers need their value: bisect's own limit, so that the next
# step names a layer.
LEAST_AGREEMENT, CHANCE = 0.95, 3
LEAST_OF_SCORES, LEAST_OF_NUMBERS = 6.0, BISECT_LIMIT
MOST_LEVELS = 255


def quality_of(done: Compilation, progress: Progress) -> dict[str, Any]:
    """Return ``report.json``'s ``outputs``, ``kept_aside`` and ``warnings``, those of the compilation first."""
    found = outputs_of(done, progress)
    bad = quality_warnings({**found, "options": {"levels": done.options.levels}})
    return {**found, "warnings": [w.as_dict() for w in (*done.warnings, *bad)]}


def outputs_of(done: Compilation, progress: Progress) -> dict[str, Any]:
    """Return ``report.json``'s ``outputs`` and ``kept_aside``."""
    x = part(done.calibration.shown, slice(MOST)) if done.aside is None else done.aside.shown
    loaded = done.loaded
    end = model_outputs.ending_of(loaded.output_names, loaded.tail)
    names = [d.name for d in done.program.outputs]
    reference = reference_of(loaded.path, loaded.input_names, loaded.batch, names, end)
    found = compare(done.program, reference, x, None, progress, end)
    rows = {"outputs": found["outputs"], **({"cut": found["cut"]} if "cut" in found else {})}
    if done.aside is not None:
        return {**rows, "kept_aside": {"samples": n_samples(x), **least_of_outputs(rows)}}
    return {**rows, "kept_aside": {"samples": 0, "reason": _why_none(done)}}


def _why_none(done: Compilation) -> str:
    if done.calibration.source == GENERATED:
        return "no real samples were given (--calib)"
    return f"all {len(done.calibration)} samples calibrate; from {ENOUGH_TO_SPARE} on a tenth is kept aside"


def quality_warnings(report: Mapping[str, Any]) -> list[Diagnostic]:
    """Return SFN407 for the outputs that are bad on the samples kept aside, with the next step."""
    n = report["kept_aside"]["samples"]
    if not n:
        return []
    bad = [(name, why) for name, row in report["outputs"].items() if (why := _why_bad(row, n))]
    bad += [(name, why) for name, row in report.get("cut", {}).items() if (why := _why_bad(row, n, False))]
    return [Diagnostic("SFN407", why, f"output {name!r}", _next_step(report)) for name, why in bad[:1]] + [
        Diagnostic("SFN407", why, f"output {name!r}") for name, why in bad[1:]
    ]


def _why_bad(row: Mapping[str, Any], n: int, scores: bool = True) -> str:
    """Return what is bad of an output, empty where nothing is."""
    agreement, db = row["agreement"] if scores else None, row.get("sqnr_db")
    if agreement is not None:
        lost = round((1 - agreement) * n)
        if agreement < LEAST_AGREEMENT and lost >= CHANCE:
            return f"{lost} of {n} samples kept aside are answered otherwise than by the float network"
    least = LEAST_OF_NUMBERS if agreement is None else LEAST_OF_SCORES
    if db is not None and db < least:
        return f"its signal to noise on {n} samples kept aside is {db:.1f} dB"
    return ""


def _next_step(report: Mapping[str, Any]) -> str:
    """Return what to do: bisect where it would name a layer, else more levels where there are more."""
    db, levels = report["kept_aside"]["sqnr_db"], report["options"]["levels"]
    if db is not None and db < EXACT_DB and db < BISECT_LIMIT:
        return "`sfnc bisect OUT --data FILE` names the layer and the option to change"
    more = [f"--levels {min(MOST_LEVELS, 2 * levels + 1)} (it is {levels})"] if levels < MOST_LEVELS else []
    return ", or ".join([*more, f"`sfnc bisect OUT --data FILE --limit {round(db) + 5 if db else 40}` names a layer"])
