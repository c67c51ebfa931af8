"""The functions that scalar expressions are made of, in float64, each defined for every number.

Where a function is not defined, its argument is brought to the nearest one where it is: ``sqrt`` and ``log`` read a
negative number as 0 or as the smallest positive one, a divisor of 0 is the smallest positive number. So an expression
has a value at every accumulator, also at those that no sample reaches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

TINY = 2.0**-1000  # stands for 0 where 0 is not allowed; its reciprocal is still finite
EXP_LIMIT = 700.0  # exp of it is finite


def _erf_table(nodes: int = 385, per_unit: int = 64, terms: int = 8) -> Array:
    """Return the Taylor coefficients of erf around ``i / per_unit``: ``(nodes, terms)``, from ``math.erf``."""
    x = np.arange(nodes) / per_unit
    table = np.empty((nodes, terms))
    table[:, 0] = [math.erf(v) for v in x]
    before, hermite = np.zeros(nodes), np.ones(nodes)  # the derivatives of erf are Hermite polynomials times a bell
    bell = 2 / math.sqrt(math.pi) * np.exp(-x * x)
    for k in range(1, terms):
        table[:, k] = (-1) ** (k - 1) * hermite * bell / math.factorial(k)
        before, hermite = hermite, 2 * x * hermite - 2 * (k - 1) * before
    return table


_ERF = _erf_table()


def erf(x: Array) -> Array:
    """Return the error function, to two units in the last place of 1.

    >>> [float(v) for v in erf(np.array([-9.0, 0.0, 0.25])).round(12)]
    [-1.0, 0.0, 0.276326390168]
    """
    size = np.minimum(np.abs(x), 6.0)  # from 6 on erf is 1 in float64
    node = np.rint(np.nan_to_num(size) * 64).astype(np.intp)
    rest = size - node / 64
    found = np.zeros_like(size)
    for k in range(_ERF.shape[1] - 1, -1, -1):
        found = found * rest + _ERF[node, k]
    return np.copysign(found, x)


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)) without overflow for any x."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0 / (1.0 + small), small / (1.0 + small))


def _away_from_zero(x: Array) -> Array:
    return np.where(np.abs(x) < TINY, TINY, x)


def _pow(base: Array, exponent: Array) -> Array:
    whole = exponent == np.rint(exponent)
    inside = np.where(whole, np.where(exponent < 0, _away_from_zero(base), base), np.maximum(base, 0.0))
    return np.power(inside, exponent)


def _where(condition: Array, x: Array, y: Array) -> Array:
    return np.where(condition != 0, x, y)


FUNCTIONS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": lambda x, y: x / _away_from_zero(y),
    "pow": _pow,
    "min": lambda *xs: reduce(np.minimum, xs),
    "max": lambda *xs: reduce(np.maximum, xs),
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,  # halves to the even neighbour, as in ONNX
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0.0)),
    "exp": lambda x: np.exp(np.minimum(x, EXP_LIMIT)),
    "expm1": lambda x: np.expm1(np.minimum(x, EXP_LIMIT)),
    "log": lambda x: np.log(np.maximum(x, TINY)),
    "erf": erf,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(0.0, x),
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "sin": np.sin,
    "cos": np.cos,
    "atan": np.arctan,
    "greater": lambda x, y: (x > y).astype(np.float64),
    "greater_equal": lambda x, y: (x >= y).astype(np.float64),
    "equal": lambda x, y: (x == y).astype(np.float64),
    "where": _where,
}

# Functions of one argument that never decrease.
RISING = frozenset({"sign", "floor", "ceil", "round", "sqrt", "exp", "expm1", "log", "erf", "sigmoid", "tanh",
                    "softplus", "softsign", "atan"})  # fmt: skip
# Functions that are not defined everywhere, or that repeat for ever: what no sample reached is no part of them.
LOCAL = frozenset({"div", "pow", "sqrt", "log", "sin", "cos"})
