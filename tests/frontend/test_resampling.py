"""Resize and ConvTranspose compute what onnxruntime computes, over grids of their attributes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from sfn_compile.frontend.resampling import Axis, phases, taps
from sfn_compile.graph.ops import Linear
from sfn_compile.program.network import Conv, Gather

from .tiny_onnx import assert_parity, imported, ints, noise, tiny

MODES = ["half_pixel", "asymmetric", "pytorch_half_pixel", "align_corners", "half_pixel_symmetric"]
SCALES = [(2.0, 3.0), (0.5, 1.0), (1.5, 0.75), (2.6, 0.3)]
SIZES = [(5, 9), (3, 1), (12, 18), (6, 4)]


def resized(mode: str, where: str, more: str = "", scales=None, sizes=None, x=(2, 6, 9), opset: int = 19):
    lead = (1,) * (len(x) - 1)
    if scales is not None:
        given, inputs = {"r": noise(0), "s": np.array([*lead, *scales])}, "x, r, s"
    else:
        given, inputs = {"r": noise(0), "e": noise(0), "s": ints(1, *x[: len(x) - 2], *sizes)}, "x, r, e, s"
    body = f'y = Resize<mode="{mode}", coordinate_transformation_mode="{where}"{more}>({inputs})'
    return tiny(body, x=x, opset=opset, batch=1 if sizes else "N", **given)


@pytest.mark.parametrize("where", [*MODES, "tf_half_pixel_for_nn"])
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_nearest_takes_onnxruntimes_elements(where, rounding, tmp_path):
    opset, more = (11 if where == "tf_half_pixel_for_nn" else 19), f', nearest_mode="{rounding}"'
    for scales in SCALES:
        assert_parity(resized("nearest", where, more, scales=scales, opset=opset), tmp_path, 1)
    for sizes in SIZES:
        assert_parity(resized("nearest", where, more, sizes=sizes, opset=opset), tmp_path, 1)


@pytest.mark.parametrize("where", MODES)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_linear_and_cubic_weigh_as_onnxruntime_does(mode, where, tmp_path):
    for scales in SCALES:
        assert_parity(resized(mode, where, scales=scales), tmp_path, 1)
    for sizes in SIZES:
        assert_parity(resized(mode, where, sizes=sizes), tmp_path, 1)


@pytest.mark.parametrize(
    "model",
    [
        resized("cubic", "half_pixel", ", exclude_outside=1, cubic_coeff_a=-0.5", scales=(2.0, 0.5)),
        resized("linear", "half_pixel", ", antialias=1", scales=(2.0, 3.0)),
        tiny('y = Resize<mode="linear", axes=[2]>(x, , s)', x=(2, 6, 5), opset=18, s=np.array([2.0])),
        tiny('y = Resize<mode="linear", axes=[-1]>(x, , s)', x=(2, 6, 5), opset=18, s=np.array([3.0])),
        tiny('y = Resize<mode="linear">(x, , s)', x=(5, 4, 3), s=np.array([1.0, 2, 2, 1])),
        tiny('y = Resize<mode="linear">(x, , s)', x=(3, 8), s=np.array([1.0, 1, 2])),
        tiny('y = Resize<mode="linear">(x, , s)', x=(3, 8), s=np.array([1.0, 1, 1])),
    ],
    ids=["exclude_outside", "antialias that enlarges", "rows", "columns", "NHWC", "1-D", "nothing"],
)
def test_other_forms_of_resize(model, tmp_path):
    assert_parity(model, tmp_path, 1)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_the_aspect_ratio_is_kept_where_that_is_asked_for(policy, tmp_path):
    more = f', axes=[2,3], keep_aspect_ratio_policy="{policy}"'
    body = f"y = Resize<{more[2:]}>(x, , , s)"
    assert_parity(tiny(body, x=(2, 6, 9), opset=18, batch=1, s=ints(9, 9)), tmp_path, 1)


@pytest.mark.parametrize(("scale", "kind"), [(2.0, Conv), (0.5, Conv), (1.5, Conv), (0.37, Gather)])
def test_a_simple_scale_is_one_convolution_and_any_other_a_gather_per_tap(scale, kind, tmp_path):
    graph = imported(resized("linear", "half_pixel", scales=(scale, scale), x=(2, 40, 40)), tmp_path)
    maps = [type(n.op.map) for n in graph.nodes if isinstance(n.op, Linear)]
    assert maps == [Conv] if kind is Conv else set(maps) == {Gather}


def test_doubling_has_two_phases_of_three_quarters_and_a_quarter():
    found = phases(*taps(Axis(8, 16, 2.0), "half_pixel", None), most=8)
    assert found is not None
    assert found.kernel.tolist() == [[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]]
    assert (found.stride, found.start) == (1, -1)


GRID = [
    f"strides=[{s},{t}], dilations=[{d},1], group={g}, {rest}"
    for (s, t), d, g, rest in product(
        [(1, 1), (2, 2), (3, 1), (2, 4)], [1, 2], [1, 2],
        ["pads=[0,0,0,0]", "pads=[1,2,0,1]", 'auto_pad="SAME_UPPER"', 'auto_pad="SAME_LOWER"', 'auto_pad="VALID"',
         "output_padding=[0,0], pads=[1,0,1,1]"],
    )
]  # fmt: skip


@pytest.mark.parametrize("attributes", GRID)
def test_conv_transpose_over_its_attributes(attributes, tmp_path):
    groups = int(attributes.split("group=")[1][0])
    for kernel in [(1, 1), (2, 3), (3, 4)]:
        w, b = noise(4, 3, *kernel), noise(3 * groups, seed=2)
        assert_parity(tiny(f"y = ConvTranspose<{attributes}>(x, w, b)", x=(4, 4, 5), w=w, b=b), tmp_path, 1)


@pytest.mark.parametrize(
    ("attributes", "x", "kernel"),
    [
        ("strides=[3], pads=[1,2], output_padding=[2]", (4, 5), (5,)),
        ("strides=[2], dilations=[3], pads=[4,0]", (4, 5), (3,)),
        ("strides=[2,3], output_padding=[1,2]", (4, 3, 3), (3, 3)),
        ("strides=[2,2], output_shape=[9,8]", (4, 4, 4), (3, 3)),
        ('strides=[2,2], output_shape=[7,8], auto_pad="SAME_UPPER"', (4, 4, 4), (3, 3)),
        ("strides=[2,2], pads=[5,5,5,5]", (4, 6, 6), (4, 4)),
        ("", (4, 1, 1), (4, 4)),
    ],
)
def test_conv_transpose_in_other_forms(attributes, x, kernel, tmp_path):
    text = f"<{attributes}>" if attributes else ""
    assert_parity(tiny(f"y = ConvTranspose{text}(x, w)", x=x, w=noise(4, 3, *kernel)), tmp_path, 2)
