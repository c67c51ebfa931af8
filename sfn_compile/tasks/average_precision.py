"""Average precision as COCO defines it, by its own code (pycocotools)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..foundation.diagnostics import fail
from .boxes import Boxes

PACKAGE = "pip install 'sfnc[detection]'"


def average_precision(truth: Sequence[Boxes], found: Sequence[Boxes]) -> dict[str, Any]:
    """Return ``map50`` (at an overlap of one half), ``map`` (mean over 0.5:0.05:0.95), None where nothing is true.

    The mean is over the classes of the true boxes, 100 boxes an image. Raises SFN613.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        what = "average precision is computed by pycocotools, which is not installed"
        raise fail("SFN613", what, fix=PACKAGE) from error
    if not any(len(b) and (b.crowd is None or not b.crowd.all()) for b in truth):
        return {"map50": None, "map": None}
    images = [{"id": i + 1} for i in range(len(truth))]
    categories = [{"id": int(c)} for c in np.unique(np.concatenate([b.classes for b in (*truth, *found)]))]
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of its steps
        sides = []
        for boxes, scored in ((truth, False), (found, True)):
            one = COCO()
            one.dataset = {"images": images, "categories": categories, "annotations": _annotations(boxes, scored)}
            one.createIndex()
            sides.append(one)
        made = COCOeval(*sides, "bbox")
        made.evaluate()
        made.accumulate()
    precision = made.eval["precision"][:, :, :, 0, -1]  # (overlaps, recalls, classes), -1 for a class without truth
    known = precision[:, 0, :] > -1
    of_class = np.where(known, precision.mean(axis=1), np.nan)
    return {"map50": float(np.nanmean(of_class[0])), "map": float(np.nanmean(of_class))}


def _annotations(boxes: Sequence[Boxes], scored: bool) -> list[dict[str, Any]]:
    """Return boxes as COCO has them; its numbers count from 1, since 0 means none there."""
    rows: list[dict[str, Any]] = []
    for image, some in enumerate(boxes, 1):
        for i in range(len(some)):
            x0, y0, x1, y1 = map(float, some.corners[i])
            crowd = bool(some.crowd is not None and some.crowd[i])
            rows.append({"id": len(rows) + 1, "image_id": image, "category_id": int(some.classes[i]),
                         "bbox": [x0, y0, x1 - x0, y1 - y0], "area": max(x1 - x0, 0.0) * max(y1 - y0, 0.0),
                         "iscrowd": int(crowd), **({"score": float(some.scores[i])} if scored else {})})  # fmt: skip
    return rows
