"""The neurons of one stage of the binary chain: accumulators into 0/1 planes, one per threshold.

A plane is driven by ``acc - threshold + c``, an integer in [1, 2c - 2], and its neuron fires above ``c - 1/2``: once
for every reader, also for one that counts multiples of its threshold, and no tie can occur.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sfn_backends.nir.layout import Held
from sfn_backends.nir.links import Pair
from sfn_backends.nir.net import Net, Put
from sfn_backends.nir.ops import Group
from sfn_backends.nir.stage import numbers, one_by_one, plane_count
from sfn_compile.foundation.diagnostics import fail

EXACT = 2**23  # the largest c: below 2c integers are exact in float32, and c - 1/2 is


def fire(
    net: Net, prefix: str, tail: str, targets: Sequence[Held], grid: Pair | None, charges: dict[str, float] | None
) -> str:
    """Add the node that copies accumulators per threshold and the neurons; return the neurons' name."""
    vector, name = grid is None, f"{prefix}e_planes"
    rows = sum(t.rows(vector) * len(t.op.groups) for t in targets)
    planes = sum(plane_count(t, vector) for t in targets)
    if not planes:
        raise fail("SFN402", f"{targets[0].name} has one code only: there is nothing to fire", targets[0].op.where)
    for t in targets:
        for group in t.op.groups:
            _within_reach(group)
    charge = charge_of(targets) if charges is None else charges[name] + 0.5
    drive = f"{prefix}d_drive"
    one_by_one(net, drive, tail, planes, rows, grid, lambda rest: _drive(drive, targets, vector, charge, rest))
    shape = (planes,) if grid is None else (planes, *grid)
    return net.add(name, "Neuron", {"v_threshold": (shape, charge - 0.5)}, [drive])


def charge_of(targets: Sequence[Held]) -> float:
    """Return the power of two above every distance of accumulator and threshold. Raises SFN401 above 2**23."""
    top = 1.0
    for t in targets:
        for group in t.op.groups:
            if group.thresholds.size and _distance(group) >= EXACT:
                what = f"accumulators of {t.name} span {group.low}..{group.high}; planes are exact below {EXACT}"
                raise fail("SFN401", what, t.op.where, "use fewer --levels or --weight-bits, or --nir-form unary")
            top = max(top, _distance(group) + 1.0 if group.thresholds.size else top)
    return float(2 ** int(np.ceil(np.log2(top))))


def _within_reach(group: Group) -> None:
    """Bring thresholds that float32 could not hold to the ends of the reachable range, where all are alike."""
    if group.thresholds.size and _distance(group) >= EXACT:
        np.clip(group.thresholds, group.low, group.high + 1, out=group.thresholds)


def _distance(group: Group) -> int:
    tau = group.thresholds
    return int(max(group.high - tau.min(), tau.max() - group.low)) + 1


def _drive(node: str, targets: Sequence[Held], vector: bool, charge: float, rest: tuple[int, ...]) -> Iterator[Put]:
    row = plane = 0
    for t in targets:
        for group in t.op.groups:
            n, each = len(group.gains), np.arange(t.rows(vector))[:, None]
            place = plane + each * n + np.arange(n)
            yield Put(node, "weight", (place, row + each, *rest), start=1.0)
            index = numbers(t, group.thresholds.shape[:-1], vector)[:, None] * n + np.arange(n)
            yield Put(node, "bias", (place,), group.thresholds.reshape(-1), index, charge, -1.0)
            row, plane = row + len(each), plane + len(each) * n
