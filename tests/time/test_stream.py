"""Step by step as input comes in: the spikes and answers of the network as a whole, and what a stream refuses."""

from __future__ import annotations

import numpy as np
import pytest

import sfn_compile
from sfn_compile.data.sources import data_of_build
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.simulator.run import run_codes
from sfn_compile.simulator.stepping import Stepping

from ..commands.cli_helpers import CALIB as DIGITS
from ..commands.cli_helpers import MODELS
from .clocked_programs import WAYS, edges, shown
from .recordings import frames_of
from .test_recordings import CALIB, NMNIST, TEST
from .test_suite_over_time import ALL, made_or_refused

T = 4


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", ALL, ids=str)
def test_a_step_at_a_time_every_spike_is_that_of_all_steps_together(case, way):
    program = made_or_refused(case, way)
    if program is None:
        return
    x = shown(program, edges(program))
    want, stepping = run_codes(program, x), Stepping(program)
    for t in range(program.clock.steps):
        comes = x if program.frames is None else {k: frame_of(v, t) for k, v in x.items()}
        for name, found in stepping.step(comes).items():
            if stepping.kinds[name].told:
                assert np.array_equal(found, comes[name] if name in x else want[name][:, t]), (name, t)


def frame_of(frames: np.ndarray, t: int) -> np.ndarray:
    return frames[:, t] if t < frames.shape[1] else np.zeros_like(frames[:, 0])


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """The network of the event camera over time, and at one timestep."""
    place = tmp_path_factory.mktemp("stream")
    over_time = {"timesteps": T, "input_coding": "frames"}
    return {name: sfn_compile.compile(NMNIST, place / name, calib=CALIB, **how)
            for name, how in (("time", over_time), ("once", {}))}  # fmt: skip


@pytest.fixture(scope="module")
def frames(nets) -> np.ndarray:
    return frames_of(data_of_build(TEST, nets["time"].manifest))


def test_a_recording_is_answered_while_it_comes(nets, frames):
    net = nets["time"]
    codes, stream = net.codes(frames), net.stream()
    for t in range(net.program.clock.steps):
        answer = stream.step(frames[:, t]) if t < T else stream.step()
        assert stream.steps == t + 1
        assert set(stream.spikes) == {p.name for p in net.program.clock.paces if p.most}
        assert all(np.array_equal(spikes, codes[name][:, t]) for name, spikes in stream.spikes.items())
        quiet = t + 1 >= T and not any(codes[name][:, t].any() for name in stream.spikes)
        assert stream.proved.all() == quiet
    assert np.array_equal(answer, net(frames))
    assert stream.proved.all()
    assert np.array_equal(answer, nets["once"](frames.sum(axis=1)))
    more = stream.step()  # nothing changes any more, however long it goes on
    assert np.array_equal(more, answer)


def test_one_sample_is_a_batch_of_one_and_a_step_without_events_is_an_empty_frame(nets, frames):
    with_none, with_zeros = nets["time"].stream(), nets["time"].stream()
    for stream in (with_none, with_zeros):
        stream.step(frames[:1, 0])
    answers = with_none.step(), with_zeros.step(np.zeros_like(frames[:1, 0]))
    assert np.array_equal(*answers)
    assert answers[0].shape == (1, 10)
    assert np.array_equal(with_none.step(frames[:1, 2]), with_zeros.step(frames[:1, 2]))


def test_an_input_that_stays_is_shown_once():
    net = sfn_compile.compile(MODELS / "digits.onnx", calib=DIGITS, samples=64, timesteps=3)
    with np.load(DIGITS) as data:
        x = data["image"][:5]
    stream = net.stream()
    answers = [stream.step(x), *(stream.step() for _ in range(net.program.clock.steps - 1))]
    assert np.array_equal(answers[-1], net(x))
    assert not np.array_equal(answers[0], answers[-1])
    with pytest.raises(CompileError, match="SFN609"):
        stream.step(x)


def test_what_cannot_be_streamed_is_refused(nets, frames):
    with pytest.raises(CompileError, match=r"SFN605.*one timestep"):
        nets["once"].stream()
    stream = nets["time"].stream()
    with pytest.raises(CompileError, match=r"SFN605.*first step"):
        stream.step()
    with pytest.raises(CompileError, match=r"SFN605.*no step"):
        stream.proved  # noqa: B018
    with pytest.raises(CompileError, match="SFN303"):
        stream.step(frames)  # all frames at once
    stream.step(frames[:3, 0])
    with pytest.raises(CompileError, match=r"SFN303.*2 samples in this frame, 3"):
        stream.step(frames[:2, 1])
    for t in range(1, T):
        stream.step(frames[:3, t])
    with pytest.raises(CompileError, match=r"SFN609.*frame 5 of a network with 4"):
        stream.step(frames[:3, 0])
    assert stream.steps == T
