"""Files that nobody would call a model end in a diagnostic: never in a traceback, a hang or an exhausted machine."""

from __future__ import annotations

import os

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.frontend import import_model, load_model
from sfn_compile.frontend.operators import IMPORTERS
from sfn_compile.frontend.well_formed import check_graph

from .tiny_onnx import assert_parity, ints, noise, saved, tiny

CONV = {"w": noise(4, 3, 3, 3)}
SMALL = np.float32(1)


def refusal(model: onnx.ModelProto, folder) -> str:
    """The first diagnostic of the model, as text."""
    with pytest.raises(CompileError) as caught:
        import_model(load_model(saved(model, folder)))
    assert caught.value.exit_code == 3
    return str(caught.value.diagnostics[0])


def test_a_file_may_be_no_file_at_all(tmp_path):
    os.mkfifo(tmp_path / "model.onnx")  # reading it would wait for ever
    with pytest.raises(CompileError, match=r"SFN101 .*there is no such file"):
        load_model(tmp_path / "model.onnx")


# -- graphs that are none --------------------------------------------------------------------------------------------
def rename(model: onnx.ModelProto, **names: str) -> onnx.ModelProto:
    """The model with values renamed wherever they are named."""
    for node in model.graph.node:
        for field in (node.input, node.output):
            field[:] = [names.get(v, v) for v in field]
    return model


GRAPHS: dict[str, tuple[str, dict, str]] = {
    "nodes in a circle": ("a = Add(x, b) b = Relu(a) y = Relu(b)", {}, "read each other in a circle"),
    "a node that reads itself": ("a = Add(x, a) y = Relu(a)", {}, "circle"),
    "a value that nothing computes": ("[bad] y = Add(x, ghost)", {}, "value 'ghost' is read, but nothing computes it"),
    "an output that nothing computes": ("a = Relu(x)", {}, "value 'y' is read, but nothing computes it"),
    "too few inputs": ("[bad] y = Conv(x)", {}, "it has 1 inputs where 2 to 3 are needed"),
    "an omitted input that is needed": ("[bad] y = Conv(x, , w)", CONV, "it has 2 inputs where 2 to 3 are needed"),
    "too many inputs": ("[bad] y = Relu(x, x)", {}, "it has 2 inputs where 1 to 1 are needed"),
    "too many outputs": ("[bad] y, z = Relu(x)", {}, "it has 2 outputs where 1 to 1 are needed"),
    "an attribute of another type": ("[bad] y = Conv<pads = 1>(x, w)", CONV, "attribute 'pads' is no INTS"),
    "an attribute that does not exist": ("[bad] y = Relu<alpha = 1.0>(x)", {}, "attribute 'alpha' does not exist"),
    "a missing attribute": ("[bad] y = MaxPool(x)", {}, "attribute 'kernel_shape' is missing"),
    "a flag that is neither 0 nor 1": (
        "[bad] y = MaxPool<kernel_shape = [2,2], ceil_mode = 3>(x)", {}, "attribute 'ceil_mode' is 3, not 0 or 1"),
}  # fmt: skip


@pytest.mark.parametrize("graph", list(GRAPHS))
def test_what_is_no_graph_is_refused(graph, tmp_path):
    body, keywords, words = GRAPHS[graph]
    found = refusal(tiny(body, **keywords), tmp_path)
    assert found.startswith("SFN101")
    assert words in found
    assert "[bad]" not in body or "at bad (" in found


def test_an_attribute_that_is_not_a_number_is_refused(tmp_path):
    model = tiny("[bad] y = LeakyRelu<alpha = 1.0>(x)")
    model.graph.node[0].attribute[0].f = np.nan
    assert refusal(model, tmp_path).startswith("SFN101 at bad (LeakyRelu): attribute 'alpha' is not a number")


def test_a_value_that_is_computed_twice_is_refused(tmp_path):
    model = rename(tiny("a = Relu(x) b = Tanh(a) y = Relu(b)"), b="a")
    assert "SFN101" in refusal(model, tmp_path)
    model = rename(tiny("a = Relu(x) y = Conv(a, w)", **CONV), a="w")
    assert "SFN101" in refusal(model, tmp_path)


