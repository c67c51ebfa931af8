"""What a reader wants to know first."""

from __future__ import annotations

from .section import Known, Section, View


def _view(known: Known) -> View | None:
    return {"report": known.report, "versions": known.facts["versions"], "eval": known.of("eval"),
            "proof": known.of("proof"), "e": known.report["energy"]["totals"], "t": known.report["totals"]}  # fmt: skip


VERDICT = Section("verdict", "", _view, ("eval", "proof"))
