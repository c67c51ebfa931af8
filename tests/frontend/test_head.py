"""The host head: which starts of a network the host computes, which are refused; a wrong one is never written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from sfn_compile.commands import build as build_module
from sfn_compile.compiler import compilation
from sfn_compile.compiler.compilation import read_data
from sfn_compile.compiler.tail_survey import check_head, read_network
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.foundation.samples import ModelInput
from sfn_compile.frontend import LoadedModel, load_model
from sfn_compile.frontend.fixed_maps import fixed_rows
from sfn_compile.frontend.head_cut import HostHead
from sfn_compile.frontend.reference import FloatReference
from sfn_compile.graph.graph import Graph
from sfn_compile.host.model_inputs import beginning_of

from .host_heads import EPS, HEADS, NET, fourier, mel, own_range, spectrogram, weights, with_two_ends
from .tiny_onnx import ints, noise, saved, tiny


def network(model: onnx.ModelProto, folder, start=(), end=()) -> tuple[LoadedModel, Graph]:
    """The network, checked against onnxruntime with its head and tail."""
    loaded, graph = read_network(load_model(saved(model, folder)), start, end)
    read_data(loaded, graph, Options(samples=3), None, {})
    return loaded, graph


def head(model: onnx.ModelProto, folder, start=(), end=()) -> HostHead:
    found = network(model, folder, start, end)[0].head
    assert found is not None
    return found


def refusal(model: onnx.ModelProto, folder, start=(), end=()) -> str:
    with pytest.raises(CompileError) as caught:
        network(model, folder, start, end)
    return str(caught.value)


def kinds(found: HostHead) -> list[str]:
    return [label.rpartition("(")[2].removesuffix(")") for label in found.nodes]


# -- where it is cut -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("batch", [1, 3, "N"])
def test_a_spectrogram_goes_to_the_host_up_to_its_logarithm(batch, tmp_path):
    found = head(spectrogram(batch), tmp_path)
    assert kinds(found) == ["STFT", "Mul", "ReduceSum", "MatMul", "Add", "Log"]
    assert (found.inputs, found.cuts) == (("x",), (ModelInput("l", (15, 8), "float32"),))


@pytest.mark.parametrize(
    ("kind", "cut", "last"),
    [("convolution", "l", "Log"), ("range", "seen", "Div"), ("bytes", "h", "Where"), ("both", "seen", "Div")],
)
def test_what_is_behind_the_last_that_only_the_host_can_is_the_encoders(kind, cut, last, tmp_path):
    found = head(HEADS[kind](1), tmp_path)
    assert (found.cuts[-1].name, kinds(found)[-1]) == (cut, last)


def test_its_cost_is_counted_for_one_sample(tmp_path):
    found = head(spectrogram(2), tmp_path)
    assert found.cost.macs == 15 * 33 * 2 * 2 * 64 + 15 * 8 * 33
    assert found.cost.numbers == 2 * 15 * 33 * 2 + 15 * 33 + 3 * 15 * 8


def test_a_tail_may_read_what_the_head_makes(tmp_path):
    loaded, graph = network(with_two_ends(), tmp_path)
    assert loaded.head is not None
    assert loaded.tail is not None
    assert ([c.name for c in loaded.head.cuts], loaded.tail.inputs) == (["g", "seen"], ("g",))
    assert [o.name for o in graph.outputs] == list(loaded.tail.cuts)


@pytest.mark.parametrize("body", ["a = Cast<to=1>(x) d = Div(a, full) seen = Sub(d, full)", "seen = Cast<to=1>(x)"])
def test_what_the_encoder_can_needs_no_head(body, tmp_path):
    model = tiny(body + NET, x=(1, 8, 8), dtype="uint8", full=np.float32(255), **weights())
    assert network(model, tmp_path)[0].head is None


# -- what is refused -----------------------------------------------------------------------------------------------
LAYER = "a = Conv<pads=[1,1,1,1]>(x, first) "


@pytest.mark.parametrize(
    "body", [LAYER + "t = ReduceMax<axes=[1,2,3]>(a) [bad] seen = Div(a, t)",
             "a = Relu(x) t = ReduceMax<axes=[1,2,3]>(a) [bad] seen = Div(a, t)"],
)  # fmt: skip
def test_no_layer_hides_in_a_head(body, tmp_path):
    said = refusal(tiny(body + NET, x=(1, 8, 8), first=noise(1, 1, 3, 3), **weights()), tmp_path)
    assert said.startswith("SFN202 at bad (Div)")


def test_a_model_that_has_no_layer_is_no_network_behind_a_head(tmp_path):
    assert "SFN201 at y (Det)" in refusal(tiny("low = ReduceMin(x) d = Sub(x, low) y = Det(d)"), tmp_path)


def test_samples_that_are_normalised_together_are_refused(tmp_path):
    """The highest number of the whole batch: with one sample it is that sample's, and nobody would see it."""
    body = "high = ReduceMax<axes=[0,1,2,3]>(x) g = Add(high, eps) seen = Div(x, g)"
    model = tiny(body + NET, x=(1, 8, 8), eps=EPS, **weights())
    assert refusal(model, tmp_path).startswith("SFN203")


def test_a_head_that_makes_no_number_is_refused_with_the_sample(tmp_path):
    model = spectrogram()
    next(t for t in model.graph.initializer if t.name == "eps").CopyFrom(
        onnx.numpy_helper.from_array(np.float32(0), "eps")
    )
    loaded = read_network(load_model(saved(model, tmp_path)))[0]
    x = noise(3, 512)
    x[1] = 0
    with pytest.raises(CompileError, match="SFN305 at value 'l': the host head makes NaN or infinity of 1 of 3"):
        beginning_of(loaded.head).samples({"x": x})


