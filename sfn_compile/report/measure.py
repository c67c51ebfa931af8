"""Numbers for ``report.json``: what each layer is, what it costs, what error it makes. All measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from typing_extensions import assert_never

from ..calibration.collect import FloatRunner
from ..foundation.samples import Samples
from ..graph.graph import Graph, GraphInput, Node
from ..graph.macs import macs, product_macs
from ..graph.ops import FoldedReadout, FoldedSite, NormalSite
from ..program.network import (
    Ladder,
    MaxPool,
    Move,
    Normalization,
    Population,
    Program,
    Projection,
    Ratio,
    Readout,
    RowTable,
    Table,
    Uniform,
    ValueInfo,
)
from ..program.ranges import bits_for, normalization_reach
from ..program.relations import repeats_a_sum
from ..program.weights import weight_top
from . import attention, energy, health
from .activity import Seen, levels_of, observe
from .rounding_errors import rounding_errors


@dataclass(frozen=True)
class Measured:
    """One row per population (inputs first), one per softmax, and the estimate of energy."""

    layers: list[dict[str, Any]]
    attention: list[dict[str, Any]]
    energy: dict[str, Any]


def layers(graph: Graph, program: Program, runner: FloatRunner, x: Samples) -> Measured:
    """Return what is reported of every population, measured on the samples ``x``, ``(n, *model_shape)`` per input."""
    softmaxes = attention.softmaxes(program)
    seen = observe(graph, program, runner, x, softmaxes)
    info, nodes, carried = program.values(), graph.by_name(), rounding_errors(program)
    rows = [{**_input(source), **seen.row(source.name, source.levels)} for source in graph.inputs]
    for step in program.steps:
        if isinstance(step, Population):
            static = {**_static(step, nodes[step.name], info, carried), **_activity(step, info, seen)}
        elif isinstance(step, Normalization):
            static = _normalization(step, nodes[step.name], info, carried)
        elif isinstance(step, MaxPool | Move):
            continue
        else:
            assert_never(step)
        rows.append({**static, **seen.row(step.name, levels_of(step.name, nodes, {}))})
    for row in rows:
        row["warnings"] = health.warnings(row)
    return Measured(rows, attention.rows(program, softmaxes, rows), energy.estimate(program, rows, seen))


def _input(source: GraphInput) -> dict[str, Any]:
    levels = source.chosen
    return {
        "name": source.name, "kind": "input", "origin": [source.model_name], "lo": levels.lo, "hi": levels.hi,
        "levels": len(levels.codes) - 1, "reason": levels.reason, "shape": list(source.type.shape),
        "dead": int(levels.dead.sum()), "channels": int(levels.dead.size), "synops": 0, "macs": 0,
        "weight_bits": None, "acc_bits": None, "acc_min": None,
        "acc_max": None, "axis": source.axis, "subtracted": _subtracted(source),
        "grid": source.grid is not None and not np.isnan(source.grid.step).any(),
    }  # fmt: skip


def _subtracted(source: GraphInput) -> list[float] | None:
    """Return the offset per channel that the encoder subtracts last, None where it only scales or does neither."""
    last = source.host[-1] if source.host else None
    if last is None or last.kind != "affine" or not (np.asarray(dict(last.args)["scale"]) == 1).all():
        return None
    return [float(-v) for v in np.ravel(dict(last.args)["bias"])]


def totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the sums over all populations."""
    inner = [r for r in rows if r["kind"] != "input"]
    return {
        "populations": len(inner),
        "neurons": int(sum(np.prod(r["shape"]) for r in inner)),
        "macs": int(sum(r["macs"] for r in inner)),
        "synops": float(sum(r["synops"] for r in inner)),
        "weights": int(sum(p["weights"] for r in inner for p in (*r["projections"], *r["products"]))),
    }


