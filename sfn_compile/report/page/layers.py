"""The table of layers."""

from __future__ import annotations

from markupsafe import Markup

from . import charts
from .section import Known, Section, View


def _view(known: Known) -> View | None:
    bars = [Markup(charts.histogram(r["histogram"], r["lo"] or 0)) for r in known.report["layers"]]
    return {"report": known.report, "histograms": bars}


LAYERS = Section("layers", "Layers", _view)
