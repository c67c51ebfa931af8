"""The network that learns: it computes what the integers compute, and its slopes are those of its loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfn_compile.calibration.collect import collect
from sfn_compile.foundation.options import Options
from sfn_compile.foundation.samples import by_name
from sfn_compile.graph.graph import Levels
from sfn_compile.graph.ops import Layer, Site
from sfn_compile.host.codec import encode_all, prepare_all
from sfn_compile.learning.descent import Loss, Recipe, Teacher, error_of, learn, pieces_of, signal_of
from sfn_compile.learning.student import Student, learnable
from sfn_compile.learning.weight_grid import grid_of, rounded_maps, with_integers
from sfn_compile.passes.mapping.choose_ladders import ChooseLadders
from sfn_compile.passes.mapping.fold_thresholds import FoldThresholds
from sfn_compile.passes.mapping.lower import lower
from sfn_compile.passes.mapping.quantize_weights import QuantizeWeights
from sfn_compile.passes.pipeline import run_passes
from sfn_compile.simulator.run import run_codes

from ..frontend.tiny_onnx import imported, samples
from ..passes.pass_examples import NETWORKS, EvaluatedRunner, network, structured

FINE = 1 << 40


def calibrated(name, folder, options, n=40):
    """A network of the examples with levels chosen, the graph before them, and its samples by name."""
    graph = structured(imported(network(name), folder))
    x = by_name(samples(imported(network(name), folder), n), [i.model_name for i in graph.inputs])
    statistics = collect(graph, EvaluatedRunner(graph), x)
    return graph, run_passes(graph, (ChooseLadders(statistics, options),)), x


def learnable_examples(folder):
    return [name for name in NETWORKS if not learnable(structured(imported(network(name), folder)))]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    return learnable_examples(tmp_path_factory.mktemp("names"))


def test_most_examples_without_products_can_learn(names):
    assert len(names) > 45


@pytest.mark.parametrize("bits", [3, 8])
def test_with_rounded_weights_it_computes_what_the_integers_compute(bits, names, tmp_path):
    """At a threshold float32 may fall on the other side, and what is behind it then differs: in fewer than 1 in 200."""
    options = Options(levels=7, weight_bits=bits)
    for name in names:
        _, graph, x = calibrated(name, tmp_path, options)
        done = run_passes(graph, (QuantizeWeights(options), FoldThresholds()))
        program = lower(done)
        integers = run_codes(program, encode_all(program, x))
        student = Student(graph)
        at = student.parameters()
        student = Student(done)
        grid = grid_of(done, lambda site: 2 ** (bits - 1) - 1)
        values, drives = student.forward(student.encoded(prepare_all(graph, x)), at, rounded_maps(student, at, grid))
        for site in student.sites:
            step = np.asarray(site.op.levels.step)
            codes = np.moveaxis(values[site.name], -1, 0) / step
            ratio = site.op.activation.evaluate(np.moveaxis(drives[site.name], -1, 0)) / step
            is_tie = np.abs(ratio - np.floor(ratio) - 0.5) < 1e-5
            wrong = ~np.isclose(codes, integers[site.name], atol=1e-3) & ~is_tie
            assert wrong.mean() < 0.005, (name, site.name)


def without_rounding(graph):
    """The graph with levels so fine that nothing is rounded or cut."""

    def fine(levels):
        return replace(levels, step=np.full_like(levels.step, 1e-4), lo=-FINE, hi=FINE)

    nodes = [
        replace(n, op=replace(n.op, levels=fine(n.op.levels))) if isinstance(n.op, Site) else n for n in graph.nodes
    ]
    return replace(graph, nodes=tuple(nodes))


def test_its_slopes_are_those_of_the_float_networks_outputs(names, tmp_path):
    """Backward against central differences of the graph in float64, along a random direction of all parameters."""
    rng = np.random.default_rng(5)
    for name in names:
        _, graph, x = calibrated(name, tmp_path, Options(), 3)
        graph = without_rounding(graph)
        student = Student(graph)
        at, prepared = student.parameters(), prepare_all(graph, x)
        for bias in at.biases.values():  # away from 0, where a relu bends and a difference is no slope
            bias += 0.1 * rng.standard_normal(bias.shape)
        along = at.copy()
        for part in (along.weights, along.biases):
            for key in part:
                part[key] = rng.standard_normal(part[key].shape)

        def moved(size, at=at, along=along):
            there = at.copy()
            for mine, more in ((there.weights, along.weights), (there.biases, along.biases)):
                for key in mine:
                    mine[key] += size * more[key]
            return there

        outputs = list(dict.fromkeys(o.value for o in graph.outputs))
        g = {k: rng.standard_normal((3, *student.types[k].shape)) for k in outputs}

        def loss(there, student=student, g=g, prepared=prepared):
            values = student.with_parameters(there).evaluate(prepared)
            return sum((g[k] * values[k]).sum() for k in g)

        maps = {n.name: student._maps(n, at) for n in student.layers}
        inputs = {k: np.moveaxis(v.astype(np.float32), 0, -1) for k, v in prepared.items()}
        values, drives = student.forward(inputs, at, maps, rounded=False)
        wanted = {k: np.moveaxis(v.astype(np.float32), 0, -1) for k, v in g.items()}
        slopes, _ = student.backward(values, drives, at, maps, wanted)
        found = sum((slopes.weights[k] * along.weights[k]).sum() for k in slopes.weights)
        found += sum((slopes.biases[k] * along.biases[k]).sum() for k in slopes.biases)
        size = 1e-6
        want = (loss(moved(size)) - loss(moved(-size))) / (2 * size)
        terms = sum(np.abs(slopes.weights[k] * along.weights[k]).sum() for k in slopes.weights)
        assert abs(found - want) < 1e-3 * max(terms, 1.0), name


def taught(name, folder, options, epochs=6, n=96, **recipe):
    float_graph, graph, x = calibrated(name, folder, options, n)
    graph = run_passes(graph, (QuantizeWeights(options),))
    student, grid = Student(graph), grid_of(graph, lambda site: 2 ** (options.weight_bits - 1) - 1)
    start, prepared = student.parameters(), prepare_all(graph, x)
    teacher = Teacher(float_graph)
    loss = Loss(student, teacher, signal_of(teacher, pieces_of(prepared)), 2.0)

    learnt = learn(student, start, loss, prepared, Recipe(epochs, **recipe), grid, lambda i, n: None)
    return start, learnt, error_of(loss, start, grid, prepared), error_of(loss, learnt, grid, prepared)


@pytest.mark.parametrize("name", ["conv, batch norm, relu, conv", "a residual block", "a u-net of two levels"])
def test_what_is_learnt_makes_the_error_of_the_outputs_smaller(name, tmp_path):
    *_, before, after = taught(name, tmp_path, Options(levels=3), 30, weights=1e-2)

    assert after < 0.98 * before


def test_the_same_seed_learns_the_same_numbers_and_another_does_not(tmp_path, monkeypatch):
    options = Options(levels=3)
    learnt = [taught("a residual block", tmp_path, options, 1, seed=seed)[1] for seed in (0, 0, 1)]
    monkeypatch.setattr("sfn_compile.learning.descent.n_cores", lambda: 1)
    learnt.append(taught("a residual block", tmp_path, options, 1)[1])
    for key, weight in learnt[0].weights.items():
        assert np.array_equal(weight, learnt[1].weights[key])
        assert np.array_equal(weight, learnt[3].weights[key])  # on one core
        assert not np.array_equal(weight, learnt[2].weights[key])


def test_steps_stay(tmp_path):
    start, learnt, *_ = taught("concat of an activated and a raw branch", tmp_path, Options(levels=7), 2)
    assert all(np.array_equal(step, learnt.steps[k]) for k, step in start.steps.items())


def test_an_error_of_rounding_gets_a_random_sign_and_keeps_its_size(tmp_path):
    """Not where values are cut off: there it is no noise."""
    _, graph, x = calibrated("conv, batch norm, relu, conv", tmp_path, Options(levels=3), 16)
    student = Student(graph)
    at, site = student.parameters(), student.sites[0]
    inputs = student.encoded(prepare_all(graph, x))
    (got, drives), (noisy, _) = (student.forward(inputs, at, rng=r) for r in (None, np.random.default_rng(0)))
    y = np.maximum(drives[site.name], 0)
    step = np.broadcast_to(at.steps[site.name][..., None], y.shape)
    error, drawn = got[site.name] - y, noisy[site.name] - y
    inside, live = y <= 3.5 * step, np.abs(error) > 1e-3 * step
    np.testing.assert_allclose(np.abs(drawn), np.abs(error), atol=1e-5)
    np.testing.assert_array_equal(noisy[site.name][~inside], got[site.name][~inside])
    turned = (np.sign(drawn) != np.sign(error))[inside & live]
    assert (~inside).any()
    assert abs(turned.mean() - 0.5) < 4 * 0.5 / np.sqrt(turned.size)


def test_stated_levels_are_not_learnt(tmp_path):
    graph = structured(imported(network("quantisers around a max pool"), tmp_path))
    assert learnable(graph)
    assert any(isinstance(n.op, Site) and isinstance(n.op.levels, Levels) for n in graph.nodes)


def test_integers_on_the_grid_are_those_of_quantize_weights_or_none_where_accumulators_do_not_fit(tmp_path):
    options = Options(levels=7)
    _, graph, _ = calibrated("a residual block", tmp_path, options)
    done = run_passes(graph, (QuantizeWeights(options),))
    student, grid = Student(done), grid_of(done, lambda site: 127)
    again = with_integers(student, student.parameters(), grid, options.acc_bits)
    assert again is not None
    for old, new in zip(done.nodes, again.nodes, strict=True):
        if isinstance(old.op, Layer):
            assert (new.op.integer.acc_min, new.op.integer.acc_max) == (old.op.integer.acc_min, old.op.integer.acc_max)
            for a, b in zip(old.op.integer.maps, new.op.integer.maps, strict=True):
                assert np.array_equal(*np.broadcast_arrays(a.weight, b.weight))
    assert with_integers(student, student.parameters(), grid, 10) is None
