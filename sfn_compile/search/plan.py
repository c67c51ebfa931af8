"""What to search for: strategy, objective and budget, as the command line says them. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..foundation.diagnostics import Diagnostic, fail
from ..foundation.options import ONE_PROCESS, Machine

STRATEGIES = ("tpe", "grid", "allocate", "compress")
OBJECTIVES = ("error", "agreement", "accuracy")
COSTS = ("spikes", "synops", "memory")
LOSS = "loss"
DEFAULT_TRIALS = 40
INSTALL = "pip install 'sfnc[search]'"


@dataclass(frozen=True)
class Limit:
    """A largest cost or loss: ``value`` times that of the plain compilation where ``relative``, else as it stands."""

    value: float
    relative: bool

    def of(self, plain: float) -> float:
        """Return the limit in the unit of the cost."""
        return self.value * plain if self.relative else self.value

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form for the report."""
        return {"value": self.value, "relative": self.relative}


@dataclass(frozen=True)
class Search:
    """A search as it was asked for.

    ``trials``: networks that are measured at most; None is 40 of ``tpe`` and ``grid``, and as many as there are layers
    and choices of ``allocate`` and ``compress``. ``state``: the file that measured trials are kept in [default: beside
    the build, until it is written]. ``substitute``: ``grid`` stands in for ``tpe``, which is not installed.
    """

    strategy: str
    trials: int | None = None
    objective: str = "error"
    budget: Mapping[str, Limit] = field(default_factory=dict)
    state: Path | None = None
    machine: Machine = ONE_PROCESS
    substitute: bool = False

    def check(self) -> Search:
        """Return self. Raises SFN605 for values out of range, SFN704 where the strategy is not installed."""
        if self.trials is not None and self.trials < 1:
            raise fail("SFN605", f"--trials {self.trials}; at least 1 is needed")
        if self.strategy == "tpe" and not has_optuna():
            raise fail("SFN704", "--search tpe needs optuna", fix=f"{INSTALL}, or --search grid")
        if LOSS in self.budget and self.strategy != "compress":
            raise fail("SFN605", f"--budget loss is of --search compress, not of {self.strategy}")
        self.machine.check()
        return self

    @property
    def limits(self) -> Mapping[str, Limit]:
        """The budget, or what the layer-wise strategies take where none is given."""
        if self.budget or self.strategy not in ("allocate", "compress"):
            return self.budget
        return {"spikes": Limit(0.5, True)} if self.strategy == "allocate" else {LOSS: Limit(1.5, True)}

    @property
    def n_trials(self) -> int:
        """Return how many networks ``tpe`` and ``grid`` measure."""
        return DEFAULT_TRIALS if self.trials is None else self.trials

    @property
    def warnings(self) -> list[Diagnostic]:
        """What is to be said aloud of the search itself."""
        what = "optuna is not installed: a grid was searched instead of tpe"
        return [Diagnostic("SFN705", what, fix=INSTALL)] if self.substitute else []


def has_optuna() -> bool:
    """Whether optuna can be imported."""
    try:
        return find_spec("optuna") is not None
    except ValueError:  # what stands in its place is no module
        return False


def strategy_of(name: str) -> tuple[str, bool]:
    """Return the strategy that ``--search NAME`` means, and whether it is a substitute for the one meant."""
    if name != "auto":
        return name, False
    return ("tpe", False) if has_optuna() else ("grid", True)


def read_budget(texts: tuple[str, ...]) -> dict[str, Limit]:
    """Return the limits of ``spikes=0.5,memory=2e6``. Raises SFN605.

    A cost of at most 1 is a share of the plain compilation's, above 1 a number as it stands; a loss is always a factor
    of the plain compilation's.

    >>> read_budget(("spikes=0.5,synops=2e6",))["synops"]
    Limit(value=2000000.0, relative=False)
    """
    found = {}
    for text in (part for group in texts for part in group.split(",")):
        name, _, number = text.strip().partition("=")
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if name not in (*COSTS, LOSS) or not 0 < value < float("inf"):
            wanted = f"one of {', '.join((*COSTS, LOSS))}, with a number above 0: spikes=0.5"
            raise fail("SFN605", f"--budget {text!r}", fix=wanted)
        found[name] = Limit(value, name == LOSS or value <= 1)
    return found
