"""The neurons of one stage of the binary chain: accumulators into 0/1 planes, one per threshold.

With c a power of two above every distance of accumulator and threshold a plane is driven by
``(acc - threshold + c + 1/2) / c``, which float32 holds exactly, lies in (0, 2) and is never 1. Its neuron fires above
1: once for every reader, also for one that counts multiples of its threshold, and no tie can occur. Where c is 2**23,
half an integer more would not be exact: there the drive is ``acc - threshold + c`` and the threshold c - 1/2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfn_backends.nir.layout import Held
from sfn_backends.nir.links import Pair, spread
from sfn_backends.nir.net import Net, Param, Put
from sfn_backends.nir.ops import Array, Group
from sfn_backends.nir.stage import by_element, numbers, one_by_one, plane_count
from sfn_compile.foundation.diagnostics import fail

EXACT = 2**23  # the largest c: below 2c integers are exact in float32, and c - 1/2 is
SCALED = 2**22  # the largest c for which half-integers below 2c are exact too


@dataclass(frozen=True)
class Drive:
    """How an accumulator and its threshold drive a neuron, for a power of two ``c``."""

    c: float

    @property
    def weight(self) -> float:
        """What the accumulator is multiplied by."""
        return 1 / self.c if self.c <= SCALED else 1.0

    @property
    def start(self) -> float:
        """What is added for a threshold of 0."""
        return (self.c + 0.5) / self.c if self.c <= SCALED else self.c

    @property
    def fires_above(self) -> float:
        """The threshold of the neuron."""
        return 1.0 if self.c <= SCALED else self.c - 0.5


def fire(
    net: Net, prefix: str, tail: str, targets: Sequence[Held], grid: Pair | None, charges: dict[str, float] | None,
    spots: int = 0,
) -> str:  # fmt: skip
    """Add the node that copies accumulators per threshold and the neurons; return the neurons' name.

    Raises SFN402 for a layer with one code only.

    Behind the accumulators of the targets are ``spots`` channels that are 1 at one position of the grid each.
    """
    vector, name = grid is None, f"{prefix}e_planes"
    rows = sum(t.rows(vector) * len(t.op.groups) for t in targets)
    planes = sum(plane_count(t, vector) for t in targets)
    if not planes:
        raise fail("SFN402", f"{targets[0].name} has one code only: there is nothing to fire", targets[0].op.where)
    for t in targets:
        for group in t.op.groups:
            _within_reach(group)
    made = Drive(charge_of(targets) if charges is None else charges[name])
    drive = f"{prefix}d_drive"
    one_by_one(
        net, drive, tail, planes, rows + spots, grid,
        lambda rest: _drive(drive, targets, vector, made, rest, rows), not spots,
    )  # fmt: skip
    shape = (planes,) if grid is None else (planes, *grid)
    kind = "int8" if made.fires_above == 1 else "float32"
    return net.add(name, "Neuron", {"v_threshold": Param(shape, kind, made.fires_above)}, [drive])


def known_charges(arrays: dict[str, dict[str, Array]]) -> dict[str, float]:
    """Return c of every stage of a file, by the name of its neurons."""
    found = {}
    for name, node in arrays.items():
        if node.get("v_threshold") is not None:
            above = float(node["v_threshold"].flat[0])
            weight = float(arrays[name.replace("e_planes", "d_drive")]["weight"].flat[0])
            found[name] = above + 0.5 if above != 1 or not weight else 1 / weight
    return found


def charge_of(targets: Sequence[Held]) -> float:
    """Return the power of two above every distance of accumulator and threshold. Raises SFN401 above 2**23."""
    top = 1.0
    for t in targets:
        for group in t.op.groups:
            if group.thresholds.size and _distance(group, bool(t.fold)) >= EXACT:
                what = f"accumulators of {t.name} span {group.low}..{group.high}; planes are exact below {EXACT}"
                raise fail("SFN401", what, t.op.where, "use fewer --levels or --weight-bits, or --nir-form unary")
            top = max(top, _distance(group, bool(t.fold)) + 1.0 if group.thresholds.size else top)
    return float(2 ** int(np.ceil(np.log2(top))))


def _within_reach(group: Group) -> None:
    """Bring thresholds that float32 could not hold to the ends of the reachable range, where all are alike."""
    if group.thresholds.size and _distance(group, False) >= SCALED:
        np.clip(group.thresholds, group.low, group.high + 1, out=group.thresholds)


def _distance(group: Group, folded: bool) -> int:
    """Return a bound on |acc - threshold|; where a fold ends behind its value, acc is 0."""
    tau = group.thresholds
    low, high = (min(group.low, 0), max(group.high, 0)) if folded else (group.low, group.high)
    return int(max(high - tau.min(), tau.max() - low)) + 1


def spots_of(targets: Sequence[Held]) -> int:
    """Return how many positions need a channel of their own: those of the fold, if thresholds differ within it."""
    folds = [t.fold for t in targets if t.fold and t.fold != (1, 1)]
    wanted = any(by_element(g.thresholds.shape[:-1]) for t in targets if t.fold for g in t.op.groups)
    return folds[0][0] * folds[0][1] if folds and wanted else 0


def _drive(
    node: str, targets: Sequence[Held], vector: bool, drive: Drive, rest: tuple[int, ...], first_spot: int
) -> Iterator[Put]:  # fmt: skip
    row = plane = 0
    for t in targets:
        for group in t.op.groups:
            n, each = len(group.gains), np.arange(t.rows(vector))[:, None]
            place = plane + each * n + np.arange(n)
            yield Put(node, "weight", (place, row + each, *rest), start=drive.weight)
            yield _thresholds(node, t, group, place, vector, drive, rest, first_spot)
            row, plane = row + len(each), plane + len(each) * n


def _thresholds(
    node: str, t: Held, group: Group, place: Array, vector: bool, drive: Drive, rest: tuple[int, ...], first_spot: int
) -> Put:  # fmt: skip
    """Return the put that drives ``place`` (channel, level) by thresholds: as bias, or by the channels of positions."""
    tau, n = group.thresholds.reshape(-1), len(group.gains)
    param, where, shape = "bias", (place,), group.thresholds.shape[:-1]
    index: Any
    if t.fold and t.fold != (1, 1) and by_element(shape):
        spots = np.arange(t.fold[0] * t.fold[1])
        element = np.minimum(np.arange(len(place))[:, None] * len(spots) + spots, t.size - 1)
        index = spread(shape, t.op.shape)[element][:, None] * n + np.arange(n)[:, None]
        param, where = "weight", (place[..., None], first_spot + spots, *rest)  # type: ignore[assignment]
    else:
        index = numbers(t, shape, vector)[:, None] * n + np.arange(n)
    return Put(node, param, where, tau, index, drive.start, -drive.weight)
