"""One file per output: which steps of a Program each of them needs.

Readers built on nirtorch hang on a graph with two Output nodes, and one tensor that holds several results would have to
carry each of them to the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from sfn_compile.program.network import Program, Readout


@dataclass(frozen=True)
class Part:
    """What one file holds: the values that it ends in, and the names of the steps that lead there."""

    results: tuple[str, ...]
    steps: frozenset[str]


def parts_of(program: Program) -> list[Part]:
    """Return one part per decoded value; what leads to none of them is in the first."""
    sources = {step.name: step.sources for step in program.steps}
    cones = {value: _cone(sources, value) for value in program.decoded()}
    first, *others = [Part((value,), cone) for value, cone in cones.items()]
    lost = frozenset(sources) - frozenset().union(*cones.values())
    readouts = tuple(p.name for p in program.populations() if p.name in lost and isinstance(p.ladder, Readout))
    return [Part((*first.results, *readouts), first.steps | lost), *others]


def _cone(sources: dict[str, tuple[str, ...]], value: str) -> frozenset[str]:
    found, waiting = set(), [value]
    while waiting:
        name = waiting.pop()
        if name in sources and name not in found:
            found.add(name)
            waiting += sources[name]
    return frozenset(found)
