"""What the compiler itself decided about populations. Passes read it together with the user's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MORE_LEVELS = "its rounding costs the outputs most: more levels for a share of the neurons"
TWO_DIGITS = "first of two digits: its rounding costs the outputs most"


@dataclass(frozen=True)
class Decision:
    """More levels for one population. ``radix`` above 1: two populations fire them, as digits of that radix."""

    levels: int
    radix: int = 1

    @property
    def reason(self) -> str:
        """Why, for the report."""
        return TWO_DIGITS if self.radix > 1 else MORE_LEVELS


@dataclass(frozen=True)
class Decisions:
    """The decisions by population, never one for which the user asked for levels: those count as they are."""

    sites: Mapping[str, Decision] = field(default_factory=dict)

    @property
    def radices(self) -> dict[str, int]:
        """The radix of every population that fires in two digits."""
        return {name: own.radix for name, own in self.sites.items() if own.radix > 1}

    def levels(self, site: str) -> int | None:
        """Return the levels decided for a population, None where nothing was decided."""
        return self.sites[site].levels if site in self.sites else None

    def reason(self, site: str) -> str:
        """Return why a population has more levels, "" where nothing was decided."""
        return self.sites[site].reason if site in self.sites else ""

    def is_bounded(self, site: str) -> bool:
        """Return whether the levels of a clip must end at its bound, however much noise its inputs bring along.

        Above it codes of two digits would be fired that one population does not fire.
        """
        return site in self.sites and self.sites[site].radix > 1


NO_DECISIONS = Decisions()
