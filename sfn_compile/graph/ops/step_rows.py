"""Step functions whose constants differ from place to place: one row of steps per kind of neuron, and their codes.

The values of every row become integers on one step of its own. Values on a common grid are exact; any others are as
near as codes up to :data:`MOST_CODE` come to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .expression import Expression
from .pieces import StepFunction, step_function

Array = NDArray[Any]

MOST_CODE = 255  # the largest code of values that lie on no grid of fewer
MOST_VALUES = 1 << 12
MOST_WORK = 1 << 17  # steps of the expression, times rows, times pieces


@dataclass(frozen=True, eq=False)
class StepRows:
    """A step function per kind of neuron: ``rows``, the real value of one code of each, ``codes`` of all together.

    ``place`` says which row each place of the constants has. ``exact``: whether ``step * code`` is each value.
    """

    rows: tuple[StepFunction, ...]
    place: Array
    steps: Array
    codes: tuple[int, ...]
    exact: bool

    @property
    def step(self) -> Array:
        """The real value of one code, in the shape of the constants."""
        return self.steps[self.place]

    def ranks(self, row: int, values: Sequence[Fraction]) -> Array:
        """Return the indices, in ``codes``, of the values of row ``row``, in their order."""
        codes = [round(v / Fraction(float(self.steps[row]))) for v in values]
        return np.searchsorted(self.codes, codes)

    @property
    def width(self) -> Array | None:
        """By how much the input has to rise for one more code, in the shape of the constants: where every row rises by
        one code at evenly spaced cuts, None otherwise."""
        if len(self.codes) < 3 or len(self.codes) != self.codes[-1] - self.codes[0] + 1:
            return None
        widths = [_width(row, Fraction(float(step))) for row, step in zip(self.rows, self.steps, strict=True)]
        known = [w for w in widths if w is not None]
        return None if len(known) < len(widths) else np.array(known)[self.place]


def _width(row: StepFunction, step: Fraction) -> float | None:
    """Return the distance of a row's cuts, None where they are not evenly spaced or it does not rise by a step."""

    def alike(values: Sequence[Fraction], one: Fraction) -> bool:
        return all(abs(b - a - one) <= abs(one) / (1 << 30) for a, b in pairwise(values))

    if len(row.cuts) < 2 or not alike(row.between, step):
        return None
    width = (row.cuts[-1] - row.cuts[0]) / (len(row.cuts) - 1)
    return float(width) if alike(row.cuts, width) else None


def known_steps(body: Expression) -> StepRows:
    """Return the rows of an expression that is known to be a step function."""
    found = step_rows(body)
    assert found is not None
    return found


@lru_cache(maxsize=64)
def step_rows(body: Expression) -> StepRows | None:
    """Return what a function of at most :data:`MOST_VALUES` values is, None where it takes more."""
    constants = np.broadcast_arrays(*body.constants()) if body.constants() else [np.zeros(())]
    shape = constants[0].shape
    kinds, place = np.unique(np.stack([c.reshape(-1) for c in constants], 1), axis=0, return_inverse=True)
    first = np.unique(place.reshape(-1), return_index=True)[1]
    rows = list[StepFunction]()
    for at in first.tolist():
        own = body.with_constants(lambda c, at=at: np.broadcast_to(c, shape).reshape(-1)[at])  # type: ignore[misc]
        found = step_function(own)
        if found is None or not found.cuts or len(found.values) > MOST_VALUES:
            return None
        if len(body.steps) * len(kinds) * len(found.between) > MOST_WORK:
            return None
        rows.append(found)
    return _coded(tuple(rows), place.reshape(shape))


def _coded(rows: tuple[StepFunction, ...], place: Array) -> StepRows | None:
    exact = [_grid(r.values) for r in rows]
    steps = [_nearest_grid(r.values) if g is None else g for r, g in zip(rows, exact, strict=True)]
    codes = sorted({round(v / s) for r, s in zip(rows, steps, strict=True) for v in r.values})
    if len(codes) > MOST_VALUES:
        return None
    return StepRows(rows, place, np.array([float(s) for s in steps]), tuple(codes), None not in exact)


def _grid(values: Sequence[Fraction]) -> Fraction | None:
    """Return the largest number of which all values are multiples, as nearly as float32 tells; None where no code up to
    :data:`MOST_CODE` is enough."""
    top = max(abs(v) for v in values)
    for k in range(1, MOST_CODE + 1):
        unit = top / k
        if all(abs(v - round(v / unit) * unit) <= abs(v) / (1 << 24) for v in values):
            return unit
    return None


def _nearest_grid(values: Sequence[Fraction]) -> Fraction:
    """Return the step of codes up to :data:`MOST_CODE` whose largest error, relative to the value, is the smallest."""
    real = np.array([float(v) for v in values])
    real = real[real != 0]
    units = np.abs(real).max() / np.arange(1, MOST_CODE + 1)
    codes = np.rint(real / units[:, None])
    error = np.abs(codes * units[:, None] / real - 1).max(axis=1)
    return Fraction(float(units[error.argmin()]))
