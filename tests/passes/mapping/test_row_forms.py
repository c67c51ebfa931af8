"""The integers behind softmax and normalisation, against the real functions over whole ranges of codes."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from sfn_compile.foundation.diagnostics import CompileError, Origin
from sfn_compile.foundation.options import Options
from sfn_compile.graph.graph import Levels
from sfn_compile.graph.ops import Activation, IntegerForm, NormalSite, Site
from sfn_compile.graph.ops.stages import with_integers
from sfn_compile.passes.mapping.row_forms import THETA, normalized, ratio_step, ratio_weight, row_table
from sfn_compile.program.arithmetic import ISQRT_LIMIT
from sfn_compile.program.network import Identity, Matmul, Normalization, Product, Projection, ValueInfo
from sfn_compile.program.ranges import normalization_reach

ALPHAS = [1.0, 0.5, 2.0**-10, 0.1, 0.003, math.log(2), math.log(2) / 7, 7.3]


# -- exponentials ---------------------------------------------------------------------------------------------------
def scores(hi, alpha, bias, span=(-500, 500), shape=(1, 4)):
    """The ladder of a softmax over the last axis."""
    one = (1,) * len(shape)
    levels = Levels(np.full(one, 1 / hi), 0, hi, np.zeros(one, bool))
    site = Site((), np.asarray(bias), Activation("row_exp", axis=len(shape) - 1), 0, levels=levels)
    form = IntegerForm((), np.asarray(alpha, np.float64).reshape(one if np.ndim(alpha) == 0 else (-1, 1)), *span)
    return row_table(with_integers(site, form), site.bias)


def code_of(hi, alpha, below):
    """``round(hi * exp(-alpha * below))`` to 60 digits; no half occurs among the numbers here."""
    with localcontext() as context:
        context.prec = 60
        return int(Decimal(hi) * (-Decimal(alpha) * below).exp() + Decimal("0.5"))


@pytest.mark.parametrize("hi", [1, 15, 31, 255])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_every_code_is_the_exponential_rounded_to_the_nearest(alpha, hi):
    """For each integer distance to the row's maximum down to where the code is 0, and at both sides of a threshold."""
    ladder = scores(hi, alpha, np.zeros((1, 1)))
    taus = ladder.table.reshape(-1)
    below = np.unique(np.concatenate([np.arange(300), -taus, 1 - taus, [-taus.min() + 1]]))
    below = below[below >= 0]
    acc = np.stack([np.zeros_like(below), -below], axis=1)
    got = ladder.fire(acc.reshape(-1, 1, 2))[:, 0]
    assert (got[:, 0] == hi).all()
    assert got[:, 1].tolist() == [code_of(hi, alpha, int(d)) for d in below]


@pytest.mark.parametrize("hi", [31, 255])
def test_the_worst_error_of_an_exponential_is_half_a_code(hi):
    """What docs/spec/mapping.md states: |code / hi - exp| is 1 / (2 hi) at most, over the whole range of codes."""
    ladder = scores(hi, 0.001, np.zeros((1, 1)))
    below = np.arange(20_000)
    codes = ladder.fire(np.stack([0 * below, -below], axis=1).reshape(-1, 1, 2))[:, 0, 1]
    error = np.abs(codes / hi - np.exp(-0.001 * below)).max()
    assert 0.49 / hi < error <= 0.5 / hi


def test_biases_are_rounded_to_accumulators_and_each_head_has_its_own_thresholds():
    alpha = np.array([0.1, 0.4])
    ladder = scores(31, alpha, np.array([[0.0, 0.26, -0.17, 1.0], [0.0, 0.26, -0.17, 1.0]]), shape=(2, 4))
    assert ladder.offset.tolist() == [[0, 3, -2, 10], [0, 1, 0, 3]]
    assert ladder.table.shape == (2, 1, 31)
    acc = np.zeros((1, 2, 4), np.int64)
    want = [
        [code_of(31, a, top - o) for o in row]
        for a, row, top in zip(alpha, ladder.offset.tolist(), (10, 3), strict=True)
    ]
    assert ladder.fire(acc)[0].tolist() == want


@pytest.mark.parametrize("bias", [[[0.0, -np.inf, 7.0, -np.inf]], [[-1e30, -np.inf, -1e30, 0.0]]])
def test_a_masked_score_is_silent_beside_any_score_that_is_not(bias):
    ladder = scores(255, 0.01, np.array(bias), (-500, 700))
    masked = np.isneginf(bias[0])
    for kept, out in product((-500, 700), repeat=2):
        acc = np.where(masked, out, kept)[None, None]
        codes = ladder.fire(acc)[0, 0]
        assert (codes[masked] == 0).all()
        assert codes.max() == 255


