"""Files that ask for more than a machine has, or grow without end: refused before the work begins."""

from __future__ import annotations

import contextlib
import time
from contextlib import nullcontext as does_not_raise

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from onnx import helper

from sfn_compile.commands.check import check
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.frontend import import_model, load_model
from sfn_compile.passes.pipeline import STRUCTURE, run_passes

from .mutate import with_function, with_if
from .test_hostile import BOMBS, CONV, refusal
from .tiny_onnx import assert_parity, by_onnxruntime, ints, noise, saved, tiny


@pytest.mark.parametrize("bomb", list(BOMBS))
def test_a_few_bytes_cannot_ask_for_more_than_a_machine_has(bomb, tmp_path):
    body, keywords = BOMBS[bomb]
    assert refusal(tiny(body, **keywords), tmp_path).startswith("SFN108")


def test_folding_that_would_take_hours_is_not_begun(tmp_path):
    model = tiny("c = Conv(k, w) m = ReduceMax<keepdims=0>(c) y = Add(x, m)", k=noise(1, 3, 256, 256), **CONV)
    start = time.perf_counter()
    assert refusal(model, tmp_path).startswith("SFN202 at c (Conv): input 0 is a constant")
    assert time.perf_counter() - start < 5


def test_lists_of_a_million_pieces_are_not_made(tmp_path):
    body = "s = SplitToSequence<axis = 1>(x, k) q = SequenceAt(s, i) y = Relu(q)"
    given = {"k": np.array(1), "i": np.array(0)}
    assert refusal(tiny(body, (2**20, 4), **given), tmp_path).startswith("SFN201 at s (SplitToSequence)")
    assert_parity(tiny(body, (6, 4), **given), tmp_path)


# -- functions and branches ------------------------------------------------------------------------------------------
def test_functions_of_the_model_are_inlined(tmp_path):
    assert_parity(with_function(), tmp_path)


def test_a_function_that_calls_itself_is_refused(tmp_path):
    model = with_function()
    model.functions[1].node[0].CopyFrom(helper.make_node("Block", ["x"], ["y"], domain="local"))
    model.functions[1].opset_import.add(domain="local", version=1)
    assert "calls itself" in refusal(model, tmp_path)


def test_a_function_that_is_called_with_other_inputs_is_refused(tmp_path):
    model = with_function()
    model.graph.node[0].input.append("x")
    assert "SFN101" in refusal(model, tmp_path)
    assert "its functions are inconsistent" in refusal(model, tmp_path)


def test_functions_that_grow_without_end_are_refused(tmp_path):
    head = '<domain: "local", opset_import: ["": 17, "local": 1]> F'
    bodies = [f"{head}{i} (x) => (y) {{ a = local.F{i - 1}(x) y = local.F{i - 1}(a) }}" for i in range(1, 40)]
    text = f"""<ir_version: 8, opset_import: ["": 17, "local": 1]> m (float[N,3] x) => (float[N,3] y) {{
        y = local.F39(x) }} {head}0 (x) => (y) {{ y = Relu(x) }} {" ".join(bodies)}"""
    assert "grow to more than" in refusal(onnx.parser.parse_model(text), tmp_path)


@pytest.mark.parametrize("condition", [True, False])
def test_a_branch_that_a_constant_decides_is_taken(condition, tmp_path):
    graph = assert_parity(with_if(condition), tmp_path)
    assert [n.op.kind for n in graph.nodes] == ["relu" if condition else "tanh"]


def test_a_branch_that_a_shape_decides_is_taken(tmp_path):
    """PyTorch's squeeze of an axis of unknown length: If the axis is 1 long, Squeeze, else Identity."""
    text = """<ir_version: 8, opset_import: ["": 17]> m (float[N,4,1] x) => (float[] y) {
        s = Shape(x) two = Constant<value = int64[1] {2}>() one = Constant<value = int64[1] {1}>()
        d = Gather(s, two) e = Equal(d, one)
        z = If(e) <then_branch = t () => (float[N,4] r) { r = Squeeze(x, two) },
                   else_branch = f () => (float[N,4,1] r) { r = Identity(x) }>
        y = Relu(z) }"""
    assert_parity(onnx.parser.parse_model(text), tmp_path)


def test_branches_in_branches_without_end_are_refused(tmp_path):
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["r"])], "inner", [], [])
    with contextlib.suppress(DecodeError):  # protobuf itself ends somewhere
        for _ in range(200):
            node = helper.make_node("If", ["c"], ["r"], then_branch=graph)
            graph = helper.make_graph([node], "outer", [], [])
    graph.input.append(helper.make_tensor_value_info("x", 1, ["N", 3]))
    graph.output.append(helper.make_tensor_value_info("r", 1, None))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "c"))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert refusal(model, tmp_path).startswith("SFN101")


# -- length ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kinds", [("Relu",), ("Add",), ("Sigmoid", "Add", "Mul"), ("Identity",)])
def test_a_chain_of_thousands_of_nodes_takes_time_by_its_length(kinds, tmp_path):
    """No recursion, and nothing that grows with the square: four times the nodes take about four times as long."""
    seconds = []
    for n in (1000, 4000):
        path = saved(chain(n, kinds), tmp_path)
        start = time.process_time()
        graph = import_model(load_model(path))
        if kinds != ("Identity",):
            run_passes(graph, STRUCTURE)
        seconds.append(time.process_time() - start)
    assert seconds[1] < 10 * seconds[0]


