"""Thresholds that follow a row: its maximum, its sum, its standard deviation.

Numbers are float32, float64 or int64, the first in which every integer on the way is exact. A quotient of floats is
rounded once, and its floor is that of the integers: the proof is in ``docs/spec/targets.md``. An integer quotient is
rounded towards 0, which differs from the floor below 0 only, where the result is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from sfn_backends.onnx import lookup
from sfn_backends.onnx.net import Net
from sfn_backends.onnx.sums import EXACT, EXACT_DOUBLE, Sum
from sfn_backends.onnx.values import TYPES, Values, fits_byte, zero_of
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import Normalization, Population, Ratio, RowTable, Table
from sfn_compile.program.ranges import norm_top, normalization_reach

Array = NDArray[Any]
_EXACT_ROOT = 2**52  # below it, the root of a float64 that holds an integer is rounded across no integer
_INT64 = 2**63


def room(ladder: RowTable | Ratio) -> float:
    """Return the bound below which sums of a population are computed in float32."""
    if isinstance(ladder, Ratio):
        return EXACT
    if isinstance(ladder, RowTable):
        return EXACT // 2 - int(np.abs(ladder.offset.astype(np.int64)).max())  # two sums are subtracted
    assert_never(ladder)


def follow(net: Net, values: Values, step: Population, ladder: RowTable, acc: Sum) -> None:
    """Add a table of what is left of an accumulator without its row's maximum, and hold the codes."""
    info = values.info[step.name]
    kind, zero = ("uint8", zero_of(info)) if fits_byte(info) else ("int32", 0)
    moved = net.add("Add", acc.tensor, net.constant(ladder.offset, acc.kind)) if ladder.offset.any() else acc.tensor
    left = net.add("Sub", moved, _reduced(net, "ReduceMax", moved, (ladder.axis,), len(step.shape)))
    span = step.acc_max - step.acc_min + int(np.ptp(ladder.offset.astype(np.int64)))
    table = Table(ladder.table, ladder.codes)
    alone = replace(step, ladder=table, acc_min=-span, acc_max=0)
    values.hold(step.name, lookup.write(net, alone, table, Sum(left, acc.kind), kind, zero), kind, zero)


def share(net: Net, values: Values, step: Population, ladder: Ratio, acc: Sum) -> None:
    """Add neurons whose thresholds are scaled by the sum of a row of another value, and hold their codes."""
    norm = step.norm
    assert norm is not None
    top = max(norm_top(step, values.info), 1)
    kind = _kind(step, _quotient_reach(ladder, max(-step.acc_min, step.acc_max), top))
    rank = len(values.info[norm.source].shape)
    total = _reduced(net, "ReduceSum", values.number(norm.source, kind), (norm.axis,), rank)
    r = net.add("Max", total, net.constant(1, kind)) if values.info[norm.source].lo < 1 else total
    tensor = acc.tensor if acc.kind == kind else net.add("Cast", acc.tensor, to=TYPES[kind])
    _divide(net, values, step, ladder, tensor, r, kind)


def normalize(net: Net, values: Values, step: Normalization) -> None:
    """Add a normalisation and hold its codes."""
    ends = normalization_reach(step, values.info)
    reach = {name: max(-lo, hi) for name, (lo, hi) in ends.items()}
    gain = step.gain.astype(np.int64)
    scaled = reach["deviation"] * max(int(np.abs(gain).max()), 1)
    kind = _kind(step, max(reach["squares"], _quotient_reach(step.ladder, scaled, max(reach["root"], 1))))
    kind = "int64" if kind == "int64" or reach["radicand"] >= _EXACT_ROOT else "float64"
    deviation, squares = _moments(net, values, step, kind)
    root = _root(net, _scaled(net, squares, np.array(4**step.bits), kind), step.epsilon, kind)
    r = net.add("Max", root, net.constant(1, kind))
    _divide(net, values, step, step.ladder, _scaled(net, deviation, gain, kind), r, kind)


def _kind(step: Population | Normalization, reach: int) -> str:
    """Return the first type in which all integers up to ``reach`` are exact. Raises SFN401 where there is none."""
    if reach >= _INT64:
        what = f"an adaptive threshold of {step.name} reaches {reach}, the graph holds 64 bits"
        raise fail("SFN401", what, ", ".join(step.origin.nodes) or step.name, "leave this target out")
    return "float32" if reach < EXACT else "float64" if reach < EXACT_DOUBLE else "int64"


