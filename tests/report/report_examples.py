"""A small network with every kind of synapse, compiled and measured once for the tests of the report."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sfn_compile.compiler.compilation import Compilation, compile_model
from sfn_compile.foundation.options import Options
from sfn_compile.host.codec import encode_all
from sfn_compile.report import measure
from sfn_compile.simulator.run import run_codes

from ..frontend.tiny_onnx import noise, saved, tiny

# A strided and padded convolution, a depthwise one with dilation, a residual, a gate (product), a pooled Gemm.
BODY = """
a = Conv<strides=[2, 2], pads=[1, 1, 1, 1]>(x, w1, b1) r = Relu(a)
c = Conv<group=4, dilations=[2, 2], pads=[2, 2, 2, 2]>(r, w2) d = Add(c, r) s = Relu(d)
g = Conv(s, w3) h = Sigmoid(g) m = Mul(s, h) q = Conv<pads=[0, 1, 1, 0]>(m, w4) t = Relu(q)
p = AveragePool<kernel_shape=[2, 2], strides=[1, 1]>(t) u = Relu(p) f = Flatten(u) y = Gemm(f, k)
"""
WEIGHTS = {
    "w1": noise(4, 2, 3, 3), "b1": noise(4, seed=1), "w2": noise(4, 1, 3, 3, seed=2), "w3": noise(4, 4, 1, 1, seed=3),
    "w4": noise(3, 4, 2, 2, seed=4), "k": noise(12, 3, seed=5),
}  # fmt: skip
N = 4


@cache
def compiled() -> tuple[Compilation, measure.Measured, dict[str, np.ndarray]]:
    """The compilation, what was measured on N samples, and all integers for them."""
    with TemporaryDirectory() as folder:
        model = saved(tiny(BODY, x=(2, 5, 6), **WEIGHTS), Path(folder))
        np.savez(Path(folder) / "x.npz", x=noise(N, 2, 5, 6, seed=9))
        done = compile_model(model, Options(levels=7, input_levels=15), Path(folder) / "x.npz")
        measured = measure.layers(done.graph, done.program, done.runner, done.calibration.x)
    return done, measured, run_codes(done.program, encode_all(done.program, done.calibration.x))
