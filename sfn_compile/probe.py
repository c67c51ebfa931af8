"""The imported graph against onnxruntime, value by value: an import that changes a number never gets further."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .calibration.collect import check_finite
from .diagnostics import CompileError, Diagnostic, fail
from .frontend import LoadedModel
from .frontend.reference import FloatReference, original_names
from .host import prepare
from .ir import Graph

Array = NDArray[Any]

# onnxruntime computes in float32 (relative precision 2**-24 per operation), the graph in float64. 2**-10 of the
# largest value leaves room for sums of 2**14 terms in any order and for fused kernels, and is far below what a wrong
# attribute, axis or padding does.
TOLERANCE = 2.0**-10


def check_import(graph: Graph, loaded: LoadedModel, x: Array) -> None:
    """Raise SFN107 where a value of the imported graph is not onnxruntime's for inputs ``x``.

    SFN203 where it is for one sample alone but not for two: the arithmetic on shapes has the size of the batch in it.
    """
    if loaded.batch is not None:
        return _check_values(graph, loaded, x)
    x = np.concatenate([x, x[:1]]) if len(x) == 1 else x
    try:
        return _check_values(graph, loaded, x)
    except CompileError as error:
        problem = error.diagnostics[0]
        if problem.code == "SFN107":
            _check_values(graph, loaded, x[:1])
            what = "its result for a sample depends on how many samples are in the batch"
            fix = "keep the length of axis 0 out of the arithmetic, or export with a fixed batch of 1"
            raise fail("SFN203", what, problem.where, fix) from error
        raise


def _check_values(graph: Graph, loaded: LoadedModel, x: Array) -> None:
    """Raise SFN107 where a value of the imported graph is not what onnxruntime computes for inputs ``x``."""
    known = original_names(loaded.path)
    taps = {n.name: n.tap for n in graph.nodes if n.tap is not None and n.tap in known}
    reference = FloatReference(loaded.path, loaded.input_name, loaded.batch, sorted(set(taps.values())))
    expected, got = reference.run(x), graph.evaluate({graph.inputs[0].name: prepare(graph.inputs[0], x)})
    problems = []
    for name, tap in taps.items():
        want = expected[tap].astype(np.float64)
        check_finite(want, tap)
        what = _difference(want, got[name])
        if what:
            origin = next(n.origin.nodes[0] for n in graph.nodes if n.name == name)
            what = f"value {tap!r} {what}"
            problems.append(Diagnostic("SFN107", what, origin, "please report this with the model"))
    if problems:
        raise CompileError(problems[:1])


def _difference(want: Array, got: Array) -> str:
    """Return how two batches differ, empty where they agree within :data:`TOLERANCE`."""
    if want.size != got.size:
        return f"has shape {want.shape} in onnxruntime and {got.shape} here for {len(got)} samples"
    worst, scale = float(np.abs(want.reshape(got.shape) - got).max(initial=0)), float(np.abs(want).max(initial=0))
    if worst <= TOLERANCE * scale + 1e-30:
        return ""
    return f"differs from onnxruntime by {worst:.3g} (largest value {scale:.3g})"
