"""Boxes: mean average precision, recall and precision, by labels or by the float network's own boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.truth import Answers
from ..foundation.diagnostics import CompileError
from .average_precision import PACKAGE, average_precision
from .boxes import Boxes, BoxForm, overlaps

Array = NDArray[Any]
SHOWN = 0.3  # a box of this score is said; lower ones count in the average precision alone
MATCHED = 0.5  # intersection over union from which a box is that of the truth
SIDES = ("float", "snn")
LACKING = f"no average precision: pycocotools is not installed ({PACKAGE})"


@dataclass(frozen=True)
class Detection:
    """``outputs`` are read as boxes by ``form``; those with a score from ``shown`` on are said.

    ``asked``: somebody asked for the task; where it was only told from the outputs, and pycocotools is not installed,
    average precision is null and ``lacking`` says why, instead of an error.
    """

    outputs: tuple[str, ...]
    form: BoxForm
    classes: tuple[str, ...] = ()
    shown: float = SHOWN
    asked: bool = True
    name: str = "detection"

    def begin(self) -> Found:
        """Return a judge that has seen nothing."""
        return Found(self)

    def read(self, answers: Answers, n: int) -> list[Boxes]:
        """Return the boxes of ``n`` samples."""
        return [self.form.read(of_one(answers, self.outputs, i)) for i in range(n)]


@dataclass
class Found:
    """The boxes of every sample: of the labels, if there are some, and of both networks."""

    task: Detection
    truth: list[Boxes | None] = field(default_factory=list)
    found: dict[str, list[Boxes]] = field(default_factory=lambda: {side: [] for side in SIDES})
    lacking: str = ""

    def add(self, truth: Sequence[Boxes] | None, want: Answers, got: Answers) -> None:
        """Read the boxes of some samples."""
        n = len(want[self.task.outputs[0]])
        self.truth += [None] * n if truth is None else list(truth)
        for side, answers in zip(SIDES, (want, got), strict=True):
            self.found[side] += self.task.read(answers, n)

    def merge(self, other: Found) -> None:
        """Add the samples behind these."""
        self.truth += other.truth
        for side in SIDES:
            self.found[side] += other.found[side]

    def row(self) -> dict[str, Any]:
        """Return the scores of both networks by the labels, and of the spiking one by the float one's own boxes.

        Without labels those boxes are the truth: ``snn_...`` are measured on them and ``float_...`` are null.
        """
        own = [b[b.scores >= self.task.shown] for b in self.found["float"]]
        labels = [b for b in self.truth if b is not None]
        labelled = len(labels) == len(self.truth)
        against = self._scores(own, "snn")
        counts = {side: int(sum((b.scores >= self.task.shown).sum() for b in self.found[side])) for side in SIDES}
        row: dict[str, Any] = {"n": len(self.truth), "names": list(self.task.classes),
                               "truth": "labels" if labelled else "the float network's boxes",
                               "boxes": {**counts, "labels": sum(map(len, labels)) if labelled else None},
                               "shown_from": self.task.shown, "form": self.task.form.as_dict(),
                               "against_float": against}  # fmt: skip
        nothing = dict.fromkeys(against)
        both = {side: self._scores(labels, side) for side in SIDES} if labelled else {"float": nothing, "snn": against}
        row |= {f"{side}_{key}": value for side in SIDES for key, value in both[side].items()}
        return {**row, "lacking": self.lacking} if self.lacking else row

    def _scores(self, truth: list[Boxes], side: str) -> dict[str, Any]:
        found = self.found[side]
        said = [b[b.scores >= self.task.shown] for b in found]
        try:
            precision = average_precision(truth, found)
        except CompileError:
            if self.task.asked:
                raise
            precision, self.lacking = {"map50": None, "map": None}, LACKING
        return {**precision, **recall_precision(truth, said)}


def of_one(answers: Answers, outputs: Sequence[str], i: int) -> dict[str, Array]:
    """Return the outputs of one sample as the model answers to a batch of one."""
    found: dict[str, Array] = {}
    for name in outputs:
        value = answers[name]
        found[name] = np.asarray(value[i]) if isinstance(value, tuple | list) else np.asarray(value[i : i + 1])
    return found


def recall_precision(truth: Sequence[Boxes], said: Sequence[Boxes]) -> dict[str, float | None]:
    """Return the share of the true boxes that are found, and of those said that are true; best boxes choose first.

    A box is found where one of its class overlaps by half. What stands for many (a crowd) counts neither way.
    """
    hits = right = total = 0
    for want, got in zip(truth, said, strict=True):
        single = want if want.crowd is None else want[~want.crowd]
        many = want[np.zeros(len(want), bool) if want.crowd is None else want.crowd]
        matched = _matches(single, got)
        hits += int(matched.sum())
        right += len(single)
        total += len(got) - int((~matched & _within(got, many)).sum())
    return {"recall": hits / right if right else None, "precision": hits / total if total else None}


def _matches(want: Boxes, got: Boxes) -> Array:
    """Return which of the boxes that were said are true ones; each of these is given once."""
    matched = np.zeros(len(got), bool)
    over = overlaps(got.corners, want.corners)
    over[got.classes[:, None] != want.classes[None]] = -1
    for i in np.argsort(-got.scores, kind="stable") if len(want) else ():
        best = int(over[i].argmax())
        if over[i, best] >= MATCHED:
            matched[i] = True
            over[:, best] = -1
    return matched


def _within(got: Boxes, many: Boxes) -> Array:
    """Return which boxes lie by half in a crowd of their class."""
    low = np.maximum(got.corners[:, None, :2], many.corners[None, :, :2])
    high = np.minimum(got.corners[:, None, 2:], many.corners[None, :, 2:])
    inside = np.prod(np.maximum(high - low, 0), axis=2)
    half = inside >= MATCHED * np.maximum(got.areas, np.finfo(float).tiny)[:, None]
    return np.asarray((half & (got.classes[:, None] == many.classes[None])).any(axis=1))
