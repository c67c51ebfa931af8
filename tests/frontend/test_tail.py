"""The host tail: which ends of a network the host computes, which are refused; a wrong one is never written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from sfn_compile.commands import build as build_module
from sfn_compile.compiler import compilation
from sfn_compile.compiler.import_check import check_import
from sfn_compile.compiler.tail_survey import check_tail, read_network, survey_network
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.frontend import LoadedModel, load_model
from sfn_compile.frontend.tail_cut import ALLOWED, HostTail, wide_nodes
from sfn_compile.graph.graph import Graph
from sfn_compile.passes.structure.split_host import SplitHost

from .detectors import BODY, WEIGHTS, ssd, yolo
from .tiny_onnx import ints, noise, saved, tiny


def network(model: onnx.ModelProto, folder) -> tuple[LoadedModel, Graph]:
    """The network and its tail, both checked against onnxruntime."""
    loaded, graph = read_network(load_model(saved(model, folder)))
    x = {i.name: noise(3, *i.shape).astype(i.dtype) for i in loaded.inputs}
    check_import(graph, loaded, x)
    check_tail(graph, loaded, x)
    return loaded, graph


def tail(model: onnx.ModelProto, folder) -> HostTail:
    found = network(model, folder)[0].tail
    assert found is not None
    return found


def refusals(model: onnx.ModelProto, folder) -> list[tuple[str, str, str]]:
    with pytest.raises(CompileError) as caught:
        read_network(load_model(saved(model, folder)))
    return [(d.code, d.where, d.what) for d in caught.value.diagnostics]


def kinds(found: HostTail) -> list[str]:
    return [label.rpartition("(")[2].removesuffix(")") for label in found.nodes]


# -- where it is cut -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("batch", [1, "N"])
def test_a_detector_is_cut_at_its_head(batch, tmp_path):
    loaded, graph = network(yolo(batch), tmp_path)
    assert loaded.tail is not None
    assert (loaded.tail.cuts, loaded.tail.inputs) == (("c",), ())
    assert len(loaded.tail.nodes) == 16
    assert [o.name for o in graph.outputs] == ["c"]
    assert dict(loaded.tail.outputs) == {"scores": True, "picked": False, "chosen": False}


@pytest.mark.parametrize("batch", [1, "N"])
def test_an_output_inside_the_network_stays_there(batch, tmp_path):
    loaded, graph = network(ssd(batch), tmp_path)
    assert loaded.tail is not None
    assert [o.name for o in graph.outputs] == ["r", "c"]
    assert dict(loaded.tail.outputs) == {"best": True, "chosen": True, "labels": True}


def test_an_output_that_shares_nothing_with_the_tail_stays_with_the_decoder(tmp_path):
    """As in a face detector: box arithmetic on one branch, a plain softmax on the other."""
    heads = "c = Conv(p, v) s = Softmax<axis=1>(c) d = Conv(p, v) e = Exp(d) l = Neg(d) y = Concat<axis=1>(e, l)"
    loaded, graph = network(tiny(BODY + heads, x=(3, 8, 8), outputs=("s", "y"), **WEIGHTS), tmp_path)
    assert loaded.tail is not None
    assert kinds(loaded.tail) == ["Exp", "Neg", "Concat"]
    assert [o.name for o in graph.outputs] == ["s", "d"]


def test_a_constant_that_two_branches_share_does_not_join_them(tmp_path):
    heads = """k = Constant<value_ints = [-1]>() c = Conv(p, v) s = Unsqueeze(c, k)
               d = Conv(p, v) e = Unsqueeze(d, k) y = NonZero(e)"""
    model = tiny(BODY + heads, x=(3, 8, 8), batch=1, outputs=("s", "y"), **WEIGHTS)
    model.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.INT64
    assert tail(model, tmp_path).nodes == ("e (Unsqueeze)", "y (NonZero)")


@pytest.mark.parametrize(
    ("end", "cut"),
    [("c = Conv(p, v) s = Sigmoid(c) y, i = TopK<axis=2>(s, k)", "s"),
     ("c = Conv(p, v) s = Clip(c, zero, one) y, i = TopK<axis=2>(s, k)", "s"),
     ("c = Conv(p, v) s = Relu(c) y, i = TopK<axis=2>(s, k)", "s"),
     ("c = Conv(p, v) m = MaxPool<kernel_shape=[2,2]>(c) y, i = TopK<axis=2>(m, k)", "m"),
     ("c = Conv(p, v) m = GlobalAveragePool(c) y, i = TopK<axis=1>(m, k)", "m"),
     ("d = Conv(p, v) c = Conv(p, v) m = Sub(c, d) s = Relu(m) y, i = TopK<axis=2>(s, k)", "s")],
)  # fmt: skip
def test_pooling_and_activation_behind_a_layer_stay_in_the_network(end, cut, tmp_path):
    found = tail(tiny(BODY + end, x=(3, 8, 8), k=ints(1), zero=np.float32(0), one=np.float32(1), **WEIGHTS), tmp_path)
    assert (found.cuts, kinds(found)) == ((cut,), ["TopK"])


@pytest.mark.parametrize(
    "end", ["y = Softmax<axis=1>(c)", "y = Sigmoid(c)", "s = Sigmoid(c) y = Transpose<perm=[0,2,3,1]>(s)",
            "m = Mul(c, two) y = Add(m, two)", "f = Flatten(c) y = Softmax(f)", "y = Clip(c, zero, two)"],
)  # fmt: skip
def test_an_end_that_the_decoder_computes_needs_no_tail(end, tmp_path):
    model = tiny(f"{BODY} c = Conv(p, v) {end}", x=(3, 8, 8), two=np.float32(2), zero=np.float32(0), **WEIGHTS)
    assert network(model, tmp_path)[0].tail is None


def test_a_softmax_that_is_joined_with_boxes_is_the_decoders(tmp_path):
    heads = "c = Conv(p, v) s = Softmax<axis=1>(c) d = Conv(p, v) y = Concat<axis=1>(d, s)"
    loaded, graph = network(tiny(BODY + heads, x=(3, 8, 8), **WEIGHTS), tmp_path)
    (out,) = SplitHost().run(graph).graph.outputs
    assert loaded.tail is None
    assert (set(out.values), [op.kind for op in out.host]) == ({"c", "d"}, ["softmax", "move"])


def test_box_sides_from_a_distribution_go_to_the_host_whole(tmp_path):
    """Distribution focal loss: the mean place under a softmax, written as a Conv with the weights 0, 1, 2, ..."""
    heads = """c = Conv(p, v) f = Reshape(c, shape) s = Softmax<axis=1>(f) m = Conv(s, places) n = Reshape(m, flat)
               y = Sub(grid, n)"""
    model = tiny(BODY + heads, x=(3, 8, 8), shape=ints(0, 3, 2, 16), places=np.arange(3.0).reshape(1, 3, 1, 1),
                 flat=ints(0, 2, 16), grid=noise(1, 2, 16), **WEIGHTS)  # fmt: skip
    assert kinds(tail(model, tmp_path)) == ["Reshape", "Softmax", "Conv", "Reshape", "Sub"]
    trained = tiny(BODY + heads, x=(3, 8, 8), shape=ints(0, 3, 2, 16), places=noise(1, 3, 1, 1), flat=ints(0, 2, 16),
                   grid=noise(1, 2, 16), **WEIGHTS)  # fmt: skip
    assert network(trained, tmp_path)[0].tail is None  # no layer with weights hides on the host: it all is integers


def test_an_input_that_only_the_tail_reads_goes_past_the_network(tmp_path):
    """The size of the photo, which scales the boxes."""
    heads = "c = Conv(p, v) f = Flatten(c) t, i = TopK<axis=1>(f, k) s = Cast<to=1>(size) y = Mul(t, s)"
    model = tiny(BODY + heads, x=(3, 8, 8), inputs=", int32[N,1] size", k=ints(3), **WEIGHTS)
    loaded, graph = network(model, tmp_path)
    assert loaded.tail is not None
    assert loaded.tail.inputs == ("size",)
    assert [i.name for i in graph.inputs] == ["x"]
    assert loaded.input_names == ("x", "size")


def test_exp_and_pow_that_go_on_into_box_arithmetic_are_the_hosts(tmp_path):
    """Also where a target has a table for them: evenly spaced codes hold sizes badly."""
    heads = "c = Conv(p, v) [alone] e = Exp(c) y = Mul(e, two) [joined] q = Pow(c, two) z = Sub(q, c)"
    model = tiny(BODY + heads, x=(3, 8, 8), outputs=("y", "z"), two=np.float32(2), **WEIGHTS)
    assert wide_nodes(load_model(saved(model, tmp_path)).model) == {"joined (Pow)"}
    inside = "[hidden] e = Exp(p) f = Add(e, p) y = Conv(f, v)"
    assert wide_nodes(load_model(saved(tiny(BODY + inside, x=(3, 8, 8), **WEIGHTS), tmp_path)).model) == set()


@pytest.mark.parametrize("norm", ["ReduceL2<axes=[1]>(f)", "LpNormalization<axis=1>(f)"])
def test_an_embedding_is_normalised_on_the_host(norm, tmp_path):
    end = "c = Conv(p, v) f = Flatten(c) " + (
        f"n = {norm} m = Clip(n, least) y = Div(f, m)" if "Reduce" in norm else f"y = {norm}"
    )
    found = tail(tiny(BODY + end, x=(3, 8, 8), least=np.float32(1e-12), **WEIGHTS), tmp_path)
    assert found.cuts == ("c",)
    assert dict(found.outputs) == {"y": True}


def test_what_mixes_samples_goes_to_the_host_where_the_model_was_made_for_one(tmp_path):
    body = f"{BODY} c = Conv(p, v) [out] y = Squeeze(c, axis)"
    alone = tail(tiny(body, x=(3, 8, 8), batch=1, axis=ints(0), **WEIGHTS), tmp_path)
    assert (alone.nodes, dict(alone.outputs)) == (("out (Squeeze)",), {"y": False})
    body = f"{BODY} c = Conv(p, v) [out] y = Softmax<axis=0>(c)"
    assert [(c, w) for c, w, _ in refusals(tiny(body, x=(3, 8, 8), **WEIGHTS), tmp_path)] == [
        ("SFN203", "out (Softmax)")]  # fmt: skip


def test_a_tail_is_one_file_also_where_the_model_keeps_its_data_beside_it(tmp_path):
    onnx.save_model(yolo(), str(tmp_path / "m.onnx"), save_as_external_data=True, location="d.bin", size_threshold=100)
    loaded, graph = read_network(load_model(tmp_path / "m.onnx"))
    assert loaded.tail is not None
    assert b"d.bin" not in loaded.tail.model
    check_tail(graph, loaded, {"x": noise(2, 3, 8, 8)})


# -- what is refused -----------------------------------------------------------------------------------------------
BLOCKERS = {
    "Conv": "Conv(n, q)", "ConvTranspose": "ConvTranspose(n, q)", "Gemm": "Gemm(g, m)", "MatMul": "MatMul(n, z)",
    "BatchNormalization": "BatchNormalization(n, o, o, o, o)", "Resize": 'Resize<mode="nearest">(n, , scales)',
    "InstanceNormalization": "InstanceNormalization(n, o, o)", "LRN": "LRN<size=3>(n)",
    "LayerNormalization": "LayerNormalization<axis=3>(n, z1)", "AveragePool": "AveragePool<kernel_shape=[2,2]>(n)",
    "ReduceMean": "ReduceMean<axes=[2]>(n)", "PRelu": "PRelu(n, o1)",
}  # fmt: skip


@pytest.mark.parametrize("kind", list(BLOCKERS))
def test_no_layer_hides_on_the_host(kind, tmp_path):
    body = f"{BODY} c = Conv(p, v) [odd] n, i = TopK<axis=2>(c, k) g = Flatten(n) [layer] y = {BLOCKERS[kind]}"
    constants = {"k": ints(4), "q": noise(6, 6, 1, 1), "m": noise(96, 3), "z": noise(4, 4), "o": np.ones(6),
                 "scales": np.array([1.0, 1, 2, 2]), "z1": np.ones(4), "o1": noise(6, 1, 1)}  # fmt: skip
    found = refusals(tiny(body, x=(3, 8, 8), **WEIGHTS, **constants), tmp_path)
    assert ("SFN201", "odd (TopK)") in [(code, where) for code, where, _ in found]
    (what,) = [w for _, where, w in found if where == "odd (TopK)"]
    assert what.endswith(f"nor can it be left to the host, because layer ({kind}) stands behind it")
    assert kind not in ALLOWED


def test_an_operator_of_another_domain_does_not_hide_either(tmp_path):
    found = refusals(tiny(f"{BODY} c = Conv(p, v) [odd] n, i = TopK<axis=2>(c, k) [plug] y = custom.NMS(n)",
                          x=(3, 8, 8), k=ints(4), **WEIGHTS), tmp_path)  # fmt: skip
    assert [(code, where) for code, where, _ in found] == [("SFN201", "odd (TopK)"), ("SFN201", "plug (NMS)")]
    assert "because plug (NMS) stands behind it" in found[0][2]


def test_a_network_that_would_be_all_tail_is_refused(tmp_path):
    assert [(c, w) for c, w, _ in refusals(tiny("[odd] y, i = TopK(x, k)", x=(7,), k=ints(2)), tmp_path)] == [
        ("SFN201", "odd (TopK)")]  # fmt: skip


def test_a_model_fixed_to_several_samples_has_no_tail(tmp_path):
    [(code, _, what)] = refusals(yolo(4), tmp_path)
    assert code == "SFN202"
    assert "one sample at a time, but the model is fixed to batches of 4" in what


# -- what is written -----------------------------------------------------------------------------------------------
def test_the_tail_is_a_valid_model_that_holds_only_its_own_constants(tmp_path):
    found = onnx.load_from_string(tail(yolo(), tmp_path).model)
    onnx.checker.check_model(found, full_check=True)
    assert [i.name for i in found.graph.input] == ["c"]
    assert [o.name for o in found.graph.output] == ["scores", "picked", "chosen"]
    assert sum(int(np.prod(i.dims)) for i in found.graph.initializer) < 64


def test_the_same_model_has_the_same_tail_to_the_last_byte(tmp_path):
    assert tail(ssd(), tmp_path).model == tail(ssd(), tmp_path).model


def with_another_tail(loaded: LoadedModel, name: str) -> LoadedModel:
    """The model with a tail whose constant ``name`` is another."""
    assert loaded.tail is not None
    changed = onnx.load_from_string(loaded.tail.model)
    for tensor in changed.graph.initializer:
        if tensor.name == name:
            values = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array((values + 0.25).astype(np.float32), name))
    return replace(loaded, tail=replace(loaded.tail, model=changed.SerializeToString()))


WRONG_TAIL = r"SFN107 at c: output '.*' of the host tail is not what the whole model"


@pytest.mark.parametrize("name", ["grid", "least"])
def test_a_tail_that_computes_something_else_is_seen(name, tmp_path):
    loaded, graph = network(yolo(), tmp_path)
    with pytest.raises(CompileError, match=WRONG_TAIL):
        check_tail(graph, with_another_tail(loaded, name), {"x": noise(3, 3, 8, 8)})


def test_a_tail_that_computes_something_else_is_never_written(tmp_path, monkeypatch):
    def misread(loaded: LoadedModel, *ends) -> tuple[LoadedModel, Graph]:
        loaded, graph = read_network(loaded, *ends)
        return with_another_tail(loaded, "grid"), graph

    monkeypatch.setattr(compilation, "read_network", misread)
    with pytest.raises(CompileError, match=WRONG_TAIL):
        build_module.build(saved(yolo(), tmp_path), tmp_path / "out", Options())
    assert not (tmp_path / "out").exists()


def test_every_node_has_a_state(tmp_path):
    *_, problems, states = survey_network(load_model(saved(yolo(), tmp_path)))
    assert problems == []
    assert [state for _, state in states] == ["ok"] * 4 + ["host"] * 16


def test_an_end_that_cannot_be_cut_off_is_a_refusal_and_no_traceback(tmp_path, monkeypatch):
    from sfn_compile.frontend import cut_file as module

    def broken(*_, **__):
        raise RuntimeError("no shape")

    monkeypatch.setattr(module.onnx.shape_inference, "infer_shapes", broken)
    [(code, where, what)] = refusals(yolo(), tmp_path)
    assert (code, where) == ("SFN101", "flat (Reshape)")
    assert "cannot be cut off (RuntimeError: no shape)" in what
