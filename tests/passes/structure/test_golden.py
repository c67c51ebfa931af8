"""The graph as text before and after each structural pass: what a pass does, to read and to compare."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sfn_compile.graph.printer import print_graph
from sfn_compile.passes.pipeline import STRUCTURE

from ...frontend.tiny_onnx import imported
from ..pass_examples import network, stages

GOLDEN = Path(__file__).parent / "golden"

# pass -> the network that shows it best. `SFN_WRITE_GOLDEN=1 pytest` writes the files anew, to be read before a commit.
SHOWN = {
    "compose-moves": "windows split off and merged again",
    "fuse-scalars": "a gelu written out behind a residual",
    "split-host": "host work on both ends",
    "fuse-quantizers": "quantisers around a max pool",
    "fold-affine": "a positive scale behind a max pool",
    "hoist-activations": "concat of raw branches",
    "sink-moves": "a residual in NHWC",
    "compose-linear": "global average pool, flatten, gemm",
    "compose-pools": "two average pools in a row",
    "place-sites": "a pre-activation residual block",
}


def both(by: str, folder: Path) -> str:
    graph = imported(network(SHOWN[by]), folder)
    before = print_graph(graph)
    for name, stage in stages(graph):
        if name == by:
            return f"{SHOWN[by]}\n\n-- before {by}\n{before}\n-- after {by}\n{print_graph(stage, origins=True)}"
        before = print_graph(stage)
    raise AssertionError(f"{by} did not run")


@pytest.mark.parametrize("by", [p.name for p in STRUCTURE])
def test_a_pass_does_what_its_golden_text_shows(by, tmp_path):
    text, file = both(by, tmp_path), GOLDEN / f"{by}.txt"
    if os.environ.get("SFN_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_every_golden_text_belongs_to_a_pass():
    assert {f.stem for f in GOLDEN.glob("*.txt")} == {p.name for p in STRUCTURE}
