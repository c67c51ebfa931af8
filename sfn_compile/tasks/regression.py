"""Real numbers: root mean squared error and R2 of every output and of every number in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.truth import Answers
from ..foundation.decibel import CONSTANT, Varying

Array = NDArray[Any]
SIDES = ("float", "snn")
MANY = 64  # numbers of an output that are told of one by one


@dataclass(frozen=True)
class Regression:
    """Real numbers in ``outputs``, each with the numbers of a sample; labels hold those of all, side by side."""

    outputs: tuple[tuple[str, int], ...]
    name: str = "regression"

    def begin(self) -> Errors:
        """Return a judge that has seen nothing."""
        return Errors(self)


@dataclass
class Sums:
    """Squared errors of one output by its numbers, and how much the right values vary."""

    right: Varying = field(default_factory=Varying)
    squares: dict[str, Array] = field(default_factory=dict)

    def add(self, right: Array, said: dict[str, Array]) -> None:
        """Add right values ``(n, numbers)`` and what was said instead."""
        self.right.add(right[:, :, None])
        for side, values in said.items():
            found = ((values - right) ** 2).sum(axis=0)
            self.squares[side] = self.squares[side] + found if side in self.squares else found

    def merge(self, other: Sums) -> None:
        """Add the samples behind these."""
        self.right.merge(other.right)
        for side, found in other.squares.items():
            self.squares[side] = self.squares[side] + found if side in self.squares else found

    def scores(self, side: str) -> dict[str, Any]:
        """Return root mean squared error and R2, of all numbers and of each; R2 is null where nothing varies."""
        errors, n = self.squares[side], self.right.n
        signals = np.asarray(self.right.of_channels).reshape(-1)
        constant = signals <= CONSTANT * max(self.right.power, 0)
        of_each = [None if c else float(1 - e / s) for e, s, c in zip(errors, signals, constant, strict=True)]
        found: dict[str, Any] = {
            "rmse": float(np.sqrt(errors.sum() / (n * len(errors)))),
            "r2": float(1 - errors.sum() / self.right.signal) if self.right.signal else None,
        }
        if 1 < len(errors) <= MANY:
            found |= {"rmse_of_each": np.sqrt(errors / n).tolist(), "r2_of_each": of_each}
        return found


@dataclass
class Errors:
    """The sums of every output, by labels and of the spiking network against the float one."""

    task: Regression
    by_labels: dict[str, Sums] = field(default_factory=dict)
    by_float: dict[str, Sums] = field(default_factory=dict)

    def add(self, truth: Array | None, want: Answers, got: Answers) -> None:
        """Add targets ``(n, numbers of all outputs)``, if there are some, and both answers."""
        start = 0
        for name, size in self.task.outputs:
            a, b = (np.asarray(y[name], np.float64).reshape(-1, size) for y in (want, got))
            self.by_float.setdefault(name, Sums()).add(a, {"snn": b})
            if truth is not None:
                right = truth.reshape(len(a), -1)[:, start : start + size]
                self.by_labels.setdefault(name, Sums()).add(right.astype(np.float64), {"float": a, "snn": b})
            start += size

    def merge(self, other: Errors) -> None:
        """Add the samples behind these."""
        for own, others in ((self.by_labels, other.by_labels), (self.by_float, other.by_float)):
            for name, sums in others.items():
                if name in own:
                    own[name].merge(sums)
                else:
                    own[name] = sums

    def row(self) -> dict[str, Any]:
        """Return the scores of all outputs together and of every one; by labels they are null where there are none."""
        first = next(iter(self.by_float.values()))
        row: dict[str, Any] = {"n": first.right.n, "numbers": sum(size for _, size in self.task.outputs)}
        for side in SIDES:
            row |= _pooled(list(self.by_labels.values()), side)
        return {
            **row,
            "of_outputs": {name: {side: sums.scores(side) for side in SIDES} for name, sums in self.by_labels.items()},
            "against_float": {name: sums.scores("snn") for name, sums in self.by_float.items()},
        }


def _pooled(outputs: list[Sums], side: str) -> dict[str, Any]:
    """Return root mean squared error and R2 over the numbers of all outputs."""
    if not outputs:
        return {f"{side}_rmse": None, f"{side}_r2": None, f"{side}_rmse_of_each": []}
    errors = np.concatenate([sums.squares[side] for sums in outputs])
    n, signal = outputs[0].right.n, sum(sums.right.signal for sums in outputs)
    return {f"{side}_rmse": float(np.sqrt(errors.sum() / (n * len(errors)))),
            f"{side}_r2": float(1 - errors.sum() / signal) if signal else None,
            f"{side}_rmse_of_each": np.sqrt(errors / n).tolist() if len(errors) > 1 else []}  # fmt: skip
