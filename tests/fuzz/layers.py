"""Random layers for the generator of graphs: weights, pools, normalisations, attention, sums of branches.

A maker takes the writer and a value and returns a new one, None where it has nothing for this shape or opset.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .writer import Value, Writer

Maker = Callable[[Writer, Value], Value | None]


def space(x: Value) -> int:
    """The number of space axes of a map with channels, 0 for a vector."""
    return len(x.shape) - 1


def pads_of(g: Writer, axes: int, most: int = 1) -> dict[str, Any]:
    """Random padding attributes."""
    kind = g.rng.randrange(4)
    if kind == 0:
        return {"auto_pad": g.rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])}
    return {} if kind == 1 else {"pads": [g.rng.randint(0, most) for _ in range(2 * axes)]}


def conv(g: Writer, x: Value) -> Value | None:
    """Conv of one or two axes: groups, strides, dilations, pads."""
    if space(x) not in (1, 2):
        return None
    n, c, rng = space(x), x.shape[0], g.rng
    groups = rng.choice([d for d in range(1, c + 1) if c % d == 0])
    kernel = [rng.randint(1, 3) for _ in range(n)]
    out = groups * rng.randint(1, 3)
    weight = g.normal(out, c // groups, *kernel, scale=1 / math.sqrt(c // groups * math.prod(kernel)))
    attributes: dict[str, Any] = {"group": groups, "strides": [rng.randint(1, 2) for _ in range(n)], **pads_of(g, n)}
    if "auto_pad" not in attributes:
        attributes["dilations"] = [rng.randint(1, 2) for _ in range(n)]
    return g.node("Conv", x, weight, *([g.normal(out, scale=0.3)] if rng.random() < 0.7 else []), **attributes)


def conv_transpose(g: Writer, x: Value) -> Value | None:
    """ConvTranspose of one or two axes."""
    if space(x) not in (1, 2):
        return None
    n, c, rng = space(x), x.shape[0], g.rng
    kernel, strides = [rng.randint(1, 3) for _ in range(n)], [rng.randint(1, 2) for _ in range(n)]
    weight = g.normal(c, rng.randint(1, 3), *kernel, scale=1 / math.sqrt(c * math.prod(kernel)))
    return g.node("ConvTranspose", x, weight, strides=strides, pads=[rng.randint(0, k - 1) for k in kernel * 2])


def gemm(g: Writer, x: Value) -> Value | None:
    """Gemm on vectors."""
    if space(x) != 0:
        return None
    n, out, turned = x.shape[0], g.rng.randint(1, 6), g.rng.randrange(2)
    weight = g.normal(*((out, n) if turned else (n, out)), scale=1 / math.sqrt(n))
    bias = [g.normal(out, scale=0.3)] if g.opset < 11 or g.rng.random() < 0.7 else []
    return g.node(
        "Gemm", x, weight, *bias, transB=turned, alpha=g.rng.choice([1.0, 0.5]), beta=g.rng.choice([1.0, 2.0])
    )


def matmul(g: Writer, x: Value) -> Value | None:
    """MatMul with a constant matrix, with a bias at times."""
    n = x.shape[-1] if x.shape else 0
    if not n:
        return None
    out = g.rng.randint(1, 6)
    y = g.node("MatMul", x, g.normal(n, out, scale=1 / math.sqrt(n)))
    return g.node("Add", y, g.normal(out, scale=0.3)) if g.rng.random() < 0.5 else y


def gram(g: Writer, x: Value) -> Value | None:
    """The product of a value with its own transpose."""
    if len(x.shape) != 2:
        return None
    y = g.node("MatMul", x, g.node("Transpose", x, perm=[0, 2, 1]))
    return g.node("Mul", y, g.constant(1 / x.shape[1]))


def einsum(g: Writer, x: Value) -> Value | None:
    """Einsum with a constant matrix."""
    if g.opset < 12 or len(x.shape) != 2:
        return None
    weight = g.normal(x.shape[1], g.rng.randint(1, 5), scale=1 / math.sqrt(x.shape[1]))
    return g.node("Einsum", x, weight, equation=g.rng.choice(["bij,jk->bik", "bij,jk->bki"]))


def attention(g: Writer, x: Value) -> Value | None:
    """Attention of one head, written out."""
    if len(x.shape) != 2 or x.shape[1] < 2:
        return None
    d = x.shape[1]
    q, k, v = (g.node("MatMul", x, g.normal(d, d, scale=1 / math.sqrt(d))) for _ in range(3))
    scores = g.node("MatMul", q, g.node("Transpose", k, perm=[0, 2, 1]))
    scores = g.node("Div", scores, g.constant(math.sqrt(d)))
    return g.node("MatMul", g.node("Softmax", scores, axis=2), v)


def batch_norm(g: Writer, x: Value) -> Value | None:
    """BatchNormalization in inference form."""
    if not x.shape:
        return None
    c = x.shape[0]
    variance = g.constant(0.3 + g.numbers.random(c))
    return g.node(
        "BatchNormalization", x, g.normal(c, mean=1, scale=0.4), g.normal(c), g.normal(c, scale=0.5), variance
    )


def norm(g: Writer, x: Value) -> Value | None:
    """LayerNormalization, InstanceNormalization, GroupNormalization or RMSNormalization."""
    rng, c = g.rng, x.shape[0] if x.shape else 0
    kind = rng.choice(["layer", "instance", "group", "rms"])
    if kind == "instance" and space(x) in (1, 2):
        return g.node("InstanceNormalization", x, g.normal(c, mean=1), g.normal(c))
    if kind == "group" and g.opset >= 18 and space(x) in (1, 2) and c % 2 == 0:
        size = c if g.opset >= 21 else 2
        return g.node("GroupNormalization", x, g.normal(size, mean=1), g.normal(size), num_groups=2)
    if not x.shape or x.shape[-1] < 3:
        return None
    gain = g.normal(x.shape[-1], mean=1, scale=0.4)
    if kind == "layer" and g.opset >= 17:
        return g.node("LayerNormalization", x, gain, g.normal(x.shape[-1]), axis=-1)
    if kind == "rms" and g.opset >= 23:
        return g.node("RMSNormalization", x, gain, axis=-1)
    return None


def pool(g: Writer, x: Value) -> Value | None:
    """MaxPool or AveragePool, with what else the opset allows."""
    if space(x) not in (1, 2):
        return None
    n, rng = space(x), g.rng
    kernel = [rng.randint(1, 3) for _ in range(n)]
    op = rng.choice(["MaxPool", "AveragePool"])
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": [rng.randint(1, 2) for _ in range(n)]}
    attributes |= {"pads": [rng.randint(0, k - 1) for k in kernel * 2]} if rng.random() < 0.5 else pads_of(g, n, 0)
    if g.opset >= 10 and "auto_pad" not in attributes:
        attributes["ceil_mode"] = rng.randrange(2)
    if op == "AveragePool":
        attributes["count_include_pad"] = rng.randrange(2)
    return g.node(op, x, **attributes)


def global_pool(g: Writer, x: Value) -> Value | None:
    """A pool over all space axes."""
    return g.node(g.rng.choice(["GlobalAveragePool", "GlobalMaxPool"]), x) if space(x) in (1, 2) else None


def reduce(g: Writer, x: Value) -> Value | None:
    """ReduceMean, ReduceSum, ReduceMax or ReduceMin over some axes."""
    if not x.shape:
        return None
    op = g.rng.choice(["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"])
    axes = sorted(g.rng.sample(range(1, len(x.shape) + 1), g.rng.randint(1, len(x.shape))))
    keep = g.rng.randrange(2) if len(axes) < len(x.shape) else 1
    if g.opset >= (13 if op == "ReduceSum" else 18):
        return g.node(op, x, g.ints(*axes), keepdims=keep)
    return g.node(op, x, axes=axes, keepdims=keep)


def per_channel(g: Writer, x: Value) -> str:
    """A constant of random numbers: one for all, one per channel, or one per place."""
    shapes = [(), (x.shape[0], *(1,) * (len(x.shape) - 1)), x.shape] if x.shape else [()]
    return g.normal(*g.rng.choice(shapes))


def with_constant(g: Writer, x: Value) -> Value | None:
    """Arithmetic with a constant on either side."""
    op = g.rng.choice(["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"])
    if op == "Div":
        return g.node("Div", x, g.constant(g.rng.choice([0.5, 2.0, -3.0])))
    if op in ("Max", "Min") and g.opset < 8:
        return None
    pair = [x, per_channel(g, x)]
    return g.node(op, *(pair if g.rng.random() < 0.6 else pair[::-1]))


def residual(g: Writer, x: Value) -> Value | None:
    """A branch and what it adds to, of one shape."""
    branch = (matmul if len(x.shape) < 3 else with_constant)(g, x)
    branch = branch and g.node("Relu", branch)
    if branch is None or branch.shape != x.shape:
        branch = g.node("Relu", g.node("Mul", x, g.constant(-0.7)))
    return g.node(g.rng.choice(["Add", "Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean"]), x, branch)


LAYERS: tuple[Maker, ...] = (
    conv, conv, conv_transpose, gemm, gemm, matmul, matmul, gram, einsum, attention, batch_norm, norm, with_constant,
    residual, residual,
)  # fmt: skip
POOLS: tuple[Maker, ...] = (pool, pool, global_pool, reduce)
