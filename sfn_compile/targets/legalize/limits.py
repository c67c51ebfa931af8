"""What a target cannot express, and what is too wide for it, with the ONNX nodes that it comes from."""

from __future__ import annotations

from typing_extensions import assert_never

from ...foundation.diagnostics import Diagnostic, fail
from ...program.network import (
    AdaptiveName,
    MaxPool,
    Move,
    Normalization,
    Population,
    Program,
    Ratio,
    Readout,
    RowTable,
    Step,
    Table,
    Uniform,
)
from ...program.ranges import bits_for, charge_range, largest, norm_top, normalization_reach, ratio_reach
from ...program.weights import mantissa_top
from ..backend import Capabilities


def unsupported(step: Step, target: str, capabilities: Capabilities) -> list[Diagnostic]:
    """Return SFN402 for everything of one step that the target cannot express."""
    where = ", ".join(step.origin.nodes) or step.name
    if isinstance(step, MaxPool):
        what = f"target {target} has no max pooling"
        return [] if capabilities.max_pool else [Diagnostic("SFN402", what, where)]
    if isinstance(step, Move):
        return []
    found = [
        Diagnostic("SFN402", f"target {target} has no {what}", where, "leave this target out; the others are built")
        for kind, what in _adaptive(step)
        if kind not in capabilities.adaptive
    ]
    if isinstance(step, Normalization):
        return found
    if not isinstance(step, Population):
        assert_never(step)
    for q in step.products:
        kind = type(q.form).__name__
        if kind not in capabilities.products:
            what = (
                f"target {target} multiplies by constants only: it has no product of two values ({q.left} * {q.right}"
            )
            what += f", {kind}, into {step.name})"
            found.append(Diagnostic("SFN402", what, where, "leave this target out; the others are built"))
    for p in step.projections:
        kind = type(p.map).__name__
        if kind not in capabilities.projections:
            what = f"target {target} cannot express the projection {kind} from {p.source} into {step.name}"
            found.append(Diagnostic("SFN402", what, where, "leave this target out, or rearrange the moves before it"))
    return found


def _adaptive(step: Population | Normalization) -> list[tuple[AdaptiveName, str]]:
    """Return (class name, what it is in words) of every threshold that follows a row of neurons."""
    if isinstance(step, Normalization):
        return [("Normalization", f"normalisation by a row's standard deviation ({step.sources[0]} into {step.name})")]
    if isinstance(step.ladder, RowTable):
        return [("RowTable", f"thresholds that follow the maximum of a row, as softmax needs ({step.name})")]
    if isinstance(step.ladder, Ratio):
        return [("Ratio", f"thresholds scaled by the sum of a row, as softmax needs ({step.name})")]
    if isinstance(step.ladder, Uniform | Table | Readout):
        return []
    assert_never(step.ladder)


def check_widths(program: Program, target: str, capabilities: Capabilities) -> None:
    """Raise SFN401 where an accumulator or a number behind an adaptive threshold is wider than the target holds, SFN402
    where a weight is."""
    _check_rows(program, target, capabilities)
    values = program.values()
    for population in program.populations():
        low, high = population.acc_min, population.acc_max
        if program.clock is not None:
            over_time = charge_range(population, program, values)
            low, high = min(low, over_time[0]), max(high, over_time[1])
        if bits_for(low, high) > capabilities.acc_bits:
            span = f"{low}..{high}"
            what = f"accumulators reach {span}, target {target} holds {capabilities.acc_bits} bits"
            fix = f"--acc-bits {capabilities.acc_bits}"
            raise fail("SFN401", what, ", ".join(population.origin.nodes) or population.name, fix)
        for top in map(
            mantissa_top, (*(p.map for p in population.projections), *(p.form for p in population.products))
        ):
            if top > largest(capabilities.weight_bits):
                what = f"a weight reaches {top}, target {target} holds {capabilities.weight_bits} bits"
                fix = f"--weight-bits {capabilities.weight_bits}"
                raise fail("SFN402", what, ", ".join(population.origin.nodes) or population.name, fix)


def _check_rows(program: Program, target: str, capabilities: Capabilities) -> None:
    values = program.values()
    for step in program.steps:
        reach: dict[str, tuple[int, int]] = {}
        if isinstance(step, Normalization):
            reach = normalization_reach(step, values)
        elif isinstance(step, Population) and isinstance(step.ladder, Ratio):
            norm = norm_top(step, values)
            reach = {"threshold": ratio_reach(step.ladder, (step.acc_min, step.acc_max), norm)}
        for name, (lo, hi) in reach.items():
            if bits_for(lo, hi) > capabilities.row_bits:
                need = bits_for(lo, hi)
                what = f"the {name} of an adaptive threshold reaches {max(-lo, hi)}: {need} bits, and target {target} "
                what += f"holds {capabilities.row_bits}"
                raise fail("SFN401", what, ", ".join(step.origin.nodes) or step.name, "leave this target out")
