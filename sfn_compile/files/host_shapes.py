"""The host's side of a Program, without running it: which arguments an operation takes and what shape it makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..program.broadcast import fits
from ..program.functions import FUNCTIONS
from ..program.linear_maps import LinearMap, Pads, Shape, window_shape
from ..program.network import (
    Concat,
    Decoding,
    Encoding,
    Gather,
    HostOp,
    Identity,
    MoveOp,
    Pad,
    Reshape,
    Slice,
    SumPool,
    Take,
    Transpose,
)
from ..program.rounding import Rounding
from .decode import conforms, damaged
from .map_shapes import check_windows, map_shape

Array = NDArray[Any]
NUMBER_TYPES = frozenset({"float32", "float64", "float16", "uint8", "int8", "uint16", "int16", "uint32", "int32",
                          "uint64", "int64", "bool"})  # fmt: skip
_NUMBER = Array | float | int
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "affine": {"scale": _NUMBER, "bias": _NUMBER},
    "move": {"op": MoveOp},
    "relu": {}, "sigmoid": {}, "tanh": {},
    "clip": {"lo": float | int | None, "hi": float | int | None},
    "leaky_relu": {"slope": float | int},
    "scalar": {"steps": tuple[tuple[str, tuple[int | Array, ...]], ...]},
    "softmax": {"axes": tuple[int, ...]}, "log_softmax": {"axes": tuple[int, ...]},
    "arg_extreme": {"axis": int, "keepdims": bool, "smallest": bool, "last": bool},
    "grid": {"step": _NUMBER, "lo": int, "hi": int, "rounding": Rounding},
    "integer": {"scale": _NUMBER, "zero": _NUMBER, "dtype": str},
    "max_pool": {"kernel": tuple[int, ...], "strides": tuple[int, ...], "pads": Pads, "dilations": tuple[int, ...]},
    "linear": {"map": LinearMap}, "add": {}, "mul": {},
}  # fmt: skip


def check_encoding(encoding: Encoding, at: str) -> None:
    """Raise SFN503 where an input's host operations do not lead from the model's sample to that of the codes."""
    _known_type(encoding.dtype, at)
    shape = _checked(encoding.model_shape, at)
    for op in encoding.host:
        _require(not op.reads, at, "an input's operations read one another in a row")
        shape = host_shape(op, [shape], at)
    if shape != encoding.shape:
        raise damaged(at, f"its codes have the shape {encoding.shape}, the host makes {shape}")
    _broadcasts(encoding.step, shape, at)
    if not (encoding.step > 0).all():
        raise damaged(at, "a step is not above 0")


def check_decoding(decoding: Decoding, values: Sequence[Shape], at: str) -> None:
    """Raise SFN503 where an output does not fit the values (their shapes) that it is decoded from."""
    _known_type(decoding.dtype, at)
    for part, value in zip(decoding.parts, values, strict=True):
        if part.shape != value:
            raise damaged(at, f"it decodes a value of shape {part.shape}, which has {value}")
        _broadcasts(part.step, value, at)
    known = list(values)
    for op in decoding.host:
        read = op.sources(len(known))
        _require(all(0 <= i < len(known) for i in read), at, f"an operation reads {read} of {len(known)} values")
        known.append(host_shape(op, [known[i] for i in read], at))
    _require(bool(decoding.host) or not decoding.joined, at, "several values and nothing that joins them")


def host_shape(op: HostOp, shapes: Sequence[Shape], at: str) -> Shape:
    """Return the shape of one sample behind a host operation on such samples. Raises SFN503 where it is none."""
    shape = shapes[0]
    args, wanted = dict(op.args), _ARGUMENTS.get(op.kind)
    at = f"{at}, host operation {op.kind[:40]!r}"
    if wanted is None or args.keys() != wanted.keys() or len(args) != len(op.args):
        raise damaged(at, f"it has no such form ({', '.join(map(repr, args))})")
    for name, hint in wanted.items():
        if not conforms(args[name], hint) or (isinstance(args[name], float) and not np.isfinite(args[name])):
            raise damaged(at, f"{name} = {repr(args[name])[:60]}")
    for value in args.values():
        if isinstance(value, np.ndarray):
            _broadcasts(value, shape, at)
    if op.kind == "move":
        return moved_shape(args["op"], shapes, at)
    if op.kind in ("add", "mul"):
        return _together(shapes, at)
    _require(len(shapes) == 1, at, f"it reads {len(shapes)} values")
    return _made_shape(op.kind, args, shape, at)


def _together(shapes: Sequence[Shape], at: str) -> Shape:
    ok = len(shapes) == 2 and len(shapes[0]) == len(shapes[1])
    ok = ok and all(1 in (a, b) or a == b for a, b in zip(*shapes, strict=True))
    _require(ok, at, f"samples of shapes {', '.join(map(str, shapes))} beside each other")
    return tuple(max(pair) for pair in zip(*shapes, strict=True))


def _made_shape(kind: str, args: dict[str, Any], shape: Shape, at: str) -> Shape:
    if kind == "max_pool":
        check_windows(shape, args["kernel"], args["strides"], args["pads"], args["dilations"], at)
        return (shape[0], *window_shape(shape[1:], args["kernel"], args["strides"], args["pads"], args["dilations"]))
    if kind == "linear":
        return _mapped_shape(args["map"], shape, at)
    if kind == "scalar":
        _check_steps(args["steps"], shape, at)
    if kind == "integer":
        _known_type(args["dtype"], at)
    if kind in ("softmax", "log_softmax"):
        _check_axes(args["axes"], shape, at)
    if kind == "arg_extreme":
        axis = args["axis"]
        _check_axes((axis,), shape, at)
        return (*shape[:axis], *(1,) * args["keepdims"], *shape[axis + 1 :])
    return shape


def _mapped_shape(one: LinearMap, shape: Shape, at: str) -> Shape:
    made = map_shape(one, shape, at)
    if isinstance(one, SumPool | Identity | Gather):
        _broadcasts(one.weight, made, at)
    return made


def _check_steps(steps: tuple[tuple[str, tuple[Any, ...]], ...], shape: Shape, at: str) -> None:
    for i, (function, operands) in enumerate(steps):
        if function not in FUNCTIONS or not operands:
            raise damaged(at, f"no function {function[:40]!r} of {len(operands)} numbers")
        for operand in operands:
            if isinstance(operand, np.ndarray):
                _broadcasts(operand, shape, at)
            elif not 0 <= operand <= i:
                raise damaged(at, f"step {i} reads step {operand}")


def moved_shape(op: MoveOp, shapes: Sequence[Shape], at: str) -> Shape:
    """Return the shape that a move makes of samples of ``shapes``. Raises SFN503 where it cannot move them."""
    shape = shapes[0]
    if isinstance(op, Concat):
        return _joined(op, shapes, at)
    if len(shapes) != 1:
        raise damaged(at, f"{type(op).__name__} of {len(shapes)} values")
    if isinstance(op, Reshape):
        _require(_size(op.shape) == _size(shape), at, f"{shape} as {op.shape}")
        return op.shape
    if isinstance(op, Transpose):
        _require(sorted(op.perm) == list(range(len(shape))), at, f"axes {op.perm} of {shape}")
        return tuple(shape[p] for p in op.perm)
    if isinstance(op, Take):
        _check_axes((op.axis,), shape, at)
        _require(all(0 <= i < shape[op.axis] for i in op.index), at, f"it picks beyond {shape[op.axis]} elements")
        return (*shape[: op.axis], len(op.index), *shape[op.axis + 1 :])
    if isinstance(op, Slice):
        _require(len(op.ranges) == len(shape), at, f"ranges {op.ranges} of {shape}")
        _require(all(r[0] >= 0 and r[2] > 0 for r in op.ranges), at, f"ranges {op.ranges}")
        return tuple(len(range(*slice(*r).indices(n))) for r, n in zip(op.ranges, shape, strict=True))
    assert isinstance(op, Pad)
    ok = len(op.pads) == len(shape) and all(n >= 0 for pair in op.pads for n in pair)
    _require(ok, at, f"borders {op.pads} of {shape}")
    return tuple(n + sum(pair) for n, pair in zip(shape, op.pads, strict=True))


def _joined(op: Concat, shapes: Sequence[Shape], at: str) -> Shape:
    _check_axes((op.axis,), shapes[0], at)
    rests = {(*s[: op.axis], *s[op.axis + 1 :]) for s in shapes}
    _require(len(rests) == 1 and len({len(s) for s in shapes}) == 1, at, f"samples of shapes {shapes} joined")
    return (*shapes[0][: op.axis], sum(s[op.axis] for s in shapes), *shapes[0][op.axis + 1 :])


def _require(holds: bool, at: str, what: str) -> None:
    if not holds:
        raise damaged(at, what)


def _check_axes(axes: Sequence[int], shape: Shape, at: str) -> None:
    ok = bool(axes) and all(0 <= a < len(shape) for a in axes) and len(set(axes)) == len(axes)
    _require(ok, at, f"a sample of shape {shape} has no axes {tuple(axes)}")


def _broadcasts(array: Array, shape: Shape, at: str) -> None:
    _require(
        fits(array.shape, shape) and array.size > 0,
        at,
        f"an array of shape {array.shape} beside a sample of shape {shape}",
    )


def _known_type(dtype: str, at: str) -> None:
    _require(dtype in NUMBER_TYPES, at, f"no type of numbers called {dtype[:40]!r}")


def _checked(shape: Shape, at: str) -> Shape:
    _require(all(n >= 1 for n in shape), at, f"the shape {shape} is none of a sample")
    return shape


def _size(shape: Shape) -> int:
    size = 1
    for n in shape:
        size *= n if n > 0 else 0
    return size