def test_masks_alone_stay_within_what_the_scores_reach():
    """A mask costs no more width than it needs: one more than the reach and the lowest threshold."""
    ladder = scores(31, 0.01, np.array([[0.0, -np.inf, 0.0, 0.0]]), (-500, 700))
    assert ladder.offset.min() == -(1200 - int(ladder.table.min()) + 1)


@pytest.mark.parametrize("bias", [[[-np.inf] * 4], [[0.0] * 4, [-np.inf] * 4], [[-np.inf]]])
def test_a_row_with_nothing_left_is_refused(bias):
    with pytest.raises(CompileError, match=r"SFN202.*nothing to choose from"):
        scores(31, 0.1, np.array(bias), shape=(len(bias), 4))


# -- quotients ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("acc_bits", [8, 16, 24, 31])
@pytest.mark.parametrize(
    ("n", "left", "right"), [(3, (0, 31), (-16, 15)), (65, (0, 255), (-128, 127)), (2, (0, 1), (0, 1))]
)
def test_the_weight_of_a_quotient_is_the_largest_power_of_two_that_fits(n, left, right, acc_bits):
    infos = {"e": ValueInfo((4, n), *left), "v": ValueInfo((n, 2), *right)}
    terms = (), (Product("e", "v", Matmul(np.full((1, 1), 0.037))),)
    weight = ratio_weight(terms, infos, Options(acc_bits=acc_bits))
    limit, worst = 2 ** (acc_bits - 1) - 1, n * left[1] * max(right[1], -right[0])
    assert weight == 1 or (weight & (weight - 1) == 0 and weight * worst <= limit)
    assert 2 * weight > 127 or 2 * weight * worst > limit


def test_the_weight_of_a_quotient_of_codes_themselves_is_one_too():
    infos = {"e": ValueInfo((4, 3), 0, 255)}
    assert ratio_weight(((Projection("e", Identity(np.ones((1, 1)))),), ()), infos, Options(acc_bits=16)) == 64


def test_steps_of_a_quotient_are_whole_thresholds():
    """step = theta * unit / weight with an integer theta of at least 1, the nearest to the one asked for."""
    rng = np.random.default_rng(0)
    unit, weight = rng.uniform(0.01, 1, 50), 16
    asked = np.concatenate([rng.uniform(0.01, 0.2, 49), [1e-9]])
    found = ratio_step(asked, unit, weight)
    theta = found * weight / unit
    assert np.abs(theta - np.rint(theta)).max() < 1e-12
    assert theta.min() == pytest.approx(1)
    assert (np.abs(found - asked)[:-1] <= np.maximum(unit / weight / 2, unit / weight - asked)[:-1] + 1e-15).all()
    assert ratio_step(np.array([0.3]), np.array([0.0]), weight).tolist() == [0.3]  # a dead channel keeps its own


# -- normalisation --------------------------------------------------------------------------------------------------
def step_of(op, sources):
    form = op.integer
    names = [f"x{i}" for i in range(len(sources))]
    read = tuple(Projection(n, Identity(w)) for n, w in zip(names, form.weights, strict=True))
    return Normalization("n", read, op.axes, op.centred, form.epsilon, form.bits, form.gain, form.ladder,
                         sources[0].shape, Origin(("n",)))  # fmt: skip


def integers(n, steps, lo, hi, scale, bias, size, ends, centred=True, epsilon=1e-5):
    levels = Levels(np.array([size]), *ends, np.zeros(1, bool))
    op = NormalSite((0,), epsilon, np.array([scale]), np.array([bias]), centred, levels=levels)
    sources = [ValueInfo((n,), lo, hi)] * len(steps)
    op = normalized(op, [np.asarray(s, np.float64) for s in steps], sources)
    return op, step_of(op, sources)


def real_codes(op, codes, units):
    """What the codes should be before rounding; sums of codes are exact, so a constant row has no deviation at all."""
    x = sum(u * c for u, c in zip(units, codes, strict=True))
    d = x - x.mean(axis=1, keepdims=True) if op.centred else x
    d[np.ptp(x, axis=1) == 0] *= 0 if op.centred else 1
    root = np.sqrt((d**2).mean(axis=1, keepdims=True) + op.epsilon)
    real = op.scale * d / np.where(root > 0, root, 1) + op.bias
    return np.clip(real / op.levels.step, op.levels.lo, op.levels.hi)


def allowed(op, n):
    """The bound of docs/spec/mapping.md: half a code, a bias to 1/64, a root to one of its units, a gain to 1/2."""
    tail, ratio = math.sqrt(n), np.abs(op.scale / op.levels.step).max()
    return 0.5 + 1 / THETA + (ratio * 1.01 + tail / THETA) * 2.0**-op.integer.bits


