"""Measure docs/accuracy.md: what every method and correction loses at one timestep, on networks of other people.

    python tests/benchmarks/accuracy.py --write docs/accuracy.md

Five draws of 1,024 calibration samples from the training split; the test split is evaluated once per row. Results are
kept in ``out/accuracy.json`` as they come, so that an interrupted run goes on; ``--fresh`` begins anew.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1] / "corpus")]

import corpus_data

from sfn_compile.compilation import Prepared, mapped, prepare
from sfn_compile.config import Options
from sfn_compile.execute import run_codes, single_threaded_blas
from sfn_compile.host import encode_all
from sfn_compile.pairs import reference_of
from sfn_compile.report import measure
from sfn_compile.samples import part

SEEDS, CALIBRATION, CHARGED = 5, 1024, 64
KEPT = Path("out/accuracy.json")
RESNETS = ("cifar_resnet20_op13", "cifar_resnet32_unfolded_op11", "cifar_resnet8_mlperf", "cifar_resnet_4b")
MOBILENET = "imagenet_mobilenet_v1_050_160"


@dataclass(frozen=True)
class Row:
    """One line of a table: what it is called, and the options that it is."""

    table: str
    label: str
    options: dict[str, Any] = field(default_factory=dict)
    networks: tuple[str, ...] = RESNETS[:1]

    def key(self, network: str, seed: int) -> str:
        """Return the name under which a result is kept."""
        return f"{self.table} | {self.label} | {network} | {seed}"


def settings() -> Iterator[Row]:
    """Return the rows of the first table: levels and weight bits, plain and learnt."""
    for levels, bits in ((31, 8), (15, 8), (7, 8), (15, 4), (3, 8)):
        few = {"levels": levels, "weight_bits": bits}
        name = f"{levels} levels, {bits}-bit weights"
        yield Row("plain", name, {**few, "reconstruct": False}, RESNETS)
        yield Row("learnt", name, {**few, "reconstruct": True}, RESNETS)
    for levels in (63, 31, 15):
        yield Row("plain", f"{levels} levels, 8-bit weights", {"levels": levels, "reconstruct": False}, (MOBILENET,))
        yield Row("learnt", f"{levels} levels, 8-bit weights", {"levels": levels, "reconstruct": True}, (MOBILENET,))


def ablations() -> Iterator[Row]:
    """Return the rows of the corrections: each alone, at 7 levels."""
    base = {"levels": 7, "reconstruct": False}
    yield Row("corrections", "more levels for 10 % of the neurons", {**base, "fine_share": 0.1})
    yield Row("corrections", "learnt, all populations at 7 levels", {"levels": 7, "reconstruct": True, "fine_share": 0.0})


ROWS = [*settings(), *ablations()]


def prepared_on(network: str, seed: int, folder: Path) -> Prepared:
    """Return a network calibrated on one draw of training samples."""
    data = corpus_data.write_npz(folder / f"{network}{seed}.npz", network, "train", CALIBRATION, seed)
    return prepare(corpus_data.model_path(network), Options(), data)


def measured(prepared: Prepared, row: Row, seed: int, float_hits: np.ndarray, test: Any) -> dict[str, Any]:
    """Return what one compilation loses on the test split, its paired standard error, and what it costs."""
    options = Options(**{**row.options, "seed": seed}).check()
    rows: list[dict[str, Any]] = []
    graph, program = mapped(prepared, options, rows=rows)
    x, labels = test
    out = program.outputs[0]
    codes = run_codes(program, encode_all(program, {prepared.loaded.input_names[0]: x}), [out.value], threads=1)
    hits = (codes[out.value] * out.step).reshape(len(x), -1).argmax(axis=1) == labels
    lost = float_hits.astype(float) - hits
    layers, _ = measure.layers(graph, program, prepared.runner, part(prepared.calibration.x, slice(CHARGED)))
    return {
        "float": 100 * float(float_hits.mean()), "lost": 100 * float(lost.mean()),
        "se": 100 * float(lost.std() / np.sqrt(len(lost))), "totals": measure.totals(layers), "corrections": rows,
        "above": [r["name"] for r in layers if r["kind"] != "input" and (r["levels"] or 0) > options.levels],
    }  # fmt: skip


def float_hits(prepared: Prepared, test: Any) -> np.ndarray:
    """Return which test samples the float network gets right; MobileNets end in a Softmax whose 8-bit results tie."""
    x, labels = test
    out, found = prepared.graph.outputs[0].value, []
    for n, real, _ in prepared.runner.stream({prepared.loaded.input_names[0]: x}):
        found.append(real[out].reshape(n, -1).argmax(axis=1))
    return np.concatenate(found) == labels


def work(network: str, seed: int, rows: list[Row], kept: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the results of one network and one draw that are not kept yet."""
    open_rows = [row for row in rows if row.key(network, seed) not in kept]
    if not open_rows:
        return
    with tempfile.TemporaryDirectory() as folder, single_threaded_blas():
        prepared, test = prepared_on(network, seed, Path(folder)), corpus_data.samples(network, "test")
        hits = float_hits(prepared, test)
        for row in open_rows:
            yield row.key(network, seed), measured(prepared, row, seed, hits, test)


def one_job(network: str, seed: int, row: Row) -> dict[str, Any]:
    """Return the results of one network, one draw and one row."""
    return dict(work(network, seed, [row], {}))
