"""The target onnx: a standard graph that stock onnxruntime computes bit for bit, whatever formulation a layer got."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx.reference import ReferenceEvaluator
from sfn_backends.onnx import FILE, OnnxBackend, parts
from sfn_backends.onnx.session import Network
from sfn_backends.onnx.writer import write

from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.program.network import (
    Decoding,
    Dense,
    Projection,
)
from sfn_compile.simulator.edge_inputs import edge_inputs
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.backend import RunRequest
from sfn_compile.testing.builder import Builder
from sfn_compile.testing.cases_products import root_mean_square
from sfn_compile.testing.conformance import CASES, Case, check

from .onnx_programs import (
    MORE,
    basic_block,
    bottleneck,
    broad_block,
    doubles,
    eight_bit_input,
    even_block,
    floats,
    one_axis_block,
    per_neuron,
    single_neuron,
    small_images,
    wide_codes,
    wide_convolutions,
    wide_rows,
    wide_sums,
)


def operators(program):
    return Counter(n.op_type for n in write(program).graph.node)


@pytest.mark.parametrize("case", [*CASES, *(Case(f.__name__, f) for f in MORE)], ids=str)
def test_onnxruntime_computes_the_integers_of_the_simulator(case, tmp_path):
    result = check(OnnxBackend(), case, tmp_path)
    assert set(result.values) == set(case.make().values())
    assert [r["different"] for r in result.readers] == [0]


@pytest.mark.parametrize("make", MORE, ids=lambda f: f.__name__)
def test_each_formulation_is_the_one_that_the_case_is_for(make):
    found = operators(make())
    assert {op: found[op] for op in MORE[make]} == MORE[make]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (floats, {"y": "FLOAT"}),
        (doubles, {"q": "DOUBLE", "n": "DOUBLE"}),
        (wide_rows, {"q": "INT64", "y": "DOUBLE"}),
        (root_mean_square, {"n": "DOUBLE", "w": "INT64", "v": "DOUBLE"}),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_each_quotient_of_a_row_is_computed_in_the_first_type_that_holds_it(make, expected):
    model = onnx.shape_inference.infer_shapes(write(make()))
    types = {v.name: onnx.TensorProto.DataType.Name(v.type.tensor_type.elem_type) for v in model.graph.value_info}
    assert {name: types[f"{name}/Div"] for name in expected} == expected


@pytest.mark.parametrize("make", [*MORE, *(c.make for c in CASES)], ids=lambda f: f.__name__)
def test_the_file_holds_standard_operators_and_passes_the_checker(make):
    model = write(make())
    onnx.checker.check_model(model, full_check=True)
    assert {n.domain for n in model.graph.node} == {""}
    assert [o.version for o in model.opset_import] == [18]


@pytest.mark.parametrize("make", [*MORE, *(c.make for c in CASES)], ids=lambda f: f.__name__)
def test_neither_optimisation_nor_further_outputs_change_an_integer(make):
    program = make()
    model, codes = write(program), edge_inputs(program)
    places = json.loads(model.metadata_props[0].value)["values"]
    expected = run_codes(program, codes, engine="reference")
    have = {t.name for t in (*model.graph.output, *model.graph.input)}
    model.graph.output.extend(onnx.ValueInfoProto(name=p["tensor"]) for p in places.values() if p["tensor"] not in have)
    for level in (ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = dict(zip([o.name for o in session.get_outputs()], session.run(None, typed(model, codes)), strict=True))
        for name in {s.name for s in program.steps}:
            place = places[name]
            assert np.array_equal(found[place["tensor"]].astype(np.int64) - place["zero"], expected[name]), name


# onnx's own implementation of QLinearConv knows no scale per channel, so these are the cases without it.
REFERENCE = (wide_sums, wide_convolutions, wide_codes, single_neuron, per_neuron, wide_rows, doubles, floats)


@pytest.mark.parametrize("make", REFERENCE, ids=lambda f: f.__name__)
def test_the_reference_implementation_of_onnx_computes_the_same(make):
    program = make()
    model, codes = write(program), edge_inputs(program, 2)
    (found,) = ReferenceEvaluator(model).run(None, typed(model, codes))
    assert np.array_equal(found, run_codes(program, codes)[program.outputs[0].value])


def typed(model, codes):
    types = {i.name: onnx.helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type) for i in model.graph.input}
    return {name: codes[name].astype(dtype) for name, dtype in types.items()}


# -- saturation ---------------------------------------------------------------------------------------------------
SATURATING = [eight_bit_input, basic_block, bottleneck, one_axis_block, broad_block, even_block, small_images]


@pytest.mark.parametrize("make", SATURATING)
def test_no_pair_of_products_of_an_int8_kernel_reaches_sixteen_bits(make):
    program = make()
    model = write(program)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in (n for n in model.graph.node if n.op_type == "QLinearConv"):
        weight = constants[node.input[3]]
        assert weight.dtype == np.int8
        assert 2 * largest_raw(program, model, node.input[0]) * np.abs(weight.astype(int)).max() <= parts.PAIR


def test_rows_of_a_thin_map_are_laid_out_in_whole_blocks_of_channels():
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in write(eight_bit_input()).graph.initializer}
    kernels = [n for n in write(eight_bit_input()).graph.node if n.op_type == "QLinearConv"]
    weight = constants[kernels[0].input[3]]
    assert weight.shape[1] == 24  # three channels, three rows of windows, two copies, and six that fill up
    assert not weight[:, 18:].any()


def largest_raw(program, model, tensor):
    """Return the largest uint8 that extreme inputs of all kinds put into a tensor."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    model.graph.output.append(onnx.ValueInfoProto(name=tensor))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return int(session.run([tensor], typed(model, edge_inputs(program, 40)))[0].max())


