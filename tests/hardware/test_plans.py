"""Whatever the layer: no neuron is lost, every core obeys every limit, fewest is fewest, balancing never slows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfn_compile.hardware.chip import Chip, WordMemory
from sfn_compile.hardware.chip_files import load_chip
from sfn_compile.hardware.demand import Layer, Link, Window
from sfn_compile.hardware.estimates import share_of
from sfn_compile.hardware.fit import document, tiles_of
from sfn_compile.hardware.memory import Readers, asked
from sfn_compile.hardware.names import PLANS
from sfn_compile.hardware.plan import Planner
from sfn_compile.targets.placement import miscut

from .hardware_cases import conv, ended, fitted, little
from .hardware_cases import dense as dense_link

SIZES = st.integers(1, 40)


@st.composite
def layers(draw) -> list[Layer]:
    """A chain of maps and vectors, each reading the one before."""
    made: list[Layer] = []
    for i in range(draw(st.integers(1, 4))):
        is_map = draw(st.booleans())
        grid = (draw(st.integers(1, 300)), draw(SIZES) if is_map else 1, draw(SIZES) if is_map else 1)
        inputs = draw(st.integers(1, 200))
        k, groups = draw(st.sampled_from([1, 3, 5])), draw(st.sampled_from([1, grid[0]]))
        window = Window("conv", inputs if groups == 1 else 1, (k, k), (2, 2), (k, k), groups) if is_map else Window(
            "dense", inputs, is_printed=True)  # fmt: skip
        macs = math.prod(grid) * window.taps * window.inputs
        link = Link(made[-1].name if made else "x", window, draw(st.integers(1, 8)), macs, 7, not made, 0, 0)
        axes = (0, 1 if is_map else None, 2 if is_map else None)
        shape = grid if is_map else grid[:1]
        made.append(Layer(f"l{i}", (), shape, grid, axes, 1, (link,), i + 1, 0, 7, "Uniform"))
    made[-1] = replace(made[-1], is_output=True)
    return made


def plans(chip: Chip, made: list[Layer], state: float) -> dict:
    planner = Planner(chip, made, {x.name: float(x.links[0].macs) for x in made})
    return {"planner": planner, **{name: planner.plan(name, state) for name in PLANS}}


@pytest.mark.parametrize("chip", ["loihi2", "loihi1"])
@settings(max_examples=40, deadline=None)
@given(made=layers(), state=st.sampled_from([1, 3]))
def test_every_plan_keeps_the_rules(chip, made, state):
    found = plans(load_chip(chip), made, state)
    memory, planner = load_chip(chip).memory, found["planner"]
    for name in PLANS:
        plan = found[name]
        assert set(plan.tilings) | set(plan.unplaced) == {x.name for x in made}
        for layer in made:
            if layer.name in plan.tilings:
                tiling = plan.tilings[layer.name]
                tiles = [t for t, _ in tiles_of(layer, tiling, 0)]
                assert not miscut(layer.shape, tuple(tiles))
                assert len(tiles) == tiling.cores
                assert tiling.fill <= 1
                assert asked(memory, layer, tiling.tile, planner.readers(layer, plan.tilings), state).fits
    assert set(found["fewest"].unplaced) <= set(found["vendor"].unplaced)
    assert planner.slowest(found["balanced"]) <= planner.slowest(found["fewest"])
    assert found["fewest"].cores <= found["balanced"].cores
    budget = -(-found["fewest"].cores // load_chip(chip).cores.count.value) * load_chip(chip).cores.count.value
    assert found["balanced"].cores <= max(budget, found["fewest"].cores)


@settings(max_examples=60, deadline=None)
@given(made=layers(), state=st.sampled_from([1, 3]))
def test_no_single_layer_has_fewer_cores_than_the_fewest(made, state):
    """A layer alone, so that no reader changes what its axons take."""
    layer = replace(made[0], is_output=True)
    found = plans(load_chip("loihi2"), [layer], state)
    if not found["vendor"].unplaced:
        assert found["fewest"].cores <= found["vendor"].cores


def test_work_spread_over_spare_cores_takes_less_time():
    build = little()
    build.fire("z", dense_link(build, "a", 60), kind="readout")
    fit = fitted(ended(build, "y", "z"))
    layer = next(x for x in fit.demand.layers if x.name == "z")
    by = {name: share_of(layer, fit.plans[name, 1].tilings["z"]) for name in PLANS}
    assert by["balanced"] < by["fewest"] == 1


def test_a_core_has_so_many_words_for_neurons():
    """4,096 neurons of one word stand on two cores, and 1,366 of three."""
    memory = load_chip("loihi2").memory
    assert isinstance(memory, WordMemory)
    layer = Layer("a", (), (4096,), (4096, 1, 1), (0, None, None), 1, (), 0, 0, 1, "Uniform")
    fits = [
        bool(asked(memory, layer, (n, 1, 1), Readers(), s).fits)
        for n, s in ((4095, 1), (4096, 1), (1365, 3), (1366, 3))
    ]
    assert fits == [True, False, True, False]


def test_the_placement_holds_every_neuron_and_every_core_its_own_numbers():
    build = little()
    build.input("m", (3, 20, 30), hi=7)
    build.fire("c", conv(build, "m", 40), kind="pow2", hi=3)
    build.fire("d", conv(build, "c", 17, strides=(2, 2)), kind="pow2", hi=3)
    for split in PLANS:
        found = document(fitted(ended(build, "y", "d"), split=split))
        rows = {r["core"]: r for r in found["core_map"]}
        assert sorted(rows) == list(range(len(rows)))
        for placed in found["placement"]:
            info = build.info(placed["name"])
            held = np.zeros(info.shape, int)
            for core, start, stop in placed["tiles"]:
                part = held[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
                part += 1
                assert rows[core]["layer"] == placed["name"]
                assert rows[core]["neurons"] == part.size
                assert rows[core]["percent"] <= 100
            assert (held == 1).all()
