"""Where the network ends and the host's tail begins: decided before anything is mapped, checked before it is built."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import CompileError, Diagnostic, fail
from ..foundation.samples import Samples, n_samples
from ..frontend import LoadedModel
from ..frontend.importer import survey
from ..frontend.reference import FloatReference, original_names
from ..frontend.tail_cut import blockers, lasting, make_tail, tail_nodes, wide_nodes
from ..graph.graph import Graph
from ..graph.ops import Softmax
from ..host.codec import prepare_all
from ..host.tail_runner import TailRunner
from ..passes.structure.split_host import SplitHost

Array = NDArray[Any]
# The tail computes in another session, which may sum in another order.
TOLERANCE = 2.0**-10
Survey = tuple[LoadedModel, Graph | None, list[Diagnostic], list[tuple[str, str]]]


def read_network(loaded: LoadedModel) -> tuple[LoadedModel, Graph]:
    """Return the model with its tail, if it needs one, and the graph before it. Raises SFN201, SFN202, SFN203."""
    loaded, graph, problems, _ = survey_network(loaded)
    if graph is None or problems:
        raise CompileError(problems)
    return loaded, graph


def survey_network(loaded: LoadedModel) -> Survey:
    """Return (model with its tail, graph or None, problems, state per node) without refusing.

    The tail begins with nothing but what cannot be mapped; where cutting there leaves something else without a place,
    it grows. A Softmax behind which there is nothing but a tail is part of it: inside it would be rounded to codes.
    """
    asked = wide_nodes(loaded.model)
    while True:
        cut = _with_tail(loaded, asked)
        graph, problems, states = survey(cut)
        fresh: set[str] = set()
        if graph is not None:
            problems, rounded = _inside(graph)
            if loaded.batch in (None, 1):  # a tail answers for one sample
                blocked = blockers(loaded.model)
                fresh = {where for where in rounded if blocked.get(where) == ""} - asked
        fresh |= {p.where for p in problems if _for_host(p, loaded)} - asked
        if not fresh:
            blocked = blockers(loaded.model) if problems else {}
            return cut, graph, [lasting(p, blocked) for p in problems], states
        asked = asked | fresh


def _for_host(problem: Diagnostic, loaded: LoadedModel) -> bool:
    """Whether a node may go to the host: one that mixes samples only where the model was made for a single one."""
    return problem.code != "SFN203" or loaded.batch == 1


def _with_tail(loaded: LoadedModel, asked: Collection[str]) -> LoadedModel:
    nodes = tail_nodes(loaded.model, asked)
    if not nodes:
        return loaded
    tail = make_tail(loaded.model, nodes, loaded.inputs, loaded.batch)
    return replace(loaded, tail=tail) if tail.cuts else loaded  # without a cut there is no network before it


def _inside(graph: Graph) -> tuple[list[Diagnostic], set[str]]:
    """Return what stands inside the network and only the host can compute, and the ONNX nodes of Softmaxes there."""
    try:
        split = SplitHost().run(graph).graph
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


def _equal(want: Array, got: Array) -> bool:
    """Whether two answers are the same: whole numbers exactly, others as closely as onnxruntime computes them."""
    if want.shape != got.shape or want.dtype != got.dtype:
        return False
    if want.dtype.kind != "f":
        return np.array_equal(want, got)
    scale = float(np.abs(want[np.isfinite(want)]).max(initial=0))
    return np.allclose(want, got, rtol=0, atol=TOLERANCE * scale, equal_nan=True)
