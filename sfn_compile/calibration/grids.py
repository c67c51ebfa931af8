"""Values that lie on a grid, ``offset + step * integers``: counts, 8-bit images that were scaled and shifted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# float32 arithmetic that scaled and shifted the integers rounded a few times, by 2**-24 of its largest value each.
ROUNDED = 2.0**-21
CLEAR = 64.0  # a step is longer than this many roundings, or any number would lie on the grid
ROUNDS = 64
SPAN_GROWS, LAGS = 4.0, 64
AT_A_TIME = 4  # times as many values as may be distinct are sorted at once
CHANNELS_AT_A_TIME = 512
FEW_VALUES, TIMES_EACH = 4, 8  # fewer distinct values lie on some grid by chance, unless each was seen often


@dataclass(frozen=True)
class Grid:
    """Values ``(zero + k) * step`` with integers ``k`` of ``0..top``; ``whole``: 0 is a value of the endless grid.

    Where it is, ``zero`` is a whole number.
    """

    step: float
    zero: float
    top: int
    whole: bool


def grid_of(values: Array, most: int, magnitude: float = 0.0) -> Grid | None:
    """Return the coarsest grid of at most ``most`` steps that distinct values lie on; None where there is none.

    ``magnitude``: the largest number that the values were computed from, if it is larger than they are.
    """
    v = np.sort(np.asarray(values, np.float64))
    if len(v) < 2:
        return None
    slack = ROUNDED * max(float(np.abs(v).max()), magnitude)
    shortest = max((v[-1] - v[0]) / (most + 0.5), CLEAR * slack)
    step = _common_step(v, slack, shortest)
    return None if step is None else _anchored(v, step, slack)


def _common_step(v: Array, slack: float, shortest: float) -> float | None:
    """Return the longest step of which all distances are multiples within ``slack``, None below ``shortest``."""
    gaps = np.diff(v)
    gaps = gaps[gaps > 2 * slack]
    if not len(gaps):
        return None
    step = float(gaps.min())
    for _ in range(ROUNDS):
        if step < shortest:
            return None
        step, left = _refined(v, step, slack)
        if left is None:
            return step if step >= shortest else None
        step = left  # Euclid: what is left of a distance is a multiple of the step, too
    return None


def _refined(v: Array, step: float, slack: float) -> tuple[float, float | None]:
    """Return (the step by least squares, what is left of a distance that is no multiple of it, None if nothing).

    Distances are taken in growing spans, since a step that is off by little is off by much many steps away.
    """
    lags = range(1, min(len(v), LAGS))
    far = np.sort(np.concatenate([v - v[0], *(v[lag:] - v[:-lag] for lag in lags)]))
    span = 2.5 * step
    while True:
        some = far[far <= span]
        k = np.rint(some / step)
        off = np.abs(some - k * step)
        if off.max() > SPAN_GROWS * 2 * slack:
            return step, float(off[off > SPAN_GROWS * 2 * slack].min())
        if (k > 0).any():
            step = float((k * some).sum() / (k * k).sum())
        if span >= far[-1]:
            return step, None
        span *= SPAN_GROWS


def _anchored(v: Array, step: float, slack: float) -> Grid | None:
    """Return the grid of a step: with 0 on it where that fits the values within ``slack``.

    None where most values share a place: one that is far out makes the others look alike.
    """
    if 2 * len(np.unique(np.rint((v - v[0]) / step))) < len(v):
        return None
    top = int(np.rint((v[-1] - v[0]) / step))
    k = np.rint(v / step)
    if np.abs(k).max() < 2**31 and (k * k).sum() > 0:
        through_zero = float((k * v).sum() / (k * k).sum())
        if np.array_equal(np.rint(v / through_zero), k) and np.abs(v - k * through_zero).max() <= 2 * slack:
            return Grid(through_zero, float(k[0]), top, True)
    steps = np.rint((v - v[0]) / step)
    start = float((v - steps * step).mean())
    return Grid(step, start / step, top, False)


class Distinct:
    """The distinct values of every channel seen so far, as long as they are few."""

    def __init__(self, n_channels: int, most: int):
        self.most = most
        self.values: list[Array | None] = [np.zeros(0)] * n_channels  # None: too many
        self.n = 0

    def update(self, rows: Array) -> None:
        """Add values ``(c, m)``."""
        self.n += rows.shape[1]
        still = [channel for channel, known in enumerate(self.values) if known is not None]
        if rows.shape[1] > AT_A_TIME * self.most:
            for channel in still:
                self.values[channel] = self._with(self.values[channel], rows[channel])
            return
        for start in range(0, len(still), CHANNELS_AT_A_TIME):
            self._merge(still[start : start + CHANNELS_AT_A_TIME], rows)

    def _merge(self, channels: list[int], rows: Array) -> None:
        """Add short rows to many channels at once: all are sorted in one table, NaN where a row has no more values."""
        known = [np.zeros(0) if v is None else v for v in (self.values[c] for c in channels)]
        width = max(map(len, known))
        table = np.full((len(channels), width + rows.shape[1]), np.nan)
        for row, values in zip(table, known, strict=True):
            row[: len(values)] = values
        table[:, width:] = rows[channels]
        table.sort(axis=1)
        first = ~np.isnan(table)
        first[:, 1:] &= table[:, 1:] != table[:, :-1]
        few = first.sum(axis=1) <= self.most
        for channel, row, new, is_few in zip(channels, table, first, few, strict=True):
            self.values[channel] = row[new] if is_few else None

    def _with(self, known: Array | None, row: Array) -> Array | None:
        """Return the distinct values of a channel with those of a long row, most of which are known after a while."""
        if known is None:
            return None
        if len(known):
            near = known[np.minimum(np.searchsorted(known, row), len(known) - 1)]
            row = row[near != row]
            if not len(row):
                return known
        found = np.unique(np.concatenate([known, row[: AT_A_TIME * self.most]]))
        if len(found) > self.most:
            return None
        rest = row[AT_A_TIME * self.most :]
        return self._with(found, rest) if len(rest) else found

    @property
    def open(self) -> bool:
        """Whether some channel still has few values."""
        return any(v is not None for v in self.values)

    def together(self) -> Array | None:
        """Return the distinct values of all channels, ascending ``(m,)``; None where there are too many."""
        found = np.zeros(0)
        for start in range(0, len(self.values), CHANNELS_AT_A_TIME):
            some = [v for v in self.values[start : start + CHANNELS_AT_A_TIME] if v is not None]
            if len(some) < len(self.values[start : start + CHANNELS_AT_A_TIME]):
                return None
            found = np.unique(np.concatenate([found, *some]))
            if len(found) > self.most:
                return None
        return found

    def believed(self, values: Array | None, n: int) -> bool:
        """Return whether ``values``, seen ``n`` times in all, are enough to tell a grid from chance."""
        return values is not None and (len(values) >= FEW_VALUES or n >= TIMES_EACH * len(values))