def _static(population: Population, node: Node, info: Mapping[str, ValueInfo], carried: set[str]) -> dict[str, Any]:
    layer = node.op
    assert isinstance(layer, FoldedSite | FoldedReadout)
    ladder, levels = population.ladder, levels_of(node.name, {node.name: node}, {})
    projections = _projections(population.projections, info, carried)
    products: list[dict[str, Any]] = [
        {"sources": [p.left, p.right], "kind": type(p.form).__name__, "weights": int(p.form.weight.size),
         "weight_bits": bits_for(-weight_top(p.form), weight_top(p.form)), "macs": product_macs(p, info)}
        for p in population.products
    ]  # fmt: skip
    return {
        "name": population.name, "kind": _kind(ladder), "relation": _relation(population),
        "origin": list(population.origin.nodes),
        "activation": layer.activation.label if layer.activation else None, "shape": list(population.shape),
        "lo": None if levels is None else levels.lo, "hi": None if levels is None else levels.hi,
        "levels": None if levels is None else len(levels.codes) - 1,
        "codes": None if levels is None or levels.book is None else list(levels.book),
        "offset": None if levels is None else levels.offset,
        "reason": "" if levels is None else levels.reason,
        "dead": 0 if levels is None else int(levels.dead.sum()),
        "channels": 0 if levels is None else int(levels.dead.size),
        "theta_min": int(ladder.theta.min()) if isinstance(ladder, Uniform | Ratio) else None,
        "theta_max": int(ladder.theta.max()) if isinstance(ladder, Uniform | Ratio) else None,
        "acc_min": population.acc_min, "acc_max": population.acc_max,
        "acc_bits": bits_for(population.acc_min, population.acc_max),
        "weight_bits": max(p["weight_bits"] for p in projections + products),
        "projections": projections, "products": products,
        "macs": 0 if repeats_a_sum(population.relation) else sum(p["macs"] for p in projections + products),
        "notes": list(layer.integer.notes),
    }  # fmt: skip


def _kind(ladder: Ladder) -> str:
    """Return what the report calls a neuron."""
    if isinstance(ladder, Uniform):
        return "uniform"
    if isinstance(ladder, Table):
        return "table"
    if isinstance(ladder, RowTable):
        return "exponential"
    if isinstance(ladder, Ratio):
        return "ratio"
    if isinstance(ladder, Readout):
        return "readout"
    assert_never(ladder)


def _relation(population: Population) -> dict[str, Any] | None:
    """Return what a population is to another value, the name of the relation among its fields."""
    relation = population.relation
    return None if relation is None else {"is": type(relation).__name__, **asdict(relation)}


def _projections(
    projections: tuple[Projection, ...], info: Mapping[str, ValueInfo], carried: set[str]
) -> list[dict[str, Any]]:
    return [
        {"source": p.source, "kind": type(p.map).__name__, "role": p.role, "weights": int(p.map.weight.size),
         "weight_bits": bits_for(-weight_top(p.map), weight_top(p.map)),
         "macs": 0 if p.source in carried or p.role == "copy" else macs(p.map, info[p.source])}
        for p in projections
    ]  # fmt: skip


def _normalization(step: Normalization, node: Node, info: Mapping[str, ValueInfo], carried: set[str]) -> dict[str, Any]:
    op, reach = node.op, normalization_reach(step, info)
    assert isinstance(op, NormalSite)
    size = int(np.prod(step.shape))
    widest = max(bits_for(lo, hi) for lo, hi in reach.values())
    lo, hi = reach["deviation"]
    projections = _projections(step.projections, info, carried)
    return {
        "name": step.name, "kind": "normalization", "origin": list(step.origin.nodes),
        "activation": op.activation.label, "shape": list(step.shape),
        "lo": op.levels.lo, "hi": op.levels.hi, "levels": len(op.levels.codes) - 1, "reason": op.levels.reason,
        "dead": int(op.levels.dead.sum()), "channels": int(op.levels.dead.size),
        "theta_min": int(step.ladder.theta.min()),
        "theta_max": int(step.ladder.theta.max()), "acc_min": lo, "acc_max": hi, "acc_bits": bits_for(lo, hi),
        "weight_bits": max(r["weight_bits"] for r in projections), "projections": projections, "products": [],
        "macs": 3 * size, "synops": float(3 * size),
        "notes": [f"the widest integer behind its thresholds has {widest} bits"],
    }  # fmt: skip


def _activity(population: Population, info: Mapping[str, ValueInfo], seen: Seen) -> dict[str, Any]:
    """Return the synaptic operations of one sample: multiply-accumulates whose codes are not 0, on average."""
    total = 0.0
    for p in population.projections:
        total += macs(p.map, info[p.source]) * seen.counters[p.source].density
    for q in population.products:
        total += product_macs(q, info) * seen.both[q.left, q.right]
    return {"synops": total}
