"""What to search for: strategy, objective and budget, as the command line says them. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..foundation.declaration import check_options, option, required
from ..foundation.diagnostics import Diagnostic, fail
from ..foundation.option_values import read_path
from ..foundation.options import ONE_PROCESS, Machine

STRATEGIES = ("tpe", "grid", "allocate", "compress")
OBJECTIVES = ("error", "agreement", "accuracy")
COSTS = ("spikes", "synops", "memory")
LOSS = "loss"
DEFAULT_TRIALS = 40
INSTALL = "pip install 'sfnc[search]'"


@dataclass(frozen=True)
class Limit:
    """A largest cost or loss: ``value`` times that of the plain compilation where ``relative``, else as it is."""

    value: float
    relative: bool

    def of(self, plain: float) -> float:
        """Return the limit in the unit of the cost."""
        return self.value * plain if self.relative else self.value

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form for the report."""
        return {"value": self.value, "relative": self.relative}


def read_budget(given: str | Iterable[str] | Mapping[str, float | Limit]) -> dict[str, Limit]:
    """Return the limits of ``spikes=0.5,memory=2e6``, of several such texts or of a mapping. Raises SFN605.

    A cost of at most 1 is a share of the plain compilation's, above 1 a number as it is; a loss is always a factor
    of the plain compilation's.

    >>> read_budget(("spikes=0.5,synops=2e6",))["synops"]
    Limit(value=2000000.0, relative=False)
    """
    if isinstance(given, Mapping):
        return {n: x if isinstance(x, Limit) else _limit(n, str(x), f"{n}={x}") for n, x in given.items()}
    found = {}
    for text in (part for group in ((given,) if isinstance(given, str) else given) for part in group.split(",")):
        name, _, number = text.strip().partition("=")
        found[name] = _limit(name, number, text)
    return found


def _limit(name: str, number: str, text: str) -> Limit:
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if name not in (*COSTS, LOSS) or not 0 < value < float("inf"):
        wanted = f"one of {', '.join((*COSTS, LOSS))}, with a number above 0: spikes=0.5"
        raise fail("SFN605", f"--budget {text!r}", fix=wanted)
    return Limit(value, name == LOSS or value <= 1)


@dataclass(frozen=True)
class Search:
    """A search as it was asked for. ``substitute``: ``grid`` stands in for ``tpe``, which is not installed."""

    # fmt: off
    strategy: str = field(metadata=required(
        "Search for levels, steps and weight bits of each layer.", "search", name="search",
        choices=("auto", *STRATEGIES), metavar="STRATEGY", alone="auto", accepts="str | Search | None",
        unset="no search; alone: tpe, or grid without optuna",
        note="[What is searched, and what is promised](search.md)."))
    trials: int | None = option(
        None, "Networks that a search measures.", "search", lowest=1, unset="40; allocate, compress: by layer")
    objective: str = option(
        "error", "What is wanted: little error of the outputs, agreement with the float model, or accuracy.",
        "search", choices=OBJECTIVES, metavar="OBJECTIVE")
    budget: Mapping[str, Limit] = option(
        {}, "Limits: spikes, synops, memory; up to 1 a share of the plain compilation's.", "search",
        metavar="COST=X,...", flags=("--budget",), read=read_budget, accepts="str | Mapping[str, float | Limit]",
        note="`loss`, of `compress` only: a factor of the plain compilation's.")
    state: Path | None = option(
        None, "Keeps measured trials.", "search", name="search_state", metavar="FILE", read=read_path,
        accepts="str | Path | None", unset="beside OUT until it is written")
    # fmt: on
    machine: Machine = ONE_PROCESS
    substitute: bool = False

    def check(self) -> Search:
        """Return self. Raises SFN605 for values out of range, SFN704 where the strategy is not installed."""
        check_options(self)
        if self.strategy not in STRATEGIES:
            raise fail("SFN605", f"no strategy {self.strategy!r}", fix=f"one of {', '.join(STRATEGIES)}")
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
        """Warnings and notes about the search itself."""
        what = "optuna is not installed: a grid was searched instead of tpe"
        return [Diagnostic("SFN705", what, fix=INSTALL)] if self.substitute else []


def has_optuna() -> bool:
    """Whether optuna can be imported."""
    try:
        return find_spec("optuna") is not None
    except ValueError:  # what is in its place is no module
        return False


def strategy_of(name: str) -> tuple[str, bool]:
    """Return the strategy that ``--search NAME`` means, and whether it is a substitute for the one meant."""
    if name != "auto":
        return name, False
    return ("tpe", False) if has_optuna() else ("grid", True)
