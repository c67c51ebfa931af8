"""Labels as people save them, and how right each network is by them: classes, masks, targets of a regression.

Which of these an array is follows from its shape beside that of the model's first output, and from all its values:

* ``classes``: one number per sample, whole (also as floats or bools), or one row per sample that is one-hot;
* ``mask``: one class per position of a map of scores, or 0 and 1 for every number of the output;
* ``targets``: real numbers in the shape of the output, which is a regression then.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..foundation.decibel import Varying
from ..foundation.diagnostics import fail

Array = NDArray[Any]
Kind = Literal["classes", "mask", "targets"]
VOID = (255, -1, -100)  # of masks: positions that nobody labelled, in the usual data sets and in torch
RIGHT = 0.5  # a single score, or one of several that are not exclusive, says yes above it


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels ``(n, ...)`` that were understood; they are sliced as the samples are."""

    kind: Kind
    values: Array

    def __getitem__(self, chosen: Any) -> Labels:
        return replace(self, values=self.values[chosen])

    def __len__(self) -> int:
        return len(self.values)


def read_labels(given: Array, shape: tuple[int, ...], name: str, whole: bool, where: str) -> Labels:
    """Return labels for an output ``name`` of which a sample has a ``shape``; ``whole``: it holds whole numbers.

    Raises SFN307, which says what to do.
    """
    real, labels = _without_ones(shape), given.reshape(len(given), *_without_ones(given.shape[1:]))
    if given.dtype.kind == "f" and not np.isfinite(given).all():
        raise _odd("they hold NaN or infinity", where, "leave these samples out, or the array")
    if whole:
        return _of_whole(labels, real, name, where)
    if labels.ndim == 1 and _is_whole(labels) and len(real) == 1:
        return Labels("classes", _in_range(labels.astype(np.int64), real[0], where))
    if labels.ndim == 1 and not real:
        return _of_one(labels, where)
    if labels.shape[1:] == real:
        return _like_the_output(labels)
    if len(real) > 1 and labels.shape[1:] == real[1:] and _is_whole(labels):
        values = labels.astype(np.int64)
        labelled = values[~np.isin(values, [v for v in VOID if not 0 <= v < real[0]])]
        _in_range(labelled, real[0], where)
        return Labels("mask", values)
    took = f"{real}" if real else "one number"
    what = f"a label has shape {tuple(given.shape[1:])} and type {given.dtype}; output {name!r} is {took} per sample"
    raise _odd(what, where, f"{_wanted(real)}; or leave the array out: agreement needs none")


def _of_whole(labels: Array, real: tuple[int, ...], name: str, where: str) -> Labels:
    if real and labels.shape[1:] == real and _is_whole(labels):
        return Labels("mask", labels.astype(np.int64))
    if real or labels.ndim != 1 or not _is_whole(labels):
        many = f"{real} of them" if real else "one"
        what = f"output {name!r} holds whole numbers, {many} per sample; the labels are no classes of it"
        raise _odd(what, where, "give integers of that shape, or leave the array out")
    return Labels("classes", labels.astype(np.int64))


def _of_one(labels: Array, where: str) -> Labels:
    """Return labels of a single number: classes where they are 0 and 1, targets where they are real numbers."""
    if set(np.unique(labels)) <= {0, 1}:
        return Labels("classes", labels.astype(np.int64))
    if labels.dtype.kind == "f":
        return Labels("targets", labels.astype(np.float64))
    what = f"labels run from {labels.min()} to {labels.max()}, the model has 2 classes"
    raise _odd(what, where, "give 0 and 1; or give targets of a regression as floats: labels.astype(np.float32)")


def _like_the_output(labels: Array) -> Labels:
    """Return labels in the shape of the output: one-hot rows, 0 and 1 for every number, or targets."""
    if not _is_binary(labels):
        return Labels("targets", labels.astype(np.float64))
    if labels.ndim == 2 and labels.shape[1] > 1 and (labels.sum(axis=1) == 1).all():
        return Labels("classes", labels.argmax(axis=1).astype(np.int64))
    return Labels("mask", labels.astype(np.int64))


def _in_range(labels: Array, n_outputs: int, where: str) -> Array:
    classes = max(n_outputs, 2)
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        what = f"labels run from {labels.min()} to {labels.max()}, the model has {classes} classes"
        first_is_1 = labels.min() == 1 and labels.max() == classes
        fix = "number classes from 0: labels - 1" if first_is_1 else "give labels in the model's own numbering"
        raise _odd(what, where, f"{fix}, or leave the array out")
    return labels


