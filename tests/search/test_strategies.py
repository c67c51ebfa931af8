"""Fronts, allocations and groups, each against the plainest way to find them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfn_compile.foundation.options import Options, SiteOptions
from sfn_compile.search import pareto
from sfn_compile.search.pareto import cheapest_loss
from sfn_compile.search.plan import Search, read_budget
from sfn_compile.search.space import STRETCHES, Space, grouped
from sfn_compile.search.strategies import ROUNDS, Task, allocate, compress, grid, starts
from sfn_compile.search.trial import Goal, Measured, Trial, front, goal_of

from .search_helpers import trial

TABLE = st.integers(1, 5).flatmap(
    lambda n: st.tuples(
        st.lists(st.lists(st.integers(-9, 30), min_size=3, max_size=3), min_size=n, max_size=n),
        st.lists(st.lists(st.integers(0, 30), min_size=3, max_size=3), min_size=n, max_size=n),
        st.integers(-40, 120),
    )
)


def brute_force(costs, losses, budget):
    """The least sum of losses within the budget, None where nothing is."""
    sums = [
        (sum(w[j] for w, j in zip(losses, choice, strict=True)), sum(c[j] for c, j in zip(costs, choice, strict=True)))
        for choice in product(range(3), repeat=len(costs))
    ]
    return min((loss for loss, cost in sums if cost <= budget), default=None)


@given(TABLE)
@settings(max_examples=300, deadline=None)
def test_the_dynamic_programme_finds_what_trying_everything_finds(table):
    costs, losses, budget = table
    choice = cheapest_loss(costs, losses, budget)
    cost = sum(c[j] for c, j in zip(costs, choice, strict=True))
    best = brute_force(costs, losses, budget)
    if best is None:
        assert cost == sum(map(min, costs))
    else:
        assert cost <= budget
        assert sum(w[j] for w, j in zip(losses, choice, strict=True)) == best


def test_a_choice_belongs_to_its_own_layer_and_not_to_the_mirrored_one():
    costs = [[5, 0, 9], [5, 9, 0], [0, 5, 9], [5, 9, 0]]
    losses = [[9, 0, 9], [9, 9, 0], [0, 9, 9], [9, 9, 0]]
    assert cheapest_loss(costs, losses, 0) == [1, 2, 0, 2]


def test_long_lists_are_thinned_and_still_keep_the_budget(monkeypatch):
    rng = np.random.default_rng(0)
    costs, losses = rng.random((8, 4)), rng.random((8, 4))
    best = sum(losses[i, j] for i, j in enumerate(cheapest_loss(costs, losses, 3.0)))
    monkeypatch.setattr(pareto, "MOST_NODES", 40)
    choice = cheapest_loss(costs, losses, 3.0)
    assert sum(costs[i, j] for i, j in enumerate(choice)) <= 3.0
    assert best <= sum(losses[i, j] for i, j in enumerate(choice)) <= 1.2 * best


# -- the front ------------------------------------------------------------------------------------------------------
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20))
@settings(deadline=None)
def test_no_trial_of_the_front_is_beaten_and_every_other_is(points):
    trials = [trial(i, error / 10, float(spikes)) for i, (error, spikes) in enumerate(points)]
    found = front(trials, Goal("error", {}))
    kept = [points[i] for i in found]
    for point in points:
        beaten = any(q != point and q[0] <= point[0] and q[1] <= point[1] for q in points)
        assert (point in kept) is not beaten
    assert len(set(kept)) == len(kept)
    assert [s for _, s in kept] == sorted(s for _, s in kept)


def test_what_cannot_be_mapped_is_neither_on_the_front_nor_feasible():
    trials = [trial(0, 0.1, 5.0), trial(1, 0, 0, refused="SFN401")]
    goal = Goal("error", {"spikes": 10.0})
    assert front(trials, goal) == [0]
    assert [goal.feasible(t.measured) for t in trials] == [True, False]


def test_a_limit_of_nothing_is_kept_by_nothing_alone():
    goal = Goal("error", {"loss": 0.0})
    assert goal.feasible(trial(0, 0.1, 1.0, loss=0.0).measured)
    assert not goal.feasible(trial(0, 0.1, 1.0, loss=1e-9).measured)


def test_more_agreement_is_better_and_less_error():
    better, worse = trial(0, 0.1, 5.0), trial(1, 0.2, 4.0)
    for objective in ("error", "agreement"):
        goal = Goal(objective, {})
        assert min((worse, better), key=goal.rank) is better
    assert min((worse, better), key=Goal("error", {"loss": 1.0}).rank) is worse


# -- groups and choices ---------------------------------------------------------------------------------------------
@given(st.lists(st.integers(0, 3), min_size=1, max_size=20), st.integers(1, 9))
def test_groups_hold_every_layer_once_in_its_order(shapes, most):
    sites = [(f"s{i}", (shape,)) for i, shape in enumerate(shapes)]
    groups = grouped(sites, most)
    assert [name for group in groups for name in group] == [name for name, _ in sites]
    assert len(groups) == min(most, len(sites))


SPACE = Space(Options(sites={"own": SiteOptions(levels=7)}), (("a", "b"), ("c",)), ("out",), (31, 15), (8, 4), ("mse",))


def test_a_choice_becomes_options_of_single_sites_and_the_plain_one_those_asked_for():
    assert SPACE.options(SPACE.plain()) == SPACE.base
    point = SPACE.plain()
    point = type(point)((15, 31), (8, 4), (1.0, 2.0), "percentile")
    found = SPACE.options(point)
    assert found.method == "percentile"
    assert found.sites == {
        "own": SiteOptions(levels=7), "a": SiteOptions(levels=15), "b": SiteOptions(levels=15),
        "c": SiteOptions(weight_bits=4, stretch=2.0), "out": SiteOptions(weight_bits=4),
    }  # fmt: skip


def test_a_grid_starts_with_the_plain_choice_changes_little_first_and_repeats_nothing():
    (points,) = list(grid(Task(SPACE, Search("grid", 60), 0)))
    assert points[0] == SPACE.plain()
    assert len(set(points)) == len(points) == 60
    assert len(next(grid(Task(SPACE, Search("grid", 3), 0)))) == 3
    assert starts(SPACE)[0] == SPACE.plain()


# -- AdaFire's strategies on a network made up of numbers -------------------------------------------------------------
def layerwise(strategy, budget, sensitivity, compounding=1.0):
    """Run a layer-wise strategy on three layers of 100 spikes each: the best choice within the budget, and all trials.

    Spikes that are saved in two layers at once count ``compounding`` times.
    """
    space = Space(Options(), (("a",), ("b",), ("c",)), (), (31, 15, 7), (8,), ("mse",))
    task = Task(space, Search(strategy.__name__, budget=read_budget((budget,))), 0)
    proposals, trials, asked = strategy(task), [], []
    points = next(proposals)
    while True:
        asked += points
        found = []
        for point in points:
            saved = [100 - 100 * n / 31 / r for n, r in zip(point.levels, point.stretch, strict=True)]
            spikes = 300 - sum(saved) * (compounding if sum(s > 0 for s in saved) > 1 else 1)
            hurt = zip(sensitivity, point.levels, point.stretch, strict=True)
            loss = 1 + sum(s * (31 / n - 1 + r - 1) for s, n, r in hurt)
            numbers = Measured({"error": loss, "loss": loss}, {"spikes": spikes})
            found.append(Trial(len(trials) + len(found), space.options(point), numbers))
        trials += found
        try:
            points = proposals.send(found)
        except StopIteration:
            break
    goal = goal_of(task.search, trials[0].measured)
    best = min((t for t in trials if goal.feasible(t.measured)), key=goal.rank)
    return asked[best.number], trials


def test_allocation_takes_levels_from_the_layers_that_mind_least():
    best, trials = layerwise(allocate, "spikes=0.6", (9.0, 0.1, 3.0))
    assert best.levels == (31, 7, 15)
    assert 1 + 3 * 2 < len(trials) <= 1 + 3 * 2 + ROUNDS


def test_what_a_combination_costs_in_truth_says_how_much_more_the_next_may_cost():
    _, plain = layerwise(allocate, "spikes=0.6", (1.0, 1.1, 1.2))
    best, trials = layerwise(allocate, "spikes=0.6", (1.0, 1.1, 1.2), compounding=1.5)
    assert trials[7].options == plain[7].options  # the first is what adding up says
    assert sum(best.levels) > sum(n for n in (trials[7].options.at(site).levels for site in "abc"))


def test_compression_stretches_the_layer_that_minds_least_and_not_the_mirrored_one():
    """The published code applies the ratios in mirrored order."""
    best, trials = layerwise(compress, "loss=1.5", (0.1, 9.0, 9.0))
    assert best.stretch == (STRETCHES[-1], 1.0, 1.0)
    assert trials[-1].measured.scores["loss"] <= 1.5


def test_compression_also_takes_a_budget_of_spikes():
    best, _ = layerwise(compress, "spikes=0.7", (9.0, 0.2, 0.1))
    assert best.stretch[0] == 1.0 < best.stretch[1] <= best.stretch[2]


@pytest.mark.parametrize("seed", [0, 1])
def test_suggestions_depend_on_the_seed_and_the_results_alone(seed):
    pytest.importorskip("optuna", reason="optuna is not installed: pip install 'sfnc[search]'")
    from sfn_compile.search.tpe import tpe

    def asked(seed):
        proposals, points = tpe(Task(SPACE, Search("tpe", 18, budget=read_budget(("spikes=0.5",))), seed)), []
        batch = next(proposals)
        while True:
            results = [trial(len(points) + i, sum(p.stretch) / 10, sum(p.levels)) for i, p in enumerate(batch)]
            points += batch
            try:
                batch = proposals.send(results)
            except StopIteration:
                return points

    assert asked(seed) == asked(seed)
    assert len(asked(seed)) == 18
    assert asked(seed) != asked(seed + 7)
    assert asked(seed)[0] == SPACE.plain()


def test_the_stretch_that_keeps_the_budget_is_found_between_those_measured_and_looked_for_nearby():
    pytest.importorskip("optuna", reason="optuna is not installed: pip install 'sfnc[search]'")
    from sfn_compile.search.tpe import NEAR, STRETCH, stretches

    points = [*starts(SPACE), replace(SPACE.plain(), levels=(3, 3))]
    trials = [trial(i, 0.1, 300 * p.stretch[0] ** -0.9 * p.levels[0] / 31) for i, p in enumerate(points)]
    lowest, middle, highest = stretches(SPACE, points, trials, Goal("error", {"spikes": 150.0}))
    assert 300 * middle**-0.9 == pytest.approx(150, rel=0.011)
    assert 300 * middle**-0.9 < 150
    assert highest / lowest == pytest.approx(NEAR**2)
    for limits in ({}, {"spikes": 1.0}, {"spikes": 1000.0}):
        assert stretches(SPACE, points, trials, Goal("error", limits)) == (STRETCH[0], None, STRETCH[1])
