"""The operators of an emitted ONNX graph on forms and functions; one that is not here proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .functions import Function, both, with_constant
from .modular import FIELD, Array, times
from .onnx_kernels import conv, matmul, qlinear_conv
from .onnx_roots import EXACT_ROOT, NearRoot, Rounded, chosen, compared, followed, root_form, sqrt, with_number
from .onnx_tensors import EXACT, Form, Quotient, Tensor, form, whole
from .program_values import Value, at_least_one, max_pool, row_maximum
from .reading import NotProved

Attributes = dict[str, Any]


def apply(op: str, inputs: list[Tensor], attributes: Attributes) -> Tensor:
    """Return what an operator makes of its inputs. Raises NotProved where nothing can be said."""
    if op in _MOVES and not all(isinstance(x, np.ndarray) for x in inputs):
        return _MOVES[op](inputs, attributes)
    if op in _OPERATORS:
        return _OPERATORS[op](inputs, attributes)
    raise NotProved(f"the operator {op}")


# -- moves ------------------------------------------------------------------------------------------------------------
def _moved(x: Tensor, move: Callable[[Array], Array]) -> Tensor:
    if not isinstance(x, Form | Function):
        raise NotProved("a move of what is no form")
    return x.moved(move)


def _reshape(inputs: list[Tensor], _: Attributes) -> Tensor:
    shape = [int(n) for n in inputs[1]]
    old = inputs[0].v.shape
    return _moved(inputs[0], lambda a: a.reshape([old[i] if n == 0 else n for i, n in enumerate(shape)]))


def _transpose(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    return _moved(inputs[0], lambda a: a.transpose(attributes["perm"]))


def _slice(inputs: list[Tensor], _: Attributes) -> Tensor:
    x, starts, ends, axes = inputs[:4]
    steps = inputs[4] if len(inputs) > 4 else np.ones(len(starts), np.int64)
    cuts = [slice(None)] * x.v.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 1:
            raise NotProved("a slice that runs backwards")
        cuts[axis] = slice(int(start), int(end), int(step))
    return _moved(x, lambda a: a[tuple(cuts)])


def _pad(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    if attributes.get("mode", b"constant") != b"constant" or not isinstance(inputs[0], Form):
        raise NotProved("a padding that is not constant, or of codes without a name")
    x, pads, fill = inputs[0], inputs[1], float(np.asarray(inputs[2]).reshape(-1)[0]) if len(inputs) > 2 else 0.0
    ends = tuple(zip(pads[: len(pads) // 2].tolist(), pads[len(pads) // 2 :].tolist(), strict=True))
    return x.moved(lambda a: np.pad(a, ends, constant_values=int(fill)))


def _concat(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    if not all(isinstance(x, Form | np.ndarray) for x in inputs):
        raise NotProved("codes without a name are joined")
    found = next(x for x in inputs if isinstance(x, Form))
    forms = [x if isinstance(x, Form) else _constant_form(x) for x in inputs]
    join = [np.concatenate(arrays, axis=attributes["axis"]) for arrays in zip(*map(_full, forms), strict=True)]
    return form(*join, found.dtype)


def _full(x: Form) -> tuple[Array, Array, Array]:
    return x.v, np.broadcast_to(x.lo, x.v.shape), np.broadcast_to(x.hi, x.v.shape)


def _constant_form(x: Array) -> Form:
    return form(x.astype(np.int64) % FIELD.p, x.astype(float), x.astype(float), x.dtype)


def _gather(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    table, index = inputs
    axis = attributes.get("axis", 0)
    if isinstance(table, np.ndarray) and isinstance(index, np.ndarray):
        return np.take(table, index, axis=axis)
    if isinstance(index, np.ndarray):
        return _moved(table, lambda a: np.take(a, index.astype(np.int64), axis=axis))
    if not isinstance(table, np.ndarray) or table.ndim > 1 or not isinstance(index, Function):
        raise NotProved("a look-up in what is no constant table")

    def look_up(at: Array) -> Array:
        if at.min() < 0 or at.max() >= len(table):
            raise NotProved("a look-up outside its table")
        return np.asarray(table[at.astype(np.int64)])

    return index.then(look_up, rising=bool((np.diff(table.astype(float)) >= 0).all()), dtype=table.dtype)


# -- arithmetic -------------------------------------------------------------------------------------------------------
def _add(inputs: list[Tensor], _: Attributes, sign: int = 1) -> Tensor:
    a, b = inputs
    if isinstance(a, np.ndarray) and sign > 0:
        a, b = b, a
    if isinstance(a, Form) and isinstance(b, Form):
        ends = (b.lo, b.hi) if sign > 0 else (-b.hi, -b.lo)
        return form(a.v + sign * b.v, a.lo + ends[0], a.hi + ends[1], a.dtype, a.top + b.top)
    if isinstance(a, Form) and isinstance(b, np.ndarray) and whole(b):
        c = sign * b.astype(np.int64)
        return form(a.v + c, a.lo + c, a.hi + c, a.dtype, a.top + float(np.abs(c).max(initial=0)))
    if isinstance(b, np.ndarray):
        return _with(a, b, np.add if sign > 0 else np.subtract, rising=True)
    if isinstance(a, Function) and isinstance(b, Function):
        return both(a, b, np.add if sign > 0 else np.subtract, a.dtype)
    if isinstance(a, NearRoot) and isinstance(b, NearRoot) and sign < 0:
        return followed(a, "near", b, "above", "low")
    raise NotProved("a sum of unlike tensors")


def _subtract(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    if isinstance(inputs[0], np.ndarray):
        raise NotProved("a tensor taken away from a constant")
    return _add(inputs, attributes, -1)


def _multiply(inputs: list[Tensor], _: Attributes) -> Tensor:
    a, b = inputs if not isinstance(inputs[0], np.ndarray) else inputs[::-1]
    if isinstance(a, Form) and isinstance(b, Form):
        corners = [x * y for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
        low = np.minimum.reduce(np.broadcast_arrays(*corners))
        low = np.maximum(low, 0) if a is b else low
        return form(times(a.v, b.v), low, np.maximum.reduce(np.broadcast_arrays(*corners)), a.dtype)
    if isinstance(a, Form) and isinstance(b, np.ndarray) and whole(b):
        ends = np.broadcast_arrays(a.lo * b, a.hi * b)
        return form(times(a.v, b), np.minimum(*ends), np.maximum(*ends), a.dtype)
    if isinstance(a, NearRoot) and isinstance(b, NearRoot) and a is b:
        return followed(a, a.stage, b, a.stage, {"near": "near^2", "up": "up^2"}.get(a.stage, "?"))
    if isinstance(b, np.ndarray):
        return _with(a, b, np.multiply, rising=bool((b >= 0).all()))
    raise NotProved("a product of unlike tensors")


def _with(a: Tensor, b: Array, op: Callable[..., Array], rising: bool) -> Function:
    """Return a tensor with a constant: each class of elements sees its own number, in the tensor's type."""
    if isinstance(a, NearRoot):
        return with_number(a, b, op)
    f = a.function() if isinstance(a, Form) else a
    if not isinstance(f, Function):
        raise NotProved("an operator on what is no form")
    f, number = with_constant(f, b.astype(f.dtype))
    kind = f.dtype
    return f.then(lambda x, c: np.asarray(op(x.astype(kind), c), kind), number, rising=rising, dtype=kind)


