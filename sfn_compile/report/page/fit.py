"""Would it fit: the chip that ``sfnc fit`` was asked about, its cores, and what the answer rests on."""

from __future__ import annotations

from markupsafe import Markup

from .core_map import MOST_CORES, core_map
from .section import Known, Section, View


def _view(known: Known) -> View | None:
    found = known.of("fit")
    if found is None:
        return None
    cores, per_chip = found["core_map"], found["chip"]["cores"]
    longest = max((c["us"][1] for c in cores), default=0.0) or 1.0
    memory = core_map(cores, per_chip, [c["percent"] / 100 for c in cores], "share of its memory that is full")
    time = core_map(cores, per_chip, [c["us"][1] / longest for c in cores], "time, of the busiest core's")
    beyond = max(len(cores) - MOST_CORES, 0)
    return {"fit": found, "maps": [Markup(memory), Markup(time)] if cores else [], "beyond": beyond}


FIT = Section("fit", "Would it fit a chip?", _view, ("fit",))
