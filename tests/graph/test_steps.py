"""Steps of sites: channels that calibration never saw alive, and codes of different steps that meet."""

from __future__ import annotations

import numpy as np
import pytest

from sfn_compile.foundation.options import Options
from sfn_compile.graph.steps import all_steps
from sfn_compile.host.codec import encode
from sfn_compile.program.network import Encoding, Identity

from ..frontend.tiny_onnx import imported, ints, noise, samples, tiny
from ..passes.mapping.mapped_layers import (
    assert_the_program_follows_the_float_graph,
    check_choices,
    ladder_of,
    layer,
    layers,
)
from ..passes.pass_examples import mapped, network, program_of, structured


# -- channels that calibration never saw alive ---------------------------------------------------------------------
def test_a_dead_channel_takes_its_step_from_its_weights_and_is_reported(tmp_path):
    weight = noise(4, 3, 3, 3)
    model = tiny(
        "a = Conv(x, w, b) r = Relu(a) y = Conv(r, u)", w=weight, b=np.array([0, -1000.0, 0, 0]), u=noise(2, 4, 3, 3)
    )
    original = imported(model, tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    levels = layer(graph, "r").levels
    assert levels.dead.reshape(-1).tolist() == [False, True, False, False]
    input_step = float(graph.inputs[0].levels.step.max())
    assert levels.step.reshape(-1)[1] == pytest.approx(np.abs(weight[1]).max() * input_step)


def test_a_channel_without_weights_and_bias_takes_the_largest_step_beside_it(tmp_path):
    weight = noise(4, 3, 3, 3) / 8
    weight[2] = 0
    original = imported(tiny("a = Conv(x, w) r = Relu(a) y = Conv(r, u)", w=weight, u=noise(2, 4, 3, 3)), tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    step = layer(graph, "r").levels.step.reshape(-1)
    assert step[2] == step[[0, 1, 3]].max() < 1
    check_choices(graph, Options())


def test_a_dead_gate_takes_no_precision_from_the_others(tmp_path):
    """A sigmoid far below 0: its own weights are large numbers, of which the codes of a gate know nothing."""
    shut = {"w": 30 * noise(6, 4), "b": np.array([0, -1e5, 0, 0]), "v": noise(6, 4), "u": noise(4, 3)}
    model = tiny("a = Gemm(x, w, b) s = Sigmoid(a) d = Gemm(x, v) m = Mul(d, s) y = Gemm(m, u)", x=(6,), **shut)
    original = imported(model, tmp_path)
    x = samples(original, 64)
    graph = mapped(structured(original), x)
    for name in ("s", "m"):
        levels = layer(graph, name).levels
        assert levels.dead.tolist() == [False, True, False, False]
        assert levels.step[1] <= levels.step[[0, 2, 3]].max()
    assert_the_program_follows_the_float_graph(graph, x, least_db=15)


def test_inputs_that_are_all_zero_still_map(tmp_path):
    original = imported(
        tiny("a = Conv(x, w) r = Relu(a) y = Conv(r, u)", w=noise(4, 3, 3, 3), u=noise(2, 4, 3, 3)), tmp_path
    )
    graph = mapped(structured(original), np.zeros((4, 3, 6, 6), np.float32))
    check_choices(graph, Options())
    assert layer(graph, "r").levels.dead.all()


def test_a_readout_has_one_step_for_all_its_classes(tmp_path):
    weight = noise(8, 5) * np.array([1, 10, 100, 1000, 0])
    original = imported(tiny("r = Relu(x) y = Gemm(r, w, b)", x=(8,), w=weight, b=noise(5)), tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    assert program_of(graph).outputs[0].step.size == 1


def test_a_class_without_weights_leaves_the_others_their_grid(tmp_path):
    """Small weights beside a row of zeros: the row has no say in the step of the readout."""
    weight = noise(8, 5) * np.array([1, 1, 1, 1, 0]) * 1e-3
    original = imported(tiny("r = Relu(x) y = Gemm(r, w)", x=(8,), w=weight), tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    assert np.abs(layer(graph, "y").integer.maps[0].weight).max() == 127


def test_a_readout_without_weights_still_gives_its_bias(tmp_path):
    original = imported(tiny("r = Relu(x) y = Gemm(r, w, b)", x=(8,), w=np.zeros((8, 5)), b=noise(5)), tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    form = layer(graph, "y").integer
    assert np.allclose(ladder_of(graph, "y").offset * form.alpha, noise(5), atol=1e-4)


def test_the_skip_of_a_residual_fits_the_weight_bits(tmp_path):
    """The conv's weights are tiny beside the identity: theta gives way until the skip's weight is 127 or less."""
    body = "a = Relu(x) d = Conv(a, w) s = Add(a, d) r = Relu(s) y = Conv(r, w)"
    original = imported(tiny(body, x=(4, 5, 5), w=noise(4, 4, 1, 1) * 0.001), tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    skip = next(m for m in layer(graph, "r").integer.maps if isinstance(m, Identity))
    assert 64 < np.abs(skip.weight).max() <= 127


# -- steps that differ ---------------------------------------------------------------------------------------------
def test_steps_that_differ_inside_a_channel_are_made_one_before_a_conv(tmp_path):
    """Gemm fires per neuron; reshaped to a map, its steps would differ along space, which a Conv's weights share."""
    original = imported(network("gemm to a map to a conv"), tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    fired = next(op for _, op in layers(graph) if op.activation is not None)
    steps = fired.levels.step.reshape(4, 16)
    assert (steps == steps[:, :1]).all()
    assert np.unique(steps).size == 4
    check_choices(graph, Options())


TWO_BRANCHES = "a = Conv(x, w) r = Relu(a) c = Conv(x, v) s = Relu(c) "
MIXED = {
    "a conv over two joined maps": TWO_BRANCHES + "t = Concat<axis=2>(r, s) y = Conv(t, u)",
    "a max pool over two joined maps": TWO_BRANCHES
    + "t = Concat<axis=2>(r, s) p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(t) y = Conv(p, u)",
    "a max pool over channels": TWO_BRANCHES + "t = Concat<axis=1>(r, s) q = Transpose<perm=[0,2,1,3]>(t) "
    "p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(q) y = Conv(p, u)",
}


@pytest.mark.parametrize("body", list(MIXED))
def test_codes_that_meet_in_one_window_mean_the_same_step(body, tmp_path):
    """Two sites of very different range, read together: what meets in a channel gets one and the same step."""
    weights = {"w": noise(4, 3, 1, 1), "v": 20 * noise(4, 3, 1, 1, seed=1), "u": noise(2, 4, 3, 3)}
    if "channels" in body:
        weights["u"] = noise(2, 6, 3, 3)
    original = imported(tiny(MIXED[body], **weights), tmp_path)
    graph = mapped(structured(original), samples(original, 32))
    first, second = (layer(graph, n).levels.step.reshape(-1) for n in ("r", "s"))
    assert np.array_equal(first, second)
    assert np.unique(first).size == (1 if "channels" in body else 4)
    assert_the_program_follows_the_float_graph(graph, samples(original, 32), 15.0)


def test_a_max_pool_behind_steps_that_are_one_for_all_places_of_an_axis(tmp_path):
    body = "m = LayerNormalization(x, s) p = MaxPool<kernel_shape=[2,2]>(m) f = Flatten(p) y = Gemm(f, w)"
    model = tiny(body, s=np.array([1.0, 2, 30, 4, 5, 600]), w=noise(75, 3))
    original = imported(model, tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    shapes = graph.types()
    for name, step in all_steps(graph).items():
        assert np.broadcast_shapes(step.shape, shapes[name].shape) == shapes[name].shape
    assert_the_program_follows_the_float_graph(graph, samples(original, 8), 20)


def test_channels_of_attention_that_share_one_step_keep_it(tmp_path):
    body = """q = MatMul(x, a) k = MatMul(x, b) v = MatMul(x, c) t = Transpose<perm=[0,2,1]>(k) s = MatMul(q, t)
              p = Softmax<axis=2>(s) o = MatMul(p, v) y = Conv<dilations=[2], group=3, strides=[2]>(o, w)"""
    model = tiny(body, x=(3, 7), a=noise(7, 7), b=noise(7, 7, seed=1), c=noise(7, 7, seed=2), w=noise(6, 1, 2))
    original = imported(model, tmp_path)
    graph = mapped(structured(original), samples(original, 8))  # the search for steps ended never
    assert len(np.unique(all_steps(graph)["o"])) == 1
    assert_the_program_follows_the_float_graph(graph, samples(original, 8), 20)


def test_a_pixel_shuffle_ties_the_phases_of_a_channel_and_no_others(tmp_path):
    body = "a = Conv(x, w) r = Relu(a) d = DepthToSpace<blocksize=2>(r) y = Conv(d, u)"
    model = tiny(body, w=noise(8, 3, 3, 3) * np.arange(1, 9).reshape(8, 1, 1, 1), u=noise(3, 2, 3, 3), opset=13)
    original = imported(model, tmp_path)
    graph = mapped(structured(original), samples(original, 32))
    steps = layer(graph, "r").levels.step.reshape(4, 2)  # DCR: channel 2 * phase + channel behind the shuffle
    assert (steps == steps[0]).all()
    assert steps[0, 0] != steps[0, 1]
    assert_the_program_follows_the_float_graph(graph, samples(original, 32), 15.0)


def test_steps_stay_per_channel_where_the_conv_can_take_them_in(tmp_path):
    original = imported(network("conv, batch norm, relu, conv"), tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    assert np.unique(layer(graph, "r").levels.step).size == 4


def test_padding_takes_the_step_of_its_neighbour(tmp_path):
    body = "a = Conv(x, w) r = Relu(a) p = Pad(r, q) y = Conv(p, u)"
    model = tiny(body, w=noise(4, 3, 3, 3), u=noise(2, 4, 3, 3), q=ints(0, 0, 1, 0, 0, 0, 0, 1))
    original = imported(model, tmp_path)
    graph = mapped(structured(original), samples(original, 8))
    steps = all_steps(graph)
    assert np.array_equal(np.broadcast_to(steps["p"], (4, 5, 5))[:, 0, 0], steps["r"].reshape(-1))
    assert_the_program_follows_the_float_graph(graph, samples(original, 8), 12)


def test_integer_images_enter_as_they_are(tmp_path):
    body = "c = Cast<to=1>(x) a = Conv(c, w) r = Relu(a) y = Conv(r, u)"
    for dtype, ends in (("uint8", (0, 255)), ("int8", (-128, 127))):
        original = imported(tiny(body, dtype=dtype, w=noise(4, 3, 3, 3), u=noise(2, 4, 3, 3)), tmp_path)
        source = mapped(structured(original), samples(original, 8)).inputs[0].levels
        assert (source.lo, source.hi) == ends
        assert (source.step == 1).all()


@pytest.mark.parametrize(("levels", "signed"), [(1, (-1, 0)), (7, (-4, 3)), (31, (-16, 15)), (32, (-16, 16))])
def test_levels_mean_what_the_command_line_says(levels, signed, tmp_path):
    original = imported(network("a pre-activation residual block"), tmp_path)
    graph = mapped(structured(original), samples(original, 8), Options(levels=levels))
    site, fired = layer(graph, "a").levels, layer(graph, "r").levels
    assert (site.lo, site.hi) == signed
    assert (fired.lo, fired.hi) == (0, levels)


def test_the_input_is_rounded_to_the_nearest_code_and_cut():
    encoding = Encoding("x", "x", (7,), "float32", (), np.array([0.5]), (7,), -2, 3)
    x = np.array([[-9.0, -0.76, -0.25, 0.0, 0.24, 0.25, 9.0]], np.float32)
    assert encode(encoding, x).tolist() == [[-2, -2, 0, 0, 0, 1, 3]]
