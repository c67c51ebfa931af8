"""Signal to noise of every layer, as a chart."""

from __future__ import annotations

from markupsafe import Markup

from . import charts
from .section import Known, Section, View


def _view(known: Known) -> View | None:
    return {"chart": Markup(charts.errors(known.report["layers"]))}


ERRORS = Section("errors", "Errors", _view)
