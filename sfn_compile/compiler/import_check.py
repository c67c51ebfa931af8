"""The imported graph against onnxruntime, value by value: an import that changes a number never gets further."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import CompileError, fail
from ..foundation.samples import Samples, by_name, n_samples, part
from ..frontend import LoadedModel
from ..frontend.reference import FloatReference, original_names
from ..graph.graph import Graph, Op
from ..graph.ops import Layer, Quantize
from ..graph.rounding_error import HALF, SINGLE, Precision, step
from ..host.codec import prepare_all

Array = NDArray[Any]

# Of the float64 that these values are computed in, and of what structural passes write otherwise (fold-affine): as
# passes.pipeline allows the exact passes, far below a float32.
OURS = 2.0**-40


def check_import(graph: Graph, loaded: LoadedModel, x: Samples | Array, imported: Graph | None = None) -> int:
    """Return in how many places a quantiser's tie fell to the other side. Raises SFN107 where a value of the imported
    graph is not onnxruntime's for inputs ``x``, SFN106 where that is no number.

    SFN203 where it is for one sample alone but not for two: the arithmetic on shapes has the size of the batch in it.
    ``imported``: the graph as it was imported, where passes have changed ``graph`` since. How far two values may differ
    is a matter of the operators in the file, which it still holds one by one.
    """
    imported = graph if imported is None else imported
    x = by_name(x, loaded.input_names)
    if loaded.batch is not None:
        return _check_values(graph, imported, loaded, x)
    x = {name: np.concatenate([v, v[:1]]) for name, v in x.items()} if n_samples(x) == 1 else x
    try:
        return _check_values(graph, imported, loaded, x)
    except CompileError as error:
        problem = error.diagnostics[0]
        if problem.code == "SFN107":
            _check_values(graph, imported, loaded, part(x, slice(1)))
            what = "its result for a sample depends on how many samples are in the batch"
            fix = "keep the length of axis 0 out of the arithmetic, or export with a fixed batch of 1"
            raise fail("SFN203", what, problem.where, fix) from error
        raise


def _check_values(graph: Graph, imported: Graph, loaded: LoadedModel, x: Samples) -> int:
    known = original_names(loaded.path)
    taps = {n.name: n.tap for n in graph.nodes if n.tap is not None and n.tap in known}
    # The outputs of a tail may have no batch axis; check_tail looks at them.
    reference = FloatReference(loaded.path, loaded.input_names, loaded.batch, sorted(set(taps.values())),
                               only_taps=loaded.tail is not None, before=graph.before)  # fmt: skip
    expected = reference.run(x)
    by = HALF if any(v.dtype == np.float16 for v in expected.values()) else SINGLE
    read = {tap: expected[tap] for tap in taps.values()}
    allowed, values, ties = _allowed(imported, read, prepare_all(imported, x), by), prepare_all(graph, x), 0
    for node in graph.nodes:
        got = node.op.evaluate(*(values[s] for s in node.inputs))
        if node.name in taps:
            want = expected[taps[node.name]]
            problem = _problem(want, got, allowed.get(taps[node.name]))
            if problem:
                what = f"value {node.tap!r} {problem[1]}"
                raise fail(problem[0], what, node.origin.nodes[0], problem[2])
            want = want.astype(np.float64).reshape(got.shape)
            ties += _fallen(node.op, want, got)
            got = want
        values[node.name] = got
    return ties


def _allowed(graph: Graph, read: Mapping[str, Array], values: dict[str, Array], by: Precision) -> dict[str, Array]:
    """Return the bound of every tap's float error, by tap: from onnxruntime's own values of the taps before it."""
    errors, found = {name: np.zeros_like(v) for name, v in values.items()}, {}
    for node in graph.nodes:
        value, error = step(node, values, errors, by)
        want = read.get(node.tap or "")
        if want is not None and want.size == value.size and np.isfinite(want).all():
            found[str(node.tap)] = error
            value, error = want.astype(np.float64).reshape(value.shape), np.zeros_like(error)
        values[node.name], errors[node.name] = value, error
    return found


def _fallen(op: Op, want: Array, got: Array) -> int:
    """Return in how many places two values of a quantiser have different codes."""
    levels = op.levels if isinstance(op, Layer | Quantize) else None
    return 0 if levels is None else int((np.rint(np.abs(want - got) / levels.step) > 0).sum())


def _problem(want: Array, got: Array, allowed: Array | None) -> tuple[str, str, str] | None:
    """Return code, text and fix of how two batches differ, None where they agree to what is ``allowed``."""
    report = "please report this with the model"
    if want.size != got.size:
        what = f"has shape {want.shape} in onnxruntime and {got.shape} here for {len(got)} samples"
        return "SFN107", what, report
    want = want.astype(np.float64).reshape(got.shape)
    if not np.isfinite(want).all():
        fix = "look at the samples and weights; float16 ends at 65504: export in float32"
        return "SFN106", f"holds {int((~np.isfinite(want)).sum())} numbers that are infinite or NaN", fix
    scale = float(np.abs(want).max(initial=0))
    limit = OURS * scale + (0.0 if allowed is None else allowed.reshape(got.shape))
    excess = np.abs(want - got) - limit
    if not (excess > 0).any():
        return None
    worst = np.unravel_index(int(excess.argmax()), excess.shape)
    off, most = float(np.abs(want - got)[worst]), float(np.broadcast_to(limit, excess.shape)[worst])
    what = f"differs from onnxruntime by {off:.3g} where rounding explains {most:.3g} (largest value {scale:.3g})"
    return "SFN107", what, report