def test_two_values_of_one_name_are_refused_whoever_read_the_file():
    """onnx_ir's newer versions do not make such a graph; older ones do."""
    model = ir.serde.deserialize_model(tiny("a = Relu(x) b = Tanh(a) y = Relu(b)"))
    model.graph.node(1).outputs[0].name = "a"
    with pytest.raises(CompileError, match="SFN101 at the file: value 'a' is computed twice"):
        check_graph(model, "the file")


def test_a_node_without_outputs_is_refused(tmp_path):
    model = tiny("a = Relu(x) y = Relu(x)")
    del model.graph.node[0].output[:]
    assert "SFN101 at without a name (Relu): it has 0 outputs" in refusal(model, tmp_path)


@pytest.mark.parametrize("body", ["[unusual] y = Conv(x, w)", "unusual = Relu(x) y = Conv(unusual, w)"])
def test_names_that_are_not_utf_8_are_refused(body, tmp_path):
    path = saved(tiny(body, **CONV), tmp_path)
    path.write_bytes(path.read_bytes().replace(b"unusual", b"un\xff\xfeual"))
    with pytest.raises(CompileError, match=r"SFN101 .*is not UTF-8"):
        load_model(path)


def test_nodes_in_any_order_are_put_in_order(tmp_path):
    assert_parity(tiny("y = Relu(b) b = Conv(a, w) a = Relu(x)", **CONV), tmp_path)


def test_two_inputs_of_one_name_are_refused(tmp_path):
    model = tiny("y = Relu(x)")
    model.graph.input.append(model.graph.input[0])
    assert refusal(model, tmp_path).startswith("SFN101")


# -- names -----------------------------------------------------------------------------------------------------------
OTHERS: dict[str, tuple[str, dict, str]] = {
    "zero points that fit no axis": (
        "[bad] d = DequantizeLinear<axis = 0>(q, s, z) y = Conv(x, d)",
        {"q": np.ones((4, 3, 1, 1), np.int8), "s": SMALL, "z": np.zeros(3, np.int8)}, "do not fit axis 0"),
    "a choice by a constant that is no truth value": (
        "[bad] w = Where(b, x, c) y = Relu(w)",
        {"c": SMALL, "b": np.array(["a"], object)}, "constant"),
    "an image of too many pixels": (
        '[bad] y = Resize<mode = "nearest">(x, , s)', {"s": np.array([1, 1, 1e6, 1e6], np.float32)}, "holds more than"),
    "a repetition of too many": ("[bad] y = Tile(x, r)", {"r": ints(1, 1, 2**40, 1)}, "holds more than"),
    "an expansion of too many": (
        "m = ReduceMean<axes = [3]>(x) [bad] y = Expand(m, s)", {"s": ints(1, 3, 6, 2**40), "opset": 13}, "more than"),
    "a stride of too many": (
        "[bad] y = ConvTranspose<strides = [1073741824, 1]>(x, w)", {"w": noise(3, 4, 3, 3)}, "holds more than"),
    "a stride of too many phases": (
        "m = GlobalAveragePool(x) [bad] y = ConvTranspose<strides = [1073741824, 1]>(m, w)",
        {"w": noise(3, 4, 1, 1)}, "holds more than"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(OTHERS))
def test_numbers_that_cannot_be_meant_are_refused_at_their_node(case, tmp_path):
    body, keywords, words = OTHERS[case]
    found = refusal(tiny(body, **keywords), tmp_path)
    assert found[:6] in ("SFN101", "SFN108", "SFN202")
    assert words in found
    assert "do not fit together (" not in found
    assert "at bad (" in found


@pytest.mark.parametrize("name", ["a/b.c:d e", "ä☃", "n" * 10_000, "\x1b[31mred\n", " ", "..", "%s{}", "'\"", "\u202e"])
def test_names_may_be_anything_and_messages_stay_readable(name, tmp_path):
    model = rename(tiny("a = Conv(x, w) b = Relu(a) y = Flatten(b)", **CONV), a=name)
    model.graph.node[0].name = name
    graph = assert_parity(model, tmp_path)
    (label,) = graph.nodes[0].origin.nodes
    assert label.isprintable()
    assert len(label) < 450


# -- tensors ---------------------------------------------------------------------------------------------------------
def tensor_of(model: onnx.ModelProto, **changes: object) -> onnx.ModelProto:
    """The model with fields of its first initializer changed."""
    for name, value in changes.items():
        if name == "dims":
            model.graph.initializer[0].dims[:] = value
        else:
            setattr(model.graph.initializer[0], name, value)
    return model


@pytest.mark.parametrize(
    "changes",
    [{"dims": [4, 3, 3, 4]}, {"dims": [2**40, 2**40]}, {"dims": [-1, 3]}, {"raw_data": b"123"}, {"data_type": 0},
     {"data_type": 77}, {"data_type": onnx.TensorProto.STRING}],
)  # fmt: skip
def test_a_tensor_whose_bytes_do_not_fit_is_refused(changes, tmp_path):
    found = refusal(tensor_of(tiny("y = Conv(x, w)", **CONV), **changes), tmp_path)
    assert found.startswith("SFN101")


@pytest.mark.parametrize(
    ("body", "array"),
    [("y = Conv(x, w)", noise(4)), ("y = Conv(x, w)", noise(0, 3, 3, 3)), ("y = Conv(x, w)", noise(4, 3, 0, 0)),
     ("f = Flatten(x) y = Gemm(f, w)", noise(108)), ("y = Conv(x, w)", np.array(["a", "b"], object)),
     ("y = Reshape(x, w)", noise(2)), ("y = Reshape(x, w)", ints(1, 108).reshape(1, 2)), ("y = Clip(x, w)", noise(0)),
     ("y = Squeeze(x, w)", np.array(["a"], object)), ("y = MaxPool<kernel_shape = [0,0]>(x)", noise(1)),
     ("y = MaxPool<kernel_shape = [2]>(x)", noise(1)), ("y = MaxPool<kernel_shape = [2,2], strides = [0,1]>(x)", SMALL),
     ("y = Conv<group = 0>(x, w)", CONV["w"]), ("y = Conv<group = -1>(x, w)", CONV["w"]),
     ("y = Conv<pads = [-9,0,0,0]>(x, w)", CONV["w"])],
)  # fmt: skip
def test_a_constant_or_attribute_that_cannot_be_meant_is_refused(body, array, tmp_path):
    assert refusal(tiny(body, w=array), tmp_path)[:6] in ("SFN101", "SFN202")


def test_sparse_weights_are_refused_by_name(tmp_path):
    model = tiny("y = Conv(x, w)")
    one = helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [1.0])
    place = helper.make_tensor("places", onnx.TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(one, place, [4, 3, 3, 3]))
    assert "SFN202" in refusal(model, tmp_path)
    assert "'w' is sparse" in refusal(model, tmp_path)


