"""Tables that fit the terminal: whole columns are left out, the least important first; none is cut in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

AROUND = 3  # characters beside a cell: two of padding, one of the frame


@dataclass(frozen=True)
class Column:
    """A column. ``rank``: 0 is never left out; of the others the one with the highest rank goes first."""

    title: str
    rank: int = 0


def fitted(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, below: Sequence[Sequence[str]] = ()
) -> Table:
    """Return a table that is at most ``width`` characters wide, as far as leaving out columns makes it that.

    ``below``: rows behind a line, such as totals.
    """
    kept = shown(columns, [*rows, *below], width)
    table = Table()
    for i in kept:
        table.add_column(columns[i].title, no_wrap=columns[i].rank != 0 or i == len(columns) - 1, overflow="fold")
    for part in (rows, below):
        for row in part:
            table.add_row(*(row[i] for i in kept))
        table.add_section()
    return table


def shown(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the places of the columns that are shown."""
    wide = [max([len(c.title), *(len(row[i]) for row in rows)]) + AROUND for i, c in enumerate(columns)]
    kept = list(range(len(columns)))
    while sum(wide[i] for i in kept) + 1 > width:
        last = max(kept, key=lambda i: columns[i].rank)
        if not columns[last].rank:
            break
        kept.remove(last)
    return kept
