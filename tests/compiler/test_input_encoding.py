"""Inputs as users have them: features of any scale, raw data far from 0, counts and images on a grid, outliers."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.compiler.compilation import Compilation, compile_model
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.host.codec import encode_all
from sfn_compile.simulator.run import run_codes

from ..commands.cli_helpers import document, succeeds
from ..frontend.tiny_onnx import by_onnxruntime, noise, saved, tiny

F = np.float32
RNG = np.random.default_rng(3)
DENSE = "a = Gemm(x, w, b) r = Relu(a) y = Gemm(r, k)"
CONV = "a = Conv<pads=[{p},{p},{p},{p}]>(x, w, b) r = Relu(a) f = Flatten(r) y = Gemm(f, k)"


def dense(scale, centre=0.0):
    """A network of features with these scales: each counts for as much as the others."""
    scale, centre = np.asarray(scale, F), np.broadcast_to(np.asarray(centre, F), len(scale))
    w = noise(len(scale), 16) / scale[:, None]
    return tiny(DENSE, x=(len(scale),), w=w, b=noise(16, seed=1) - centre @ w, k=noise(16, 3, seed=2))


def compiled(model, x, tmp_path, **options) -> Compilation:
    path = saved(model, tmp_path)
    np.savez(tmp_path / "x.npz", x=x)
    return compile_model(path, Options(**options), tmp_path / "x.npz")


def quality(done: Compilation, model, x) -> float:
    """Signal to noise of the output about its mean, in decibels, of the integers that the simulator computes."""
    program = done.program
    (out,) = program.outputs
    got = run_codes(program, encode_all(program, {"x": x}))[out.value] * out.step
    want = by_onnxruntime(model, x)["y"].astype(np.float64)
    return float(10 * np.log10(want.var(axis=0).sum() / ((got - want) ** 2).mean(axis=0).sum()))


@pytest.mark.parametrize(
    "scale", [(9000, 40, 1), (1e5, 1), (1e5, 1, 1e-3), (255, 255, 255, 1, 0.1, 0.01, 2, 3)], ids=str
)
@pytest.mark.parametrize("signed", [False, True])
def test_features_of_any_scale_have_steps_of_their_own(scale, signed, tmp_path):
    x = (RNG.uniform(-1 if signed else 0, 1, (400, len(scale))) * np.array(scale)).astype(F)
    model, alike = dense(scale), dense(np.ones(len(scale)))
    want = quality(compiled(alike, x / np.array(scale, F), tmp_path), alike, x / np.array(scale, F))
    assert quality(compiled(model, x, tmp_path), model, x) >= want - 1


def test_raw_values_far_from_0_get_an_offset_of_the_host(tmp_path):
    x = (RNG.random((400, 2)) * np.array([3.0, 70]) + np.array([309, 40])).astype(F)
    model, alike = dense((3.0, 70), (310, 75)), dense((1, 1), (1 / 3, 0.5))
    scaled = (x - np.array([309, 40], F)) / np.array([3, 70], F)
    done, want = compiled(model, x, tmp_path), quality(compiled(alike, scaled, tmp_path), alike, scaled)
    assert quality(done, model, x) >= want - 1
    (op,) = done.program.inputs[0].host
    assert op.kind == "affine"
    codes = encode_all(done.program, {"x": x})["x"]
    assert (np.ptp(codes, axis=0) > (200, 150)).all()


def test_counts_are_their_own_codes(tmp_path):
    x = RNG.poisson(0.3, (120, 2, 5, 5)).clip(0, 5).astype(F)
    done = compiled(tiny(CONV.format(p=1), x=(2, 5, 5), w=noise(4, 2, 3, 3), b=noise(4), k=noise(100, 3)), x, tmp_path)
    (encoding,) = done.program.inputs
    assert (encoding.lo, encoding.hi) == (0, 7)
    assert not encoding.host
    assert np.array_equal(encode_all(done.program, {"x": x})["x"], x)


def test_an_8_bit_image_that_was_normalised_is_its_own_code_again(tmp_path):
    pixels = RNG.integers(0, 256, (60, 3, 6, 6))
    mean, deviation = (np.array(v, F)[:, None, None] for v in ([0.49, 0.48, 0.44], [0.2, 0.19, 0.21]))
    x = (pixels.astype(F) / F(255) - mean) / deviation
    model = tiny(CONV.format(p=0), x=(3, 6, 6), w=noise(4, 3, 3, 3), b=noise(4), k=noise(64, 3))
    done = compiled(model, x, tmp_path)
    assert np.array_equal(encode_all(done.program, {"x": x})["x"], pixels)
    assert quality(done, model, x) >= 25


def test_a_skewed_grid_is_exact_in_front_of_a_convolution_that_pads(tmp_path):
    """Padding is the real 0, which is no code of the shifted grid: the biases at the border differ."""
    k = np.clip(np.rint(RNG.normal(-80, 30, (120, 1, 8, 8))), -211, 44)
    x = k.astype(F) * F(0.5847)
    model = tiny(CONV.format(p=1), x=(1, 8, 8), w=noise(4, 1, 3, 3), b=noise(4), k=noise(256, 3))
    done = compiled(model, x, tmp_path)
    (encoding,) = done.program.inputs
    codes = encode_all(done.program, {"x": x})["x"]
    real = codes * encoding.step - dict(encoding.host[-1].args)["bias"]
    assert np.abs(real - x).max() < 1e-5 * np.abs(x).max()
    assert (encoding.lo, encoding.hi) == (0, 255)
    assert quality(done, model, x) >= 20


def test_features_of_a_sequence_have_their_scales_along_the_last_axis(tmp_path):
    scale = np.array([1, 100, 1e4, 0.01], F)
    x = (RNG.standard_normal((200, 6, 4)) * scale).astype(F)
    body = "a = MatMul(x, w) r = Relu(a) f = Flatten(r) y = Gemm(f, k)"
    model = tiny(body, x=(6, 4), w=noise(4, 8) / scale[:, None], k=noise(48, 3))
    assert quality(compiled(model, x, tmp_path), model, x) >= 25


def test_an_image_of_like_channels_keeps_one_step(tmp_path):
    x = RNG.standard_normal((60, 3, 6, 6)).astype(F)
    done = compiled(tiny(CONV.format(p=1), x=(3, 6, 6), w=noise(4, 3, 3, 3), b=noise(4), k=noise(144, 3)), x, tmp_path)
    assert np.unique(done.program.inputs[0].step).size == 1


def test_an_outlier_is_named(tmp_path):
    x = RNG.standard_normal((200, 3)).astype(F)
    x[3, 1] = 1e30
    done = compiled(dense((1, 1, 1)), x, tmp_path)
    (found,) = [w for w in done.warnings if w.code == "SFN312"]
    assert "channel 1" in found.what
    assert "channel 0" not in found.what
    assert "1e+30" in found.what


def test_a_feature_that_must_share_its_step_is_named(tmp_path):
    x = (RNG.random((200, 2)) * np.array([1.0, 1e4])).astype(F)
    done = compiled(dense((1, 1e4)), x, tmp_path, granularity="tensor")
    (found,) = [w for w in done.warnings if w.code == "SFN312"]
    assert "channel 0" in found.what
    assert not [w for w in compiled(dense((1, 1e4)), x, tmp_path).warnings if w.code == "SFN312"]


def test_more_than_255_levels_where_they_are_asked_for(tmp_path):
    x = RNG.integers(900, 3200, (200, 4)).astype(F)
    x[:, 3] = RNG.random(200) * 4
    done = compiled(dense((3000, 3000, 3000, 4)), x, tmp_path, input_levels=4095)
    assert done.program.inputs[0].hi == 4095
    with pytest.raises(CompileError, match="SFN605"):
        Options(input_levels=4096).check()


def test_every_target_encodes_and_computes_the_same(tmp_path):
    x = (RNG.random((150, 2)) * np.array([3.0, 70]) + np.array([309, 40])).astype(F)
    path = saved(dense((3.0, 70), (310, 75)), tmp_path)
    np.savez(tmp_path / "x.npz", x=x)
    out = tmp_path / "out"
    succeeds(
        "compile", path, "--calib", tmp_path / "x.npz", "--input-levels", "auto", "--target", "sim,onnx", "-o", out
    )
    succeeds("verify", out)
    assert document(out / "report.json")["encoder"] == ["affine"]
    succeeds("bisect", out, "--data", tmp_path / "x.npz", "--limit", "5")
