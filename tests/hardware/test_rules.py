"""One minimal network for every rule, which breaks it and nothing else; what its fix says makes it pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfn_compile.foundation.codes import CODES
from sfn_compile.hardware.chip import Count, WordMemory
from sfn_compile.hardware.chip_files import load_chip
from sfn_compile.program.network import Dense, Elementwise, Product, Projection
from sfn_compile.testing.builder import Builder

from .hardware_cases import conv, dense, ended, fitted, little

LOIHI2 = load_chip("loihi2")
ALWAYS = {"programs_of_neurons"}  # that nobody has published one is said of every network


def broken(fit) -> set[str]:
    return {f.rule for f in fit.findings if f.diagnostic.severity != "warning"}


def warned(fit) -> set[str]:
    return {f.rule for f in fit.findings if f.diagnostic.severity == "warning"} - ALWAYS


def only(fit, rule: str):
    (found,) = [f for f in fit.findings if f.rule == rule]
    return found


def limited(**limits: int):
    said = {k: Count(v, "test", "inferred") for k, v in limits.items()}
    own = {k: v for k, v in said.items() if hasattr(LOIHI2.limits, k)}
    memory = {k: v for k, v in said.items() if k not in own}
    assert isinstance(LOIHI2.memory, WordMemory)
    return replace(LOIHI2, limits=replace(LOIHI2.limits, **own), memory=replace(LOIHI2.memory, **memory))


def test_a_network_without_fault():
    fit = fitted(ended(little(), "y"))
    assert not fit.problems
    assert not warned(fit)
    assert [f.rule for f in fit.findings] == ["programs_of_neurons"]


@pytest.mark.parametrize(
    ("rule", "limits", "fix"),
    [
        ("width_of_weights", {"weight_bits": 4}, "--weight-bits 4"),
        ("width_of_sums", {"sum_bits": 10}, "--acc-bits 10"),
        ("width_of_codes", {"code_bits": 3}, "--input-levels 3"),
    ],
)
def test_widths(rule, limits, fix):
    fit = fitted(ended(little(), "y"), limited(**limits))
    assert broken(fit) == {rule}
    assert all(f.code == "SFN412" for f in fit.findings if f.rule == rule)
    assert fix in {f.fix for f in fit.findings if f.rule == rule}


def test_narrower_weights_mend_their_width():
    assert not fitted(ended(little(top=7), "y"), limited(weight_bits=4)).problems


def test_the_power_of_two_that_weights_share_does_not_count():
    build = Builder((8,), hi=7)
    build.fire("y", Projection("x", Dense(64 * build.weights(4, 8, top=1))), kind="readout")
    assert not fitted(ended(build, "y"), limited(weight_bits=2)).problems


def test_codes_of_a_population():
    build = Builder((8,), hi=3)
    build.fire("a", dense(build, "x", 16, 63), kind="pow2", hi=7)
    build.fire("y", dense(build, "a", 4, 63), kind="readout")
    fit = fitted(ended(build, "y"), limited(code_bits=3))
    found = only(fit, "width_of_codes")
    assert (found.layer, found.value, found.limit, found.fix) == ("a", 4, 3, "--levels 3")
    assert warned(fitted(ended(build, "y"), limited(plain_code_bits=2))) == {"wide_codes"}


def test_one_neuron_that_reads_too_much():
    """Its synapses and its input axons take a word each: 10,000 inputs fill a core."""
    build = Builder((10001,), hi=1)
    build.fire("y", dense(build, "x", 1), kind="readout")
    fit = fitted(ended(build, "y"))
    found = only(fit, "parts_of_layers")
    assert broken(fit) == {"parts_of_layers"}
    assert (found.code, found.value, found.limit, found.unit) == ("SFN410", 20004, 20000, "total")
    assert "10,001" in found.fix
    mended = Builder((9998,), hi=1)
    mended.fire("y", dense(mended, "x", 1), kind="readout")
    assert not fitted(ended(mended, "y")).problems


def test_one_channel_of_a_kernel_that_is_too_large():
    build = Builder((2000, 3, 3), hi=1)
    build.fire("y", conv(build, "x", 2), kind="readout")
    found = only(fitted(ended(build, "y")), "parts_of_layers")
    assert (found.value, found.limit, found.unit) == (18000, 16000, "synapses")


def test_more_cores_than_the_board_has():
    build = Builder((8, 100, 100), hi=1)
    last = "x"
    for i in range(2):
        last = build.fire(f"a{i}", conv(build, last, 64, top=1), kind="pow2", hi=1)
    program = ended(build, last)
    fit = fitted(program, "loihi2:oheo-gulch")
    assert broken(fit) == {"cores_and_chips"}
    found = only(fit, "cores_and_chips")
    assert found.limit == 120 < found.value
    assert "Oheo Gulch" in found.what
    assert not fitted(program, "loihi2:kapoho-point").problems


def test_a_skip_that_waits_too_long():
    def deep(n: int):
        build = Builder((4,), hi=3)
        first = last = build.fire("a", dense(build, "x", 4, 1), kind="pow2", hi=1)
        for i in range(n):
            last = build.fire(f"b{i}", dense(build, last, 4, 1), kind="pow2", hi=1)
        build.fire("y", dense(build, last, 2, 1), dense(build, first, 2, 1), kind="readout")
        return fitted(ended(build, "y"))

    fit = deep(64)
    assert broken(fit) == {"waiting"}
    assert (only(fit, "waiting").value, only(fit, "waiting").limit) == (64, 63)
    assert not deep(63).problems
    assert warned(deep(2)) == {"relays"}
    assert only(deep(2), "relays").value == 2  # cores: a step of waiting, a relay


@pytest.mark.parametrize("kind", ["pool", "product"])
def test_what_no_core_is_known_to_compute_is_refused_or_counted_as_host_work(kind):
    build = Builder((2, 4, 4), hi=7)
    a = build.fire("a", conv(build, "x", 3), kind="pow2", hi=3)
    if kind == "pool":
        build.max_pool("p", a, (2, 2), (2, 2))
    else:
        b = build.fire("b", conv(build, "x", 3), kind="pow2", hi=3)
        build.fire("p", Product(a, b, Elementwise(np.ones((1, 1, 1), np.int64))), kind="pow2", hi=3)
    fit = fitted(ended(build, "p"))
    found = only(fit, "known_operations")
    assert broken(fit) == {"known_operations"}
    assert (found.code, found.layer) == ("SFN411", "p")
    assert "--host-work" in found.fix
    counted = fitted(ended(build, "p"), counts_host=True)
    assert not counted.problems
    assert "known_operations" in warned(counted)
    assert counted.demand.host[0].operations >= 12


def test_a_chip_of_binary_compartments_pools_and_needs_its_levels():
    """What the target loihi1 computes is known there, max pools too; a neuron is as many compartments as levels."""
    build = Builder((2, 8, 8), hi=15)
    build.fire("a", conv(build, "x", 4), kind="uniform", hi=3)
    build.max_pool("p", "a", (2, 2), (2, 2))
    build.fire("y", conv(build, "p", 2, 4, pads=((0, 0), (0, 0)), top=9), kind="readout")
    fit = fitted(ended(build, "y"), "loihi1")
    assert {layer.name: layer.ladder for layer in fit.demand.layers}["p"] == "MaxPool"
    assert "known_operations" not in {f.rule for f in fit.findings}
    assert (
        fit.plans["fewest", 0].tilings["a"].use["compartments"]
        == 3 * fit.plans["fewest", 0].tilings["a"].use["neurons"]
    )


def test_a_dense_network_takes_the_cores_that_the_target_loihi1_gives_it():
    from sfn_backends.loihi1 import cores
    from sfn_backends.loihi1.network import Network

    build = Builder((784,), hi=15)
    build.fire("a", dense(build, "x", 256, 9), hi=3)
    build.fire("b", dense(build, "a", 256, 9), hi=3)
    build.fire("y", dense(build, "b", 10, 9), kind="readout")
    program = ended(build, "y")
    wanted = {name: len(cuts) for name, cuts in cores.cuts_of(Network(program)).items()}
    plan = fitted(program, "loihi1").plans["fewest", 0]
    assert {name: t.cores for name, t in plan.tilings.items()} == wanted == {"a": 22, "b": 2, "y": 1}


def test_thresholds_that_are_no_powers_of_two_are_told_with_the_option():
    fixes = {kind: {f.fix for f in fitted(ended(little(kind), "y")).findings} for kind in ("uniform", "pow2")}
    assert fixes == {"uniform": {"", "--threshold pow2"}, "pow2": {""}}


def test_tables_are_told_and_counted_at_the_high_end():
    build = little("table")
    fit = fitted(ended(build, "y"))
    assert any("tables of up to 3 thresholds" in f.what for f in fit.findings)
    (use,) = [fit.plans["vendor", s].tilings["a"].use["state"] for s in (3,)]
    assert use == 16 * 3
    wide = Builder((8,), hi=7)
    wide.fire("a", dense(wide, "x", 16), kind="table", hi=31)
    wide.fire("y", dense(wide, "a", 4), kind="readout")
    assert fitted(ended(wide, "y")).plans["vendor", 3].tilings["a"].use["state"] == 16 * 12  # 31 of 24 bit


def test_a_network_that_fits_with_the_smallest_neuron_only():
    chip = limited(neurons=4)
    build = Builder((4,), hi=3)
    for i in range(100):
        build.fire(f"a{i}", dense(build, "x", 4, 1), kind="pow2", hi=1)
    fit = fitted(ended(build, *(f"a{i}" for i in range(100))), replace(chip, board=chip.boards[0]))
    assert not fit.problems
    assert warned(fit) == {"words_of_neurons"}


def test_connections_of_which_no_row_was_printed_are_told_with_their_range():
    build = Builder((4, 6, 6), hi=7)
    build.fire("y", conv(build, "x", 4, groups=4, top=3), kind="readout")
    fit = fitted(ended(build, "y"))
    assert warned(fit) == {"rows_never_printed"}


def test_every_code_of_a_finding_exists():
    assert {"SFN410", "SFN411", "SFN412", "SFN413"} <= set(CODES)
