"""Measure the accuracy promise and the proofs on real networks; write the table of ``docs/results.md``.

    python tests/benchmarks/corpus_results.py --write docs/results.md

Default options, 512 training samples for calibration, the whole test split, three calibration seeds; then one build for
sim, NIR and Lava per network, verified. Nothing is chosen on the test split.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "corpus"))

import corpus_data

from sfn_compile import __version__
from sfn_compile.build import build, compile_model
from sfn_compile.config import Options
from sfn_compile.evaluate import compare
from sfn_compile.frontend.reference import FloatReference
from sfn_compile.verify import verify

SEEDS = (0, 1, 2)
CALIBRATION = 512
LARGE = 50_000  # neurons above which Lava and the stock readers get two samples


def accuracy(name: str, folder: Path) -> dict[str, Any]:
    """Return float top-1 and, per calibration seed, the points lost by the spiking network."""
    model = corpus_data.model_path(name)
    x, y = corpus_data.samples(name, "test")
    drops, float_top1 = [], 0.0
    for seed in SEEDS:
        data = corpus_data.write_npz(folder / f"calib{seed}.npz", name, "train", CALIBRATION, seed)
        done = compile_model(model, Options(), data)
        reference = FloatReference(model, done.loaded.input_names, done.loaded.batch)
        found = compare(done.program, reference, x, y)["accuracy"]
        float_top1 = 100 * found["float_top1"]
        drops.append(100 * (found["float_top1"] - found["snn_top1"]))
    return {"float": float_top1, "drops": drops}


def proof(name: str, folder: Path) -> dict[str, Any]:
    """Return ``proof.json`` of a build for every target and its coverage."""
    data = folder / "calib0.npz"
    out = folder / "out"
    built = build(corpus_data.model_path(name), out, Options(targets=("sim", "nir", "lava")), data)
    n = 2 if built.report["totals"]["neurons"] > LARGE else 8
    test = corpus_data.write_npz(folder / "test.npz", name, "test", n, 0)
    found = verify(out, test, n).document
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
    mapped = f"{found['coverage']['mapped']}/{found['coverage']['nodes']}"
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


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="write the page here as well")
    parser.add_argument("--only", nargs="*", default=list(corpus_data.PROMISED), help="networks")
    parser.add_argument("--no-proof", action="store_true", help="accuracy only")
    args = parser.parse_args()
    if not corpus_data.present():
        sys.exit(corpus_data.MISSING)
    scores, proofs = [], []
    for name in args.only:
        with tempfile.TemporaryDirectory(prefix="sfnc-") as folder:
            start = time.perf_counter()
            scores.append(accuracy_row(name, accuracy(name, Path(folder))))
            print(scores[-1], flush=True)
            if not args.no_proof:
                proofs += proof_rows(name, proof(name, Path(folder)))
                print("\n".join(proofs[-6:]), f"\n({time.perf_counter() - start:.0f} s)", flush=True)
    page = PAGE.format(version=__version__, python=platform.python_version(), numpy=np.__version__,
                       scores="\n".join(scores), proofs="\n".join(proofs))  # fmt: skip
    if args.write:
        args.write.write_text(page, encoding="utf-8")


PAGE = """# Results on real networks

Made by `make results` with sfnc {version}, Python {python}, NumPy {numpy}. The networks were trained and exported by
other people; they and their data are not part of this repository.

## Accuracy

Default options (31 levels, 8-bit weights, T = 1), calibrated on 512 training samples, the whole test split of 5,000
samples, three draws of the calibration samples. Points of top-1 lost against the float network in onnxruntime;
negative means gained. One image is 0.02 points.

| network | float top-1 | points lost, mean | per seed |
|---|---|---|---|
{scores}

## Proofs

Integers that differ between the simulator and what each target computed from its own files, every layer of every
sample. `layerwise`: each layer of a network too large for Lava's convolution was fed the simulator's integers.

| network | nodes mapped | target | executed by | mode | samples | integers compared | different |
|---|---|---|---|---|---|---|---|
{proofs}
"""

if __name__ == "__main__":
    main()
