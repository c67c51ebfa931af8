"""A class for every position: mean intersection over union, and how many positions are right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.labels import RIGHT, VOID
from ..evaluation.truth import Answers
from ..foundation.diagnostics import fail

Array = NDArray[Any]
PAIRS = {"float": ("truth", "float"), "snn": ("truth", "snn"), "against_float": ("float", "snn")}


@dataclass(frozen=True)
class Segmentation:
    """A map of scores per sample in ``output``: ``axis`` of a sample counts the classes, None where one number says
    yes or no or the classes stand there themselves."""

    output: str
    axis: int | None
    count: int
    classes: tuple[str, ...] = ()
    name: str = "segmentation"

    def begin(self) -> Masks:
        """Return a judge that has seen nothing."""
        return Masks(self)

    def said(self, y: Any) -> Array:
        """Return the classes ``(n, height, width)`` that answers name."""
        y = np.asarray(y)
        if self.axis is not None:
            return y.argmax(axis=self.axis + 1)
        y = y.reshape(len(y), *(d for d in y.shape[1:] if d != 1))
        return y.astype(np.int64) if y.dtype.kind in "iu" else (y > RIGHT).astype(np.int64)


@dataclass
class Masks:
    """Counts ``[right][said]`` of positions, of each network and of one against the other."""

    task: Segmentation
    n: int = 0
    counts: dict[str, Array] = field(default_factory=dict)

    def add(self, truth: Array | None, want: Answers, got: Answers) -> None:
        """Add the masks ``(n, height, width)`` of some samples, if there are some, and both answers."""
        said = {"float": self.task.said(want[self.task.output]), "snn": self.task.said(got[self.task.output])}
        if truth is not None:
            said["truth"] = truth.reshape(said["float"].shape)
        self.n += len(said["float"])
        for name, (right, found) in PAIRS.items():
            if right in said:
                self._count(name, said[right], said[found])

    def _count(self, name: str, right: Array, said: Array) -> None:
        k = self.task.count
        known = (right >= 0) & (right < k)
        odd = right[~known]
        if odd.size and not np.isin(odd, VOID).all():
            strange = int(odd[~np.isin(odd, VOID)][0])
            raise fail("SFN321", f"a mask holds class {strange}, the model has {k} classes", self.task.output,
                       "give classes in the model's own numbering; 255 where nobody labelled")  # fmt: skip
        places = right[known] * k + np.clip(said[known], 0, k - 1)
        found = np.bincount(places.reshape(-1), minlength=k * k).reshape(k, k)
        self.counts[name] = self.counts[name] + found if name in self.counts else found

    def merge(self, other: Masks) -> None:
        """Add the samples behind these."""
        self.n += other.n
        for name, found in other.counts.items():
            self.counts[name] = self.counts[name] + found if name in self.counts else found

    def row(self) -> dict[str, Any]:
        """Return mean intersection over union and right positions, of both by labels and of one against the other.

        The mean is over the classes that are in the labels or said. Without labels what they give is null.
        """
        row: dict[str, Any] = {"n": self.n, "classes": self.task.count, "names": list(self.task.classes)}
        for side in ("float", "snn"):
            found = _scores(self.counts[side]) if side in self.counts else {"miou": None, "pixel_accuracy": None,
                                                                           "iou": []}  # fmt: skip
            row |= {f"{side}_{key}": value for key, value in found.items()}
        return {**row, "against_float": _scores(self.counts["against_float"])}


def _scores(counts: Array) -> dict[str, Any]:
    hits = np.diag(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    iou = [float(h / u) if u else None for h, u in zip(hits, union, strict=True)]
    there = [value for value in iou if value is not None]
    total = int(counts.sum())
    return {"miou": float(np.mean(there)) if there else None, "iou": iou,
            "pixel_accuracy": float(hits.sum() / total) if total else None}  # fmt: skip
