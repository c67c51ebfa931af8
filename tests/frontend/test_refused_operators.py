"""Operators that are refused by name say what stands in the way and what to do; one sentence for each of them."""

from __future__ import annotations

import onnx
import pytest
from onnx import helper

from sfn_compile.commands.check import check
from sfn_compile.foundation.diagnostics import CompileError, Diagnostic
from sfn_compile.frontend.operators import IMPORTERS
from sfn_compile.frontend.operators.refused import DOMAINS, REFUSED

from .tiny_onnx import imported, ints, noise, saved, tiny

OUTSIDE = {"DynamicQuantizeLSTM": "com.microsoft",
           "DynamicQuantizeMatMul": "com.microsoft", "MatMulIntegerToFloat": "com.microsoft"}  # fmt: skip


def refused(op_type: str, domain: str, folder) -> list[Diagnostic]:
    """What is said of Relu, the operator, Add of both, Relu; its inputs and attributes are as they may be."""
    inputs, attributes, n_out, opset = ["a"], {}, 1, 17
    if not domain:
        opset = max(v for v in range(1, onnx.defs.onnx_opset_version() + 1) if known(op_type, v))
        schema = onnx.defs.get_schema(op_type, opset, "")
        inputs = ["a"] * max(schema.min_input, min(schema.max_input, 1))
        attributes = {name: example(a) for name, a in schema.attributes.items() if a.required}
        n_out = max(schema.min_output, 1)
    bad = helper.make_node(op_type, inputs, ["b", *("", "")[: n_out - 1]], "bad", domain=domain, **attributes)
    # A layer stands behind it, so that the host cannot take it.
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "first"),
        bad,
        helper.make_node("Add", ["a", "b"], ["c"], "both"),
        helper.make_node("Relu", ["c"], ["y"], "last"),
    ]
    sides = [helper.make_tensor_value_info("x", 1, ["N", 3, 6, 6]), helper.make_tensor_value_info("y", 1, None)]
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(helper.make_graph(nodes, "g", sides[:1], sides[1:]), opset_imports=opsets, ir_version=8)
    return check(saved(model, folder)).problems


def known(op_type: str, opset: int) -> bool:
    """Whether the operator exists in the opset and is not withdrawn."""
    try:
        return not onnx.defs.get_schema(op_type, opset, "").deprecated
    except onnx.defs.SchemaError:
        return False


def example(attribute: onnx.defs.OpSchema.Attribute) -> object:
    """A value of the attribute's type."""
    inner = helper.make_tensor_value_info("z", 1, None)
    body = helper.make_graph([helper.make_node("LSTM", ["x"] * 3, ["z"], hidden_size=1)], "body", [], [inner])
    kinds = {"INT": 1, "INTS": [1, 1], "FLOAT": 1.0, "FLOATS": [1.0], "STRING": "linear", "STRINGS": ["a"],
             "GRAPH": body, "TYPE_PROTO": helper.make_tensor_type_proto(1, [1])}  # fmt: skip
    return kinds[str(attribute.type).rpartition(".")[2]]


@pytest.mark.parametrize("op_type", sorted(REFUSED))
def test_an_operator_that_is_refused_by_name_says_why_and_what_to_do(op_type, tmp_path):
    (found,) = refused(op_type, OUTSIDE.get(op_type, ""), tmp_path)
    why, fix = REFUSED[op_type]
    assert (found.code, found.where) == ("SFN201", f"bad ({op_type})")
    assert f" is not supported: {why}" in found.what
    assert found.fix == (fix or found.fix) != ""


@pytest.mark.parametrize("domain", [prefix for prefix, _ in DOMAINS])
def test_operators_of_other_domains_say_what_their_domain_is(domain, tmp_path):
    (found,) = refused("Anything", domain, tmp_path)
    why, fix = dict(DOMAINS)[domain]
    assert found.what.startswith(f"operator {domain}::Anything is not supported: {why}")
    assert found.fix == fix


def test_an_operator_nobody_knows_is_refused_with_where_to_look(tmp_path):
    (found,) = refused("Anything", "my.lab", tmp_path)
    assert found.what.startswith("operator my.lab::Anything is not supported")
    assert "`sfnc ops`" in found.fix


def test_no_operator_is_both_imported_and_refused():
    assert not set(REFUSED) & set(IMPORTERS)


def test_what_lies_inside_a_loop_is_named(tmp_path):
    (found,) = refused("Loop", "", tmp_path)
    assert "Loop (with LSTM inside) is not supported: how often it runs" in found.what


@pytest.mark.parametrize(
    ("body", "keywords", "words"),
    [("[bad] y = Conv(x, w)", {"x": (2, 4, 4, 4), "w": noise(2, 2, 2, 2, 2)}, "3 space axes"),
     ("[bad] y = AveragePool<kernel_shape=[1,1,1]>(x)", {"x": (1, 2, 2, 2)}, "window over 3 axes"),
     ("i = ArgMax<axis=1>(x) [bad] y = GatherElements<axis=1>(x, i) z = Conv(y, w)",
      {"w": noise(2, 3, 1, 1), "outputs": ("z",)}, "picks by indices that are computed at run time"),
     ("[bad] y = LpNormalization<p=1>(x) z = Conv(y, w)", {"w": noise(2, 3, 1, 1), "outputs": ("z",)},
      "sum of sizes")],
)  # fmt: skip
def test_what_is_refused_for_its_shape_says_so(body, keywords, words, tmp_path):
    with pytest.raises(CompileError, match=words) as caught:
        imported(tiny(body, **keywords), tmp_path)
    (found,) = caught.value.diagnostics
    assert found.where.startswith("bad (")


def test_all_states_of_the_nodes_are_told(tmp_path):
    model = tiny("[one] a = Relu(x) [two] b = ReduceProd(a) [three] c = Relu(b) [four] y = Det(c)", i=ints(1))
    found = check(saved(model, tmp_path))
    assert found.nodes == [("one (Relu)", "ok"), ("two (ReduceProd)", "SFN201"), ("three (Relu)", "behind"),
                           ("four (Det)", "SFN201")]  # fmt: skip
    assert found.exit_code == 3
