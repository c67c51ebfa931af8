"""What cannot be imported is refused: with its code, the ONNX node and the rule, and never by a crash."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.compiler.import_check import check_import
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.frontend import load_model

from .tiny_onnx import assert_parity, imported, ints, noise, saved, tiny

RUNTIME = ", float[N,3,3,3] w"
BN = {"g": np.ones(3), "h": np.ones(3), "m": np.ones(3), "v": np.ones(3)}
P = np.float32(2)
HALF = np.array([1.0, 1, 0.5, 0.5])

# sentence -> (body with the node [bad], keywords, code, words of the message)
CASES: dict[str, tuple[str, dict, str, str]] = {
    # -- BatchNormalization
    "a variance and an epsilon of 0": (
        "[bad] y = BatchNormalization<epsilon=0.0>(x, g, h, m, v)", {**BN, "v": np.array([1.0, 0, 1])}, "SFN202",
        "variance plus epsilon of channel 1 is 0"),
    "a variance below 0": (
        "[bad] y = BatchNormalization(x, g, h, m, v)", {**BN, "v": np.array([1.0, 1, -1])}, "SFN202",
        "variance plus epsilon of channel 2 is -1"),
    # -- Conv and windows
    "a Conv over three space axes": (
        "[bad] y = Conv(x, w)", {"x": (1, 3, 3, 3), "w": noise(1, 1, 2, 2, 2)}, "SFN202", "3 space axes"),
    "a Conv whose weight has another rank than its input": (
        "[bad] y = Conv(x, w)", {"w": noise(4, 3, 2)}, "SFN202", "space axes of input"),
    "a Conv whose groups do not fit its channels": (
        "[bad] y = Conv<group=2>(x, w)", {"w": noise(4, 3, 3, 3)}, "SFN202", "does not fit 3 input channels"),
    "a Conv with a computed weight": (
        "s = Relu(x) [bad] y = Conv(x, s)", {}, "SFN202", "weight is not a constant"),
    "a Conv with a computed bias": (
        "s = Relu(x) [bad] y = Conv(x, w, s)", {"w": noise(4, 3, 3, 3)}, "SFN202", "bias is not a constant"),
    "a Conv whose bias does not fit": (
        "[bad] y = Conv(x, w, b)", {"w": noise(4, 3, 3, 3), "b": noise(3)}, "SFN202", "bias of shape (3,)"),
    "strides of the wrong length": (
        "[bad] y = Conv<strides=[1]>(x, w)", {"w": noise(4, 3, 3, 3)}, "SFN202", "strides = [1]"),
    "a stride of zero": ("[bad] y = Conv<strides=[0,1]>(x, w)", {"w": noise(4, 3, 3, 3)}, "SFN202", "strides"),
    "pads of the wrong length": (
        "[bad] y = Conv<pads=[1,1]>(x, w)", {"w": noise(4, 3, 3, 3)}, "SFN202", "pads = [1, 1]"),
    "negative pads of a Conv": (
        "[bad] y = Conv<pads=[-1,0,0,0]>(x, w)", {"w": noise(4, 3, 3, 3)}, "SFN202", "pads"),
    "a window larger than its input": ("[bad] y = Conv(x, w)", {"w": noise(4, 3, 7, 3)}, "SFN202", "window of 7"),
    # -- Gemm, MatMul, BatchNormalization
    "a Gemm with transA": ("[bad] y = Gemm<transA=1>(x, w)", {"x": (5,), "w": noise(5, 4)}, "SFN203", "transA"),
    "a Gemm whose matrix does not fit": (
        "[bad] y = Gemm(x, w)", {"x": (5,), "w": noise(4, 5)}, "SFN202", "does not fit a sample"),
    "a Gemm with a computed matrix": ("s = Relu(x) [bad] y = Gemm(x, s)", {"x": (5,)}, "SFN202", "matrix B"),
    "a Gemm with a computed bias": (
        "s = Relu(x) [bad] y = Gemm(x, w, s)", {"x": (5,), "w": noise(5, 5)}, "SFN202", "bias C"),
    "a Gemm whose bias differs along the batch": (
        "[bad] y = Gemm(x, w, b)", {"x": (5,), "w": noise(5, 4), "b": noise(2, 4)}, "SFN203", "along the batch"),
    "a MatMul of values that do not fit": (
        "s = Relu(x) [bad] y = MatMul(x, s)", {"x": (3, 6, 5)}, "SFN202", "no matrix product"),
    "a MatMul of values whose leading axes differ": (
        "a, b = Split<axis=1, num_outputs=2>(x) [bad] y = MatMul(a, b)",
        {"x": (5, 6, 6), "opset": 18}, "SFN202", "which differ"),
    "a MatMul of values of different rank": (
        "s = ReduceMean<axes=[1], keepdims=0>(x) [bad] y = MatMul(x, s)", {"opset": 13}, "SFN203", "the batch is"),
    "a MatMul of one sample with another": (
        "a = Transpose<perm=[1,0]>(x) [bad] y = MatMul(x, a)", {"x": (5,)}, "SFN203", "different axes"),
    "a MatMul with a vector of each sample": (
        "[bad] y = MatMul(x, x)", {"x": (5,), "batch": 5}, "SFN203", "works along axis 0, the batch"),
    "a MatMul whose constant right does not fit": (
        "[bad] y = MatMul(x, w)", {"x": (5,), "w": noise(4, 5)}, "SFN202", "does not fit a sample"),
    "a MatMul whose constant left does not fit": (
        "[bad] y = MatMul(w, x)", {"x": (5, 2), "w": noise(3, 4)}, "SFN202", "not a matrix product"),
    "a MatMul with a constant matrix for each sample": (
        "[bad] y = MatMul(w, x)", {"x": (5, 2), "w": noise(3, 3, 5), "batch": 3}, "SFN203", "along the batch"),
    "a MatMul with several matrices of another rank": (
        "[bad] y = MatMul(x, w)", {"x": (5, 2), "w": noise(3, 1, 2, 4)}, "SFN202", "does not fit a sample"),
    "a BatchNormalization in training mode": (
        "[bad] y = BatchNormalization<training_mode=1>(x, g, h, m, v)", BN, "SFN202", "training_mode"),
    "a BatchNormalization of other channels": (
        "[bad] y = BatchNormalization(x, g, h, m, v)", {**BN, "x": (4, 2)}, "SFN202", "4 channels"),
    "a BatchNormalization with computed parameters": (
        "s = Relu(x) [bad] y = BatchNormalization(x, s, h, m, v)", BN, "SFN202", "scale is not a constant"),
    # -- arithmetic
    "an Add of branches that do not broadcast": (
        "s = Relu(x) p = Conv(x, w) [bad] y = Add(s, p)", {"w": noise(3, 3, 3, 3)}, "SFN202", "do not broadcast"),
    "an Add of branches of different rank": (
        "s = Relu(x) p = ReduceMean<axes=[1], keepdims=0>(x) [bad] y = Add(s, p)",
        {"opset": 13}, "SFN203", "the batch of one is"),
    "an Add that adds an axis": (
        "[bad] y = Add(x, c)", {"x": (6,), "c": noise(3, 1, 6)}, "SFN202", "does not broadcast"),
    "an Add of a constant that does not fit": ("[bad] y = Add(x, c)", {"c": noise(5)}, "SFN202", "does not broadcast"),
    "an Add of a constant that differs along the batch": (
        "[bad] y = Add(x, c)", {"c": noise(2, 3, 6, 6)}, "SFN203", "along the batch"),
    "a Mul of branches that do not broadcast": (
        "s = Relu(x) p = Conv(x, w) [bad] y = Mul(s, p)", {"w": noise(3, 3, 3, 3)}, "SFN202", "do not broadcast"),
    "a Max of branches of different rank": (
        "s = Relu(x) p = ReduceMean<axes=[1], keepdims=0>(x) [bad] y = Max(s, p)",
        {"opset": 13}, "SFN203", "the batch of one is"),
    "a Sum with a constant that enlarges": (
        "s = Relu(x) [bad] y = Sum(s, x, c)", {"x": (1, 6), "c": noise(3, 6)}, "SFN202", "does not broadcast"),
    "a Div by zero": ("[bad] y = Div(x, c)", {"c": np.array([1.0, 0, 1, 1, 1, 1])}, "SFN202", "holds zeros"),
    # -- activations
    "a Clip with a computed bound": (
        "s = ReduceMean<axes=[1,2,3], keepdims=0>(x) [bad] y = Clip(x, s)", {"opset": 13}, "SFN202", "its min"),
    "a Clip whose bounds cross": ("[bad] y = Clip(x, lo, hi)", {"lo": P, "hi": np.float32(1)}, "SFN202", "above max"),
    "a Pow of two computed values of other shapes": (
        "s = Relu(x) p = Conv(x, w) [bad] y = Pow(s, p)", {"w": noise(3, 3, 3, 3)}, "SFN202", "do not broadcast"),
    "a Celu that divides by zero": ("[bad] y = Celu<alpha=0.0>(x)", {}, "SFN202", "divides by zero"),
    "a Gelu of an unknown kind": ('[bad] y = Gelu<approximate="cubic">(x)', {"opset": 20}, "SFN202", "'cubic'"),
    "a PRelu with a computed slope": ("s = Relu(x) [bad] y = PRelu(x, s)", {}, "SFN202", "slope is not a constant"),
    "a Softmax over the batch": ("[bad] y = Softmax<axis=0>(x)", {}, "SFN203", "axis 0"),
    # -- pools
    "a pool over three axes": (
        "[bad] y = MaxPool<kernel_shape=[1,1,1]>(x)", {"x": (1, 2, 2, 2)}, "SFN202", "window over 3 axes"),
    "an AveragePool with dilations that leaves padding out": (
        "[bad] y = AveragePool<kernel_shape=[2,2], dilations=[2,2], pads=[1,1,1,1]>(x)", {"opset": 19}, "SFN202",
        "dilations"),
    "a ReduceMean over everything": ("[bad] y = ReduceMean(x)", {"opset": 13}, "SFN203", "batch included"),
    "a ReduceMean over an empty list of axes": (
        "[bad] y = ReduceMean(x, a)", {"a": ints(), "opset": 18}, "SFN203", "batch included"),
    "a ReduceMean over the batch": ("[bad] y = ReduceMean<axes=[0]>(x)", {"opset": 13}, "SFN203", "axis 0"),
    "a second output that is used": (
        "a, [bad] b = MaxPool<kernel_shape=[1,1]>(x) y = Relu(a)", {}, "", ""),
    # -- moves
    "a Dropout in training mode": (
        "[bad] y = Dropout(x, r, t)", {"r": P / 4, "t": np.array(True)}, "SFN202", "training_mode"),
    "a Cast that rounds": ("[bad] y = Cast<to=6>(x)", {}, "SFN202", "rounds"),
    "a Flatten into the batch": ("[bad] y = Flatten<axis=2>(x)", {}, "SFN203", "merges the batch with other axes"),
    "a Flatten of the batch": ("[bad] y = Flatten<axis=0>(x)", {}, "SFN203", "into the batch"),
    "a Reshape without the batch": ("[bad] y = Reshape(x, s)", {"s": ints(3, -1, 6)}, "SFN203", "merges the batch"),
    "a Reshape that takes the batch apart": (
        "[bad] y = Reshape(x, s)", {"batch": 4, "s": ints(2, 2, -1)}, "SFN203", "batch as axis 0"),
    "a Reshape that takes from the batch": (
        "[bad] y = Reshape(x, s)", {"s": ints(-1, 6)}, "SFN203", "merges the batch with other axes"),
    "a Reshape to fewer numbers": ("[bad] y = Reshape(x, s)", {"s": ints(0, 6)}, "SFN203", "108 numbers"),
    "a Reshape to a computed shape": (
        "t = Relu(x) u = Cast<to=7>(t) [bad] y = Reshape(x, u)", {"x": (2,)}, "SFN202", "rounds"),
    "a Transpose of the batch": ("[bad] y = Transpose<perm=[1,0,2,3]>(x)", {}, "SFN203", "moves the batch"),
    "a Transpose by default": ("[bad] y = Transpose(x)", {}, "SFN203", "moves the batch"),
    "a Transpose that is no permutation": ("[bad] y = Transpose<perm=[0,1,1,2]>(x)", {}, "SFN202", "permutation"),
    "a Squeeze of a long axis": ("[bad] y = Squeeze(x, a)", {"a": ints(1)}, "SFN202", "length 3"),
    "a Squeeze of the batch": ("[bad] y = Squeeze(x, a)", {"a": ints(0)}, "SFN203", "batch"),
    "a Squeeze that would take the batch along": (
        "[bad] y = Squeeze(x)", {"x": (1, 4), "batch": 1}, "SFN203", "merges the batch with other axes"),
    "an axis outside the tensor": ("[bad] y = Squeeze(x, a)", {"a": ints(7)}, "SFN202", "rank 4"),
    "an Unsqueeze before the batch": ("[bad] y = Unsqueeze(x, a)", {"a": ints(0)}, "SFN203", "batch"),
    "a Concat along the batch": ("s = Relu(x) [bad] y = Concat<axis=0>(x, s)", {}, "SFN203", "batch"),
    "a Concat with a constant that differs along the batch": (
        "[bad] y = Concat<axis=1>(x, c)", {"c": noise(2, 3, 6, 6)}, "SFN203", "along the batch"),
    "a Concat with a constant of another rank": (
        "[bad] y = Concat<axis=1>(x, c)", {"c": noise(1, 3, 6)}, "SFN203", "another rank"),
    "a Concat of other shapes": (
        "s = Flatten(x) t = Unsqueeze(s, a) u = Unsqueeze(t, a) [bad] y = Concat<axis=1>(x, u)",
        {"a": ints(1)}, "SFN202", "differ in another axis"),
    "a Split of the batch": ("[bad] y = Split<axis=0, num_outputs=1>(x)", {"opset": 18}, "SFN203", "batch"),
    "a Split whose pieces do not add up": (
        "[bad] y, z = Split<axis=1>(x, s)", {"s": ints(1, 1), "opset": 13}, "SFN202", "do not make up axis 1"),
    "a Gather of the batch": ("[bad] y = Gather(x, i)", {"i": ints(0)}, "SFN203", "batch"),
    "a Gather outside its axis": ("[bad] y = Gather<axis=1>(x, i)", {"i": ints(3)}, "SFN202", "not inside axis 1"),
    "a Gather of nothing": ("[bad] y = Gather<axis=1>(x, i)", {"i": ints()}, "SFN202", "not inside axis 1"),
    "a Gather with computed indices": (
        "t = Relu(x) [bad] y = Gather<axis=1>(x, t)", {"x": (2,)}, "SFN202", "indices that are computed at run time"),
    "a ReduceMax over the batch": ("[bad] y = ReduceMax<axes=[0]>(x)", {"opset": 13}, "SFN203", "axis 0"),
    "a Slice of the batch": (
        "[bad] y = Slice(x, s, e, a)", {"s": ints(1), "e": ints(9), "a": ints(0)}, "SFN203", "batch"),
    "a Slice of step 0": (
        "[bad] y = Slice(x, s, e, a, t)", {"s": ints(5), "e": ints(0), "a": ints(2), "t": ints(0)},
        "SFN202", "leaves nothing"),
    "a Tile of the batch": ("[bad] y = Tile(x, r)", {"r": ints(2, 1, 1, 1)}, "SFN203", "repeats the batch"),
    "a Tile of another rank": ("[bad] y = Tile(x, r)", {"r": ints(1, 2)}, "SFN202", "do not fit the 4 axes"),
    "an Expand of the batch": ("[bad] y = Expand(x, s)", {"s": ints(2, 3, 6, 6)}, "SFN203", "enlarges the batch"),
    "an Expand in front of the batch": (
        "[bad] y = Expand(x, s)", {"s": ints(2, 1, 3, 6, 6)}, "SFN203", "axes before it"),
    "an Expand of a long axis": ("[bad] y = Expand(x, s)", {"s": ints(1, 6, 6, 6)}, "SFN202", "does not broadcast"),
    "a DepthToSpace of too few channels": (
        "[bad] y = DepthToSpace<blocksize=2>(x)", {}, "SFN202", "3 channels do not make blocks"),
    "a DepthToSpace of a vector": (
        "[bad] y = DepthToSpace<blocksize=2>(x)", {"x": (4,)}, "SFN202", "two space axes"),
    "a SpaceToDepth of an odd map": (
        "[bad] y = SpaceToDepth<blocksize=4>(x)", {}, "SFN202", "does not fall into blocks"),
    # -- Resize, ConvTranspose
    "a Resize with antialias": (
        '[bad] y = Resize<mode="linear", antialias=1>(x, , s)', {"s": HALF, "opset": 19}, "SFN202", "antialias"),
    "a Resize that crops": (
        '[bad] y = Resize<coordinate_transformation_mode="tf_crop_and_resize">(x, r, s)',
        {"s": HALF, "r": noise(8)}, "SFN202", "tf_crop_and_resize"),
    "a Resize of the batch": (
        "[bad] y = Resize(x, , s)", {"s": np.array([2.0, 1, 1, 1])}, "SFN203", "resizes the batch"),
    "a Resize without scales": ("[bad] y = Resize(x, , e)", {"e": noise(0)}, "SFN202", "neither or both"),
    "a Resize of another rank": ("[bad] y = Resize(x, , s)", {"s": np.array([1.0, 2])}, "SFN202", "do not fit 4 axes"),
    "a Resize to nothing": (
        "[bad] y = Resize(x, , s)", {"s": np.array([1.0, 1, 0.1, 1])}, "SFN202", "leave nothing"),
    "a Resize with computed scales": (
        "t = GlobalAveragePool(x) f = Flatten(t) [bad] y = Resize(x, , f)", {}, "SFN202", "scales is not a constant"),
    "a linear Resize of three axes": (
        '[bad] y = Resize<mode="linear">(x, , s)', {"s": np.array([1.0, 2, 2, 2])}, "SFN202", "more than two axes"),
    "a ConvTranspose over three space axes": (
        "[bad] y = ConvTranspose(x, w)", {"x": (1, 3, 3, 3), "w": noise(1, 1, 2, 2, 2)}, "SFN202", "3 space axes"),
    "a ConvTranspose whose weight does not fit": (
        "[bad] y = ConvTranspose(x, w)", {"w": noise(4, 1, 2, 2)}, "SFN202", "does not fit 3 input channels"),
    "a ConvTranspose whose bias does not fit": (
        "[bad] y = ConvTranspose(x, w, b)", {"w": noise(3, 2, 2, 2), "b": noise(3)}, "SFN202", "bias of shape (3,)"),
    "a ConvTranspose with a computed weight": (
        "s = Relu(x) [bad] y = ConvTranspose(x, s)", {}, "SFN202", "weight is not a constant"),
    "a ConvTranspose with negative pads": (
        "[bad] y = ConvTranspose<pads=[-1,0,0,0]>(x, w)", {"w": noise(3, 2, 2, 2)}, "SFN202", "pads"),
    "a ConvTranspose whose pads leave nothing": (
        "[bad] y = ConvTranspose<pads=[9,0,9,0]>(x, w)", {"w": noise(3, 2, 2, 2)}, "SFN202", "leave nothing"),
    "a ConvTranspose with padding of the wrong length": (
        "[bad] y = ConvTranspose<output_padding=[1]>(x, w)", {"w": noise(3, 2, 2, 2)}, "SFN202", "output_padding"),
    "a Slice that leaves nothing": (
        "[bad] y = Slice(x, s, e, a)", {"s": ints(4), "e": ints(2), "a": ints(2)}, "SFN202", "leaves nothing"),
    "a Slice of uneven bounds": ("[bad] y = Slice(x, s, e)", {"s": ints(0, 1), "e": ints(9)}, "SFN202", "lengths"),
    "a Slice with computed bounds": (
        "t = Relu(x) u = Cast<to=7>(t) [bad] y = Slice(x, u, u)", {"x": (2,)}, "SFN202", "rounds"),
    "a Pad by a long reflection": (
        '[bad] y = Pad<mode="reflect">(x, p)', {"p": ints(0, 0, 6, 1, 0, 0, 1, 1)}, "SFN202", "more elements than"),
    "a Pad of an unknown mode": (
        '[bad] y = Pad<mode="mirror">(x, p)', {"p": ints(0, 0, 1, 1, 0, 0, 1, 1)}, "SFN202", "'mirror'"),
    "a Pad with a computed value": (
        "t = ReduceMean<axes=[1,2,3], keepdims=0>(x) [bad] y = Pad(x, p, t)",
        {"p": ints(0, 0, 1, 1, 0, 0, 1, 1), "opset": 13}, "SFN202", "value is not a constant"),
    "a Pad of the batch": ("[bad] y = Pad(x, p)", {"p": ints(1, 0, 0, 0, 0, 0, 0, 0)}, "SFN203", "batch"),
    "pads that do not fit": ("[bad] y = Pad(x, p)", {"p": ints(1, 1)}, "SFN202", "does not fit 4 axes"),
    "a Pad that leaves nothing": (
        "[bad] y = Pad(x, p)", {"p": ints(0, 0, -3, 0, 0, 0, -3, 0)}, "SFN202", "leave nothing"),
    "a Constant without a dense value": (
        '[bad] c = Constant<value_string = "a">() y = Relu(x)', {}, "", ""),
}  # fmt: skip
CASES = {k: v for k, v in CASES.items() if v[2]}


@pytest.mark.parametrize("refused", list(CASES))
def test_it_is_refused_with_code_node_and_rule(refused, tmp_path):
    body, keywords, code, words = CASES[refused]
    with pytest.raises(CompileError) as caught:
        imported(tiny(body, **keywords), tmp_path)
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert words in found.what
    assert "rounds" in words or found.where.startswith("bad (")


def test_a_second_output_that_is_read_is_refused(tmp_path):
    with pytest.raises(CompileError) as caught:
        imported(tiny("[bad] a, i = MaxPool<kernel_shape=[2,2]>(x) j = Cast<to=1>(i) y = Add(a, j)"), tmp_path)
    assert [(d.code, d.where) for d in caught.value.diagnostics] == [("SFN202", "bad (MaxPool)")]


def test_every_unsupported_operator_is_reported_in_one_message(tmp_path):
    body = """[one] a = Asinh(x) [two] b = Det(a) [fine] c = Relu(b) [three] d = custom.Magic(c)
              [four] e = Asinh(d) [shape] s = Shape(d) y = Add(e, c)"""
    with pytest.raises(CompileError) as caught:
        imported(tiny(body), tmp_path)
    assert [d.code for d in caught.value.diagnostics] == ["SFN201"] * 4
    assert [d.where.split()[0] for d in caught.value.diagnostics] == ["one", "two", "three", "four"]
    assert "custom::Magic" in str(caught.value)


def test_an_unnamed_node_is_named_by_its_output(tmp_path):
    with pytest.raises(CompileError, match=r"SFN201 at y \(Asinh\)"):
        imported(tiny("y = Asinh(x)"), tmp_path)


def test_refused_operators_tell_why(tmp_path):
    with pytest.raises(CompileError, match="keeps state from step to step"):
        imported(tiny("y = LSTM<hidden_size=2>(x, w, r)", x=(4, 3), w=noise(1, 8, 3), r=noise(1, 8, 2)), tmp_path)


@pytest.mark.parametrize("kind", ['value_string = "a"', 'value_strings = ["a"]'])
def test_text_constants_that_nobody_reads_do_no_harm(kind, tmp_path):
    imported(tiny(f"c = Constant<{kind}>() y = Relu(x)"), tmp_path)


def test_a_flat_view_of_the_whole_batch_is_let_through_to_be_undone_only(tmp_path):
    """PyTorch's dynamo exporter writes as_strided as Reshape to [-1] and a Gather that undoes it."""
    with pytest.raises(CompileError, match=r"SFN203 at bad \(Relu\): it merges the batch .* and output 'y'"):
        imported(tiny("f = Reshape(x, m) [bad] y = Relu(f)", m=ints(-1)), tmp_path)
    with pytest.raises(CompileError, match=r"SFN203 at y \(Reshape\): it merges the batch .* and output 'y'"):
        imported(tiny("a = Relu(x) y = Reshape(a, m)", m=ints(-1)), tmp_path)
    with pytest.raises(CompileError, match=r"SFN203 at bad \(MaxPool\): its input 0 merges the batch"):
        imported(tiny("f = Reshape(x, m) [bad] y = MaxPool<kernel_shape=[2]>(f)", m=ints(-1, 6, 6)), tmp_path)
    with pytest.raises(CompileError, match=r"SFN203 at bad \(Gather\): it picks from a view that merges"):
        imported(tiny("f = Reshape(x, m) [bad] y = Gather(f, i)", m=ints(-1), i=ints(3, 1)), tmp_path)


