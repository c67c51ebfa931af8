"""The neuron on an accumulator tensor: float32 rounding where it is proved, integer division, or a search in a table.

The proof of the float32 rounding is in ``docs/spec/targets.md``; :func:`rounds_exactly` is its condition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from sfn_backends.onnx import adaptive, line, lookup
from sfn_backends.onnx.net import Net
from sfn_backends.onnx.sums import EXACT, Sum
from sfn_backends.onnx.values import TYPES, Values, fits_byte, integer_kind, zero_of
from sfn_compile.program.network import Ladder, Population, Ratio, Readout, RowTable, Table, Uniform

Array = NDArray[Any]

# theta * (largest code + 1) up to which three float32 roundings cannot move acc / theta across a rounding boundary.
PROVED = 2**21


def rounds_exactly(theta: Array, lo: int, hi: int) -> bool:
    """Whether rounding ``t * (1 / theta)`` or ``t / theta`` in float32 gives the codes ``lo..hi`` for all integers."""
    return int(theta.max()) * (max(abs(lo), abs(hi)) + 1) <= PROVED


def room(ladder: Ladder) -> float:
    """Return the bound below which sums of a population are computed in float32; -1 where they cannot be."""
    if isinstance(ladder, Uniform):
        shift = float(np.abs(shifts(ladder)).max())
        return EXACT // 2 - shift if rounds_exactly(ladder.theta, ladder.lo, ladder.hi) else -1
    if isinstance(ladder, RowTable | Ratio):
        return adaptive.room(ladder)
    if isinstance(ladder, Readout):
        return EXACT - int(np.abs(ladder.offset).max())
    if isinstance(ladder, Table):
        return EXACT
    assert_never(ladder)


def shifts(ladder: Uniform) -> Array:
    """Return ``offset - (theta - 1) / 2``: what makes the floor division a rounding to nearest without ties."""
    return ladder.offset.astype(np.float64) - (ladder.theta.astype(np.float64) - 1) / 2


def fire(net: Net, values: Values, step: Population, acc: Sum) -> None:
    """Add the nodes of a ladder and hold what it makes."""
    ladder, info = step.ladder, values.info[step.name]
    if isinstance(ladder, RowTable):
        adaptive.follow(net, values, step, ladder, acc)
    elif isinstance(ladder, Ratio):
        adaptive.share(net, values, step, ladder, acc)
    elif isinstance(ladder, Readout):
        kind = integer_kind(info.lo, info.hi)
        total = _plus(net, acc.tensor, ladder.offset, acc.kind)
        same = acc.kind == kind and total != acc.tensor
        values.hold(step.name, total if same else net.add("Cast", total, to=TYPES[kind]), kind)
    elif isinstance(ladder, Table | Uniform):
        _fire_codes(net, values, step, ladder, acc)
    else:
        assert_never(ladder)


def _fire_codes(net: Net, values: Values, step: Population, ladder: Table | Uniform, acc: Sum) -> None:
    info = values.info[step.name]
    kind, zero = ("uint8", zero_of(info)) if fits_byte(info) else ("int32", 0)
    if isinstance(ladder, Table):
        codes = _on_line(net, step, acc, kind, zero) or lookup.write(net, step, ladder, acc, kind, zero)
    elif acc.kind == "float32":
        codes = _rounded(net, ladder, acc.tensor, kind, zero)
    else:
        codes = _divided(net, ladder, step, acc.tensor, kind, zero)
    values.hold(step.name, codes, kind, zero)


def clip(net: Net, tensor: str, lo: int, hi: int, kind: str) -> str:
    """Return a tensor cut to ``lo..hi``; uint8 that is cut to its own range stays as it is."""
    if kind == "uint8" and (lo, hi) == (0, 255):
        return tensor
    return net.add("Clip", tensor, net.constant(lo, kind), net.constant(hi, kind))


def _plus(net: Net, tensor: str, array: Array, kind: str) -> str:
    return net.add("Add", tensor, net.constant(array, kind)) if array.any() else tensor


def _rounded(net: Net, ladder: Uniform, acc: str, kind: str, zero: int) -> str:
    found = _over(net, _plus(net, acc, shifts(ladder), "float32"), ladder.theta)
    if kind == "uint8":
        codes = net.add("QuantizeLinear", found, net.constant(1, "float32"), net.constant(zero, "uint8"))
        return clip(net, codes, ladder.lo + zero, ladder.hi + zero, "uint8")
    cut = clip(net, net.add("Round", found), ladder.lo, ladder.hi, "float32")
    return net.add("Cast", cut, to=TYPES[kind])


def _on_line(net: Net, step: Population, acc: Sum, kind: str, zero: int) -> str:
    """Return the codes where the thresholds are on a line that float32 can follow, else nothing."""
    rows = line.rows_of(step) if acc.kind == "float32" and kind == "uint8" else None
    found = line.for_floats(rows) if rows is not None else None
    if rows is None or found is None:
        return ""
    scale, shift, lo, hi = (a.reshape(rows.shape) for a in (found.scale, found.shift, found.lo, found.hi))
    tensor = _over(net, _plus(net, acc.tensor, shift, "float32"), scale)
    if np.ptp(lo) or np.ptp(hi):
        tensor = net.add("Max", net.add("Min", tensor, net.constant(hi, "float32")), net.constant(lo, "float32"))
    codes = net.add("QuantizeLinear", tensor, net.constant(1, "float32"), net.constant(zero, "uint8"))
    return clip(net, codes, int(lo.min()) + zero, int(hi.max()) + zero, "uint8")


def _over(net: Net, tensor: str, step: Array) -> str:
    """Divide; a reciprocal would be a factor, which onnxruntime folds into the weights in front of it."""
    if (step == 1).all():
        return tensor
    rank = max(step.ndim, 2)  # never a scalar: a scalar factor, too, is folded into a MatMul
    return net.add("Div", tensor, net.constant(step.reshape((1,) * (rank - step.ndim) + step.shape), "float32"))


def _divided(net: Net, ladder: Uniform, step: Population, acc: str, kind: str, zero: int) -> str:
    """Integer division rounds towards 0 in ONNX: a multiple of theta makes the numerator positive first."""
    theta, offset = np.broadcast_arrays(ladder.theta.astype(np.int64), ladder.offset.astype(np.int64))
    turns = max(0, int(-((step.acc_min + offset) // theta).min()))
    quotient = net.add("Div", _plus(net, acc, offset + turns * theta, "int64"), net.constant(theta, "int64"))
    code = net.add("Sub", quotient, net.constant(turns - zero, "int64"))
    return net.add("Cast", clip(net, code, ladder.lo + zero, ladder.hi + zero, "int64"), to=TYPES[kind])