def test_a_sparse_constant_that_is_read_is_refused(tmp_path):
    model = tiny("[bad] c = Constant<value_int = 1>() y = Mul(x, c)")
    one, place = helper.make_tensor("v", 1, [1], [1.0]), helper.make_tensor("i", 7, [1], [0])
    sparse = helper.make_attribute("sparse_value", helper.make_sparse_tensor(one, place, [3, 6, 6]))
    model.graph.node[0].attribute[0].CopyFrom(sparse)
    assert "constant 'c' is sparse" in refusal(model, tmp_path)


def test_a_constant_without_a_value_is_refused(tmp_path):
    model = tiny("[bad] c = Constant<value_int = 1>() y = Mul(x, c)")
    del model.graph.node[0].attribute[:]
    assert refusal(model, tmp_path).startswith("SFN202 at bad (Constant): a Constant without a dense value")


def test_a_batch_of_no_sample_is_refused(tmp_path):
    assert refusal(tiny("y = Relu(x)", batch=0), tmp_path).startswith("SFN103 at input 'x': its batch is 0")


def test_what_no_importer_expects_is_refused_with_the_node(tmp_path, monkeypatch):
    monkeypatch.setitem(IMPORTERS, "Relu", lambda node: [][0])
    found = refusal(tiny("[odd] y = Relu(x)"), tmp_path)
    assert found.startswith("SFN202 at odd (Relu): its inputs and attributes do not fit together (IndexError")


def test_what_the_folder_cannot_digest_is_refused(tmp_path, monkeypatch):
    def broken(*_args: object, **_keywords: object) -> None:
        raise RuntimeError("no") from ValueError("a shape of another rank")

    monkeypatch.setattr("sfn_compile.frontend.load.optimizer.fold_constants", broken)
    found = refusal(tiny("y = Relu(x)"), tmp_path)
    assert found.startswith("SFN101: the graph is inconsistent (a shape of another rank)")


