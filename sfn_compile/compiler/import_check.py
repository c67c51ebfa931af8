"""The imported graph against onnxruntime, value by value: an import that changes a number never gets further."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import CompileError, fail
from ..foundation.samples import Samples, by_name, n_samples, part
from ..frontend import LoadedModel
from ..frontend.reference import FloatReference, original_names
from ..graph.graph import Graph, Node, Op
from ..graph.ops import Layer, Quantize, Site
from ..graph.rounding_error import HALF, SINGLE, step
from ..host.codec import prepare_all

Array = NDArray[Any]

# Of the float64 that these values are computed in, and of what structural passes write otherwise (fold-affine): as
# passes.pipeline allows the exact passes, far below a float32.
OURS = 2.0**-40
HALF_SHARE = 2.0**-10  # of the largest value of a tensor in float16: two units in its last place


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
    explained = _Explained(imported, expected, prepare_all(imported, x))
    values, ties = prepare_all(graph, x), 0
    for node in graph.nodes:
        got = node.op.evaluate(*(values[s] for s in node.inputs))
        if node.name in taps:
            want = expected[taps[node.name]]
            problem = _problem(want, got, lambda node=node: explained.by_operators(graph, node, taps))  # type: ignore[misc]
            if problem:
                what = f"value {node.tap!r} {problem[1]}"
                raise fail(problem[0], what, node.origin.nodes[0], problem[2])
            want = want.astype(np.float64).reshape(got.shape)
            ties += _fallen(node.op, want, got)
            got = want
        values[node.name] = got
    return ties


class _Explained:
    """How far the values of a file may be off by the roundings of its own operators, from onnxruntime's own values."""

    def __init__(self, imported: Graph, expected: Mapping[str, Array], inputs: Mapping[str, Array]):
        self.nodes = {n.tap: n for n in imported.nodes if n.tap is not None}
        self.by_name = imported.by_name()
        self.expected, self.inputs = expected, inputs
        self.by = HALF if any(v.dtype == np.float16 for v in expected.values()) else SINGLE

    def by_operators(self, graph: Graph, node: Node, taps: Mapping[str, str]) -> Array | None:
        """Return the bound of a node's tap from the taps that it is computed from in ``graph``; None if it has none."""
        end = self.nodes.get(node.tap or "")
        if end is None:
            return None
        known = {s for name in _sources(graph.by_name(), node, taps) if (s := self.nodes.get(taps[name])) is not None}
        values = {**self.inputs, **{s.name: self._read(s) for s in known if s is not end}}
        # In float16 a kernel may read its input in float32, before the rounding that is seen here.
        seen = HALF.unit if self.by is HALF else 0.0
        errors = {name: seen * np.abs(v) for name, v in values.items()}
        for between in self._ancestors(end, values):
            value, error = step(between, values, errors, self.by)
            if self.by is HALF:  # its kernels differ in where they round: judged against the largest value, too
                error = np.maximum(error, HALF_SHARE * np.abs(value).max(initial=0.0))
            values[between.name], errors[between.name] = value, error
        return errors[end.name]

    def _read(self, node: Node) -> Array:
        """Return onnxruntime's own value of a node of the imported graph."""
        want = self.expected[str(node.tap)].astype(np.float64)
        return want.reshape(-1, *node.type.shape)

    def _ancestors(self, end: Node, known: Collection[str]) -> list[Node]:
        """Return the nodes that a node is computed by from known values, it included, in order."""
        needed, found = {end.name}, []
        for node in reversed(list(self.by_name.values())):
            if node.name in needed and node.name not in known:
                needed.update(node.inputs)
                found.append(node)
        return found[::-1]


def _sources(nodes: Mapping[str, Node], node: Node, taps: Collection[str]) -> set[str]:
    """Return the nodes with a tap that a node is computed from, others in between.

    A population whose rounding another one carries is none: together they are the exact sum, as it was before its tap.
    """
    found, whole, waiting = set(), set(), list(node.inputs)
    while waiting:
        name = waiting.pop()
        if name in taps:
            found.add(name)
        elif name in nodes:
            waiting += nodes[name].inputs
            op = nodes[name].op
            whole.add(op.rounding_of if isinstance(op, Layer) else "")
    return found - whole


def _fallen(op: Op, want: Array, got: Array) -> int:
    """Return in how many places two values of a quantiser have different codes."""
    levels = op.levels if isinstance(op, Site | Quantize) else None
    return 0 if levels is None else int((np.rint(np.abs(want - got) / levels.step) > 0).sum())


def _problem(want: Array, got: Array, explained: Callable[[], Array | None]) -> tuple[str, str, str] | None:
    """Return code, text and fix of how two batches differ, None where they agree but for what is ``explained``."""
    report = "please report this with the model"
    if want.size != got.size:
        what = f"has shape {want.shape} in onnxruntime and {got.shape} here for {len(got)} samples"
        return "SFN107", what, report
    unit = 2.0**-24 if want.dtype != np.float16 else 2.0**-11
    want = want.astype(np.float64).reshape(got.shape)
    if not np.isfinite(want).all():
        fix = "look at the samples and weights; float16 ends at 65504: export in float32"
        return "SFN106", f"holds {int((~np.isfinite(want)).sum())} numbers that are infinite or NaN", fix
    scale, off = float(np.abs(want).max(initial=0)), np.abs(want - got)
    if (off <= unit * np.abs(want)).all():  # the rounding of the result itself
        return None
    bound = explained()
    limit = OURS * scale + (np.zeros_like(off) if bound is None else bound.reshape(off.shape))
    if (off <= limit).all():
        return None
    worst = np.unravel_index(int((off - limit).argmax()), off.shape)
    what = f"differs from onnxruntime by {off[worst]:.3g} where rounding explains {limit[worst]:.3g}"
    return "SFN107", f"{what} (largest value {scale:.3g})", report
