"""Hostile ONNX files: small valid models, and seeded ways to damage them. Also used by tests/fuzz/campaign.py."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from .tiny_onnx import ints, noise, tiny

W = noise(4, 3, 3, 3)
BN = {"g": noise(4) ** 2, "h": noise(4), "m": noise(4), "v": noise(4, seed=3) ** 2 + 1}

VIEW = """a = Conv<pads=[1,1,1,1]>(x, w) r = Relu(a) s = Shape(r) n = Gather(s, zero) u = Unsqueeze(n, axis)
          t = Concat<axis=0>(u, minus) f = Reshape(r, t) y = Gemm<transB=1>(f, v)"""
VIEW_CONSTANTS: dict[str, Any] = {
    "w": W, "v": noise(5, 144), "zero": np.array(0), "axis": ints(0), "minus": ints(-1)}  # fmt: skip

SEEDS: dict[str, Callable[[], onnx.ModelProto]] = {
    "residual": lambda: tiny(
        """a = Conv<pads=[1,1,1,1]>(x, w) b = BatchNormalization(a, g, h, m, v) c = Relu(b) d = Conv<group=4>(c, u)
           e = Conv(c, z) f = Add(d, e) p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(f) q = GlobalAveragePool(p)
           y = Flatten(q)""",
        w=W, u=noise(4, 1, 3, 3), z=noise(4, 4, 3, 3), **BN),
    "view": lambda: tiny(VIEW, **VIEW_CONSTANTS),
    "view of a fixed batch": lambda: tiny(VIEW, batch=2, **VIEW_CONSTANTS),
    "moves": lambda: tiny(
        """a = Transpose<perm=[0,2,3,1]>(x) b = Slice(a, s, e, ax, st) c = Pad(b, p) d = Squeeze(c, sq)
           f = Unsqueeze(d, sq) g, h = Split<axis=3>(f, sp) i = Concat<axis=3>(h, g) j = Reshape(i, t)
           k = MatMul(j, w) l = Clip(k, lo, hi) y = Softmax<axis=1>(l)""",
        s=ints(0, 1), e=ints(6, 2), ax=ints(1, 2), st=ints(2, 1), p=ints(0, 1, 0, 0, 0, 1, 0, 0), sq=ints(2),
        sp=ints(1, 2), t=ints(0, -1), w=noise(15, 4), lo=np.float32(0), hi=np.float32(6)),
    "pools and means": lambda: tiny(
        """a = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2], ceil_mode=1, count_include_pad=1>(x)
           b = LeakyRelu<alpha=0.1>(a) c = Mul(b, k) d = Sub(c, k) e = Div(d, k)
           f = ReduceMean<axes=[2,3], keepdims=0>(e) g = Sigmoid(f) h = Dropout(g) y = Cast<to=1>(h)""",
        k=noise(3, 1, 1) ** 2 + 1, opset=13),
    "computed constants": lambda: tiny(
        """c = ConstantOfShape<value = float[1] {0.5}>(s) e = Expand(c, t) r = Range(i, j, k) q = Cast<to=1>(r)
           m = Mul(e, q) n = Tile(m, o) z = ReduceMax<keepdims=0>(n) w = Where(b, z, z) a = Add(x, w) y = Relu(a)""",
        s=ints(1, 2), t=ints(3, 2), i=np.array(0), j=np.array(2), k=np.array(1), o=ints(2, 2), b=np.array(True),
        opset=13),
    "one dimension": lambda: tiny(
        """a = Conv<strides=[2], auto_pad="SAME_UPPER">(x, w) b = Tanh(a)
           c = MaxPool<kernel_shape=[2]>(b) d = GlobalMaxPool(c) y = Flatten(d)""",
        x=(3, 9), w=noise(4, 3, 3)),
    "a constant branch": lambda: with_if(True),
    "a function": lambda: with_function(),
    "quantised": lambda: tiny(
        """a = QuantizeLinear(x, s, n) b = DequantizeLinear(a, s, n) d = DequantizeLinear(q, s, i) c = Conv(b, d)
           r = Relu(c) e = QuantizeLinear(r, s, n) f = DequantizeLinear(e, s, n) y = Flatten(f)""",
        q=(10 * noise(4, 3, 3, 3)).astype(np.int8), s=np.float32(0.1), n=np.uint8(3), i=np.int8(0)),
    "quantised operators": lambda: tiny(
        """a = QuantizeLinear(x, s, n) b = QLinearConv(a, s, n, q, s, i, t, n) y = DequantizeLinear(b, t, n)""",
        q=(10 * noise(4, 3, 3, 3)).astype(np.int8), s=np.float32(0.1), t=np.float32(0.3), n=np.uint8(3), i=np.int8(0)),
    "up and down": lambda: tiny(
        """a = ConvTranspose<strides=[2,2], pads=[1,0,0,1], output_padding=[1,0]>(x, w)
           b = Resize<mode="linear">(a, , z)
           c = DepthToSpace<blocksize=2>(b) d = Tile(c, t)
           e = Expand(d, f) y = Pad<mode="reflect">(e, p)""",
        w=noise(3, 4, 3, 3), z=np.array([1, 1, 2, 2], np.float32), t=ints(1, 2, 1, 1), f=ints(1, 2, 1, 1),
        p=ints(0, 0, 1, 1, 0, 0, 0, 1)),
    "picked": lambda: tiny(
        """a = Upsample<scales = [1.0, 1.0, 2.0, 3.0], mode = "nearest">(x) b = Gather<axis=1>(a, i) c = Max(b, k)
           d = ReduceSum<axes=[2]>(c) y = ReduceMin<axes=[1], keepdims=0>(d)""",
        i=ints(2, 0, 1, 1), k=np.float32(0.5), opset=8),
    "functions": lambda: tiny(
        """a = Sigmoid(x) b = Mul(x, a) c = HardSigmoid<alpha=0.3>(b) d = Mul(b, c) e = Elu(d) f = Softplus(e)
           g = PRelu(f, k) h = Erf(g) i = Pow(h, two) j = Sqrt(i) y = HardSwish(j)""",
        k=noise(3, 1, 1), two=np.float32(2)),
    "a gate": lambda: tiny(
        """a = Conv<pads=[1,1,1,1]>(x, w) b = Relu(a) m = GlobalAveragePool(b) c = Conv(m, v) s = Sigmoid(c)
           d = Mul(b, s) e = Max(d, b) f = Sub(e, b) y = Flatten(f)""",
        w=W, v=noise(4, 4, 1, 1)),
    "two inputs": lambda: tiny(
        "a = Conv(x, w) b = Conv(z, w) c = Add(a, b) d = Relu(c) e = ArgMax<axis=1>(d) y = Cast<to=1>(e)",
        inputs=", float[N,3,6,6] z", w=W),
    "boxes": lambda: tiny(
        """a = Conv(x, w) b = Relu(a) c = Conv(b, v) d = Reshape(c, s) e = Slice(d, z, t, o) f = Slice(d, t, q, o)
           g = Exp(f) h = Mul(g, e) i = Add(h, e) j = Concat<axis=1>(h, i) u, p = TopK<axis=2>(j, k) y = Softmax(u)""",
        w=W, v=noise(4, 4, 1, 1), s=ints(0, 4, -1), z=ints(0), t=ints(2), q=ints(4), o=ints(1), k=ints(3)),
    "choices": lambda: tiny(
        """a = Greater(x, k) b = Relu(x) c = Tanh(x) d = Where(a, b, c) e = Not(a) f = Cast<to=1>(e) y = Mul(d, f)""",
        k=np.float32(0)),
}  # fmt: skip


def with_if(condition: bool) -> onnx.ModelProto:
    """A model whose If is decided by a constant: Relu where it holds, Tanh where not."""
    text = f"""<ir_version: 8, opset_import: ["": 17]> m (float[N,3,6,6] x) => (float[] y) {{
        c = Constant<value = bool {{{int(condition)}}}>()
        b = If (c) <then_branch = t () => (float[N,3,6,6] r) {{ r = Relu(x) }},
                    else_branch = e () => (float[N,3,6,6] r) {{ r = Tanh(x) }}>
        y = Identity(b) }}"""
    return onnx.parser.parse_model(text)


def with_function() -> onnx.ModelProto:
    """A model that calls a function of its own, which calls another one."""
    text = """<ir_version: 8, opset_import: ["": 17, "local": 1]> m (float[N,3,6,6] x) => (float[N,3,6,6] y) {
            a = local.Block(x) y = local.Block(a) }
        <domain: "local", opset_import: ["": 17, "local": 1]> Block (x) => (y) { a = local.Twice(x) y = Relu(a) }
        <domain: "local", opset_import: ["": 17]> Twice (x) => (y) { y = Add(x, x) }"""
    return onnx.parser.parse_model(text)


# -- damage ----------------------------------------------------------------------------------------------------------
INTEGERS = (0, 1, -1, 2, 3, 7, -7, 100, 999, 10**6, 2**31 - 1, -(2**31), 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e38, -1e38, float("nan"), float("inf"), float("-inf"))
TEXTS = ("", " ", "/", "..", "a b.c:d/e", "ä\u2603", "n" * 10_000, "x", "y", "Relu", "Conv", "Shape", "LSTM", "If",
         "SAME_UPPER", "ai.onnx", "com.microsoft", "\n", "%s{}")  # fmt: skip
_INTS = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT32,
         FieldDescriptor.CPPTYPE_UINT64, FieldDescriptor.CPPTYPE_ENUM}  # fmt: skip
_REALS = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}


def damaged(model: onnx.ModelProto, rng: random.Random, times: int = 1) -> onnx.ModelProto:
    """A copy of the model with ``times`` random fields changed, removed, doubled or swapped."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for _ in range(times):
        places = list(_places(copy))
        message, field = places[rng.randrange(len(places))]
        texts = (*TEXTS, *sorted(_names(copy)))
        with contextlib.suppress(ValueError, TypeError):  # the field cannot hold that: another case will
            _damage(message, field, rng, texts)
    return copy


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """The file with bits flipped, or a piece cut, doubled, moved or overwritten."""
    kind, start = rng.randrange(5), rng.randrange(len(data))
    stop = min(len(data), start + 1 + rng.randrange(24))
    piece = data[start:stop]
    if kind == 0:
        flipped = bytes(b ^ (1 << rng.randrange(8)) if rng.randrange(3) == 0 else b for b in piece)
        return data[:start] + flipped + data[stop:]
    if kind == 1:
        return data[:start]
    if kind == 2:
        return data[:start] + data[stop:]
    if kind == 3:
        return data[:stop] + piece * (1 + rng.randrange(3)) + data[stop:]
    return data[:start] + bytes([rng.randrange(256)] * len(piece)) + data[stop:]


