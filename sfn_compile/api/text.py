"""What a network says of itself in Python: a line, some lines, or HTML in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Row = Sequence[str]


def table(head: Row, rows: Iterable[Row]) -> str:
    """Return columns of text, each as wide as it needs to be.

    >>> print(table(("a", "bcd"), [("long", "x")]))
    a     bcd
    long  x
    """
    every = [tuple(head), *map(tuple, rows)]
    widths = [max(len(row[i]) for row in every) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in every)


def html_table(head: Row, rows: Iterable[Row]) -> str:
    """Return the same as an HTML table."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def shapes(items: Iterable[tuple[str, Sequence[int]]]) -> str:
    """Return names with shapes, as ``x 3x32x32``."""
    return ", ".join(f"{name} {'x'.join(map(str, shape))}".rstrip() for name, shape in items)


def totals_line(report: Mapping[str, Any]) -> str:
    """Return the sizes of a network."""
    total = report["totals"]
    return (f"{total['neurons']:,} neurons in {total['populations']} populations, {total['weights']:,} weights, "
            f"{total['synops']:,.0f} synaptic operations per sample ({total['macs']:,} MACs in floats)")  # fmt: skip


def target_lines(report: Mapping[str, Any]) -> list[str]:
    """Return a line per target: built, or why it refused."""
    lines = []
    for name, row in report["targets"].items():
        refused = row.get("refused")
        said = f"refused: {refused[0]['what']}" if refused else f"{row['files']} files, {row['bytes'] / 1e6:.2f} MB"
        lines.append(f"target {name}: {said}")
    return lines
