"""Where a scalar function turns from rising to falling or back: found on a grid, then refined to float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...graph.ops import Expression

Array = NDArray[Any]

POINTS = 1 << 13  # of the even part of the grid, where one function serves all neurons
TOTAL = 1 << 22  # of all even parts, where every neuron has a function of its own
ZOOM, ROUNDS = 16, 16  # a bracket is cut into ZOOM pieces, ROUNDS times: 2**-48 of it is left


def turning_points(body: Expression, low: Array, high: Array, floor: float, ceiling: float, step: float) -> Array:
    """Return the turning points ``(n, k)`` of f between ``low`` and ``high`` ``(n,)``, short rows filled with ``low``.

    f is cut to ``floor..ceiling``, and less than 2**-30 of ``step`` is no turn. Constants that differ from place to
    place have shape ``(n,)``; without them one row serves all, and its shape is ``(1, k)``.
    """
    if not body.constants():
        low, high = low.min(keepdims=True), high.max(keepdims=True)

    def values(row: Array, z: Array) -> Array:
        return np.clip(body.with_constants(lambda c: c[row]).evaluate(z), floor, ceiling)

    grid = _grid(body, low, high)
    row, left, right, peak = _brackets(values(np.broadcast_to(np.arange(len(grid))[:, None], grid.shape), grid), step)
    left, right = grid[row, left], grid[row, right]
    sign = np.where(peak, 1.0, -1.0)[:, None]
    for _ in range(ROUNDS):
        points = left[:, None] + (right - left)[:, None] * np.linspace(0, 1, ZOOM + 1)
        best = (sign * values(np.broadcast_to(row[:, None], points.shape), points)).argmax(axis=1)
        n = np.arange(len(row))
        left, right = points[n, np.maximum(best - 1, 0)], points[n, np.minimum(best + 1, ZOOM)]
    found = np.repeat(low[:, None], int(np.bincount(row, minlength=1).max()), axis=1)
    found[row, np.arange(len(row)) - np.searchsorted(row, row)] = (left + right) / 2
    return found


def _brackets(values: Array, step: float) -> tuple[Array, Array, Array, Array]:
    """Return (row, grid point before, grid point behind, whether a maximum) of every turn of ``values`` (n, m)."""
    change = np.diff(values, axis=1)
    size = np.maximum(np.abs(values[:, 1:]), np.abs(values[:, :-1]))
    direction = np.where(np.abs(change) <= 2.0**-30 * step + 2.0**-44 * size, 0, np.sign(change))
    place = np.where(direction != 0, np.arange(change.shape[1]), -1)
    last = np.maximum.accumulate(place, axis=1)
    last = np.concatenate([np.full_like(last[:, :1], -1), last[:, :-1]], axis=1)  # the last change before this one
    before = np.take_along_axis(direction, np.maximum(last, 0), axis=1)
    row, behind = np.nonzero((direction != 0) & (last >= 0) & (before != direction))
    return row, last[row, behind], behind + 1, before[row, behind] > 0


def _grid(body: Expression, low: Array, high: Array) -> Array:
    """Return sorted points ``(n, m)`` from low to high: evenly spaced, and dense around the function's knots."""
    n = len(low)
    parts = [low[:, None] + (high - low)[:, None] * np.linspace(0, 1, max(256, min(POINTS, TOTAL // n)) + 1)]
    for knot, scale in _knots(body):
        octaves = float(np.log2(max(float(np.max((high - low) / scale)), 2.0)))
        away = 2.0 ** np.arange(-8, octaves + 0.25, 0.25)
        around = np.concatenate([-away[::-1], [0.0], away]) * np.broadcast_to(scale, (n,))[:, None]
        parts.append(np.broadcast_to(knot, (n,))[:, None] + around)
    return np.sort(np.clip(np.concatenate(parts, axis=1), low[:, None], high[:, None]), axis=1)


def _knots(body: Expression) -> list[tuple[Array, Array]]:
    """Return (place, width) of what the steps show of a function: where an affine part of it crosses 0 or a constant.

    >>> from sfn_compile.graph.ops.expression import call
    >>> [(float(k), float(w)) for k, w in _knots(call("max", call("mul", Expression(), 2.0), 3.0))]
    [(0.0, 1.0), (0.0, 0.5), (1.5, 0.5)]
    """
    lines: list[tuple[Array, Array] | None] = [(np.ones(()), np.zeros(()))]  # (scale, offset) of what is affine
    knots = [(np.zeros(()), np.ones(()))]
    for function, operands in body.steps:
        read = [lines[o] if isinstance(o, int) else (np.zeros(()), np.asarray(o)) for o in operands]
        line = _line(function, read)
        lines.append(line)
        if line is None:
            levels = [np.zeros(()), *(o for o in operands if not isinstance(o, int))]
            slopes = [r for r in read if r is not None and np.all(r[0] != 0)]
            knots += [((v - b) / a, 1 / np.abs(a)) for a, b in slopes for v in levels]
    return list({(k.tobytes(), w.tobytes()): (k, w) for k, w in knots}.values())


def _line(function: str, read: list[tuple[Array, Array] | None]) -> tuple[Array, Array] | None:
    """Return (scale, offset) of a step of two affine operands, None where it is not affine itself."""
    if len(read) != 2 or read[0] is None or read[1] is None:
        return None
    (a, b), (c, d) = read[0], read[1]
    if function == "add":
        return a + c, b + d
    if function == "sub":
        return a - c, b - d
    if function == "mul" and (not np.any(a) or not np.any(c)):
        return a * d + c * b, b * d
    return None
