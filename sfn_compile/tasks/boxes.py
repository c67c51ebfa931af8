"""Boxes of one image, and how a network's outputs are read as boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..data.functions import called, find
from ..foundation.diagnostics import fail

Array = NDArray[Any]
FORMATS = ("xyxy", "yxyx", "xywh", "cxcywh")
UNITS = ("pixels", "relative")
BACKGROUNDS = ("first", "last", "none")
COLUMNS = ("box", "score", "class", "object", "classes", "-")
MOST = 300  # boxes of an image, those of the highest scores


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes ``(k, 4)`` as x, y of the left upper and the right lower corner in pixels of the sample; ``scores`` and
    ``classes`` ``(k,)``. Of labels ``crowd`` says which ones stand for many, and ``scores`` are 1."""

    corners: Array
    scores: Array
    classes: Array
    crowd: Array | None = None

    def __len__(self) -> int:
        return len(self.corners)

    def __getitem__(self, chosen: Any) -> Boxes:
        crowd = None if self.crowd is None else self.crowd[chosen]
        return Boxes(self.corners[chosen], self.scores[chosen], self.classes[chosen], crowd)

    @property
    def areas(self) -> Array:
        """The areas ``(k,)``; 0 where a box is turned inside out."""
        return np.prod(np.maximum(self.corners[:, 2:] - self.corners[:, :2], 0), axis=1)


def no_boxes() -> Boxes:
    """Return no box."""
    return Boxes(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))


@dataclass(frozen=True)
class BoxForm:
    """How outputs are read as boxes.

    ``boxes``: the output with the boxes, or with everything, of which ``columns`` says what each column is: ``box``
    (4), ``score``, ``class``, ``object`` (a factor of the scores), ``classes`` (a score each, all that remain), ``-``.
    ``scores``, ``classes``, ``count``: outputs beside it. ``background``: the class of nothing among scores of each
    class. ``iou``: of two boxes of one class that overlap by more, the one of the lower score is left out; 1: none is.
    ``least``: boxes of lower scores are left out. ``function``: of the user, instead of all that.
    """

    boxes: str = ""
    columns: tuple[str, ...] = ()
    scores: str = ""
    classes: str = ""
    count: str = ""
    format: Literal["xyxy", "yxyx", "xywh", "cxcywh"] = "xyxy"
    unit: Literal["pixels", "relative"] = "pixels"
    background: Literal["first", "last", "none"] = "none"
    iou: float = 1.0
    least: float = 0.0
    function: str = ""
    size: tuple[int, int] = (0, 0)  # height and width of a sample

    def read(self, outputs: Mapping[str, Array]) -> Boxes:
        """Return the boxes of one sample; ``outputs`` by name as the model answers to a batch of one. Raises SFN321."""
        if self.function:
            return self._of_function(outputs)
        corners, scores, classes = self._parts(outputs)
        found = Boxes(self._corners(corners), scores, classes)
        known = np.isfinite(found.corners).all(axis=1) & (found.scores >= self.least) & (found.classes >= 0)
        found = found[known]
        found = found[np.argsort(-found.scores, kind="stable")[: 10 * MOST]]
        return (suppressed(found, self.iou) if self.iou < 1 else found)[:MOST]

    def as_dict(self) -> dict[str, Any]:
        """Return what is told of it: what differs from the defaults."""
        plain = BoxForm()
        said = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "size"}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in said.items() if v != getattr(plain, name)}

    def _parts(self, outputs: Mapping[str, Array]) -> tuple[Array, Array, Array]:
        """Return boxes ``(k, 4)`` as they stand there, scores and classes ``(k,)``."""
        if self.columns:
            return self._of_columns(rows_of(outputs[self.boxes], self.columns))
        boxes = np.asarray(outputs[self.boxes], np.float64).reshape(-1, 4)
        k = len(boxes)
        if self.count:
            k = min(k, int(np.asarray(outputs[self.count]).reshape(-1)[0]))
        scores = scores_of(outputs[self.scores], len(boxes)) if self.scores else np.ones(len(boxes))
        if scores.ndim == 2:
            scores, classes = self._best(scores)
        elif self.classes:
            classes = np.rint(np.asarray(outputs[self.classes], np.float64).reshape(-1)[: len(boxes)]).astype(np.int64)
        else:
            classes = np.zeros(len(boxes), np.int64)
        return boxes[:k], scores[:k], classes[:k]

    def _of_columns(self, table: Array) -> tuple[Array, Array, Array]:
        place, parts = 0, {}
        for column in self.columns:
            width = 4 if column == "box" else table.shape[1] - place if column == "classes" else 1
            parts[column] = table[:, place : place + width]
            place += width
        n = len(table)
        scores = parts["score"][:, 0] if "score" in parts else np.ones(n)
        classes = np.rint(parts["class"][:, 0]).astype(np.int64) if "class" in parts else np.zeros(n, np.int64)
        if "classes" in parts:
            scores, classes = self._best(parts["classes"])
        return parts["box"], scores * parts["object"][:, 0] if "object" in parts else scores, classes

    def _best(self, scores: Array) -> tuple[Array, Array]:
        """Return the best class of every row, the background aside, and its score."""
        kept = {"first": scores[:, 1:], "last": scores[:, :-1], "none": scores}[self.background]
        return kept.max(axis=1, initial=-np.inf), kept.argmax(axis=1) if kept.shape[1] else np.zeros(len(kept), int)

    def _corners(self, boxes: Array) -> Array:
        a, b, c, d = boxes.T
        found = {"xyxy": (a, b, c, d), "yxyx": (b, a, d, c), "xywh": (a, b, a + c, b + d),
                 "cxcywh": (a - c / 2, b - d / 2, a + c / 2, b + d / 2)}[self.format]  # fmt: skip
        corners = np.stack(found, axis=1)
        high, wide = self.size
        return corners * (wide, high, wide, high) if self.unit == "relative" else corners

    def _of_function(self, outputs: Mapping[str, Array]) -> Boxes:
        """Return what the user's function makes of the outputs. Raises SFN321."""
        found = called(find(self.function, "SFN321"), self.function, dict(outputs), code="SFN321")
        try:
            corners, scores, classes = (np.asarray(part, np.float64) for part in found)
            made = Boxes(corners.reshape(-1, 4), scores.reshape(-1), np.rint(classes.reshape(-1)).astype(np.int64))
        except (TypeError, ValueError) as error:
            what = f"it gives no boxes: {error}"
            raise fail("SFN321", what, self.function, "return (boxes (k, 4), scores (k,), classes (k,))") from error
        if not len(made.corners) == len(made.scores) == len(made.classes):
            what = f"it gives {len(made.corners)} boxes, {len(made.scores)} scores, {len(made.classes)} classes"
            raise fail("SFN321", what, self.function)
        made = made[made.scores >= self.least]
        return made[np.argsort(-made.scores, kind="stable")[:MOST]]

    def sized(self, size: tuple[int, int]) -> BoxForm:
        """Return the same for samples of a height and width."""
        return replace(self, size=size)


