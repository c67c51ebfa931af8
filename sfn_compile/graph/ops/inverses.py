"""Where a rising function of one number takes a value: inverses of curves, for the cuts of step functions.

Exact where the place is a whole number or a simple one (a sigmoid is 1/2 at 0, an exponential 1 at 0), since values
there are the ones that networks have; elsewhere within a few units of float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

BISECTIONS = 80


def _logit(y: Fraction) -> float:
    return math.log(y / (1 - y))


def _erf_inverse(y: Fraction) -> float:
    """Return by bisection where erf is ``y``; of 0 and of opposite values the places are 0 and opposite."""
    low, high, size = 0.0, 6.0, abs(float(y))
    for _ in range(BISECTIONS if y else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle) < size else (low, middle)
    return math.copysign(low if y else 0.0, y)


# Of each curve: the open interval of its values, and the place of a value inside it.
INVERSES: dict[str, tuple[float, float, Callable[[Fraction], float | Fraction]]] = {
    "sigmoid": (0.0, 1.0, _logit),
    "tanh": (-1.0, 1.0, lambda y: _logit((1 + y) / 2) / 2),
    "exp": (0.0, math.inf, math.log),
    "expm1": (-1.0, math.inf, math.log1p),
    "log": (-math.inf, math.inf, math.exp),
    "erf": (-1.0, 1.0, _erf_inverse),
    "atan": (-math.pi / 2, math.pi / 2, math.tan),
    "softplus": (0.0, math.inf, lambda y: float(y) + math.log(-math.expm1(-y))),
    "softsign": (-1.0, 1.0, lambda y: y / (1 - abs(y))),
}


def place_of(curve: str, value: Fraction) -> Fraction | None:
    """Return where a curve takes a value, None where it does nowhere.

    >>> place_of("sigmoid", Fraction(1, 2)), place_of("softsign", Fraction(-1, 2)), place_of("exp", Fraction(-1))
    (Fraction(0, 1), Fraction(-1, 1), None)
    """
    low, high, inverse = INVERSES[curve]
    if not low < value < high:
        return None
    try:
        return Fraction(inverse(value))
    except (OverflowError, ValueError, ZeroDivisionError):  # beyond what float64 holds
        return None
