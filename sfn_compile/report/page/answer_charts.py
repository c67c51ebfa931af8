"""How the answers of both networks compare: the confusion matrix, float against spiking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, log10, sqrt

from .svg import circle, line, rect, svg, text

CELL, SIDE, AROUND = 26, 400, 46
MOST_NUMBERED = 20  # classes whose counts are written into the cells


def confusion(counts: Sequence[Sequence[int]]) -> str:
    """Return the matrix: a row per true class, a column per class that the spiking network names."""
    n = len(counts)
    cell = max(3.0, min(CELL, SIDE * 1.3 / n))
    parts = []
    every = max(1, -(-n // MOST_NUMBERED))
    for i, row in enumerate(counts):
        whole = max(sum(row), 1)
        if i % every == 0:
            at = AROUND + (i + 0.5) * cell + 4
            parts += [text(AROUND - 6, at, i, "end"), text(at - 4, AROUND - 8, i, "middle")]
        parts += [_cell(i, j, count, count / whole, cell, n) for j, count in enumerate(row) if count or n <= CELL]
    size = AROUND + n * cell + 4
    parts += [text(size / 2, 14, "spiking network", "middle"), text(12, size / 2, "label", "middle", turn=-90)]
    return svg("confusion", size, size, "confusion matrix", parts)


def _cell(i: int, j: int, count: int, share: float, cell: float, n: int) -> str:
    kind = "right" if i == j else "wrong"
    shade = sqrt(share) if i == j else min(1.0, sqrt(4 * share))
    x, y = AROUND + j * cell, AROUND + i * cell
    drawn = rect(kind, x, y, cell - 1, cell - 1, f"label {i}, spiking {j}: {count}", max(shade, 0.04))
    if not count or n > MOST_NUMBERED:
        return drawn
    strong = "count strong" if shade > 0.6 else "count"
    return drawn + text(x + cell / 2, y + cell / 2 + 4, count, "middle", strong)


def scatter(points: Mapping[str, Sequence[float]]) -> str:
    """Return float against spiking, a dot per number of an answer; on the diagonal both are the same."""
    a, b = points["float"], points["spiking"]
    if not a:
        return ""
    low, high = min(*a, *b, a[0]), max(*a, *b, a[0])
    if low == high:
        low, high = low - 1, high + 1
    low, high = low - 0.03 * (high - low), high + 0.03 * (high - low)

    def at(value: float) -> float:
        return (value - low) / (high - low) * SIDE

    ticks = [t for t in _ticks(low, high) if low <= t <= high]
    parts = []
    for t in ticks:
        y = SIDE - at(t) + 8
        parts += [line("grid", AROUND, y, AROUND + SIDE, y), text(AROUND - 6, y + 4, f"{t:g}", "end"),
                  text(AROUND + at(t), SIDE + 24, f"{t:g}", "middle")]  # fmt: skip
    parts.append(line("same", AROUND, SIDE + 8, AROUND + SIDE, 8))
    parts += [circle("dot", AROUND + at(x), SIDE - at(y) + 8, 2.4) for x, y in zip(a, b, strict=True)]
    parts += [text(AROUND + SIDE / 2, SIDE + 40, "float network", "middle"),
              text(12, SIDE / 2, "spiking network", "middle", turn=-90)]  # fmt: skip
    return svg("scatter", AROUND + SIDE + 8, SIDE + 46, "float against spiking", parts)


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers in a range, four to ten of them."""
    step = 10.0 ** floor(log10((high - low) / 4))
    step *= next((m for m in (1, 2, 5) if (high - low) / (step * m) <= 8), 10)
    first = int(low // step)
    return [round((first + i) * step, 10) for i in range(12)]
