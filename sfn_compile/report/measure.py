"""Numbers for ``report.json``: what each layer is, what it costs, what error it makes. All measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..calibration.collect import FloatRunner
from ..execute import run_codes
from ..host import encode_all
from ..ir import Graph, GraphInput, Node
from ..legalize import weight_top
from ..ops import Layer, Normalize
from ..passes.steps import all_steps
from ..program import (
    Conv,
    Dense,
    LinearMap,
    Matmul,
    Normalization,
    Population,
    Product,
    ProductForm,
    Program,
    Projection,
    Ratio,
    Readout,
    RowTable,
    SumPool,
    Table,
    Uniform,
    ValueInfo,
)
from ..ranges import bits_for, normalization_reach
from ..samples import Samples, n_samples, part
from . import attention

Array = NDArray[Any]
Pair = tuple[str, str]
_KINDS = {Uniform: "uniform", Table: "table", RowTable: "exponential", Ratio: "ratio", Readout: "readout"}
BLOCK = 4096  # numbers whose squares are added in their own type
AT_A_TIME = 8  # samples that the simulator computes together, where the float network runs fewer


def layers(
    graph: Graph, program: Program, runner: FloatRunner, x: Samples
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return one row per population (inputs first) and one per softmax, measured on the samples ``x``.

    ``x`` is ``(n, *model_shape)`` per input.
    """
    seen = attention.softmaxes(program)
    tally, both = _tally(graph, program, runner, x, seen)
    info, nodes, carried = program.values(), graph.by_name(), _carried(graph)
    rows = [{**_input(source), **tally[source.name].row()} for source in graph.inputs]
    for step in program.steps:
        if isinstance(step, Population):
            static = {**_static(step, nodes[step.name], info, carried), **_activity(step, info, tally, both)}
        elif isinstance(step, Normalization):
            static = _normalization(step, nodes[step.name], info, carried)
        else:
            continue
        rows.append({**static, **tally[step.name].row()})
    return rows, attention.rows(program, seen, rows)


def _input(source: GraphInput) -> dict[str, Any]:
    levels = source.levels
    assert levels is not None
    return {
        "name": source.name, "kind": "input", "origin": [source.model_name], "lo": levels.lo, "hi": levels.hi,
        "levels": levels.hi - levels.lo, "reason": levels.reason, "shape": list(source.type.shape),
        "dead": int(levels.dead.sum()), "synops": 0, "macs": 0, "weight_bits": None, "acc_bits": None, "acc_min": None,
        "acc_max": None,
    }  # fmt: skip


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


def macs(linear: LinearMap, source: ValueInfo) -> int:
    """Return the multiply-accumulates of one sample, positions in the padding included."""
    size = int(np.prod(linear.out_shape(source.shape)))
    if isinstance(linear, Dense):
        return size * linear.weight.shape[1]
    if isinstance(linear, Conv):
        return size * int(np.prod(linear.weight.shape[1:]))
    return size * (int(np.prod(linear.kernel)) if isinstance(linear, SumPool) else 1)


def _static(population: Population, node: Node, info: Mapping[str, ValueInfo], carried: set[str]) -> dict[str, Any]:
    layer = node.op
    assert isinstance(layer, Layer)
    ladder, levels = population.ladder, layer.levels
    projections = _projections(population.projections, info, carried)
    products: list[dict[str, Any]] = [
        {"sources": [p.left, p.right], "kind": type(p.form).__name__, "weights": int(p.form.weight.size),
         "weight_bits": bits_for(-weight_top(p.form), weight_top(p.form)), "macs": product_macs(p, info)}
        for p in population.products
    ]  # fmt: skip
    kind = _KINDS[type(ladder)]
    return {
        "name": population.name, "kind": kind, "origin": list(population.origin.nodes),
        "activation": layer.activation.label if layer.activation else None, "shape": list(population.shape),
        "lo": None if levels is None else levels.lo, "hi": None if levels is None else levels.hi,
        "levels": None if levels is None else levels.hi - levels.lo,
        "reason": "" if levels is None else levels.reason,
        "dead": 0 if levels is None else int(levels.dead.sum()),
        "theta_min": int(ladder.theta.min()) if isinstance(ladder, Uniform | Ratio) else None,
        "theta_max": int(ladder.theta.max()) if isinstance(ladder, Uniform | Ratio) else None,
        "acc_min": population.acc_min, "acc_max": population.acc_max,
        "acc_bits": bits_for(population.acc_min, population.acc_max),
        "weight_bits": max(p["weight_bits"] for p in projections + products),
        "projections": projections, "products": products,
        "macs": 0 if layer.carries else sum(p["macs"] for p in projections + products),
        "notes": list(layer.integer.notes) if layer.integer else [],
    }  # fmt: skip


