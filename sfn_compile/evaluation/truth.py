"""What the answers of both networks are judged by: labels, and a task that knows what its own labels mean.

A task is defined above this room (:mod:`sfn_compile.tasks`); here is what it has to be, so that pieces of the data may
be judged in any process and put together in the order of the samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from .labels import Labels

Answers = Mapping[str, Any]  # by output: an array (n, ...), or a tuple with an array per sample


class Judge(Protocol):
    """What a task makes of the answers, as sums or lists that can be merged."""

    def add(self, truth: Any, want: Answers, got: Answers) -> None:
        """Add some samples: what the task holds of them (None without labels), the float network's answers, ours."""

    def merge(self, other: Any) -> None:
        """Add the samples behind these."""

    def row(self) -> dict[str, Any]:
        """Return the result for ``eval.json``."""


class Task(Protocol):
    """A kind of answers and how they are judged. It is sent to other processes, so it can be pickled."""

    @property
    def name(self) -> str:
        """The name of its section in ``eval.json``."""

    def begin(self) -> Judge:
        """Return a judge that has seen nothing."""


@dataclass(frozen=True, eq=False)
class Truth:
    """Labels of samples, sliced as the samples are; ``held`` is what the task judges by, None without labels."""

    labels: Labels | None = None
    task: Task | None = None
    held: Any = None

    def __getitem__(self, chosen: Any) -> Truth:
        labels = None if self.labels is None else self.labels[chosen]
        return replace(self, labels=labels, held=None if self.held is None else self.held[chosen])
