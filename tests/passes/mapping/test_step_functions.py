"""Networks of step functions in integers: as many codes as values, and onnxruntime's own numbers, ties included.

Weights are integers of which the largest is the largest that eight bits hold, inputs are eight-bit integers: sums are
exact, so whatever differs is a threshold in the wrong place.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sfn_compile.compiler.compilation import Compilation, compile_model
from sfn_compile.foundation.options import Options
from sfn_compile.graph.ops import Site
from sfn_compile.host.codec import decode, encode_all
from sfn_compile.program.network import Readout, Table, Uniform
from sfn_compile.simulator.run import run_codes

from ...frontend.tiny_onnx import by_onnxruntime, noise, saved, tiny


def integers(rows: int, columns: int, seed: int) -> np.ndarray:
    found = np.random.default_rng(seed).integers(-4, 5, (rows, columns)) * 8.0
    found[:, 0] = 127
    return found.astype(np.float32)


def compiled(body: str, folder: Path, options: Options | None = None, **constants: object) -> Compilation:
    """The network ``y = s @ v`` with ``s`` as ``body`` makes it of ``h = x @ w + b``."""
    text = f"c = Cast<to=1>(x) h = Gemm<transB=1>(c, w, b) {body} y = MatMul(s, v)"
    bias = np.array([0, 8, -16, 40, -8, 0], np.float32)
    model = tiny(
        text, (8,), dtype="uint8", w=integers(6, 8, 1), w2=integers(6, 8, 3), b=bias, v=integers(4, 6, 2).T, **constants
    )
    x = np.random.default_rng(0).integers(0, 256, (64, 8)).astype(np.uint8)
    np.savez(folder / "calib.npz", x=x)
    return compile_model(saved(model, folder), options or Options(), folder / "calib.npz")


def answers(done: Compilation, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the network of spikes computes, and onnxruntime."""
    import onnx

    codes = run_codes(done.program, encode_all(done.program, {"x": x}))
    (out,) = done.program.outputs
    want = by_onnxruntime(onnx.load(done.loaded.path), x)["y"]
    return decode(out, codes[out.value]).astype(np.float32), want


def site(done: Compilation) -> Site:
    (found,) = [n.op for n in done.graph.nodes if isinstance(n.op, Site)]
    return found


STEP = "d = Div(h, t)"
NUMBERS = {
    "t": 512.0, "zero": 0.0, "one": 1.0, "half": 0.5, "seven": 7.0, "eight": 8.0, "low": -8.0, "minus": -1.0,
    "threshold": 256.0, "below": -256.0, "inverse": 2.0**-9, "point": 3.0, "fifteen": 15.0, "most": 7.75,
}  # fmt: skip
LIF = """
    g1 = Greater(h, threshold) s1 = Cast<to=1>(g1) r1 = Mul(s1, threshold)
    m2 = Mul(h, half) a2 = Add(m2, h) v2 = Sub(a2, r1) g2 = Greater(v2, threshold) s2 = Cast<to=1>(g2)
    r2 = Mul(s2, threshold) m3 = Mul(v2, half) a3 = Add(m3, h) v3 = Sub(a3, r2)
    g3 = Greater(v3, threshold) s3 = Cast<to=1>(g3)
    n = Add(s1, s2) s = Add(n, s3)"""
