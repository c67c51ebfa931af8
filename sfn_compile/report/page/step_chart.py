"""The curve over the steps of a network over time, as SVG text."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 960, 240, 44, 26, 10


def over_steps(found: Mapping[str, Any] | None) -> str:
    """Return a chart of what ``eval.json`` says of every step: right answers or agreement, with one timestep beside."""
    if found is None:
        return ""
    kind = "top1" if "top1" in found else "agreement"
    shares, once, n = [100 * v for v in found[kind]], 100 * found["at_once"][kind], found["steps"]
    low = 10 * int(min(*shares, once) // 10)

    def x(step: float) -> float:
        return LEFT + (step - 0.5) * (WIDTH - LEFT) / n

    def y(share: float) -> float:
        return TOP + (100 - share) / max(100 - low, 10) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
             f'<text x="{LEFT - 6}" y="{y(t) + 4:.1f}" text-anchor="end">{t}</text>'
             for t in range(low, 101, 10)]  # fmt: skip
    parts += [f'<text x="{x(t):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{t}</text>'
              for t in range(1, n + 1, ceil(n / 30))]  # fmt: skip
    parts.append(f'<polyline class="all" points="{LEFT},{y(once):.1f} {WIDTH},{y(once):.1f}"/>')
    points = [(x(t), y(v), f"step {t}: {v:.2f} %") for t, v in enumerate(shares, start=1)]
    parts.append(f'<polyline class="here" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b, _ in points)}"/>')
    parts += [_dot(a, b, 3.5, "here", said) for a, b, said in points]
    if found["margin"] is not None:
        mean, early = found["mean_steps"], 100 * found[f"early_{kind}"]
        parts.append(_dot(x(mean), y(early), 6, "all", f"early answers: {mean:.2f} steps, {early:.2f} %"))
    name = "Right answers" if kind == "top1" else "Agreement with the float network"
    label = f"{name} in percent after each step; the straight line is the network at one timestep"
    drawn = "".join(parts)
    return (f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{drawn}</svg>'
            f'<p class="soft">{label}.</p>')  # fmt: skip


def _dot(x: float, y: float, r: float, kind: str, said: str) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{r}"><title>{said}</title></circle>'
