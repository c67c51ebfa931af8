"""What is held of calibration while biases are corrected: real values of as many samples as fit, codes of all."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from sfn_compile.calibration.collect import RealValues, collect
from sfn_compile.files.bounded_store import Held
from sfn_compile.foundation.options import Options
from sfn_compile.graph.ops import Layer
from sfn_compile.host.codec import encode_all, prepare_all
from sfn_compile.passes.mapping import correct_bias
from sfn_compile.passes.mapping.choose_ladders import ChooseLadders
from sfn_compile.passes.mapping.correct_bias import CorrectBias
from sfn_compile.passes.mapping.fold_thresholds import FoldThresholds
from sfn_compile.passes.mapping.lower import lower
from sfn_compile.passes.mapping.quantize_weights import QuantizeWeights
from sfn_compile.passes.pipeline import run_passes
from sfn_compile.program.broadcast import spread
from sfn_compile.program.network import ValueInfo
from sfn_compile.simulator.run import run_codes

from ...frontend.tiny_onnx import imported, noise, samples, tiny
from ..pass_examples import EvaluatedRunner, structured

BODY = "a = Conv(x, w) r = Relu(a) p = GlobalAveragePool(r) f = Flatten(p) g = Gemm(f, k) u = Relu(g) y = Gemm(u, l)"


def test_of_large_values_the_first_samples_are_held_and_of_small_ones_all(tmp_path, monkeypatch):
    original = imported(tiny(BODY, x=(2, 8, 8), w=noise(3, 2, 3, 3), k=noise(3, 4), l=noise(4, 2)), tmp_path)
    x = samples(original, 20)
    graph = structured(original)
    monkeypatch.setattr(correct_bias, "MAX_NUMBERS", 1500)
    held = correct_bias._real_values(graph, EvaluatedRunner(graph), {"x": x}, 20, 8)
    read = {s for n in graph.nodes if isinstance(n.op, Layer) for s in n.inputs}
    sizes = {name: int(held.piece(name, 0)[0].size) for name in read}
    assert max(sizes.values()) * 20 > 1500 > sum(held.count(name) * size for name, size in sizes.items())
    small = [name for name, size in sizes.items() if 20 * size <= 1500 / len(sizes)]
    assert small
    assert all(held.count(name) == 20 for name in small)
    assert 1 <= held.count("x") < 20


def corrected(graph, x):
    """Return the biases of all Layers after correction on ``x``."""
    runner, options = EvaluatedRunner(graph), Options()
    passes = ChooseLadders(collect(graph, runner, x), options), QuantizeWeights(options), CorrectBias(runner, x)
    return {n.name: n.op.bias for n in run_passes(graph, passes).nodes if isinstance(n.op, Layer)}


@pytest.mark.parametrize("changed", [("NUMBERS_AT_A_TIME", 1), ("MOST", 3), ("MAX_NUMBERS", 1500)], ids=lambda c: c[0])
def test_biases_depend_on_the_samples_and_not_on_the_pieces_that_they_come_in(tmp_path, monkeypatch, changed):
    original = imported(tiny(BODY, x=(2, 8, 8), w=noise(3, 2, 3, 3), k=noise(3, 4), l=noise(4, 2)), tmp_path)
    graph, x = structured(original), {"x": samples(original, 20)}
    whole = corrected(graph, x)
    monkeypatch.setattr(correct_bias, *changed)
    some = corrected(graph, x)
    close = [np.allclose(whole[name], some[name], rtol=1e-6, atol=1e-7) for name in whole]
    assert all(close) == (changed[0] != "MAX_NUMBERS")  # of fewer real values other biases come


def test_biases_are_the_same_where_nothing_stays_in_memory(tmp_path, monkeypatch):
    original = imported(tiny(BODY, x=(2, 8, 8), w=noise(3, 2, 3, 3), k=noise(3, 4), l=noise(4, 2)), tmp_path)
    graph, x = structured(original), {"x": samples(original, 20)}
    whole = corrected(graph, x)
    monkeypatch.setattr(correct_bias, "Held", partial(Held, room=0))
    some = corrected(graph, x)
    assert all(np.array_equal(whole[name], some[name]) for name in whole)


def test_each_bias_moves_by_the_mean_error_on_the_codes_that_the_program_computes(tmp_path, monkeypatch):
    original = imported(tiny(BODY, x=(2, 8, 8), w=noise(3, 2, 3, 3), k=noise(3, 4), l=noise(4, 2)), tmp_path)
    monkeypatch.setattr(correct_bias, "MOST", 7)
    graph, x, options = structured(original), {"x": samples(original, 20)}, Options()
    runner = EvaluatedRunner(graph)
    chosen = run_passes(graph, (ChooseLadders(collect(graph, runner, x), options), QuantizeWeights(options)))
    better = run_passes(chosen, (CorrectBias(runner, x),))
    program = lower(run_passes(better, (FoldThresholds(),)))
    codes, real = (
        run_codes(program, encode_all(program, x), engine="reference"),
        RealValues(graph, prepare_all(graph, x)),
    )
    moved = []
    for old, new in zip(chosen.nodes, better.nodes, strict=True):
        if isinstance(old.op, Layer):
            layer, form = old.op, old.op.integer
            acc = sum(p.map.apply(codes[p.source]) for p in form.drivers(old.inputs)[0])
            true = layer.drive(*(real[s] for s in old.inputs))
            shift = correct_bias._mean_error(layer, true, acc * form.alpha + layer.bias)
            assert np.allclose(new.op.bias - layer.bias, spread(layer.axis, old.type.shape, shift), atol=1e-6)
            moved.append(np.abs(shift).max())
    assert min(moved) > 1e-4


def test_the_drive_in_float32_is_that_of_the_layer(tmp_path):
    original = imported(tiny(BODY, x=(2, 8, 8), w=noise(3, 2, 3, 3), k=noise(3, 4), l=noise(4, 2)), tmp_path)
    graph, x = structured(original), {"x": samples(original, 5)}
    real, infos = (
        RealValues(graph, prepare_all(graph, x)),
        {n: ValueInfo(t.shape, 0, 1) for n, t in graph.types().items()},
    )
    for node in (n for n in graph.nodes if isinstance(n.op, Layer)):
        xs = [real[s] for s in node.inputs]
        drive, dtype = correct_bias._drive(node.op, node, infos)
        assert dtype is np.float32
        assert np.allclose(drive(*(v.astype(np.float32) for v in xs)), node.op.drive(*xs), rtol=1e-5, atol=1e-5)
