"""The estimate of energy against a loop over every multiplication, and against prices worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.program.linear_maps import Gather
from sfn_compile.program.network import Identity
from sfn_compile.report import energy
from sfn_compile.report.activity import Activity
from sfn_compile.report.energy import Term, price
from sfn_compile.report.fanout import classes, fan_out

from .report_examples import compiled
from .synapse_oracle import carried


def test_the_example_holds_every_kind_of_synapse():
    program = compiled()[0].program
    maps = {type(p.map).__name__ for s in program.populations() for p in s.projections}
    assert maps >= {"Conv", "Dense", "Identity"}
    assert any(s.products for s in program.populations())


@pytest.mark.parametrize("step", list(compiled()[0].program.populations()), ids=lambda step: step.name)
def test_counts_are_those_of_a_loop_over_every_multiplication(step):
    done, measured, values = compiled()
    row = next(r for r in measured.energy["layers"] if r["name"] == step.name)
    want = carried(step, values, {e.value for e in done.program.inputs})
    assert {name: pytest.approx(value) for name, value in want.items()} == {name: row[name] for name in want}


def test_totals_are_the_sums_of_the_layers_and_their_ratios():
    found = compiled()[1].energy
    rows, total = found["layers"], found["totals"]
    for name in ("synapses", "events", "spikes", "set_bits", "compares_search", "float", "matched", "weight_fetches"):
        assert total[name] == pytest.approx(sum(r[name] for r in rows))
    for p in ("E1", "E2", "E3"):
        assert total["to_float"][p] == pytest.approx(sum(r["literature"][p] for r in rows) / total["float"])
    assert set(total["to_matched"]) == {"E1", "E2", "E3", "E4"}
    assert total["to_matched"]["E4"] == pytest.approx(sum(r["integer"]["E4"] for r in rows) / total["matched"])
    spiking = total["synapses"] - total["multiplications"]
    assert total["per_synapse"]["spikes"] == pytest.approx(total["spikes"] / spiking)


def test_a_network_of_pools_and_moves_alone_has_every_total_and_nothing_to_compare():
    full, total = compiled()[1].energy["totals"], energy.totals(())
    assert total.keys() == full.keys()
    assert total["synapses"] == total["float"] == total["matched"] == 0
    assert total["integer"] == dict.fromkeys(("E1", "E2", "E3", "E4"), 0)
    assert total["to_float"] == dict.fromkeys(("E1", "E2", "E3"))
    assert total["per_synapse"] == dict.fromkeys(("events", "spikes", "set_bits"))


def test_events_are_fewer_than_set_bits_and_these_fewer_than_unary_spikes():
    total = compiled()[1].energy["totals"]
    assert total["events"] < total["set_bits"] < total["spikes"]
    assert total["integer"]["E1"] < total["integer"]["E3"] < total["integer"]["E2"]
    assert total["integer"]["E4"] < total["matched"]


def test_a_layer_behind_another_is_priced_as_written():
    """100 synapses of 8-bit weights and 5-bit codes; 40 events, 90 spikes, 60 set bits; 10 neurons of 31 levels."""
    row = {"acc_bits": 16, "shape": [10], "levels": 31}
    found = price([Term(100, Activity(40, 90, 60), (8, 5))], row)
    add, compares = 0.1 * 16 / 32, 10 * 5
    mac = 0.2 * 8 * 5 / 64 + add
    assert found["literature"] == pytest.approx({"E1": 36.0, "E2": 81.0, "E3": 54.0})
    assert found["float"] == pytest.approx(460.0)
    assert (found["compares_search"], found["compares_thermometer"]) == (50, 310)
    assert found["integer"] == pytest.approx(
        {
            "E1": 40 * add + compares * add,
            "E2": 90 * add + compares * add,
            "E3": 60 * add + compares * add,
            "E4": 40 * mac + compares * add,
        }
    )
    assert found["matched"] == pytest.approx(100 * mac + compares * add)
    assert found["weight_fetches"] == 40
    assert found["fetched"] == pytest.approx(40 * 8 * 10 / 64)
    assert found["fetched_matched"] == pytest.approx(100 * 8 * 10 / 64)


def test_the_first_layer_is_priced_as_multiplications():
    row = {"acc_bits": 16, "shape": [10], "levels": None}
    found = price([Term(100, Activity(40, 90, 60), (8, 8), dense=True)], row)
    assert found["literature"] == pytest.approx(dict.fromkeys(("E1", "E2", "E3"), 460.0))
    assert found["integer"]["E1"] == found["integer"]["E4"] == found["matched"] == pytest.approx(100 * (0.2 + 0.05))
    assert found["events"] == 0


def test_what_carries_on_rounding_is_no_part_of_the_float_network():
    row = {"acc_bits": 16, "shape": [10], "levels": 31}
    found = price([Term(100, Activity(40, 90, 60), (8, 5), carried=True)], row)
    assert found["synapses"] == 100
    assert found["synapses_float"] == found["float"] == found["matched"] == found["fetched_matched"] == 0


def test_the_quantised_network_has_one_value_of_all_bits_where_this_one_has_two_populations():
    row = {"acc_bits": 16, "shape": [10], "levels": 31}
    first = Term(100, Activity(40, 90, 60), (8, 5), more_bits=2)
    second = Term(100, Activity(70, 150, 80), (8, 2), carried=True)
    add, compares = 0.1 * 16 / 32, 10 * 5
    found = price([first, second], row)
    assert found["matched"] == pytest.approx(100 * (0.2 * 8 * 7 / 64 + add) + compares * add)
    assert found["integer"]["E1"] == pytest.approx((110 + compares) * add)


def test_every_constant_names_its_source():
    found = compiled()[1].energy
    assert found["estimate"] is True
    assert set(found["constants"]) == set(energy.CONSTANTS)
    assert all("Horowitz" in c["source"] and c["unit"] == "pJ" and c["value"] > 0 for c in found["constants"].values())


def test_fan_out_of_a_gather_counts_reads_and_leaves_padding_out():
    index = np.array([[0, 2, 2], [-1, 3, 2]])
    assert fan_out(Gather(index, np.ones(1)), (2, 2)).tolist() == [[1, 0], [3, 1]]


def test_classes_tell_apart_what_any_reader_reads_differently():
    rows, columns = np.array([[[1], [2]]]), np.array([[[5, 5, 7]]])
    of, fans = classes([rows, columns, fan_out(Identity(np.ones(1)), (4, 2, 3))], (4, 2, 3))
    assert of.shape == (1, 2, 3)
    assert len(np.unique(of)) == 4
    assert (fans[0][of] == np.broadcast_to(rows, (1, 2, 3))).all()
    assert (fans[1][of] == np.broadcast_to(columns, (1, 2, 3))).all()
    assert (fans[2] == 1).all()
