"""A hundred random graphs: each is built and proved, or refused for a reason that is true.

`make fuzz-graphs` runs as many as wanted. What the numbers 0 to 99 are not to end in: an exception, a refusal that says
that sfnc itself is wrong, an integer that differs, an output far below its row in the report.
"""

from __future__ import annotations

from collections import Counter

import pytest

from sfn_compile.frontend.operators import IMPORTERS

from .block_graphs import block_graph
from .graph_outcome import outcome
from .random_graphs import operators, random_graph

SEEDS = range(100)
# What the generator does not write: rows of operators that have tests of their own.
RARE = {"RMSNormalization"}  # at opset 23 alone: not in every three hundred graphs
ELSEWHERE = {
    "Attention", "IsNaN", "Swish", "SimplifiedLayerNormalization", "Compress", "CumSum", "GatherElements", "GatherND",
    "LpNormalization", "MeanVarianceNormalization", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
    "ReduceSumSquare", "Scatter", "ScatterElements", "ScatterND", "Trilu", "And", "Or", "Xor", "IsInf", *RARE,
}  # fmt: skip  # tests/frontend/parity_cases.py, parity_places.py
DOMAINS = ("com.microsoft::Q", "finn.", "onnx.brevitas", "qonnx.")  # tests/frontend/test_quantised.py


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_graph_is_built_and_proved_or_refused_with_the_truth(seed, tmp_path):
    found = outcome(seed, tmp_path)
    assert "BAD" not in found
    assert found.split()[0].rstrip(";") in ("built", "refused")


@pytest.mark.parametrize("seed", range(12))
def test_a_network_of_blocks_is_built_and_proved(seed, tmp_path):
    assert outcome(seed, tmp_path, block_graph).split()[0].rstrip(";") == "built"


def test_the_same_number_makes_the_same_graph():
    for seed in (0, 17, 63):
        one, other = random_graph(seed), random_graph(seed)
        assert one.model.SerializeToString(deterministic=True) == other.model.SerializeToString(deterministic=True)
        assert all((one.calibration[k] == other.calibration[k]).all() for k in one.calibration)


def test_the_generator_reaches_every_family_and_many_operators():
    graphs = [random_graph(seed) for seed in range(300)]
    seen = Counter(op for g in graphs for op in operators(g))
    unknown = sorted(set(seen) - set(IMPORTERS))
    assert unknown == []
    missing = {op for op in set(IMPORTERS) - set(seen) if not op.startswith(DOMAINS)}
    assert missing - RARE == ELSEWHERE - RARE
    about = [g.about for g in graphs]
    for word in ("mixed", "network", "steps", "moves", "quantised", "float16", "double", "batch 1", "batch free"):
        assert any(word in a for a in about), word
    assert {int(a.split("opset ")[1].split(",")[0]) for a in about} == set(range(7, 24))
    assert any(len(g.model.graph.input) > 1 for g in graphs)
    assert any(len(g.model.graph.output) > 1 for g in graphs)
