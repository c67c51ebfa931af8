"""A crew computes numbered pieces of the data; what it lost is given out again, what came twice counts once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from numpy.typing import NDArray

from ..foundation.diagnostics import fail
from ..foundation.samples import Samples, n_samples, part
from .side_by_side import cuts
from .truth import Truth

Array = NDArray[Any]
ATTEMPTS = 3
T = TypeVar("T")
# Computes the pieces of these numbers; yields (number, result) as they come; ends early where workers were lost.
Results = Iterator[tuple[int, T]]
Crew = Callable[[Sequence[int]], Results[T]]


def complete(crew: Crew[T], numbers: Sequence[int]) -> Results[T]:
    """Yield (number, result) of every number once; what was lost is given out again. Raises SFN607."""
    found: set[int] = set()
    for _ in range(ATTEMPTS):
        missing = [i for i in numbers if i not in found]
        for number, computed in crew(missing) if missing else ():
            if number not in found:
                found.add(number)
                yield number, computed
    if len(found) < len(numbers):
        raise fail("SFN607", f"{len(numbers) - len(found)} of {len(numbers)} pieces were lost {ATTEMPTS} times")


def samples_of(x: Samples, truth: Truth | None, number: int) -> tuple[Mapping[str, Array], Truth | None]:
    """Return the samples of one piece and what they are judged by."""
    piece = cuts(n_samples(x))[number]
    return part(x, piece), None if truth is None else truth[piece]
