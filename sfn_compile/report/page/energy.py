"""What a sample costs: an estimate."""

from __future__ import annotations

from .section import Known, Section, View


def _view(known: Known) -> View | None:
    return {"report": known.report, "e": known.report["energy"]["totals"]}


ENERGY = Section("energy", "Energy", _view)
