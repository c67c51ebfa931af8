"""Which offset and which grid the codes of one input get, from what its samples look like: pure functions.

A channel's code stands for ``offset + step * code``. The offset is the host's (it subtracts it), and the readers'
biases take it in; so it is only given where the codes are better for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.grids import Grid, grid_of
from ...calibration.input_survey import InputSurvey
from ...graph.graph import InputGrid

Array = NDArray[Any]
MOST_CODES = 255  # steps of a grid: what 8 bits hold
NARROW = (-128, 127)
FAR = 1.0  # a channel is shifted if 0 is farther from its values than this many of their own range
ROUGH = 1e-4  # squared error of rounding, relative to a channel's variance, above which an offset is worth its price
SIXTEENTHS = 16


@dataclass(frozen=True, eq=False)
class InputCode:
    """Of one input: what is subtracted from each channel ``(c,)``, and the grid that the rest lies on, if any."""

    offset: Array
    grid: InputGrid | None


def plain_code(seen: InputSurvey, grids: list[Grid | None]) -> InputCode:
    """Return the code without an offset: with a grid if all channels have one that 0 is on, within 8 bits."""
    return _coded(seen, grids, np.zeros(len(seen.low), bool), np.zeros(len(seen.low)))


def shifted_code(seen: InputSurvey, grids: list[Grid | None]) -> InputCode | None:
    """Return the code with offsets where they serve; None where none of them does."""
    moved = np.array([_off_centre(g, lo, hi) for g, lo, hi in zip(grids, seen.low, seen.high, strict=True)], bool)
    if not moved.any():
        return None
    rest = ~moved
    signed = bool((seen.low[rest] < 0).any())
    offset = np.array([
        _offset(g, lo, hi, signed) if m else 0.0
        for g, lo, hi, m in zip(grids, seen.low, seen.high, moved, strict=True)
    ])  # fmt: skip
    return _coded(seen, grids, moved, offset)


def is_rough(seen: InputSurvey, levels: int) -> bool:
    """Return whether rounding without an offset costs some channel more than :data:`ROUGH` of its variance."""
    reach = np.maximum(np.abs(seen.low), np.abs(seen.high))
    step = reach / (levels if (seen.low >= 0).all() else levels / 2)
    live = seen.variance > 0
    return bool((step[live] ** 2 / 12 > ROUGH * seen.variance[live]).any())


def grids_of(seen: InputSurvey) -> list[Grid | None]:
    """Return the grid of every channel: one for all where there is one, None where values lie on none."""
    none: list[Grid | None] = [None] * len(seen.low)
    found = seen.distinct
    if found is None:
        return none
    together = found.together()
    if found.believed(together, found.n * len(none)):
        assert together is not None
        common = grid_of(together, MOST_CODES, seen.magnitude)
        if common is not None:
            return [common] * len(none)
    return [
        grid_of(values, MOST_CODES, seen.magnitude) if values is not None and found.believed(values, found.n) else None
        for values in found.values
    ]


def _off_centre(grid: Grid | None, low: float, high: float) -> bool:
    """Return whether a channel's codes are better, or exact, only with an offset."""
    if low == high:
        return False  # a constant is told exactly without
    if grid is None:
        return max(low, -high) > FAR * (high - low)
    return not (grid.whole and _fits(*_range_of(grid)))


def _range_of(grid: Grid) -> tuple[int, int]:
    """Return the lowest and the highest code of a grid that 0 is on."""
    return min(int(grid.zero), 0), max(int(grid.zero) + grid.top, 0)


def _fits(lo: int, hi: int) -> bool:
    return (lo >= 0 and hi <= MOST_CODES) or (lo >= NARROW[0] and hi <= NARROW[1])


def _offset(grid: Grid | None, low: float, high: float, signed: bool) -> float:
    """Return the offset of a channel: its lowest value, or its middle where codes are signed.

    Off a grid it is a round number, a little below the lowest value seen.
    """
    if grid is not None:
        below = (grid.top + 1) // 2 if signed and grid.top > NARROW[1] else 0
        return (grid.zero + below) * grid.step
    unit = 2.0 ** np.floor(np.log2((high - low) / SIXTEENTHS))
    return float(np.rint((low + high) / 2 / unit) * unit if signed else np.floor(low / unit) * unit)


def _coded(seen: InputSurvey, grids: list[Grid | None], moved: Array, offset: Array) -> InputCode:
    """Return offsets with the grid of what they leave; a grid that 8 bits or the offsets do not hold is none."""
    lows, highs = [0], [0]
    step = np.full(len(grids), np.nan)
    for c, (grid, is_moved) in enumerate(zip(grids, moved, strict=True)):
        if grid is None or (not is_moved and not grid.whole):
            continue
        first = round(grid.zero - offset[c] / grid.step)
        step[c] = grid.step
        lows.append(first)
        highs.append(first + grid.top)
    lo, hi = _widened(min(lows), max(highs))
    if np.isnan(step).all() or not _fits(lo, hi):
        return InputCode(offset, None)
    return InputCode(offset, InputGrid(step, lo, hi))


def _widened(lo: int, hi: int) -> tuple[int, int]:
    """Return a range of whole bits that holds ``lo..hi``: new samples may go a little beyond those seen."""
    if lo >= 0:
        return 0, 2 ** hi.bit_length() - 1
    bits = max(hi.bit_length(), (-lo - 1).bit_length())
    return -(2**bits), 2**bits - 1
