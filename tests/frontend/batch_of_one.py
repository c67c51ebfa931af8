"""Networks that are made for a batch of one, as tf2onnx writes them: axes of length 1 come, go and change places."""

from __future__ import annotations

import re

import numpy as np
import onnx

from .tiny_onnx import ints, tiny

T, C = 6, 8


def _weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)


# Queries, keys and values of one head to scores and back to rows: how frameworks move the axes of length 1.
HEADS = {
    "by reshapes": """qh = Reshape(q, heads) kh = Reshape(k, heads) vh = Reshape(v, heads)
        kt = Transpose<perm = [0, 1, 3, 2]>(kh) s = MatMul(qh, kt) p = Softmax<axis = -1>(s) o = MatMul(p, vh)""",
    "by transposes": """q4 = Reshape(q, tokens) k4 = Reshape(k, tokens) v4 = Reshape(v, tokens)
        qh = Transpose<perm = [0, 2, 1, 3]>(q4) kt = Transpose<perm = [0, 2, 3, 1]>(k4)
        vh = Transpose<perm = [0, 2, 1, 3]>(v4) s = MatMul(qh, kt) p = Softmax<axis = -1>(s)
        oh = MatMul(p, vh) o = Transpose<perm = [0, 2, 1, 3]>(oh)""",
    "tokens in front": """q4 = Reshape(q, middle) k4 = Reshape(k, middle) v4 = Reshape(v, heads)
        qh = Transpose<perm = [1, 2, 0, 3]>(q4) kt = Transpose<perm = [1, 2, 3, 0]>(k4)
        s = MatMul(qh, kt) p = Softmax<axis = -1>(s) o = MatMul(p, v4)""",
    "as matrices": """q2 = Squeeze(q, first) k2 = Squeeze(k, first) v2 = Squeeze(v, first)
        kt = Transpose<perm = [1, 0]>(k2) s = MatMul(q2, kt) p = Softmax<axis = -1>(s) o = MatMul(p, v2)""",
    "one of each": """qh = Reshape(q, heads) k2 = Squeeze(k, first) v3 = Transpose<perm = [1, 0, 2]>(v)
        v4 = Transpose<perm = [1, 0, 2]>(v3) kt = Transpose<perm = [1, 0]>(k2)
        s = MatMul(qh, kt) p = Softmax<axis = -1>(s) o = MatMul(p, v4)""",
}  # fmt: skip

# LayerNorm as TensorFlow writes it, on rows of shape (1, T, C).
_NORM = """{o}_mean = ReduceMean<axes = [2], keepdims = 1>({x}) {o}_d = Sub({x}, {o}_mean) {o}_sq = Mul({o}_d, {o}_d)
    {o}_var = ReduceMean<axes = [2], keepdims = 1>({o}_sq) {o}_e = Add({o}_var, epsilon) {o}_root = Sqrt({o}_e)
    {o}_inv = Reciprocal({o}_root) {o}_g = Mul({o}_inv, gamma) {o}_x = Mul({x}, {o}_g) {o}_m = Mul({o}_mean, {o}_g)
    {o}_b = Sub(beta, {o}_m) {o} = Add({o}_x, {o}_b) """


def _block(i: int, x: str, heads: str) -> str:
    """One block: attention and two dense layers, each with a skip and a normalisation behind."""
    own = HEADS[heads]
    for name in ("q4", "k4", "v4", "qh", "kh", "vh", "kt", "q2", "k2", "v2", "v3", "oh", "q", "k", "v", "s", "p", "o"):
        own = _renamed(own, name, f"{name}_{i}")
    dense = "".join(_rows(f"{name}_{i}", x, f"w{name}") for name in "qkv")
    mixed = f"{dense}{own} {_rows(f'a_{i}', f'o_{i}', 'wo')} r_{i} = Add({x}, a_{i}) "
    return (mixed + _NORM.format(o=f"n_{i}", x=f"r_{i}")
            + _rows(f"h_{i}", f"n_{i}", "w1") + f"g_{i} = Relu(h_{i}) " + _rows(f"f_{i}", f"g_{i}", "w2")
            + f"t_{i} = Add(n_{i}, f_{i}) " + _NORM.format(o=f"b_{i}", x=f"t_{i}"))  # fmt: skip


def _renamed(text: str, old: str, new: str) -> str:
    return re.sub(rf"\b{old}\b", new, text)


def _rows(out: str, x: str, w: str) -> str:
    return f"{out}_r = Reshape({x}, rows) {out}_m = MatMul({out}_r, {w}) {out} = Reshape({out}_m, whole) "


def transformer(heads: str, blocks: int = 1, seed: int = 0) -> onnx.ModelProto:
    """A keyword transformer of one head on ``(1, T, C)``: as many blocks, the mean of all tokens, a Gemm."""
    rng = np.random.default_rng(seed)
    body = "".join(_block(i, "x" if i == 0 else f"b_{i - 1}", heads) for i in range(blocks))
    body += f"mean = ReduceMean<axes = [1], keepdims = 0>(b_{blocks - 1}) y = MatMul(mean, wy)"
    names = {n: _weights(rng, C, C) for n in ("wq", "wk", "wv", "wo", "w1", "w2")}
    return tiny(body, (T, C), batch=1, opset=13, rows=ints(-1, C), whole=ints(1, T, C), heads=ints(1, 1, T, C),
                tokens=ints(1, T, 1, C), middle=ints(T, 1, 1, C), first=ints(0), epsilon=np.float32(1e-5),
                gamma=1 + 0.1 * rng.standard_normal(C), beta=0.1 * rng.standard_normal(C), wy=_weights(rng, C, 4),
                **names)  # fmt: skip
