"""Several inputs, inputs nobody needs, integer inputs, half precision: what enters a network, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from sfn_compile.compiler.import_check import check_import
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.samples import ModelInput
from sfn_compile.frontend import import_model, load_model
from sfn_compile.frontend.reference import FloatReference

from .tiny_onnx import assert_parity, imported, ints, noise, saved, tiny

POLICY = tiny("j = Concat<axis=1>(x, goal) h = Gemm(j, w) r = Relu(h) y = Gemm(r, v)", x=(6,),
              inputs=", float[N,3] goal", w=noise(9, 8), v=noise(8, 2))  # fmt: skip


def refusals(model: onnx.ModelProto, folder, **keywords) -> list[tuple[str, str, str]]:
    with pytest.raises(CompileError) as caught:
        import_model(load_model(saved(model, folder), **keywords))
    return [(d.code, d.where, d.what) for d in caught.value.diagnostics]


# -- several inputs ------------------------------------------------------------------------------------------------
def test_a_policy_with_observation_and_goal_is_imported_with_both(tmp_path):
    loaded = load_model(saved(POLICY, tmp_path))
    assert loaded.inputs == (ModelInput("x", (6,), "float32"), ModelInput("goal", (3,), "float32"))
    graph = import_model(loaded)
    assert [i.name for i in graph.inputs] == ["x", "goal"]
    x = {"x": noise(5, 6), "goal": noise(5, 3, seed=1)}
    check_import(graph, loaded, x)
    want = FloatReference(loaded.path, loaded.input_names, None).run(x)["y"]
    assert np.allclose(graph.evaluate(x)["y"], want, atol=1e-5)


def test_an_image_and_a_vector_may_have_different_types_and_ranks(tmp_path):
    body = """c = Cast<to=1>(x) a = Conv(c, w) p = GlobalAveragePool(a) f = Flatten(p) j = Concat<axis=1>(f, speed)
              y = Gemm(j, k)"""
    model = tiny(body, dtype="uint8", inputs=", float[N,2] speed", w=noise(4, 3, 3, 3), k=noise(6, 3))
    loaded = load_model(saved(model, tmp_path))
    assert [(i.shape, i.dtype) for i in loaded.inputs] == [((3, 6, 6), "uint8"), ((2,), "float32")]
    check_import(import_model(loaded), loaded, {"x": np.full((2, 3, 6, 6), 200, np.uint8), "speed": noise(2, 2)})


def test_symbolic_axes_are_pinned_input_by_input(tmp_path):
    model = tiny("a = GlobalAveragePool(x) b = GlobalAveragePool(z) y = Add(a, b)", x=(3, "H", 5),
                 inputs=", float[N,3,7,W] z")  # fmt: skip
    assert [(c, w) for c, w, _ in refusals(model, tmp_path)] == [("SFN103", "input 'x'"), ("SFN103", "input 'z'")]
    pinned = load_model(tmp_path / "model.onnx", {"x": (1, 3, 4, 5), "z": (1, 3, 7, 8)})
    assert [i.shape for i in pinned.inputs] == [(3, 4, 5), (3, 7, 8)]
    found = refusals(model, tmp_path, input_shapes={"w": (1, 2)})
    assert found[0][2] == "--input-shape names 'w'; the model's inputs are 'x', 'z'"


@pytest.mark.parametrize(("first", "second", "batch"), [(1, 1, 1), ("N", "M", None), ("N", 4, 4), (4, "N", 4)])
def test_inputs_share_one_batch(first, second, batch, tmp_path):
    model = tiny("y = Add(x, z)", x=(3,), batch=first, inputs=f", float[{second},3] z")
    loaded = load_model(saved(model, tmp_path))
    assert loaded.batch == batch
    if first != "N" or second != 4:
        check_import(import_model(loaded), loaded, {"x": noise(5, 3), "z": noise(5, 3, seed=1)})


def test_inputs_with_different_batches_are_refused(tmp_path):
    model = tiny("a = GlobalAveragePool(x) f = Flatten(a) y = Add(f, z)", batch=2, inputs=", float[4,3] z")
    assert refusals(model, tmp_path)[0] == ("SFN105", "", "its inputs have different batch sizes: 2 of 'x', 4 of 'z'")


@pytest.mark.parametrize("shape", ["[]", "[3]"])
def test_an_input_without_a_batch_of_its_own_is_refused_by_name(shape, tmp_path):
    model = tiny("y = Add(x, z)", x=(3,), inputs=f", float{shape} z")
    code, where, what = refusals(model, tmp_path)[0]
    assert (code, where) == ("SFN105", "input 'z'")
    assert "the first axis must be the batch" in what


# -- inputs nobody needs -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "body"),
    [("float[N,4]", "y = Relu(x)"), ("bool[N]", "y = Relu(x)"), ("string[N,2]", "y = Relu(x)"),
     ("int64[N,7]", "y = Relu(x) dead = Cast<to=1>(idle)"), ("float[K,L,2]", "y = Relu(x)")],
)  # fmt: skip
def test_an_input_that_no_output_depends_on_is_ignored(kind, body, tmp_path):
    loaded = load_model(saved(tiny(body, inputs=f", {kind} idle"), tmp_path))
    assert loaded.input_names == ("x",)
    graph = import_model(loaded)
    assert [i.name for i in graph.inputs] == ["x"]
    check_import(graph, loaded, {"x": noise(3, 3, 6, 6)})


def test_an_input_of_which_only_the_shape_is_read_is_ignored(tmp_path):
    body = "s = Shape(like) y = Reshape(x, s)"
    loaded = load_model(saved(tiny(body, batch=1, inputs=", float[1,9,12] like"), tmp_path))
    assert loaded.input_names == ("x",)
    check_import(import_model(loaded), loaded, {"x": noise(2, 3, 6, 6)})


def test_an_input_that_only_a_branch_reads_is_needed(tmp_path):
    """The inside of an If reads values of the graph around it."""
    model = tiny("c = ReduceMax<keepdims=0>(x) b = Cast<to=9>(c) y = If(b) <then_branch = t () => (float[] r) "
                 "{ r = Relu(z) }, else_branch = e () => (float[] q) { q = Neg(z) }>",
                 inputs=", float[N,3] z")  # fmt: skip
    assert "SFN201" in {code for code, _, _ in refusals(model, tmp_path)}
    assert load_model(tmp_path / "model.onnx").input_names == ("x", "z")


# -- integers ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64"])
def test_integers_are_numbers_behind_a_cast(dtype, tmp_path):
    graph = assert_parity(tiny("c = Cast<to=1>(x) y = Gemm(c, w)", x=(5,), dtype=dtype, w=noise(5, 3)), tmp_path)
    assert graph.inputs[0].dtype == dtype


@pytest.mark.parametrize(("dtype", "to"), [("int32", 7), ("uint8", 6), ("uint16", 7), ("int16", 5)])
def test_a_cast_to_an_integer_type_that_holds_every_number_changes_none(dtype, to, tmp_path):
    assert_parity(tiny(f"d = Cast<to={to}>(x) c = Cast<to=1>(d) y = Gemm(c, w)", x=(5,), dtype=dtype, w=noise(5, 3)),
                  tmp_path)  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "body", "words"),
    [("int64", "d = Div(x, three) c = Cast<to=1>(d) y = Relu(c)", "on INT64 it drops the fraction of its result"),
     ("int32", "d = ReduceMean<axes=[1]>(x) c = Cast<to=1>(d) y = Relu(c)", "on INT32 it drops the fraction"),
     ("uint8", "d = Add(x, three) c = Cast<to=1>(d) y = Relu(c)", "on UINT8 its result wraps around"),
     ("int64", "d = Cast<to=3>(x) c = Cast<to=1>(d) y = Relu(c)", "to INT8 rounds"),
     ("uint8", "d = Cast<to=3>(x) c = Cast<to=1>(d) y = Relu(c)", "to INT8 rounds"),
     ("int8", "d = Cast<to=13>(x) c = Cast<to=1>(d) y = Relu(c)", "to UINT64 rounds")],
)  # fmt: skip
def test_arithmetic_that_is_another_on_integers_is_refused(dtype, body, words, tmp_path):
    numpy_type = np.dtype(dtype)
    model = tiny(body, x=(5,), dtype=dtype, opset=14, three=np.array(3, numpy_type))
    [(code, _, what)] = refusals(model, tmp_path)
    assert code == "SFN202"
    assert words in what


def test_integer_arithmetic_that_cannot_overflow_is_real_arithmetic(tmp_path):
    body = "d = Sub(x, three) e = Mul(d, three) c = Cast<to=1>(e) y = Gemm(c, w)"
    assert_parity(tiny(body, x=(5,), dtype="int64", three=np.array(3), w=noise(5, 3)), tmp_path)


@pytest.mark.parametrize(
    "body", ["[look] e = Gather(table, x) y = ReduceMean<axes=[1], keepdims=0>(e)",
             "u = Cast<to=7>(x) [look] e = Gather(table, u) y = ReduceMean<axes=[1], keepdims=0>(e)",
             "[look] o = OneHot(x, depth, onoff) y = Relu(o)"],
)  # fmt: skip
def test_an_integer_input_that_picks_is_refused_by_name(body, tmp_path):
    model = tiny(body, x=(4,), dtype="int32", opset=13, table=noise(10, 3), depth=ints(4), onoff=noise(2))
    (code, where, what), *_ = refusals(model, tmp_path)
    assert code == ("SFN202" if "OneHot" not in body else "SFN201")
    assert where.startswith("look")
    if code == "SFN202":
        assert what == "it picks by indices that are computed at run time, from input 'x'"


@pytest.mark.parametrize(("dtype", "words"), [("bool", "BOOL"), ("bfloat16", "BFLOAT16")])
def test_flags_and_bfloat16_are_refused_by_name(dtype, words, tmp_path):
    model = tiny("c = Cast<to=1>(flag) y = Add(x, c)", x=(3,), inputs=f", {dtype}[N,3] flag")
    code, where, what = refusals(model, tmp_path)[0]
    assert (code, where) == ("SFN105", "input 'flag'")
    assert what.startswith(f"its type is {words};")


# -- half precision ------------------------------------------------------------------------------------------------
HALF = {"w": noise(4, 3, 3, 3).astype(np.float16), "b": noise(4).astype(np.float16)}


def half(body: str, **keywords) -> onnx.ModelProto:
    """A model of float16 from its input to its outputs."""
    return tiny(body, dtype="float16", result="float16", **keywords)


def test_a_float16_model_passes_the_check_of_its_import(tmp_path):
    path = saved(half("a = Conv(x, w, b) y = Relu(a)", **HALF), tmp_path)
    loaded = load_model(path)
    x = noise(2, 3, 6, 6).astype(np.float16)
    check_import(import_model(loaded), loaded, {"x": x})
    assert FloatReference(path, ["x"], None).run({"x": x})["y"].dtype == np.float16


def test_float16_inside_a_float32_model_passes_too(tmp_path):
    loaded = load_model(saved(tiny("c = Cast<to=10>(x) a = Conv(c, w, b) y = Cast<to=1>(a)", **HALF), tmp_path))
    check_import(import_model(loaded), loaded, {"x": noise(2, 3, 6, 6)})


def test_the_tolerance_of_float16_does_not_hide_a_wrong_number(tmp_path):
    from dataclasses import replace

    loaded = load_model(saved(half("a = Conv(x, w, b) y = Relu(a)", **HALF), tmp_path))
    graph = import_model(loaded)
    conv = graph.nodes[0]
    wrong = replace(conv, op=replace(conv.op, bias=conv.op.bias + 0.5))
    with pytest.raises(CompileError, match=r"SFN107 .*'a' differs from onnxruntime"):
        check_import(replace(graph, nodes=(wrong, *graph.nodes[1:])), loaded, noise(2, 3, 6, 6).astype(np.float16))


def test_a_float16_model_that_overflows_is_named(tmp_path):
    body = "a = Mul(x, large) b = Mul(a, large) c = Mul(b, small) y = Gemm(c, w)"
    model = half(body, x=(4,), large=np.float16(1000), small=np.float16(0.001),
                 w=noise(4, 2).astype(np.float16))  # fmt: skip
    loaded = load_model(saved(model, tmp_path))
    with pytest.raises(CompileError, match=r"SFN106 .*'b' holds 8 numbers that are infinite or NaN"):
        check_import(import_model(loaded), loaded, np.full((2, 4), 3, np.float16))


def test_bfloat16_weights_are_refused_by_name(tmp_path):
    model = tiny("c = Cast<to=1>(w) y = Mul(x, c)", x=(4,))
    model.graph.initializer.append(onnx.helper.make_tensor("w", onnx.TensorProto.BFLOAT16, [4], [1.0, 2.0, 3.0, 4.0]))
    assert imported(model, tmp_path).nodes  # a constant that is folded to float32 is none
    model = tiny("c = Cast<to=16>(x) a = Mul(c, w) y = Cast<to=1>(a)", x=(4,))
    model.graph.initializer.append(onnx.helper.make_tensor("w", onnx.TensorProto.BFLOAT16, [4], [1.0, 2.0, 3.0, 4.0]))
    assert {code for code, _, _ in refusals(model, tmp_path)} == {"SFN202"}
