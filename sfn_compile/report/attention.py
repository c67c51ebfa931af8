"""What attention looks like: the codes of each softmax, how many places a row attends to, what was cut around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..program.network import Exponentials, Matmul, Population, Program, RowTable

Array = NDArray[Any]


class Softmax:
    """Counts the exponentials of one softmax, codes 0..hi of which the largest of every row is hi."""

    def __init__(self, population: Population):
        assert isinstance(population.ladder, RowTable)
        self.axis, self.hi = population.ladder.axis, population.ladder.hi
        self.counts = np.zeros(self.hi + 1, np.int64)
        self.cap = self.places = 0.0
        self.rows = 0

    def add(self, codes: Array) -> None:
        """Count the codes ``(n, *shape)`` of some samples."""
        self.counts += np.bincount(codes.reshape(-1), minlength=self.hi + 1)
        sums = codes.sum(axis=self.axis + 1, dtype=np.int64)
        self.cap = max(self.cap, float((self.hi / sums).max()))
        self.places += float((sums / self.hi).sum())
        self.rows += sums.size

    def row(self) -> dict[str, Any]:
        """Return shares of codes (0, then quarters of the range), the largest weight seen, and places per row.

        ``places``: the sum of a row over its largest exponential, 1 where it attends to one place alone.
        """
        edges = np.ceil(np.arange(5) / 4 * self.hi).astype(int) + 1
        shares = [self.counts[0], *(self.counts[a:b].sum() for a, b in pairwise(edges))]
        return {
            "distribution": [round(float(s) / max(int(self.counts.sum()), 1), 4) for s in shares],
            "cap": round(self.cap, 4), "places": round(self.places / max(self.rows, 1), 3),
        }  # fmt: skip


def softmaxes(program: Program) -> dict[str, Softmax]:
    """Return a counter for every softmax by the name of its exponentials."""
    return {p.name: Softmax(p) for p in program.populations() if isinstance(p.ladder, RowTable)}


def rows(program: Program, counted: Mapping[str, Softmax], layers: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per softmax: its codes, what its scores are the product of, and who divides by its sum."""
    saturation = {row["name"]: row["saturation"] for row in layers}
    sources = {s.name: s.sources for s in program.steps}
    found = []
    for p in (p for p in program.populations() if p.name in counted):
        factors = [
            _site(s, saturation, sources) for q in p.products if isinstance(q.form, Matmul) for s in (q.left, q.right)
        ]
        divided = [q for q in program.populations() if q.norm is not None and q.norm.source == p.name]
        values = [_site(m.right, saturation, sources) for q in divided for m in q.products]
        around = dict.fromkeys([*factors, *values, *(q.name for q in divided)])
        found.append({
            "name": p.name, "softmax": p.relation.of if isinstance(p.relation, Exponentials) else p.name,
            "origin": list(p.origin.nodes), "shape": list(p.shape), "levels": counted[p.name].hi,
            **counted[p.name].row(), "saturation": {s: saturation[s] for s in around if s in saturation},
        })  # fmt: skip
    return found


def _site(value: str, fired: Mapping[str, Any], sources: Mapping[str, tuple[str, ...]]) -> str:
    """Return the population behind moves that fired a value."""
    while value not in fired and value in sources:
        value = sources[value][0]
    return value
