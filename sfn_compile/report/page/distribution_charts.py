"""A layer as the SFN paper draws one: its activations with the thresholds between codes, and how often each occurs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import sqrt
from typing import Any

from ..units import percent
from .svg import line, rect, shortened, svg, text

Row = Mapping[str, Any]
Place = Callable[[float], float]
WIDTH, LEFT, RIGHT = 380, 12, 368
TITLE, AREA, GAP, BARS, AXIS = 34, 96, 10, 44, 30  # heights
MOST_THRESHOLDS = 64  # that are drawn; more would be a grey field


def distribution(row: Row) -> str:
    """Return the chart of a layer that has codes, "" for one without (a readout).

    Above: how its real values in the float network are spread, in steps, with the thresholds at which a code ends and
    the next begins; below, on the same axis: how often its integers are each code. Heights are square roots of shares.
    """
    values = row.get("values")
    if not values or row["lo"] is None:
        return ""
    low, high = values["low"], values["low"] + values["width"] * len(values["counts"])

    def x(at: float) -> float:
        return LEFT + (at - low) / (high - low) * (RIGHT - LEFT)

    base, floor = TITLE + AREA, TITLE + AREA + GAP + BARS
    parts = [*_title(row), *_beyond(row, x), _area(values, x, base), *_thresholds(row, x, base),
             _codes(row, x, floor), *_axis(row, x, floor)]  # fmt: skip
    return svg("spread", WIDTH, floor + AXIS, f"values and codes of layer {row['name']}", parts)


def _title(row: Row) -> list[str]:
    said = f"codes {row['lo']} to {row['hi']}, {percent(row['density'], 0)} not 0, {percent(row['beyond'])} beyond"
    name = text(LEFT, 13, shortened(row["name"], 40), kind="name", tip=row["name"])
    return [name, text(LEFT, 28, said)]


def _beyond(row: Row, x: Place) -> list[str]:
    """Return the fields past the first and the last code, where values are cut off."""
    ends = [(x(row["hi"] + 0.5), RIGHT)] + ([(LEFT, x(row["lo"] - 0.5))] if row["lo"] < 0 else [])
    return [rect("beyond", a, TITLE, b - a, AREA, "cut off") for a, b in ends]


def _area(values: Mapping[str, Any], x: Place, base: float) -> str:
    top = max(*values["counts"], 1)
    steps = []
    for i, count in enumerate(values["counts"]):
        height = base - AREA * sqrt(count / top) * 0.96
        at = values["low"] + i * values["width"]
        steps.append(f"L{x(at):.1f} {height:.1f}L{x(at + values['width']):.1f} {height:.1f}")
    return f'<path class="area" d="M{LEFT} {base}{"".join(steps)}L{RIGHT} {base}z"/>'


def _thresholds(row: Row, x: Place, base: float) -> list[str]:
    """Return the thresholds: code k begins where the value and the offset reach k steps; of a book, in the middle."""
    if row.get("codes"):
        book = row["codes"]
        at = [(a + b) / 2 for a, b in pairwise(book)]
    else:
        offset = row["offset"] if row.get("offset") is not None else 0.5
        at = [k - offset for k in range(row["lo"] + 1, row["hi"] + 1)]
    if len(at) > MOST_THRESHOLDS:
        return []
    line = "".join(f"M{x(t):.1f} {TITLE}V{base}" for t in at)
    return [f'<path class="threshold" d="{line}"><title>{len(at)} thresholds</title></path>']


def _codes(row: Row, x: Place, floor: float) -> str:
    counts = row["histogram"]
    top = max(*counts, 1)
    wide = max(x(1) - x(0), 0.6)
    bars = "".join(
        f"M{x(row['lo'] + i) - 0.4 * wide:.1f} {floor}v{-(BARS - 2) * sqrt(c / top) - 1:.1f}h{0.8 * wide:.1f}V{floor}z"
        for i, c in enumerate(counts)
        if c
    )
    return f'<path class="codes" d="{bars}"/>'


def _axis(row: Row, x: Place, floor: float) -> list[str]:
    lo, hi, (small, large) = row["lo"], row["hi"], row["step"]
    marks = sorted({lo, 0, round(hi / 2), hi} if lo <= 0 <= hi else {lo, hi})
    unit = f"1 step = {small:.3g}" if small == large else f"1 step = {small:.3g} to {large:.3g} by channel"
    return [line("axis", LEFT, floor, RIGHT, floor), *(text(x(m), floor + 13, m, "middle") for m in marks),
            text(RIGHT, floor + 26, unit, "end")]  # fmt: skip
