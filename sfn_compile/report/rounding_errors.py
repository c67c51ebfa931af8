"""Which values of a Program hold what the rounding of another left, themselves or moved: the float network has none."""

from __future__ import annotations

from ..program.network import Move, Normalization, Population, Program, Step
from ..program.relations import rounding_of


def rounding_errors(program: Program) -> set[str]:
    """Return the values that hold rounding errors of others, and what is moved or pooled of such values alone."""
    found: set[str] = set()
    for step in program.steps:
        moved = not isinstance(step, Population | Normalization) and found.issuperset(step.sources)
        if moved or fires_rounding_of(step):
            found.add(step.name)
    return found


def by_rounded_value(program: Program) -> dict[str, str]:
    """Return, by a value, the one that holds its rounding error; values that are moved alike belong together too."""
    found = {first: step.name for step in program.steps if (first := fires_rounding_of(step))}
    moves = [s for s in program.steps if isinstance(s, Move) and len(s.sources) == 1]
    for step in moves:
        error = found.get(step.sources[0])
        moved = next((other.name for other in moves if error is not None and other.sources == (error,)), None)
        found.update({} if moved is None else {step.name: moved})
    return found


def fires_rounding_of(step: Step) -> str:
    """Return the population whose rounding error a step fires, "" where it fires none."""
    return rounding_of(step.relation) if isinstance(step, Population) else ""
