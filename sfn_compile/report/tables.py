"""Tables as CSV: the layers of a build, the rows of a sweep."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

LAYER_COLUMNS = (
    "name", "kind", "origin", "shape", "lo", "hi", "levels", "theta_min", "theta_max", "acc_bits", "weight_bits",
    "sqnr_db", "sqnr_accumulated_db", "density", "saturation", "beyond", "unused", "dead", "channels", "events",
    "spikes", "set_bits", "macs", "synops",
)  # fmt: skip


def csv_text(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return CSV with a line of names; what is null or missing is empty, of a list the parts are joined by spaces."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return out.getvalue()


def _cell(value: Any) -> Any:
    return "" if value is None else " ".join(map(str, value)) if isinstance(value, list | tuple) else value
