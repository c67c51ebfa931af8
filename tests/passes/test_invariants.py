"""Every invariant checks something: it holds of an honest graph, and of one broken on purpose it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from sfn_compile.calibration.collect import collect
from sfn_compile.foundation.options import Options
from sfn_compile.graph.graph import Graph, Node
from sfn_compile.graph.ops import IntegerForm, IntegerSite, Layer, Term
from sfn_compile.graph.ops.stages import without_integers
from sfn_compile.learning.reconstruct import Reconstruct
from sfn_compile.passes.base import PassResult
from sfn_compile.passes.facts import BiasShifts
from sfn_compile.passes.invariants import INVARIANTS
from sfn_compile.passes.mapping.choose_ladders import ChooseLadders
from sfn_compile.passes.mapping.correct_bias import CorrectBias
from sfn_compile.passes.mapping.equalize import Equalize
from sfn_compile.passes.mapping.fold_thresholds import FoldThresholds
from sfn_compile.passes.mapping.quantize_weights import QuantizeWeights
from sfn_compile.passes.mapping.split_digits import SplitDigits
from sfn_compile.passes.pipeline import STRUCTURE, BrokenPass, run_passes

from ..frontend.tiny_onnx import imported, noise, samples, tiny
from .pass_examples import EvaluatedRunner, network, stages, structured

MAPPING = (ChooseLadders, Equalize, QuantizeWeights, CorrectBias, SplitDigits, Reconstruct, FoldThresholds)

# structural invariant -> the network in which the pass that makes it has something to do
UNDONE = {
    "scalars-fused": "a silu written out, twice",
    "host-split": "scores, their softmax and the place of the largest",
    "quantizers-fused": "quantisers around a max pool",
    "affine-folded": "conv, batch norm, relu, conv",
    "activations-early": "concat of raw branches",
    "moves-sunk": "a residual in NHWC",
    "linear-composed": "global average pool, flatten, gemm",
    "pools-composed": "two average pools in a row",
    "sites-placed": "a residual block",
}


@pytest.mark.parametrize("name", UNDONE)
def test_what_a_structural_pass_has_not_done_yet_breaks_its_invariant(name, tmp_path):
    broken = imported(network(UNDONE[name]), tmp_path)
    for p, (by, done) in zip(STRUCTURE, stages(broken), strict=True):
        assert p.name == by
        if name in p.makes:
            assert INVARIANTS[name](broken)
            assert INVARIANTS[name](done) == []
            return
        broken = done
    raise AssertionError(f"nothing makes {name}")


# -- the mapping half ------------------------------------------------------------------------------------------------
def corrected(folder) -> Graph:
    """A small network after all mapping passes."""
    body = "a = Conv(x, w, b) r = Relu(a) y = Conv(r, u)"
    original = imported(tiny(body, (2, 6, 6), w=noise(3, 2, 3, 3), b=noise(3), u=noise(4, 3, 3, 3)), folder)
    graph, x = structured(original), {"x": samples(original, 16)}
    runner, options = EvaluatedRunner(graph), Options()
    passes = ChooseLadders(collect(graph, runner, x), options), QuantizeWeights(options), CorrectBias(runner, x)
    return run_passes(graph, (*passes, FoldThresholds()))


def with_layer(graph: Graph, change: Callable[[Layer], Layer]) -> Graph:
    """The graph with its first Layer changed."""
    first, *rest = graph.nodes
    assert isinstance(first.op, Layer)
    return replace(graph, nodes=(replace(first, op=change(first.op)), *rest))


def with_integers(graph: Graph, change: Callable[[IntegerForm], IntegerForm]) -> Graph:
    return with_layer(graph, lambda layer: replace(layer, integer=change(layer.integer)))


def stepped(graph: Graph, step: float) -> Graph:
    def same(layer: Layer) -> Layer:
        return replace(layer, levels=replace(layer.levels, step=np.full_like(layer.levels.step, step)))

    return with_layer(graph, same)


def own(layer: Layer, stage: type[Layer]) -> dict[str, Any]:
    """What a Layer has of an earlier stage."""
    return {f.name: getattr(layer, f.name) for f in fields(stage)}


def halved(term: Term) -> Term:
    return replace(term, map=replace(term.map, weight=term.map.weight / 2))


def defined_twice(graph: Graph) -> Graph:
    return replace(graph, nodes=(*graph.nodes, graph.nodes[0]))


def record_of_others(graph: Graph) -> Graph:
    """The record of biases is of other Layers."""
    found = graph.fact(BiasShifts)
    assert found is not None
    other = BiasShifts(dict.fromkeys("z", np.zeros(1)), found.added)
    return replace(graph, facts={BiasShifts: other})


TAMPERED: list[tuple[str, str, Callable[[Graph], Graph]]] = [
    ("typed", "a value defined twice", defined_twice),
    ("ladders-chosen", "no levels", lambda g: with_layer(g, lambda layer: Layer(**own(layer, Layer)))),
    ("ladders-chosen", "a step of 0", lambda g: stepped(g, 0.0)),
    ("ladders-chosen", "a step that is no number", lambda g: stepped(g, np.nan)),
    ("ladders-chosen", "an input without levels", lambda g: replace(g, inputs=(replace(g.inputs[0], levels=None),))),
    ("weights-integer", "no integers", lambda g: with_layer(g, without_integers)),
    ("weights-integer", "real weights", lambda g: with_integers(
        g, lambda f: replace(f, terms=tuple(map(halved, f.terms))))),
    ("bias-corrected", "a bias moved behind it", lambda g: with_layer(
        g, lambda layer: replace(layer, bias=np.nextafter(layer.bias, np.inf)))),
    ("bias-corrected", "no record", lambda g: replace(g, facts={})),
    ("bias-corrected", "a record of other Layers", record_of_others),
    ("thresholds-integer", "no ladder", lambda g: with_layer(
        g, lambda layer: IntegerSite(**own(layer, IntegerSite)))),
    ("thresholds-integer", "real thresholds", lambda g: with_layer(
        g, lambda layer: replace(layer, ladder=replace(layer.ladder, offset=layer.ladder.offset + 0.5)))),
    ("ranges-proved", "a range too narrow above", lambda g: with_integers(
        g, lambda f: replace(f, acc_max=f.acc_max - 1))),
    ("ranges-proved", "a range too narrow below", lambda g: with_integers(
        g, lambda f: replace(f, acc_min=f.acc_min + 1))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "tamper"), [(n, t) for n, _, t in TAMPERED], ids=[w for _, w, _ in TAMPERED])
def test_what_somebody_changed_behind_a_mapping_pass_breaks_its_invariant(name, tamper, tmp_path):
    graph = corrected(tmp_path)
    assert name in graph.invariants
    assert INVARIANTS[name](graph) == []
    assert INVARIANTS[name](tamper(graph))


def test_every_invariant_is_broken_once_above():
    assert set(INVARIANTS) == {*UNDONE, *(name for name, _, _ in TAMPERED)}


# -- what passes return, and what the runner makes of it --------------------------------------------------------------
@dataclass(frozen=True)
class Moves:
    """A pass that moves biases, and says so or not."""

    name: ClassVar[str] = "moves"
    needs: ClassVar[frozenset[str]] = frozenset()
    makes: ClassVar[frozenset[str]] = frozenset()
    breaks: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = False

    def run(self, graph: Graph) -> PassResult:
        def moved(node: Node) -> Node:
            return replace(node, op=replace(node.op, bias=node.op.bias + 1.0)) if isinstance(node.op, Layer) else node

        return PassResult(replace(graph, nodes=tuple(map(moved, graph.nodes))), (Moved(len(graph.nodes)),))


@dataclass(frozen=True)
class Moved:
    """How many."""

    nodes: int
    proves: ClassVar[str] = ""


class SaysSo(Moves):
    breaks: ClassVar[frozenset[str]] = frozenset({"bias-corrected"})


def test_a_pass_that_moves_a_bias_has_to_say_so(tmp_path):
    graph = corrected(tmp_path)
    with pytest.raises(BrokenPass, match="after moves: invariant 'bias-corrected' does not hold"):
        run_passes(graph, (Moves(),))
    after = run_passes(graph, (SaysSo(),))
    assert graph.invariants - after.invariants == {"bias-corrected"}


def test_facts_are_kept_by_kind_and_forgotten_with_the_invariant_that_they_prove(tmp_path):
    graph = corrected(tmp_path)
    assert graph.fact(Moved) is None
    assert set(graph.fact(BiasShifts).added) == {n.name for n in graph.nodes if isinstance(n.op, Layer)}
    after = run_passes(graph, (SaysSo(),))
    assert after.fact(Moved) == Moved(len(graph.nodes))
    assert after.fact(BiasShifts) is None


@pytest.mark.parametrize("one", [*(type(p) for p in STRUCTURE), *MAPPING], ids=lambda p: p.name)
def test_a_pass_keeps_nothing_of_its_runs_and_its_names_are_known(one):
    assert is_dataclass(one)
    assert one.__dataclass_params__.frozen
    assert all(f.init for f in fields(one))
    assert one.needs | one.makes | one.breaks <= set(INVARIANTS)


def test_mapping_passes_are_given_what_they_need():
    made: set[str] = set().union(*(p.makes for p in STRUCTURE))
    order: tuple[Any, ...] = (ChooseLadders, Equalize, QuantizeWeights, CorrectBias)
    for p in (*order, SplitDigits, QuantizeWeights, CorrectBias, Reconstruct, FoldThresholds):
        assert p.needs <= made, p.name
        made = (made - p.breaks) | p.makes
    assert {"ladders-chosen", "weights-integer", "thresholds-integer", "ranges-proved"} <= made
