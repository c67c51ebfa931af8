"""Tables that are no line: one look-up in cells where thresholds are far enough apart, else a binary search."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_backends.onnx.net import Net
from sfn_backends.onnx.sums import Sum
from sfn_backends.onnx.values import TYPES
from sfn_compile.program.network import Population, Table

Array = NDArray[Any]
_CELLS = 2**20  # of all rows together; a cell takes six bytes


def write(net: Net, step: Population, ladder: Table, acc: Sum, kind: str, zero: int) -> str:
    """Return ``codes + zero`` of the accumulator as a tensor of type ``kind``."""
    rows, codes = ladder.table.shape[:-1], ladder.codes.astype(np.int64) + zero
    table = ladder.table.astype(np.int64)
    if len(codes) == 1:  # no threshold at all: one that is never reached changes no code
        table, codes = np.full((*rows, 1), step.acc_max + 1), np.repeat(codes, 2)
    tau = np.clip(table.reshape(-1, table.shape[-1]), step.acc_min, step.acc_max + 1)
    if acc.kind == "float32":
        gaps = np.diff(tau, axis=1)
        shift = int(gaps[gaps > 0].min(initial=2**20)).bit_length() - 1
        width = int(((tau[:, -1] - tau[:, 0]) >> shift).max()) + 1
        if width * len(tau) <= _CELLS:
            return _cells(net, step, acc, tau, codes, rows, kind, shift, width)
    return _search(net, step, acc, tau, codes, rows, kind)


def _cells(
    net: Net, step: Population, acc: Sum, tau: Array, codes: Array, rows: tuple[int, ...], kind: str, shift: int,
    width: int,
) -> str:  # fmt: skip
    """Cells of ``2^shift`` accumulators, from each row's first threshold on, hold one threshold at most."""
    starts = tau[:, :1] + (np.arange(width) << shift)
    passed = np.stack([np.searchsorted(t, s) for t, s in zip(tau, starts, strict=True)])  # thresholds before the cell
    reached = np.stack([
        np.searchsorted(t, s + 2**shift - 1, side="right") for t, s in zip(tau, starts, strict=True)
    ])  # fmt: skip
    each = np.arange(len(tau))[:, None]
    threshold = np.where(reached > passed, tau[each, np.minimum(passed, tau.shape[1] - 1)], step.acc_max + 1)
    place = net.add("Sub", acc.tensor, net.constant(tau[:, 0].reshape(rows), "float32"))
    place = net.add("Floor", net.add("Mul", place, net.constant(2.0**-shift, "float32")))
    place = net.add("Clip", place, net.constant(0, "float32"), net.constant(width - 1, "float32"))
    place = net.add("Cast", place, to=TYPES["int32"])
    if len(tau) > 1:
        place = net.add("Add", place, net.constant((each[:, 0] * width).reshape(rows), "int32"))
    above, below, edge = (
        net.add("Gather", net.constant(table.reshape(-1), of), place)
        for table, of in ((codes[reached], kind), (codes[passed], kind), (threshold, "float32"))
    )
    return net.add("Where", net.add("GreaterOrEqual", acc.tensor, edge), above, below)


def _search(net: Net, step: Population, acc: Sum, tau: Array, codes: Array, rows: tuple[int, ...], kind: str) -> str:
    """One comparison and one look-up per binary digit of the number of thresholds reached."""
    n = tau.shape[1]
    digits = max(1, n.bit_length())
    table = np.full((len(tau), 2**digits), step.acc_max + 1, np.int64)  # behind the last: never reached
    table[:, :n] = tau
    flat, first = net.constant(table.reshape(-1), acc.kind), (np.arange(len(tau)) * 2**digits).reshape(rows)
    count = ""
    for digit in reversed(range(digits)):
        at = net.constant(first + 2**digit - 1, "int32")
        found = net.add("Gather", flat, net.add("Add", at, count) if count else at)
        reached = net.add("Cast", net.add("GreaterOrEqual", acc.tensor, found), to=TYPES["int32"])
        gain = net.add("Mul", reached, net.constant(2**digit, "int32")) if digit else reached
        count = net.add("Add", count, gain) if count else gain
    return net.add("Gather", net.constant(codes, kind), count)
