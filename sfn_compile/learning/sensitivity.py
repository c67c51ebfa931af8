"""How much of the outputs' error each site's rounding makes, to first order, and which few sites deserve more levels.

The error ``e`` that a site's levels make moves the outputs by ``J e``. Its squared norm is the mean of ``(v . J e)**2``
over random signs ``v``, and ``v . J`` is one pass backwards for all sites at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .descent import Loss, pieces_of, real_inputs
from .student import Values

Array = NDArray[Any]

DRAWS = 4  # of random signs per sample
UNITS = 400  # of a room
LEAST_SHARE = 0.003  # of the whole error: a site that makes less is not worth more levels


def errors_at_outputs(loss: Loss, x: Mapping[str, Array], seed: int) -> dict[str, float]:
    """Return per site the squared error that its rounding alone makes at the outputs, relative to their signal.

    ``x``: prepared inputs ``(n, *shape)``. Means over the samples; to first order, other sites unrounded.
    """
    rng, student, teacher = np.random.default_rng(seed), loss.student, loss.teacher
    real, found, n = teacher.student, {s.name: 0.0 for s in student.sites}, len(next(iter(x.values())))
    for piece in pieces_of(x):
        values, drives = real.forward(real_inputs(piece), teacher.at, teacher.maps, rounded=False)
        made = {s.name: student.rounded(s, values[s.name]) - values[s.name] for s in student.sites}
        for _ in range(DRAWS):
            signs: Values = {
                name: (rng.integers(0, 2, values[name].shape) * 2 - 1).astype(np.float32)
                / np.float32(np.sqrt(max(loss.signal[name], 1e-30)))
                for name in loss.outputs
            }
            slopes = real.backward(values, drives, teacher.at, teacher.maps, signs)[1]
            for name, error in made.items():
                if name in slopes:
                    moved = (slopes[name] * error).reshape(-1, error.shape[-1]).sum(axis=0, dtype=np.float64)
                    found[name] += float((moved**2).sum()) / (DRAWS * n)
    return found


@dataclass(frozen=True)
class Way:
    """A way to make a site's rounding finer: what it costs for each site that it is open to, and how much there is."""

    sizes: Mapping[str, int]
    room: float

    def units(self, site: str) -> int:
        """Return the cost of a site in :data:`UNITS` of the room, more than there are where the way is closed."""
        closed = site not in self.sizes or self.room <= 0
        return UNITS + 1 if closed else int(np.ceil(UNITS * self.sizes[site] / self.room))


def allotted(errors: Mapping[str, float], first: Way, second: Way) -> tuple[list[str], list[str]]:
    """Return the sites whose rounding costs most together, those that go one way and those that go the other.

    A knapsack with two rooms, solved exactly in their units; sites that make little of the error stay out.

    >>> sizes = {"a": 100, "b": 60, "c": 40}
    >>> allotted({"a": 5.0, "b": 4.0, "c": 3.0}, Way(sizes, 100), Way({}, 0))
    (['b', 'c'], [])
    >>> allotted({"a": 5.0, "b": 4.0, "c": 3.0}, Way(sizes, 100), Way({"a": 7, "c": 9}, 10))
    (['b', 'c'], ['a'])
    >>> allotted({"a": 5.0, "b": 4.0, "c": 0.1}, Way(sizes, 60), Way({}, 0))
    (['b'], [])
    """
    names = [k for k in sorted(errors) if errors[k] >= LEAST_SHARE * sum(errors.values()) and errors[k] > 0]
    best, chosen = np.zeros((UNITS + 1, UNITS + 1)), list[Array]()  # by what is used of both rooms
    for name in names:
        found, how = best.copy(), np.zeros(best.shape, np.int8)
        for way, (a, b) in enumerate(((first.units(name), 0), (0, second.units(name))), 1):
            if max(a, b) <= UNITS:
                tried = best[: UNITS + 1 - a, : UNITS + 1 - b] + errors[name]
                better = tried > found[a:, b:]
                found[a:, b:][better], how[a:, b:][better] = tried[better], way
        best = found
        chosen.append(how)
    at, ways = [UNITS, UNITS], ([], [], [])  # type: tuple[list[int], tuple[list[str], list[str], list[str]]]
    for name, how in zip(reversed(names), reversed(chosen), strict=True):
        way = int(how[at[0], at[1]])
        ways[way].insert(0, name)
        if way:
            at[way - 1] -= (first, second)[way - 1].units(name)
    return ways[1], ways[2]
