"""What is held of calibration while biases are corrected: real values of as many samples as fit, codes of all."""

from __future__ import annotations

from pass_examples import EvaluatedRunner, structured
from tiny_onnx import imported, noise, samples, tiny

from sfn_compile.ops import Layer
from sfn_compile.passes import correct_bias

BODY = "a = Conv(x, w) r = Relu(a) p = GlobalAveragePool(r) f = Flatten(p) g = Gemm(f, k) u = Relu(g) y = Gemm(u, l)"


def test_of_large_values_the_first_samples_are_held_and_of_small_ones_all(tmp_path, monkeypatch):
    original = imported(tiny(BODY, x=(2, 8, 8), w=noise(3, 2, 3, 3), k=noise(3, 4), l=noise(4, 2)), tmp_path)
    x = samples(original, 20)
    graph = structured(original)
    monkeypatch.setattr(correct_bias, "MAX_NUMBERS", 1500)
    held = correct_bias._real_values(graph, EvaluatedRunner(graph), {"x": x}, 20)
    sizes = {name: int(v[0].size) for name, v in held.items()}
    assert set(held) == {s for n in graph.nodes if isinstance(n.op, Layer) for s in n.inputs}
    assert max(sizes.values()) * 20 > 1500 > sum(v.size for v in held.values())
    small = [name for name, size in sizes.items() if 20 * size <= 1500 / len(held)]
    assert small
    assert all(len(held[name]) == 20 for name in small)
    assert 1 <= len(held["x"]) < 20
