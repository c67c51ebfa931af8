"""Learning in a network whose sites are fired in two digits: both are one value, and the teacher has one of it."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.foundation.options import Options
from sfn_compile.foundation.samples import by_name
from sfn_compile.host.codec import prepare_all
from sfn_compile.learning.descent import Loss, Recipe, Teacher, error_of, learn, pieces_of, real_inputs, signal_of
from sfn_compile.learning.refit import refit
from sfn_compile.learning.student import Student
from sfn_compile.learning.weight_grid import grid_of, rounded_maps
from sfn_compile.passes.mapping.correct_bias import CorrectBias
from sfn_compile.passes.mapping.quantize_weights import QuantizeWeights
from sfn_compile.passes.mapping.split_digits import SplitDigits

from ..frontend.tiny_onnx import imported, noise, samples, tiny
from ..passes.pass_examples import EvaluatedRunner, mapped, structured

BODY = (
    "a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) d = Conv<pads=[1,1,1,1]>(r, v) s = Add(d, r) t = Relu(s)"
    "f = Flatten(t) y = Gemm(f, k)"
)
WEIGHTS = {"w": noise(4, 3, 3, 3), "b": noise(4), "v": noise(4, 4, 3, 3), "k": noise(144, 3)}
OPTIONS = Options(levels=15)  # in two digits of 3 levels each


class Digits:
    """A network with two sites in two digits, integer weights and corrected biases, and what it learns from."""

    def __init__(self, folder):
        original = imported(tiny(BODY, (3, 6, 6), **WEIGHTS), folder)
        self.float_graph = structured(original)
        self.x = by_name(samples(original, 96), [i.model_name for i in original.inputs])
        split = SplitDigits({"r": 4, "t": 4}).run(mapped(self.float_graph, self.x, OPTIONS)).graph
        plain = QuantizeWeights(OPTIONS).run(split).graph
        runner = EvaluatedRunner(self.float_graph)
        self.graph = CorrectBias(runner, self.x, self.float_graph).run(plain).graph
        self.student, self.teacher = Student(self.graph), Teacher(self.float_graph)
        self.prepared = prepare_all(self.graph, self.x)
        signal = signal_of(self.teacher, pieces_of(self.prepared))
        self.loss = Loss(self.student, self.teacher, signal, 2.0)
        self.grid, self.start = grid_of(self.graph, lambda site: 127), self.student.parameters()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return Digits(tmp_path_factory.mktemp("digits"))


def forward(digits, at, rng=None):
    maps = rounded_maps(digits.student, at, digits.grid)
    return digits.student.forward(digits.student.encoded(digits.prepared), at, maps, rng=rng)[0]


def test_second_digits_have_no_loss_of_their_own(digits):
    """Nothing is left in the float network; an error relative to that would be infinite."""
    assert digits.student.rest == {"r": "r/carry", "t": "t/carry"}
    shares = digits.loss.shares()
    assert set(shares) == {"r", "t", "y"}
    assert shares["r"] + shares["t"] == pytest.approx(2.0)


def test_both_digits_together_are_compared_with_the_one_value(digits):
    values = forward(digits, digits.start)
    want = digits.teacher.values(real_inputs(digits.prepared))
    for name in ("r", "t"):
        step = float(digits.student.graph.by_name()[f"{name}/carry"].op.levels.step.max())
        errors = [np.abs(got - want[name]) for got in (digits.student.whole(name, values), values[name])]
        assert np.median(errors[0]) < step
        assert errors[1].mean() > 2 * errors[0].mean()
    np.testing.assert_array_equal(digits.student.whole("y", values), values["y"])


def test_only_the_error_of_the_second_digit_has_a_random_sign(digits):
    true, drawn = forward(digits, digits.start), forward(digits, digits.start, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn["r"], true["r"])
    moved = drawn["r/carry"] != true["r/carry"]
    assert 0.2 < moved[true["r/carry"] > 0].mean() < 0.8
    step = float(digits.student.graph.by_name()["r/carry"].op.levels.step.max())
    assert np.abs(drawn["r/carry"] - true["r/carry"]).max() <= step * 1.001


def test_both_digits_are_pulled_by_what_both_are_wrong_by(digits, monkeypatch):
    maps, seen = rounded_maps(digits.student, digits.start, digits.grid), {}
    backward = digits.student.backward
    monkeypatch.setattr(digits.student, "backward", lambda *args: seen.update(args[-1]) or backward(*args))
    digits.loss.slopes(digits.prepared, digits.start, maps, 96)
    values, want = forward(digits, digits.start), digits.teacher.values(real_inputs(digits.prepared))
    for name in ("r", "t"):
        wrong = values[name] + values[f"{name}/carry"] - want[name]
        np.testing.assert_array_equal(seen[name], seen[f"{name}/carry"])
        np.testing.assert_allclose(seen[name], wrong * (seen[name] * wrong).sum() / (wrong**2).sum(), rtol=1e-3)


def test_biases_are_set_to_what_is_left_after_what_was_fired_in_fact(digits):
    """Spoilt biases of both digits come back to where bias correction had them, to a part of a second digit."""
    spoilt = digits.start.copy()
    nodes = digits.student.graph.by_name()
    for name in ("r", "r/carry", "t", "t/carry"):
        spoilt.biases[name] = spoilt.biases[name] + 0.4 * nodes["r/carry"].op.levels.step.max()
    found = refit(digits.student, spoilt, digits.teacher, digits.grid, digits.prepared, weights=False)
    for name in ("r", "r/carry", "t", "t/carry"):
        step = float(nodes[f"{name[0]}/carry"].op.levels.step.max())
        off = np.abs(found.biases[name] - digits.start.biases[name]).max()
        assert off < 0.2 * step, (name, off / step)


def test_spoilt_weights_are_learnt_again(digits):
    rng, spoilt = np.random.default_rng(1), digits.start.copy()
    for key, w in spoilt.weights.items():
        spoilt.weights[key] = w * (1 + 0.2 * rng.standard_normal(w.shape))
    recipe = Recipe(60, weights=1e-2, biases=1e-2)
    learnt = learn(digits.student, spoilt, digits.loss, digits.prepared, recipe, digits.grid, lambda i, n: None)
    errors = [error_of(digits.loss, at, digits.grid, digits.prepared) for at in (digits.start, spoilt, learnt)]
    assert errors[2] < 0.3 * errors[1], errors


def test_fine_weights_are_rounded_with_feedback_and_not_fitted(digits):
    """By rounding alone the readout's weights move by 2 % of their norm, by least squares on these samples by 4 %."""
    found = refit(digits.student, digits.start, digits.teacher, digits.grid, digits.prepared).weights["y", 0]
    weight = digits.start.weights["y", 0]
    assert 0 < np.linalg.norm(found - weight) < 0.03 * np.linalg.norm(weight)
