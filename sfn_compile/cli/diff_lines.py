"""What ``sfnc diff`` prints: plain lines, so that they can be read in a log and be grepped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..report.headlines import of_difference
from ..report.units import energy, percent

Found = Mapping[str, Any]
MOST = 20  # layers that are named one by one


def diff_lines(found: Found) -> Iterator[str]:
    """Yield the result, then what is different, one thing a line."""
    yield of_difference(found)
    for part in ("options", "versions", "calibration"):
        yield from (
            f"{part[:-1] if part != 'calibration' else part} {k}: {a} -> {b}" for k, (a, b) in found[part].items()
        )
    if len(found["model"]) > 1:
        yield f"model sha256: {found['model'][0][:12]} -> {found['model'][1][:12]}"
    for kind, files in found["files"].items():
        if files:
            yield f"files {'of the network' if kind == 'network' else 'that describe it'}: {', '.join(files)}"
    yield from _layers(found)
    yield from _numbers(found)


def _layers(found: Found) -> Iterator[str]:
    rows = found["layers"]
    for row in rows[:MOST]:
        only = "" if row["in"] == "both" else f" only in {row['in']}"
        changed = f" {', '.join(row['changed'])} changed;" if row["changed"] else ""
        counts = f" {row['different']:,} of {row['compared']:,} integers differ" if row["compared"] else ""
        yield f"layer {row['name']}:{only}{changed}{counts}"
    if len(rows) > MOST:
        yield f"and {len(rows) - MOST} layers more (--json has all)"
    if not found["compared_on"]["samples"]:
        yield f"no integers were compared: {found['compared_on']['reason']}"


def _numbers(found: Found) -> Iterator[str]:
    score = found["quality"]["score"]
    if score is not None:
        a, b = score["spiking"]
        yield f"{score['name']}: {percent(a, 2)} -> {percent(b, 2)} (float {percent(score['float'], 2)})"
    else:
        yield f"no score is compared: {found['quality']['reason']}"
    for name, row in found["quality"]["outputs"].items():
        (a, b), (c, d) = row["agreement"], row["sqnr_db"]
        if [a, c] != [b, d]:
            yield f"output {name}: agreement {percent(a)} -> {percent(b)}, signal to noise {_db(c)} -> {_db(d)}"
    yield from (f"{key}: {a:,.0f} -> {b:,.0f}" for key, (a, b) in found["totals"].items() if a != b)
    for price, (a, b) in found["energy"].items():
        if a != b and a and b:
            yield f"energy {price}, an estimate: {energy(a)} -> {energy(b)} ({100 * (b / a - 1):+.1f} %)"


def _db(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} dB"
