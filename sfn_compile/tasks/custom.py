"""A task of the user: a function of the outputs and the labels that gives numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.functions import called, find
from ..evaluation.truth import Answers
from ..foundation.diagnostics import fail

Array = NDArray[Any]
SIDES = ("float", "snn")


@dataclass(frozen=True)
class Custom:
    """``function``, named as ``package.module:function``, is called as ``f(outputs, labels)`` once for each network.

    ``outputs``: by name, an array ``(n, ...)`` or a list with an entry per sample where shapes differ; ``labels`` as
    the data hold them, None without. It returns a number, or numbers by name.
    """

    function: str
    outputs: tuple[str, ...]
    name: str = "custom"

    def begin(self) -> Collected:
        """Return a judge that has seen nothing."""
        return Collected(self)

    def scores(self, outputs: Mapping[str, Any], labels: Any) -> dict[str, float]:
        """Return what the function says of the answers. Raises SFN321."""
        function = find(self.function, "SFN321")
        if not callable(function):
            raise fail("SFN321", "it is no function", self.function)
        found = called(function, self.function, outputs, labels, code="SFN321")
        numbers = found if isinstance(found, Mapping) else {"score": found}
        for name, value in numbers.items():
            if not isinstance(value, Real | np.number):
                raise fail("SFN321", f"it gives {type(value).__name__} for {name!r}, a number is needed", self.function)
        return {str(name): float(value) for name, value in numbers.items()}


@dataclass
class Collected:
    """All answers, as pieces."""

    task: Custom
    labels: list[Any] = field(default_factory=list)
    answers: dict[str, list[Answers]] = field(default_factory=lambda: {side: [] for side in SIDES})

    def add(self, truth: Any, want: Answers, got: Answers) -> None:
        """Keep the answers to some samples."""
        self.labels.append(truth)
        for side, found in zip(SIDES, (want, got), strict=True):
            self.answers[side].append({name: found[name] for name in self.task.outputs})

    def merge(self, other: Collected) -> None:
        """Add the samples behind these."""
        self.labels += other.labels
        for side in SIDES:
            self.answers[side] += other.answers[side]

    def row(self) -> dict[str, Any]:
        """Return the numbers of both networks, by ``float_NAME`` and ``snn_NAME``. Raises SFN321."""
        labels = None if any(part is None for part in self.labels) else np.concatenate(self.labels)
        row: dict[str, Any] = {"function": self.task.function}
        for side in SIDES:
            outputs = {name: _joined([part[name] for part in self.answers[side]]) for name in self.task.outputs}
            row |= {f"{side}_{name}": value for name, value in self.task.scores(outputs, labels).items()}
        return row


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], tuple):
        return [one for part in parts for one in part]
    return np.concatenate(parts)
