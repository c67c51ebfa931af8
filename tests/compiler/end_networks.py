"""Small networks with two heads h and g, and whatever end is put behind them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from onnx import ModelProto

from sfn_compile.compiler.compilation import compile_model
from sfn_compile.foundation.options import Options
from sfn_compile.program.network import Program

from ..frontend.tiny_onnx import ints, noise, saved, tiny

RNG = np.random.default_rng(5)
CALIB, X = (RNG.standard_normal((n, 2, 10, 10)).astype(np.float32) for n in (160, 48))
LAYERS = """
c1 = Conv <pads = [1, 1, 1, 1]> (x, w1, b1) r1 = Relu(c1)
c2 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (r1, w2, b2) r2 = Relu(c2)
h = Conv (r2, wh, bh) g = Conv (r2, wg, bg)
"""
WEIGHTS = {
    "w1": noise(6, 2, 3, 3, seed=1) / 3, "b1": noise(6, seed=2) / 4, "w2": noise(8, 6, 3, 3, seed=3) / 5,
    "b2": noise(8, seed=4) / 4, "wh": noise(4, 8, 1, 1, seed=5), "bh": noise(4, seed=6),
    "wg": noise(4, 8, 1, 1, seed=7) / 4, "bg": noise(4, seed=8) / 4,
}  # fmt: skip
CONSTANTS = {
    "pads": ints(0, 0, 1, 1, 0, 0, 2, 1), "two": np.float32(2.0), "sizes": ints(0, 0, 7, 7), "scale": noise(4, 1, 1),
    "offset": noise(4, 1, 1, seed=9), "axes": ints(2, 3), "channel": ints(1), "flat": ints(0, -1),
    "up": np.array([1, 1, 2, 2], np.float32), "odd": np.array([1, 1, 1.7, 2.3], np.float32),
    "first": ints(0), "third": ints(3), "fixed": noise(1, 2, 5, 5), "empty": np.zeros(0, np.float32),
    "low": np.float32(-0.5), "high": np.float32(1.0), "k": noise(3, 8, 1, 1, seed=11),
    "k4": noise(3, 4, 1, 1, seed=12), "halves": ints(2, 2), "k8": noise(8, 4),
}  # fmt: skip


def network(end: str, outputs: tuple[str, ...] = ("y",)) -> ModelProto:
    """The network with an end of its own, which may read h, g, r2, x and the constants."""
    words = set(re.findall(r"\w+", end))
    used = {k: v for k, v in CONSTANTS.items() if k in words}
    return tiny(LAYERS + end, (2, 10, 10), outputs=outputs, **WEIGHTS, **used)


def compiled(model: ModelProto, folder: Path) -> Program:
    """The Program of the model, with default options."""
    np.savez(folder / "calib.npz", x=CALIB)
    return compile_model(saved(model, folder), Options(), folder / "calib.npz").program
