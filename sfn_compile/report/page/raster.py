"""The spikes of one sample as SVG: a row per neuron, a column per step, layers below each other."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

WIDTH, LEFT, ROW, GAP, TOP = 960, 150, 3, 10, 18


def raster(found: Mapping[str, Any] | None) -> str:
    """Return the chart of ``report.json``'s ``time.raster``; spikes that take back are in the other colour."""
    if found is None:
        return ""
    width, y, parts = (WIDTH - LEFT) / found["steps"], float(TOP), []
    for layer in found["layers"]:
        parts.append(f'<text x="{LEFT - 8}" y="{y + 10:.0f}" text-anchor="end">{escape(layer["name"][-20:])}</text>')
        most = max((abs(k) for _, _, k in layer["units"]), default=1)
        for t, i, k in layer["units"]:
            parts.append(f'<rect class="{"unit" if k > 0 else "back"}" x="{LEFT + (t - 1) * width:.1f}" '
                         f'y="{y + i * ROW:.0f}" width="{max(width - 1, 1):.1f}" height="{ROW - 1}" '
                         f'fill-opacity="{0.3 + 0.7 * abs(k) / most:.2f}"/>')  # fmt: skip
        y += layer["neurons"] * ROW + GAP
    end = LEFT + found["window"] * width
    parts.append(f'<line class="grid" x1="{end:.1f}" x2="{end:.1f}" y1="0" y2="{y:.0f}"/>')
    parts.append(f'<text x="{end - 4:.1f}" y="12" text-anchor="end">input ends</text>')
    label = "spikes of one sample: neurons of every layer over the steps"
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {y:.0f}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
