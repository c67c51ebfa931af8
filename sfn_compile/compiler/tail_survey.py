"""Where the network starts and ends, and what the host computes around it: decided before anything is mapped.

What is cut off is checked before it is built: head and tail against onnxruntime's run of the whole model.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import CompileError, Diagnostic, fail
from ..foundation.samples import Samples, n_samples, part
from ..frontend import LoadedModel
from ..frontend.head_cut import head_blockers, head_nodes, make_head, require_head
from ..frontend.importer import survey
from ..frontend.named_cut import nodes_before, nodes_behind
from ..frontend.reference import FloatReference, original_names
from ..frontend.tail_cut import blockers, lasting, make_tail, tail_nodes, wide_nodes
from ..graph.graph import Graph
from ..graph.ops import Softmax
from ..host.codec import prepare_all
from ..host.tail_runner import TailRunner
from ..passes.pipeline import STRUCTURE, UNPROBED, run_passes

Array = NDArray[Any]
# The tail computes in another session, which may sum in another order.
TOLERANCE = 2.0**-10
Survey = tuple[LoadedModel, Graph | None, list[Diagnostic], list[tuple[str, str]]]


def read_network(loaded: LoadedModel, start: Sequence[str] = (), end: Sequence[str] = ()) -> tuple[LoadedModel, Graph]:
    """Return the model with its head and tail, if it needs them, and the graph between. Raises SFN201 to SFN203.

    ``start``, ``end``: the tensors that the user names (``--from``, ``--to``). Raises SFN605 for what are none.
    """
    loaded, graph, problems, _ = survey_network(loaded, start, end)
    if graph is None or problems:
        raise CompileError(problems)
    return loaded, graph


def survey_network(loaded: LoadedModel, start: Sequence[str] = (), end: Sequence[str] = ()) -> Survey:
    """Return (model with its head and tail, graph or None, problems, state per node) without refusing.

    Head and tail begin with nothing but what cannot be mapped; where cutting there leaves something else without a
    place, they grow. A Softmax behind which there is nothing but a tail is part of it: inside it would be rounded to
    codes. Where the user names the start or the end, it is there and nowhere else. Raises SFN605.
    """
    last, first = wide_nodes(loaded.model), set[str]()
    behind, ahead = blockers(loaded.model), head_blockers(loaded.model)
    while True:
        cut = _cut(loaded, first, last, start, end)
        graph, problems, states = survey(cut)
        fresh: set[str] = set()
        if graph is not None:
            problems, rounded = _inside(graph)
            if loaded.batch in (None, 1):  # a tail answers for one sample
                fresh = {where for where in rounded if behind.get(where) == ""} - last
        refused = {p.where for p in problems if _for_host(p, loaded)}
        fronts = {where for where in refused if behind.get(where) != "" and ahead.get(where) == ""} - first
        fresh |= refused - last
        if not fresh and not fronts:
            return cut, graph, [lasting(p, behind) for p in problems], states
        last, first = last | fresh, first | fronts


def _for_host(problem: Diagnostic, loaded: LoadedModel) -> bool:
    """Whether a node may go to the host: one that mixes samples only where the model was made for a single one."""
    return problem.code != "SFN203" or loaded.batch == 1


def _cut(
    loaded: LoadedModel, first: Collection[str], last: Collection[str], start: Sequence[str], end: Sequence[str]
) -> LoadedModel:
    """Return the model with a head for the nodes named in ``first`` and a tail for those in ``last``; where the user
    names ``start`` or ``end``, with those instead."""
    model, batch = loaded.model, loaded.batch
    front = nodes_before(model, start) if start else head_nodes(model, first, batch)
    known = {*loaded.input_names, *(str(v.name) for n in front for v in n.outputs)}
    back = nodes_behind(model, end, known) if end else tail_nodes(model, last)
    front = [n for n in front if n not in back]
    head = make_head(model, front, loaded.inputs, batch) if front else None
    if start and front:
        require_head(head, start)
    cut = replace(loaded, head=head)
    if not back:
        return cut
    tail = make_tail(model, back, cut.sources, batch)
    return replace(cut, tail=tail) if tail.cuts else cut  # without a cut there is no network before it


def _inside(graph: Graph) -> tuple[list[Diagnostic], set[str]]:
    """Return what is inside the network and has no place there, and the ONNX nodes of Softmaxes there."""
    try:
        split = run_passes(graph, STRUCTURE[:UNPROBED])
    except CompileError as error:
        return list(error.diagnostics), set()
    return [], {n.origin.nodes[0] for n in split.nodes if isinstance(n.op, Softmax)}


def check_tail(graph: Graph, loaded: LoadedModel, x: Samples) -> None:
    """Raise SFN107 where the tail, fed with onnxruntime's own values at the cut, does not make the model's outputs."""
    tail = loaded.tail
    if tail is None:
        return
    known = original_names(loaded.path)
    taps = [c for c in tail.cuts if c in known]
    reference = FloatReference(loaded.path, loaded.input_names, 1, taps)
    wanted = reference.run(x, [name for name, stacks in tail.outputs.items() if not stacks])
    values = graph.evaluate(prepare_all(graph, x))
    folded = {o.name: values[o.value].astype(o.dtype) for o in graph.outputs if o.name not in known}
    fed = {**x, **{name: wanted[name] for name in taps}, **folded}
    found = TailRunner(tail.model, tail.outputs).run(fed, n_samples(x))
    for name in tail.outputs:
        if not all(map(_equal, wanted[name], found[name])):
            what = f"output {name!r} of the host tail is not what the whole model answers"
            raise fail("SFN107", what, ", ".join(tail.cuts), "please report this with the model")


def check_head(loaded: LoadedModel, x: Samples) -> None:
    """Raise SFN107 where the head does not make onnxruntime's own values at the cut from the inputs in ``x``, which
    hold what it made; SFN203 where the whole model's value for a sample depends on the others in its batch."""
    head, known = loaded.head, original_names(loaded.path)
    names = [c.name for c in head.cuts if c.name in known] if head is not None else []
    if not names:
        return
    wanted = FloatReference(loaded.path, loaded.input_names, loaded.batch, names, only_taps=True).run(x)
    for name in names:
        if _equal(wanted[name], x[name]):
            continue
        where = f"value {name!r} of the host head"
        alone = (part(x, slice(i, i + 1)) for i in range(n_samples(x)))
        if loaded.batch is None and n_samples(x) > 1 and all(_alone(loaded, one, name) for one in alone):
            fix = "keep axis 0 for the samples, each computed alone, or export with a fixed batch of 1"
            raise fail("SFN203", "its result for a sample depends on the other samples of the batch", where, fix)
        raise fail("SFN107", "it is not what the whole model computes", where, "please report this with the model")


def _alone(loaded: LoadedModel, x: Samples, name: str) -> bool:
    """Return whether the whole model computes of one sample alone what the head does."""
    wanted = FloatReference(loaded.path, loaded.input_names, None, [name], only_taps=True).run(x)
    return _equal(wanted[name], x[name])


def _equal(want: Array, got: Array) -> bool:
    """Whether two answers are the same: whole numbers exactly, others as closely as onnxruntime computes them."""
    if want.shape != got.shape or want.dtype != got.dtype:
        return False
    if want.dtype.kind != "f":
        return np.array_equal(want, got)
    scale = float(np.abs(want[np.isfinite(want)]).max(initial=0))
    return np.allclose(want, got, rtol=0, atol=TOLERANCE * scale, equal_nan=True)