def test_constants_and_matrices_in_a_row_take_time_by_their_number(tmp_path):
    """Constants that read one stored number, and matrices without a function between, which become one."""
    for make, sizes in ((constants_in_a_row, (2000, 16_000)), (matrices_in_a_row, (250, 1000))):
        seconds = []
        for n in sizes:
            path = saved(make(n), tmp_path)
            start = time.process_time()
            graph = run_passes(import_model(load_model(path)), STRUCTURE)
            seconds.append(time.process_time() - start)
        assert seconds[1] < 2.5 * sizes[1] / sizes[0] * seconds[0]
        (layer,) = graph.nodes  # all of them are one matrix
        x = noise(3, 8)
        given = by_onnxruntime(onnx.load(path), x)["y"]
        # what 1000 products in float32 are off by, relative to the largest result
        made = np.maximum(graph.evaluate({"x": x})[layer.name], 0)  # the Relu at the end is the host's
        assert np.allclose(made, given, rtol=0, atol=1e-4 * np.abs(given).max())


def constants_in_a_row(n: int) -> onnx.ModelProto:
    """The weights are the last of n sums of constants."""
    nodes = [helper.make_node("Add", [f"v{i}", "c"], [f"v{i + 1}"]) for i in range(n)]
    nodes += [helper.make_node("MatMul", ["x", f"v{n}"], ["m"]), helper.make_node("Relu", ["m"], ["y"])]
    return _on_vectors(nodes, {"v0": noise(8, 8), "c": np.full(1, 2.0**-14, np.float32)})


def matrices_in_a_row(n: int) -> onnx.ModelProto:
    nodes = [helper.make_node("MatMul", [f"v{i}" if i else "x", f"w{i}"], [f"v{i + 1}"]) for i in range(n)]
    nodes.append(helper.make_node("Relu", [f"v{n}"], ["y"]))
    turns = {f"w{i}": np.linalg.qr(noise(8, 8, seed=i))[0].astype(np.float32) for i in range(n)}
    return _on_vectors(nodes, turns)


def _on_vectors(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    sides = [helper.make_tensor_value_info(name, 1, ["N", 8]) for name in ("x", "y")]
    stored = [onnx.numpy_helper.from_array(v, name) for name, v in weights.items()]
    graph = helper.make_graph(nodes, "row", sides[:1], sides[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def chain(n: int, kinds: tuple[str, ...]) -> onnx.ModelProto:
    """A chain of nodes and a Conv at its ends, so that nothing of it goes to the host."""
    nodes = [helper.make_node("Conv", ["x", "k"], ["v0"])]
    for i in range(n):
        kind = kinds[i % len(kinds)]
        nodes.append(helper.make_node(kind, [f"v{i}", *(["c"] if kind in ("Add", "Mul") else [])], [f"v{i + 1}"]))
    nodes.append(helper.make_node("Conv", [f"v{n}", "k"], ["y"]))
    sides = [helper.make_tensor_value_info("x", 1, ["N", 2, 4]), helper.make_tensor_value_info("y", 1, None)]
    given = {"c": np.float32(1.001), "k": noise(2, 2, 1)}
    weights = [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in given.items()]
    graph = helper.make_graph(nodes, "chain", sides[:1], sides[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


# -- numbers that overflow -------------------------------------------------------------------------------------------
def test_a_network_whose_own_values_overflow_is_refused(tmp_path):
    from sfn_compile.compiler.compilation import compile_model
    from sfn_compile.foundation.options import Options

    model = tiny("a = Conv(x, w) b = Relu(a) y = Conv(b, v)", w=noise(4, 3, 3, 3) * 1e30, v=noise(2, 4, 1, 1) * 1e30)
    with pytest.raises(CompileError, match=r"SFN106 at .*infinite or NaN") as caught:
        compile_model(saved(model, tmp_path), Options(samples=4))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("layer", ["hidden", "last"])
def test_a_bias_beyond_every_accumulator_is_always_or_is_refused(layer, tmp_path):
    from sfn_compile.compiler.compilation import compile_model
    from sfn_compile.foundation.options import Options

    bias = {"b": noise(4) * (1e30 if layer == "hidden" else 0), "d": noise(2) * (1e30 if layer == "last" else 0)}
    model = tiny("a = Conv(x, w, b) r = Relu(a) y = Conv(r, v, d)", v=noise(2, 4, 1, 1), **CONV, **bias)
    expected = does_not_raise() if layer == "hidden" else pytest.raises(CompileError, match=r"SFN401.*accumulator")
    with expected:
        program = compile_model(saved(model, tmp_path), Options(samples=4)).program
        assert all(abs(p.acc_max) < 2**24 for p in program.populations())


def test_an_end_for_the_host_whose_shapes_do_not_fit_is_refused(tmp_path):
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("TopK", ["a", "k"], ["b", ""]),
             helper.make_node("Add", ["a", "b"], ["y"])]  # fmt: skip
    sides = [helper.make_tensor_value_info("x", 1, ["N", 3, 6]), helper.make_tensor_value_info("y", 1, None)]
    k = onnx.numpy_helper.from_array(ints(2), "k")
    graph = helper.make_graph(nodes, "g", sides[:1], sides[1:], [k])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(CompileError, match="SFN101 at output 'y': its shapes do not fit together"):
        check(saved(model, tmp_path))


def test_check_says_the_same_as_compile(tmp_path):
    assert check(saved(with_if(True), tmp_path)).exit_code == 0
    with pytest.raises(CompileError, match="SFN108"):
        check(saved(tiny(*BOMBS["Tile"][:1], **BOMBS["Tile"][1]), tmp_path))