def _quotient_reach(ladder: Ratio, acc: int, r: int) -> int:
    """Return numerator plus denominator of :func:`_divide` at most, for accumulators up to ``acc`` and r up to ``r``.

    In Python's integers, which do not wrap.
    """
    shift = np.abs(ladder.offset.astype(object)).max() + abs(ladder.lo) * ladder.theta.astype(object).max()
    return int(acc + (shift + ladder.theta.astype(object).max()) * r)


def _divide(
    net: Net, values: Values, step: Population | Normalization, ladder: Ratio, acc: str, r: str, kind: str
) -> None:
    """Hold ``lo + clip((acc + (offset - lo * theta) * r) / (theta * r), 0, hi - lo)``."""
    info = values.info[step.name]
    held, zero = ("uint8", zero_of(info)) if fits_byte(info) else ("int32", 0)
    theta = ladder.theta.astype(np.int64)
    shift = ladder.offset.astype(np.int64) - ladder.lo * theta
    above = net.add("Add", acc, _scaled(net, r, shift, kind)) if shift.any() else acc
    quotient = net.add("Div", above, _scaled(net, r, theta, kind))
    floor = quotient if kind == "int64" else net.add("Floor", quotient)
    code = net.add("Clip", floor, net.constant(0, kind), net.constant(ladder.hi - ladder.lo, kind))
    if ladder.lo + zero:
        code = net.add("Add", code, net.constant(ladder.lo + zero, kind))
    values.hold(step.name, net.add("Cast", code, to=TYPES[held]), held, zero)


def _moments(net: Net, values: Values, step: Normalization, kind: str) -> tuple[str, str]:
    """Return deviations and the sum of their squares, as :func:`sfn_compile.program.arithmetic.moments` has them."""
    shape = step.shape
    n = np.array(int(np.prod([shape[a] for a in step.axes])))
    x = _added(net, values, step, kind)
    squares = _scaled(net, _reduced(net, "ReduceSum", net.add("Mul", x, x), step.axes, len(shape)), n, kind)
    if not step.centred:
        return _scaled(net, x, n, kind), squares
    total = _reduced(net, "ReduceSum", x, step.axes, len(shape))
    deviation = net.add("Sub", _scaled(net, x, n, kind), total)
    return deviation, net.add("Sub", squares, net.add("Mul", total, total))


def _added(net: Net, values: Values, step: Normalization, kind: str) -> str:
    """Return the sum of the weighted codes that a normalisation reads."""
    terms = [_scaled(net, values.number(p.source, kind), p.map.weight.astype(np.int64), kind) for p in step.projections]
    x = terms[0]
    for term in terms[1:]:
        x = net.add("Add", x, term)
    return x


def _root(net: Net, radicand: str, epsilon: int, kind: str) -> str:
    """Return the integer square root of ``radicand + epsilon``; above 2^52 float64 is one off, which is put right."""
    full = net.add("Add", radicand, net.constant(epsilon, kind)) if epsilon else radicand
    if kind == "float64":
        return net.add("Floor", net.add("Sqrt", full))
    near = net.add("Floor", net.add("Sqrt", net.add("Cast", full, to=TYPES["float64"])))
    root = net.add("Cast", near, to=TYPES["int64"])
    above = net.add("Greater", net.add("Mul", root, root), full)
    low = net.add("Sub", root, net.add("Cast", above, to=TYPES["int64"]))
    up = net.add("Add", low, net.constant(1, "int64"))
    return net.add("Where", net.add("LessOrEqual", net.add("Mul", up, up), full), up, low)


def _scaled(net: Net, tensor: str, factor: Array, kind: str) -> str:
    return tensor if (factor == 1).all() else net.add("Mul", tensor, net.constant(factor, kind))


def _reduced(net: Net, op: str, tensor: str, axes: Sequence[int], rank: int) -> str:
    """Return a reduction over axes of one sample, which stay with length 1."""
    return net.add(op, tensor, net.constant([a % rank + 1 for a in axes], "int64"), keepdims=1)
