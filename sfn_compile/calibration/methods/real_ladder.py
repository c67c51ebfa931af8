"""What a method returns, and how it reads its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...foundation.diagnostics import fail
from ...program.rounding import to_codes, to_ranks
from ..statistics import Statistics

Array = NDArray[Any]
Options = Mapping[str, str]
Method = Callable[[Statistics, int, int, Options], "RealLadder"]
BLOCK = 64  # channels whose running sums are in memory at a time


@dataclass(frozen=True, eq=False)
class RealLadder:
    """The ladder of one site in real units: ``step`` per channel ``(c,)``, 0 where a channel never left zero.

    ``book``: ascending integer codes that all channels share, 0 among them; None: all integers from lo to hi.
    ``offset``: in steps, what is added before rounding down; with a book the share of every gap that rounds up.
    """

    step: Array
    book: tuple[int, ...] | None = None
    offset: float = 0.5

    def ends(self, lo: int, hi: int) -> tuple[int, int]:
        """Return the lowest and the highest code, of a site that asked for the codes ``lo..hi``."""
        return (lo, hi) if self.book is None else (self.book[0], self.book[-1])

    def real(self, x: Array, lo: int, hi: int) -> Array:
        """Return what the codes of values ``(c, n)`` stand for; channels without a step are taken to have step 1."""
        step = np.where(self.step > 0, self.step, 1.0)[:, None]
        if self.book is None:
            return to_codes(x, step, lo, hi, offset=self.offset) * step
        return np.asarray(self.book)[to_ranks(x, step, self.book, self.offset)] * step


def offset_of(options: Options) -> float:
    """Return the offset that the options ask for: half a step, the least error and no bias, unless they say so.

    Source: Bu et al., AAAI 2022, arXiv 2202.01440 (OPI): error of ``1/3 - u + u^2`` squared steps for offset u.
    """
    return number(options, "offset", 0.5, 0.0, 1.0, "[)")


def number(
    options: Options, name: str, default: float, lowest: float, highest: float, ends: str = "(]"
) -> float:  # fmt: skip
    """Return an option as a number of the interval whose brackets ``ends`` shows. Raises SFN605."""
    text = options.get(name)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = np.nan
    above = value >= lowest if ends[0] == "[" else value > lowest
    below = value <= highest if ends[1] == "]" else value < highest
    if not (above and below):
        what = f"{name} = {text!r} is not a number in {ends[0]}{lowest}, {highest}{ends[1]}"
        raise fail("SFN605", what, "--method-option")
    return value


def word(options: Options, name: str, words: tuple[str, ...]) -> str:
    """Return an option that is one of ``words``, the first of them by default. Raises SFN605."""
    found = options.get(name, words[0])
    if found not in words:
        raise fail("SFN605", f"{name} = {found!r}", "--method-option", f"one of {', '.join(words)}")
    return found


def longer_side(lo: int, hi: int) -> int:
    """Return the number of codes on the longer side of zero; of two as good as equal sides the upper one."""
    return max(hi, -lo - 1, 1)


def largest(stats: Statistics, lo: int, hi: int) -> Array:
    """Return the smallest step per channel that saturates nothing seen."""
    top = np.maximum(stats.high, 0) / max(hi, 1)
    bottom = np.maximum(-stats.low, 0) / -lo if lo < 0 else np.zeros_like(top)
    return np.maximum(top, bottom)


def by_blocks(stats: Statistics, choose_some: Callable[[Statistics], Array]) -> Array:
    """Return the steps ``(c,)`` of all channels, :data:`BLOCK` channels at a time.

    Running sums take several times the memory of the histogram; so they are held for one block only.
    """
    n = len(stats.span)
    return np.concatenate([choose_some(stats.rows(slice(i, i + BLOCK))) for i in range(0, n, BLOCK)])
