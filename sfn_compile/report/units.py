"""Numbers as a person reads them."""

from __future__ import annotations


def energy(picojoule: float) -> str:
    """Return an energy in the unit that leaves one to three digits before the point."""
    for unit in ("pJ", "nJ", "µJ"):
        if picojoule < 1000:
            return f"{picojoule:.3g} {unit}"
        picojoule /= 1000
    return f"{picojoule:,.3g} mJ"


def number(value: float) -> str:
    """Return a count with separators."""
    return f"{value:,.0f}"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share in percent; one that is not 0 is never shown as 0."""
    if share is None:
        return "-"
    return f"{100 * share:.{digits}f} %" if share == 0 or 100 * share >= 10**-digits else f"{100 * share:.1g} %"


def decibel(value: float | None) -> str:
    """Return decibels with one digit."""
    return "-" if value is None else f"{value:.1f}"


def ratio(value: float | None) -> str:
    """Return a ratio with three digits."""
    return "-" if value is None else f"{value:.3g}"
