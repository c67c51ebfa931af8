"""The host's side of a Program: floats to codes before it, integers to floats after it. The only floats there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ..foundation.samples import Samples, running_sums
from ..graph.graph import Graph
from ..graph.ops import Activation, ArgExtreme, Expression, MaxPool, Softmax
from ..program.network import Decoding, Encoding, HostOp, Program
from ..program.rounding import to_codes

Array = NDArray[Any]


def apply_host(op: HostOp, *xs: Array) -> Array:
    """Return a host operation's result on batches ``(n, *shape)``, in float64: one, but for a Concat, add and mul."""
    args: dict[str, Any] = dict(op.args)
    x = xs[0]
    if op.kind == "move":
        return np.asarray(args["op"].apply(*xs))
    if op.kind == "add" or op.kind == "mul":
        return np.asarray(x + xs[1] if op.kind == "add" else x * xs[1])
    if op.kind == "affine":
        return np.asarray(x * args["scale"] + args["bias"])
    if op.kind == "max_pool":
        return MaxPool(**args).evaluate(x)
    if op.kind == "linear":
        return np.asarray(args["map"].apply(x, np.float64))
    if op.kind == "softmax" or op.kind == "log_softmax":
        return Softmax(tuple(args["axes"]), op.kind == "log_softmax").evaluate(x)
    if op.kind == "grid":
        return to_codes(x, args["step"], args["lo"], args["hi"], args["rounding"]) * np.asarray(args["step"])
    if op.kind == "integer":
        return np.asarray(np.rint(x / args["scale"]) + args["zero"]).astype(args["dtype"])
    if op.kind == "arg_extreme":
        return ArgExtreme(**args).evaluate(x)
    if op.kind == "clip":
        lo, hi = args["lo"], args["hi"]
        return Activation("clip", -np.inf if lo is None else lo, np.inf if hi is None else hi).evaluate(x)
    if op.kind == "scalar":
        return Expression(args["steps"]).evaluate(x)
    if op.kind == "leaky_relu":
        return Activation("leaky_relu", args["slope"]).evaluate(x)
    if op.kind == "relu" or op.kind == "sigmoid" or op.kind == "tanh":
        return Activation(op.kind).evaluate(x)
    assert_never(op.kind)


def applied(host: Sequence[HostOp], parts: Iterable[Array]) -> list[Array]:
    """Return the values of an output by number: its parts ``(n, *shape)``, then what every operation makes of them."""
    values = list(parts)
    for op in host:
        values.append(apply_host(op, *(values[i] for i in op.sources(len(values)))))
    return values


def prepare(encoding: Encoding | Any, x: Array) -> Array:
    """Return a model input ``(n, *model_shape)`` after the host operations that are before the network.

    Like those of :func:`decode` they begin with an array in C order: the order in which a sum adds its terms, and so
    its last digit, depends on how an array lies in memory.
    """
    x = np.asarray(x)  # of samples that stay in their file
    if encoding.host:
        x = np.ascontiguousarray(x)
    for op in encoding.host:
        x = apply_host(op, x if op.kind == "move" else x.astype(np.float64))
    return x


def prepare_all(graph: Graph, x: Samples) -> dict[str, Array]:
    """Return every input of a graph after its host operations, as the network sees it, in float64, by name."""
    return {i.name: i.stated(prepare(i, x[i.model_name])) for i in graph.inputs}


def encode(encoding: Encoding, x: Array) -> Array:
    """Return the codes ``(n, *shape)``, int32, of a model input ``(n, *model_shape)``.

    ``code = clip(floor(x / step + 1/2), lo, hi)`` in float64, unless the encoding states another rounding.
    """
    real = prepare(encoding, x).astype(np.float64)
    return to_codes(real, encoding.step, encoding.lo, encoding.hi, encoding.rounding)


def encode_all(program: Program, x: Samples) -> dict[str, Array]:
    """Return the codes ``(n, *shape)`` of every input by value name; of frames ``(n, T, *shape)``, what each adds."""
    if program.clock is not None and program.clock.presents == "frames":
        return {e.value: encode_frames(e, x[e.name]) for e in program.inputs}
    return {e.value: encode(e, x[e.name]) for e in program.inputs}


def encode_frames(encoding: Encoding, x: Array) -> Array:
    """Return what each frame of ``x`` ``(n, T, *model_shape)`` adds to the codes of their sum, ``(n, T, *shape)``.

    After every frame the codes of all frames so far are those of their sum, whatever rounding,
    offsets and limits the encoding has; so all of them together they are what the network at one timestep is given.
    """
    codes = np.stack([encode(encoding, so_far) for so_far in running_sums(x)], axis=1)
    return np.diff(codes, axis=1, prepend=np.int32(0))


def answer(decoding: Decoding, *integers: Array) -> Array:
    """Return the model's output ``(n, ...)`` in its own type."""
    real = decode(decoding, *integers)
    return (np.rint(real) if decoding.is_integer else real).astype(decoding.dtype)


def decode(decoding: Decoding, *integers: Array) -> Array:
    """Return the model's output ``(n, ...)`` in float64 from the integers of every value it is decoded from."""
    real = (np.ascontiguousarray(x * p.step) for x, p in zip(integers, decoding.parts, strict=True))
    return np.asarray(applied(decoding.host, real)[-1])


def decoded(decoding: Decoding, values: Mapping[str, Array]) -> Array:
    """Return the model's output ``(n, ...)`` in float64 from integers by the names of their values."""
    return decode(decoding, *(values[name] for name in decoding.values))


def answered(decoding: Decoding, values: Mapping[str, Array]) -> Array:
    """Return the model's output ``(n, ...)`` in its own type from integers by the names of their values."""
    return answer(decoding, *(values[name] for name in decoding.values))
