"""Measure docs/accuracy.md: what every method and correction loses at one timestep, on networks of other people.

    python tests/benchmarks/accuracy.py --write docs/accuracy.md

Five draws of 1,024 calibration samples from the training split; the test split is evaluated once per row. Results are
kept in ``out/accuracy.json`` as they come, so that an interrupted run goes on; ``--fresh`` begins anew.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sfn_compile.compiler.compilation import Prepared, mapped, prepare
from sfn_compile.foundation.options import Options
from sfn_compile.foundation.samples import part
from sfn_compile.host.codec import encode_all
from sfn_compile.program.network import Program
from sfn_compile.report import measure
from sfn_compile.simulator.run import run_codes, single_threaded_blas
from sfn_compile.targets import backend
from sfn_compile.targets.backend import RunRequest
from sfn_compile.targets.legalize import legalize

from ..corpus import corpus_data

SEEDS, CALIBRATION, CHARGED = 5, 1024, 64
ENERGIES = ("E1 / float", "E2 / float", "E3 / float", "E1 / matched", "E4 / matched")
MARKS = "<!-- notes", "<!-- end of notes -->"
KEPT = Path("out/accuracy.json")
RESNETS = ("cifar_resnet20_op13", "cifar_resnet32_unfolded_op11", "cifar_resnet8_mlperf", "cifar_resnet_4b")
MOBILENET = "imagenet_mobilenet_v1_050_160"


HEAD = """# Accuracy at one timestep

Made by `make accuracy`: integer networks, post-training, T = 1. {n:,} calibration samples from the training split, the
whole test split (5,000 images; 375 photos for the MobileNet) evaluated once per row. Points of top-1 lost against the
float network in onnxruntime: mean over up to {seeds} draws of the calibration samples ± their standard deviation; "each
draw" lists those that were measured. One image is 0.02 points (one photo 0.27). "Error" is the standard error of one
draw's difference, image by image. Rates and numbers of epochs were chosen on training images.

## Levels and weight bits

*plain*: steps of least squared error per channel, corrected biases, every population at the stated levels, once.
*corrected*: what is the default below 31 levels or 8 bits; from 31 levels on `--fine-share 0.1 --digit-share 1`, which
takes seconds, or *learnt* too with `--reconstruct --digit-share 2`, which takes minutes.
"Above": share of the neurons that have more levels than stated (at most 10 %, at most 255 levels), listed in the report
with the reason; the input has 255. Sites in two digits are two populations, neither above the stated levels.
Energies are estimates per sample ([what they count](spec/files.md)), those of the corrected network; "synops" are given
for both.

| network (float top-1) | setting | plain | corrected | corrected, each draw | error | above | M synops: plain | \
corrected | {energies} |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
"""
METHODS = """
## How steps are chosen

The same network (ResNet-20), the same calibration samples, 15 levels, 8-bit weights. Biases are corrected in every row;
nothing is learnt, no population has more than 15 levels (non-uniform: 16 codes).

| method | points lost | each draw | error | M synops |
|---|---|---|---|---|
"""
CORRECTIONS = """
## What each correction brings, without learning

ResNet-20, 8-bit weights, biases corrected, `--no-reconstruct --fine-share 0.1`: more levels for a tenth of the neurons;
with `--digit-share`, also two digits for the sites that cost most; uniform levels, and those of `--method sfn
--method-option ladder=lloyd-max` (N + 1 codes, integers up to 255 on one step).