def _places(message: Message) -> Any:
    """Every set field of the message and of those inside it; weights count once, not once per number."""
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        full = len(value) if field.is_repeated else message.HasField(field.name)
        yield message, field
        if full and field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                yield from _places(inner)


def _names(model: onnx.ModelProto) -> set[str]:
    return {n for node in model.graph.node for n in (*node.input, *node.output)}


def _damage(message: Message, field: FieldDescriptor, rng: random.Random, texts: tuple[str, ...]) -> None:
    if field.is_repeated:
        return _damage_list(getattr(message, field.name), field, rng, texts)
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return message.ClearField(field.name) if rng.randrange(2) else getattr(message, field.name).SetInParent()
    if rng.randrange(8) == 0:
        return message.ClearField(field.name)
    return setattr(message, field.name, _scalar(field, getattr(message, field.name), rng, texts))


def _damage_list(items: Any, field: FieldDescriptor, rng: random.Random, texts: tuple[str, ...]) -> None:
    message = field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE
    if not items:
        items.add() if message else items.append(_scalar(field, None, rng, texts))
        return
    i, j, kind = rng.randrange(len(items)), rng.randrange(len(items)), rng.randrange(4)
    if kind == 0:
        del items[i]
    elif kind == 1:
        items.extend([items[i]])
    elif kind == 2 and not message:
        items[i] = _scalar(field, items[i], rng, texts)
    elif message:
        kept = type(items[i])()
        kept.CopyFrom(items[i])
        items[i].CopyFrom(items[j])
        items[j].CopyFrom(kept)
    else:
        items[i], items[j] = items[j], items[i]


def _scalar(field: FieldDescriptor, old: Any, rng: random.Random, texts: tuple[str, ...]) -> Any:
    if field.cpp_type in _INTS:
        small = rng.randrange(24)
        return small if rng.randrange(2) else INTEGERS[rng.randrange(len(INTEGERS))]
    if field.cpp_type in _REALS:
        return FLOATS[rng.randrange(len(FLOATS))]
    text = texts[rng.randrange(len(texts))]
    if field.type != FieldDescriptor.TYPE_BYTES:
        return text
    whole = bytes(old or b"")
    return (text.encode(), whole[:-1], whole + b"\0\0\0\0", whole[4:], b"\xff" * len(whole))[rng.randrange(5)]
