"""The order of the passes, as data, with the reason beside each line; and the runner that checks every promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.options import Options
from ..graph.graph import Graph, GraphOutput, Op
from ..graph.ops import Layer
from ..graph.rounding_error import DOUBLE, bounds
from ..host.codec import applied
from .base import Pass
from .invariants import INVARIANTS
from .structure.compose_linear import ComposeLinear
from .structure.compose_moves import ComposeMoves
from .structure.compose_pools import ComposePools
from .structure.fold_affine import FoldAffine
from .structure.fuse_quantizers import FuseQuantizers
from .structure.fuse_scalars import FuseScalars
from .structure.hoist_activations import HoistActivations
from .structure.place_sites import PlaceSites
from .structure.sink_moves import SinkMoves
from .structure.split_host import SplitHost

Array = NDArray[Any]

# The structural passes: real numbers in, the same real numbers out. Calibration follows them.
STRUCTURE: tuple[Pass, ...] = (
    ComposeMoves(),  # first, so that later passes see the operators at both ends as neighbours
    FuseScalars(),  # before split-host, which must see a function that is written as several operators as one
    SplitHost(),  # before folding: what the host computes must not be folded into weights or fired
    FuseQuantizers(),  # before hoisting, so that quantiser and activation move together
    FoldAffine(),  # before activations move: Conv-MaxPool-BatchNorm-Relu needs the affine step out of the way
    HoistActivations(),  # after folding, else an affine step hides the linear map an activation could read
    SinkMoves(),  # after activations moved: what a sum reads is a linear value or spikes then
    ComposeLinear(),  # before sites: a pool that composes into Gemm needs no population
    ComposePools(),  # after compose-linear, which prefers the Gemm: rounding errors are then averaged as well
    PlaceSites(),  # last of the structure: it freezes which values are spikes
)

# How many of them run before a probe input can be made: split-host changes what the network's input is.
UNPROBED = 3


def structure(options: Options) -> tuple[Pass, ...]:
    """Return the structural passes for what the user chose."""
    return (*STRUCTURE[:-1], PlaceSites(options.levels, options.carry, options.attention == "fired"))


# An exact pass may reorder float64 sums; values are compared relative to the largest. 2**-40 is 4096 units in the last
# place of float64, far more than reordering a sum of a million terms does and far less than any real change.
PROBE_TOLERANCE = 2.0**-40

Progress = Callable[[str, Graph], None]


class BrokenPass(AssertionError):
    """A pass broke what it promised: our own bug, reported as such (exit code 70)."""


def run_passes(
    graph: Graph, passes: Sequence[Pass], probe: Mapping[str, Array] | None = None, after: Progress | None = None
) -> Graph:
    """Return the graph after ``passes``, every invariant re-checked after each.

    ``probe`` holds inputs ``(n, *shape)`` by name on which exact passes must keep the outputs. ``after`` is called with
    the name and result of every pass. What a pass found out is in the graph's facts. Raises :class:`BrokenPass`.
    """
    known = None if probe is None else _Probe(probe)
    for p in passes:
        missing = p.needs - graph.invariants
        if missing:
            raise BrokenPass(f"{p.name} needs {', '.join(sorted(missing))}")
        changed = _recorded(p, graph)
        check(changed, p.name)
        if p.exact and known is not None:
            _compare(graph, changed, known, p.name)
        graph = changed
        if after is not None:
            after(p.name, graph)
    return graph


def _recorded(p: Pass, graph: Graph) -> Graph:
    """Return what a pass makes of a graph, with the invariants and facts that hold of it then."""
    result = p.run(graph)
    held = (graph.invariants - p.breaks) | p.makes | {"typed"}
    facts = {**graph.facts, **{type(fact): fact for fact in result.facts}}
    kept = {kind: fact for kind, fact in facts.items() if not fact.proves or fact.proves in held}
    return replace(result.graph, invariants=held, facts=kept)


def check(graph: Graph, by: str) -> None:
    """Raise :class:`BrokenPass` where an invariant that is claimed does not hold."""
    for name in sorted(graph.invariants):
        problems = INVARIANTS[name](graph)
        if problems:
            raise BrokenPass(f"after {by}: invariant {name!r} does not hold: {'; '.join(problems[:5])}")


def _moved(out: GraphOutput, values: Mapping[str, Array]) -> list[Array]:
    """Return what the decoder reads after the moves of one value that it starts with: a pass may hand it such a move.

    In the order in which its other operations read it; without such operations, the output.
    """
    first = tuple(takewhile(lambda op: op.kind == "move" and len(op.reads) < 2, out.host))
    known = applied(first, (values[name] for name in out.values))
    rest = enumerate(out.host[len(first) :], len(known))
    return [known[i] for at, op in rest for i in op.sources(at) if i < len(known)] or known[-1:]


def _compare(before: Graph, after: Graph, probe: _Probe, by: str) -> None:
    old, new = probe.evaluate(before), probe.evaluate(after)
    for a, b in zip(before.outputs, after.outputs, strict=True):
        for i, (x, y) in enumerate(zip(_moved(a, old), _moved(b, new), strict=True)):
            scale = max(float(np.abs(x).max(initial=0.0)), 1e-30)
            worst = float(np.abs(x - y).max(initial=0.0))
            wrong = worst > PROBE_TOLERANCE * scale * max(len(before.nodes), 64)
            if wrong and not _explained(before, a, np.abs(x - y), i, probe):
                raise BrokenPass(f"{by} is exact but changed output {a.name} by {worst} (largest value {scale})")


def _explained(graph: Graph, output: GraphOutput, error: Array, i: int, probe: _Probe) -> bool:
    """Whether the rounding of float64 explains the error of what the decoder reads i-th of an output.

    Large numbers may cancel on the way to it.
    """
    if any(isinstance(n.op, Layer) for n in graph.nodes):
        return False
    allowed = _moved(output, bounds(graph, probe.inputs, DOUBLE))[i]
    return bool((error <= 2 * allowed).all())  # of the graph before, and of that after


class _Probe:
    """Evaluates one graph after the other on the same inputs.

    A pass leaves most nodes alone, so what a node of this name made of the same operator and the same arrays is not
    computed again.
    """

    def __init__(self, inputs: Mapping[str, Array]):
        self.inputs = {name: np.asarray(x, np.float64) for name, x in inputs.items()}
        self.known: dict[str, tuple[Op, tuple[Array, ...], Array]] = {}  # by node: operator, what it read and made

    def evaluate(self, graph: Graph) -> dict[str, Array]:
        """Return every value ``(n, *shape)`` of a graph in float64, by name."""
        values, found = {i.name: self.inputs[i.name] for i in graph.inputs}, {}
        for node in graph.nodes:
            xs = tuple(values[s] for s in node.inputs)
            op, read, made = self.known.get(node.name, (None, (), None))
            same = op is node.op and len(read) == len(xs) and all(a is b for a, b in zip(read, xs, strict=True))
            values[node.name] = made if same and made is not None else node.op.evaluate(*xs)
            found[node.name] = (node.op, xs, values[node.name])
        self.known = found
        return values