def _wanted(real: tuple[int, ...]) -> str:
    if not real:
        return "give one number per sample"
    if len(real) == 1:
        return f"give one integer from 0 to {max(real[0], 2) - 1} per sample, or {real[0]} numbers"
    return f"give a class per position, shape {('n', *real[1:])}, or targets, shape {('n', *real)}".replace("'", "")


def _odd(what: str, where: str, fix: str) -> Exception:
    return fail("SFN307", what, where, fix)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _is_whole(values: Array) -> bool:
    return values.dtype.kind in "iub" or bool((values == np.floor(values)).all())


def _is_binary(values: Array) -> bool:
    return values.dtype.kind == "b" or bool(((values == 0) | (values == 1)).all())


@dataclass
class Judged:
    """How right both networks are by the labels, as sums: places that are right, or squared errors of a regression."""

    kind: Kind
    n: int = 0
    places: int = 0
    float_hits: int = 0
    snn_hits: int = 0
    same: int = 0
    squares: Array | None = None  # (2, numbers of a sample): of the float and of the spiking network
    targets: Varying = field(default_factory=Varying)

    def add(self, labels: Labels, want: Array, got: Array) -> None:
        """Add some samples: labels, and both answers ``(n, *shape)``."""
        n = len(labels)
        self.n += n
        if self.kind == "targets":
            self._add_errors(labels.values.reshape(n, -1), want.reshape(n, -1), got.reshape(n, -1))
            return
        tops = [_said(np.asarray(y), labels) for y in (want, got)]
        truth = labels.values.reshape(n, -1)
        counted = ~np.isin(truth, VOID) if self.kind == "mask" else np.ones(truth.shape, bool)
        self.places += int(counted.sum())
        self.float_hits += int(((tops[0] == truth) & counted).sum())
        self.snn_hits += int(((tops[1] == truth) & counted).sum())
        self.same += int(((tops[0] == tops[1]) & counted).sum())

    def _add_errors(self, truth: Array, want: Array, got: Array) -> None:
        errors = np.stack([((y.astype(np.float64) - truth) ** 2).sum(axis=0) for y in (want, got)])
        self.squares = errors if self.squares is None else self.squares + errors
        self.targets.add(truth[:, :, None])

    def merge(self, other: Judged) -> None:
        """Add the sums of the samples behind these."""
        for name in ("n", "places", "float_hits", "snn_hits", "same"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.squares is not None:
            self.squares = other.squares if self.squares is None else self.squares + other.squares
            self.targets.merge(other.targets)

    def row(self) -> dict[str, Any]:
        """Return ``{"accuracy": ...}`` or ``{"regression": ...}``."""
        if self.kind != "targets":
            places = max(self.places, 1)
            row = {"n": self.n, "float_top1": self.float_hits / places, "snn_top1": self.snn_hits / places,
                   "agreement": self.same / places}  # fmt: skip
            return {"accuracy": row if self.kind == "classes" else {**row, "places": self.places}}
        assert self.squares is not None
        numbers, signal = self.squares.shape[1], self.targets.signal
        found: dict[str, Any] = {"n": self.n, "numbers": numbers}
        for name, errors in zip(("float", "snn"), self.squares, strict=True):
            found[f"{name}_rmse"] = float(np.sqrt(errors.sum() / (self.n * numbers)))
            found[f"{name}_r2"] = float(1 - errors.sum() / signal) if signal else None
            found[f"{name}_rmse_of_each"] = np.sqrt(errors / self.n).tolist() if numbers > 1 else []
        return {"regression": found}


def _said(answers: Array, labels: Labels) -> Array:
    """Return the classes ``(n, places)`` that answers ``(n, *shape)`` name; NaN where a score is NaN."""
    from .agreement import top1

    n = len(answers)
    if answers.dtype.kind in "iu":
        return answers.reshape(n, -1)
    if labels.kind == "classes":
        return top1(answers.reshape(n, -1))[:, None]
    y = answers.reshape(n, *_without_ones(answers.shape[1:]))
    if y.shape == labels.values.shape:
        return (y > RIGHT).astype(np.int64).reshape(n, -1)
    return np.asarray(y.argmax(axis=1)).reshape(n, -1)
