"""The layer where the network leaves the float model, as ``sfnc bisect`` left it."""

from __future__ import annotations

from .section import Known, Section, View


def _view(known: Known) -> View | None:
    found = known.of("bisect")
    return None if found is None else {"bisect": found}


BISECTION = Section("bisection", "Bisection", _view, ("bisect",))