def _divide(inputs: list[Tensor], _: Attributes) -> Tensor:
    a, b = inputs
    if isinstance(a, Form) and isinstance(b, Form):
        return _quotient(a, b)
    if not isinstance(b, np.ndarray) or (b <= 0).any():
        raise NotProved("a division by what is no positive constant")
    f = a.function() if isinstance(a, Form) else a
    if not isinstance(f, Function):
        raise NotProved("a quotient of what is no form")
    op = _towards_zero if np.issubdtype(f.dtype, np.integer) else np.divide
    return _with(f, b, op, rising=True)


def _towards_zero(x: Array, by: Array) -> Array:
    return np.asarray(np.sign(x) * (np.abs(x) // by))


def _quotient(a: Form, b: Form) -> Tensor:
    """Return a quotient whose floor is that of the integers: docs/spec/certificate.md, lemma 4."""
    if b.lo.min() < 1:
        raise NotProved("a divisor that may be below 1")
    if not np.issubdtype(a.dtype, np.integer) and a.top + b.top > EXACT[a.dtype.name]:
        raise NotProved("a quotient of numbers too large for their type")
    return Quotient(a, b)


# -- rounding and cutting ---------------------------------------------------------------------------------------------
def _unary(op: Callable[..., Array]) -> Callable[[list[Tensor], Attributes], Tensor]:
    def apply_to(inputs: list[Tensor], _: Attributes) -> Tensor:
        x = inputs[0]
        if isinstance(x, Form):
            return x  # integers already
        if isinstance(x, Quotient | NearRoot):
            return _floored(x) if op is np.floor else _no("a rounding of a quotient")
        if not isinstance(x, Function):
            raise NotProved("a rounding of what is no form")
        return x.then(op, rising=True, dtype=x.dtype)

    return apply_to


def _no(reason: str) -> Tensor:
    raise NotProved(reason)


def _floored(x: Quotient | NearRoot) -> Tensor:
    if isinstance(x, Quotient):
        return x.floor()
    if x.stage == "root" and x.radicand.top < EXACT_ROOT:
        return root_form(x)
    return NearRoot(x.radicand, "near") if x.stage == "root" else _no("a rounding of a root")


def _clip(inputs: list[Tensor], _: Attributes) -> Tensor:
    x, lo, hi = inputs
    if isinstance(x, Quotient) and np.issubdtype(x.above.dtype, np.integer) and lo >= 0:
        x = x.floor()  # rounded towards 0, which differs from the floor below 0 only, where it is cut
    if isinstance(x, Form) and x.lo.min() >= lo and x.hi.max() <= hi:
        return x
    return _cut(_cut(x, lo, np.maximum), hi, np.minimum)


def _cut(x: Tensor, at: Array, op: Callable[..., Array]) -> Tensor:
    return _with(x, np.asarray(at), op, rising=True)


def _maximum(inputs: list[Tensor], _: Attributes) -> Tensor:
    a, b = inputs
    if isinstance(a, Form) and isinstance(b, np.ndarray) and (b == 1).all():
        lo, hi = (np.broadcast_to(e, a.v.shape)[0] for e in (a.lo, a.hi))
        found = at_least_one(Value(a.v, lo, hi))
        return form(found.v, found.lo[None], found.hi[None], a.dtype)
    return _with(a, b, np.maximum, rising=True) if isinstance(b, np.ndarray) else _no("a maximum of two tensors")


def _minimum(inputs: list[Tensor], _: Attributes) -> Tensor:
    a, b = inputs
    return _with(a, b, np.minimum, rising=True) if isinstance(b, np.ndarray) else _no("a minimum of two tensors")


def _quantize(inputs: list[Tensor], _: Attributes) -> Tensor:
    x, scale, zero = inputs
    f = x.function() if isinstance(x, Form) else x
    if not isinstance(f, Function) or np.asarray(zero).dtype != np.uint8 or np.asarray(scale) != 1:
        raise NotProved("QuantizeLinear of what is no form, or with a scale")
    shift = np.float32(np.asarray(zero))
    return f.then(lambda v: np.clip(np.rint(v) + shift, 0, 255), rising=True, dtype=np.uint8)


_TYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 11: np.float64}


def _cast(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    x, kind = inputs[0], np.dtype(_TYPES[attributes["to"]])
    if isinstance(x, Form):
        if x.dtype == np.int8 and kind == np.uint8 and x.lo.min() < 0:
            return Wrapped(x)
        if kind == np.float64 and x.top >= EXACT["float64"]:
            return Rounded(x)
        return form(x.v, x.lo, x.hi, kind)
    if isinstance(x, NearRoot):
        return x
    if not isinstance(x, Function):
        raise NotProved("a conversion of what is no form")
    if not np.issubdtype(kind, np.integer):
        return x.then(lambda v: v.astype(kind), rising=True, dtype=kind)

    def cut(v: Array) -> Array:
        whole_numbers = np.trunc(v.astype(np.float64)) if v.dtype.kind == "f" else v.astype(np.int64)
        info = np.iinfo(kind)
        if whole_numbers.min() < info.min or whole_numbers.max() > info.max:
            raise NotProved("a conversion that leaves its type")
        return np.asarray(whole_numbers.astype(kind))

    return x.then(cut, rising=True, dtype=kind)


@dataclass(eq=False)
class Wrapped:
    """An int8 form read as uint8: 256 is added to what is below 0. Only an exclusive or with 128 makes it a form."""

    form: Form


def _exclusive_or(inputs: list[Tensor], _: Attributes) -> Tensor:
    x, mask = inputs
    if not isinstance(x, Wrapped) or np.asarray(mask) != 128:
        raise NotProved("an exclusive or")
    return form(x.form.v + 128, x.form.lo + 128, x.form.hi + 128, np.uint8)  # the highest bit is the sign


# -- comparisons ------------------------------------------------------------------------------------------------------
def _compare(op: Callable[..., Array], name: str) -> Callable[[list[Tensor], Attributes], Tensor]:
    def apply_to(inputs: list[Tensor], _: Attributes) -> Tensor:
        a, b = inputs
        if isinstance(a, NearRoot):
            return compared(a, b, name)
        f = a.function() if isinstance(a, Form) else a
        if isinstance(f, Function) and isinstance(b, np.ndarray):
            f, number = with_constant(f, b)
            return f.then(op, number, rising=name in (">=", ">"), dtype=np.bool_)
        if isinstance(f, Function) and isinstance(b, Function):
            return both(f, b, op, np.bool_)
        raise NotProved("a comparison of unlike tensors")

    return apply_to


def _where(inputs: list[Tensor], _: Attributes) -> Tensor:
    c, a, b = inputs
    if isinstance(c, NearRoot):
        return chosen(c, a, b)
    if not isinstance(c, Function):
        raise NotProved("a choice by what is no form")
    found = both(c, _function(a, c), lambda p, q: np.stack(np.broadcast_arrays(p, q)), np.float64)
    kind = a.dtype
    return both(found, _function(b, found), lambda pq, r: np.where(pq[0].astype(bool), pq[1], r), kind)


def _function(x: Tensor, like: Function) -> Function:
    if isinstance(x, Function):
        return x
    if isinstance(x, np.ndarray):
        f, number = with_constant(like, x)
        return f.then(lambda _, c: c, number, rising=True, dtype=x.dtype)
    raise NotProved("a choice between what is no function")


# -- rows and windows -------------------------------------------------------------------------------------------------
def _sample(x: Tensor) -> Value:
    if not isinstance(x, Form):
        raise NotProved("a reduction of what is no form")
    lo, hi = (np.broadcast_to(e, x.v.shape)[0] for e in (x.lo, x.hi))
    return Value(x.v, lo, hi)


def _reduce_max(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    (axis,) = (int(a) for a in inputs[1])
    if axis < 1 or attributes.get("keepdims", 1) != 1:
        raise NotProved("a maximum over the batch")
    found = row_maximum(_sample(inputs[0]), axis - 1)
    return form(found.v, found.lo[None], found.hi[None], inputs[0].dtype)


def _reduce_sum(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    axes = tuple(int(a) for a in inputs[1])
    if min(axes) < 1 or attributes.get("keepdims", 1) != 1:
        raise NotProved("a sum over the batch")
    value = _sample(inputs[0])
    over = tuple(a - 1 for a in axes)
    ends = [e.sum(axis=over, keepdims=True)[None] for e in (value.lo, value.hi)]
    bound = float(np.maximum(-value.lo, value.hi).sum(axis=over).max())
    return form(value.v.sum(axis=axes, keepdims=True) % FIELD.p, ends[0], ends[1], inputs[0].dtype, bound)


def _max_pool(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    kernel = attributes["kernel_shape"]
    rank, pads = len(kernel), attributes.get("pads", [0] * 2 * len(kernel))
    if attributes.get("ceil_mode", 0) or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise NotProved("a max pool with ceil_mode or auto_pad")
    ones = [1] * rank
    ends = tuple(zip(pads[:rank], pads[rank:], strict=True))
    strides, dilations = attributes.get("strides", ones), attributes.get("dilations", ones)
    found = max_pool(_sample(inputs[0]), tuple(kernel), strides, ends, dilations)
    return form(found.v, found.lo[None], found.hi[None], inputs[0].dtype)


_MOVES: dict[str, Callable[[list[Tensor], Attributes], Tensor]] = {
    "Reshape": _reshape, "Transpose": _transpose, "Slice": _slice, "Pad": _pad, "Concat": _concat, "Gather": _gather,
    "Identity": lambda inputs, _: inputs[0],
}  # fmt: skip
_OPERATORS: dict[str, Callable[[list[Tensor], Attributes], Tensor]] = {
    "Add": _add, "Sub": _subtract, "Mul": _multiply, "Div": _divide, "Floor": _unary(np.floor),
    "Round": _unary(np.rint), "Clip": _clip, "Max": _maximum, "Min": _minimum, "QuantizeLinear": _quantize,
    "Cast": _cast, "BitwiseXor": _exclusive_or, "GreaterOrEqual": _compare(np.greater_equal, ">="),
    "Greater": _compare(np.greater, ">"), "LessOrEqual": _compare(np.less_equal, "<="), "Where": _where,
    "ReduceMax": _reduce_max, "ReduceSum": _reduce_sum, "MaxPool": _max_pool, "Sqrt": sqrt, "Gather": _gather,
    "Conv": lambda inputs, attributes: conv(inputs[0], inputs[1], attributes),
    "MatMul": lambda inputs, _: matmul(*inputs),
    "QLinearConv": lambda inputs, attributes: qlinear_conv(inputs[0], inputs[1:], attributes),
}  # fmt: skip
