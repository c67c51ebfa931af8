"""The graph as text after each mapping pass, for three small networks: what becomes of levels, weights and thresholds.

The numbers of these networks are binary fractions, so that real values are the same on every machine, and what is
printed of real numbers is rounded to three digits; integers are compared as they are. Reconstruction is left out: what
is learnt by descent in float32 is of one machine. ``SFN_WRITE_GOLDEN=1 pytest`` writes the files anew, to be read
before a commit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfn_compile.calibration.collect import collect
from sfn_compile.compiler.corrections import corrected
from sfn_compile.compiler.draft import Work
from sfn_compile.foundation.options import Options
from sfn_compile.graph.graph import Graph
from sfn_compile.graph.printer import print_graph
from sfn_compile.passes.mapping.fold_thresholds import FoldThresholds
from sfn_compile.passes.pipeline import run_passes, structure

from ...frontend.tiny_onnx import imported, noise, tiny
from ..pass_examples import EvaluatedRunner

GOLDEN = Path(__file__).parent / "golden"


class Runner(EvaluatedRunner):
    """The float network; a graph of it whose populations were split computes the same."""

    def of(self, graph: Graph) -> Runner:
        return Runner(graph)


def eighths(*shape: int, seed: int = 0, by: float = 1.0) -> Any:
    """Normal numbers, rounded to multiples of 1/8."""
    return np.rint(8 * by * noise(*shape, seed=seed)) / 8


@dataclass(frozen=True)
class Case:
    """A network of text and constants, the shape of its input, and how it is mapped. ``passes``: what must have run."""

    body: str
    x: tuple[int, ...]
    options: Options
    passes: str
    constants: dict[str, Any]


AGAIN = "choose-ladders quantize-weights correct-bias"
CASES = {
    "a small CNN with a residual sum": Case(
        "a = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(a) e = Conv(r, u) m = Relu(e) d = Conv<pads=[1,1,1,1]>(m, v, c)"
        "s = Add(d, r) t = Relu(s) g = GlobalAveragePool(t) f = Flatten(g) y = Gemm(f, k, l)",
        (2, 4, 4), Options(levels=15, reconstruct=False, equalize=True),
        "choose-ladders quantize-weights equalize quantize-weights correct-bias fold-thresholds",
        {"w": eighths(4, 2, 3, 3), "b": eighths(4, seed=1), "u": eighths(6, 4, 1, 1, seed=6),
         "v": eighths(4, 6, 3, 3, seed=2, by=0.5), "c": eighths(4, seed=3), "k": eighths(4, 3, seed=4),
         "l": eighths(3, seed=5)}),
    "a small attention block with a normalisation": Case(
        "n = LayerNormalization(x, g, h) q0 = MatMul(n, wq) k0 = MatMul(n, wk) v0 = MatMul(n, wv)"
        "q = Add(q0, bias) k = Add(k0, bias) v = Add(v0, bias) kt = Transpose<perm=[0,2,1]>(k)"
        "s = MatMul(q, kt) p = Softmax(s) o = MatMul(p, v) u0 = MatMul(o, wo)"
        "u = Add(u0, bias) z = Add(u, x) y0 = MatMul(z, l) y = Add(y0, last)",
        (4, 4), Options(),
        f"{AGAIN} fold-thresholds",
        {"g": 1 + eighths(4, by=0.25), "h": eighths(4, seed=1), "wq": eighths(4, 4, seed=2),
         "wk": eighths(4, 4, seed=3), "wv": eighths(4, 4, seed=4), "wo": eighths(4, 4, seed=5),
         "bias": np.array([0.5, -0.25, 0.75, -0.5]), "l": eighths(4, 2, seed=6), "last": np.array([0.5, -1.5])}),
    "a sensor MLP in two digits": Case(
        "a = Gemm(x, w, b) r = Relu(a) d = Gemm(r, v, c) t = Relu(d) y = Gemm(t, k, l)",
        (6,), Options(levels=7, reconstruct=False, fine_share=0.0, digit_share=1.0),
        f"{AGAIN} {AGAIN} split-digits quantize-weights correct-bias fold-thresholds",
        {"w": eighths(6, 8), "b": eighths(8, seed=1), "v": eighths(8, 8, seed=2), "c": eighths(8, seed=3),
         "k": eighths(8, 3, seed=4), "l": eighths(3, seed=5)}),
}  # fmt: skip


def stages(case: Case, folder: Path) -> Iterator[tuple[str, Graph]]:
    """The graph after every mapping pass."""
    graph = imported(tiny(case.body, case.x, **case.constants), folder)
    graph = run_passes(graph, structure(case.options))
    x, runner = {"x": eighths(64, *case.x, seed=9).astype(np.float32)}, Runner(graph)
    found: list[tuple[str, Graph]] = []
    work = Work(graph, runner, collect(graph, runner, x), x, case.options, lambda *stage: found.append(stage),
                lambda *done: None)  # type: ignore[arg-type]  # fmt: skip
    work.run(corrected(work, None)[0], FoldThresholds())
    return iter(found)


def three_digits(text: str) -> str:
    """The text with real numbers rounded: beyond that, float32 sums in another order may differ."""
    return re.sub(r"-?\d+(\.\d+)?e[+-]\d+|-?\d+\.\d+", lambda m: f"{float(m[0]):.3g}", text)


@pytest.mark.parametrize("name", CASES)
def test_the_mapping_passes_do_what_the_golden_text_shows(name, tmp_path):
    found = list(stages(CASES[name], tmp_path))
    assert [by for by, _ in found] == CASES[name].passes.split()
    sections = [f"-- after {by}\n{three_digits(print_graph(graph))}" for by, graph in found]
    text, file = "\n".join([f"{name}\n", *sections]), GOLDEN / f"{name.replace(' ', '-')}.txt"
    if os.environ.get("SFN_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_every_golden_text_belongs_to_a_network():
    assert {f.stem for f in GOLDEN.glob("*.txt")} == {name.replace(" ", "-") for name in CASES}
