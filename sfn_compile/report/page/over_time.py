"""A network over time: how right it is after each step, its spikes, its counts beside the codes of one timestep."""

from __future__ import annotations

from markupsafe import Markup

from ..time_words import step_lines, time_lines
from . import raster, step_chart
from .section import Known, Section, View


def _view(known: Known) -> View | None:
    found, proof, built = known.of("eval") or {}, known.of("proof"), known.report.get("time")
    lines = step_lines(found) + (time_lines(proof) if proof is not None else [])
    if built is None and not lines:
        return None
    return {
        "lines": lines, "curve": Markup(step_chart.over_steps(found.get("time"))), "built": built,
        "raster": Markup(raster.raster(None if built is None else built["raster"])),
    }  # fmt: skip


OVER_TIME = Section("time", "Over time", _view, ("eval", "proof"))
