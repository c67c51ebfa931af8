"""A chart as an SVG file of its own: the layer of a build, its errors, the rows of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from ...foundation.diagnostics import fail
from .charts import errors
from .distribution_charts import distribution
from .svg import circle, line, svg, text

SCALE = 1.6  # pixels of a file per unit of a chart
WIDTH, LEFT, TOP, HEIGHT, BELOW = 640, 60, 24, 300, 60


def standalone(chart: str) -> str:
    """Return a chart of the page as a file that needs no page."""
    size = chart.partition('viewBox="0 0 ')[2].partition('"')[0].split()
    wide, high = (round(SCALE * float(n)) for n in size)
    opened = f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" '
    head, _, rest = chart.partition(">")
    return f"{head.replace('<svg ', opened, 1)}><style>{_css()}</style>{rest}\n"


@cache
def _css() -> str:
    place = files("sfn_compile") / "report" / "page" / "templates" / "charts.css"
    return place.read_text(encoding="utf-8")


def layer_picture(report: Mapping[str, Any], layer: str | None) -> str:
    """Return the picture of a layer, or without one of the errors of all. Raises SFN605 for a name that has none."""
    if layer is None:
        return standalone(errors(report["layers"]))
    row = next((r for r in report["layers"] if r["name"] == layer), None)
    chart = "" if row is None else distribution(row)
    if not chart:
        drawn = ", ".join(r["name"] for r in report["layers"] if r.get("values"))
        what = f"no layer {layer!r}" if row is None else f"layer {layer!r} has no codes"
        raise fail("SFN605", what, fix=f"one of {drawn}")
    return standalone(chart)


def sweep_picture(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return score, or signal to noise where there is none, over the levels: a line per method and bits of weights."""
    key = "spiking" if any(r.get("spiking") is not None for r in rows) else "sqnr_db"
    known = [r for r in rows if r.get(key) is not None]
    factor = 100 if key == "spiking" else 1
    values = [factor * r[key] for r in known] + [100 * r["float"] for r in known if r.get("float") is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    low, high = low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1)
    levels = sorted({r["levels"] for r in rows})

    def x(n: int) -> float:
        return LEFT + (levels.index(n) + 0.5) * (WIDTH - LEFT - 120) / len(levels)

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * HEIGHT

    ticks = [low + (high - low) * i / 5 for i in range(6)]
    parts = [line("grid", LEFT, y(t), WIDTH - 120, y(t)) + text(LEFT - 6, y(t) + 4, f"{t:.1f}", "end") for t in ticks]
    parts += [text(x(n), TOP + HEIGHT + 18, n, "middle") for n in levels]
    unit = f"{known[0]['score']}, %" if known and factor == 100 else "signal to noise, dB"
    parts += [text(x(levels[0]), TOP + HEIGHT + 40, "levels"), text(LEFT, 14, unit)]
    if known and known[0].get("float") is not None:
        level = y(100 * known[0]["float"])
        parts += [line("same", LEFT, level, WIDTH - 120, level), text(WIDTH - 116, level + 4, "float network")]
    kinds = list(dict.fromkeys((r["method"], r["weight_bits"]) for r in rows))
    for i, (method, bits) in enumerate(kinds):
        run = sorted((r["levels"], factor * r[key]) for r in known if (r["method"], r["weight_bits"]) == (method, bits))
        points = " ".join(f"{x(n):.1f},{y(v):.1f}" for n, v in run)
        parts.append(f'<polyline class="c{i % 4}" points="{points}"/>')
        parts += [circle(f"c{i % 4}", x(n), y(v), 3.5, f"{method}, {bits} bits, {n} levels: {v:.2f}") for n, v in run]
        parts.append(text(WIDTH - 116, TOP + 40 + 18 * i, f"{method}, {bits} bits", kind=f"c{i % 4}"))
    return standalone(svg("sweep", WIDTH, TOP + HEIGHT + BELOW, "score over levels", parts))
