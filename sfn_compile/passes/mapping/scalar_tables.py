"""Tables of thresholds for any scalar function, also one that rises and falls.

The code of an accumulator is ``clip(floor(f(alpha * acc + beta) / D + 1/2), lo, hi)`` in float64. Between the turning
points of f it is monotone, so every accumulator at which it changes is found by bisection. All neurons share one
sequence of codes that rises and falls like f; a neuron that does not reach a code of it passes several thresholds at
one accumulator, and the codes between them are never seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...graph.graph import Levels
from ...graph.ops import Expression
from .turning_points import turning_points

Array = NDArray[Any]

TASKS_AT_A_TIME = 1 << 20  # bisections in one array operation
_EMPTY = np.array([[np.iinfo(np.int64).max], [np.iinfo(np.int64).min]])  # lowest and highest of no codes


@dataclass(frozen=True, eq=False)
class Scalar:
    """What makes codes of accumulators, one row per kind of neuron: ``alpha``, ``beta``, step of ``levels`` ``(n,)``.

    The constants of ``body`` that differ from place to place have shape ``(n,)`` too. Accumulators lie in low..high.
    """

    body: Expression
    alpha: Array
    beta: Array
    levels: Levels
    low: int
    high: int

    def codes(self, kind: Array, acc: Array) -> Array:
        """Return the codes of accumulators of the given kinds (arrays of one shape); of a book, their places in it."""
        real = self.body.with_constants(lambda c: c[kind]).evaluate(self.alpha[kind] * acc + self.beta[kind])
        levels = replace(self.levels, step=self.levels.step[kind])
        return (levels.quantize(real) if levels.book is None else levels.ranks(real)).astype(np.int64)


class Coded(Protocol):
    """What makes codes, or places of codes, of accumulators low..high, one row per kind of neuron."""

    @property
    def low(self) -> int:
        """The lowest accumulator."""

    @property
    def high(self) -> int:
        """The highest accumulator."""

    def codes(self, kind: Array, acc: Array) -> Array:
        """Return the codes of accumulators of the given kinds, arrays of one shape."""


def scalar_table(site: Scalar) -> tuple[Array, Array]:
    """Return the thresholds ``(n, k)`` and the ``k + 1`` codes of a site."""
    table, sequence = code_table(site, _marks(site))
    book = site.levels.book
    return table, sequence if book is None else np.array(book)[sequence]


def code_table(site: Coded, marks: Array) -> tuple[Array, Array]:
    """Return the thresholds ``(n, k)`` and the sequence of ``k + 1`` codes, monotone between ``marks`` ``(n, m)``."""
    rows = np.arange(len(marks))
    codes = site.codes(np.broadcast_to(rows[:, None], marks.shape), marks)
    run, span = _aligned(codes, *_runs(codes))
    first, turns = _turns(span)
    sequence = np.concatenate([turns[:1], *(_steps(a, b) for a, b in pairwise(turns))])
    ends = np.concatenate([[0], np.cumsum(np.abs(np.diff(turns)))])

    def place(r: Array, code: Array) -> Array:
        return ends[r - first] + np.abs(code - turns[r - first])

    table = np.full((len(marks), len(sequence)), site.high + 1, np.int64)
    table[rows, place(run[:, 0], codes[:, 0])] = site.low
    for kind, pair, code in _tasks(codes):
        table[kind, place(run[kind, pair], code)] = _bisected(
            site, kind, marks[kind, pair], marks[kind, pair + 1], code
        )
    table = np.minimum.accumulate(table[:, ::-1], axis=1)[:, ::-1]  # what is passed over is passed with the next
    return np.ascontiguousarray(table[:, 1:]), sequence


def _marks(site: Scalar) -> Array:
    """Return accumulators ``(n, m)``, sorted, between which f is monotone: the ends and both sides of every turn."""
    ends = site.alpha * site.low + site.beta, site.alpha * site.high + site.beta
    step, lo, hi = site.levels.step, site.levels.lo, site.levels.hi
    top = float(step.max())
    turns = turning_points(site.body, *ends, (lo - 1) * top, (hi + 1) * top, float(step.min()))
    turns = np.clip(turns, ends[0][:, None], ends[1][:, None])
    near = np.floor((turns - site.beta[:, None]) / site.alpha[:, None]).astype(np.int64)
    column = np.ones((len(site.alpha), 1), np.int64)
    found = np.concatenate([column * site.low, near - 1, near, near + 1, near + 2, column * site.high], axis=1)
    return np.sort(np.clip(found, site.low, site.high), axis=1)


def _runs(codes: Array) -> tuple[Array, Array]:
    """Return (number of the monotone run of every pair of neighbouring marks ``(n, m - 1)``, from 0 in every row;
    direction of each row's first run ``(n,)``, 0 where the code never changes)."""
    direction = np.sign(np.diff(codes, axis=1))
    moves = direction != 0
    last = np.maximum.accumulate(np.where(moves, np.arange(direction.shape[1]), -1), axis=1)
    last = np.where(last < 0, moves.argmax(axis=1)[:, None], last)  # before the first change: as the first change
    direction = np.take_along_axis(direction, last, axis=1)
    turned = np.cumsum(direction[:, 1:] != direction[:, :-1], axis=1)
    return np.concatenate([np.zeros_like(direction[:, :1]), turned], axis=1), direction[:, 0]


def _aligned(codes: Array, run: Array, direction: Array) -> tuple[Array, Array]:
    """Return (the runs numbered alike in all rows: even ones rise, odd ones fall; their lowest and highest codes).

    Rows with few runs join those with many where that makes the common sequence longer by the fewest codes.
    """
    kinds = sorted({(not d, -int(c), int(d)) for c, d in zip(run[:, -1], direction, strict=True)})
    aligned, whole = run.copy(), np.tile(_EMPTY, (1, 2))
    for _, last, d in kinds:
        rows = (run[:, -1] == -last) & (direction == d)
        span = _span(codes[rows], run[rows])
        starts = [s for s in range(whole.shape[1]) if d == 0 or s % 2 == (d < 0)]
        joint = [_joined(whole, span, s) for s in starts]
        best = int(np.argmin([np.abs(np.diff(_turns(j)[1])).sum() for j in joint]))
        aligned[rows] += starts[best]
        whole = joint[best]
    return aligned, whole


def _span(codes: Array, run: Array) -> Array:
    """Return the lowest and the highest code of every run ``(2, runs)``."""
    span = np.tile(_EMPTY, (1, int(run.max()) + 1))
    for beside in (codes[:, :-1], codes[:, 1:]):
        np.minimum.at(span[0], run, beside)
        np.maximum.at(span[1], run, beside)
    return span


def _joined(whole: Array, span: Array, start: int) -> Array:
    """Return the spans of both, ``span`` from run ``start`` on, with an empty run behind the last."""
    more = max(start + span.shape[1] + 1 - whole.shape[1], 0)
    found = np.concatenate([whole, np.tile(_EMPTY, (1, more))], axis=1)
    part = found[:, start : start + span.shape[1]]
    part[0], part[1] = np.minimum(part[0], span[0]), np.maximum(part[1], span[1])
    return found


def _turns(span: Array) -> tuple[int, Array]:
    """Return (number of the first run, the codes where the common sequence begins, turns and ends)."""
    used = np.flatnonzero(span[0] <= span[1])
    first, inner = int(used[0]), span[:, used[0] : used[-1] + 1]
    before, behind = np.concatenate([_EMPTY, inner], axis=1), np.concatenate([inner, _EMPTY], axis=1)
    falls = np.arange(first, first + before.shape[1]) % 2 == 1  # a falling run begins at a peak
    return first, np.where(falls, np.maximum(before[1], behind[1]), np.minimum(before[0], behind[0]))


def _steps(start: int, end: int) -> Array:
    """Return the codes after ``start`` up to ``end``."""
    sign = 1 if end >= start else -1
    return np.arange(start + sign, end + sign, sign, dtype=np.int64)


def _tasks(codes: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Yield (row, pair of marks, code) for every code that is due after the first mark of a pair, in pieces."""
    change = np.diff(codes, axis=1)
    row, pair = np.nonzero(change)
    size = np.abs(change[row, pair])
    piece = max(1, TASKS_AT_A_TIME // int(size.max(initial=1)))
    for a in range(0, len(size), piece):
        n = size[a : a + piece]
        index = np.repeat(np.arange(a, a + len(n)), n)
        step = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + 1
        yield row[index], pair[index], codes[row[index], pair[index]] + step * np.sign(change[row[index], pair[index]])


def _bisected(site: Coded, kind: Array, left: Array, right: Array, code: Array) -> Array:
    """Return the smallest accumulators above ``left``, up to ``right``, that are given ``code`` or one beyond it."""
    rises = site.codes(kind, right) >= code
    rises &= site.codes(kind, left) < code
    while (right - left > 1).any():
        middle = (left + right) // 2
        found = site.codes(kind, middle)
        passed = np.where(rises, found >= code, found <= code)
        left, right = np.where(passed, left, middle), np.where(passed, middle, right)
    return right