def _carried(graph: Graph) -> set[str]:
    """Return the values that hold what rounding left: the float network has nothing like them, and no MACs for them."""
    found: set[str] = set()
    for node in graph.nodes:
        moved = not isinstance(node.op, Layer | Normalize) and bool(node.inputs) and found.issuperset(node.inputs)
        if moved or (isinstance(node.op, Layer) and node.op.carries):
            found.add(node.name)
    return found


def _projections(
    projections: tuple[Projection, ...], info: Mapping[str, ValueInfo], carried: set[str]
) -> list[dict[str, Any]]:
    return [
        {"source": p.source, "kind": type(p.map).__name__, "weights": int(p.map.weight.size),
         "weight_bits": bits_for(-weight_top(p.map), weight_top(p.map)),
         "macs": 0 if p.source in carried else macs(p.map, info[p.source])}
        for p in projections
    ]  # fmt: skip


def _normalization(step: Normalization, node: Node, info: Mapping[str, ValueInfo], carried: set[str]) -> dict[str, Any]:
    op, reach = node.op, normalization_reach(step, info)
    assert isinstance(op, Normalize)
    assert op.levels is not None
    size = int(np.prod(step.shape))
    widest = max(bits_for(lo, hi) for lo, hi in reach.values())
    lo, hi = reach["deviation"]
    projections = _projections(step.projections, info, carried)
    return {
        "name": step.name, "kind": "normalization", "origin": list(step.origin.nodes),
        "activation": op.activation.label, "shape": list(step.shape),
        "lo": op.levels.lo, "hi": op.levels.hi, "levels": op.levels.hi - op.levels.lo, "reason": op.levels.reason,
        "dead": int(op.levels.dead.sum()), "theta_min": int(step.ladder.theta.min()),
        "theta_max": int(step.ladder.theta.max()), "acc_min": lo, "acc_max": hi, "acc_bits": bits_for(lo, hi),
        "weight_bits": max(r["weight_bits"] for r in projections), "projections": projections, "products": [],
        "macs": 3 * size, "synops": float(3 * size),
        "notes": [f"the widest integer behind its thresholds has {widest} bits"],
    }  # fmt: skip


def product_macs(product: Product, info: Mapping[str, ValueInfo]) -> int:
    """Return the multiplications of two codes of one sample."""
    left, right = info[product.left].shape, info[product.right].shape
    each = left[-1] if isinstance(product.form, Matmul) else 1
    return each * int(np.prod(product.form.out_shape(left, right)))


def _activity(
    population: Population, info: Mapping[str, ValueInfo], tally: Mapping[str, _Tally], both: Mapping[Pair, float]
) -> dict[str, Any]:
    """Return the synaptic operations of one sample: multiply-accumulates whose codes are not 0, on average."""
    total = 0.0
    for p in population.projections:
        total += macs(p.map, info[p.source]) * tally[p.source].density
    for q in population.products:
        total += product_macs(q, info) * both[q.left, q.right]
    return {"synops": total}


