"""Random networks made of the blocks that people write in torch: another hand than :mod:`.random_graphs`.

Convolutional stages with residuals, squeeze-and-excite, depthwise and transposed convolutions, joins, logic, and stages
of tokens with attention; every block keeps the kind of tensor that it reads, and one of several heads ends the network.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .random_graphs import RandomGraph

Array = NDArray[Any]
ACTIVATIONS = ("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSwish", "Gelu", "Silu", "Clip", "Elu", "Softplus")


class Blocks:
    """A network under construction: ``self.at`` is a map ``(n, c, h, w)`` until tokens ``(n, t, c)`` are made of it."""

    def __init__(self, rng: random.Random):
        self.rng, self.numbers = rng, np.random.default_rng(rng.getrandbits(32))
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.c, self.size = rng.choice([1, 3, 5]), rng.choice([4, 6, 8])
        self.shape = (self.c, self.size, self.size)
        self.at = "x"

    def op(self, kind: str, *inputs: str | Array, **attributes: Any) -> str:
        """Add a node; arrays become initializers."""
        names = []
        for value in inputs:
            if not isinstance(value, str):
                name = f"c{len(self.weights)}"
                self.weights.append(numpy_helper.from_array(np.asarray(value), name))
                value = name
            names.append(value)
        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [out], **attributes))
        return out

    def number(self, value: float) -> Array:
        return np.asarray(value, np.float32)

    def weight(self, *shape: int) -> Array:
        size = np.sqrt(max(np.prod(shape[1:]), 1)) if len(shape) > 1 else 4.0
        return (self.numbers.standard_normal(shape) * self.rng.choice([0.5, 1.0, 2.0]) / size).astype(np.float32)

    def conv(self, x: str, c_in: int, c_out: int, k: int = 3, groups: int = 1) -> str:
        pads = [k // 2] * 4
        bias = [self.weight(c_out)] if self.rng.random() < 0.5 else []
        return self.op("Conv", x, self.weight(c_out, c_in // groups, k, k), *bias, pads=pads, group=groups)

    def norm(self, x: str, c: int) -> str:
        positive = (self.numbers.random(c) + 0.5).astype(np.float32)
        return self.op("BatchNormalization", x, positive, self.weight(c), self.weight(c), positive[::-1].copy())

    def act(self, x: str) -> str:
        kind = self.rng.choice(ACTIVATIONS)
        if kind == "Silu":
            return self.op("Mul", x, self.op("Sigmoid", x))
        if kind == "Gelu":
            inner = self.op("Erf", self.op("Mul", x, self.number(0.70710678)))
            return self.op("Mul", self.op("Mul", x, self.op("Add", inner, self.number(1.0))), self.number(0.5))
        if kind == "Clip":
            return self.op("Clip", x, self.number(0.0), self.number(6.0))
        return self.op(kind, x)

    # -- blocks on maps ------------------------------------------------------------------------------------------------
    def plain(self) -> None:
        c = self.rng.choice([2, 4, 6])
        x = self.conv(self.at, self.c, c, self.rng.choice([1, 3]))
        x = self.norm(x, c) if self.rng.random() < 0.7 else x
        self.at, self.c = self.act(x), c

    def residual(self) -> None:
        x = self.act(self.norm(self.conv(self.at, self.c, self.c), self.c))
        x = self.op("Add", self.norm(self.conv(x, self.c, self.c), self.c), self.at)
        self.at = self.act(x) if self.rng.random() < 0.7 else x

    def inverted(self) -> None:
        wide = 2 * self.c
        x = self.act(self.norm(self.conv(self.at, self.c, wide, 1), wide))
        x = self.act(self.norm(self.conv(x, wide, wide, 3, wide), wide))
        x = self.norm(self.conv(x, wide, self.c, 1), self.c)
        self.at = self.op("Add", self.at, x)

    def excite(self) -> None:
        pooled = self.op("GlobalAveragePool", self.at)
        x = self.op("Relu", self.conv(pooled, self.c, 2, 1))
        gate = self.op(self.rng.choice(["Sigmoid", "HardSigmoid"]), self.conv(x, 2, self.c, 1))
        self.at = self.op("Mul", self.at, gate)

    def pool(self) -> None:
        if self.size % 2 == 0 and self.size > 2:
            kind = self.rng.choice(["MaxPool", "AveragePool"])
            self.at, self.size = self.op(kind, self.at, kernel_shape=[2, 2], strides=[2, 2]), self.size // 2

    def up(self) -> None:
        if self.size <= 4:
            if self.rng.random() < 0.5:
                self.at = self.op("ConvTranspose", self.at, self.weight(self.c, self.c, 2, 2), strides=[2, 2])
            else:
                mode = self.rng.choice(["nearest", "linear"])
                self.at = self.op("Resize", self.at, "", np.array([1, 1, 2, 2], np.float32), mode=mode)
            self.size *= 2

    def dense(self) -> None:
        x = self.act(self.conv(self.at, self.c, 2))
        self.at, self.c = self.op("Concat", self.at, x, axis=1), self.c + 2

    def gated(self) -> None:
        """A mask of comparisons and logic over the map."""
        a = self.op("Greater", self.op("Sigmoid", self.conv(self.at, self.c, self.c, 1)), self.number(0.4))
        b = self.op("Less", self.at, self.number(0.5))
        both = self.op(self.rng.choice(["And", "Or", "Xor"]), a, b)
        mask = self.op("Cast", both, to=TensorProto.FLOAT)
        self.at = self.op("Mul", self.at, mask) if self.rng.random() < 0.5 else self.op("Add", self.at, mask)

    def shuffle(self) -> None:
        if self.c % 2 == 0:
            x = self.op("Reshape", self.at, np.array([0, 2, self.c // 2, self.size, self.size]))
            x = self.op("Transpose", x, perm=[0, 2, 1, 3, 4])
            self.at = self.op("Reshape", x, np.array([0, self.c, self.size, self.size]))

    # -- tokens --------------------------------------------------------------------------------------------------------
    def tokens(self) -> None:
        x = self.op("Reshape", self.at, np.array([0, self.c, -1]))
        self.at = self.op("Transpose", x, perm=[0, 2, 1])

    def layer_norm(self, x: str) -> str:
        return self.op("LayerNormalization", x, np.ones(self.c, np.float32) + self.weight(self.c), self.weight(self.c))

    def attention(self) -> None:
        x = self.layer_norm(self.at)
        q, k, v = (self.op("MatMul", x, self.weight(self.c, self.c)) for _ in range(3))
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 2, 1]))
        scaled = self.op("Mul", scores, self.number(self.c**-0.5))
        mixed = self.op("MatMul", self.op("Softmax", scaled, axis=-1), v)
        self.at = self.op("Add", self.at, self.op("MatMul", mixed, self.weight(self.c, self.c)))

    def feed_forward(self) -> None:
        x = self.op("MatMul", self.layer_norm(self.at), self.weight(self.c, 2 * self.c))
        x = self.act(self.op("Add", x, self.weight(2 * self.c)))
        self.at = self.op("Add", self.at, self.op("MatMul", x, self.weight(2 * self.c, self.c)))

    def ends(self, tokens: bool) -> None:
        pooled = self.op("ReduceMean", self.at, axes=[1] if tokens else [2, 3], keepdims=0)
        kind = self.rng.randrange(4)
        if kind == 0:
            return  # the map or the tokens themselves
        x = self.op("Gemm", pooled, self.weight(self.c, 5), self.weight(5))
        self.at = self.op("Softmax", x) if kind == 1 else self.op("Concat", x, pooled, axis=1) if kind == 2 else x


def block_graph(seed: int) -> RandomGraph:
    """Return the network of a number."""
    rng = random.Random(seed)
    net = Blocks(rng)
    shape = net.shape
    net.plain()
    on_maps = (net.plain, net.residual, net.inverted, net.excite, net.pool, net.up, net.dense, net.gated, net.shuffle)
    for _ in range(rng.randint(1, 5)):
        rng.choice(on_maps)()
    tokens = rng.random() < 0.3
    if tokens:
        net.tokens()
        for _ in range(rng.randint(1, 3)):
            rng.choice((net.attention, net.feed_forward))()
    net.ends(tokens)
    used = {i for n in net.nodes for i in n.input}
    sides = [helper.make_tensor_value_info("x", 1, ["N", *shape]), helper.make_tensor_value_info(net.at, 1, None)]
    graph = helper.make_graph(net.nodes, "blocks", sides[:1], sides[1:], [w for w in net.weights if w.name in used])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = net.numbers.standard_normal((24, *shape)).astype(np.float32)
    scaled = x * rng.choice([1.0, 0.1, 30.0]) + rng.choice([0.0, 0.0, 5.0])
    return RandomGraph(model, {"x": scaled.astype(np.float32)}, "blocks of tokens" if tokens else "blocks of maps")
