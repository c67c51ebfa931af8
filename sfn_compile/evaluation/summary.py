"""How close the outputs of a build are, in two numbers: the least agreement and the least signal to noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..foundation.reasons import NO_ERROR


def least_of_outputs(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the least ``agreement`` and ``sqnr_db`` of all outputs, null where there is none or no error.

    Behind a host tail the errors are those at the cut, which the network makes alone.
    """
    agreements = [row["agreement"] for row in found["outputs"].values() if row["agreement"] is not None]
    decibels = [row["sqnr_db"] for row in _numbers(found).values() if row["sqnr_db"] is not None]
    return {"agreement": min(agreements, default=None), "sqnr_db": min(decibels, default=None),
            "exact": not decibels and _is_exact(found)}  # fmt: skip


def _is_exact(found: Mapping[str, Any]) -> bool:
    rows = _numbers(found).values()
    return bool(rows) and all(row.get("reasons", {}).get("sqnr_db") == NO_ERROR for row in rows)


def _numbers(found: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the rows of outputs, or values at the cut, that are real numbers."""
    return {name: row for name, row in found.get("cut", found["outputs"]).items() if "sqnr_db" in row}