def rows_of(output: Array, columns: tuple[str, ...]) -> Array:
    """Return a table with a box a row: of ``(1, columns, k)``, as YOLO has it, the transpose."""
    y = np.asarray(output, np.float64)
    table = y.reshape(-1, y.shape[-1]) if y.ndim > 1 else y.reshape(1, -1)
    fixed = sum(4 if column == "box" else 1 for column in columns if column != "classes")
    transposed = "classes" in columns and table.shape[0] < table.shape[1] and table.shape[0] > fixed
    return table.T if transposed else table


def scores_of(output: Array, k: int) -> Array:
    """Return scores ``(k,)``, or ``(k, classes)`` where each class has one."""
    y = np.asarray(output, np.float64)
    if y.size == k:
        return y.reshape(k)
    if y.shape[-1] == k and y.size // k != y.shape[-1]:
        return y.reshape(-1, k).T
    return y.reshape(k, -1)


def overlaps(a: Array, b: Array) -> Array:
    """Return intersection over union ``(n, m)`` of corners ``(n, 4)`` and ``(m, 4)``."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = np.prod(np.maximum(high - low, 0), axis=2)
    own = [np.prod(np.maximum(x[:, 2:] - x[:, :2], 0), axis=1) for x in (a, b)]
    union = own[0][:, None] + own[1][None] - inside
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)


def suppressed(found: Boxes, iou: float) -> Boxes:
    """Return boxes, best first, without those that overlap a better one of their class by more than ``iou``."""
    kept: list[int] = []
    for klass in np.unique(found.classes):
        rest = np.flatnonzero(found.classes == klass)
        while len(rest) and len(kept) < 10 * MOST:
            kept.append(int(rest[0]))
            rest = rest[1:][overlaps(found.corners[rest[:1]], found.corners[rest[1:]])[0] <= iou]
    return found[np.array(sorted(kept), np.int64)]