# -- it computes what the model computes -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "batch"),  # a tail answers for one sample
    [(kind, batch) for kind in HEADS for batch in (1, 4, "N") if (kind, batch) != ("both", 4)],
)
def test_its_values_are_those_of_the_whole_model(kind, batch, tmp_path):
    loaded = network(HEADS[kind](batch), tmp_path)[0]
    assert loaded.head is not None
    (source,) = loaded.inputs
    x = {"x": noise(7, *source.shape)} if source.dtype == "float32" else {
        "x": np.random.default_rng(0).integers(0, 256, (7, *source.shape)).astype(source.dtype)}  # fmt: skip
    names = [c.name for c in loaded.head.cuts]
    want = FloatReference(loaded.path, ["x"], loaded.batch, names, only_taps=True).run(x)
    got = beginning_of(loaded.head).samples(x)
    assert all(got[name].shape == want[name].shape for name in names)
    assert all(np.allclose(got[name], want[name], rtol=0, atol=1e-4) for name in names)


def with_another_head(loaded: LoadedModel, name: str) -> LoadedModel:
    assert loaded.head is not None
    changed = onnx.load_from_string(loaded.head.model)
    for tensor in changed.graph.initializer:
        if tensor.name == name:
            values = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array((values + 0.25).astype(np.float32), name))
    return replace(loaded, head=replace(loaded.head, model=changed.SerializeToString()))


def test_a_head_that_computes_something_else_is_never_written(tmp_path, monkeypatch):
    def misread(loaded: LoadedModel, *ends) -> tuple[LoadedModel, Graph]:
        loaded, graph = read_network(loaded, *ends)
        return with_another_head(loaded, "eps"), graph

    monkeypatch.setattr(compilation, "read_network", misread)
    with pytest.raises(CompileError, match="SFN107 at value 'seen' of the host head"):
        build_module.build(saved(own_range(), tmp_path), tmp_path / "out", Options(samples=8))
    assert not (tmp_path / "out").exists()


def test_check_head_takes_a_right_one(tmp_path):
    loaded = network(own_range(), tmp_path)[0]
    check_head(loaded, beginning_of(loaded.head).samples({"x": noise(2, 1, 8, 8)}))


# -- fixed transforms ------------------------------------------------------------------------------------------------
def test_fixed_transforms_are_told_from_trained_weights():
    dct = np.cos(np.pi / 40 * np.outer(np.arange(13), np.arange(40) + 0.5))
    for fixed in (fourier()[:, 0], mel().T, np.eye(40), dct, np.array([[-0.97, 1.0]])):
        assert fixed_rows(np.asarray(fixed, np.float64))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        for trained in (rng.standard_normal((33, 64)), rng.random((33, 64)), rng.standard_normal((8, 9))):
            assert not fixed_rows(trained)


# -- named starts and ends -------------------------------------------------------------------------------------------
def test_the_user_says_where_the_network_starts_and_ends(tmp_path):
    loaded, graph = network(spectrogram(), tmp_path, ["m"], ["r"])
    assert loaded.head is not None
    assert loaded.tail is not None
    assert ([c.name for c in loaded.head.cuts], loaded.tail.cuts) == (["m"], ("r",))
    assert [i.name for i in graph.inputs] == ["m"]
    assert [o.name for o in graph.outputs] == ["r"]
    assert [label.split()[0] for label in loaded.tail.nodes] == ["p", "f", "y"]


def test_layers_may_be_in_a_head_that_was_asked_for(tmp_path):
    found = head(own_range(), tmp_path, ["p"])
    assert "Conv" in kinds(found)
    assert found.cost.macs == 8 * 8 * 8 * 9


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [(["lo"], [], "no such tensor"), (["lo"], [], "near: 'low'"), (["d"], [], "high (ReduceMax) reads 'x' past it"),
     (["w"], [], "it is a constant"), (["low", "seen"], [], "no layer reads 'low'"), (["y"], [], "no layer reads 'y'"),
     ([], ["q"], "no such tensor"), ([], ["r", "d"], "nothing behind the network reads 'd'"),
     ([], ["c", "w"], "it is a constant"), (["h"], [], "reads 'x' past it")],
)  # fmt: skip
def test_what_is_no_cut_is_an_error_that_says_why(start, end, words, tmp_path):
    said = refusal(own_range(), tmp_path, start, end)
    assert said.startswith("SFN605")
    assert words in said


def test_an_end_must_cut_every_way(tmp_path):
    both = "c = Conv(x, w) a = Relu(c) b = Sigmoid(c) y = Add(a, b)"
    said = refusal(tiny(both, x=(1, 8, 8), w=noise(2, 1, 3, 3)), tmp_path, [], ["a"])
    assert "b (Sigmoid) reads 'c' past it" in said


def test_a_name_of_a_node_leads_to_its_outputs(tmp_path):
    said = refusal(tiny("[first] c = Conv(x, w) y = Relu(c)", w=noise(2, 3, 3, 3)), tmp_path, [], ["first"])
    assert "it is a node, which computes 'c'" in said


def test_a_start_without_a_batch_is_refused(tmp_path):
    body = "flat = Reshape(x, row) k = Reshape(flat, back) seen = Relu(k)"
    model = tiny(body + NET, x=(1, 8, 8), batch=1, row=ints(64), back=ints(1, 1, 8, 8), **weights())
    assert "the batch in axis 0" in refusal(model, tmp_path, ["flat"])
