"""Products of two computed values: one term of a population, as exact as its weights, as fine as the codes it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfn_compile.foundation.options import Options
from sfn_compile.graph.graph import Graph
from sfn_compile.graph.ops import Layer
from sfn_compile.graph.printer import print_program
from sfn_compile.graph.steps import all_steps, effective_product
from sfn_compile.host.codec import encode
from sfn_compile.passes.mapping.correct_bias import CorrectBias
from sfn_compile.passes.mapping.fold_thresholds import FoldThresholds
from sfn_compile.passes.pipeline import run_passes, structure
from sfn_compile.simulator.run import run_codes

from ...frontend.tiny_onnx import imported, noise, samples, tiny
from ..pass_examples import Array, EvaluatedRunner, mapped, network, program_of, structured

GATED = {"w": noise(4, 3, 3, 3), "b": noise(4, seed=2), "v": noise(4, 3, 3, 3, seed=7), "c": noise(4, seed=6)}
GLU = "a = Conv(x, w, b) d = Conv(x, v, c) s = Sigmoid(d) m = Mul(a, s)"
EXCITE = (
    "a = Conv(x, w, b) r = Relu(a) p = GlobalAveragePool(r) f = Conv(p, k) e = Relu(f) h = Conv(e, l) s = Sigmoid(h)"
    "m = Mul(r, s)"
)
EXCITED = {"w": noise(8, 3, 3, 3), "b": noise(8), "k": noise(4, 8, 1, 1), "l": noise(8, 4, 1, 1)}
BN = {"g": np.array([1.5, -0.7, 0.1, -2.0]), "h": noise(4, seed=3), "m1": noise(4, seed=4), "z": np.full(4, 0.5)}


def graph_of(body: str, folder: Path, options: Options | None = None, **keywords: Any) -> tuple[Graph, Array]:
    """The mapped graph of a body and the samples it was mapped on."""
    original = imported(tiny(body, **keywords), folder)
    x = samples(original, 16)
    return mapped(structured(original), x, options), x


def the_layer(graph: Graph, name: str) -> Layer:
    found = graph.by_name()[name].op
    assert isinstance(found, Layer)
    return found


# -- structure -----------------------------------------------------------------------------------------------------
def test_squeeze_and_excite_reads_as_two_factors_into_one_population(tmp_path):
    graph, _ = graph_of(f"{EXCITE} y = Conv(m, u)", tmp_path, **EXCITED, u=noise(2, 8, 1, 1))
    text = print_program(program_of(graph))
    assert [line.split(" ")[0] for line in text.splitlines()[1:-1]] == ["%r", "%e", "%s", "%m", "%y"]
    assert "%m : 8x4x4 = population Elementwise(weight=[8x1x1: " in text
    assert ") %r * %s -> Uniform(theta=[8x1x1: " in text


def test_a_product_its_batch_norm_a_skip_and_a_relu_are_one_population(tmp_path):
    body = f"{GLU} d1 = BatchNormalization(m, g, h, m1, z) q = Relu(a) e = Add(d1, q) r = Relu(e) y = Conv(r, u)"
    graph, _ = graph_of(body, tmp_path, **GATED, **BN, u=noise(2, 4, 1, 1))
    (layer,) = [n for n in graph.nodes if isinstance(n.op, Layer) and n.op.products]
    assert layer.name == "r"
    assert set(layer.inputs) == {"a", "q", "s"}
    assert layer.inputs[-2:] == ("a", "s")


def test_a_scale_before_a_product_goes_into_its_weight(tmp_path):
    """x * relu6(g + 3) / 6, the division standing before the product: the scaled gate is fired by nobody."""
    body = """a = Conv(x, w, b) h = Conv(x, v, c) d = Add(h, three) e = Clip(d, zero, six) s = Div(e, six)
              m = Mul(a, s) y = Conv(m, u)"""
    numbers = {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6), "u": noise(2, 4, 1, 1)}
    graph, _ = graph_of(body, tmp_path, w=GATED["w"], b=GATED["b"], **numbers, v=GATED["v"], c=GATED["c"])
    assert [n.name for n in graph.nodes] == ["e", "a", "m", "y"]
    assert graph.by_name()["m"].inputs == ("a", "e")
    assert graph.by_name()["m"].origin.nodes == ("s (Div)", "m (Mul)")
    assert the_layer(graph, "m").products[0].weight.item() == pytest.approx(1 / 6, rel=2.0**-50)


def test_products_that_meet_share_a_population(tmp_path):
    graph = structured(imported(network("two products that meet"), tmp_path))
    assert [len(n.op.products) for n in graph.nodes if isinstance(n.op, Layer) and n.op.products] == [2]


@pytest.mark.parametrize(("levels", "populations"), [(63, ["e"]), (64, ["m"])])
def test_above_63_levels_a_product_beside_a_skip_has_a_site_of_its_own(levels, populations, tmp_path):
    original = imported(tiny(f"{GLU} e = Add(m, a) y = Conv(e, u)", **GATED, u=noise(2, 4, 1, 1)), tmp_path)
    graph = run_passes(original, structure(Options(levels=levels)))
    assert [n.name for n in graph.nodes if isinstance(n.op, Layer) and n.op.products] == populations


def test_products_of_matrix_products_keep_their_channels_on_the_last_axis(tmp_path):
    graph = structured(imported(network("a product along the last axis"), tmp_path))
    assert the_layer(graph, "m").axis == 1


# -- weights -------------------------------------------------------------------------------------------------------
def weight_errors(graph: Graph, name: str) -> Array:
    """|integer weight * alpha - real weight| of the products of a layer, as a share of the real weight."""
    node, layer, steps = graph.by_name()[name], the_layer(graph, name), all_steps(graph)
    _, products = layer.drivers(node.inputs)
    errors = []
    for product, form in zip(products, layer.integer.products, strict=True):
        real = effective_product(product.form, steps[product.left], steps[product.right], len(node.type.shape)).weight
        errors.append(np.abs(form.weight * layer.integer.alpha - real) / np.abs(real))
    return np.concatenate([np.broadcast_to(e, node.type.shape).reshape(-1) for e in errors])


@pytest.mark.parametrize("levels", [15, 31, 63, 255])
def test_the_weight_of_a_product_alone_is_off_by_half_a_unit_of_64_at_most(levels, tmp_path):
    """The finest theta gives it 127, and the search goes down to half of that."""
    graph, _ = graph_of(f"{GLU} y = Conv(m, u)", tmp_path, Options(levels=levels), **GATED, u=noise(2, 4, 1, 1))
    assert weight_errors(graph, "m").max() <= 0.5 / 64


@pytest.mark.parametrize("share", [2.0, 1.0, 0.25, 0.1])
def test_beside_a_skip_a_product_keeps_its_precision(share, tmp_path):
    """One code of the product is worth a 31st of the skip's, times its share: the skip is read several times.

    The thetas that are tried lie 1/126 of the finest apart, so one of them misses an integer weight by 1/252 of the
    largest at most, and the weight is no smaller than half of that.
    """
    body = f"{GLU} n = Mul(m, k) q = Relu(a) e = Add(n, q) y = Conv(e, u)"
    graph, _ = graph_of(body, tmp_path, **GATED, k=np.float32(share), u=noise(2, 4, 1, 1))
    form = the_layer(graph, "e").integer
    assert all(np.abs(m.weight).max() <= 127 for m in form.maps)
    assert weight_errors(graph, "e").max() <= 1 / 126
    assert (len(form.maps) > 1) == ("for the precision of the product" in " ".join(form.notes))


def test_a_skip_that_is_read_several_times_is_the_same_sum(tmp_path):
    body = f"{GLU} n = Mul(m, k) q = Relu(a) e = Add(n, q) y = Conv(e, u)"
    original = imported(tiny(body, **GATED, k=np.float32(0.1), u=noise(2, 4, 1, 1)), tmp_path)
    x = samples(original, 4)
    graph = mapped(structured(original), x)
    assert len(the_layer(graph, "e").maps) > 1
    want, got = original.evaluate({"x": x})["e"], graph.evaluate({"x": x})["e"]
    assert np.abs(want - got).max() <= 2.0**-40 * np.abs(want).max()


# -- precision in the network --------------------------------------------------------------------------------------
@pytest.mark.parametrize("levels", [31, 255])
@pytest.mark.parametrize(("body", "constants"), [(GLU, GATED), (EXCITE, EXCITED)], ids=["glu", "squeeze and excite"])
def test_a_gate_is_as_precise_as_the_rounding_of_its_factors_and_of_itself(body, constants, levels, tmp_path):
    """An error of at most half a step in either factor and in the product: steps cover all values seen (minmax).

    What the layers before add (the rounding of inputs and weights) may not double the power of that.
    """
    options = Options(levels=levels, input_levels=65535, weight_bits=16, acc_bits=48, method="minmax")
    original = imported(tiny(f"{body} y = Conv(m, u)", **constants, u=noise(2, len(constants["w"]), 1, 1)), tmp_path)
    x = samples(original, 64)
    graph = mapped(structured(original), x, options)
    real, steps = graph.evaluate({"x": x}), all_steps(graph)
    left, right = graph.by_name()["m"].inputs
    program = program_of(graph)
    codes = run_codes(program, {e.value: encode(e, x) for e in program.inputs})
    error = codes["m"] * steps["m"] - real["m"]
    from_left, from_right = real[right] * steps[left], real[left] * steps[right]
    expected = ((from_left**2).mean() + (from_right**2).mean() + (steps["m"] ** 2).mean()) / 12
    assert (error**2).mean() <= 2 * expected


def test_bias_correction_sees_the_product(tmp_path):
    """With it the mean error of a gated layer is smaller than without, on the samples it was corrected on."""
    original = imported(tiny(f"{GLU} y = Conv(m, u)", **GATED, u=noise(2, 4, 1, 1)), tmp_path)
    x = samples(original, 64)
    graph = mapped(structured(original), x, Options(levels=7))
    runner = EvaluatedRunner(graph)
    corrected = run_passes(graph, (CorrectBias(runner, {"x": x}), FoldThresholds()))  # type: ignore[arg-type]
    means = []
    for g in (graph, corrected):
        program = program_of(g)
        codes = run_codes(program, {e.value: encode(e, x) for e in program.inputs})
        error = codes["m"] * all_steps(g)["m"] - original.evaluate({"x": x})["m"]
        means.append(np.abs(error.mean(axis=(0, 2, 3))).max())
    assert means[1] < means[0]
