"""The proofs behind the target onnx, at and around their limits: rounding, tables on a line, sums in float32."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sfn_backends.onnx import OnnxBackend, adaptive, firing, line, sums
from sfn_backends.onnx.net import Net
from sfn_backends.onnx.writer import write

from sfn_compile.program.network import Dense, Projection, Uniform, ValueInfo
from sfn_compile.testing.conformance import Builder, Case, check


# -- the proof of the rounding, at its limits -------------------------------------------------------------------------
def neurons(theta, offset, lo, hi):
    """Neurons whose accumulator is 0 for every input, so that each offset is what a kernel has to round."""
    b = Builder((4,), hi=3)
    b.fire("y", Projection("x", Dense(np.zeros((len(theta), 4), np.int64))))
    b.steps[-1] = replace(b.steps[-1], ladder=Uniform(theta, offset, lo, hi), acc_min=0, acc_max=0)
    return b.build("y")


@pytest.mark.parametrize(("lo", "hi"), [(0, 255), (-128, 127), (0, 31), (0, 1)])
@pytest.mark.parametrize("parity", [1, 0], ids=["odd", "even"])
def test_both_sides_of_every_boundary_are_rounded_right_at_the_limit_of_the_proof(lo, hi, parity, tmp_path):
    largest = firing.PROVED // (max(-lo, hi) + 1)
    thetas = [largest - (largest % 2 != parity) - 2 * i for i in range(3)]
    cases = [(t, t * k + d) for t in thetas for k in range(lo - 1, hi + 3) for d in (-1, 0, 1)]
    theta, offset = np.array(cases).T
    assert firing.rounds_exactly(theta, lo, hi)
    program = neurons(theta, offset, lo, hi)
    check(OnnxBackend(), Case("limit", lambda: program), tmp_path)


@given(st.integers(1, 2**21), st.integers(1, 255), st.integers(0, 255), st.booleans(), st.fractions(-4, 4))
@settings(max_examples=400)
def test_four_roundings_never_cross_a_boundary_within_the_proof(start, hi, k, above, roundings):
    k, theta = min(k, hi), max(1, min(start, firing.PROVED // (hi + 1)) - 1) | 1
    t = theta * k + (theta + 1) // 2 - (0 if above else 1)  # the integers on both sides of (k + 1/2) theta
    assert round(Fraction(t, theta) * (1 + roundings / 2**24)) == k + above
    for value in (np.float32(t) * (np.float32(1) / np.float32(theta)), np.float32(t) / np.float32(theta)):
        assert int(np.rint(value)) == k + above


def test_beyond_the_limit_the_rounding_is_not_used_because_it_goes_wrong():
    theta, k = 2**24 - 3, 200
    sums = theta * k + (theta + 1) // 2 - np.array([0, 1])
    wrong = np.rint(sums.astype(np.float32) * (np.float32(1) / np.float32(theta)))
    assert wrong.tolist() != [k + 1, k]
    assert not firing.rounds_exactly(np.array([theta]), 0, 255)
    program = neurons(np.array([theta]), np.array([7]), 0, 255)
    wide = replace(program, steps=(replace(program.steps[0], acc_min=-(2**33), acc_max=2**33),))
    assert not {"QLinearConv", "QuantizeLinear"} & {n.op_type for n in write(wide).graph.node}


# -- tables on a line -------------------------------------------------------------------------------------------------
def rows(tau, lo, acc_min, acc_max):
    return line.Rows(np.clip(tau, acc_min, acc_max + 1), lo, acc_min, acc_max, (len(tau),))


@given(
    st.integers(1, 40), st.sampled_from([(0, 255), (-128, 127), (0, 31), (-8, 7), (0, 1)]), st.integers(10, 3000),
    st.integers(0, 10**6),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_line_that_was_found_is_the_table_for_every_accumulator(n_rows, codes, span, seed):
    rng, (lo, hi) = np.random.default_rng(seed), codes
    half = lo + np.arange(hi - lo) + 0.5
    real = rng.uniform(0.2, 3, (n_rows, 1)) * span / (hi - lo) * half - rng.uniform(-span, span, (n_rows, 1))
    bent = rng.integers(0, 2, (n_rows, hi - lo)) if seed % 3 == 0 else 0
    found = rows(np.sort(np.ceil(real).astype(np.int64) + bent), lo, -span, span)
    acc = np.broadcast_to(np.arange(-span, span + 1), (n_rows, 2 * span + 1))
    expected = found.codes(acc)
    for made, operation in ((line.for_kernel(found), np.multiply), (line.for_floats(found), np.divide)):
        if made is not None:
            value = operation((acc + made.shift[:, None]).astype(np.float32), made.scale[:, None])
            assert np.array_equal(np.clip(np.rint(value), made.lo[:, None], made.hi[:, None]), expected)


@given(st.integers(1, 40), st.sampled_from([(0, 31), (-8, 7), (0, 1), (0, 200)]), st.integers(10, 3000),
       st.integers(0, 10**6))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_two_kernels_that_were_found_are_the_table_for_every_accumulator(n_rows, codes, span, seed):
    rng, (lo, hi) = np.random.default_rng(seed), codes
    half = lo + np.arange(hi - lo) + 0.5
    real = rng.uniform(0.2, 3, (n_rows, 1)) * span / (hi - lo) * half - rng.uniform(-span, span, (n_rows, 1))
    top = rng.integers(lo, hi + 1, (n_rows, 1)) if seed % 2 else hi
    found = rows(np.where(half < top, np.ceil(real), span + 1).astype(np.int64), lo, -span, span)
    made = line.for_two_kernels(found)
    if made is None:
        return
    (first, rise), zero = made, max(0, -lo)
    acc = np.broadcast_to(np.arange(-span, span + 1), (n_rows, 2 * span + 1))
    raw = np.rint((acc + first.shift[:, None]).astype(np.float32) * first.scale[:, None]) + zero
    lowered = np.clip(np.clip(raw, 0, 255) - rise[:, None], 0, 255) - zero
    assert np.array_equal(np.clip(lowered, first.lo[:, None], first.hi[:, None]), found.codes(acc))


def test_a_line_between_two_integer_shifts_takes_two_kernels():
    tau = np.ceil(10.17 * (np.arange(31) + 0.5) + 98.9).astype(np.int64)[None]
    assert line.for_kernel(rows(tau, 0, -1000, 1000)) is None
    _, rise = line.for_two_kernels(rows(tau, 0, -1000, 1000))
    assert rise > 0


def test_a_row_that_is_cut_to_fewer_codes_ends_where_a_byte_ends():
    tau = np.array([[5, 12, 19, 26], [5, 12, 1001, 1001]])
    assert line.for_kernel(rows(tau, 0, -1000, 1000)) is None
    _, rise = line.for_two_kernels(rows(tau, 0, -1000, 1000))
    assert rise.tolist() == [0, 253]


def test_the_thresholds_of_a_quantised_layer_become_its_scale_and_bias_again():
    rng = np.random.default_rng(3)
    bias, scale = rng.integers(-20_000, 20_000, 64), rng.uniform(1e-3, 2e-2, 64).astype(np.float32)
    acc = np.arange(-40_000, 40_001)
    codes = np.clip(np.rint((acc + bias[:, None]).astype(np.float32) * scale[:, None]), -128, 127)
    tau = np.array([[acc[np.argmax(c >= j)] if (c >= j).any() else 40_001 for j in range(-127, 128)] for c in codes])
    found = line.for_kernel(rows(tau, -128, -40_000, 40_000))
    assert found is not None
    assert np.abs(found.shift - bias).max() <= 1
    assert np.abs(found.scale / scale - 1).max() < 1e-3


def test_a_bent_table_is_no_line():
    tau = np.array([[0, 10, 20, 35, 50]])
    assert line.for_kernel(rows(tau, 0, -100, 100)) is None
    assert line.for_floats(rows(tau, 0, -100, 100)) is None


# -- sums -------------------------------------------------------------------------------------------------------------
@given(
    st.integers(1, 9),
    st.integers(1, 3000),
    st.sampled_from([1, 127, 255, 32767]),
    st.integers(1, 255),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_pieces_are_exact_in_float32_and_add_up_to_the_weights(n_out, n_in, top, code, seed):
    weight = np.random.default_rng(seed).integers(-top, top + 1, (n_out, n_in))
    total = np.zeros_like(weight)
    for piece in sums.pieces(weight, ValueInfo((n_in,), -code, 0)):
        assert np.abs(piece.weight).sum(axis=1).max() * code < 2**24
        total[:, piece.start : piece.stop] += piece.factor * piece.weight
    assert np.array_equal(total, weight)


# -- quotients and roots of rows --------------------------------------------------------------------------------------
def below_multiples(den, most):
    """Return ``k * den - 1`` up to ``most``, k of all sizes: the quotients nearest below an integer."""
    top = most // den
    k = np.unique(np.concatenate([np.arange(1, min(top, 3000) + 1), np.linspace(1, top, 3000).astype(np.int64), [top]]))
    return k * den - 1


@pytest.mark.parametrize(("real", "limit"), [(np.float32, sums.EXACT), (np.float64, sums.EXACT_DOUBLE)])
@pytest.mark.parametrize("den", [1, 2, 3, 7, 255, 4095, 4096, 65537, 2**20 - 3, 2**23 - 1])
def test_the_floor_of_a_rounded_quotient_is_that_of_the_integers_up_to_the_limit(den, real, limit):
    num = below_multiples(den, limit - den)
    assert num.max() + den < limit
    assert np.array_equal(np.floor(num.astype(real) / real(den)).astype(np.int64), num // den)


@pytest.mark.parametrize(("real", "limit"), [(np.float32, sums.EXACT), (np.float64, sums.EXACT_DOUBLE)])
def test_beyond_the_limit_the_floor_of_a_rounded_quotient_is_another(real, limit):
    num = below_multiples(3, 2 * limit)
    assert (np.floor(num.astype(real) / real(3)).astype(np.int64) != num // 3).any()


def root_in_onnxruntime(radicands, kind, epsilon=0):
    """Return what the graph computes as the integer root of ``radicands + epsilon``."""
    net = Net(["x"])
    out = adaptive._root(net, "x", epsilon, kind)
    tensor = {"int64": onnx.TensorProto.INT64, "float64": onnx.TensorProto.DOUBLE}[kind]
    ends = [onnx.helper.make_tensor_value_info(name, tensor, ["n"]) for name in ("x", out)]
    session = ort.InferenceSession(net.model(ends[:1], ends[1:], {}).SerializeToString())
    (found,) = session.run(None, {"x": radicands.astype({"int64": np.int64, "float64": np.float64}[kind])})
    return found.astype(np.int64)


@pytest.mark.parametrize(("kind", "limit"), [("float64", 2**52), ("int64", 2**62)])
def test_the_root_is_the_integer_root_on_both_sides_of_squares_up_to_the_limit(kind, limit):
    rng = np.random.default_rng(0)
    top = math.isqrt(limit - 1)
    k = np.unique(np.concatenate([np.arange(1, 2000), top - np.arange(2000), rng.integers(1, top, 100_000)]))
    radicands = np.concatenate([k * k - 1, k * k, [0, limit - 1]])
    assert np.array_equal(root_in_onnxruntime(radicands, kind), np.concatenate([k - 1, k, [0, math.isqrt(limit - 1)]]))
    assert np.array_equal(root_in_onnxruntime(k * k - 8, kind, epsilon=8), k)


def test_above_the_limit_of_float64_a_root_without_correction_is_wrong():
    """The correction is needed: squares less one whose root float64 rounds up."""
    k = 2**31 - 1 - np.arange(1000)
    assert (np.floor(np.sqrt((k * k - 1).astype(np.float64))).astype(np.int64) != k - 1).all()
