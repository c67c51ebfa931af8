"""Cross-layer equalisation: steps that make the largest weights into and out of every channel the same."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.calibration.collect import collect
from sfn_compile.foundation.options import Options
from sfn_compile.foundation.samples import by_name
from sfn_compile.passes.mapping.choose_ladders import ChooseLadders
from sfn_compile.passes.mapping.equalize import Equalize
from sfn_compile.passes.pipeline import run_passes

from ...frontend.tiny_onnx import imported, noise, samples, tiny
from ..pass_examples import EvaluatedRunner, network, structured


def before_and_after(model, folder, options):
    original = imported(model, folder)
    graph = structured(original)
    x = by_name(samples(original, 16), [i.model_name for i in graph.inputs])
    statistics = collect(graph, EvaluatedRunner(graph), x)
    chosen = run_passes(graph, (ChooseLadders(statistics, options),))
    return chosen, run_passes(chosen, (Equalize(statistics),))


BODY = "a = Conv(x, w, b) r = Relu(a) y = Conv(r, u, c)"
WEIGHTS = {"w": noise(4, 3, 3, 3) * np.array([9.0, 1.0, 0.2, 3.0]).reshape(4, 1, 1, 1), "b": noise(4, seed=2),
           "u": noise(4, 4, 3, 3, seed=5), "c": noise(4, seed=6)}  # fmt: skip


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_weights_into_and_out_of_a_channel_are_equally_large_in_codes(granularity, tmp_path):
    _, after = before_and_after(tiny(BODY, **WEIGHTS), tmp_path, Options(granularity=granularity))
    nodes = after.by_name()
    step = nodes["r"].op.levels.step.reshape(-1)
    into = np.abs(nodes["r"].op.maps[0].weight).max(axis=(1, 2, 3)) / step
    out = np.abs(nodes["y"].op.maps[0].weight).max(axis=(0, 2, 3)) * step
    np.testing.assert_allclose(into / out, np.full(4, (into / out)[0]), rtol=1e-12)


def test_what_else_reads_a_site_keeps_its_steps(tmp_path):
    """A residual adds codes of its channels to others: scaling one would have to scale all."""
    before, after = before_and_after(network("a residual block"), tmp_path, Options())
    for old, new in zip(before.nodes, after.nodes, strict=True):
        if old.op is not new.op:
            readers = before.users()[old.name]
            reads = [p.map for u in readers for p in u.op.drivers(u.inputs)[0] if p.source == old.name]
            assert {type(m).__name__ for m in reads} <= {"Conv", "Dense"}


def test_a_function_that_does_not_scale_is_left_alone(tmp_path):
    before, after = before_and_after(tiny(BODY.replace("Relu", "Tanh"), **WEIGHTS), tmp_path, Options())
    assert before.by_name()["r"].op is after.by_name()["r"].op


def test_depthwise_and_grouped_readers_read_their_own_channels(tmp_path):
    body = "a = Conv(x, w, b) r = Relu(a) y = Conv<group=2>(r, u)"
    weights = {**WEIGHTS, "u": noise(6, 2, 3, 3)}
    del weights["c"]
    _, after = before_and_after(tiny(body, **weights), tmp_path, Options())
    step = after.by_name()["r"].op.levels.step.reshape(-1)
    grouped = np.abs(after.by_name()["y"].op.maps[0].weight).reshape(2, 3, 2, 9).max(axis=(1, 3)).reshape(-1)
    into = np.abs(after.by_name()["r"].op.maps[0].weight).max(axis=(1, 2, 3))
    np.testing.assert_allclose(into / step, (grouped * step) * (into / step / (grouped * step))[0], rtol=1e-12)
