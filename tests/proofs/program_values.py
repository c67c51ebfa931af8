"""What every value of a Program is: residues at the points, and the range that all inputs stay in.

The codes of a population are fresh variables: what they are of the values before is one layer's own claim. Moves,
readouts, maxima, norms and roots are computed from the values that they read, so that the same of the same is equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np

from .modular import FIELD, POINTS, Array, convolve, mix, product, times, variable, windows
from .reading import NotProved, Record

POOL, ROW, ROOT, ABOVE_ONE, PAIR = 1, 11, 21, 31, 41  # salts: one kind of variable each
MOST_CODES = 2**16


@dataclass(eq=False)
class Value:
    """Residues ``(POINTS, *shape)`` of a value, and bounds ``(*shape)`` of its integers, as floats below 2^53."""

    v: Array
    lo: Array
    hi: Array


@dataclass(eq=False)
class Sums:
    """Accumulators of a population, before its offset; ``norm``: what scales the thresholds of a Ratio."""

    acc: Value
    norm: Value | None = None
    radicand: Value | None = None


def values_of(program: Record, rng: np.random.Generator) -> tuple[dict[str, Value], dict[str, Sums]]:
    """Return every value, and the accumulators of every step that fires."""
    values = {e.value: _fresh(rng, e.shape, e.lo, e.hi) for e in program.inputs}
    sums: dict[str, Sums] = {}
    for step in program.steps:
        if step.tag == "Population":
            sums[step.name] = _sums(step, values)
            _check_range(step, sums[step.name].acc)
            values[step.name] = _fired(rng, step, sums[step.name].acc)
        elif step.tag == "Normalization":
            sums[step.name] = _normalized(step, values)
            values[step.name] = _fresh(rng, step.shape, step.ladder.lo, step.ladder.hi)
        elif step.tag == "MaxPool":
            values[step.name] = max_pool(values[step.source], step.kernel, step.strides, step.pads, step.dilations)
        elif step.tag == "Move":
            values[step.name] = _moved(step.op, [values[s] for s in step.sources])
        else:
            raise NotProved(f"a step of an unknown kind: {step.tag}")
    return values, sums


def _fresh(rng: np.random.Generator, shape: tuple[int, ...], lo: int, hi: int) -> Value:
    v = rng.integers(0, FIELD.p, (POINTS, *shape))
    v[-1] = 0
    return Value(v, np.full(shape, float(lo)), np.full(shape, float(hi)))


def _check_range(step: Record, acc: Value) -> None:
    if acc.lo.min(initial=0) < step.acc_min or acc.hi.max(initial=0) > step.acc_max:
        raise NotProved(
            f"{step.name}: accumulators reach {int(acc.lo.min())}..{int(acc.hi.max())}, "
            f"the Program says {step.acc_min}..{step.acc_max}"
        )


def _fired(rng: np.random.Generator, step: Record, acc: Value) -> Value:
    ladder = step.ladder
    if ladder.tag == "Readout":
        offset = np.broadcast_to(ladder.offset.astype(np.int64), step.shape)
        return Value((acc.v + offset) % FIELD.p, acc.lo + offset, acc.hi + offset)
    codes = ladder.codes if ladder.tag in ("Table", "RowTable") else np.array([ladder.lo, ladder.hi])
    return _fresh(rng, step.shape, int(codes.min()), int(codes.max()))


# -- sums -------------------------------------------------------------------------------------------------------------
def _sums(step: Record, values: dict[str, Value]) -> Sums:
    total = Value(np.zeros((POINTS, *step.shape), np.int64), np.zeros(step.shape), np.zeros(step.shape))
    terms = [projected(p.map, values[p.source]) for p in step.projections]
    terms += [_multiplied(p, values[p.left], values[p.right]) for p in step.products]
    for term in terms:
        total = Value((total.v + term.v) % FIELD.p, total.lo + term.lo, total.hi + term.hi)
    return Sums(total, None if step.norm is None else _row_sum(step.norm, values[step.norm.source]))


def projected(m: Record, source: Value) -> Value:
    """Return what a linear map makes of a value."""
    weight = m.weight.astype(np.int64)
    up, down = np.maximum(weight, 0).astype(float), np.minimum(weight, 0).astype(float)
    lo, hi = source.lo[None], source.hi[None]
    v = _linear(m, weight, source.v, True)
    low = _linear(m, up, lo, False) + _linear(m, down, hi, False)
    return Value(v, low[0], (_linear(m, up, hi, False) + _linear(m, down, lo, False))[0])


def _linear(m: Record, weight: Array, x: Array, modular: bool) -> Array:
    """Return a linear map with these weights: modulo FIELD.p, or of exact floats."""
    multiply = times if modular else np.multiply
    if m.tag == "Dense":
        rows = x.reshape(-1, x.shape[-1]).T
        found = product(weight, rows) if modular else weight @ rows
        return np.asarray(found.T.reshape(*x.shape[:-1], len(weight)))
    if m.tag == "Conv":
        return convolve(x, weight, m.strides, m.pads, m.dilations, m.groups, modular)
    if m.tag == "SumPool":
        total: Any = 0
        for _, read in windows(x, m.kernel, m.strides, m.pads, (1,) * len(m.kernel)):
            total = total + read
        return np.asarray(multiply(weight, total))
    if m.tag == "Identity":
        return np.asarray(multiply(weight, x))
    if m.tag == "Gather":
        flat = np.concatenate([x.reshape(len(x), -1), np.zeros((len(x), 1), x.dtype)], axis=1)  # -1 reads code 0
        return np.asarray(multiply(weight, flat[:, m.index]))
    raise NotProved(f"a linear map of an unknown kind: {m.tag}")


def _multiplied(p: Record, left: Value, right: Value) -> Value:
    weight = p.form.weight.astype(np.int64)
    if p.form.tag == "Elementwise":
        both = multiplied(left, right, square=p.left == p.right)
    elif p.form.tag == "Matmul":
        both = matrix_product(left, right)
    else:
        raise NotProved(f"a product of an unknown kind: {p.form.tag}")
    return scaled(both, weight)


def multiplied(left: Value, right: Value, square: bool) -> Value:
    """Return the product of two values, element by element; a value times itself is never negative."""
    corners = np.stack([a * b for a in (left.lo, left.hi) for b in (right.lo, right.hi)])
    low = np.maximum(corners.min(axis=0), 0) if square else corners.min(axis=0)
    return Value(times(left.v, right.v), low, corners.max(axis=0))


def matrix_product(left: Value, right: Value) -> Value:
    """Return the matrix product of the last two axes; its range by the corners of the largest codes."""
    ends = [float(e) for e in (left.lo.min(), left.hi.max())], [float(e) for e in (right.lo.min(), right.hi.max())]
    corners = [a * b * left.v.shape[-1] for a in ends[0] for b in ends[1]]
    v = product(left.v, right.v)
    return Value(v, np.full(v.shape[1:], min(corners)), np.full(v.shape[1:], max(corners)))


def scaled(value: Value, factor: Array) -> Value:
    """Return a value times integers that broadcast against a sample."""
    ends = value.lo * factor, value.hi * factor
    return Value(times(factor[None] if factor.ndim else factor, value.v), np.minimum(*ends), np.maximum(*ends))


def _row_sum(norm: Record, source: Value) -> Value:
    """Return the sums of rows, at least 1."""
    if norm.tag != "RowSum":
        raise NotProved(f"a norm of an unknown kind: {norm.tag}")
    axis = norm.axis % source.lo.ndim
    ends = (e.sum(axis=axis, keepdims=True) for e in (source.lo, source.hi))
    return at_least_one(Value(source.v.sum(axis=axis + 1, keepdims=True) % FIELD.p, *ends))


def at_least_one(value: Value) -> Value:
    """Return ``max(value, 1)``."""
    if value.lo.min() >= 1:
        return value
    return Value(variable(value.v[..., None], ABOVE_ONE), np.maximum(value.lo, 1), np.maximum(value.hi, 1))


def row_maximum(value: Value, axis: int) -> Value:
    """Return the maxima along an axis of a sample, which keeps length 1."""
    v = variable(np.moveaxis(value.v, axis + 1, -1), ROW)
    ends = (e.max(axis=axis, keepdims=True) for e in (value.lo, value.hi))
    return Value(np.expand_dims(v, axis + 1), *ends)


def max_pool(source: Value, kernel: Any, strides: Any, pads: Any, dilations: Any) -> Value:
    """Return the maxima of windows. Padding never wins, so only elements that are there count."""
    reads = [read for _, read in windows(source.v, kernel, strides, pads, dilations)]
    there = [read for _, read in windows(np.ones((1, *source.lo.shape)), kernel, strides, pads, dilations)]
    highs, lows = (
        np.stack([r[0] for _, r in windows(e[None], kernel, strides, pads, dilations, source.lo.min())], axis=-1)
        for e in (source.hi, source.lo)
    )
    v = variable(np.stack(reads, axis=-1), POOL, np.stack([t[0] > 0 for t in there], axis=-1))
    return Value(v, lows.max(axis=-1), highs.max(axis=-1))


def pair(first: Array, second: Array) -> Array:
    """Return fresh variables that stand for ordered pairs of forms, such as a rounded quotient."""
    v = mix((mix(first, PAIR) + mix(second, PAIR + 1)) % FIELD.p, PAIR + 2)
    v[-1] = 0
    return v


# -- what neurons see -------------------------------------------------------------------------------------------------
def seen(step: Record, sums: Sums) -> tuple[Array, Array, Value]:
    """Return thresholds ``(..., k)``, the codes between them, and the integer that is compared with them."""
    ladder, acc = step.ladder, sums.acc
    if ladder.tag in ("Uniform", "Ratio") and ladder.hi - ladder.lo > MOST_CODES:
        raise NotProved(f"{ladder.hi - ladder.lo} thresholds; at most {MOST_CODES} are compared")
    if ladder.tag == "Uniform":
        theta, offset = np.broadcast_arrays(ladder.theta.astype(np.int64), ladder.offset.astype(np.int64))
        reached = theta[..., None] * np.arange(ladder.lo + 1, ladder.hi + 1) - offset[..., None]
        return reached, np.arange(ladder.lo, ladder.hi + 1), acc
    if ladder.tag in ("Table", "RowTable"):
        table, codes = ladder.table.astype(np.int64), ladder.codes.astype(np.int64)
        if (np.diff(table, axis=-1) < 0).any():
            raise NotProved("the thresholds of a table decrease")
        return table, codes, acc if ladder.tag == "Table" else _below_maximum(ladder, acc)
    if ladder.tag == "Ratio" and sums.norm is not None:
        return _ratio(ladder, acc, sums.norm)
    raise NotProved(f"a ladder of an unknown kind: {ladder.tag}")


def _below_maximum(ladder: Record, acc: Value) -> Value:
    """Return what is left of accumulators and offsets without the maximum of their row: at most 0."""
    offset = ladder.offset.astype(np.int64)
    a = Value((acc.v + offset) % FIELD.p, acc.lo + offset, acc.hi + offset)
    top = row_maximum(a, ladder.axis % acc.lo.ndim)
    return Value((a.v - top.v) % FIELD.p, a.lo - top.hi, np.zeros_like(a.hi))


def _ratio(ladder: Record, acc: Value, norm: Value) -> tuple[Array, Array, Value]:
    """Return a Ratio as thresholds 1, 2, ... of ``(acc + (offset - lo * theta) * r) // (theta * r)``."""
    theta, offset = ladder.theta.astype(np.int64), ladder.offset.astype(np.int64)
    shift = scaled(norm, offset - ladder.lo * theta)
    above = Value((acc.v + shift.v) % FIELD.p, acc.lo + shift.lo, acc.hi + shift.hi)
    below = scaled(norm, theta)
    v = pair(*np.broadcast_arrays(above.v, below.v))
    ends = (np.floor(np.minimum(above.lo, 0) / below.lo), np.floor(np.maximum(above.hi, 0) / below.lo))
    q = Value(v, *(np.broadcast_to(e, v.shape[1:]) for e in ends))
    return np.arange(1, ladder.hi - ladder.lo + 1), np.arange(ladder.lo, ladder.hi + 1), q


