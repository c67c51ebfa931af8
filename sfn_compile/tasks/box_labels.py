"""Labels of boxes: COCO's json beside images, or rows of an array."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.sample_files import Data
from ..foundation.diagnostics import fail
from .boxes import Boxes, no_boxes

Array = NDArray[Any]
FORM = "COCO's json has `images`, `annotations` (image_id, category_id, bbox) and `categories`"


def of_array(labels: Array, place: str) -> list[Boxes]:
    """Return boxes of an array ``(n, most, 5)``: class, x0, y0, x1, y1 in pixels; class -1 fills rows up.

    Raises SFN321 for another shape.
    """
    if labels.ndim != 3 or labels.shape[2] != 5:
        what = f"a label has shape {labels.shape[1:]}, boxes are (most, 5)"
        raise fail("SFN321", what, place, "rows of class, x0, y0, x1, y1 in pixels of the sample; class -1 fills up")
    return [_boxes(rows[rows[:, 0] >= 0]) for rows in labels.astype(np.float64)]


def _boxes(rows: Array) -> Boxes:
    return Boxes(rows[:, 1:], np.ones(len(rows)), np.rint(rows[:, 0]).astype(np.int64), np.zeros(len(rows), bool))


def of_coco(path: Path, data: Data, ids: bool) -> tuple[list[Boxes], tuple[str, ...]]:
    """Return the boxes of every sample, moved as its image was resized and cropped, and the names of the classes.

    Samples of image files are found by name, those of arrays stand in the order of ``images``. Classes count the
    categories in ascending order of their ids; with ``ids`` they are the ids. Raises SFN321.
    """
    document = _read(path)
    categories = sorted(document["categories"], key=lambda c: c["id"])
    numbers = {c["id"]: c["id"] if ids else i for i, c in enumerate(categories)}
    images = _images(document["images"], data, path)
    by_image: dict[Any, list[Mapping[str, Any]]] = {}
    for one in document["annotations"]:
        by_image.setdefault(one["image_id"], []).append(one)
    frames = np.tile([1.0, 1.0, 0.0, 0.0], (len(data), 1)) if data.frames is None else data.frames
    found = [_of_image(by_image.get(image, ()), numbers, frame, path)
             for image, frame in zip(images, frames, strict=True)]  # fmt: skip
    names = {numbers[c["id"]]: str(c.get("name", c["id"])) for c in categories}
    return found, tuple(names.get(i, "") for i in range(max(names, default=-1) + 1))


def _read(path: Path) -> dict[str, Any]:
    """Return the document. Raises SFN321 where it is not COCO's."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise fail("SFN321", f"labels that cannot be read: {error}", str(path), FORM) from error
    wanted = {"images": {"id"}, "annotations": {"image_id", "category_id", "bbox"}, "categories": {"id"}}
    for key, fields in wanted.items():
        rows = document.get(key) if isinstance(document, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) and fields <= row.keys() for row in rows):
            raise fail("SFN321", f"its {key!r} are not those of COCO", str(path), FORM)
    return dict(document)


def _images(images: Sequence[Mapping[str, Any]], data: Data, path: Path) -> list[Any]:
    """Return the image's id of every sample. Raises SFN321 where one has none."""
    if not data.names:
        if len(images) != len(data):
            what = f"it has {len(images)} images, the samples are {len(data)}"
            raise fail("SFN321", what, str(path), "samples without names are taken in the order of `images`: use all")
        return [image["id"] for image in images]
    by_name = {str(image.get("file_name", "")): image["id"] for image in images}
    by_last = {PurePosixPath(name).name: id for name, id in by_name.items()}
    found = [by_name.get(name, by_last.get(PurePosixPath(name).name)) for name in data.names]
    if None in found:
        raise fail("SFN321", f"it has no image {data.names[found.index(None)]!r}", str(path), "label every image, an "
                   "image without boxes too, or leave the unlabelled ones out of the folder")  # fmt: skip
    return found


def _of_image(
    rows: Sequence[Mapping[str, Any]], numbers: Mapping[Any, int], frame: Array, path: Path
) -> Boxes:  # fmt: skip
    """Return the boxes of an image in pixels of the sample."""
    if not rows:
        return no_boxes()
    try:
        boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(len(rows), 4)
        classes = np.array([numbers[row["category_id"]] for row in rows], np.int64)
    except (KeyError, TypeError, ValueError) as error:
        raise fail("SFN321", f"a box or a category is damaged: {error!r}", str(path), FORM) from error
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    scale, shift = np.tile(frame[:2], 2), np.tile(frame[2:], 2)
    crowd = np.array([bool(row.get("iscrowd", 0)) for row in rows])
    return Boxes(corners * scale + shift, np.ones(len(rows)), classes, crowd)
