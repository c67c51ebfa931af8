"""How the build was made: corrections, attention, model, data, options and versions."""

from __future__ import annotations

from .section import Known, Section, View


def _corrections(known: Known) -> View | None:
    return {"rows": known.report["corrections"]} if known.report.get("corrections") else None


def _attention(known: Known) -> View | None:
    return {"rows": known.report["attention"]} if known.report["attention"] else None


def _made(known: Known) -> View | None:
    facts = known.facts
    return {"model": facts["model"], "versions": facts["versions"], "options": facts["options"],
            "data": facts["calibration"], "report": known.report}  # fmt: skip


CORRECTIONS = Section("corrections", "Corrections", _corrections)
ATTENTION = Section("attention", "Attention", _attention)
MADE = Section("made", "How it was made", _made)
