"""Numbers as a person reads them."""

from __future__ import annotations

from ..foundation.reasons import EXACT_DB, NO_ERROR


def energy(picojoule: float) -> str:
    """Return an energy in three digits, in the unit that leaves one to three before the point.

    >>> energy(0.0123), energy(999.4), energy(999.6), energy(1.5e6), energy(2e13)
    ('0.0123 pJ', '999 pJ', '1.00 nJ', '1.50 µJ', '20,000 mJ')
    """
    for unit in ("pJ", "nJ", "µJ"):
        if picojoule < 999.5:
            return f"{_three_digits(picojoule)} {unit}"
        picojoule /= 1000
    return f"{_three_digits(picojoule)} mJ" if picojoule < 999.5 else f"{picojoule:,.0f} mJ"


def _three_digits(value: float) -> str:
    if value < 0.9995:
        return f"{value:.3g}"
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def number(value: float) -> str:
    """Return a count with separators."""
    return f"{value:,.0f}"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share in percent; one that is not 0 is never shown as 0."""
    if share is None:
        return "-"
    return f"{100 * share:.{digits}f} %" if share == 0 or 100 * share >= 10**-digits else f"{100 * share:.1g} %"


def decibel(value: float | None, why: str = NO_ERROR, unit: str = "") -> str:
    """Return decibels with one digit; "exact" where there is no error beyond the float network's own rounding; "-"
    where a value cannot have one. ``why``: the reason of a value that is null."""
    if value is None:
        return "exact" if why.startswith(NO_ERROR) else "-"
    return "exact" if value >= EXACT_DB else f"{value:.1f}{unit}"


def gained(float_share: float, spiking_share: float) -> str:
    """Return the difference of two accuracies in points, as lost or gained.

    >>> gained(0.99, 0.98), gained(0.97, 0.99), gained(0.5, 0.5)
    ('1.00 points lost', '2.00 points gained', 'none lost')
    """
    points = round(100 * (spiking_share - float_share), 2)
    return f"{abs(points):.2f} points {'gained' if points > 0 else 'lost'}" if points else "none lost"


def ratio(value: float | None) -> str:
    """Return a ratio with three digits."""
    return "-" if value is None else f"{value:.3g}"