| | points lost | each draw | error | M synops |
|---|---|---|---|---|
"""


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
    """Return the rows of the first table: levels and weight bits, plain and corrected."""
    for levels, bits in ((31, 8), (15, 8), (7, 8), (15, 4), (3, 8)):
        few = {"levels": levels, "weight_bits": bits}
        name = f"{levels} levels, {bits}-bit weights"
        yield Row("plain", name, {**few, "reconstruct": False}, RESNETS)
        yield Row("corrected", name, {**few, **best(levels)}, RESNETS)
        if levels == 31:
            learnt = {**few, "reconstruct": True, "digit_share": 2.0}
            yield Row("corrected", f"{name}, learnt", learnt, RESNETS)
    for levels in (63, 31, 15):
        name = f"{levels} levels, 8-bit weights"
        yield Row("plain", name, {"levels": levels, "reconstruct": False}, (MOBILENET,))
        yield Row("corrected", name, {"levels": levels, **best(levels)}, (MOBILENET,))


def best(levels: int) -> dict[str, Any]:
    """Return the options of the corrected rows: what is the default where levels are few."""
    return {} if levels < 31 else {"fine_share": 0.1, "digit_share": 1.0}


LADDERS: dict[str, dict[str, Any]] = {
    "mse": {},
    "mse, one step per tensor": {"granularity": "tensor"},
    "the same, equalised across layers": {"granularity": "tensor", "equalize": True},
    "minmax": {"method": "minmax"},
    "percentile (0.9995)": {"method": "percentile"},
    "kl": {"method": "kl"},
    "sfn, lambda x quantile as full scale": {"method": "sfn", "method_options": {"reading": "scale"}},
    "sfn, lambda 0.252 x quantile as step": {"method": "sfn"},
    "sfn, non-uniform: Lloyd-Max": {"method": "sfn", "method_options": {"ladder": "lloyd-max"}},
    "sfn, non-uniform: equal mass": {"method": "sfn", "method_options": {"ladder": "equal-mass"}},
    "qcfs": {"method": "qcfs"},
    "opi, offset half a step": {"method": "opi"},
    "opi, offset 0": {"method": "opi", "method_options": {"offset": "0"}},
    "pmsm, two polarities": {"method": "pmsm"},
    "mse, thresholds powers of two": {"threshold": "pow2"},
}


def methods() -> Iterator[Row]:
    """Return the rows of the second table: how steps are chosen, at 15 levels, biases corrected, nothing learnt."""
    for name, options in LADDERS.items():
        yield Row("methods", name, {"levels": 15, "reconstruct": False, **options})


def corrections() -> Iterator[Row]:
    """Return the rows of the third table: more levels, two digits and non-uniform levels, without learning."""
    base = {"reconstruct": False, "fine_share": 0.1}
    lloyd = {**base, "method": "sfn", "method_options": {"ladder": "lloyd-max"}}
    for levels in (31, 15, 7, 3):
        yield Row("corrections", f"{levels} levels: uniform", {**base, "levels": levels})
        yield Row("corrections", f"{levels} levels: Lloyd-Max", {**lloyd, "levels": levels})
        for share in (0.5, 1.0):
            name = f"{levels} levels: uniform, two digits for {100 * share:.0f} % more multiply-accumulates"
            yield Row("corrections", name, {**base, "levels": levels, "digit_share": share})


ROWS = [*settings(), *methods(), *corrections()]
TABLES = list(dict.fromkeys(row.table for row in ROWS))


def prepared_on(network: str, seed: int, folder: Path) -> Prepared:
    """Return a network calibrated on one draw of training samples."""
    data = corpus_data.write_npz(folder / f"{network}{seed}.npz", network, "train", CALIBRATION, seed)
    return prepare(corpus_data.model_path(network), Options(), data)


def integers(program: Program, codes: dict[str, np.ndarray], folder: Path) -> np.ndarray:
    """Return the first output's integers from the emitted target ``onnx``, which is faster than the simulator.

    The first samples are computed by the simulator too: they must be equal.
    """
    target, value = backend.load("onnx"), program.outputs[0].value
    legal = legalize(program, target.name, target.capabilities)
    place = Path(tempfile.mkdtemp(dir=folder))
    target.emit(legal, place, {})
    there = legal.outputs[0].value
    found = target.run(place, RunRequest(codes, {}, 3600.0, frozenset({there}))).values[there]
    few = {name: some[:CHARGED] for name, some in codes.items()}
    assert np.array_equal(run_codes(program, few, [value], threads=1)[value], found[:CHARGED])
    return found


def measured(prepared: Prepared, row: Row, seed: int, hits: np.ndarray, test: Any, folder: Path) -> dict[str, Any]:
    """Return what one compilation loses on the test split, its paired standard error, and what it costs."""
    options = Options(**{**row.options, "seed": seed}).check()
    made = mapped(prepared, options, measured=True)
    graph, program = made.graph, made.program
    x, labels = test
    codes = encode_all(program, {prepared.loaded.input_names[0]: x})
    out = integers(program, codes, folder) * program.outputs[0].step
    lost = hits.astype(float) - (out.reshape(len(x), -1).argmax(axis=1) == labels)
    report = measure.layers(graph, program, prepared.runner.of(graph), part(prepared.calibration.x, slice(CHARGED)))
    layers, energy = report.layers, report.energy["totals"]
    fired = [r for r in layers if r["kind"] != "input" and r["levels"] is not None]
    above = [r for r in fired if r["levels"] > options.levels]
    return {
        "float": 100 * float(hits.mean()), "lost": 100 * float(lost.mean()),
        "se": 100 * float(lost.std() / np.sqrt(len(lost))), "totals": measure.totals(layers),
        "corrections": made.corrections,
        "energy": {f"{p} / {other}": r for other in ("float", "matched") for p, r in energy[f"to_{other}"].items()},
        "above": [r["name"] for r in above],
        "share_above": float(sum(np.prod(r["shape"]) for r in above) / sum(np.prod(r["shape"]) for r in fired)),
    }  # fmt: skip


def float_hits(prepared: Prepared, test: Any) -> np.ndarray:
    """Return which test samples the float network gets right; MobileNets end in a Softmax whose 8-bit results tie."""
    x, labels = test
    out, found = prepared.graph.outputs[0].value, []
    for n, real, _ in prepared.runner.stream({prepared.loaded.input_names[0]: x}):
        found.append(real[out].reshape(n, -1).argmax(axis=1))
    return np.concatenate(found) == labels


def job(network: str, seed: int, rows: list[Row]) -> dict[str, Any]:
    """Return the results of one network, one draw of calibration samples and some rows: it is calibrated once."""
    with tempfile.TemporaryDirectory() as name, single_threaded_blas():
        folder = Path(name)
        prepared, test = prepared_on(network, seed, folder), corpus_data.samples(network, "test")
        hits = float_hits(prepared, test)
        return {row.key(network, seed): measured(prepared, row, seed, hits, test, folder) for row in rows}


def of(kept: dict[str, Any], row: Row, network: str) -> list[dict[str, Any]]:
    """Return the results of a row on a network, one per draw that was measured."""
    return [kept[key] for seed in range(100) if (key := row.key(network, seed)) in kept]


def loss(found: list[dict[str, Any]]) -> str:
    """Return mean and standard deviation of the points lost over the draws."""
    if not found:
        return "not measured"
    lost = np.array([f["lost"] for f in found])
    spread = f" ± {lost.std(ddof=1):.2f}" if len(lost) > 1 else ""
    return f"{lost.mean():+.2f}{spread}"


def each(found: list[dict[str, Any]]) -> str:
    """Return the points lost of every draw."""
    return ", ".join(f"{f['lost']:.2f}" for f in found)


def error(found: list[dict[str, Any]]) -> str:
    """Return the mean paired standard error of one draw."""
    return f"{np.mean([f['se'] for f in found]):.2f}" if found else ""


def synops(found: list[dict[str, Any]]) -> str:
    """Return the mean synaptic operations of a sample, in millions."""
    return f"{np.mean([f['totals']['synops'] for f in found]) / 1e6:.2f}" if found else ""


def energies(found: list[dict[str, Any]]) -> list[str]:
    """Return the mean ratios of the estimated energies."""
    return [f"{np.mean([f['energy'][name] for f in found]):.2f}" if found else "" for name in ENERGIES]


def jobs(rows: list[Row], seeds: int, kept: dict[str, Any]) -> Iterator[tuple[str, int, list[Row]]]:
    """Yield what is still to be measured: per network, draw and table, one draw of all before the next."""
    for seed in range(seeds):
        for network in dict.fromkeys(n for row in rows for n in row.networks):
            for table in dict.fromkeys(row.table for row in rows):
                some = [
                    r for r in rows if r.table == table and network in r.networks and r.key(network, seed) not in kept
                ]
                if some and (network != MOBILENET or seed == 0):  # of photos there is one draw
                    yield network, seed, some


def run(rows: list[Row], seeds: int, workers: int) -> dict[str, Any]:
    """Return all results, those kept from an earlier run included."""
    kept: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    KEPT.parent.mkdir(exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        for done in as_completed([pool.submit(job, *one) for one in jobs(rows, seeds, kept)]):
            kept.update(done.result())
            KEPT.write_text(json.dumps(kept, indent=0), encoding="utf-8")
            for key, found in done.result().items():
                print(f"{key}: {found['lost']:+.2f}", flush=True)
    return kept


def page(kept: dict[str, Any], notes: str = "") -> str:
    """Return docs/accuracy.md, with ``notes`` behind its head."""
    head = HEAD.format(n=CALIBRATION, seeds=SEEDS, energies=" | ".join(ENERGIES))
    parts = [head.replace("## Levels and", f"{notes}## Levels and", 1)]
    by_label: dict[tuple[str, str], dict[str, Row]] = {}
    for network in (*RESNETS, MOBILENET):
        for row in (r for r in settings() if network in r.networks):
            by_label.setdefault((network, row.label), {})[row.table] = row
    for (network, label), pair in by_label.items():
        plain, better = (of(kept, pair[t], network) if t in pair else [] for t in ("plain", "corrected"))
        if plain or better:
            name = f"{network} ({(plain or better)[0]['float']:.2f})"
            share = f"{100 * np.mean([f['share_above'] for f in better]):.1f} %" if better else ""
            before = loss(plain) if "plain" in pair else ""
            row = (name, label, before, f"**{loss(better)}**", each(better), error(better), share, synops(plain),
                   synops(better))  # fmt: skip
            parts.append(f"| {' | '.join((*row, *energies(better)))} |\n")
    for head, rows in ((METHODS, methods()), (CORRECTIONS, corrections())):
        parts.append(head)
        for row in rows:
            found = of(kept, row, row.networks[0])
            parts.append(f"| {row.label} | {loss(found)} | {each(found)} | {error(found)} | {synops(found)} |\n")
    return "".join(parts)


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="the page to write")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--tables", nargs="*", default=TABLES)
    parser.add_argument("--networks", nargs="*", default=[*RESNETS, MOBILENET])
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run measured")
    args = parser.parse_args()
    if not corpus_data.present():
        raise SystemExit(corpus_data.MISSING)
    if args.fresh:
        KEPT.unlink(missing_ok=True)
    rows = [replace(r, networks=tuple(n for n in r.networks if n in args.networks)) for r in ROWS]
    kept = run([r for r in rows if r.table in args.tables and r.networks], args.seeds, args.workers)
    text = page(kept, notes(args.write))
    print(text)
    if args.write:
        args.write.write_text(text, encoding="utf-8")


def notes(path: Path | None) -> str:
    """Return what people wrote on a page between its two marks."""
    text = path.read_text(encoding="utf-8") if path is not None and path.is_file() else ""
    found = re.search(f"{MARKS[0]}.*?{MARKS[1]}\\n\\n", text, re.DOTALL)
    return found.group() if found else ""


if __name__ == "__main__":
    main()