KINDS = {
    "Sign": ("s = Sign(h)", [-1, 0, 1]),
    "Greater": ("g = Greater(h, threshold) s = Cast<to=1>(g)", [0, 1]),
    "GreaterOrEqual": ("g = GreaterOrEqual(h, threshold) s = Cast<to=1>(g)", [0, 1]),
    "Less": ("g = Less(h, threshold) s = Cast<to=1>(g)", [0, 1]),
    "LessOrEqual": ("g = LessOrEqual(h, threshold) s = Cast<to=1>(g)", [0, 1]),
    "Equal": ("g = Equal(h, threshold) s = Cast<to=1>(g)", [0, 1]),
    "Not": ("g = Greater(h, threshold) n = Not(g) s = Cast<to=1>(n)", [0, 1]),
    "Where": ("g = Greater(h, threshold) s = Where(g, one, minus)", [-1, 1]),
    "ternary": ("p = Greater(h, threshold) q = Less(h, below) a = Cast<to=1>(p) b1 = Cast<to=1>(q) s = Sub(a, b1)",
                [-1, 0, 1]),
    "Floor of a Clip": (f"{STEP} e = Clip(d, zero, seven) s = Floor(e)", list(range(8))),
    "Clip of a Floor": (f"{STEP} e = Floor(d) f = Clip(e, low, seven) s = Mul(f, t)", list(range(-8, 8))),
    "Ceil": (f"{STEP} e = Ceil(d) f = Clip(e, low, seven) s = Mul(f, t)", list(range(-8, 8))),
    "Mul-Round-Clip-Mul": ("d = Mul(h, inverse) e = Round(d) f = Clip(e, low, seven) s = Mul(f, t)",
                           list(range(-8, 8))),
    "fake quantisation": (f"{STEP} e = Round(d) q = Add(e, point) f = Clip(q, zero, fifteen) r = Sub(f, point)"
                          "s = Mul(r, t)", list(range(-3, 13))),
    "QCFS": ("d = Div(h, threshold) e = Clip(d, zero, one) a = Mul(e, eight) k = Add(a, half) f = Floor(k)"
             "q = Div(f, eight) s = Mul(q, threshold)", list(range(9))),
    "Relu and Round": ("r = Relu(h) d = Mul(r, inverse) f = Round(d) e = Min(f, seven) s = Mul(e, t)", list(range(8))),
    "two values compared": ("k = Gemm<transB=1>(c, w2) g = Greater(h, k) s = Cast<to=1>(g)", [0, 1]),
    "a LIF neuron of three steps": (LIF, [0, 1, 2, 3]),
    "a sigmoid compared": (f"{STEP} q = Sigmoid(d) g = Greater(q, half) s = Cast<to=1>(g)", [0, 1]),
    "an exponential compared": (f"{STEP} q = Exp(d) g = GreaterOrEqual(q, one) s = Cast<to=1>(g)", [0, 1]),
    "a tanh in a Where": (f"{STEP} q = Tanh(d) g = Less(q, zero) s = Where(g, minus, one)", [-1, 1]),
    "Floor of a sigmoid": (f"{STEP} q = Sigmoid(d) e = Mul(q, most) s = Floor(e)", list(range(8))),
    "And": ("p = Greater(h, below) q = LessOrEqual(h, threshold) g = And(p, q) s = Cast<to=1>(g)", [0, 1]),
    "Or of Not": ("p = Less(h, below) q = Less(h, threshold) n = Not(q) g = Or(p, n) s = Cast<to=1>(g)", [0, 1]),
    "Xor": ("p = Greater(h, below) q = Greater(h, threshold) g = Xor(p, q) s = Where(g, one, minus)", [-1, 1]),
    "And of curves": (f"{STEP} q = Sigmoid(d) r = Exp(d) p = Greater(q, half) e = Less(r, seven) g = And(p, e)"
                      "s = Cast<to=1>(g)", [0, 1]),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_of_m_values_has_m_codes_and_onnxruntimes_numbers(kind, tmp_path):
    body, values = KINDS[kind]
    done = compiled(body, tmp_path, **NUMBERS)
    levels = site(done).levels
    # an affine step behind the function is its reader's: only the number of codes is the same then
    assert len(levels.codes) == len(values)
    assert levels.reason == f"its function has {len(values)} values"
    x = np.random.default_rng(5).integers(0, 256, (2000, 8)).astype(np.uint8)
    x[:500] //= 16  # many sums at thresholds
    got, want = answers(done, x)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("kind", ["And", "Or", "Xor"])
def test_logic_of_two_values_is_a_neuron_that_counts_their_spikes(kind, tmp_path):
    body = f"k = Gemm<transB=1>(c, w2) p = Greater(h, zero) q = Less(k, threshold) g = {kind}(p, q) s = Cast<to=1>(g)"
    done = compiled(body, tmp_path, **NUMBERS)
    assert [len(n.op.levels.codes) for n in done.graph.nodes if isinstance(n.op, Site)] == [2, 2, 2]
    got, want = answers(done, np.random.default_rng(5).integers(0, 256, (2000, 8)).astype(np.uint8))
    np.testing.assert_array_equal(got, want)
    assert len(np.unique(want)) > 3


@pytest.mark.parametrize("kind", ["Greater", "GreaterOrEqual", "Sign", "Floor of a Clip", "Clip of a Floor", "QCFS"])
def test_evenly_spaced_steps_are_a_uniform_ladder(kind, tmp_path):
    done = compiled(KINDS[kind][0], tmp_path, **NUMBERS)
    (ladder,) = [p.ladder for p in done.program.populations() if not isinstance(p.ladder, Readout)]
    assert isinstance(ladder, Uniform)


def test_halves_that_are_rounded_to_even_are_a_table_where_sums_may_be_halves(tmp_path):
    done = compiled(KINDS["Mul-Round-Clip-Mul"][0], tmp_path, **NUMBERS)
    (ladder,) = [p.ladder for p in done.program.populations() if not isinstance(p.ladder, Readout)]
    assert isinstance(ladder, Table)
    gaps = np.diff(ladder.thresholds(), axis=-1)
    assert set(np.unique(gaps)) == {511, 513}  # from 1.5 on to below 2.5, and to 3.5


def test_a_membrane_is_compared_as_the_accumulator_has_it(tmp_path):
    """Two layers read the first spike and the second: neither the membrane nor its rounding error is fired."""
    text = """h = Gemm<transB=1>(x, w, b)
        g1 = Greater(h, one) s1 = Cast<to=1>(g1) m = Mul(h, beta) a = Add(m, h) v2 = Sub(a, s1)
        g2 = Greater(v2, one) s2 = Cast<to=1>(g2) y1 = MatMul(s1, v) y2 = MatMul(s2, v) y = Add(y1, y2)"""
    model = tiny(text, (8,), w=noise(6, 8), b=noise(6), v=noise(6, 4, seed=1), one=1.0, beta=0.9)
    np.savez(tmp_path / "calib.npz", x=noise(64, 8, seed=2))
    done = compile_model(saved(model, tmp_path), Options(), tmp_path / "calib.npz")
    populations = {p.name: p for p in done.program.populations()}
    assert [len(p.ladder.code_values) for p in populations.values() if not isinstance(p.ladder, Readout)] == [2, 2]
    first, second = list(populations.values())[:2]
    assert [p.source for p in first.projections] == ["x"]
    assert sorted({p.source for p in second.projections}) == sorted([first.name, "x"])


def test_a_sum_of_few_codes_is_fired_exactly(tmp_path):
    text = """a = Conv<pads=[1,1,1,1]>(x, w) d = Div(a, t) e = Clip(d, zero, one) k = Mul(e, eight) l = Add(k, half)
        f = Floor(l) q = Div(f, eight) s = Mul(q, t) p = AveragePool<kernel_shape=[2,2], strides=[2,2]>(s)
        z = Conv<pads=[1,1,1,1]>(p, u) y = Relu(z)"""
    model = tiny(text, (1, 4, 4), w=noise(3, 1, 3, 3), u=noise(2, 3, 3, 3, seed=1), t=1.5, zero=0.0, one=1.0,
                 eight=8.0, half=0.5)  # fmt: skip
    np.savez(tmp_path / "calib.npz", x=noise(32, 1, 4, 4, seed=2))
    done = compile_model(saved(model, tmp_path), Options(), tmp_path / "calib.npz")
    pooled = next(n.op for n in done.graph.nodes if isinstance(n.op, Site) and n.name == "p")
    assert (pooled.levels.lo, pooled.levels.hi) == (0, 32)
    assert pooled.integer.maps[0].weight.tolist() == [[[1]]]
