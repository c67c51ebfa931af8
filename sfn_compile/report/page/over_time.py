"""A network over time: how right it is after each step, what is proved of its counts."""

from __future__ import annotations

from markupsafe import Markup

from ..time_words import step_lines, time_lines
from . import step_chart
from .section import Known, Section, View


def _view(known: Known) -> View | None:
    found, proof = known.of("eval") or {}, known.of("proof")
    lines = step_lines(found) + (time_lines(proof) if proof is not None else [])
    return {"lines": lines, "curve": Markup(step_chart.over_steps(found.get("time")))} if lines else None


OVER_TIME = Section("time", "Over time", _view, ("eval", "proof"))
