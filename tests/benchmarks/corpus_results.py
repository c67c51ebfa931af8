"""Measure the accuracy promise and the proofs on real networks; write the tables of ``docs/results.md``.

    python tests/benchmarks/corpus_results.py --write docs/results.md

Default options, 512 training samples for calibration, the whole test split, three calibration seeds; photos for the
MobileNets; quantised networks against themselves; regression by signal to noise; then one build for every target per
network, verified. Nothing is chosen on the test split.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from sfn_compile.commands.build import build
from sfn_compile.commands.evaluate import compare, evaluate
from sfn_compile.commands.verify import verify
from sfn_compile.compiler.compilation import compile_model
from sfn_compile.foundation.options import Options
from sfn_compile.foundation.version import __version__
from sfn_compile.frontend.reference import FloatReference
from sfn_compile.host.codec import encode_all
from sfn_compile.simulator.run import run_codes

from ..corpus import corpus_data

SEEDS = (0, 1, 2)
CALIBRATION = 512
LARGE = 50_000  # neurons above which Lava and the stock readers get two samples
TARGETS = ("sim", "onnx", "nir", "lava")
REGRESSION = ("go1_policy", "super_resolution", "ultraface_rfb_320")
LARGE_INPUTS = {"fashion_vit", *corpus_data.MOBILENETS, *REGRESSION[1:], *list(corpus_data.QUANTISED)[2:]}


def accuracy(name: str, folder: Path, options: Options | None = None) -> dict[str, Any]:
    """Return float top-1, mean agreement and, per calibration seed, the points lost by the spiking network."""
    model = corpus_data.model_path(name)
    x, y = corpus_data.samples(name, "test")
    drops, same, float_top1 = [], [], 0.0
    for seed in SEEDS:
        data = corpus_data.write_npz(folder / f"calib{seed}.npz", name, "train", CALIBRATION, seed)
        done = compile_model(model, options or Options(), data)
        reference = FloatReference(model, done.loaded.input_names, done.loaded.batch)
        found = compare(done.program, reference, x, y)["accuracy"]
        float_top1 = 100 * found["float_top1"]
        drops.append(100 * (found["float_top1"] - found["snn_top1"]))
        same.append(100 * found["agreement"])
    return {"float": float_top1, "drops": drops, "agreement": float(np.mean(same))}


def transformer(name: str, folder: Path, attention: int) -> str:
    """Return one line on a vision transformer with so many levels at attention sites, 31 elsewhere."""
    found = accuracy(name, folder, Options(attention_levels=attention))
    drops = np.array(found["drops"])
    spread = ", ".join(f"{d:.2f}" for d in drops)
    return (
        f"| {name} | {attention} | {found['float']:.2f} | {drops.mean():+.2f} | {spread} | {found['agreement']:.1f} % |"
    )


def before_softmax(name: str, folder: Path, levels: int) -> str:
    """Return one line on a MobileNet: classes are compared before the Softmax, whose 8-bit results tie."""
    model = corpus_data.model_path(name)
    data = corpus_data.write_npz(folder / "photos.npz", name, "train", 10_000, 0)
    done = compile_model(model, Options(levels=levels), data)
    x, y = corpus_data.samples(name, "test")
    out, at = done.program.outputs[0], 0
    real_hits, spiking_hits, same = 0, 0, 0
    for n, real, _ in done.runner.stream({done.loaded.input_names[0]: x}):
        codes = run_codes(
            done.program, encode_all(done.program, {done.loaded.input_names[0]: x[at : at + n]}), [out.value]
        )
        a = real[out.value].reshape(n, -1).argmax(axis=1)
        b = (codes[out.value] * out.step).reshape(n, -1).argmax(axis=1)
        real_hits, spiking_hits = (
            real_hits + int((a == y[at : at + n]).sum()),
            spiking_hits + int((b == y[at : at + n]).sum()),
        )
        same, at = same + int((a == b).sum()), at + n
    error = 100 * np.sqrt((1 - same / at) / at)
    lost = 100 * (real_hits - spiking_hits) / at
    return f"| {name} | {levels} | {100 * real_hits / at:.2f} | {lost:+.2f} | {error:.2f} | {100 * same / at:.1f} % |"


def against_itself(name: str, folder: Path) -> str:
    """Return one line on a quantised network: top-1 of onnxruntime's run of it and of ours."""
    model = corpus_data.model_path(name)
    done = compile_model(model, Options(samples=2))
    x, y = corpus_data.samples(name, "test")
    reference = FloatReference(model, done.loaded.input_names, done.loaded.batch)
    found = compare(done.program, reference, x, y)["accuracy"]
    lost = 100 * (found["float_top1"] - found["snn_top1"])
    agreement = 100 * found["agreement"]
    return f"| {name} | {len(x)} | {100 * found['float_top1']:.2f} | {lost:+.2f} | {agreement:.2f} % |"


