"""What ``sfnc verify`` proved, target by target."""

from __future__ import annotations

from .section import Known, Section, View


def _view(known: Known) -> View | None:
    found = known.of("proof")
    return None if found is None else {"proof": found}


PROOF = Section("proof", "Proof", _view, ("proof",))