def test_a_model_that_onnxruntime_begins_and_cannot_finish_is_refused(tmp_path):
    from sfn_compile.frontend.reference import FloatReference

    path = saved(tiny("y = Reshape(x, s)", s=ints(-1, 5, 6)), tmp_path)
    with pytest.raises(CompileError, match=r"SFN106: onnxruntime: .*Reshape"):
        FloatReference(path, "x", None).run(noise(1, 3, 6, 6))


def test_an_output_that_is_constant_is_refused(tmp_path):
    with pytest.raises(CompileError, match="SFN105 at output 'z': it does not depend on the input"):
        imported(tiny("y = Relu(x) z = Identity(c)", outputs=("y", "z"), c=noise(2)), tmp_path)


def test_a_batch_that_the_network_cuts_is_found_by_the_probe(tmp_path):
    """[0:1] on axis 0 looks like the whole batch when shapes are folded at batch 1; onnxruntime tells them apart."""
    model = tiny("y = Slice(x, s, e, a)", s=ints(0), e=ints(1), a=ints(0))
    loaded = load_model(saved(model, tmp_path))
    from sfn_compile.frontend import import_model

    for n in (1, 2):
        with pytest.raises(
            CompileError, match=r"SFN203 at y \(Slice\): its result for a sample depends on how many samples"
        ):
            check_import(import_model(loaded), loaded, noise(n, 3, 6, 6))


def test_the_probe_finds_a_changed_number(tmp_path):
    from dataclasses import replace

    model = tiny("a = Conv(x, w) y = Relu(a)", w=noise(2, 3, 3, 3))
    graph, loaded = assert_parity(model, tmp_path), load_model(tmp_path / "model.onnx")
    check_import(graph, loaded, noise(2, 3, 6, 6))
    first = graph.nodes[0]
    off = replace(first, op=replace(first.op, bias=first.op.bias + 0.1))
    with pytest.raises(CompileError, match=r"SFN107 at a \(Conv\)"):
        check_import(replace(graph, nodes=(off, *graph.nodes[1:])), loaded, noise(2, 3, 6, 6))
