"""Options of the command line that are small languages of their own, read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..foundation.diagnostics import fail
from ..foundation.options import Machine, SiteOptions
from ..search.plan import Search, read_budget, strategy_of


def shapes(values: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Read ``NAME=1,3,32,32``, each an input's shape. Raises SFN605."""
    found = {}
    for text in values:
        name, _, dims = text.rpartition("=")
        try:
            found[name] = tuple(int(d) for d in dims.split(","))
        except ValueError:
            name = ""
        if not name:
            raise fail("SFN605", f"--input-shape {text!r}", fix="write it as name=1,3,32,32")
    return found


def pairs(values: tuple[str, ...]) -> dict[str, str]:
    """Read ``KEY=VALUE``. Raises SFN605."""
    found = {}
    for text in values:
        key, eq, value = text.partition("=")
        if not eq:
            raise fail("SFN605", f"--method-option {text!r}", fix="write it as key=value")
        found[key] = value
    return found


def sites(values: tuple[str, ...]) -> dict[str, SiteOptions]:
    """Read ``NAME:levels=15,weight-bits=4``; a name may hold colons itself. Raises SFN605."""
    kinds: dict[str, Callable[[str], Any]] = {"levels": int, "weight-bits": int, "method": str, "stretch": float}
    found = {}
    for text in values:
        name, _, settings = text.rpartition(":")
        try:
            pairs = [one.split("=") for one in settings.split(",")]
            given = {key.replace("-", "_"): kinds[key](value) for key, value in pairs}
        except (ValueError, KeyError):
            name, given = "", {}
        if not name:
            raise fail(
                "SFN605", f"--site {text!r}", fix="write it as NAME:levels=15,weight-bits=4,method=mse,stretch=1.5"
            )
        found[name] = SiteOptions(**given)
    return found


def search_of(
    strategy: str | None, trials: int | None, objective: str, budget: tuple[str, ...], state: Path | None,
    machine: Machine,
) -> Search | None:  # fmt: skip
    """Return the search that was asked for, if any. Raises SFN605, SFN704."""
    limits = read_budget(budget)
    if strategy is None:
        if trials is not None or limits or state is not None or machine != Machine() or objective != "error":
            raise fail("SFN605", "options of a search without --search", fix="add --search")
        return None
    name, substitute = strategy_of(strategy)
    return Search(name, trials, objective, limits, state, machine, substitute).check()


def names(text: str | None) -> tuple[str, ...]:
    """Read names that commas separate."""
    return tuple(t.strip() for t in (text or "").split(",") if t.strip())
