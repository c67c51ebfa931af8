"""A trial: options, what the network that they make answers, and what it costs; the front and the best of many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..foundation.diagnostics import fail
from ..foundation.options import Options
from .plan import COSTS, LOSS, Search


@dataclass(frozen=True)
class Measured:
    """Numbers of one network on the held-out samples.

    ``scores``: ``error``, ``agreement``, ``loss``, and ``accuracy`` where there are labels; ``costs`` per sample:
    ``spikes``, ``synops``, and ``memory`` in bits. ``refused``: the code of a network that cannot be mapped.
    """

    scores: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    refused: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form, which :meth:`read` takes back without losing a digit."""
        return {"scores": dict(self.scores), "costs": dict(self.costs), "refused": self.refused}

    @staticmethod
    def read(found: Mapping[str, Any]) -> Measured:
        """Return what :meth:`as_json` wrote."""
        return Measured(dict(found["scores"]), dict(found["costs"]), str(found["refused"]))


@dataclass(frozen=True)
class Trial:
    """One network that was measured: number 0 is the plain compilation."""

    number: int
    options: Options
    measured: Measured

    def row(self, goal: Goal, base: Options) -> dict[str, Any]:
        """Return the trial for the report."""
        return {
            "number": self.number, "options": differences(self.options, base), **self.measured.as_json(),
            "objective": self.measured.scores.get(goal.objective), "feasible": goal.feasible(self.measured),
        }  # fmt: skip


@dataclass(frozen=True)
class Goal:
    """What is wanted: a good ``objective`` where every cost and loss stays within its limit, in the cost's own unit."""

    objective: str
    limits: Mapping[str, float]

    @property
    def cost(self) -> str:
        """The cost that the objective is weighed against: the first that is limited."""
        return next((name for name in self.limits if name in COSTS), COSTS[0])

    def poorness(self, measured: Measured) -> float:
        """Return the objective as a number that is better where it is lower."""
        if measured.refused:
            return math.inf
        value = measured.scores[self.objective]
        return value if self.objective == "error" else 1.0 - value

    def excess(self, measured: Measured) -> list[float]:
        """Return how far each limit is passed, as a share of it; at most 0 where it is kept."""
        values = {**measured.scores, **measured.costs}
        return [_excess(values.get(name, math.inf), limit) for name, limit in self.limits.items()]

    def feasible(self, measured: Measured) -> bool:
        """Whether every limit is kept."""
        return not measured.refused and all(e <= 0 for e in self.excess(measured))

    def rank(self, trial: Trial) -> tuple[float, ...]:
        """Return what trials are sorted by, the best first.

        Within a limit on the loss fewer spikes are better; else the objective counts, and among equals the error.
        """
        measured = trial.measured
        cost = measured.costs.get(self.cost, math.inf)
        if LOSS in self.limits:
            return cost, self.poorness(measured), trial.number
        return self.poorness(measured), measured.scores.get("error", math.inf), cost, trial.number


def _excess(value: float, limit: float) -> float:
    """Return by which share of the limit a value passes it; a limit of 0 is kept by 0 alone."""
    if limit == 0:
        return math.inf if value > 0 else 0.0
    return value / limit - 1.0


def goal_of(search: Search, plain: Measured) -> Goal:
    """Return the goal with its limits in numbers, from the plain compilation. Raises its code where it is refused."""
    if plain.refused:
        raise fail(plain.refused, "the network cannot be mapped with the options that the search starts from")
    values = {**plain.scores, **plain.costs}
    return Goal(search.objective, {name: limit.of(values[name]) for name, limit in search.limits.items()})


def differences(options: Options, base: Options) -> dict[str, Any]:
    """Return what a trial's options have instead of those that were asked for."""
    ours, theirs = options.as_dict(), base.as_dict()
    return {key: value for key, value in ours.items() if value != theirs[key]}


def front(trials: Sequence[Trial], goal: Goal) -> list[int]:
    """Return the numbers of the trials that no other beats: no better objective at no higher cost, cheapest first."""
    candidates = [t for t in trials if not t.measured.refused]
    ordered = sorted(candidates, key=lambda t: (t.measured.costs[goal.cost], goal.poorness(t.measured), t.number))
    best, found = math.inf, []
    for trial in ordered:
        if goal.poorness(trial.measured) < best:
            best = goal.poorness(trial.measured)
            found.append(trial.number)
    return found
