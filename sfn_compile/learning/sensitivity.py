"""How much of the outputs' error each site's rounding makes, to first order, and which few sites deserve more levels.

The error ``e`` that a site's levels make moves the outputs by ``J e``. Its squared norm is the mean of ``(v . J e)**2``
over random signs ``v``, and ``v . J`` is one pass backwards for all sites at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .descent import Loss, pieces_of, real_inputs
from .student import Values

Array = NDArray[Any]

DRAWS = 4  # of random signs per sample
UNITS = 1000
LEAST_SHARE = 0.03  # of the whole error: a site that makes less is not worth more levels


def errors_at_outputs(loss: Loss, x: Mapping[str, Array], seed: int) -> dict[str, float]:
    """Return per site the squared error that its rounding alone makes at the outputs, relative to their signal.

    ``x``: prepared inputs ``(n, *shape)``. Means over the samples; to first order, other sites unrounded.
    """
    rng, student, teacher = np.random.default_rng(seed), loss.student, loss.teacher
    found, n = {s.name: 0.0 for s in student.sites}, len(next(iter(x.values())))
    for piece in pieces_of(x):
        values, drives = student.forward(real_inputs(piece), teacher.at, teacher.maps, rounded=False)
        made = {s.name: student.rounded(s, values[s.name]) - values[s.name] for s in student.sites}
        for _ in range(DRAWS):
            signs: Values = {
                name: (rng.integers(0, 2, values[name].shape) * 2 - 1).astype(np.float32)
                / np.float32(np.sqrt(max(loss.signal[name], 1e-30)))
                for name in loss.outputs
            }
            slopes = student.backward(values, drives, teacher.at, teacher.maps, signs)[1]
            for name, error in made.items():
                if name in slopes:
                    moved = (slopes[name] * error).reshape(-1, error.shape[-1]).sum(axis=0, dtype=np.float64)
                    found[name] += float((moved**2).sum()) / (DRAWS * n)
    return found


def worth_more_levels(errors: Mapping[str, float], neurons: Mapping[str, int], share: float) -> list[str]:
    """Return the sites whose rounding costs most together, with at most ``share`` of all neurons.

    A knapsack, solved exactly in units of a thousandth of the room; sites that make little of the error stay out.

    >>> worth_more_levels({"a": 5.0, "b": 4.0, "c": 3.0}, {"a": 100, "b": 60, "c": 40}, 0.5)
    ['b', 'c']
    >>> worth_more_levels({"a": 5.0, "b": 4.0, "c": 0.1}, {"a": 100, "b": 60, "c": 40}, 0.3)
    ['b']
    """
    room, whole = share * sum(neurons.values()), sum(errors.values())
    best: list[tuple[float, tuple[str, ...]]] = [(0.0, ())] * (UNITS + 1)  # by room used: error gone, sites
    for name in sorted(errors):
        size = int(np.ceil(UNITS * neurons[name] / room)) if room > 0 else UNITS + 1
        if errors[name] < LEAST_SHARE * whole or size > UNITS:
            continue
        with_it = [(best[u - size][0] + errors[name], (*best[u - size][1], name)) for u in range(size, UNITS + 1)]
        best[size:] = [max(old, new) for old, new in zip(best[size:], with_it, strict=True)]
    return list(best[UNITS][1])
