"""Classes: top-1, top-5 and who is taken for whom."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.agreement import top1
from ..evaluation.truth import Answers

Array = NDArray[Any]
MANY = 100  # classes; a larger matrix of confusion nobody reads, and eval.json would hold a million numbers
MISTAKES = 10
SIDES = ("float", "snn")


@dataclass(frozen=True)
class Classification:
    """One row of scores per sample in ``output``, or the class itself where it holds whole numbers."""

    output: str
    classes: tuple[str, ...] = ()
    name: str = "classification"

    def begin(self) -> Classes:
        """Return a judge that has seen nothing."""
        return Classes(self)


@dataclass
class Classes:
    """For every sample the class that is right, the one that each network says (NaN: none) and how many classes each
    puts before the right one."""

    task: Classification
    truth: list[Array] = field(default_factory=list)
    said: dict[str, list[Array]] = field(default_factory=lambda: {side: [] for side in SIDES})
    ahead: dict[str, list[Array]] = field(default_factory=lambda: {side: [] for side in SIDES})
    scores: int = 0

    def add(self, truth: Array, want: Answers, got: Answers) -> None:
        """Add the classes ``(n,)`` of some samples and both answers."""
        self.truth.append(truth)
        for side, answers in zip(SIDES, (want, got), strict=True):
            y = np.asarray(answers[self.task.output])
            rows = y.reshape(len(truth), -1).astype(np.float64)
            whole = y.dtype.kind in "iu" and rows.shape[1] == 1
            self.said[side].append(rows[:, 0] if whole else top1(rows))
            self.ahead[side].append(_ahead(rows, truth) if rows.shape[1] > 1 else np.full(len(rows), -1))
            self.scores = max(self.scores, 0 if whole else rows.shape[1])

    def merge(self, other: Classes) -> None:
        """Add the samples behind these."""
        self.truth += other.truth
        self.scores = max(self.scores, other.scores)
        for side in SIDES:
            self.said[side] += other.said[side]
            self.ahead[side] += other.ahead[side]

    def row(self) -> dict[str, Any]:
        """Return top-1, top-5 (null of five classes or fewer), confusion ``[right][said]`` and the usual mistakes."""
        truth = np.concatenate(self.truth)
        said = {side: np.concatenate(parts) for side, parts in self.said.items()}
        n = max(self.scores, 2, int(truth.max()) + 1, *(int(np.nanmax(s, initial=0)) + 1 for s in said.values()))
        row: dict[str, Any] = {"n": len(truth), "classes": n, "names": list(self.task.classes),
                               "agreement": float((said["float"] == said["snn"]).mean())}  # fmt: skip
        for side in SIDES:
            row[f"{side}_top1"] = float((said[side] == truth).mean())
            row[f"{side}_top5"] = _top5(np.concatenate(self.ahead[side])) if self.scores > 5 else None
            row[f"{side}_confusion"] = _confusion(truth, said[side], n) if n <= MANY else None
            row[f"{side}_mistakes"] = _mistakes(truth, said[side])
        return row


def _ahead(scores: Array, truth: Array) -> Array:
    """Return how many classes stand before the right one: larger scores, and equal ones of lower number."""
    own = scores[np.arange(len(scores)), truth][:, None]
    before = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < truth[:, None]))
    return np.where(np.isnan(scores).any(axis=1), scores.shape[1], before.sum(axis=1))


def _top5(ahead: Array) -> float:
    return float((ahead < 5).mean())


def _confusion(truth: Array, said: Array, n: int) -> list[list[int]]:
    """Return how often class ``[i]`` was taken for ``[j]``; samples for which nothing was said are left out."""
    known = ~np.isnan(said)
    places = truth[known] * n + said[known].astype(np.int64)
    return [[int(v) for v in row] for row in np.bincount(places, minlength=n * n).reshape(n, n)]


def _mistakes(truth: Array, said: Array) -> list[list[int]]:
    """Return ``[right, said, how often]`` of the most frequent mistakes."""
    wrong = (said != truth) & ~np.isnan(said)
    pairs = Counter(zip(truth[wrong].tolist(), said[wrong].astype(np.int64).tolist(), strict=True))
    return [[*pair, n] for pair, n in sorted(pairs.items(), key=lambda p: (-p[1], p[0]))[:MISTAKES]]
