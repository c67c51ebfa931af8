"""The cores of a chip as SVG: a square a core, chip by chip, coloured by its load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

ACROSS = 16  # cores of a chip in a row
SIDE, GAP, HEAD, AROUND = 16, 2, 18, 14  # pixels
CHIPS_IN_A_ROW = 3
MOST_CORES = 4000  # of a page, which says how many there are
FAINTEST = 0.12  # opacity of a core without load


def core_map(cores: Sequence[Mapping[str, Any]], per_chip: int, loads: Sequence[float], what: str) -> str:
    """Return the map of ``cores``, rows of ``fit.json``; ``loads``: of each the share of a full one, 0 to 1.

    Cores that hold nothing are empty squares. ``what``: what the load is of, for the heading.
    """
    shown = list(zip(cores, loads, strict=True))[:MOST_CORES]
    n_chips = max((c["chip"] for c, _ in shown), default=0) + 1
    rows = -(-per_chip // ACROSS)
    wide, high = ACROSS * (SIDE + GAP) + AROUND, rows * (SIDE + GAP) + HEAD + AROUND

    def corner(core: int) -> tuple[int, int]:
        chip, at = divmod(core, per_chip)
        x, y = chip % CHIPS_IN_A_ROW * wide, chip // CHIPS_IN_A_ROW * high + HEAD
        return x + at % ACROSS * (SIDE + GAP), y + at // ACROSS * (SIDE + GAP)

    parts = [
        f'<text x="{chip % CHIPS_IN_A_ROW * wide}" y="{chip // CHIPS_IN_A_ROW * high + 12}">chip {chip}: {escape(what)}'
        "</text>"
        for chip in range(n_chips)
    ]
    held = {c["core"] for c, _ in shown}
    empty = [corner(core) for core in range(n_chips * per_chip) if core not in held]
    parts.append(f'<path class="empty" d="{"".join(f"M{x} {y}h{SIDE}v{SIDE}h-{SIDE}z" for x, y in empty)}"/>')
    parts += [_square(c, load, *corner(c["core"])) for c, load in shown]
    size = f"0 0 {min(n_chips, CHIPS_IN_A_ROW) * wide} {-(-n_chips // CHIPS_IN_A_ROW) * high}"
    return f'<svg class="cores" viewBox="{size}" role="img" aria-label="cores by {escape(what)}">{"".join(parts)}</svg>'


def _square(core: Mapping[str, Any], load: float, x: int, y: int) -> str:
    shade = FAINTEST + (1 - FAINTEST) * min(max(load, 0.0), 1.0)
    tile = " x ".join(str(n) for n in core["tile"])
    said = f"core {core['core']}: {core['layer']}, {tile}, {core['neurons']} neurons, {100 * load:.0f} %"
    return (
        f'<rect x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" rx="2" fill-opacity="{shade:.2f}">'
        f"<title>{escape(said)}</title></rect>"
    )
