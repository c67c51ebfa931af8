"""Files that are models in every form exporters write, and files that are not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from sfn_compile.compiler.import_check import check_import
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.samples import ModelInput
from sfn_compile.frontend import import_model, load_model
from sfn_compile.frontend.load import external_files
from sfn_compile.frontend.reference import FloatReference
from sfn_compile.graph.ops import Linear, Moved

from .tiny_onnx import TOLERANCE, assert_parity, by_onnxruntime, imported, ints, noise, samples, saved, tiny

CONV = {"w": noise(4, 3, 3, 3)}


def refused(model: onnx.ModelProto, folder, **keywords) -> CompileError:
    with pytest.raises(CompileError) as caught:
        import_model(load_model(saved(model, folder), **keywords))
    return caught.value


def codes(error: CompileError) -> list[str]:
    return [d.code for d in error.diagnostics]


# -- what is accepted ----------------------------------------------------------------------------------------------
def test_initializers_that_are_listed_as_inputs_are_constants(tmp_path):
    model = tiny("y = Conv(x, w)", inputs=", float[4,3,3,3] w", **CONV)
    assert_parity(model, tmp_path)


@pytest.mark.parametrize("batch", [1, 4, "N"])
def test_batches_may_be_one_or_fixed_or_symbolic(batch, tmp_path):
    model = tiny("a = Conv(x, w) b = Relu(a) y = Flatten(b)", batch=batch, **CONV)
    assert_parity(model, tmp_path, n=4 if batch == "N" else batch)
    assert load_model(tmp_path / "model.onnx").batch == (None if batch == "N" else batch)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_reshape_may_spell_out_a_fixed_batch(batch, tmp_path):
    assert_parity(tiny("y = Reshape(x, s)", batch=batch, s=ints(batch, 9, 12)), tmp_path, n=batch)


def test_a_fixed_batch_runs_any_number_of_samples(tmp_path):
    model = tiny("y = Relu(x)", batch=4)
    reference = FloatReference(saved(model, tmp_path), ["x"], 4)
    x = noise(10, 3, 6, 6)
    assert np.array_equal(reference.run(x)["y"], np.maximum(x, 0))


@pytest.mark.parametrize("batch", [1, 4, "N"])
def test_shape_arithmetic_is_folded(batch, tmp_path):
    """PyTorch's x.view(x.size(0), -1): Shape, Gather, Unsqueeze, Concat, Reshape."""
    body = """a = Relu(x) s = Shape(a) n = Gather(s, zero) u = Unsqueeze(n, axis) t = Concat<axis=0>(u, minus)
              f = Reshape(a, t) y = Gemm(f, w)"""
    keywords = {"zero": np.array(0), "axis": ints(0), "minus": ints(-1), "w": noise(108, 5), "batch": batch}
    graph = assert_parity(tiny(body, **keywords), tmp_path, n=4 if batch == "N" else batch)
    assert [type(n.op).__name__ for n in graph.nodes] == ["Activation", "Moved", "Linear"]


def test_arithmetic_on_constants_is_folded(tmp_path):
    graph = assert_parity(tiny("r = Reshape(c, s) m = Mul(r, two) y = Mul(x, m)", c=noise(3), s=ints(3, 1, 1),
                               two=np.float32(2)), tmp_path)  # fmt: skip
    assert len(graph.nodes) == 1


def test_random_operators_are_never_folded_to_one_draw(tmp_path):
    error = refused(tiny("[bad] r = RandomNormal<shape=[3,6,6]>() y = Add(x, r)"), tmp_path)
    assert "bad (RandomNormal)" in str(error)


def test_several_outputs_and_outputs_in_the_middle_are_imported(tmp_path):
    assert_parity(tiny("a = Conv(x, w) b = Relu(a) y = Flatten(b)", outputs=("y", "a"), **CONV), tmp_path)


def test_nodes_nobody_needs_are_dropped(tmp_path):
    graph = imported(tiny("y = Relu(x) z = Tanh(x)"), tmp_path)
    assert [n.name for n in graph.nodes] == ["y"]


