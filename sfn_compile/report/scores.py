"""The score of an evaluation: what a drop is measured on, what headlines and the page name first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Found: TypeAlias = Mapping[str, Any]  # what `eval.json` holds


def score_of(found: Found) -> tuple[str, float, float] | None:
    """Return the score of the task, (its name, the float network's share, the spiking one's), None where there is none.

    That is what a drop is measured on.
    """
    for task, key, name in (("detection", "map50", "mAP@0.5"), ("segmentation", "miou", "mIoU")):
        row = found.get(task, {})
        if row.get(f"float_{key}") is not None and row.get(f"snn_{key}") is not None:
            return name, row[f"float_{key}"], row[f"snn_{key}"]
    if "accuracy" in found:
        a = found["accuracy"]
        return "right positions" if "places" in a else "top-1", a["float_top1"], a["snn_top1"]
    return None
