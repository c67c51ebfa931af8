"""Print the table of docs/search.md: what each strategy finds at half the spikes, beside uniform levels of that cost.

python tests/benchmarks/search_results.py [--network NAME] [--samples 512] [--seeds 0,1] [--scratch FOLDER]

Searched on samples of the training split; what comes out is measured once on 1,000 images of the test split.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from sfn_compile.commands.evaluate import compare
from sfn_compile.compiler.compilation import Prepared, mapped, prepare
from sfn_compile.files.sample_files import Data
from sfn_compile.foundation.options import Options, SiteOptions
from sfn_compile.frontend.reference import FloatReference
from sfn_compile.program.network import Program
from sfn_compile.search.evaluate import held_of, measured, split
from sfn_compile.search.plan import Search, read_budget
from sfn_compile.search.run import search_model, task_of

from ..corpus.corpus_data import model_path, samples, write_npz

N_TEST = 1000
HALF = read_budget(("spikes=0.5",))
PLANS = (("tpe", 20), ("allocate", None), ("compress", None))


def main() -> None:
    """Print one row per way of choosing, for every seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", default="cifar_resnet20_op13")
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--scratch", type=Path, help="keeps measured trials, so that a run that was ended goes on")
    parser.add_argument("--strategies", default="tpe,allocate,compress")
    given = parser.parse_args()
    print("| seed | chosen by | trials | seconds | spikes held out | test spikes | test synops | test agreement | "
          "test top-1 |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        for seed in map(int, given.seeds.split(",")):
            calib = write_npz(Path(name) / f"{seed}.npz", given.network, "train", given.samples, seed)
            rows(given.network, calib, seed, given.scratch or Path(name), given.strategies.split(","))


def rows(network: str, calib: Path, seed: int, scratch: Path, strategies: list[str]) -> None:
    """Print the rows of one seed."""
    model, options = model_path(network), Options(seed=seed)
    x, y = samples(network, "test")
    chosen = np.sort(np.random.default_rng(0).choice(len(x), N_TEST, replace=False))
    prepared = prepare(model, options, calib)
    held = held_of(prepared, split(prepared.calibration, seed)[1], Search("grid"))
    on_test = Data({prepared.loaded.input_names[0]: x[chosen]}, y[chosen], "test", "")
    tested = held_of(prepared, on_test, Search("grid"))
    plain = mapped(prepared, options).program
    whole = measured(plain, held).costs["spikes"]

    def row(what: str, trials: Any, seconds: float, program: Program) -> None:
        there, here = measured(program, tested), measured(program, held).costs["spikes"]
        print(f"| {seed} | {what} | {trials} | {seconds:.0f} | {100 * here / whole:.1f} % | "
              f"{there.costs['spikes']:,.0f} | {there.costs['synops'] / 1e6:.2f} M | "
              f"{100 * there.scores['agreement']:.1f} % | {100 * there.scores['accuracy']:.1f} % |",
              flush=True)  # fmt: skip

    print(f"| {seed} | float network | | | | | | | {float_top1(prepared, plain, on_test):.1f} % |")
    row("plain, 31 levels", "", 0, plain)
    for levels in range(16, 0, -1):  # the most levels that keep the budget
        uniform = mapped(prepared, Options(seed=seed, levels=levels)).program
        if measured(uniform, held).costs["spikes"] <= whole / 2:
            row(f"uniform, {levels} levels", "", 0, uniform)
            break
    for r in (1.75, 2.0, 2.25):
        names = [name for group in task_of(prepared, options, Search("grid")).space.groups for name in group]
        own = dict.fromkeys(names, SiteOptions(stretch=r))
        stretched = mapped(prepared, Options(seed=seed, sites=own)).program
        row(f"31 levels, every step times {r}", "", 0, stretched)
    for strategy, trials in ((name, trials) for name, trials in PLANS if name in strategies):
        start, state = time.perf_counter(), scratch / f"{seed}.{strategy}.{trials}"
        done, found = search_model(model, options, Search(strategy, trials, budget=HALF), state, calib)
        row(strategy, len(found["trials"]), time.perf_counter() - start, done.program)


def float_top1(prepared: Prepared, plain: Program, data: Data) -> float:
    """Return the float network's share of right answers in percent."""
    loaded = prepared.loaded
    reference = FloatReference(loaded.path, loaded.input_names, loaded.batch)
    return 100 * float(compare(plain, reference, data.x, data.labels)["accuracy"]["float_top1"])


if __name__ == "__main__":
    main()