def test_every_node_knows_the_onnx_node_it_came_from(tmp_path):
    graph = imported(tiny("[mean] y = ReduceMean<axes=[1,2], keepdims=0>(x)", opset=13), tmp_path)
    assert {n.origin.nodes for n in graph.nodes} == {("mean (ReduceMean)",)}
    assert {n.origin.passes for n in graph.nodes} == {("import",)}
    assert sum(isinstance(n.op, Linear) for n in graph.nodes) == 1
    assert all(isinstance(n.op, Linear | Moved) for n in graph.nodes)


def test_external_data_beside_the_model_is_read(tmp_path):
    path = with_external_data(tmp_path)
    loaded = load_model(path)
    assert external_files(loaded.model) == ["weights.bin"]
    graph = import_model(loaded)
    x = samples(graph, 2)
    want = by_onnxruntime(tiny("y = Conv(x, w)", w=noise(4, 3, 9, 9, seed=5), x=(3, 12, 12)), x)["y"]
    assert np.abs(graph.evaluate({"x": x})["y"] - want).max() < 100 * TOLERANCE
    check_import(graph, loaded, x)  # onnxruntime finds the data from its own copy as well


def test_external_data_is_looked_at_where_it_is(tmp_path):
    """Weights stay in their file: as views of it, also while they are searched for NaN."""
    path = with_external_data(tmp_path)
    (weight,) = load_model(path).model.graph.initializers.values()
    assert type(weight.const_value).__name__ == "ExternalTensor"
    assert not weight.const_value.numpy().flags.owndata
    data = np.fromfile(tmp_path / "weights.bin", np.float32)
    data[[5, 7]] = np.nan
    data.tofile(tmp_path / "weights.bin")
    with pytest.raises(CompileError, match=r"SFN104 at initializer 'w': 2 of 972 values are NaN"):
        load_model(path)


