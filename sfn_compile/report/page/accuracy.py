"""Accuracy and agreement beside the float model, as ``sfnc eval`` left them."""

from __future__ import annotations

from .section import Known, Section, View


def _view(known: Known) -> View | None:
    found = known.of("eval")
    return None if found is None else {"eval": found}


ACCURACY = Section("accuracy", "Accuracy", _view, ("eval",))
