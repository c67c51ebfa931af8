"""What Lava cannot carry, checked before anything is written."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import ADAPTIVE, Move, Population, Program, Reshape, Step, ValueInfo
from sfn_compile.program.ranges import largest, norm_top, product_reach, reach
from sfn_compile.program.signals import kinds_of
from sfn_compile.targets.backend import Capabilities

Array = NDArray[Any]

CAPABILITIES = Capabilities(
    projections=frozenset({"Dense", "Conv", "SumPool", "Identity", "Gather"}),
    moves=frozenset(),
    max_pool=True,
    acc_bits=24,
    weight_bits=8,
    products=frozenset({"Elementwise", "Matmul"}),
    adaptive=ADAPTIVE,
    row_bits=63,
    clocked=True,
    note="lava-nc 0.10.0 on the CPU (SFNC_LAVA_PYTHON names its Python); a folder that runs without sfnc",
)


def check_fits(program: Program) -> None:
    """Raise SFN401 or SFN402 where the network has what no capability says: a connection too wide alone, a port."""
    info = program.values()
    for step in program.steps:
        where = ", ".join(step.origin.nodes) or step.name
        _check_step(step, info[step.name], where)
        for p in step.projections if isinstance(step, Population) else ():
            source = _sent(program, p.source, info[p.source])
            _check_alone(reach(p.map, source), f"connection from {p.source}", step.name, where)
        for q in step.products if isinstance(step, Population) else ():
            found = product_reach(q, info[q.left], info[q.right])
            _check_alone(found, f"product of {q.left} and {q.right}", step.name, where)
        if isinstance(step, Population) and step.norm is not None:
            total = np.array(norm_top(step, info))
            _check_alone((-total, total), f"row sum of {step.norm.source}", step.name, where)


def _sent(program: Program, name: str, info: ValueInfo) -> ValueInfo:
    """Return the range of what a value carries in one step: its codes, or over time what changes a count."""
    clock = program.clock
    if clock is None or not kinds_of(program)[name].sent:
        return info
    span, pace = info.hi - info.lo, clock.pace.get(name)
    least, most = (-span, span) if pace is None else (max(pace.least, -span), min(pace.most, span))
    return ValueInfo(info.shape, min(least, info.lo), max(most, info.hi))


def _check_step(step: Step, info: ValueInfo, where: str) -> None:
    if isinstance(step, Move) and not (isinstance(step.op, Reshape) and len(step.shape) == 1):
        raise fail("SFN402", f"Lava has no {type(step.op).__name__} ({step.name})", where)
    if not step.shape:
        raise fail("SFN402", f"{step.name} has no axis, a Lava port needs one", where)
    if max(-info.lo - 1, info.hi) >= 2**31:
        raise fail("SFN402", f"values of {step.name} reach [{info.lo}, {info.hi}], a Lava port holds 32 bits", where)


def _check_alone(ends: tuple[Array, Array], what: str, name: str, where: str) -> None:
    """Lava's Conv wraps every connection to 24 bits by itself, before they are added; the others keep to that."""
    low, high = ends
    worst = max(-int(low.min()) - 1, int(high.max()))
    if worst > largest(CAPABILITIES.acc_bits):
        what = f"the {what} into {name} alone reaches {worst}, Lava holds {CAPABILITIES.acc_bits} bits"
        raise fail("SFN401", what, where)
