"""All warnings of a build: of data, of layers, of the data that was evaluated."""

from __future__ import annotations

from ...foundation.codes import CODES
from ..units import percent
from .section import Known, Section, View


def _view(known: Known) -> View | None:
    said = [dict(w) for w in (*known.report["warnings"], *(known.of("eval") or {}).get("warnings", ()))]
    for row in known.report["layers"]:
        said += [
            {"code": w["code"], "where": f"layer {row['name']!r}",
             "what": f"{CODES[w['code']].title}: {percent(w['value'])}, more than {percent(w['limit'])}"}
            for w in row["warnings"]
        ]  # fmt: skip
    return {"warnings": said} if said else None


WARNINGS = Section("warnings", "Warnings", _view, ("eval",))
