"""NeuroBench's metrics are those that its package computes of the same integers (neurobench.json and its script)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sfn_compile.foundation.diagnostics import Origin
from sfn_compile.program.network import Conv, Dense, Encoding, Move, Population, Program, Projection, Readout, Reshape
from sfn_compile.program.neurons import Uniform
from sfn_compile.report.neurobench import neurobench
from sfn_compile.simulator.run import run_codes

from ..commands.cli_helpers import TEST, succeeds

THEIRS = json.loads((Path(__file__).parent / "neurobench.json").read_text(encoding="utf-8"))
SAMPLES = 16


def network() -> tuple[Program, dict[str, np.ndarray]]:
    """The network of the script, as a Program, and its samples."""
    rng = np.random.default_rng(THEIRS["seed"])
    x = rng.integers(0, 2, (SAMPLES, 2, 6, 6))
    w, k = rng.integers(-3, 4, (4, 2, 3, 3)), rng.integers(-3, 4, (5, 64))
    nodes, one = Origin(), np.ones((1, 1, 1))
    conv = Conv(w.astype(np.int8), (1, 1), ((0, 0), (0, 0)), (1, 1))
    fired = Uniform(np.full((4, 1, 1), 9), np.full((4, 1, 1), 4), 0, 3)
    steps = (
        Population("a", (Projection("x", conv),), fired, (4, 4, 4), -54, 54, nodes),
        Move("f", ("a",), Reshape((64,)), (64,), nodes),
        Population("y", (Projection("f", Dense(k.astype(np.int8))),), Readout(np.zeros(5, np.int64)), (5,), -600, 600,
                   nodes),
    )  # fmt: skip
    return Program((Encoding("x", "x", (2, 6, 6), "float32", (), one, (2, 6, 6), 0, 1),), steps, ()), {"x": x}


def test_the_metrics_are_those_of_the_package():
    program, codes = network()
    found = neurobench(program, {**codes, **run_codes(program, codes)})
    theirs = THEIRS["synaptic_operations"]
    assert found["synaptic_operations"] == {"effective_macs": theirs["Effective_MACs"], "dense": theirs["Dense"],
                                            "effective_acs": theirs["Effective_ACs"]}  # fmt: skip
    assert found["connection_sparsity"] == THEIRS["connection_sparsity"]
    assert found["activation_sparsity"] == pytest.approx(THEIRS["activation_sparsity"], abs=1e-12)
    # Theirs has 392 weights of 4 bytes and no thresholds; ours 1 byte a weight, and the thresholds.
    assert THEIRS["footprint"] == 392 * 4
    assert 392 < found["footprint"] < 392 + 100


def test_the_fixture_says_what_made_it():
    assert set(THEIRS["versions"]) == {"neurobench", "torch", "snntorch", "numpy"}


def test_the_command_prints_them(made):
    found = json.loads(succeeds("metrics", made, "--data", TEST, "--samples", 32, "--json").stdout)
    assert found["samples"] == 32
    ops = found["synaptic_operations"]
    assert 0 < ops["effective_macs"] + ops["effective_acs"] < ops["dense"]
    assert succeeds("metrics", made, "--data", TEST, "--samples", 32).stdout.startswith("footprint ")
