"""The constant pieces of scalar functions: where they jump, what they are there, and how many values there are."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from sfn_compile.graph.ops import Expression
from sfn_compile.graph.ops.expression import call
from sfn_compile.graph.ops.pieces import step_function
from sfn_compile.graph.ops.step_rows import step_rows

X = Expression()


def clip(x: Expression, low: float, high: float) -> Expression:
    return call("min", call("max", x, low), high)


def staircase(function: str, scale: float, low: float, high: float) -> Expression:
    return call("mul", clip(call(function, call("mul", X, 1 / scale)), low, high), scale)  # type: ignore[arg-type]


def lif(steps: int) -> Expression:
    """How often a neuron fires that sums up its input and loses 4 when it fires above 4."""
    membrane, count = X, call("greater", X, 4.0)
    for _ in range(steps - 1):
        spike = call("mul", call("greater", membrane, 4.0), 4.0)
        membrane = call("add", call("sub", membrane, spike), X)
        count = call("add", count, call("greater", membrane, 4.0))
    return count


STEPS = {
    "sign": (call("sign", X), 3),
    "greater": (call("greater", X, 0.75), 2),
    "greater or equal": (call("greater_equal", X, 0.75), 2),
    "less": (call("greater", 0.75, X), 2),
    "equal": (call("equal", X, 0.75), 2),
    "where": (call("where", call("greater", X, 0.5), 3.0, -1.0), 2),
    "floor of a clip": (call("floor", clip(X, -2.0, 3.0)), 6),
    "clip of a floor": (staircase("floor", 0.25, -3.0, 4.0), 8),
    "clip of a ceiling": (staircase("ceil", 0.25, -3.0, 4.0), 8),
    "clip of a rounding": (staircase("round", 0.5, -8.0, 7.0), 16),
    "falling": (call("mul", staircase("round", 0.5, -2.0, 2.0), -1.0), 5),
    "floor of a clipped rounding": (call("floor", call("mul", clip(call("round", X), 0.0, 9.0), 0.5)), 5),
    "rises and falls": (call("floor", call("mul", call("abs", clip(X, -3.0, 3.0)), 2.0)), 7),
    "a window": (call("mul", call("greater", X, -1.0), call("greater", 2.0, X)), 2),
    "sign of a floor": (call("sign", call("floor", X)), 3),
    "a ReLU that is cut at one end": (call("min", call("floor", call("max", X, -np.inf)), call("sign", X)), None),
    "a neuron of four steps": (lif(4), 5),
    "a sigmoid above one half": (call("greater", call("sigmoid", X), 0.5), 2),
    "a sigmoid of a line, compared": (call("greater_equal", 0.25, call("sigmoid", call("mul", X, -2.0))), 2),
    "a falling curve": (call("greater", call("sub", 1.0, call("tanh", X)), 1.5), 2),
    "an exponential": (call("greater", call("exp", X), 1.0), 2),
    "a curve of a curve": (call("greater", call("tanh", call("add", call("exp", X), -1.0)), 0.0), 2),
    "softplus": (call("greater", call("softplus", X), 0.5), 2),
    "between curves": (call("mul", call("greater", call("erf", X), -0.5), call("greater", 0.5, call("atan", X))), 2),
    "floor of a curve": (call("floor", call("add", call("softsign", X), 0.5)), 3),
    "rounded curve": (call("round", call("softsign", X)), 3),
    "the larger of two curves and a number": (call("greater", call("max", call("sigmoid", X), 0.25), 0.75), 2),
    "floor of a curve without an end": (call("floor", call("exp", X)), None),
    "floor of a curve that floats let reach 4": (call("floor", call("mul", call("sigmoid", X), 4.0)), None),
    "a curve that floats let reach 1": (call("greater_equal", call("tanh", X), 1.0), None),
    "two curves": (call("greater", call("sigmoid", X), call("exp", X)), None),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_function_is_what_its_expression_computes_at_before_and_behind_every_jump(name):
    body, values = STEPS[name]
    found = step_function(body)
    if values is None:
        assert found is None
        return
    assert found is not None
    assert len(found.values) == values
    ends = (found.cuts[0] - 5, *found.cuts, found.cuts[-1] + 5)
    between = [(a + b) / 2 for a, b in pairwise(ends)]
    assert body.evaluate(np.array(between, np.float64)).tolist() == [float(v) for v in found.between]
    exact = [i for i, c in enumerate(found.cuts) if Fraction(float(c)) == c]  # there float64 stands at the very jump
    assert exact
    at = np.array([float(found.cuts[i]) for i in exact])
    assert body.evaluate(at).tolist() == [float(found.at[i]) for i in exact]


@pytest.mark.parametrize("body", [
    X, call("floor", X), call("max", call("floor", X), 0.0), call("sub", call("round", X), X), call("sigmoid", X),
    call("mul", call("greater", X, 0.0), X), call("floor", clip(X, -1e7, 1e7)),
], ids=str)  # fmt: skip
def test_what_takes_no_end_of_values_is_no_step_function(body):
    assert step_function(body) is None


def test_values_on_a_grid_are_exact_and_others_as_near_as_codes_come():
    grid = step_rows(staircase("round", float(np.float32(0.1)), 0.0, 7.0))
    assert grid is not None
    assert grid.exact
    assert (grid.codes, float(grid.step)) == (tuple(range(8)), float(np.float32(0.1)))
    odd = step_rows(call("where", call("greater", X, 0.0), float(np.float32(0.7123)), float(np.float32(0.3))))
    assert odd is not None
    assert not odd.exact
    np.testing.assert_allclose(np.array(odd.codes) * float(odd.step), [0.3, 0.7123], rtol=1e-3)


def test_a_channel_each_has_a_step_of_its_own_and_all_have_the_same_codes():
    scale = np.array([0.5, 0.25, 2.0]).reshape(3, 1, 1)
    found = step_rows(call("mul", clip(call("round", call("mul", X, 1 / scale)), 0.0, 3.0), scale))
    assert found is not None
    assert found.codes == (0, 1, 2, 3)
    np.testing.assert_array_equal(found.step, scale)
    np.testing.assert_array_equal(found.width, scale)
