"""What ``sfnc fit`` prints: a table of layers, the counts of every plan, estimates as ranges; or CSV, a line a core."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
LONGEST = 34


def fit_lines(found: Row) -> Iterator[str]:
    """Yield the answer, layer by layer and as a whole."""
    chip, shown = found["chip"], found["shown"]
    yield from _table(found)
    yield ""
    yield from (_plan_line(row, chip) for row in found["cores"])
    for work in found["host"]:
        yield f"host: {work['name']}: {work['what']}, {work['operations']:,} operations a sample"
    yield ""
    yield f"Estimates for split {shown['split']} on {shown['chips']} chip(s), not measured on {chip['title']}:"
    yield from _estimate_lines(found["estimate"], found["estimates_of_plans"])
    where = chip["title"] if chip["board"] is None else f"{chip['title']} ({chip['board']})"
    yield f"{'fits' if found['fits'] else 'does not fit'} {where}, as far as is known. {chip['note']}"


def csv_lines(found: Row) -> Iterator[str]:
    """Yield a heading and a line for every core of the core map."""
    rows = [{**r, "tile": "x".join(map(str, r["tile"])), "us_low": r["us"][0], "us_high": r["us"][1]}
            for r in found["core_map"]]  # fmt: skip
    text = io.StringIO()
    names = [n for n in rows[0] if n != "us"] if rows else ["core"]
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    yield from text.getvalue().splitlines()


def _table(found: Row) -> Iterator[str]:
    of_core = f"{'synapses':>15} {'neurons':>7} {'axons':>6} {'full':>6}  time of that core"
    yield f"{'layer':{LONGEST}} {'tile':>12} {'cores':>5} {of_core}"
    for row in found["layers"]:
        name = _short(row["name"])
        if "tile" not in row:
            yield f"{name:{LONGEST}} a core holds no part of it"
            continue
        use, tile = row["use"], "x".join(map(str, row["tile"]))
        words = use.get("synapses", use.get("synapse_bits", 0))
        most = row["synapses_at_most"]
        said = f"{words:,}..{most:,}" if most > words else f"{words:,}"
        yield (f"{name:{LONGEST}} {tile:>12} {row['cores']:>5} {said:>15} {use['neurons']:>7,} {use['axons_in']:>6,} "
               f"{row['percent']:>5.1f}%  {_span(row['core_us'], 'us')}")  # fmt: skip


def _plan_line(row: Row, chip: Row) -> str:
    words = f"{row['split'] + ',':9} {row['state_words']:g} word(s) a neuron" if row["state_words"] else row["split"]
    relays = f"; with relays {row['cores'] + row['relay_cores']} on {row['chips_with_relays']}" * bool(
        row["relay_cores"]
    )
    odd = f"; {len(row['unplaced'])} layer(s) on no core" * bool(row["unplaced"])
    return f"{words}: {row['cores']} cores on {row['chips']} chip(s) of {chip['cores']}{relays}{odd}"


def _estimate_lines(said: Row, plans: Mapping[str, Row]) -> Iterator[str]:
    busiest = "the chip's least time" if said["is_floor"] else f"busiest core: {said['busiest']}"
    full = _span(said["step_us_if_all_fire"], "us")
    yield f"  step {_span(said['step_us'], 'us')} ({busiest}); {full} if every code fired"
    latency = _span(said["latency_us"], "us")
    yield f"  latency {said['latency_steps']} steps, {latency}; {_span(said['samples_per_s'], 'samples/s')}"
    for name, row in plans.items():
        yield f"    {name}: step {_span(row['step_us'], 'us')}, {_span(row['samples_per_s'], 'samples/s')}"
    for line in said["energy"]:
        yield f"  {line['name']}: {_span(line['uj'], 'uJ')} a sample ({line['boundary']})"
        yield f"      {line['confidence']}: {line['source']}"
    yield f"  not modelled: {', '.join(said['not_modelled'])}"


def _span(ends_of: Sequence[float], unit: str) -> str:
    """Return a range with three digits, one number where both ends are the same."""
    ends = [_three(x) for x in ends_of]
    return f"{ends[0] if ends[0] == ends[1] else '..'.join(ends)} {unit}"


def _three(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else "..." + name[-LONGEST + 3 :]