# -- normalisation ----------------------------------------------------------------------------------------------------
def _normalized(step: Record, values: dict[str, Value]) -> Sums:
    """Return ``gain * d`` and the root of a Normalization (docs/spec/arithmetic.md 3)."""
    x = projected(step.projections[0].map, values[step.projections[0].source])
    for p in step.projections[1:]:
        term = projected(p.map, values[p.source])
        x = Value((x.v + term.v) % FIELD.p, x.lo + term.lo, x.hi + term.hi)
    axes = tuple(a % len(step.shape) for a in step.axes)
    n = int(np.prod([step.shape[a] for a in axes]))
    over = tuple(a + 1 for a in axes)
    top = float(np.maximum(-x.lo, x.hi).max())
    total = x.v.sum(axis=over, keepdims=True) % FIELD.p
    squares = times(np.array(n), times(x.v, x.v).sum(axis=over, keepdims=True) % FIELD.p)
    deviation = times(np.array(n), x.v)
    if step.centred:
        deviation, squares = (deviation - total) % FIELD.p, (squares - times(total, total)) % FIELD.p
    reach = (2 if step.centred else 1) * n * top
    radicand = int(n * n * top * top) * 4**step.bits + step.epsilon
    shape = tuple(1 if a in axes else s for a, s in enumerate(step.shape))
    under = (times(np.array(4**step.bits), squares) + step.epsilon) % FIELD.p
    inside = Value(under, np.full(shape, float(step.epsilon)), np.full(shape, float(radicand)))
    gained = scaled(
        Value(deviation, np.full(step.shape, -reach), np.full(step.shape, reach)), step.gain.astype(np.int64)
    )
    return Sums(gained, at_least_one(root(inside)), inside)


