"""The network as a picture: a box per layer, a line for who reads whom, the worst boxes in the strongest colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .charts import is_exact
from .svg import rect, shortened, svg, text

BOX, HIGH, BETWEEN, ROW = 168, 36, 22, 62  # pixels
MOST = 600  # boxes; more are no picture any more
GOOD_DB, BAD_DB = 40.0, 10.0  # between which a box takes on colour
LONGEST = 23


def graph(structure: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the picture of ``report.json``'s ``graph``, coloured by the ``layers``; "" where it is too large."""
    nodes = [*structure["nodes"], *({"name": f"output {name}", "kind": "output", "sources": sources}
                                    for name, sources in structure["outputs"].items())]  # fmt: skip
    if not nodes or len(nodes) > MOST:
        return ""
    places = _places(nodes)
    known = {row["name"]: row for row in rows}
    width = max(x for x, _ in places.values()) + BOX + 8
    height = max(y for _, y in places.values()) + HIGH + 8
    lines = [_line(places[s], places[n["name"]]) for n in nodes for s in n["sources"] if s in places]
    boxes = [_box(n, known.get(n["name"]), *places[n["name"]]) for n in nodes]
    drawn = svg("graph", width, height, "who reads whom", [*lines, *boxes])
    return drawn.replace("<svg ", f'<svg width="{width:g}" height="{height:g}" ', 1)


def _places(nodes: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Return the corner of every box: rows by the longest way from an input, in a row by where its sources stand."""
    depth: dict[str, int] = {}
    for node in nodes:
        depth[node["name"]] = 1 + max((depth[s] for s in node["sources"] if s in depth), default=-1)
    levels: dict[int, list[Mapping[str, Any]]] = {}
    for node in nodes:
        levels.setdefault(depth[node["name"]], []).append(node)
    widest = max(map(len, levels.values()))
    found: dict[str, tuple[float, float]] = {}
    for level in sorted(levels):
        row = sorted(levels[level], key=lambda n: _middle(n, found))
        start = (widest - len(row)) * (BOX + BETWEEN) / 2 + 4
        for i, node in enumerate(row):
            found[node["name"]] = (start + i * (BOX + BETWEEN), 4.0 + level * ROW)
    return found


def _middle(node: Mapping[str, Any], found: Mapping[str, tuple[float, float]]) -> float:
    places = [found[s][0] for s in node["sources"] if s in found]
    return sum(places) / len(places) if places else 0.0


def _line(a: tuple[float, float], b: tuple[float, float]) -> str:
    """Return the line from the bottom of one box to the top of another; one that skips rows bows to the side."""
    (x1, y1), (x2, y2) = (a[0] + BOX / 2, a[1] + HIGH), (b[0] + BOX / 2, b[1])
    bow = BOX / 2 + 14 if y2 - y1 > ROW and abs(x1 - x2) < 1 else 0
    ends = f"{x1 + bow:.1f} {y1 + 24:.1f} {x2 + bow:.1f} {y2 - 24:.1f} {x2:.1f} {y2:.1f}"
    return f'<path class="edge" d="M{x1:.1f} {y1:.1f}C{ends}"/>'


def _box(node: Mapping[str, Any], row: Mapping[str, Any] | None, x: float, y: float) -> str:
    name, field = node["name"], "sqnr_accumulated_db"
    said, under, shade = name, node["kind"], 0.0
    if row is not None:
        db = "exact" if is_exact(row, field) else "-" if row[field] is None else f"{row[field]:.1f} dB"
        under = f"{'×'.join(map(str, row['shape']))} · {db}"
        said = f"{name}: {', '.join(row['origin'][:3])}; signal to noise with all before {db}"
        shade = 0.0 if is_exact(row, field) or row[field] is None else _shade(row[field])
    words = text(x + 9, y + 15, shortened(name, LONGEST), kind="name") + text(x + 9, y + 29, under)
    boxes = rect("box", x, y, BOX, HIGH) + rect("heat", x, y, BOX, HIGH, shade=shade)
    return f'<g class="node {node["kind"]}"><title>{escape(said)}</title>{boxes}{words}</g>'


def _shade(db: float) -> float:
    return 0.75 * min(max((GOOD_DB - db) / (GOOD_DB - BAD_DB), 0.0), 1.0)