class _Tally:
    """Sums over samples of one value: signal, errors, and counts of codes."""

    def __init__(self) -> None:
        self.signal = self.here = self.accumulated = 0.0
        self.size = self.nonzero = self.saturated = 0
        self.spikes = True

    def add(self, real: Array | None, codes: Array, step: Array | None, levels: Any) -> None:
        self.size += codes.size
        self.nonzero += int(np.count_nonzero(codes))
        if levels is not None:
            ends = codes == levels.hi
            self.saturated += int((ends | (codes == levels.lo) if levels.lo < 0 else ends).sum())
        if real is None or step is None:
            return
        if levels is None or levels.imported:  # there an error may be as small as the rounding of float32
            real = real.astype(np.float64)
        step = np.asarray(step, real.dtype)
        self.signal += _energy(real)
        self.accumulated += _energy(np.multiply(codes, step, dtype=real.dtype) - real)
        if levels is not None and not levels.imported:  # stated levels are the network, not an error
            nearest = np.floor(real / step + real.dtype.type(0.5))
            np.clip(nearest, levels.lo, levels.hi, out=nearest)
            nearest *= step
            nearest -= real
            self.here += _energy(nearest)

    @property
    def density(self) -> float:
        return self.nonzero / self.size if self.size else 0.0

    def row(self) -> dict[str, Any]:
        return {
            "sqnr_db": decibel(self.signal, self.here), "sqnr_accumulated_db": decibel(self.signal, self.accumulated),
            "saturation": self.saturated / max(self.size, 1), "density": self.density,
        }  # fmt: skip


def _energy(x: Array) -> float:
    """Return the sum of squares; of float32 numbers by BLAS, some thousand in float32 at a time."""
    flat = x.reshape(-1)
    blocks = flat[: len(flat) // BLOCK * BLOCK].reshape(-1, BLOCK)
    rest = flat[blocks.size :]
    return float(np.einsum("ij,ij->i", blocks, blocks).sum(dtype=np.float64) + np.dot(rest, rest))


def decibel(signal: float, noise: float) -> float | None:
    """Return 10 log10(signal / noise), None where either is zero: no error, or nothing to compare with."""
    return round(10 * float(np.log10(signal / noise)), 3) if signal > 0 and noise > 0 else None


def _tally(
    graph: Graph, program: Program, runner: FloatRunner, x: Samples, seen: Mapping[str, attention.Softmax]
) -> tuple[dict[str, _Tally], dict[Pair, float]]:
    """Return a tally of every value, and for the two factors of a product the share of places where both are not 0."""
    steps, nodes = all_steps(graph), graph.by_name()
    entry = {i.name: i.levels for i in graph.inputs}
    found = {name: _Tally() for name in program.values()}
    forms = {(p.left, p.right): p.form for s in program.populations() for p in s.products}
    both = dict.fromkeys(forms, 0.0)
    start, ready = 0, slice(0, 0)  # of which samples integers are there
    for n, real, _ in runner.stream(x):
        if start + n > ready.stop:
            ready = slice(start, start + max(n, AT_A_TIME))
            integers = run_codes(program, encode_all(program, part(x, ready)))
        codes = part(integers, slice(start - ready.start, start - ready.start + n))
        start += n
        for name, tally in found.items():
            op = nodes[name].op if name in nodes else None
            levels = entry.get(name) if op is None else getattr(op, "levels", None)
            step = steps.get(name)
            if isinstance(op, Layer) and op.levels is None and op.integer is not None:
                step = op.integer.alpha
            measured = op is None or isinstance(op, Normalize) or (isinstance(op, Layer) and not op.carries)
            tally.add(real[name] if measured else None, codes[name], step, levels)
        for name, softmax in seen.items():
            softmax.add(codes[name])
        for left, right in both:
            both[left, right] += _met(codes[left], codes[right], forms[left, right]) * n / n_samples(x)
    return found, both


def _met(left: Array, right: Array, form: ProductForm) -> float:
    """Return the share of a product's multiplications whose two codes are both not 0."""
    a, b = left != 0, right != 0
    if not isinstance(form, Matmul):
        return float((a & b).mean())
    pairs = (a.sum(axis=-2, dtype=np.float64) * b.sum(axis=-1, dtype=np.float64)).sum()
    return float(pairs / (a.size * b.shape[-1]))
