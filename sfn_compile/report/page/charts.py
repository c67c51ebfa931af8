"""Charts as SVG text: they stand in the page itself, and the same numbers make the same bytes.

Colours come from the classes of ``templates/charts.css``, which the page and a chart that stands alone share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from math import ceil, sqrt
from typing import Any

from ...foundation.reasons import EXACT_DB, NO_ERROR
from .svg import circle, line, shortened, svg, text

Row = Mapping[str, Any]
WIDTH, LEFT, TOP, PLOT = 1120, 44, 30, 230
BAND = 14  # of a chart of errors: where exact layers stand, above the scale
MOST_BARS = 64  # of a histogram; more codes share bars
MOST_NAMES = 64  # along an axis; of more layers every second, third, ... is named
LONGEST = 22  # characters of a name along an axis
FIELDS = (("sqnr_db", "here"), ("sqnr_accumulated_db", "all"))


def is_exact(row: Row, field: str) -> bool:
    """Return whether a layer has no error, beyond the rounding of float32."""
    value = row[field]
    return row.get("reasons", {}).get(field, "").startswith(NO_ERROR) if value is None else value >= EXACT_DB


def sort_key(row: Row, field: str) -> float:
    """Return by what a table sorts a layer: exact ones last, those without a number first."""
    return 999.0 if is_exact(row, field) else -999.0 if row[field] is None else float(row[field])


def errors(rows: Sequence[Row]) -> str:
    """Return a chart of signal to noise over the layers: of each alone, and with all errors before it.

    The scale is that of the layers with an error; those that are exact stand in a band above it.
    """
    shown = [r for r in rows if any(r[f] is not None or is_exact(r, f) for f, _ in FIELDS)]
    if not shown:
        return ""
    values = [r[f] for r in shown for f, _ in FIELDS if r[f] is not None and not is_exact(r, f)]
    low, high = 10 * (min(0.0, *values, 0.0) // 10), 10 * ceil(max(*values, 10.0, 10.0) / 10)
    each, high_px = (WIDTH - LEFT) / len(shown), PLOT - BAND

    def x(i: int) -> float:
        return LEFT + (i + 0.5) * each

    def y(row: Row, field: str) -> float:
        return TOP if is_exact(row, field) else TOP + BAND + (high - row[field]) / (high - low) * high_px

    ticks = [low + i * 10 for i in range(round((high - low) / 10) + 1)]
    parts = [_tick(TOP + BAND + (high - t) / (high - low) * high_px, f"{t:g}") for t in ticks]
    if any(is_exact(r, f) for r in shown for f, _ in FIELDS):
        parts.append(_tick(TOP, "exact", "grid band"))
    for field, name in FIELDS:
        points = [(i, x(i), y(r, field), r) for i, r in enumerate(shown) if r[field] is not None or is_exact(r, field)]
        parts += _lines(points, field, name)
        own = "own levels" if name == "here" else "with all before"
        parts += [circle(name, a, b, 3.5, f"{r['name']}, {own}: {_db(r, field)}") for _, a, b, r in points]
    names, room = names_below([r["name"] for r in shown], x, TOP + PLOT + 12)
    return svg("chart", WIDTH, TOP + PLOT + 16 + room, "signal to noise of every layer in decibels", [*parts, *names])


def _lines(points: Sequence[tuple[int, float, float, Row]], field: str, name: str) -> list[str]:
    """Return the lines between neighbours that have an error."""
    found = []
    for exact, run in groupby(points, key=lambda p: is_exact(p[3], field)):
        line = " ".join(f"{a:.1f},{b:.1f}" for _, a, b, _ in run)
        found += [] if exact else [f'<polyline class="{name}" points="{line}"/>']
    return found


def _db(row: Row, field: str) -> str:
    return "exact" if is_exact(row, field) else f"{row[field]:.1f} dB"


def _tick(y: float, said: str, kind: str = "grid") -> str:
    return line(kind, LEFT, y, WIDTH, y) + text(LEFT - 6, y + 4, said, "end")


def names_below(names: Sequence[str], x: Callable[[int], float], y: float) -> tuple[list[str], float]:
    """Return names under an axis, turned so that all can be read, and the height that they take."""
    every = ceil(len(names) / MOST_NAMES)
    parts = [text(x(i), y, shortened(names[i], LONGEST), "end", turn=-38, tip=names[i])
             for i in range(0, len(names), every)]  # fmt: skip
    return parts, 10 + 4.4 * min(LONGEST, max(map(len, names)))


def histogram(counts: Sequence[int], lo: int) -> str:
    """Return bars of the shares of codes, their heights as square roots so that rare codes can be seen."""
    if not counts:
        return ""
    size = ceil(len(counts) / MOST_BARS)
    bars = [sum(counts[i : i + size]) for i in range(0, len(counts), size)]
    top, total = max(*bars, 1), max(sum(counts), 1)
    wide = 120 / len(bars)
    drawn = "".join(
        f"M{i * wide:.1f} 24v{-22 * sqrt(b / top) - (b > 0):.1f}h{wide * 0.8:.1f}V24z" for i, b in enumerate(bars) if b
    )
    said = f"codes {lo}..{lo + len(counts) - 1}; {100 * counts[-1] / total:.2g} % at the last, "
    said += f"{sum(c == 0 for c in counts)} never used"
    return f'<svg class="bars" viewBox="0 0 120 25" role="img"><title>{said}</title><path d="{drawn}"/></svg>'


def bar(share: float | None) -> str:
    """Return a bar of a ratio against 1, which is marked; longer ones end with the frame."""
    if share is None:
        return ""
    full = 75.0
    wide = min(share * full, 150)
    return (
        f'<svg class="ratio" viewBox="0 0 150 12" role="img"><title>{share:.3g}</title>'
        f'<rect width="{wide:.1f}" y="2" height="8"/><line x1="{full}" x2="{full}" y1="0" y2="12"/></svg>'
    )
