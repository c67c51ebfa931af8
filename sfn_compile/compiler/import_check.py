"""The imported graph against onnxruntime, value by value: an import that changes a number never gets further."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import CompileError, fail
from ..foundation.samples import Samples, by_name, n_samples, part
from ..frontend import LoadedModel
from ..frontend.reference import FloatReference, original_names
from ..graph.graph import Graph
from ..graph.ops import Quantize, Site
from ..host.codec import prepare_all

Array = NDArray[Any]

# Every value is computed in float64 from what onnxruntime itself found for the values before it. onnxruntime rounds to
# float32 (relative precision 2**-24 per operation): 2**-10 of the largest value leaves room for sums of 2**14 terms in
# any order and for fused kernels, and is far below what a wrong attribute, axis or padding does. A float16 model is
# rounded to 2**-11 at every operation, of which several may stand between two values that are compared (a layer holds a
# convolution, its bias, batch norm and activation): 2**-7 leaves room for sixteen.
TOLERANCE = 2.0**-10
HALF_TOLERANCE = 2.0**-7
# Where a quantiser rounds, float32 errors of some 2**-24 decide ties, and the mean of two codes on their own grid is
# one in half of all places. A wrong attribute or scale moves codes by more than one.
TIES = 0.5


def check_import(graph: Graph, loaded: LoadedModel, x: Samples | Array) -> None:
    """Raise SFN107 where a value of the imported graph is not onnxruntime's for inputs ``x``, SFN106 where that is
    no number.

    SFN203 where it is for one sample alone but not for two: the arithmetic on shapes has the size of the batch in it.
    """
    x = by_name(x, loaded.input_names)
    if loaded.batch is not None:
        return _check_values(graph, loaded, x)
    x = {name: np.concatenate([v, v[:1]]) for name, v in x.items()} if n_samples(x) == 1 else x
    try:
        return _check_values(graph, loaded, x)
    except CompileError as error:
        problem = error.diagnostics[0]
        if problem.code == "SFN107":
            _check_values(graph, loaded, part(x, slice(1)))
            what = "its result for a sample depends on how many samples are in the batch"
            fix = "keep the length of axis 0 out of the arithmetic, or export with a fixed batch of 1"
            raise fail("SFN203", what, problem.where, fix) from error
        raise


def _check_values(graph: Graph, loaded: LoadedModel, x: Samples) -> None:
    known = original_names(loaded.path)
    taps = {n.name: n.tap for n in graph.nodes if n.tap is not None and n.tap in known}
    # The outputs of a tail may have no batch axis; check_tail looks at them.
    reference = FloatReference(loaded.path, loaded.input_names, loaded.batch, sorted(set(taps.values())),
                               only_taps=loaded.tail is not None, before=graph.before)  # fmt: skip
    expected, values = reference.run(x), prepare_all(graph, x)
    tolerance = HALF_TOLERANCE if any(v.dtype == np.float16 for v in expected.values()) else TOLERANCE
    for node in graph.nodes:
        got = node.op.evaluate(*(values[s] for s in node.inputs))
        if node.name in taps:
            want = expected[taps[node.name]]
            levels = node.op.levels if isinstance(node.op, Site | Quantize) else None
            problem = _problem(want, got, tolerance, None if levels is None else levels.step)
            if problem:
                what = f"value {node.tap!r} {problem[1]}"
                raise fail(problem[0], what, node.origin.nodes[0], problem[2])
            got = want.astype(np.float64).reshape(got.shape)
        values[node.name] = got


def _problem(want: Array, got: Array, tolerance: float, step: Array | None) -> tuple[str, str, str] | None:
    """Return code, text and fix of how two batches differ, None where they agree within ``tolerance``.

    ``step``: of a quantised value, whose codes may differ by one in :data:`TIES` of all places.
    """
    report = "please report this with the model"
    if want.size != got.size:
        what = f"has shape {want.shape} in onnxruntime and {got.shape} here for {len(got)} samples"
        return "SFN107", what, report
    want = want.astype(np.float64).reshape(got.shape)
    if not np.isfinite(want).all():
        fix = "look at the samples and weights; float16 ends at 65504: export in float32"
        return "SFN106", f"holds {int((~np.isfinite(want)).sum())} numbers that are infinite or NaN", fix
    worst, scale = float(np.abs(want - got).max(initial=0)), float(np.abs(want).max(initial=0))
    if worst <= tolerance * scale + 1e-30:
        return None
    if step is not None:
        gap = np.rint(np.abs(want - got) / step)
        if gap.max() <= 1 and (gap > 0).mean() <= TIES:
            return None
    return "SFN107", f"differs from onnxruntime by {worst:.3g} (largest value {scale:.3g})", report
