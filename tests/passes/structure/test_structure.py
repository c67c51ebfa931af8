"""The structural passes change no number: not an output, and not a value that still carries its ONNX name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given

from sfn_compile.foundation.diagnostics import CompileError, Origin
from sfn_compile.graph.graph import Graph
from sfn_compile.graph.ops import Activation, Layer, Linear, MaxPool, Moved
from sfn_compile.passes.base import PassResult
from sfn_compile.passes.pipeline import PROBE_TOLERANCE, STRUCTURE, BrokenPass, run_passes
from sfn_compile.passes.structure.fold_affine import FoldAffine
from sfn_compile.passes.structure.fuse_quantizers import FuseQuantizers
from sfn_compile.passes.structure.hoist_activations import HoistActivations
from sfn_compile.passes.structure.split_host import SplitHost
from sfn_compile.program.network import Concat, Dense, Identity, Pad, SumPool

from ...frontend.tiny_onnx import imported, noise, samples, tiny
from ..pass_examples import NETWORKS, fixed, network, stages, structured, worst_lie
from ..random_networks import random_networks

# A pass reorders float64 sums of at most a few hundred terms: 2**-53 each, times what a batch norm cancels.
EXACT = PROBE_TOLERANCE


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_stage_tells_the_same_numbers(name, tmp_path):
    graph = imported(network(name), tmp_path)
    x = samples(graph, 3)
    for by, stage in stages(graph):
        assert worst_lie(graph, stage, x) <= EXACT, by


@fixed
@given(model=random_networks())
def test_every_stage_of_a_random_network_tells_the_same_numbers(model, tmp_path_factory):
    graph = imported(model, tmp_path_factory.mktemp("random"))
    x = samples(graph, 2)
    for by, stage in stages(graph):
        assert worst_lie(graph, stage, x) <= EXACT, by


@pytest.mark.parametrize("name", list(NETWORKS))
def test_passes_do_nothing_the_second_time(name, tmp_path):
    for by, stage in stages(imported(network(name), tmp_path)):
        if by in ("fold-affine", "hoist-activations", "compose-linear"):
            again = next(p for p in STRUCTURE if p.name == by).run(stage).graph
            assert [n.name for n in again.nodes] == [n.name for n in stage.nodes]


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_node_keeps_the_onnx_nodes_it_came_from(name, tmp_path):
    graph = imported(network(name), tmp_path)
    known = {o for n in graph.nodes for o in n.origin.nodes}
    for _, stage in stages(graph):
        assert all(n.origin.nodes and set(n.origin.nodes) <= known for n in stage.nodes)


def ops(graph: Graph, kind: type) -> list[str]:
    return [n.name for n in graph.nodes if isinstance(n.op, kind)]


def after(name: str, model: str, folder) -> Graph:
    return dict(stages(imported(network(model), folder)))[name]


# -- fold-affine ---------------------------------------------------------------------------------------------------
def test_batch_norm_behind_a_conv_disappears(tmp_path):
    graph = after("fold-affine", "conv, batch norm, relu, conv", tmp_path)
    assert len(ops(graph, Linear)) == 2


def test_a_negative_scale_does_not_cross_a_max_pool(tmp_path):
    graph = after("fold-affine", "a negative batch norm gamma behind a max pool", tmp_path)
    assert [type(n.op).__name__ for n in graph.nodes] == ["Linear", "MaxPool", "Linear", "Activation", "Linear"]


def test_a_positive_scale_crosses_a_max_pool(tmp_path):
    graph = after("fold-affine", "a positive scale behind a max pool", tmp_path)
    assert [type(n.op).__name__ for n in graph.nodes] == ["Linear", "MaxPool", "Activation", "Linear"]


@pytest.mark.parametrize(
    ("name", "crosses"),
    [
        ("an affine step before a padded conv", False),
        ("an affine step before a padded average pool that counts padding", False),
        ("an affine step before a conv without padding", True),
        ("a scale alone before a padded conv", True),
    ],
)
def test_an_offset_does_not_cross_zero_padding(name, crosses, tmp_path):
    """Padding is 0, not the offset: the folded bias would differ at the border, and NIR would unroll the Conv."""
    graph = after("fold-affine", name, tmp_path)
    affine = [n for n in graph.nodes if isinstance(n.op, Linear) and isinstance(n.op.map, Identity)]
    assert bool(affine) != crosses


def test_a_move_that_loses_a_scale_on_its_way_into_a_gemm_loses_its_name(tmp_path):
    """The Reshape of ``a scale that meets a gemm`` holds unscaled numbers afterwards: its tap would be a lie."""
    graph = after("fold-affine", "a scale that meets a gemm behind a reshape", tmp_path)
    (moved,) = [n for n in graph.nodes if isinstance(n.op, Moved)]
    assert moved.tap is None


# -- hoist-activations ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "crosses"), [("relu over padding", True), ("sigmoid over padding", False)])
def test_an_activation_crosses_padding_only_where_it_keeps_zero(name, crosses, tmp_path):
    graph = after("hoist-activations", name, tmp_path)
    order = [type(n.op.op).__name__ if isinstance(n.op, Moved) else type(n.op).__name__ for n in graph.nodes]
    pair = ["Activation", "Pad"] if crosses else ["Pad", "Activation"]
    assert order == ["Linear", *pair, "Linear"]


def test_an_activation_behind_a_concat_of_raw_branches_fires_each(tmp_path):
    graph = after("hoist-activations", "concat of raw branches", tmp_path)
    assert len(ops(graph, Activation)) == 2


def test_an_activation_behind_a_concat_of_an_activated_branch_stays(tmp_path):
    graph = after("hoist-activations", "concat of an activated and a raw branch", tmp_path)
    concat = next(i for i, n in enumerate(graph.nodes) if isinstance(n.op, Moved) and isinstance(n.op.op, Concat))
    assert isinstance(graph.nodes[concat + 1].op, Activation)


def test_a_pool_with_several_readers_is_not_crossed(tmp_path):
    graph = after("hoist-activations", "a pool with several readers", tmp_path)
    assert [type(n.op).__name__ for n in graph.nodes][1] == "MaxPool"


# -- sink-moves ----------------------------------------------------------------------------------------------------
def test_a_residual_in_nhwc_needs_no_site_for_its_transpose(tmp_path):
    graph = structured(imported(network("a residual in NHWC"), tmp_path))
    fired = [n.op for n in graph.nodes if isinstance(n.op, Layer) and n.op.activation is not None]
    assert [op.activation.kind for op in fired] == ["relu", "relu"]


def test_a_mixers_token_step_adds_to_its_spikes_directly(tmp_path):
    graph = structured(imported(network("an mlp-mixer block"), tmp_path))
    kinds = [n.op.activation.kind for n in graph.nodes if isinstance(n.op, Layer) and n.op.activation is not None]
    assert kinds == ["relu", "relu", "identity"]  # of the three sums, only the one that two readers share


def test_a_sum_that_is_an_output_is_moved_by_the_decoder(tmp_path):
    graph = structured(imported(network("an mlp-mixer block"), tmp_path))
    (out,) = graph.outputs
    assert [op.kind for op in out.host] == ["move"]
    assert graph.types()[out.value].kind == "acc"


# -- moves made of operators ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "populations"),
    [
        ("a transposed conv, batch norm, relu, conv", 3),
        ("concat of raw branches, batch norm, relu", 3),
        ("batch norm and relu behind nearest upsampling and a reflected border", 2),
        ("coordinate channels before a padded conv", 2),
        ("a border of ones before a conv", 2),
        ("nearest upsampling behind an affine step", 2),
        ("linear upsampling into a sum and into a conv", 5),
    ],
)
def test_what_only_moves_numbers_costs_no_population(name, populations, tmp_path):
    graph = structured(imported(network(name), tmp_path))
    assert len(ops(graph, Layer)) == populations


# -- compose-linear ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name",
    ["global average pool, flatten, gemm", "a padded average pool before a gemm", "two gemms in a row",
     "reduce mean over the space of NHWC"],
)  # fmt: skip
def test_a_pool_before_a_gemm_becomes_one_dense(name, tmp_path):
    graph = after("compose-linear", name, tmp_path)
    assert isinstance(graph.by_name()["y"].op.map, Dense)
    assert not [n for n in graph.nodes if isinstance(n.op, Linear) and isinstance(n.op.map, SumPool)]


def test_a_pool_with_several_readers_is_not_composed(tmp_path):
    graph = after("compose-linear", "an average pool with several readers", tmp_path)
    assert len([n for n in graph.nodes if isinstance(n.op, Linear) and isinstance(n.op.map, SumPool)]) == 1


# -- place-sites ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", list(NETWORKS))
def test_only_layers_pools_and_moves_are_left(name, tmp_path):
    assert all(isinstance(n.op, Layer | MaxPool | Moved) for n in structured(imported(network(name), tmp_path)).nodes)


def test_a_residual_is_a_second_projection_into_the_same_population(tmp_path):
    graph = structured(imported(network("a residual block"), tmp_path))
    assert len(graph.by_name()["r"].inputs) == 2


def test_the_sum_that_a_pre_activation_block_shares_is_fired_at_a_signed_site(tmp_path):
    graph = structured(imported(network("a pre-activation residual block"), tmp_path))
    site = graph.by_name()["a"].op
    assert isinstance(site, Layer)
    assert site.activation == Activation("identity")


def test_an_output_in_the_middle_is_read_out_beside_its_spikes(tmp_path):
    graph = structured(imported(network("an output read in the middle"), tmp_path))
    readouts = [o.name for o in graph.outputs if graph.types()[o.value].kind == "acc"]
    assert readouts == ["y", "z", "a"]


def test_a_layer_that_holds_a_dense_over_a_matrix_fires_along_its_last_axis(tmp_path):
    graph = structured(imported(network("an mlp-mixer block"), tmp_path))
    assert {n.name: n.op.axis for n in graph.nodes if isinstance(n.op, Layer)}["r"] == 1


# -- split-host ----------------------------------------------------------------------------------------------------
def test_what_stands_at_the_ends_is_the_hosts(tmp_path):
    graph = after("split-host", "host work on both ends", tmp_path)
    assert [op.kind for op in graph.inputs[0].host] == ["move", "affine"]
    assert [op.kind for op in graph.outputs[0].host] == ["softmax", "move"]


def test_the_logarithm_of_a_softmax_inside_the_network_is_refused(tmp_path):
    graph = imported(tiny("[inside] s = LogSoftmax(x) y = Gemm(s, k)", x=(4,), k=noise(4, 2)), tmp_path)
    with pytest.raises(CompileError, match=r"SFN202 at inside \(LogSoftmax\)"):
        run_passes(graph, (SplitHost(),))


def test_a_network_without_a_layer_is_refused(tmp_path):
    with pytest.raises(CompileError, match="SFN105"):
        run_passes(imported(tiny("y = Identity(x)"), tmp_path), (SplitHost(),))


# -- the runner keeps passes to their word -------------------------------------------------------------------------
@dataclass(frozen=True)
class Lie:
    """A pass that breaks something."""

    how: str
    name: ClassVar[str] = "lie"
    needs: ClassVar[frozenset[str]] = frozenset()
    makes: ClassVar[frozenset[str]] = frozenset()
    breaks: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = True

    def run(self, graph: Graph) -> PassResult:
        return PassResult(self._changed(graph))

    def _changed(self, graph: Graph) -> Graph:
        first, *rest = graph.nodes
        if self.how == "number":
            first = replace(first, op=replace(first.op, bias=first.op.bias + 2.0**-20))
        elif self.how == "origin":
            first = replace(first, origin=Origin())
        elif self.how == "shape":
            first = replace(first, type=replace(first.type, shape=(1, 2, 3)))
        elif self.how == "twice":
            rest = [first, *rest]
        elif self.how == "order":
            first, rest = rest[0], [first, *rest[1:]]
        elif self.how == "output":
            return replace(graph, outputs=(replace(graph.outputs[0], value="nowhere"),))
        elif self.how == "undo":
            scaled = np.full((1, 1, 1), 2.0)
            from sfn_compile.graph.ops.linear import affine

            last = rest[-1]
            rest = [*rest, replace(last, name="undone", op=affine(scaled, 0 * scaled), inputs=(last.name,))]
            out = replace(graph.outputs[0], value="undone")
            return replace(graph, nodes=(first, *rest), outputs=(out,))
        return replace(graph, nodes=(first, *rest))


@pytest.mark.parametrize(
    ("how", "words"),
    [("number", "is exact but changed output y"), ("origin", "has no origin"), ("shape", "its op infers another"),
     ("twice", "defined twice"), ("order", "not defined before it"), ("output", "output y reads nowhere"),
     ("undo", "invariant 'affine-folded' does not hold")],
)  # fmt: skip
def test_a_pass_that_breaks_its_word_is_caught(how, words, tmp_path):
    graph = imported(network("conv, batch norm, relu, conv"), tmp_path)
    honest = run_passes(graph, (SplitHost(), FuseQuantizers(), FoldAffine()))
    with pytest.raises(BrokenPass, match=words):
        run_passes(honest, (Lie(how),), {"x": noise(1, 3, 6, 6).astype(np.float64)})


def test_a_pass_whose_needs_are_not_met_does_not_run(tmp_path):
    with pytest.raises(BrokenPass, match="hoist-activations needs affine-folded"):
        run_passes(imported(tiny("y = Relu(x)"), tmp_path), (HoistActivations(),))


def test_every_pass_says_what_it_needs_and_somebody_before_it_makes():
    made: set[str] = set()
    for p in STRUCTURE:
        assert p.needs <= made, p.name
        made |= p.makes


def test_padding_is_a_move_that_activations_know():
    assert Activation("tanh").keeps_zero()
    assert not Activation("clip", 1.0, 2.0).keeps_zero()
    assert Moved(Pad(((0, 0), (1, 1)))).infer((2, 3)) == (2, 5)


def test_names_made_by_compose_linear_give_way_to_those_of_the_model(tmp_path):
    model = tiny("r = Relu(x) g = GlobalAveragePool(r) h = Flatten(g) y = Gemm(h, k) z1 = Conv(r, u) z = Relu(z1)",
                 outputs=("y", "z"), k=noise(3, 2), u=noise(2, 3, 1, 1))  # fmt: skip
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["g/flat" if n == "z1" else n for n in names]
    assert "g/flat" in structured(imported(model, tmp_path)).users()
