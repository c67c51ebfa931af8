"""Skips in the target onnx: few reads of amplified codes in place of many equal projections, and no saturation."""

from functools import partial

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sfn_backends.onnx import parts, skips
from sfn_backends.onnx.parts import Part
from sfn_backends.onnx.writer import write

from sfn_compile.program.linear_maps import Conv
from sfn_compile.simulator.edge_inputs import edge_inputs
from sfn_compile.simulator.run import run_codes

from .onnx_programs import heavy_skip, heavy_skip_of_rows, skips_of_two_sources

BLOCKS = {
    "rows": heavy_skip,
    "features": heavy_skip_of_rows,
    "two sources": skips_of_two_sources,
    "a weight per channel": partial(heavy_skip, signed=True),
    "signed codes": partial(heavy_skip, lo=-16, hi=15),
    "two amplified reads": partial(heavy_skip, n=16),
    "a remainder": partial(heavy_skip, weight=np.full((16, 1, 1), 109), n=13),
    "windows": partial(heavy_skip, channels=64, n=10),
    "an odd number of channels": partial(heavy_skip, channels=7),
    "plain joined channels": partial(heavy_skip, kernel=1),
    "codes that cannot be amplified": partial(heavy_skip, hi=255, n=3),
    "more reads than are joined": partial(heavy_skip, hi=255, n=16),
    "few levels": partial(heavy_skip, hi=3, n=16),
}


@pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS)
def test_a_skip_is_exact_and_no_pair_of_its_products_reaches_sixteen_bits(make):
    program = make()
    model, codes = write(program), edge_inputs(program, 20)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    kernels = [n for n in model.graph.node if n.op_type == "QLinearConv"]
    wanted = [*{n.input[0] for n in kernels}]
    model.graph.output.extend(onnx.ValueInfoProto(name=t) for t in wanted if t not in codes)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {i.name: codes[i.name].astype(np.uint8 if "uint8" in i.type else np.int8) for i in session.get_inputs()}
    found = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True)) | feeds
    assert np.array_equal(found["y"], run_codes(program, codes, engine="reference")["y"])
    for node in kernels:
        weight, raw = constants[node.input[3]], found[node.input[0]].astype(int)
        if weight.dtype == np.int8:
            assert largest_pair(np.abs(weight.astype(int)), raw.max(axis=(0, 2, 3))) <= parts.PAIR


def largest_pair(weight, top):
    """Return the largest sum of two neighbouring products: kernel ``(o, c, *k)``, channels that reach ``top``."""
    if weight.shape[1] < len(top):
        return 0  # depthwise: added in 32 bits
    products = weight * top.reshape(1, -1, *(1,) * (weight.ndim - 2))
    if len(top) % 2:
        return 2 * products.max()  # a pair may straddle two pixels of the window
    return (products[:, ::2] + products[:, 1::2]).max()


def reads(make):
    """Return how many tensors of the skip's source are joined."""
    model = write(make())
    return max((len(n.input) for n in model.graph.node if n.op_type == "Concat"), default=1)


def test_eleven_equal_projections_are_read_twice_and_sixteen_of_few_levels_once():
    assert reads(partial(heavy_skip, kernel=1, n=11)) == 1 + 2
    assert reads(partial(heavy_skip, kernel=1, n=16, hi=3)) == 1 + 1
    assert reads(partial(heavy_skip, kernel=1, n=1)) == 1 + 1


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.lists(st.integers(-127, 127), min_size=4, max_size=4), min_size=1, max_size=20),
    st.integers(1, 255),
    st.integers(0, 255),
)
def test_gathered_parts_add_up_to_the_same_weights_and_stay_in_a_byte(weights, top, zero):
    shape, space = (4, 3, 3), ((1, 1), ((0, 0), (0, 0)), (1, 1))
    zero = min(zero, top)
    given_parts = [
        Part("x", zero, top, shape, Conv(np.array(w).reshape(4, 1, 1, 1), *space, groups=4), lone=False)
        for w in weights
    ]
    found = skips.gathered(given_parts)
    total = sum(p.gain * p.conv.weight[:, 0, 0, 0] for p in found)
    assert np.array_equal(total, np.sum(weights, axis=0))
    assert all(p.gain * top == p.top <= 255 and p.zero == p.gain * zero for p in found)
    assert sum(p.copies for p in found) <= len(weights)
    assert all(p.bound * p.top <= parts.PAIR for p in found)