def regression(name: str, folder: Path) -> str:
    """Return one line on a network whose outputs are numbers: signal to noise at the default levels and at 255."""
    if name == "go1_policy":  # inputs as its own normaliser expects them
        mean, deviation = _normaliser(corpus_data.model_path(name))
        x = np.random.default_rng(0).standard_normal((4596, len(mean))) * deviation + mean
        calib, test, what = x[:4096], x[4096:], "normal numbers of its own mean and deviation"
    else:
        calib, test, what = corpus_data.crops(name, 32), corpus_data.crops(name, 24, 400), "photos"
    found = []
    for levels in (31, 255):
        np.savez(folder / "r.npz", x=calib.astype(np.float32))
        build(corpus_data.model_path(name), folder / "r", Options(levels=levels), folder / "r.npz")
        np.savez(folder / "r.npz", x=test.astype(np.float32))
        outputs = evaluate(folder / "r", folder / "r.npz")["outputs"]
        found.append(", ".join(f"{v['sqnr_db']:.1f}" for v in outputs.values()))
    return f"| {name} | {', '.join(outputs)} | {what} | {found[0]} | {found[1]} |"


def _normaliser(model: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (mean, deviation) of the Sub and Div or Mul that a control policy begins with."""
    graph = onnx.load(str(model)).graph
    constants = {t.name: onnx.numpy_helper.to_array(t).reshape(-1) for t in graph.initializer}
    named = [(n.op_type, constants[i]) for n in graph.node[:4] for i in n.input if i in constants]
    mean = next(c for kind, c in named if kind == "Sub")
    kind, scale = next((kind, c) for kind, c in named if kind in ("Div", "Mul"))
    return mean, scale if kind == "Div" else 1 / scale


def proof(name: str, folder: Path) -> dict[str, Any]:
    """Return ``proof.json`` of a build for every target and its coverage."""
    data = folder / "calib0.npz"
    if not data.exists() and corpus_data.facts(name).get("data"):
        corpus_data.write_npz(data, name, "train", 64, 0)
    elif not data.exists():
        shape = corpus_data.facts(name)["inputs"][0][1][1:]
        normal = np.random.default_rng(0).standard_normal((64, *shape))
        np.savez(data, x=corpus_data.crops(name, 16) if len(shape) == 3 else normal)
    out = folder / "out"
    built = build(corpus_data.model_path(name), out, Options(targets=TARGETS), data)
    n = 1 if name in LARGE_INPUTS else 2 if built.report["totals"]["neurons"] > LARGE else 8
    found = verify(out, data, n).document
    found["coverage"] = built.report["coverage"]
    found["refused"] = {k: v["refused"][0]["what"] for k, v in built.report["targets"].items() if "refused" in v}
    return found


def accuracy_row(name: str, found: dict[str, Any]) -> str:
    """Return one line of the accuracy table."""
    drops = np.array(found["drops"])
    spread = ", ".join(f"{d:.2f}" for d in drops)
    return f"| {name} | {found['float']:.2f} | {drops.mean():+.2f} | {spread} |"


def proof_rows(name: str, found: dict[str, Any]) -> list[str]:
    """Return the lines of the proof table: one per target, one per stock reader."""
    rows = []
    cover = found["coverage"]
    mapped = f"{cover['mapped']}/{cover['nodes']}" + (f", {cover['host']} host" if cover["host"] else "")
    for target, t in found["targets"].items():
        by = t["executed_by"] or t.get("error", "not executed")
        counts = f"{t['samples']} | {t['compared']:,} | {t['different']}"
        rows.append(f"| {name} | {mapped} | {target} | {by} | {t['mode']} | {counts} |")
        for r in t.get("readers", ()):
            wrong = r.get("error") or r["different"]
            rows.append(
                f"| | | | {r['name']} {r['version']} | stock reader | {r['samples']} | {r['compared']:,} | {wrong} |"
            )
    return rows + [f"| {name} | {mapped} | {k} | refused: {v} | | | | |" for k, v in found["refused"].items()]


TABLES = ("scores", "transformers", "mobile", "quantised", "regression", "proofs")


def jobs() -> list[tuple[str, str, Callable[[str, Path], str]]]:
    """Return (table, network, what measures its rows)."""
    return [
        *(("scores", n, lambda name, folder: accuracy_row(name, accuracy(name, folder))) for n in corpus_data.PROMISED),
        *(("transformers", n, lambda name, folder: "\n".join(transformer(name, folder, k) for k in (255, 31)))
          for n in corpus_data.TRANSFORMERS),
        *(("mobile", n, lambda name, folder: "\n".join(before_softmax(name, folder, levels) for levels in (63, 31)))
          for n in corpus_data.MOBILENETS),
        *(("quantised", n, against_itself) for n in corpus_data.QUANTISED),
        *(("regression", n, regression) for n in REGRESSION),
    ]  # fmt: skip


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="write the page here as well")
    parser.add_argument("--only", nargs="*", help="networks [default: all]")
    parser.add_argument("--no-proof", action="store_true", help="accuracy only")
    args = parser.parse_args()
    if not corpus_data.present():
        sys.exit(corpus_data.MISSING)
    tables: dict[str, list[str]] = {name: [] for name in TABLES}
    for table, name, measure in jobs():
        if args.only and name not in args.only:
            continue
        with tempfile.TemporaryDirectory(prefix="sfnc-") as folder:
            start = time.perf_counter()
            tables[table].append(measure(name, Path(folder)))
            print(tables[table][-1], flush=True)
            if not args.no_proof:
                rows = proof_rows(name, proof(name, Path(folder)))
                tables["proofs"] += rows
                print("\n".join(rows), f"\n({time.perf_counter() - start:.0f} s)", flush=True)
    page = PAGE.format(version=__version__, python=platform.python_version(), numpy=np.__version__, ort=ort.__version__,
                       **{k: "\n".join(v) for k, v in tables.items()})  # fmt: skip
    if args.write:
        args.write.write_text(page, encoding="utf-8")


PAGE = """# Results on real networks

Made by `make results` with sfnc {version}, Python {python}, NumPy {numpy}, onnxruntime {ort}.
The networks were trained and exported by other people; they and their data are not part of this repository.

## Accuracy

Default options (31 levels, 8-bit weights, T = 1), calibrated on 512 training samples, the whole test split of 5,000
samples, three draws of the calibration samples. Points of top-1 lost against the float network in onnxruntime;
negative means gained. One image is 0.02 points.

| network | float top-1 | points lost, mean | per seed |
|---|---|---|---|
{scores}

## Transformers

As above. `fashion_vit` is `models/fashion_vit.onnx` (LayerNorm, GELU, class token), `cifar_vit_ibp` normalises by batch
statistics. The levels are those of attention sites (queries, keys, values, exponentials of the softmax) and of the few
sites for which the report gives a reason; all others have 31.

| network | attention levels | float top-1 | points lost, mean | per seed | agreement |
|---|---|---|---|---|---|
{transformers}

## MobileNets

Float networks that were 8-bit files once. Calibrated on 125 photos, measured on 375 others, classes compared before the
Softmax (its 8-bit results tie). The standard error is that of the difference; one photo is 0.27 points. The photos are
no test set: read the difference, not the accuracy.

| network | levels | float top-1 | points lost | standard error | agreement |
|---|---|---|---|---|---|
{mobile}

## Quantised networks

No calibration: levels, weights and rounding are the network's own. The reference is the quantised network in
onnxruntime {ort} at its full optimisation level.

| network | samples | onnxruntime top-1 | points lost | agreement |
|---|---|---|---|---|
{quantised}

## Regression

Signal to noise against the float network, per output, on samples that were not used to calibrate. Of a detector these
are the outputs behind the host tail.

| network | outputs | inputs | dB at 31 levels | dB at 255 levels |
|---|---|---|---|---|
{regression}

## Proofs

Integers that differ between the simulator and what each target computed from its own files, every layer of every
sample. `layerwise`: each layer of a network too large for Lava's convolution was fed the simulator's integers.

| network | nodes mapped | target | executed by | mode | samples | integers compared | different |
|---|---|---|---|---|---|---|---|
{proofs}
"""

if __name__ == "__main__":
    main()
