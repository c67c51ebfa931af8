"""The forms for chips with small spikes equal one timestep; verify says so, and says where nothing promises it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfn_compile.foundation.options import Options
from sfn_compile.passes.mapping.clock import clocked, settled
from sfn_compile.program import network as p
from sfn_compile.simulator.run import run_codes
from sfn_compile.simulator.run_clock import after_step
from sfn_compile.testing.builder import Builder

from ..commands.cli_helpers import MODELS, document, refused, succeeds
from ..program.arith_examples import fixed

DIGITS, CALIB = MODELS / "digits.onnx", MODELS / "digits_calib.npz"


def compiled(out: Path, *options: str) -> Path:
    succeeds("compile", DIGITS, "--calib", CALIB, "--samples", "128", *options, "-o", out, "-q")
    return out


@pytest.fixture(scope="module")
def at_once(tmp_path_factory) -> Path:
    return compiled(tmp_path_factory.mktemp("forms") / "once", "--levels", "15", "--no-reconstruct")


@pytest.mark.parametrize("form", ["signed", "unit", "window"])
def test_a_form_equals_the_build_of_one_timestep(form, at_once, tmp_path):
    steps = ("--timesteps", "4") if form == "signed" else ()
    out = compiled(tmp_path / "out", "--levels", "15", "--no-reconstruct", "--neuron", form, *steps)
    succeeds("verify", out, "--against", at_once, "-q")
    proof = document(out / "proof.json")
    assert proof["against"]["same_network"]
    assert proof["against"]["different"] == 0
    assert proof["time"]["equal"] == proof["time"]["samples"] == 8
    assert proof["time"]["timesteps"] == (4 if form == "signed" else 15)
    assert proof["targets"]["sim"]["potentials"]["compared"] > 0


def test_spikes_that_are_not_taken_back_are_found_out(at_once, tmp_path):
    out = compiled(tmp_path / "out", "--levels", "15", "--no-reconstruct", "--timesteps", "4", "--neuron", "burst")
    succeeds("verify", out, "-q")  # every target computes the same: that is another question
    assert document(out / "proof.json")["time"]["certificate"] == "none"
    refused("SFN611", 1, "verify", out, "--against", at_once, "-q")
    assert not document(out / "proof.json")["proved"]


def test_another_network_is_not_the_same_at_one_timestep(at_once, tmp_path):
    out = compiled(tmp_path / "out", "--levels", "7", "--no-reconstruct", "--timesteps", "4")
    assert "other networks at one timestep" in refused("SFN611", 1, "verify", out, "--against", at_once, "-q")


# -- Theorem 2, and why 0 and 1 do not suffice -----------------------------------------------------------------------
def early_and_late() -> p.Program:
    """y fires what h0 says less what h1 says; both count to 8, h0 in the first steps, h1 in the last."""
    b = Builder((2,), 0, 8)
    one = np.ones((), np.int64)
    b.fire("h", p.Projection("x", p.Identity(one)), hi=8)
    b.steps[-1] = with_ladder(b.steps[-1], p.Uniform(one, 0 * one, 0, 8))
    b.fire("y", p.Projection("h", p.Dense(np.array([[1, -1]]))), hi=8)
    b.steps[-1] = with_ladder(b.steps[-1], p.Uniform(one, 0 * one, 0, 8))
    return b.build("y")


def with_ladder(step: p.Step, ladder: p.Uniform) -> p.Step:
    assert isinstance(step, p.Population)
    return p.Population(step.name, step.projections, ladder, step.shape, step.acc_min, step.acc_max, step.origin)


def counted(neuron: str, frames: np.ndarray, settle: int) -> int:
    """What y counts of frames ``(T, 2)``."""
    program = early_and_late()
    asked = Options(timesteps=len(frames), neuron=neuron, burst=None if neuron == "if" else "1", input_coding="frames")
    made = settled(clocked(program, asked), settle)
    return int(after_step(made, run_codes(made, {"x": frames[None].astype(np.int32)}))["y"].item())


FIRST_ONE_THEN_THE_OTHER = np.array([[1, 0]] * 4 + [[0, 1]] * 4)


def test_theorem_2_fails_for_integrate_and_fire_in_synchrony():
    program = early_and_late()
    assert run_codes(program, {"x": np.array([[4, 4]])})["y"].item() == 0
    assert counted("if", FIRST_ONE_THEN_THE_OTHER, settle=0) == 4


@pytest.mark.parametrize("settle", [1, 8, 100])
def test_zero_and_one_are_not_exact_however_long_they_settle(settle):
    assert counted("if", FIRST_ONE_THEN_THE_OTHER, settle) == 4


def test_one_negative_spike_per_step_takes_it_back():
    assert counted("signed", FIRST_ONE_THEN_THE_OTHER, settle=0) == 0


# -- Theorem 1 in the network: the first layer, in every form --------------------------------------------------------
@fixed
@given(st.integers(-40, 40), st.integers(1, 30), st.integers(-60, 60), st.integers(2, 16), st.data())
def test_a_layer_that_constant_input_drives_is_exact_in_every_form(weight, theta, offset, steps, data):
    code = data.draw(st.integers(0, 9))
    neuron = data.draw(st.sampled_from(["signed", "burst", "if", "unit", "window"]))
    hi = data.draw(st.integers(1, steps))
    b = Builder((1,), 0, 9)
    b.fire("y", p.Projection("x", p.Identity(np.array([weight]))), hi=hi)
    b.steps[-1] = with_ladder(b.steps[-1], p.Uniform(np.array([theta]), np.array([offset]), 0, hi))
    made = clocked(b.build("y"), Options(timesteps=steps, neuron=neuron))
    values = run_codes(made, {"x": np.array([[code]])})
    want = min(max((weight * code + offset) // theta, 0), hi)
    assert after_step(made, values, steps if neuron != "window" else None)["y"].item() == want
    assert run_codes(made.at_once(), {"x": np.array([[code]])})["y"].item() == want


@fixed
@given(st.integers(1, 12), st.integers(1, 20), st.data())
def test_any_order_of_inputs_that_a_burst_can_follow_is_counted(burst, theta, data):
    """0 <= what arrives <= M theta in every step: the other half of Theorem 1, with frames in any order."""
    frames = data.draw(st.lists(st.integers(0, burst * theta), min_size=2, max_size=12))
    hi = burst * len(frames)
    b = Builder((1,), 0, burst * theta * len(frames))
    one = np.ones((), np.int64)
    b.fire("y", p.Projection("x", p.Identity(one)), hi=hi)
    b.steps[-1] = with_ladder(b.steps[-1], p.Uniform(np.array([theta]), np.array([theta // 2]), 0, hi))
    asked = Options(timesteps=len(frames), neuron="burst", burst=str(burst), input_coding="frames")
    made = clocked(b.build("y"), asked)
    values = run_codes(made, {"x": np.array(frames, np.int32).reshape(1, -1, 1)})
    assert after_step(made, values)["y"].item() == min((sum(frames) + theta // 2) // theta, hi)
