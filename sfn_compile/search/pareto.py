"""One choice per layer under a budget, where costs and losses of layers add: AdaFire's dynamic programme.

Layer by layer a list of partial choices is kept that no other beats in cost and loss together (Pareto list); those that
cannot stay within the budget any more are dropped (arXiv 2412.16219, the search behind its burst allocation).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MOST_NODES = 20_000  # of a list; longer ones are thinned evenly, ends kept, so that the choice may be no more the best


def cheapest_loss(costs: Sequence[Sequence[float]], losses: Sequence[Sequence[float]], budget: float) -> list[int]:
    """Return for every layer the choice, so that the sum of losses is least and that of costs within the budget.

    ``costs[i][j]`` and ``losses[i][j]`` are of choice j in layer i. Where nothing keeps the budget, the choices of
    least cost are returned.
    """
    rows = [(np.asarray(c, np.float64), np.asarray(w, np.float64)) for c, w in zip(costs, losses, strict=True)]
    rest = np.concatenate([np.cumsum([c.min() for c, _ in rows][::-1])[::-1], [0.0]])
    if rest[0] > budget:
        return [int(np.lexsort((w, c))[0]) for c, w in rows]
    cost, loss, parents = np.zeros(1), np.zeros(1), list[tuple[Array, Array]]()
    for i, (c, w) in enumerate(rows):
        all_costs, all_losses = (cost[:, None] + c).ravel(), (loss[:, None] + w).ravel()
        kept = _pareto(all_costs, all_losses, budget - rest[i + 1])
        cost, loss = all_costs[kept], all_losses[kept]
        parents.append((kept // len(c), kept % len(c)))
    return _traced(parents, int(loss.argmin()))


def _pareto(costs: Array, losses: Array, most: float) -> Array:
    """Return the places of partial choices that no other beats, by rising cost; never none."""
    order = np.lexsort((losses, costs))
    least = np.minimum.accumulate(losses[order])
    better = np.concatenate([[True], least[1:] < least[:-1]])
    kept = order[better & (costs[order] <= most + 1e-9 * abs(most))]
    kept = kept if len(kept) else order[:1]
    if len(kept) > MOST_NODES:
        kept = kept[np.unique(np.linspace(0, len(kept) - 1, MOST_NODES).astype(np.int64))]
    return kept


def _traced(parents: Sequence[tuple[Array, Array]], node: int) -> list[int]:
    """Return the choices of the way to a node of the last list, the first layer first.

    The way is walked from the last layer to the first, so it has to be turned around: AdaFire's published code forgets
    that for its compression, which puts every ratio on the mirrored layer.
    """
    found = []
    for parent, choice in reversed(parents):
        found.append(int(choice[node]))
        node = int(parent[node])
    return found[::-1]
