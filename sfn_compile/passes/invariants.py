"""The named facts that passes make true, each with its checker: re-checked after every later pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..graph.graph import Graph, Node
from ..graph.ops import (
    Activation,
    Add,
    FoldedReadout,
    FoldedSite,
    IntegerNormal,
    IntegerReadout,
    IntegerSite,
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
from ..graph.ops.stages import levels_of
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
    return problems + [f"output {o.name} reads {v}" for o in graph.outputs for v in o.values if v not in known]


def host_split(graph: Graph) -> list[str]:
    """Nothing that only the host computes is left in the graph."""
    return [n.name for n in graph.nodes if host_only(n.op)]


def sites_placed(graph: Graph) -> list[str]:
    """Nodes are Layers, max pools and moves; nothing reads a readout but a move towards an output.

    A Layer that fires a rounding error subtracts the codes of the population that its relation names.
    """
    types = graph.types()
    unplaced = Linear | Add | Mul | MatMul | Softmax | Pointwise | Activation | Quantize
    wrong = [n.name for n in graph.nodes if isinstance(n.op, unplaced)]
    for node in graph.nodes:
        reads_acc = any(types[s].kind == "acc" for s in node.inputs)
        if reads_acc or not isinstance(node.op, Layer | Normalize | MaxPool | Moved):
            wrong.append(node.name)
    return wrong + [n.name for n in graph.nodes if isinstance(n.op, Layer) and not _subtracts_what_it_names(n, n.op)]


def _subtracts_what_it_names(node: Node, layer: Layer) -> bool:
    """Return whether a Layer subtracts the codes of the population whose rounding error it fires, and no others."""
    taken = [p.source for p in layer.drivers(node.inputs)[0] if p.role == "subtract"]
    return taken == ([layer.rounding_of] if layer.rounding_of else [])


def ladders_chosen(graph: Graph) -> list[str]:
    """The input and every firing Layer have levels with positive finite steps."""
    levels = [(i.name, i.levels) for i in graph.inputs]
    levels += [(n.name, levels_of(n.op)) for n in graph.nodes if fires(n.op)]
    return [name for name, lv in levels if lv is None or not (np.isfinite(lv.step) & (lv.step > 0)).all()]


def weights_integer(graph: Graph) -> list[str]:
    """Every Layer has integer weights."""
    return [n.name for n in graph.nodes if isinstance(n.op, Layer | Normalize) and not _is_integer(n.op)]


def _is_integer(op: Layer | Normalize) -> bool:
    if isinstance(op, IntegerSite | IntegerReadout):
        maps = (*op.integer.maps, *op.integer.products)
        return all(np.issubdtype(m.weight.dtype, np.integer) for m in maps)
    return isinstance(op, IntegerNormal)


def bias_corrected(graph: Graph) -> list[str]:
    """Every Layer's bias is what it was before correct-bias and what that pass says it added; nothing came after it."""
    found = graph.fact(BiasShifts)
    if found is None:
        return ["no correction is on record"]
    now = {n.name: n.op.bias for n in graph.nodes if isinstance(n.op, Layer)}
    unknown = [name for name in now if name not in found.added or name not in found.before]
    known = [name for name in now if name not in unknown]
    return unknown + [n for n in known if not np.array_equal(now[n], found.before[n] + found.added[n])]


def thresholds_integer(graph: Graph) -> list[str]:
    """Every Layer has a ladder, made of integers: no float is on any edge."""
    layers = [n for n in graph.nodes if isinstance(n.op, Layer)]
    return [n.name for n in layers if not isinstance(n.op, FoldedSite | FoldedReadout) or not _of_integers(n.op.ladder)]


def _of_integers(ladder: Ladder) -> bool:
    """Return whether all arrays of a ladder hold integers."""
    arrays = [a for a in vars(ladder).values() if isinstance(a, np.ndarray)]
    return bool(arrays) and all(np.issubdtype(a.dtype, np.integer) for a in arrays)


def ranges_proved(graph: Graph) -> list[str]:
    """The stated accumulator range holds for all inputs, by interval arithmetic on the integer weights."""
    infos, problems = value_infos(graph), []
    for node in graph.nodes:
        if isinstance(node.op, IntegerSite | IntegerReadout):
            form = node.op.integer
            low, high = driven_range(*form.drivers(node.inputs), infos)
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