def test_infinite_bounds_are_bounds(tmp_path):
    assert_parity(tiny("y = Clip(x, lo, hi)", lo=np.float32(0), hi=np.float32(np.inf)), tmp_path)


def test_weights_that_nobody_reads_may_be_anything(tmp_path):
    assert_parity(tiny("y = Relu(x)", w=np.array([np.nan])), tmp_path)


@pytest.mark.parametrize("kind", ["FLOAT8E4M3FN", "BFLOAT16", "FLOAT16", "INT8", "INT4"])
def test_weights_of_small_types_are_read(kind, tmp_path):
    model = tiny("d = Cast<to = 1>(w) y = Conv(x, d)", opset=21)
    numbers = [1.0, -2.0, 0.5] * 4 if "FLOAT" in kind else [1, -2, 3] * 4
    model.graph.initializer.append(helper.make_tensor("w", getattr(onnx.TensorProto, kind), [4, 3, 1, 1], numbers))
    assert_parity(model, tmp_path)


# -- external data ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../w.bin", "a/../../w.bin", "folder", "pipe", "", "n" * 5000, "a\0b"]
)
def test_external_data_that_is_no_file_beside_the_model_is_refused(location, tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert external(tmp_path, location=location).startswith(("SFN102", "SFN101"))


@pytest.mark.parametrize("entries", [{"offset": "-4"}, {"length": "-4"}, {"offset": "many"}, {"length": str(2**62)}])
def test_external_data_at_a_place_that_does_not_exist_is_refused(entries, tmp_path):
    (tmp_path / "w.bin").write_bytes(bytes(4 * 108))
    assert external(tmp_path, location="w.bin", **entries).startswith(("SFN102", "SFN101"))


def external(folder, **entries: str) -> str:
    """The refusal of a model whose weight lies where the entries say."""
    model = tiny("y = Conv(x, w)", **CONV)
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in entries.items():
        weight.external_data.add(key=key, value=value)
    return refusal(model, folder)


# -- more than any machine has ---------------------------------------------------------------------------------------
BOMBS: dict[str, tuple[str, dict]] = {
    "ConstantOfShape": ("c = ConstantOfShape(s) y = Add(x, c)", {"s": ints(1, 100_000, 100_000)}),
    "Expand": ("c = Expand(k, s) y = Add(x, c)", {"k": SMALL, "s": ints(2**20, 2**20)}),
    "Range": ("r = Range(a, b, c) f = Cast<to = 1>(r) y = Add(x, f)",
              {"a": np.array(0), "b": np.array(2**40), "c": np.array(1)}),
    "Tile": ("c = Tile(k, s) y = Add(x, c)", {"k": noise(4), "s": ints(2**32)}),
    "Pad": ("c = Pad(k, s) y = Add(x, c)", {"k": noise(4), "s": ints(2**40, 0)}),
    "OneHot": ("c = OneHot(i, d, v) y = Add(x, c)", {"i": ints(1), "d": np.array(2**40), "v": noise(2)}),
    "an outer product": ("c = MatMul(a, b) y = Add(x, c)", {"a": noise(100_000, 1), "b": noise(1, 100_000)}),
    "a broadcast": ("c = Mul(a, b) y = Add(x, c)", {"a": noise(100_000, 1), "b": noise(1, 100_000)}),
    "constants that double": (
        "c0 = Expand(k, s) " + " ".join(f"c{i} = Concat<axis=0>(c{i - 1}, c{i - 1})" for i in range(1, 30))
        + " m = ReduceMax<keepdims=0>(c29) y = Add(x, m)", {"k": SMALL, "s": ints(1 << 20)}),
    "values that double": (
        "c0 = Relu(x) " + " ".join(f"c{i} = Concat<axis=1>(c{i - 1}, c{i - 1})" for i in range(1, 60))
        + " y = Relu(c59)", {}),
    "an input": ("y = Relu(x)", {"x": (2**31, 2**31)}),
    "a batch": ("y = Relu(x)", {"batch": 2**40}),
    "pads of a value": ("y = Pad(x, p)", {"p": ints(0, 0, 0, 0, 0, 0, 2**40, 0)}),
    "pads of a pool": ("y = AveragePool<kernel_shape = [1,1], pads = [0,0,1073741824,0]>(x)", {}),
    "pads of a Conv": ("y = Conv<pads = [0,0,1073741824,1073741824]>(x, w)", CONV),
}  # fmt: skip
