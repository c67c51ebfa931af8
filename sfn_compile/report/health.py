"""Signs that a population is badly set, as data: a code, what was measured, and the limit that it passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Values beyond the last code. Where the step that makes the error smallest puts them: 0.3 % at 31 levels, 3 % at 7 and
# 9 % at 1 of a Gaussian; the limits leave room for heavier tails.
BEYOND, BEYOND_OF_FEW = 0.02, 0.5
DEAD = 0.5  # share of channels; trained networks have up to a third that never fire
UNUSED = 0.5  # share of codes; a step twice as large would have done
FEW_LEVELS = 7  # below, a code more or less is a large share
OF_ONE_RULE = ("input", "exponential", "readout")  # their codes follow from the data or from a row, not from a choice


def warnings(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return ``{code, value, limit}`` for everything that a layer's row of the report passes (SFN404 to SFN406)."""
    if not row["levels"] or row["stated"]:
        return []
    limits = [
        ("SFN404", row["beyond"], max(BEYOND, BEYOND_OF_FEW / (row["levels"] + 1))),
        ("SFN405", row["dead"] / max(row["channels"], 1), DEAD if row["channels"] > 1 else 1.0),
        ("SFN406", row["unused"], UNUSED if _may_be_finer(row) else 1.0),
    ]
    return [{"code": code, "value": value, "limit": limit} for code, value, limit in limits if value > limit]


def _may_be_finer(row: Mapping[str, Any]) -> bool:
    """Return whether a smaller step would use more codes: there are many, and those of the largest size never occur.

    Where they occur and codes between them do not, the values are few, and a smaller step would cut them off.
    """
    if row["levels"] < FEW_LEVELS or row["kind"] in OF_ONE_RULE:
        return False
    seen = [row["lo"] + i for i, n in enumerate(row["histogram"]) if n]
    reach = max(abs(seen[0]), abs(seen[-1])) if seen else 0
    return 2 * reach <= max(abs(row["lo"]), abs(row["hi"]))
