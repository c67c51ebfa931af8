"""Spikes of every layer: how many of its codes are not 0, how many unary spikes and set bits they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from .svg import rect, shortened, svg, text

WIDTH, LEFT, RIGHT, EACH, TOP = 1120, 190, 980, 34, 6
SHOWN = (("events", "events"), ("set_bits", "set bits"), ("spikes", "unary spikes"))


def spikes(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return bars per layer, of one sample; the scale is that of the largest. "" where no layer fires."""
    fired = [r for r in rows if r["lo"] is not None]
    most = max((r[key] for r in fired for key, _ in SHOWN), default=0)
    if not most:
        return ""
    parts = []
    for i, row in enumerate(fired):
        y = TOP + i * EACH
        parts.append(text(LEFT - 8, y + 17, shortened(row["name"], 26), "end", tip=row["name"]))
        parts += [_bar(row, key, what, k, y, most) for k, (key, what) in enumerate(SHOWN)]
        per = row["spikes"] / max(prod(row["shape"]), 1)
        parts.append(text(RIGHT + 10, y + 17, f"{per:.2f} spikes a neuron"))
    return svg("spikes", WIDTH, TOP + len(fired) * EACH, "spikes of every layer per sample", parts)


def _bar(row: Mapping[str, Any], key: str, what: str, place: int, y: float, most: float) -> str:
    wide = row[key] / most * (RIGHT - LEFT)
    said = f"{row['name']}: {row[key]:,.0f} {what} per sample"
    return rect(key, LEFT, y + 1 + 9 * place, max(wide, 0.5), 8, said)
