"""Strategies: generators that yield choices to measure, a batch at a time, and are sent the trials that came of them.

What a strategy asks for depends on the trials before alone, never on which process measured them or when.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import islice, product

from .pareto import cheapest_loss
from .plan import LOSS, Search
from .space import MOST_GROUPS, STRETCHES, Point, Space, put
from .trial import Goal, Trial, goal_of

Proposals = Generator[list[Point], list[Trial], None]
SLOPES = (0, 1, -1)  # places in the list of levels between the middle of the network and either end
AIM, LESS = 0.99, 0.97  # of the limit: room for what making it in full changes; and where a combination comes again
ROUNDS = 6  # combinations that are measured: costs of layers add up only nearly, so what is allowed is corrected


@dataclass(frozen=True)
class Task:
    """What a strategy works on."""

    space: Space
    search: Search
    seed: int


def starts(space: Space) -> list[Point]:
    """Return choices that are the same everywhere, for a sampler to begin with, the plain one first."""
    plain, n = space.plain(), len(space.groups)
    levels = [replace(plain, levels=(choice,) * n) for choice in space.levels[:3:2]]
    stretched = [replace(plain, stretch=(choice,) * n) for choice in STRETCHES[3::2]]
    bits = [replace(plain, bits=(choice,) * n) for choice in space.bits[1:]]
    return list(dict.fromkeys((*levels, *stretched, *bits)))


def grid(task: Task) -> Proposals:
    """Propose combinations of levels, stretches, slopes of levels over depth, methods and weight bits.

    Those that change fewer things of the plain choice come first; ``n_trials`` are measured.
    """
    yield list(islice(dict.fromkeys(_grid(task.space)), task.search.n_trials))


def _grid(space: Space) -> Iterator[Point]:
    n = len(space.groups)
    lengths = len(space.levels), len(STRETCHES), len(SLOPES), len(space.methods), len(space.bits)
    every = product(*map(range, lengths))
    for i, stretch, slope, method, bits in sorted(every, key=lambda places: sum(place > 0 for place in places)):
        levels = tuple(space.levels[_clipped(i, SLOPES[slope], j, space)] for j in range(n))
        yield Point(levels, (space.bits[bits],) * n, (STRETCHES[stretch],) * n, space.methods[method])


def _clipped(i: int, slope: int, j: int, space: Space) -> int:
    """Return the place of group j's levels: i in the middle of the network, ``slope`` more or less at its ends."""
    n = len(space.groups)
    return min(max(i + round(slope * (2 * j / (n - 1) - 1)) if n > 1 else i, 0), len(space.levels) - 1)


def allocate(task: Task) -> Proposals:
    """Propose AdaFire's allocation: levels of each layer by its sensitivity, under the budget (section 3.4)."""
    return _layerwise(task, lambda point, i, n: replace(point, levels=put(point.levels, i, int(n))), task.space.levels)


def compress(task: Task) -> Proposals:
    """Propose AdaFire's compression: thresholds of each layer stretched as far as the loss allows."""
    return _layerwise(task, lambda point, i, r: replace(point, stretch=put(point.stretch, i, r)), STRETCHES)


def _layerwise(task: Task, change: Callable[[Point, int, float], Point], choices: tuple[float, ...]) -> Proposals:
    """Measure every choice in every group alone, then what the dynamic programme makes of them.

    Loss and cost of a choice are those of the whole network less those of the plain one, and are taken to add up. What
    the combination comes to in truth says how much more or less to allow, and another combination is made.
    """
    plain, groups = task.space.plain(), range(len(task.space.groups))
    (first,) = yield [plain]
    goal, per_group = goal_of(task.search, first.measured), len(choices) - 1
    trials = yield [change(plain, i, choice) for i in groups for choice in choices[1:]]
    rows = [[first, *trials[i * per_group : (i + 1) * per_group]] for i in groups]
    limited = LOSS if LOSS in goal.limits else goal.cost
    start = _number(first, limited)
    aim = AIM * goal.limits[limited]
    allowed, seen = aim, {plain}
    for _ in range(ROUNDS):
        best = _made(plain, _choice(rows, first, goal, limited, allowed), choices, change)
        if best in seen:
            allowed = start + LESS * (allowed - start) if limited == LOSS else LESS * allowed
            continue
        seen.add(best)
        (found,) = yield [best]
        change_in_truth = 0.0 if found.measured.refused else _number(found, limited) - start
        if change_in_truth == 0.0:
            return
        allowed = start + (allowed - start) * (aim - start) / change_in_truth


def _number(trial: Trial, what: str) -> float:
    return {**trial.measured.scores, **trial.measured.costs}[what]


def _made(
    plain: Point, best: list[int], choices: tuple[float, ...], change: Callable[[Point, int, float], Point]
) -> Point:
    for i, j in enumerate(best):
        plain = change(plain, i, choices[j])
    return plain


def _choice(rows: list[list[Trial]], plain: Trial, goal: Goal, limited: str, allowed: float) -> list[int]:
    """Return the best choice of every group where sums of what is limited come to ``allowed``."""
    wanted = goal.cost if limited == LOSS else LOSS
    limits, wishes = ([[_more(t, plain, what) for t in row] for row in rows] for what in (limited, wanted))
    return cheapest_loss(limits, wishes, allowed - _number(plain, limited))


def _more(trial: Trial, plain: Trial, what: str) -> float:
    """Return how much more a trial costs or loses than the plain one; a network that cannot be mapped, too much."""
    if trial.measured.refused:
        return 1e300
    here, there = _number(trial, what), _number(plain, what)
    return max(0.0, here - there) if what == LOSS else here - there


def groups_of(search: Search, n_choices: int, n_sites: int) -> int:
    """Return in how many groups layers are tied: of the layer-wise strategies as many as --trials allow, else each."""
    if search.strategy not in ("allocate", "compress"):
        return MOST_GROUPS
    if search.trials is None:
        return n_sites
    return (search.trials - expected_of(0, n_choices)) // (n_choices - 1)


def expected(task: Task) -> int:
    """Return how many trials a search makes, at most."""
    if task.search.strategy in ("tpe", "grid"):
        return task.search.n_trials
    choices = task.space.levels if task.search.strategy == "allocate" else STRETCHES
    return expected_of(len(task.space.groups), len(choices))


def expected_of(n_groups: int, n_choices: int) -> int:
    """Return how many trials a layer-wise strategy makes, at most."""
    return 1 + n_groups * (n_choices - 1) + ROUNDS
