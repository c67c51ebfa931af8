"""Random chains of operators with branches, in the language of tiny_onnx, for properties of the structural passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..frontend.tiny_onnx import tiny


class Chain:
    """A network that grows by one operator at a time: its text, its constants, the shape of its last value."""

    def __init__(self, draw: st.DrawFn):
        self.draw, self.rng = draw, np.random.default_rng(draw(st.integers(0, 2**16)))
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}
        self.shape, self.last = (4, 6, 6), "x"

    def add(self, kind: str, i: int) -> None:
        """Append an operator of a kind, or an activation where its kind does not fit the last value."""
        name = f"v{i}"
        grown = BUILDERS.get(kind, Chain.activation)(self, kind, name, i) or self.activation(kind, name, i)
        line, self.shape = grown
        self.lines.append(line)
        self.last = name

    def branch(self, kind: str, name: str, i: int) -> Any:
        """A value that two paths of it make."""
        last, (c, h, w) = self.last, self.shape
        if kind == "concat":
            both = f"{name}b = Tanh({last}) {name} = Concat<axis=1>({last}, {name}b)"
            return (both, (2 * c, h, w)) if c <= 8 else None
        text = {
            "residual": f"{name}b = Relu({last}) {name} = Add({last}, {name}b)",
            "gate": f"{name}b = Sigmoid({last}) {name} = Mul({last}, {name}b)",
            "excite": f"{name}b = GlobalAveragePool({last}) {name}c = Tanh({name}b) {name} = Mul({last}, {name}c)",
            "square": f"{name} = Mul({last}, {last})",
            "larger": f"{name}b = Tanh({last}) {name} = Max({last}, {name}b)",
        }
        return text[kind], self.shape

    def convolution(self, kind: str, name: str, i: int) -> Any:
        """A convolution with a bias: plain, padded or one per channel."""
        c, h, w = self.shape
        groups, p = (c, 1) if kind == "depthwise" else (1, int(kind == "padded conv" or min(h, w) < 3))
        self.constants[f"w{i}"] = self.rng.standard_normal((c, c // groups, 3, 3))
        self.constants[f"b{i}"] = self.rng.standard_normal(c)
        line = f"{name} = Conv<pads=[{p},{p},{p},{p}], group={groups}>({self.last}, w{i}, b{i})"
        return line, (c, h - 2 + 2 * p, w - 2 + 2 * p)

    def affine(self, kind: str, name: str, i: int) -> Any:
        """A batch normalisation, or arithmetic with a constant."""
        c, h, w = self.shape
        if kind == "bn":
            for k in "ghm":
                self.constants[f"{k}{i}"] = self.rng.standard_normal(c)
            self.constants[f"s{i}"] = self.rng.random(c) + 0.5
            return f"{name} = BatchNormalization({self.last}, g{i}, h{i}, m{i}, s{i})", self.shape
        self.constants[f"w{i}"] = self.rng.standard_normal(
            self.draw(st.sampled_from([(1,), (c, 1, 1), (w,), (c, h, w)]))
        )
        return f"{name} = {self.draw(st.sampled_from(['Mul', 'Add', 'Sub']))}({self.last}, w{i})", self.shape

    def pool(self, kind: str, name: str, i: int) -> Any:
        """A pool of 2x2."""
        c, h, w = self.shape
        if min(h, w) < 2:
            return None
        p = self.draw(st.integers(0, 1))
        counted = f"count_include_pad={self.draw(st.integers(0, 1))}, " if kind == "average" else ""
        op = "MaxPool" if kind == "max" else "AveragePool"
        line = f"{name} = {op}<{counted}kernel_shape=[2,2], strides=[2,1], pads=[{p},0,0,{p}]>({self.last})"
        return line, (c, (h + p - 2) // 2 + 1, w + p - 1)

    def padding(self, kind: str, name: str, i: int) -> Any:
        """Zeros around, or a reflection."""
        c, h, w = self.shape
        if kind == "pad":
            self.constants[f"w{i}"] = np.array([0, 0, 1, 0, 0, 0, 0, 1])
            return f"{name} = Pad({self.last}, w{i})", (c, h + 1, w + 1)
        self.constants[f"w{i}"] = np.array([0, 0, 1, 0, 0, 0, 1, 0])
        return (f'{name} = Pad<mode="reflect">({self.last}, w{i})', (c, h + 2, w)) if h > 1 else None

    def larger(self, kind: str, name: str, i: int) -> Any:
        """More positions: a resize, a transposed convolution, channels that become positions."""
        c, h, w = self.shape
        if kind == "upsample" and max(h, w) <= 12:
            self.constants[f"w{i}"] = np.array([1.0, 1.0, 2.0, 1.0])
            mode = self.draw(st.sampled_from(["nearest", "linear"]))
            return f'{name} = Resize<mode="{mode}">({self.last}, , w{i})', (c, 2 * h, w)
        if kind == "transposed" and max(h, w) <= 8:
            self.constants[f"w{i}"] = self.rng.standard_normal((c, c, 3, 2))
            line = f"{name} = ConvTranspose<strides=[2,1], pads=[1,0,0,0]>({self.last}, w{i})"
            return line, (c, 2 * h, w + 1)
        if kind == "shuffle" and c % 4 == 0:
            return f"{name} = DepthToSpace<blocksize=2>({self.last})", (c // 4, 2 * h, 2 * w)
        return None

    def pick(self, kind: str, name: str, i: int) -> Any:
        """Channels by number, or the two last axes exchanged."""
        c, h, w = self.shape
        if kind == "flip":
            return f"{name} = Transpose<perm=[0,1,3,2]>({self.last})", (c, w, h)
        self.constants[f"w{i}"] = self.rng.integers(0, c, 3)
        return f"{name} = Gather<axis=1>({self.last}, w{i})", (3, h, w)

    def activation(self, kind: str, name: str, i: int) -> Any:
        """A function of every value."""
        act = {"clip": "Clip", "leaky": "LeakyRelu<alpha=0.25>", "tanh": "Tanh"}.get(kind, "Relu")
        self.constants["lo"], self.constants["hi"] = np.float32(-0.5), np.float32(1.5)
        return f"{name} = {act}({self.last}{', lo, hi' if act == 'Clip' else ''})", self.shape


BUILDERS: dict[str, Callable[[Chain, str, str, int], Any]] = {
    **dict.fromkeys(("residual", "gate", "excite", "square", "larger", "concat"), Chain.branch),
    **dict.fromkeys(("conv", "padded conv", "depthwise"), Chain.convolution),
    **dict.fromkeys(("bn", "scale"), Chain.affine),
    **dict.fromkeys(("max", "average"), Chain.pool),
    **dict.fromkeys(("pad", "reflect"), Chain.padding),
    **dict.fromkeys(("upsample", "transposed", "shuffle"), Chain.larger),
    **dict.fromkeys(("gather", "flip"), Chain.pick),
}
KINDS = (*BUILDERS, "relu", "clip", "leaky", "tanh")


@st.composite
def random_networks(draw: st.DrawFn) -> Any:
    """A chain of up to eight operators with branches, on 4 channels, as an ONNX model."""
    chain = Chain(draw)
    for i in range(draw(st.integers(2, 8))):
        chain.add(draw(st.sampled_from(KINDS)), i)
    chain.constants["kk"] = chain.rng.standard_normal((int(np.prod(chain.shape)), 3))
    text = " ".join([*chain.lines, f"ff = Flatten({chain.last}) y = Gemm(ff, kk)"])
    inner = [f"v{i}" for i in range(len(chain.lines))]
    outputs = ["y", *draw(st.lists(st.sampled_from(inner), max_size=1))]
    return tiny(text, x=(4, 6, 6), outputs=outputs, **chain.constants)
