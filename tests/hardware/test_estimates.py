"""The one usable measurement lies inside the ranges; energy is four lines, each with its boundary."""

from __future__ import annotations

import pytest

from sfn_compile.hardware.chip_files import load_chip
from sfn_compile.hardware.demand import Demand, Layer, Link, Window
from sfn_compile.hardware.estimates import Work, core_us, estimate
from sfn_compile.hardware.memory import Readers
from sfn_compile.hardware.plan import Plan
from sfn_compile.hardware.tilings import tiling_of

from .hardware_cases import rows

LOIHI2 = load_chip("loihi2")
PILOTNET = next(r for r in rows("loihi2_measured.csv") if r["network"].startswith("PilotNet LIF"))
BUSIEST_NEURONS = 3072


def one_layer(synops: int, neurons: int) -> tuple[Demand, Plan]:
    link = Link("x", Window("dense", 8), 8, synops, 1, True, 0, 0)
    layer = Layer("a", (), (neurons,), (neurons, 1, 1), (0, None, None), 1, (link,), 1, 0, 1, "Readout")
    tiling = tiling_of(LOIHI2.memory, layer, (neurons, 1, 1), Readers(), 1)
    return Demand((layer,), (), (), 1), Plan("vendor", 1, {"a": tiling}, ())


def test_the_measured_step_lies_in_the_range():
    low, high = core_us(LOIHI2.time, Work(int(PILOTNET["synops_busiest_core_counted_here"]), BUSIEST_NEURONS, 0))
    assert low < float(PILOTNET["us_per_step"]) < high + LOIHI2.time.barrier_us.high
    assert high < 1.2 * float(PILOTNET["us_per_step"])


def test_the_measured_energy_of_a_step_lies_between_the_two_dynamic_lines():
    demand, plan = one_layer(int(PILOTNET["synops_per_step_counted_here"]), 1000)
    lines = {line["name"]: line["uj"] for line in estimate(LOIHI2, demand, plan, 1, {})["energy"]}
    measured = float(PILOTNET["dynamic_W"]) * float(PILOTNET["us_per_step"])
    assert measured == pytest.approx(68.3, abs=0.1)
    assert lines["dynamic, low"][0] < measured < lines["dynamic, high"][1]


@pytest.mark.parametrize("row", [r for r in rows("loihi2_measured.csv") if r["static_W"]], ids=lambda r: r["network"])
def test_measured_static_power_lies_in_the_range(row):
    static = LOIHI2.energy.static_w
    assert static.low <= round(float(row["static_W"]), 3) <= static.high


def test_a_small_network_takes_the_least_time_that_was_measured():
    demand, plan = one_layer(8, 1)
    said = estimate(LOIHI2, demand, plan, 1, {})
    assert said["step_us"] == pytest.approx([0.2, 1.8], abs=0.02)  # the barrier, and nanoseconds for 8 operations


def test_silence_costs_no_synaptic_operations():
    demand, plan = one_layer(10**6, 1000)
    loud, silent = (estimate(LOIHI2, demand, plan, 1, d) for d in ({}, {"x": 0.0}))
    assert silent["synops"] == 0
    assert silent["step_us"][1] < loud["step_us"][1] == silent["step_us_if_all_fire"][1]


def test_every_line_of_energy_has_its_boundary_and_source():
    demand, plan = one_layer(10**6, 1000)
    for line in estimate(LOIHI2, demand, plan, 1, {})["energy"]:
        assert "input, output and board not included" in line["boundary"]
        assert line["source"]
        assert line["uj"][0] <= line["uj"][1]
