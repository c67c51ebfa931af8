"""Thresholds of step functions, exactly: where an accumulator passes a cut of the function, decided in rationals.

Before a cut, at it and behind it a step function has three values, so ``x > c``, ``x >= c`` and ``sign(x)`` differ at
accumulators that are worth ``c`` and nowhere else. ``alpha * acc + beta`` and ``c`` come of float32 constants: an
accumulator that float32 cannot tell from the cut is at it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...graph.ops.step_rows import StepRows
from ...program.network import Table, Uniform
from .scalar_tables import code_table

Array = NDArray[Any]
Edges: TypeAlias = tuple[Array, Array]  # where a neuron's value changes; the places of its codes before and behind each

SAME = Fraction(1, 1 << 22)  # two float32 numbers that are rounded apart differ by so much of their size
FAR = 1 << 40  # beyond every accumulator, with room for thresholds that are evenly spaced
LEAST = Fraction(1, 1 << 10)  # ... but accumulators that are told apart by less than this of a unit are different


@dataclass(frozen=True, eq=False)
class Stairs:
    """What makes places of codes of accumulators, one row per kind of neuron.

    A row's code is ``ranks[i]`` from the accumulator ``edges[i - 1]`` on. Accumulators lie in low..high.
    """

    edges: Array
    ranks: Array
    low: int
    high: int

    def codes(self, kind: Array, acc: Array) -> Array:
        """Return the places of the codes of accumulators of the given kinds, arrays of one shape."""
        passed = (self.edges[kind] <= acc[..., None]).sum(axis=-1)
        return np.asarray(self.ranks[kind, passed])

    def marks(self) -> Array:
        """Return accumulators ``(rows, m)``, ascending; a row's code changes only between two that are neighbours."""
        column = np.ones((len(self.edges), 1), np.int64)
        found = np.concatenate([column * self.low, self.edges - 1, self.edges, column * self.high], axis=1)
        return np.sort(np.clip(found, self.low, self.high), axis=1)


def step_ladder(steps: StepRows, row: Array, alpha: Array, beta: Array, ends: tuple[int, int]) -> Table | Uniform:
    """Return the ladder of neurons of the step functions ``row`` ``(n,)``: uniform where it can be said so exactly."""
    kinds = [_edges(steps, int(r), a, b) for r, a, b in zip(row, alpha.tolist(), beta.tolist(), strict=True)]
    return _uniform(kinds, steps.codes) or _table(kinds, steps.codes, ends)


def _table(kinds: list[Edges], codes: tuple[int, ...], ends: tuple[int, int]) -> Table:
    most = max(len(edges) for edges, _ in kinds)
    edges = np.full((len(kinds), most), ends[1] + 1, np.int64)
    ranks = np.empty((len(kinds), most + 1), np.int64)
    for i, (found, ranked) in enumerate(kinds):
        edges[i, : len(found)] = np.clip(found, ends[0], ends[1] + 1)
        ranks[i, : len(ranked)], ranks[i, len(ranked) :] = ranked, ranked[-1]
    stairs = Stairs(edges, ranks, *ends)
    table, sequence = code_table(stairs, stairs.marks())
    return Table(table, np.array(codes)[sequence])


def _uniform(kinds: list[Edges], codes: tuple[int, ...]) -> Uniform | None:
    """Return the uniform ladder of neurons whose thresholds are evenly spaced, None where those of one are not."""
    if codes[-1] - codes[0] + 1 != len(codes):
        return None
    wanted = np.arange(1, len(codes))
    rows = []
    for edges, ranks in kinds:
        if (np.diff(ranks) < 0).any() or ranks[0] != 0 or ranks[-1] != len(codes) - 1:
            return None
        rows.append(edges[np.searchsorted(ranks[1:], wanted)])
    due = np.array(rows)
    theta = due[:, 1] - due[:, 0] if len(codes) > 2 else np.ones(len(due), np.int64)
    if (theta <= 0).any() or (np.diff(due, axis=1) != theta[:, None]).any():
        return None
    return Uniform(theta, (codes[0] + 1) * theta - due[:, 0], codes[0], codes[-1])


def _edges(steps: StepRows, row: int, alpha: float, beta: float) -> Edges:
    """Return where a neuron's value changes, and the places of its codes before, between and behind."""
    own = steps.rows[row]
    edges, values = list[int](), [own.between[0]]
    for cut, at, behind in zip(own.cuts, own.at, own.between[1:], strict=True):
        edges += [max(-FAR, min(e, FAR)) for e in _around(cut, Fraction(alpha), Fraction(beta))]
        values += [at, behind]
    return np.array(edges, np.int64), steps.ranks(row, values)


def _around(cut: Fraction, alpha: Fraction, beta: Fraction) -> tuple[int, int]:
    """Return the first accumulator at or behind a cut, and the first behind it.

    >>> _around(Fraction(3, 2), Fraction(1, 2), Fraction(0)), _around(Fraction(3, 2), Fraction(1), Fraction(0))
    ((3, 4), (2, 2))
    """
    exact = (cut - beta) / alpha
    whole = round(exact)
    if abs(exact - whole) <= min(SAME * max(abs(whole), 1), LEAST):
        return whole, whole + 1
    return math.ceil(exact), math.ceil(exact)
