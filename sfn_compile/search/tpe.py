"""Bayesian optimisation by optuna's multi-objective TPE: objective against cost, limits as constraints.

SFN chooses its scaling factor by Bayesian optimisation (arXiv 2510.23383). Here the stretch of the network is that
factor, each group deviates from it by its own, and has its own levels and, where memory counts, weight bits. Fewer
levels leave the step as it is, nearly, and cut off what is above them: else they would be a stretch once more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .space import Point, Space
from .strategies import Proposals, Task, starts
from .trial import Goal, Trial, goal_of

BATCH = 4  # choices that are made before the next results are looked at, whatever the number of workers
AT_RANDOM = 4  # choices after the starts that are not learned yet
STRETCH, OWN = (0.7, 4.0), (0.75, 1.33)  # lowest and highest, of the network and of a group on top of it
AIM = 1.01  # of the stretch that just keeps the budget: room for what making it in full changes
NEAR = 1.15  # where the budget fixes the stretch of the network, it is looked for up to this factor away
LEVEL_RUNS = 3  # parts of the network with levels of their own
MOST_LEVELS = 3  # choices of levels, the highest


def tpe(task: Task) -> Proposals:
    """Propose choices that are the same everywhere first, and then what TPE suggests.

    Suggestions come in batches that depend on the results before alone.
    """
    points = starts(task.space)[: task.search.n_trials]
    trials = yield points
    goal = goal_of(task.search, trials[0].measured)
    lowest, middle, highest = stretches(task.space, points, trials, goal)
    study, space = _study(task.seed), _distributions(task.space, lowest, highest)
    inside = [(p, t) for p, t in zip(points, trials, strict=True) if lowest <= _stretch(task.space, p) <= highest]
    for point in (*(p for p, _ in inside), *_uniform(task.space, middle)):
        study.enqueue_trial(_parameters(task.space, point))
    _tell(study, [study.ask(space) for _ in inside], [t for _, t in inside], goal)
    while (left := task.search.n_trials - len(trials)) > 0:
        asked = [study.ask(space) for _ in range(min(BATCH, left))]
        found = yield [_point(task.space, one.params) for one in asked]
        _tell(study, asked, found, goal)
        trials = trials + found


def stretches(
    space: Space, points: Sequence[Point], trials: Sequence[Trial], goal: Goal
) -> tuple[float, float | None, float]:
    """Return the lowest stretch of the network, the one that just keeps the budget if any does, and the highest.

    From the choices where nothing but the stretch differs from the plain one: costs fall with it as a power of it.
    """
    plain, limit = space.plain(), goal.limits.get(goal.cost, math.inf)
    curve = [(p.stretch[0], t.measured.costs[goal.cost]) for p, t in zip(points, trials, strict=True)
             if not t.measured.refused and replace(p, stretch=plain.stretch) == plain]  # fmt: skip
    above, below = [one for one in curve if one[1] > limit], [one for one in curve if one[1] <= limit]
    if not above or not below:
        return STRETCH[0], None, STRETCH[1]
    (short, dear), (long, cheap) = max(above), min(below)
    share = math.log(dear / limit) / math.log(dear / cheap)
    middle = short * (long / short) ** share
    return middle / NEAR, round(AIM * middle, 4), middle * NEAR


def _uniform(space: Space, stretch: float | None) -> list[Point]:
    """Return the plain choice with this stretch everywhere."""
    return [] if stretch is None else [replace(space.plain(), stretch=(stretch,) * len(space.groups))]


def _study(seed: int) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    options: dict[str, Any] = {"seed": seed, "n_startup_trials": AT_RANDOM, "constant_liar": True}
    if not hasattr(optuna.trial.Trial, "set_constraint"):  # before optuna 5
        options["constraints_func"] = lambda trial: trial.user_attrs.get("excess", (0.0,))
    sampler = optuna.samplers.TPESampler(**options)
    return optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)


def _distributions(space: Space, lowest: float, highest: float) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {"method": CategoricalDistribution(space.methods)}
    found["stretch"] = FloatDistribution(lowest, highest, log=True)
    for i in range(len(space.groups)):
        found[f"stretch {i}"] = FloatDistribution(*OWN, log=True)
        found[_levels_of(space, i)] = IntDistribution(0, min(MOST_LEVELS, len(space.levels)) - 1)
        if len(space.bits) > 1:
            found[f"bits {i}"] = IntDistribution(0, len(space.bits) - 1)
    return found


def _levels_of(space: Space, i: int) -> str:
    """Return the parameter that says the levels of group i: one for the first, middle and last groups each."""
    return f"levels {i * LEVEL_RUNS // len(space.groups)}"


def _parameters(space: Space, point: Point) -> dict[str, Any]:
    """Return the parameters of a choice that is the same everywhere."""
    own = dict.fromkeys((f"stretch {i}" for i in range(len(space.groups))), 1.0)
    levels = {_levels_of(space, i): space.levels.index(n) for i, n in enumerate(point.levels)}
    bits = {f"bits {i}": space.bits.index(n) for i, n in enumerate(point.bits)} if len(space.bits) > 1 else {}
    return {"method": point.method, "stretch": _stretch(space, point), **own, **levels, **bits}


def _stretch(space: Space, point: Point) -> float:
    """Return how much longer the steps of a choice that is the same everywhere are than the plain ones."""
    return point.stretch[0] / _share(space, point.levels[0])


def _share(space: Space, levels: int) -> float:
    """Return the step that a method chooses for the most levels as a share, nearly, of what it chooses for these."""
    return (levels + 1) / (space.levels[0] + 1)


def _point(space: Space, parameters: dict[str, Any]) -> Point:
    groups = range(len(space.groups))
    levels = tuple(space.levels[parameters[_levels_of(space, i)]] for i in groups)
    bits = tuple(space.bits[parameters.get(f"bits {i}", 0)] for i in groups)
    share = [_share(space, n) * parameters["stretch"] for n in levels]
    stretch = tuple(round(share[i] * parameters[f"stretch {i}"], 4) for i in groups)
    return Point(levels, bits, stretch, parameters["method"])


def _tell(study: Any, asked: list[Any], found: list[Trial], goal: Goal) -> None:
    """Tell the results in the order of the numbers."""
    from optuna.trial import TrialState

    for one, trial in zip(asked, found, strict=True):
        if trial.measured.refused:
            study.tell(one, state=TrialState.FAIL)
            continue
        excess = [e if math.isfinite(e) else 1e9 for e in goal.excess(trial.measured)]
        if hasattr(one, "set_constraint"):
            for name, value in zip(goal.limits, excess, strict=True):
                one.set_constraint(name, value)
        one.set_user_attr("excess", excess or [0.0])
        study.tell(one, [goal.poorness(trial.measured), max(trial.measured.costs[goal.cost], _least(goal))])


def _least(goal: Goal) -> float:
    """Return the cost below which a trial is not better for costing less: half of what is allowed.

    Else the sampler would spend its trials where networks cost nearly nothing and answer at random.
    """
    return goal.limits.get(goal.cost, 0.0) / 2