# -- files ------------------------------------------------------------------------------------------------------------
def emitted(folder, make=basic_block):
    program = make()
    OnnxBackend().emit(program, folder, {})
    return program


def test_the_same_program_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        emitted(tmp_path / name)
    assert (tmp_path / "a" / FILE).read_bytes() == (tmp_path / "b" / FILE).read_bytes()


def test_a_changed_weight_node_or_output_is_noticed(tmp_path):
    emitted(tmp_path)
    intact = onnx.load(tmp_path / FILE)

    def weight(model):
        found = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4)
        found.raw_data = bytes([found.raw_data[0] ^ 1]) + found.raw_data[1:]

    def node(model):
        model.graph.node[0].op_type = "Identity"

    def missing(model):
        del model.graph.node[-1]

    def opset(model):
        model.opset_import[0].version = 17

    for change in (weight, node, missing, opset):
        model = onnx.ModelProto.FromString(intact.SerializeToString())
        change(model)
        onnx.save(model, tmp_path / FILE)
        with pytest.raises(CompileError, match=r"SFN503.*was changed"):
            OnnxBackend().reload(tmp_path)


def test_a_changed_program_is_noticed(tmp_path):
    program = emitted(tmp_path)
    first = program.steps[0]
    other = replace(first, ladder=replace(first.ladder, theta=first.ladder.theta + 2))
    program_files.save(replace(program, steps=(other, *program.steps[1:])), tmp_path)
    with pytest.raises(CompileError, match=r"SFN503.*was changed"):
        OnnxBackend().reload(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no protobuf", onnx.ModelProto().SerializeToString()])
def test_a_file_that_is_no_network_is_refused(tmp_path, content):
    emitted(tmp_path)
    (tmp_path / FILE).write_bytes(content)
    for use in (lambda: OnnxBackend().reload(tmp_path), lambda: OnnxBackend().run(tmp_path, RunRequest({}))):
        with pytest.raises(CompileError, match=r"SFN503"):
            use()


def test_a_model_that_onnxruntime_refuses_is_reported_with_its_words(tmp_path):
    program = emitted(tmp_path)
    model = onnx.load(tmp_path / FILE)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / FILE)
    with pytest.raises(CompileError, match=r"SFN603.*NoSuchOperator"):
        OnnxBackend().run(tmp_path, RunRequest(edge_inputs(program)))


def test_the_time_limit_is_kept(tmp_path):
    program = emitted(tmp_path)
    with pytest.raises(CompileError, match=r"SFN603.*time limit"):
        OnnxBackend().run(tmp_path, RunRequest(edge_inputs(program), time_limit=-1.0))


def test_only_what_is_wanted_is_computed(tmp_path):
    program = emitted(tmp_path)
    codes = edge_inputs(program)
    found = OnnxBackend().run(tmp_path, RunRequest(codes, wanted=frozenset({"y"}))).values
    assert set(found) == {"x", "y"}
    assert np.array_equal(found["y"], run_codes(program, codes, ["y"])["y"])


def test_an_input_that_is_an_output_needs_no_graph(tmp_path):
    b = Builder((5,), lo=-8, hi=7)
    b.fire("h", Projection("x", Dense(b.weights(3, 5))))
    program = replace(b.build("h"), outputs=(Decoding("o", "x", np.ones(()), (), (5,)), *b.build("h").outputs))
    OnnxBackend().emit(program, tmp_path, {})
    codes = edge_inputs(program)
    found = OnnxBackend().run(tmp_path, RunRequest(codes, run_codes(program, codes)))
    assert np.array_equal(found.values["x"], codes["x"])


def test_a_network_past_two_gigabytes_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("sfn_backends.onnx.writer.LARGEST", 100)
    with pytest.raises(CompileError, match=r"SFN402.*2 GiB"):
        emitted(tmp_path)
    assert not list(tmp_path.iterdir())


def test_batches_are_cut_into_pieces_that_fit_memory(tmp_path, monkeypatch):
    program = emitted(tmp_path)
    codes = edge_inputs(program, 60)
    monkeypatch.setattr("sfn_backends.onnx.session._PIECE_BYTES", 1)
    assert Network(tmp_path / FILE)._piece() == 1
    found = OnnxBackend().run(tmp_path, RunRequest(codes)).values
    assert all(np.array_equal(found[k], v) for k, v in run_codes(program, codes).items())