RANGES = [(2, -128, 127), (3, -16, 15), (4, -8, 7), (5, 0, 7), (7, -2, 1)]
SITES = [(0.19, (-16, 15)), (0.02, (-128, 127))]


@pytest.mark.parametrize(("size", "ends"), SITES, ids=["31 levels", "255 levels"])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("epsilon", [0.0, 1e-5, 0.3])
def test_the_worst_error_of_a_normalised_code_over_all_patterns_of_codes(size, ends, centred, epsilon):
    """Constant rows included. The largest seen is the number in docs/spec/mapping.md."""
    worst = 0.0
    for n, lo, hi in RANGES:
        codes = np.array(list(product(range(lo, hi + 1), repeat=n)))
        for scale, bias in ((1.0, 0.0), (-0.7, 0.33), (0.9, -0.11)):
            op, step = integers(n, [0.07], lo, hi, scale, bias, size, ends, centred, epsilon)
            assert op.integer.bits == 8
            error = np.abs(step.apply(codes) - real_codes(op, [codes], [0.07])).max()
            assert error <= allowed(op, n)
            worst = max(worst, float(error))
    assert worst <= (0.52 if ends[1] == 15 else 0.62)


def test_a_constant_row_is_its_bias_whatever_epsilon():
    for epsilon in (0.0, 1e-5, 2.0):
        op, step = integers(4, [0.07], -8, 7, 1.3, 0.6, 0.19, (-16, 15), epsilon=epsilon)
        codes = np.repeat(np.arange(-8, 8)[:, None], 4, axis=1)
        assert (step.apply(codes) == round(0.6 / 0.19)).all()
        assert (real_codes(op, [codes], [0.07]) == 0.6 / 0.19).all()


@pytest.mark.parametrize("centred", [True, False])
def test_values_with_steps_of_their_own_are_normalised_by_integer_weights(centred):
    """Exact for steps that are multiples of the unit; other steps are rounded to one of them."""
    steps = [np.array([0.07, 0.02, 0.05]), np.array([0.003])]
    op, step = integers(3, steps, -3, 3, 0.8, 0.1, 0.19, (-16, 15), centred)
    unit = 0.07 / 2047
    weights = [np.broadcast_to(w, (3,)) for w in op.integer.weights]
    assert max(w.max() for w in weights) == 2047
    assert all((np.abs(w * unit - s) <= unit / 2 * 1.0001).all() for w, s in zip(weights, steps, strict=True))
    every = np.array(list(product(range(-3, 4), repeat=6)))
    codes = every[:, :3], every[:, 3:]
    error = np.abs(step.apply(*codes) - real_codes(op, codes, [w * unit for w in weights])).max()
    assert error <= allowed(op, 3)
    n, eps = 3, op.integer.epsilon
    assert eps == round(Fraction(1e-5) * n * n * 4**op.integer.bits / Fraction(unit) ** 2)


def test_two_values_are_the_same_as_their_sum():
    op, step = integers(3, [0.07, 0.07], -3, 3, 0.8, 0.1, 0.19, (-16, 15))
    rng = np.random.default_rng(0)
    a, b = rng.integers(-3, 4, (2, 50, 3))
    alone = replace(step, projections=step.projections[:1])
    assert op.integer.weights[0].item() == op.integer.weights[1].item()
    assert np.array_equal(step.apply(a, b), alone.apply(a + b))


@pytest.mark.parametrize(("n", "code", "sites"), [(16, 31, 1), (192, 128, 2), (3136, 128, 2), (50_000, 255, 2)])
def test_the_radicand_fits_int64_for_every_code(n, code, sites):
    op, step = integers(n, [0.07, 0.0011][:sites], -code, code, 1.0, 0.0, 0.02, (-128, 127))
    reach = normalization_reach(step, {f"x{i}": ValueInfo((n,), -code, code) for i in range(sites)})
    assert reach["radicand"][1] < ISQRT_LIMIT
    assert 4 <= op.integer.bits <= 8


def test_a_row_that_is_too_long_is_refused_by_its_numbers():
    with pytest.raises(CompileError, match=r"SFN401.*variance of 3000000 numbers of 255 levels.*62 bits"):
        integers(3_000_000, [0.07], -255, 255, 1.0, 0.0, 0.02, (-128, 127))


def test_an_epsilon_far_above_the_variance_takes_bits_from_the_root():
    """Its radicand would not fit; so long a root is precise without fractional bits."""
    op, step = integers(4, [1e-9], -8, 7, 1.0, 0.3, 1e-7, (-128, 127), epsilon=1e-2)
    assert op.integer.epsilon < ISQRT_LIMIT
    codes = np.array(list(product(range(-8, 8), repeat=4)))
    assert np.abs(step.apply(codes) - real_codes(op, [codes], [1e-9])).max() <= 0.53
