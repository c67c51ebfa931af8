"""What to say of inputs whose codes tell little: channels of which most values share a few codes, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..calibration.statistics import Statistics
from ..foundation.diagnostics import Diagnostic
from ..graph.graph import Graph, GraphInput
from ..program.broadcast import channel_vector

Array = NDArray[Any]
FEW_CODES = 8.0  # steps that the middle of a channel's values spans
OF_LEVELS = 16  # and at most this part of the levels, where these are few themselves
MIDDLE = (0.05, 0.95)
BINS = 2  # of the histogram: where nine tenths of the values lie in so few, the extremes are outliers
ENOUGH = 16
NAMED = 5


def input_warnings(graph: Graph, statistics: Mapping[str, Statistics]) -> list[Diagnostic]:
    """Return SFN312 for every input with channels that get too few codes; of levels that the model states none."""
    return [found for i in graph.inputs if i.name in statistics for found in _of_input(i, statistics[i.name])]


def _of_input(source: GraphInput, stats: Statistics) -> Iterator[Diagnostic]:
    levels = source.chosen
    step = channel_vector(levels.step, source.type.shape, source.axis)
    if step is None or source.whole:
        return
    low, high = middle_of(stats)
    steps = (high - low) / step
    limit = min(FEW_CODES, (levels.hi - levels.lo) / OF_LEVELS)
    on_grid = np.zeros(len(step), bool) if source.grid is None else step == source.grid.step
    seen = np.broadcast_to(stats.n, step.shape) - stats.zeros >= ENOUGH
    few = np.flatnonzero((steps < limit) & (stats.low < stats.high) & seen & ~on_grid)
    if not len(few):
        return
    shown = "; ".join(_said(c, stats, low, high, steps, step) for c in few[:NAMED])
    more = f"; and {len(few) - NAMED} more" if len(few) > NAMED else ""
    yield Diagnostic("SFN312", shown + more, f"input {source.model_name!r}", _fix(few, stats, low, high))


def middle_of(stats: Statistics) -> tuple[Array, Array]:
    """Return between which values the middle nine tenths of every channel's values lie, zeros left out, by bins."""
    total = np.cumsum(stats.counts, axis=1)
    n, width = total[:, -1:], stats.span / stats.n_bins
    first, last = ((total >= np.maximum(share * n, 1)).argmax(axis=1) for share in MIDDLE)
    low, high = (first - stats.n_bins) * width, (last - stats.n_bins + 1) * width
    return np.maximum(low, stats.low), np.minimum(high, stats.high)


def _said(c: int, stats: Statistics, low: Array, high: Array, steps: Array, step: Array) -> str:
    what = f"channel {c}: nine tenths of its values span {max(steps[c], 0):.2g} steps of {step[c]:.3g}"
    if _is_far_out(c, stats, low, high):
        what += f", since it reaches {max(stats.high[c], -stats.low[c]):.3g}"
    return what


def _is_far_out(c: int, stats: Statistics, low: Array, high: Array) -> bool:
    """Return whether a channel's extremes lie far beyond the middle of its values: bins do not tell that from 0."""
    resolved = stats.span[c] / stats.n_bins
    return bool(high[c] - low[c] <= BINS * resolved)


def _fix(few: Array, stats: Statistics, low: Array, high: Array) -> str:
    if any(_is_far_out(c, stats, low, high) for c in few):
        return "take the outliers out of the samples, or cut them off: --method percentile"
    return "subtract their mean and scale them alike in front of the first layer, or more codes: --input-levels 4095"
