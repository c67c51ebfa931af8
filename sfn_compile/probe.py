"""The imported graph against onnxruntime, value by value: an import that changes a number never gets further."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .diagnostics import CompileError, Diagnostic
from .frontend import LoadedModel
from .frontend.reference import FloatReference, original_names
from .host import prepare
from .ir import Graph
from .ops import Layer, Quantize

Array = NDArray[Any]

# onnxruntime computes in float32 (relative precision 2**-24 per operation), the graph in float64. 2**-10 of the
# largest value leaves room for sums of 2**14 terms in any order and for fused kernels, and is far below what a wrong
# attribute, axis or padding does.
TOLERANCE = 2.0**-10
# Where a quantiser rounds, float32 errors of some 2**-24 decide ties, and the mean of two codes on their own grid is
# one in half of all places. A wrong attribute or scale moves codes by more than one.
TIES = 0.5


def check_import(graph: Graph, loaded: LoadedModel, x: Array) -> None:
    """Raise SFN107 where a value of the imported graph is not what onnxruntime computes for inputs ``x``."""
    known = original_names(loaded.path)
    taps = {n.name: n.tap for n in graph.nodes if n.tap is not None and n.tap in known}
    reference = FloatReference(loaded.path, loaded.input_name, loaded.batch, sorted(set(taps.values())))
    expected = reference.run(x)
    got = _values(graph, {graph.inputs[0].name: prepare(graph.inputs[0], x)}, expected, taps)
    steps = {n.name: n.op.levels.step for n in graph.nodes if isinstance(n.op, Quantize)}
    steps |= {n.name: n.op.levels.step for n in graph.nodes if isinstance(n.op, Layer) and n.op.levels is not None}
    problems = []
    for name, tap in taps.items():
        want = expected[tap].astype(np.float64)
        what = _difference(want, got[name], steps.get(name))
        if what:
            origin = next(n.origin.nodes[0] for n in graph.nodes if n.name == name)
            what = f"value {tap!r} {what}"
            problems.append(Diagnostic("SFN107", what, origin, "please report this with the model"))
    if problems:
        raise CompileError(problems[:1])


def _values(
    graph: Graph, inputs: Mapping[str, Array], expected: Mapping[str, Array], taps: Mapping[str, str]
) -> dict[str, Array]:
    """Return every value of the graph, each node of a quantised network computed from onnxruntime's own sources.

    A code that onnxruntime rounds the other way, at a tie or a rounding error from one, says nothing of the nodes
    behind it.
    """
    if not any(isinstance(n.op, Quantize) or (isinstance(n.op, Layer) and n.op.levels) for n in graph.nodes):
        return graph.evaluate(inputs)
    got: dict[str, Array] = {}
    seen = {source.name: source.stated(inputs[source.name]) for source in graph.inputs}
    for node in graph.nodes:
        got[node.name] = node.op.evaluate(*(seen[s] for s in node.inputs))
        tap = taps.get(node.name)
        same = tap is not None and expected[tap].size == got[node.name].size
        seen[node.name] = expected[tap].astype(np.float64).reshape(got[node.name].shape) if same else got[node.name]  # type: ignore[index]
    return got


def _difference(want: Array, got: Array, step: Array | None = None) -> str:
    """Return how two batches differ, empty where they agree within :data:`TOLERANCE`.

    ``step``: of a quantised value, whose codes may differ by one in :data:`TIES` of all places.
    """
    if want.size != got.size:
        return f"has shape {want.shape} in onnxruntime and {got.shape} here for {len(got)} samples"
    worst, scale = float(np.abs(want.reshape(got.shape) - got).max(initial=0)), float(np.abs(want).max(initial=0))
    if worst <= TOLERANCE * scale + 1e-30:
        return ""
    if step is not None:
        codes = np.rint(np.abs(want.reshape(got.shape) - got) / step)
        if codes.max() <= 1 and (codes > 0).mean() <= TIES:
            return ""
    return f"differs from onnxruntime by {worst:.3g} (largest value {scale:.3g})"
