"""Small charts as SVG text: they stand in the page itself, and the same numbers make the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, sqrt
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 960, 240, 44, 26, 10
MOST_BARS = 64  # of a histogram; more codes share bars


def errors(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a chart of signal to noise over the layers: of each alone, and with all errors before it."""
    shown = [r for r in rows if r["sqnr_db"] is not None or r["sqnr_accumulated_db"] is not None]
    values = [v for r in shown for v in (r["sqnr_db"], r["sqnr_accumulated_db"]) if v is not None]
    if not values:
        return ""
    low, high = min(0.0, *values), 10 * ceil(max(*values, 10.0) / 10)
    low = 10 * (low // 10)

    def x(i: int) -> float:
        return LEFT + (i + 0.5) * (WIDTH - LEFT) / len(shown)

    def y(db: float) -> float:
        return TOP + (high - db) / (high - low) * (HEIGHT - TOP - BOTTOM)

    ticks = [low + i * 10 for i in range(round((high - low) / 10) + 1)]
    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y(t) + 4:.1f}" text-anchor="end">{t:g}</text>'
        for t in ticks
    ]
    every = ceil(len(shown) / 30)
    parts += [
        f'<text x="{x(i):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{rows.index(r)}</text>'
        for i, r in enumerate(shown)
        if i % every == 0
    ]
    for field, name in (("sqnr_db", "here"), ("sqnr_accumulated_db", "all")):
        points = [(x(i), y(r[field]), r) for i, r in enumerate(shown) if r[field] is not None]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b, _ in points)
        parts.append(f'<polyline class="{name}" points="{line}"/>')
        parts += [
            f'<circle class="{name}" cx="{a:.1f}" cy="{b:.1f}" r="3.5"><title>{rows.index(r)} {escape(r["name"])}: '
            f"{r[field]:.1f} dB</title></circle>"
            for a, b, r in points
        ]
    label = "signal to noise of every layer in decibels"
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


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