def with_external_data(folder):
    model = tiny("y = Conv(x, w)", w=noise(4, 3, 9, 9, seed=5), x=(3, 12, 12))
    path = folder / "model.onnx"
    onnx.save_model(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


# -- what is not ---------------------------------------------------------------------------------------------------
def test_missing_external_data_is_named(tmp_path):
    path = with_external_data(tmp_path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(CompileError, match=r"SFN102 .*'weights.bin' is missing or too short") as caught:
        load_model(path)
    assert codes(caught.value) == ["SFN102"]


def test_external_data_outside_the_models_folder_is_refused(tmp_path):
    path = with_external_data(tmp_path)
    model = onnx.load(str(path), load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../weights.bin"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CompileError, match="points outside the model's folder"):
        load_model(path)


def test_external_data_that_is_too_short_is_named(tmp_path):
    path = with_external_data(tmp_path)
    (tmp_path / "weights.bin").write_bytes((tmp_path / "weights.bin").read_bytes()[:-4])
    with pytest.raises(CompileError, match="SFN102"):
        load_model(path)


@pytest.mark.parametrize("content", [b"", b"this is not a model\n", b"\x00" * 64, b"<html></html>"])
def test_files_that_are_no_models_are_refused(content, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(CompileError) as caught:
        load_model(path)
    assert codes(caught.value) == ["SFN101"]


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path):
    whole = saved(tiny("a = Conv(x, w) y = Relu(a)", **CONV), tmp_path).read_bytes()
    for size in range(1, len(whole), 23):
        (tmp_path / "cut.onnx").write_bytes(whole[:size])
        with pytest.raises(CompileError) as caught:
            import_model(load_model(tmp_path / "cut.onnx"))
        assert set(codes(caught.value)) <= {"SFN101", "SFN105"}, size


@pytest.mark.parametrize(("name", "what"), [("", "it is a folder"), ("no.onnx", "no such file")])
def test_a_folder_or_a_missing_file_is_refused(name, what, tmp_path):
    with pytest.raises(CompileError, match=rf"SFN101 .*{what}"):
        load_model(tmp_path / name)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(bad, tmp_path):
    weight = noise(4, 3, 3, 3)
    weight[1, 2, 0, 0] = bad
    error = refused(tiny("y = Conv(x, w)", w=weight), tmp_path)
    assert str(error).startswith("SFN104 at initializer 'w': 1 of 108 values are NaN or infinite")


def test_constants_that_are_not_finite_are_refused_by_name(tmp_path):
    model = tiny("c = Constant<value = float[2] {1.0, 2.0}>() y = Mul(x, c)", x=(2,))
    model.graph.node[0].attribute[0].t.float_data[0] = np.nan
    assert codes(refused(model, tmp_path)) == ["SFN104"]


def test_a_symbolic_axis_is_refused_and_pinned_by_input_shape(tmp_path):
    model = tiny("y = Conv(x, w)", x=(3, "H", "W"), **CONV)
    error = refused(model, tmp_path)
    assert codes(error) == ["SFN103"]
    assert "--input-shape x=1,3,N,N" in str(error)
    assert load_model(tmp_path / "model.onnx", {"x": (1, 3, 8, 9)}).inputs == (ModelInput("x", (3, 8, 9), "float32"),)


@pytest.mark.parametrize("given", [(1, 3, 8), (1, 4, 8, 8), (1, 3, 0, 8)])
def test_an_input_shape_that_does_not_fit_is_refused(given, tmp_path):
    model = tiny("y = Conv(x, w)", x=(3, "H", 8), **CONV)
    assert codes(refused(model, tmp_path, input_shapes={"x": given})) == ["SFN103"]


def test_an_input_shape_for_another_name_is_refused(tmp_path):
    error = refused(tiny("y = Relu(x)"), tmp_path, input_shapes={"image": (1, 3, 6, 6)})
    assert "the model's input is 'x'" in str(error)


def test_an_input_that_cannot_be_pinned_does_not_hide_refused_operators(tmp_path):
    body = (
        """[memory] h, , c = LSTM<hidden_size=2>(x, w, r, , , h0) [size] s = Shape(x) [magic] y = custom.Magic(h, s)"""
    )
    model = tiny(body, x=(4, 3), inputs=", float[1,N,2] h0", w=noise(1, 8, 3), r=noise(1, 8, 2))
    error = refused(model, tmp_path)
    assert [(d.code, d.where) for d in error.diagnostics[1:]] == [
        ("SFN201", "memory (LSTM)"), ("SFN201", "magic (Magic)")]  # fmt: skip
    assert (error.diagnostics[0].code, error.diagnostics[0].where) == ("SFN103", "input 'h0'")


def test_a_model_without_inputs_is_refused(tmp_path):
    model = tiny("y = Relu(x)")
    model.graph.initializer.append(onnx.numpy_helper.from_array(noise(1, 3, 6, 6), "x"))
    assert "no output depends on an input (inputs: none)" in str(refused(model, tmp_path))


@pytest.mark.parametrize("dtype", ["bool", "bfloat16", "double_complex", "string"])
def test_inputs_of_other_types_are_refused(dtype, tmp_path):
    dtype = "complex128" if dtype == "double_complex" else dtype
    assert codes(refused(tiny("y = Identity(x)", dtype=dtype), tmp_path)) == ["SFN105"]


def test_an_input_without_a_batch_axis_is_refused(tmp_path):
    model = tiny("y = Relu(x)")
    del model.graph.input[0].type.tensor_type.shape.dim[1:]
    assert "at least one more must follow" in str(refused(model, tmp_path))


def test_an_input_without_a_shape_is_refused(tmp_path):
    model = tiny("y = Relu(x)")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert codes(refused(model, tmp_path)) == ["SFN105"]


def test_a_model_that_onnxruntime_does_not_run_is_refused(tmp_path):
    model = tiny("y = Conv(x, w)", **CONV)
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("nonsense", 1))
    path = saved(model, tmp_path)
    with pytest.raises(CompileError, match="SFN106"):
        FloatReference(path, ["x"], None)
