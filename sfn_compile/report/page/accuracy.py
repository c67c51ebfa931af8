"""Accuracy and agreement beside the float model, as ``sfnc eval`` left them."""

from __future__ import annotations

from markupsafe import Markup

from . import answer_charts
from .section import Known, Section, View


def _view(known: Known) -> View | None:
    found = known.of("eval")
    if found is None:
        return None
    examples = found.get("examples", {})
    task = found.get("classification", {})
    counts, names = task.get("snn_confusion"), task.get("names") or []
    return {
        "eval": found, "worst": examples.get("worst", []), "pictures": known.of("pictures") or {},
        "confusion": Markup(answer_charts.confusion(counts)) if counts else "",
        "confused": _confused(counts, names) if counts else [],
        "scatter": Markup(answer_charts.scatter(examples["points"])) if examples.get("points") else "",
    }  # fmt: skip


def _confused(counts: list[list[int]], names: list[str]) -> list[tuple[int, str, str]]:
    """Return the pairs that are mixed up most: (count, label, what the spiking network says)."""
    pairs = [(n, i, j) for i, row in enumerate(counts) for j, n in enumerate(row) if n and i != j]
    most = sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))[:8]
    known = dict(enumerate(names))
    return [(n, known.get(i, str(i)), known.get(j, str(j))) for n, i, j in most]


ACCURACY = Section("accuracy", "Accuracy", _view, ("eval", "pictures"))