def root(radicand: Value) -> Value:
    """Return the integer root of a value that is not negative."""
    ends = (np.full(e.shape, float(isqrt(int(e.max())))) for e in (np.maximum(radicand.lo, 0), radicand.hi))
    return Value(variable(radicand.v[..., None], ROOT), *ends)


# -- moves ------------------------------------------------------------------------------------------------------------
def _moved(op: Record, sources: list[Value]) -> Value:
    v, lo, hi = (_move(op, arrays) for arrays in zip(*((s.v, s.lo[None], s.hi[None]) for s in sources), strict=True))
    return Value(v, lo[0], hi[0])


def _move(op: Record, arrays: tuple[Array, ...]) -> Array:
    """Return moved elements; the first axis is not one of the sample."""
    x = arrays[0]
    if op.tag == "Reshape":
        return x.reshape(len(x), *op.shape)
    if op.tag == "Transpose":
        return x.transpose(0, *(a + 1 for a in op.perm))
    if op.tag == "Concat":
        return np.concatenate(arrays, axis=op.axis + 1)
    if op.tag == "Slice":
        return x[(slice(None), *(slice(*r) for r in op.ranges))]
    if op.tag == "Pad":
        return np.pad(x, ((0, 0), *op.pads))
    if op.tag == "Take":
        return np.take(x, np.asarray(op.index, np.int64), axis=op.axis + 1)
    raise NotProved(f"a move of an unknown kind: {op.tag}")
