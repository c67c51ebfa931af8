"""Moves and max pooling: the same operators of ONNX on tensors of codes."""

from __future__ import annotations

from typing_extensions import assert_never

from sfn_backends.onnx.net import Net
from sfn_backends.onnx.sums import flat_pads
from sfn_backends.onnx.values import TYPES, Held, Values, fits_byte, integer_kind, zero_of
from sfn_compile.program.network import Concat, MaxPool, Move, MoveOp, Pad, Reshape, Slice, Take, Transpose, ValueInfo


def write_move(net: Net, values: Values, step: Move) -> None:
    """Add the nodes of a move; the moved value is held like its source."""
    sources = _alike(values, step, values.info[step.name])
    tensor = _move(net, step.op, sources)
    values.hold(step.name, tensor, sources[0].kind, sources[0].zero)


def _move(net: Net, op: MoveOp, sources: list[Held]) -> str:
    """Return the moved tensor."""
    if isinstance(op, Reshape):
        return _reshape(net, op, sources)
    if isinstance(op, Transpose):
        return _transpose(net, op, sources)
    if isinstance(op, Concat):
        return _concat(net, op, sources)
    if isinstance(op, Slice):
        return _slice(net, op, sources)
    if isinstance(op, Pad):
        return _pad(net, op, sources)
    if isinstance(op, Take):
        return _take(net, op, sources)
    assert_never(op)


def _alike(values: Values, step: Move, info: ValueInfo) -> list[Held]:
    """Return the sources in one type with one zero."""
    held = [values[s] for s in step.sources]
    small = all(h.kind in ("uint8", "int8") for h in held)
    if small and fits_byte(info):
        return [values.raw(s, None if len(held) == 1 else zero_of(info)) for s in step.sources]
    kind = "int64" if any(h.kind == "int64" for h in held) else integer_kind(info.lo, info.hi)
    return [Held(values.number(s, kind), kind, 0, h.info) for s, h in zip(step.sources, held, strict=True)]


def _reshape(net: Net, op: Reshape, sources: list[Held]) -> str:
    return net.add("Reshape", sources[0].tensor, net.constant([-1, *op.shape], "int64"))


def _transpose(net: Net, op: Transpose, sources: list[Held]) -> str:
    return net.add("Transpose", sources[0].tensor, perm=[0, *(p + 1 for p in op.perm)])


def _concat(net: Net, op: Concat, sources: list[Held]) -> str:
    return net.add("Concat", *(s.tensor for s in sources), axis=op.axis + 1)


def _slice(net: Net, op: Slice, sources: list[Held]) -> str:
    starts, stops, steps = ([r[i] for r in op.ranges] for i in range(3))
    axes = [a + 1 for a in range(len(op.ranges))]
    return net.add("Slice", sources[0].tensor, *(net.constant(v, "int64") for v in (starts, stops, axes, steps)))


def _pad(net: Net, op: Pad, sources: list[Held]) -> str:
    (source,) = sources
    pads = net.constant(flat_pads(((0, 0), *op.pads)), "int64")
    return net.add("Pad", source.tensor, pads, net.constant(source.zero, source.kind))


def _take(net: Net, op: Take, sources: list[Held]) -> str:
    return net.add("Gather", sources[0].tensor, net.constant(op.index, "int64"), axis=op.axis + 1)


def write_pool(net: Net, values: Values, pool: MaxPool) -> None:
    """Add a max pooling. Wide integers are pooled as floats, which hold them exactly."""
    held, info = values[pool.source], values.info[pool.name]
    if held.kind in ("uint8", "int8"):
        held = values.raw(pool.source)
        lo, hi = held.info.lo + held.zero, held.info.hi + held.zero
        values.hold(pool.name, _window(net, pool, held.tensor, lo, hi, "uint8"), "uint8", held.zero)
        return
    real = "float32" if max(-info.lo, info.hi) < 2**24 else "float64"
    found = _window(net, pool, values.number(pool.source, real), info.lo, info.hi, real)
    kind = integer_kind(info.lo, info.hi)
    values.hold(pool.name, net.add("Cast", found, to=TYPES[kind]), kind)


def _window(net: Net, pool: MaxPool, tensor: str, lo: int, hi: int, kind: str) -> str:
    """Return the maximum of windows. Padding that ONNX does not allow, as wide as the kernel, is written out first.

    A Clip that changes nothing keeps onnxruntime up to 1.23 from drawing a Pad, also one behind a Cast, into the pool,
    however wide it is.
    """
    pads = pool.pads
    if any(max(p) >= k for p, k in zip(pads, pool.kernel, strict=True)):
        written = net.constant(flat_pads(((0, 0), (0, 0), *pads)), "int64")
        tensor, pads = net.add("Pad", tensor, written, net.constant(lo, kind)), ((0, 0),) * len(pads)
    if net.made_by(tensor) in ("Pad", "Cast"):
        tensor = net.add("Clip", tensor, net.constant(lo, kind), net.constant(hi, kind))
    return net.add(
        "MaxPool", tensor, kernel_shape=pool.kernel, strides=pool.strides, pads=flat_pads(pads),
        dilations=pool.dilations,
    )  # fmt: skip
