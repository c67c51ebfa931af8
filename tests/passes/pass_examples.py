"""Networks for the tests of passes, and the float graph as the oracle: every stage must tell the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from sfn_compile.calibration.collect import RealValues, collect
from sfn_compile.foundation.options import Options
from sfn_compile.foundation.samples import Samples, by_name, n_samples
from sfn_compile.graph.graph import Graph, Levels
from sfn_compile.graph.ops import Layer
from sfn_compile.graph.ops.stages import at_levels
from sfn_compile.host.codec import applied, prepare_all
from sfn_compile.passes.mapping.choose_ladders import ChooseLadders
from sfn_compile.passes.mapping.decisions import NO_DECISIONS, Decisions
from sfn_compile.passes.mapping.fold_thresholds import FoldThresholds
from sfn_compile.passes.mapping.lower import lower
from sfn_compile.passes.mapping.quantize_weights import QuantizeWeights
from sfn_compile.passes.pipeline import STRUCTURE, UNPROBED, run_passes
from sfn_compile.program.network import Program

from ..frontend.tiny_onnx import ints, noise, tiny

Array = NDArray[Any]
fixed = settings(
    max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
BN = {"g": np.array([1.5, -0.7, 0.1, -2.0]), "h": noise(4, seed=3), "m": noise(4, seed=4), "v": np.full(4, 0.5)}
CONV = {"w": noise(4, 3, 3, 3), "b": noise(4, seed=2)}
FOLLOW = {"u": noise(4, 4, 3, 3, seed=5), "c": noise(4, seed=6)}

# sentence -> (body, keywords of `tiny`)
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "windows split off and merged again": (
        "a = Reshape(x, s) d = Reshape(a, t) e = Transpose<perm=[0,2,1]>(d) f = Transpose<perm=[0,2,1]>(e)"
        "g = MatMul(f, k) h = Reshape(g, t) r = Relu(h) y = MatMul(r, l)",
        {"x": (4, 6), "s": ints(0, 2, 2, 6), "t": ints(0, 4, 6), "k": noise(6, 6), "l": noise(6, 3)}),
    "conv, batch norm, relu, conv": (
        "a = Conv(x, w, b) d = BatchNormalization(a, g, h, m, v) r = Relu(d) y = Conv(r, u, c)",
        {**CONV, **BN, **FOLLOW}),
    "a negative batch norm gamma before a max pool": (
        "a = Conv(x, w) d = BatchNormalization(a, g, h, m, v) r = Relu(d)"
        "p = MaxPool<kernel_shape=[2,2]>(r) y = Conv(p, u)", {**CONV, **BN, **FOLLOW}),
    "a negative batch norm gamma behind a max pool": (
        "a = Conv(x, w) p = MaxPool<kernel_shape=[2,2]>(a) d = BatchNormalization(p, g, h, m, v)"
        "r = Relu(d) y = Conv(r, u)", {**CONV, **BN, **FOLLOW}),
    "quantisers around a max pool": (
        "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) a = Conv(d, w) r = Relu(a)"
        "k = QuantizeLinear(r, t, z) e = DequantizeLinear(k, t, z) p = MaxPool<kernel_shape=[2,2]>(e)"
        "j = QuantizeLinear(p, t, z) l = DequantizeLinear(j, t, z) o = Relu(l) y = Conv(o, u)",
        {**CONV, **FOLLOW, "s": np.float32(0.031), "t": np.float32(0.057), "z": np.int8(3)}),
    "a positive scale behind a max pool": (
        "a = Conv(x, w) p = MaxPool<kernel_shape=[2,2]>(a) d = Mul(p, s) e = Add(d, h1) r = Relu(e) y = Conv(r, u)",
        {**CONV, **FOLLOW, "s": np.float32(3), "h1": noise(4, 1, 1)}),
    "an affine step before a padded conv": (
        "a = Relu(x) d = BatchNormalization(a, g, h, m, v) y = Conv<pads=[1,1,1,1]>(d, u)",
        {"x": (4, 5, 5), **BN, **FOLLOW}),
    "an affine step before a conv without padding": (
        "a = Relu(x) d = BatchNormalization(a, g, h, m, v) y = Conv(d, u)", {"x": (4, 5, 5), **BN, **FOLLOW}),
    "a scale alone before a padded conv": (
        "a = Relu(x) d = Mul(a, s) y = Conv<pads=[1,1,1,1]>(d, u)", {"x": (4, 5, 5), "s": noise(4, 1, 1), **FOLLOW}),
    "an affine step before a padded average pool": (
        "a = Relu(x) d = Add(a, s) p = AveragePool<kernel_shape=[2,2], pads=[1,1,0,0]>(d) y = Conv(p, u)",
        {"x": (4, 5, 5), "s": noise(4, 1, 1), **FOLLOW}),
    "an affine step before a padded average pool that counts padding": (
        "a = Relu(x) d = Add(a, s)"
        "p = AveragePool<kernel_shape=[2,2], pads=[1,1,0,0], count_include_pad=1>(d) y = Conv(p, u)",
        {"x": (4, 5, 5), "s": noise(4, 1, 1), **FOLLOW}),
    "an affine step in front of a flatten and a gemm": (
        "a = Relu(x) d = BatchNormalization(a, g, h, m, v) f = Flatten(d) y = Gemm(f, k)",
        {"x": (4, 2, 2), **BN, "k": noise(16, 5)}),
    "an affine step that reads the input and is read twice": (
        "d = Mul(x, s) a = Conv(d, w) e = Conv(d, w) r = Relu(a) y = Sub(r, e)", {**CONV, "s": np.float32(0.5)}),
    "relu over padding": (
        "a = Conv(x, w, b) p = Pad(a, q) r = Relu(p) y = Conv(r, u)",
        {**CONV, **FOLLOW, "q": ints(0, 0, 1, 1, 0, 0, 1, 1)}),
    "sigmoid over padding": (
        "a = Conv(x, w, b) p = Pad(a, q) r = Sigmoid(p) y = Conv(r, u)",
        {**CONV, **FOLLOW, "q": ints(0, 0, 1, 1, 0, 0, 1, 1)}),
    "global average pool, flatten, gemm": (
        "a = Conv(x, w, b) r = Relu(a) p = GlobalAveragePool(r) f = Flatten(p) y = Gemm(f, k, i)",
        {**CONV, "k": noise(4, 5), "i": noise(5)}),
    "a padded average pool before a gemm": (
        "a = Relu(x) p = AveragePool<kernel_shape=[3,2], strides=[2,1], pads=[1,0,0,1]>(a)"
        "f = Flatten(p) y = Gemm(f, k)",
        {"x": (2, 4, 4), "k": noise(16, 5)}),
    "two gemms in a row": ("a = Relu(x) f = Gemm(a, k, i) y = Gemm(f, l)",
                           {"x": (6,), "k": noise(6, 3), "i": noise(3), "l": noise(3, 2)}),
    "reduce mean over the space of NHWC": (
        "r = Relu(x) p = ReduceMean<axes=[1,2], keepdims=0>(r) y = Gemm(p, k)",
        {"x": (4, 4, 3), "k": noise(3, 5), "opset": 13}),
    "a network in NHWC": (
        "t = Transpose<perm=[0,3,1,2]>(x) a = Conv(t, w) s = Transpose<perm=[0,2,3,1]>(a) d = Mul(s, f)"
        "r = Relu(d) q = Transpose<perm=[0,3,1,2]>(r) y = Conv(q, u)",
        {"x": (6, 6, 3), **CONV, **FOLLOW, "f": noise(4, seed=9)}),
    "a scale that meets a gemm behind a reshape": (
        "a = Relu(x) d = Mul(a, s) f = Reshape(d, z) y = Gemm(f, k)",
        {"x": (2, 3), "s": noise(2, 1), "z": ints(0, -1), "k": noise(6, 2)}),
    "a pool with several readers": (
        "a = Conv(x, w) p = MaxPool<kernel_shape=[2,2]>(a) r = Relu(p) t = Tanh(p) f = Flatten(r) g1 = Gemm(f, k) "
        "q = Flatten(t) h1 = Gemm(q, k) y = Add(g1, h1)", {**CONV, "k": noise(36, 3)}),
    "an average pool with several readers": (
        "a = Relu(x) p = GlobalAveragePool(a) f = Flatten(p) g1 = Gemm(f, k) q = Flatten(p) h1 = Gemm(q, k)"
        "r = Relu(h1) y = Add(g1, r)", {"k": noise(3, 4)}),
    "an output read in the middle": (
        "a = Conv(x, w, b) r = Relu(a) z = Conv(r, u) s = Relu(z) y = Conv<pads=[1,1,1,1]>(s, u)",
        {**CONV, **FOLLOW, "x": (3, 8, 8), "outputs": ("y", "z", "r", "a")}),
    "concat of an activated and a raw branch": (
        "a = Conv(x, w) r = Relu(a) d = Conv(x, w, b) j = Concat<axis=1>(r, d) k = Relu(j) y = Conv(k, e)",
        {**CONV, "e": noise(2, 8, 2, 2)}),
    "concat of raw branches": (
        "a = Conv(x, w) d = Conv(x, w, b) j = Concat<axis=1>(a, d) k = Relu(j) y = Conv(k, e)",
        {**CONV, "e": noise(2, 8, 2, 2)}),
    "a residual block": (
        "a = Relu(x) d = Conv<pads=[1,1,1,1]>(a, u, c) e = BatchNormalization(d, g, h, m, v) s = Add(a, e) r = Relu(s)"
        "f = Conv(a, q) t = Add(f, r) y = Relu(t)", {"x": (4, 5, 5), **BN, **FOLLOW, "q": noise(4, 4, 1, 1)}),
    "a pre-activation residual block": (
        "a = Conv<pads=[1,1,1,1]>(x, w) d = BatchNormalization(a, g, h, m, v) r = Relu(d)"
        "e = Conv<pads=[1,1,1,1]>(r, u, c) s = Add(a, e) f = BatchNormalization(s, g, h, m, v) t = Relu(f)"
        "i = Conv(t, u) y = Add(i, i)", {**CONV, **BN, **FOLLOW}),
    "two outputs that share a trunk": (
        "a = Conv(x, w) r = Relu(a) f = Flatten(r) y = Gemm(f, k) z = Gemm(f, l) s = Softmax(z)",
        {**CONV, "k": noise(64, 3), "l": noise(64, 2), "outputs": ("y", "s")}),
    "one value that is two outputs": (
        "a = Conv(x, w) y = Relu(a) z = Identity(y)", {**CONV, "outputs": ("y", "z")}),
    "an output and its own softmax": (
        "f = Flatten(x) y = Gemm(f, k) z = Softmax(y)", {"x": (2, 2), "k": noise(4, 3), "outputs": ("y", "z")}),
    "scores, their softmax and the place of the largest": (
        "f = Flatten(x) y = Gemm(f, k) z = Softmax(y) i = ArgMax<axis=1>(z) p = Cast<to=1>(i)",
        {"x": (2, 2), "k": noise(4, 3), "outputs": ("y", "z", "p")}),
    "a value that is an output, read inside and the place of its largest": (
        "a = Conv(x, w, b) y = Relu(a) p = Conv(y, u) r = Relu(p) z = Conv(r, u)"
        "m = ArgMax<axis=1>(y) q = Cast<to=1>(m)",
        {**CONV, **FOLLOW, "x": (3, 8, 8), "outputs": ("z", "y", "q")}),
    "an mlp-mixer block": (
        "n = Relu(x) a = MatMul(n, k) r = Relu(a) d = MatMul(r, l) s = Add(n, d) t = MatMul(e, s) y = Add(s, t)",
        {"x": (4, 3), "k": noise(3, 5), "l": noise(5, 3), "e": noise(4, 4)}),
    "a conv and a matrix product that meet": (
        "a = Conv<pads=[1,1]>(x, w) d = MatMul(x, k) s = Add(a, d) r = Relu(s) y = Conv(r, w)",
        {"x": (4, 6), "w": noise(4, 4, 3), "k": noise(6, 6)}),
    "a scale per element behind a conv": (
        "a = Conv(x, w) d = Mul(a, s) r = Relu(d) y = Conv(r, u)", {**CONV, **FOLLOW, "s": noise(4, 4, 4)}),
    "a strided, dilated, grouped conv before an average pool": (
        "a = Conv<strides=[2,1], dilations=[1,2], group=2, pads=[1,0,1,0]>(x, w, b)"
        "p = AveragePool<kernel_shape=[2,3], strides=[2,1]>(a) r = Relu(p) y = Conv(r, k)",
        {"x": (4, 8, 9), "w": noise(6, 2, 3, 2), "b": noise(6), "k": noise(2, 6, 1, 1)}),
    "a conv before an average pool that is padded": (
        "a = Conv(x, w, b) p = AveragePool<kernel_shape=[2,2], pads=[1,0,0,1]>(a) r = Relu(p) y = Conv(r, u)",
        {**CONV, **FOLLOW}),
    "a conv before an average pool that is scaled per element": (
        "a = Conv(x, w, b) p = AveragePool<kernel_shape=[2,2]>(a) d = Mul(p, s) r = Relu(d) y = Conv(r, u)",
        {**CONV, **FOLLOW, "s": noise(4, 3, 3)}),
    "a global average pool before a 1x1 conv": (
        "r = Relu(x) p = GlobalAveragePool(r) a = Conv(p, k, i) y = Flatten(a)",
        {"k": noise(5, 3, 1, 1), "i": noise(5)}),
    "a 1x1 conv before a global average pool": (
        "r = Relu(x) a = Conv(r, k, i) p = GlobalAveragePool(a) y = Flatten(p)",
        {"k": noise(5, 3, 1, 1), "i": noise(5)}),
    "a conv before an average pool, both read elsewhere": (
        "a = Conv(x, w, b) p = AveragePool<kernel_shape=[2,2]>(a) r = Relu(p) y = Conv(r, u)",
        {**CONV, **FOLLOW, "outputs": ("y", "a", "p")}),
    "two average pools in a row": (
        "a = Conv(x, w, b) p = AveragePool<kernel_shape=[2,2], strides=[2,2]>(a) r = Relu(p)"
        "q = GlobalAveragePool(r) d = Conv(q, k) s = Relu(d) y = Conv(s, k)",
        {**CONV, "k": noise(4, 4, 1, 1)}),
    "a gate": (
        "a = Conv(x, w, b) d = Conv(x, v, c) s = Sigmoid(d) y = Mul(a, s)", {**CONV, "v": noise(4, 3, 3, 3, seed=7),
                                                                           "c": noise(4, seed=6)}),
    "squeeze and excite between two convs": (
        "a = Conv(x, w, b) r = Relu(a) p = GlobalAveragePool(r) f = Conv(p, k, i) s = Sigmoid(f) m = Mul(s, r)"
        "y = Conv(m, u, c)", {**CONV, **FOLLOW, "k": noise(4, 4, 1, 1), "i": noise(4)}),
    "a batch norm, a skip and a relu behind a product": (
        "a = Relu(x) t = Conv<pads=[1,1,1,1]>(a, u, c) s = Sigmoid(t) m = Mul(a, s)"
        "d = BatchNormalization(m, g, h, m1, v) e = Add(d, a) r = Relu(e) y = Conv(r, u)",
        {"x": (4, 5, 5), "g": BN["g"], "h": BN["h"], "m1": BN["m"], "v": BN["v"], **FOLLOW}),
    "a conv and a product that meet": (
        "a = Relu(x) t = Tanh(x) m = Mul(a, t) d = Conv<pads=[1,1,1,1]>(a, u, c) s = Add(m, d)"
        "r = Relu(s) y = Conv(r, u)", {"x": (4, 5, 5), **FOLLOW}),
    "a square of an activated value": (
        "a = Conv(x, w, b) r = Tanh(a) q = Mul(r, r) y = Conv(q, u)", {**CONV, **FOLLOW}),
    "the input times what is computed from it": (
        "a = Conv<pads=[1,1,1,1]>(x, w, b) s = Sigmoid(a) m = Mul(x, s) y = Conv(m, w)",
        {"x": (3, 6, 6), "w": noise(3, 3, 3, 3), "b": noise(3)}),
    "a product of vectors and of a product": (
        "a = Gemm(x, k, i) t = Tanh(a) d = Gemm(x, l) m = Mul(t, d) n = Mul(m, t) y = Gemm(n, o)",
        {"x": (6,), "k": noise(6, 5), "i": noise(5), "l": noise(6, 5), "o": noise(5, 3)}),
    "a product along the last axis": (
        "a = MatMul(x, k) s = Sigmoid(a) d = MatMul(x, l) m = Mul(d, s) y = MatMul(m, o)",
        {"x": (3, 6), "k": noise(6, 5), "l": noise(6, 5), "o": noise(5, 3)}),
    "two products that meet": (
        "a = Conv(x, w, b) k = Conv(x, w) s = Sigmoid(a) o = Sub(one, s) t = Tanh(k) r = Relu(k) m = Mul(s, t)"
        "n = Mul(o, r)"
        " e = Add(m, n) y = Conv(e, u)", {**CONV, **FOLLOW, "one": np.float32(1)}),
    "a relu and a max pool behind a product": (
        "a = Conv(x, w, b) k = Conv(x, w) s = Tanh(a) d = Relu(k) m = Mul(d, s) p = MaxPool<kernel_shape=[2,2]>(m)"
        " r = Relu(p)"
        " y = Conv(r, u)", {**CONV, **FOLLOW}),
    "a silu written out, twice": (
        "a = Conv(x, w, b) s = Sigmoid(a) m = Mul(a, s) d = Conv(m, u, c) t = Sigmoid(d) n = Mul(t, d) y = Conv(n, k)",
        {**CONV, **FOLLOW, "k": noise(2, 4, 1, 1)}),
    "a gelu written out behind a residual": (
        "a = Conv(x, w, b) r = Relu(a) d = Conv<pads=[1,1,1,1]>(r, u, c) s = Add(d, r) h1 = Div(s, root) e = Erf(h1)"
        " f = Add(e, one) m = Mul(s, f) n = Mul(m, half) y = Conv(n, u)",
        {**CONV, **FOLLOW, "root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}),
    "a hard swish written out that two layers read": (
        "a = Conv(x, w, b) d = Add(a, three) e = Clip(d, zero, six) m = Mul(a, e) s = Div(m, six)"
        " f = Conv(s, u) h1 = Conv(s, u, c) y = Add(f, h1)",
        {**CONV, **FOLLOW, "three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)}),
    "a value that two functions share with the network": (
        "a = Conv(x, w, b) s = Sigmoid(a) m = Mul(a, s) y = Conv(m, u) z = Conv(s, u)",
        {**CONV, **FOLLOW, "outputs": ("y", "z")}),
    "slopes per channel behind a transpose": (
        "a = Conv(x, w, b) t = Transpose<perm=[0,2,3,1]>(a) r = PRelu(t, s) q = Transpose<perm=[0,3,1,2]>(r)"
        " y = Conv(q, u)", {**CONV, **FOLLOW, "s": noise(4, seed=8)}),
    "slopes per channel behind a max pool": (
        "a = Conv(x, w, b) p = MaxPool<kernel_shape=[2,2]>(a) r = PRelu(p, s) y = Conv(r, u)",
        {**CONV, **FOLLOW, "s": np.array([0.1, 0.2, 0.3, 0.4]).reshape(4, 1, 1)}),
    "a silu behind a max pool": (
        "a = Conv(x, w, b) p = MaxPool<kernel_shape=[2,2]>(a) s = Sigmoid(p) r = Mul(p, s) y = Conv(r, u)",
        {**CONV, **FOLLOW}),
    "a silu behind a concat": (
        "a = Conv(x, w) d = Conv(x, w, b) j = Concat<axis=1>(a, d) s = Sigmoid(j) m = Mul(j, s) y = Conv(m, e)",
        {**CONV, "e": noise(2, 8, 2, 2)}),
    "an elu over padding": (
        "a = Conv(x, w, b) p = Pad(a, q) r = Elu(p) y = Conv(r, u)",
        {**CONV, **FOLLOW, "q": ints(0, 0, 1, 1, 0, 0, 1, 1)}),
    "a bounded relu written as two": (
        "a = Conv(x, w, b) r = Relu(a) m = Min(r, six) y = Conv(m, u)", {**CONV, **FOLLOW, "six": np.float32(1.5)}),
    "functions on both ends": (
        "n = Exp(x) l = Log(n) a = Conv(l, w, b) r = Relu(a) f = Flatten(r) g1 = Gemm(f, k) s = Softplus(g1)"
        " t = Tanh(s) y = Mul(t, g1)", {**CONV, "k": noise(64, 5)}),
    "a map per position times a map per channel": (
        "r = Relu(x) p = GlobalAveragePool(r) q = ReduceMean<axes=[1], keepdims=1>(r) m = Mul(p, q) e = Add(m, r)"
        "y = Conv(e, w)", {"opset": 13, "w": noise(4, 3, 3, 3)}),
    "a mean that is added to every position": (
        "a = Conv(x, w, b) r = Relu(a) p = GlobalAveragePool(r) d = BatchNormalization(p, g, h, m, v) e = Add(r, d)"
        "s = Relu(e) y = Conv(s, u)", {**CONV, **BN, **FOLLOW}),
    "the larger of two convs, and the smaller": (
        "a = Conv(x, w, b) d = Conv(x, v, c) h1 = Max(a, d) l = Min(a, d) r = Relu(l) e = Conv(r, u) f = Conv(h1, u)"
        "y = Sum(e, f, e)", {**CONV, **FOLLOW, "v": noise(4, 3, 3, 3, seed=7)}),
    "host work on both ends": (
        "c1 = Cast<to=1>(x) t = Transpose<perm=[0,3,1,2]>(c1) d = Div(t, s) a = Conv(d, w) r = Relu(a) f = Flatten(r)"
        "k1 = Gemm(f, k) o = Softmax(k1) y = Reshape(o, z)",
        {"x": (6, 6, 3), "dtype": "uint8", "s": np.float32(255), **CONV, "k": noise(64, 4), "z": ints(0, 2, 2)}),
    "a residual in NHWC": (
        "t = Transpose<perm=[0,3,1,2]>(x) a = Conv(t, w) r0 = Transpose<perm=[0,2,3,1]>(a) r = Relu(r0)"
        "q = Transpose<perm=[0,3,1,2]>(r) c1 = Conv<pads=[1,1,1,1]>(q, u) c2 = Transpose<perm=[0,2,3,1]>(c1)"
        "d = Add(c2, f) s = Add(r, d) e = Relu(s) p = Transpose<perm=[0,3,1,2]>(e) y = Conv(p, u)",
        {"x": (6, 6, 3), **CONV, "u": FOLLOW["u"], "f": noise(4, seed=9)}),
    "a transposed conv, batch norm, relu, conv": (
        "a = Relu(x) t = ConvTranspose<strides=[2,2], pads=[1,1,0,1]>(a, k, c) d = BatchNormalization(t, g, h, m, v)"
        "r = Relu(d) y = Conv(r, u)", {"x": (3, 4, 5), "k": noise(3, 4, 3, 3), **BN, **FOLLOW}),
    "a u-net of two levels": (
        "a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)"
        "d = Conv<pads=[1,1,1,1]>(p, u, c) e = Relu(d) t = ConvTranspose<strides=[2,2]>(e, k) j = Concat<axis=1>(t, r)"
        "i = Conv<pads=[1,1,1,1]>(j, q) s = Relu(i) y = Conv(s, l)",
        {**CONV, **FOLLOW, "k": noise(4, 3, 2, 2), "q": noise(4, 7, 3, 3), "l": noise(2, 4, 1, 1)}),
    "concat of raw branches, batch norm, relu": (
        "a = Conv(x, w) d = Conv(x, o) j = Concat<axis=1>(a, d) n = BatchNormalization(j, g, h, m, v)"
        "r = Relu(n) y = Conv(r, u)",
        {"w": noise(3, 3, 3, 3), "o": noise(1, 3, 3, 3, seed=1), **BN, **FOLLOW}),
    "linear upsampling into a sum and into a conv": (
        'a = Relu(x) l = Resize<mode="linear">(a, , z) e = Conv<pads=[1,1,1,1]>(l, k) r = Relu(e)'
        'i = Resize<mode="linear", coordinate_transformation_mode="align_corners">(a, , z) s = Add(r, i)'
        "y = Conv(s, k)",
        {"x": (4, 3, 5), "k": FOLLOW["u"], "z": np.array([1.0, 1, 2, 2])}),
    "nearest upsampling behind an affine step": (
        "a = Relu(x) d = BatchNormalization(a, g, h, m, v) i = Resize(d, , z) y = Conv(i, u)",
        {"x": (4, 3, 4), **BN, **FOLLOW, "z": np.array([1.0, 1, 2, 3])}),
    "batch norm and relu behind nearest upsampling and a reflected border": (
        "a = Conv(x, w) i = Resize(a, , z) e = BatchNormalization(i, g, h, m, v) r = Relu(e)"
        'p = Pad<mode="reflect">(r, q) y = Conv(p, u)',
        {**CONV, **BN, **FOLLOW, "z": np.array([1.0, 1, 2, 2]), "q": ints(0, 0, 1, 1, 0, 0, 1, 1)}),
    "coordinate channels before a padded conv": (
        "r = Relu(x) j = Concat<axis=1>(r, z) y = Conv<pads=[1,1,1,1]>(j, k)",
        {"x": (3, 4, 4), "batch": 1, "z": noise(1, 2, 4, 4), "k": noise(4, 5, 3, 3)}),
    "a border of ones before a conv": (
        "r = Relu(x) p = Pad(r, q, o) y = Conv(p, k)",
        {"k": noise(4, 3, 3, 3), "q": ints(0, 0, 1, 1, 0, 0, 1, 1), "o": np.float32(1)}),
    "a channel shuffle between grouped convs": (
        "a = Conv<group=2>(x, e) r = Relu(a) s = Reshape(r, z) t = Transpose<perm=[0,2,1,3,4]>(s) i = Reshape(t, q)"
        "y = Conv<group=2>(i, e)",
        {"x": (4, 5, 5), "e": noise(4, 2, 2, 2), "z": ints(0, 2, 2, 4, 4), "q": ints(0, 4, 4, 4)}),
    "gemm to a map to a conv": (
        "g1 = Gemm(x, k) m1 = Reshape(g1, z) r = Relu(m1) y = Conv(r, u)",
        {"x": (5,), "k": noise(5, 64), "z": ints(0, 4, 4, 4), **FOLLOW}),
}  # fmt: skip


def network(name: str) -> Any:
    """The ONNX model of one of the sentences."""
    body, keywords = NETWORKS[name]
    return tiny(body, **keywords)


def stages(graph: Graph, passes: Any = STRUCTURE) -> Iterator[tuple[str, Graph]]:
    """The graph after every structural pass, invariants and probe checked as the pipeline does."""
    found: list[tuple[str, Graph]] = []
    graph = run_passes(graph, passes[:UNPROBED], after=lambda name, g: found.append((name, g)))
    rng = np.random.default_rng(0)
    probe = {i.name: rng.standard_normal((2, *i.type.shape)) for i in graph.inputs}
    run_passes(graph, passes[UNPROBED:], probe, lambda name, g: found.append((name, g)))
    return iter(found)


def structured(graph: Graph) -> Graph:
    """The graph after all structural passes."""
    return list(stages(graph))[-1][1]


def worst_lie(original: Graph, graph: Graph, x: Array | Samples) -> float:
    """The largest relative difference of any output, and of any value that claims to be an ONNX value."""
    x = by_name(x, [i.model_name for i in graph.inputs])
    truth, values = original.evaluate(x), graph.evaluate(prepare_all(graph, x))
    pairs = [(truth[n.tap], values[n.name]) for n in graph.nodes if n.tap is not None and n.tap in truth]
    for before, after in zip(original.outputs, graph.outputs, strict=True):
        real = applied(after.host, (values[name] for name in after.values))[-1]
        pairs.append((truth[before.value], real))
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-9)) for a, b in pairs)


class EvaluatedRunner:
    """Stands where onnxruntime stands in calibration, and takes the numbers from the graph itself."""

    def __init__(self, graph: Graph):
        self.graph = graph

    def stream(self, x: Samples) -> Iterator[tuple[int, RealValues, dict[str, Array]]]:
        yield n_samples(x), RealValues(self.graph, prepare_all(self.graph, x)), {}


def mapped(
    graph: Graph, x: Array | Samples, options: Options | None = None, decisions: Decisions = NO_DECISIONS
) -> Graph:
    """A structured graph after calibration on ``x`` and the integer mapping."""
    options = options or Options()
    statistics = collect(graph, EvaluatedRunner(graph), by_name(x, [i.model_name for i in graph.inputs]))  # type: ignore[arg-type]
    return run_passes(
        graph, (ChooseLadders(statistics, options, decisions), QuantizeWeights(options), FoldThresholds())
    )


def mapped_at(graph: Graph, steps: Callable[[str], float], hi: int = 31, options: Options | None = None) -> Graph:
    """A structured graph mapped with steps given by hand: codes 0..hi, or -hi..hi at sites without activation."""

    def levels(name: str, rank: int, lo: int) -> Levels:
        ones = (1,) * rank
        return Levels(np.full(ones, steps(name)), lo, hi, np.zeros(ones, bool))

    nodes = []
    for n in graph.nodes:
        if isinstance(n.op, Layer) and n.op.activation is not None:
            lo = 0 if n.op.activation.kind in ("relu", "sigmoid") or n.op.activation.linear_above_zero else -hi
            n = replace(n, op=at_levels(n.op, n.op.activation, levels(n.name, len(n.type.shape), lo)))
        nodes.append(n)
    inputs = tuple(replace(i, levels=levels(i.name, len(i.type.shape), -hi)) for i in graph.inputs)
    chosen = replace(graph, inputs=inputs, nodes=tuple(nodes), invariants=graph.invariants | {"ladders-chosen"})
    return run_passes(chosen, (QuantizeWeights(options or Options()), FoldThresholds()))


def program_of(graph: Graph) -> Program:
    """The Program of a mapped graph."""
    return lower(graph)
