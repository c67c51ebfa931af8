"""The named facts that passes make true, each with its checker: re-checked after every later pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..graph.graph import Graph
from ..graph.ops import (
    Activation,
    Add,
    IntegerForm,
    Layer,
    Linear,
    MatMul,
    MaxPool,
    Moved,
    Mul,
    Normalize,
    Pointwise,
    Quantize,
    Softmax,
    fires,
)
from ..program.network import Ladder
from ..program.ranges import driven_range
from .facts import BiasShifts
from .mapping.lower import value_infos
from .structure.compose_linear import chains
from .structure.compose_pools import pairs
from .structure.fold_affine import foldable
from .structure.fuse_quantizers import fusible
from .structure.fuse_scalars import unfused
from .structure.hoist_activations import hoistable
from .structure.sink_moves import sinkable
from .structure.split_host import host_only

Checker = Callable[[Graph], list[str]]


def typed(graph: Graph) -> list[str]:
    """Names are unique, inputs come first, every shape is what the op infers, every node has an origin."""
    known = {i.name: i.type for i in graph.inputs}
    problems = []
    for node in graph.nodes:
        if node.name in known:
            problems.append(f"{node.name} is defined twice")
        missing = [s for s in node.inputs if s not in known]
        if missing:
            problems.append(f"{node.name} reads {missing[0]}, which is not defined before it")
        elif node.op.infer(*(known[s].shape for s in node.inputs)) != node.type.shape:
            problems.append(f"{node.name} has shape {node.type.shape}, its op infers another")
        if not node.origin.nodes:
            problems.append(f"{node.name} has no origin")
        known[node.name] = node.type
    return problems + [f"output {o.name} reads {o.value}" for o in graph.outputs if o.value not in known]


def host_split(graph: Graph) -> list[str]:
    """Nothing that only the host computes is left in the graph."""
    return [n.name for n in graph.nodes if host_only(n.op)]


def sites_placed(graph: Graph) -> list[str]:
    """Nodes are Layers, max pools and moves; nothing reads a readout but a move towards an output."""
    types = graph.types()
    unplaced = Linear | Add | Mul | MatMul | Softmax | Pointwise | Activation | Quantize
    wrong = [n.name for n in graph.nodes if isinstance(n.op, unplaced)]
    for node in graph.nodes:
        reads_acc = any(types[s].kind == "acc" for s in node.inputs)
        if reads_acc or not isinstance(node.op, Layer | Normalize | MaxPool | Moved):
            wrong.append(node.name)
    return wrong


def ladders_chosen(graph: Graph) -> list[str]:
    """The input and every firing Layer have levels with positive finite steps."""
    levels = [(i.name, i.levels) for i in graph.inputs]
    levels += [(n.name, n.op.levels) for n in graph.nodes if fires(n.op)]
    return [name for name, lv in levels if lv is None or not (np.isfinite(lv.step) & (lv.step > 0)).all()]


def _integers(graph: Graph) -> list[tuple[str, Layer, IntegerForm | None]]:
    return [(n.name, n.op, n.op.integer) for n in graph.nodes if isinstance(n.op, Layer)]


def weights_integer(graph: Graph) -> list[str]:
    """Every Layer has integer weights."""
    rows = [n.name for n in graph.nodes if isinstance(n.op, Normalize) and n.op.integer is None]
    return rows + [
        name for name, _, form in _integers(graph)
        if form is None or any(not np.issubdtype(m.weight.dtype, np.integer) for m in (*form.maps, *form.products))
    ]  # fmt: skip


def bias_corrected(graph: Graph) -> list[str]:
    """Every Layer's bias is what it was before correct-bias and what that pass says it added; nothing came after it."""
    found = graph.fact(BiasShifts)
    if found is None:
        return ["no correction is on record"]
    now = {name: op.bias for name, op, _ in _integers(graph)}
    unknown = [name for name in now if name not in found.added or name not in found.before]
    known = [name for name in now if name not in unknown]
    return unknown + [n for n in known if not np.array_equal(now[n], found.before[n] + found.added[n])]


def thresholds_integer(graph: Graph) -> list[str]:
    """Every Layer has a ladder, made of integers: no float is on any edge."""
    return [name for name, _, form in _integers(graph) if form is None or not _of_integers(form.ladder)]


def _of_integers(ladder: Ladder | None) -> bool:
    """Return whether there is a ladder, and all its arrays hold integers."""
    arrays = [] if ladder is None else [a for a in vars(ladder).values() if isinstance(a, np.ndarray)]
    return bool(arrays) and all(np.issubdtype(a.dtype, np.integer) for a in arrays)


def ranges_proved(graph: Graph) -> list[str]:
    """The stated accumulator range holds for all inputs, by interval arithmetic on the integer weights."""
    infos, problems = value_infos(graph), []
    for node in graph.nodes:
        if isinstance(node.op, Layer) and node.op.integer is not None:
            form = node.op.integer
            low, high = driven_range(*form.terms(node.inputs), infos)
            if int(low.min()) < form.acc_min or int(high.max()) > form.acc_max:
                problems.append(node.name)
    return problems


INVARIANTS: dict[str, Checker] = {
    "typed": typed,
    "scalars-fused": unfused,
    "host-split": host_split,
    "quantizers-fused": lambda g: [n.name for n in fusible(g)],
    "affine-folded": foldable,
    "activations-early": lambda g: [n.name for n, _ in hoistable(g)],
    "moves-sunk": lambda g: [n.name for n, _ in sinkable(g)],
    "linear-composed": lambda g: [c[-1].name for c in chains(g)],
    "pools-composed": lambda g: [outer.name for _, outer, _ in pairs(g)],
    "sites-placed": sites_placed,
    "ladders-chosen": ladders_chosen,
    "weights-integer": weights_integer,
    "thresholds-integer": thresholds_integer,
    "bias-corrected": bias_corrected,
    "ranges-proved": ranges_proved,
}
