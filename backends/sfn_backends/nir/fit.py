"""Which ops fit one convolution together, and what must be carried past it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np

from sfn_backends.nir.layout import Held, Misfit, Needs, channel_wise
from sfn_backends.nir.links import Pair, shape3
from sfn_backends.nir.ops import Op, Read, carried
from sfn_backends.nir.phases import phased

_FACTORS = sorted(product(range(1, 9), repeat=2), key=lambda f: (f[0] * f[1], f))
State = Mapping[str, Held]


def geometry(op: Op, state: State) -> tuple[Pair, Pair]:
    """Return (stride, grid) of the stage that computes ``op`` with the smallest factor. Raises Misfit."""
    shape = shape3(op.shape)
    if shape is None:
        raise Misfit("it makes a vector")
    if not channel_wise(op):
        raise Misfit("its thresholds differ from position to position")
    for factor in _FACTORS:
        stride = _stride(op.reads[0], state, factor)
        if stride is not None and all(n % f == 0 for n, f in zip(shape[1:], factor, strict=True)):
            out = (shape[1] // factor[0], shape[2] // factor[1])
            if fits(op, state, stride, out) is not None:
                return stride, out
    raise Misfit("it is no convolution with weights per channel, or reads maps that do not stand on one grid")


def fits(op: Op, state: State, stride: Pair, out: Pair) -> Held | None:
    """Return how the op would be on grid ``out`` behind a stage of ``stride``, or None."""
    shape = shape3(op.shape)
    if shape is None or not channel_wise(op) or any(n % g for n, g in zip(shape[1:], out, strict=True)):
        return None
    factor = (shape[1] // out[0], shape[2] // out[1])
    for read in op.reads:
        if _stride(read, state, factor) != stride or ((read.shift or read.powers) and not state[read.source].exact):
            return None
    return Held(op, (factor[0], factor[1]), tuple(product(range(factor[0]), range(factor[1]))))


def carries(state: State, needs: Needs, stride: Pair, out: Pair) -> list[Held]:
    """Return what a map stage must carry: only phases that are read later. Raises Misfit where some would be cut."""
    found = []
    for name, held in state.items():
        factor = (held.factor[0] * stride[0], held.factor[1] * stride[1])
        phases, shape = needs.phases(name, factor), shape3(held.op.shape)
        if phases and held.fold:
            raise Misfit(f"{name} is read later and stands folded")
        if not phases or shape is None:
            continue
        ends = [out[i] * factor[i] - shape[i + 1] for i in range(2)]
        if any(ends[i] + p[i] < 0 for p in phases for i in range(2)):
            raise Misfit(f"{name} is read later and does not fit on a grid of {out[0]}x{out[1]}")
        exact = ends == [0, 0]
        codes = held.op.codes if exact else np.union1d(held.op.codes, [0])
        found.append(Held(carried(name, held.op.shape, codes), factor, phases, exact, True))
    return found


def _stride(read: Read, state: State, factor: tuple[int, ...]) -> Pair | None:
    """Return the stage stride with which ``read`` makes a value of ``factor``, None where there is none."""
    held, linear = state[read.source], phased(read.map, read.shape)
    if (
        linear is None
        or held.fold
        or held.op.shape != read.shape
        or any(f % u for f, u in zip(factor, linear.up, strict=True))
    ):
        return None
    steps = [f // u * st for f, u, st in zip(factor, linear.up, linear.stride, strict=True)]
    if any(n % h for n, h in zip(steps, held.factor, strict=True)):
        return None
    return steps[0] // held.factor[0], steps[1] // held.factor[1]
