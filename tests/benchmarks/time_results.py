"""Print the tables of docs/time.md: the same networks at one timestep and over time, neuron by neuron.

python -m tests.benchmarks.time_results --scratch FILE [--images 1000] [--networks A,B] [--draws 0] [--minutes 75]

Resumable: every row that is measured is kept in FILE (JSON lines), and a run that was ended goes on behind it. With
--minutes it stops in time and prints what there is. Calibration: 512 training images per draw, no learning, no extra
levels; the images are of the test split, the same for all rows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sfn_compile.compiler.clocking import with_clock
from sfn_compile.compiler.compilation import Mapped, Prepared, mapped, prepare
from sfn_compile.foundation.options import Options
from sfn_compile.frontend.reference import FloatReference
from sfn_compile.host.codec import encode_all
from sfn_compile.report import measure, over_time
from sfn_compile.simulator.early import exits, leads
from sfn_compile.simulator.run import run_codes
from sfn_compile.simulator.run_clock import after_step

from ..corpus.corpus_data import model_path, samples, write_npz

NETWORKS = ("cifar_resnet20_op13", "mnist8_cntk")
PLAIN: dict[str, Any] = {"reconstruct": False, "fine_share": 0.0, "digit_share": 0.0}
PIECE, CALIBRATED, COUNTED = 64, 512, 16


@dataclass(frozen=True)
class Way:
    """A row: highest code, timesteps, neuron, limit of a burst, potential at the start, early answers."""

    levels: int
    steps: int
    neuron: str = "signed"
    burst: str | None = None
    potential: str = "half"
    exit: str | None = None

    def options(self, seed: int) -> Options:
        """The options of a compilation."""
        said = {"timesteps": self.steps, "neuron": self.neuron, "burst": self.burst, "exit": self.exit,
                "initial_potential": self.potential} if self.steps > 1 else {}  # fmt: skip
        return Options(levels=self.levels, seed=seed, **PLAIN, **said)


def ways() -> Iterator[Way]:
    """Yield the rows, one timestep with the same levels first, the most telling before the others."""
    for steps in (4, 8, 2, 16):
        yield Way(31, 1)
        yield Way(31, steps, exit="margin=auto")
        yield Way(31, steps, "burst")
        yield Way(steps, 1)
        yield Way(steps, steps, "signed", "1")
        yield Way(steps, steps, "if")
        yield Way(steps, steps, "if", None, "zero")
    for steps in (4, 8):
        yield Way(16, 1)
        yield Way(16, steps)
        yield Way(16, steps, "burst")


class Network:
    """A network, its test images and what the float network answers; mappings are made once per number of levels."""

    def __init__(self, name: str, images: int, draw: int, place: Path):
        x, y = samples(name, "test")
        chosen = np.sort(np.random.default_rng(1).choice(len(x), min(images, len(x)), replace=False))
        self.x, self.y, self.draw = x[chosen], y[chosen], draw
        calib = write_npz(place / f"{name}{draw}.npz", name, "train", CALIBRATED, draw)
        self.prepared: Prepared = prepare(model_path(name), Options(seed=draw, **PLAIN), calib)
        loaded = self.prepared.loaded
        self.input = loaded.input_names[0]
        reference = FloatReference(loaded.path, loaded.input_names, loaded.batch)
        answers = [reference.run({self.input: self.x[i : i + PIECE]}) for i in range(0, len(self.x), PIECE)]
        self.float_top = np.concatenate([_top(next(iter(a.values()))) for a in answers])
        self.made: dict[int, Mapped] = {}

    def measured(self, way: Way) -> dict[str, Any]:
        """Return the numbers of a row."""
        options = way.options(self.draw)
        if way.levels not in self.made:
            self.made[way.levels] = mapped(self.prepared, Options(levels=way.levels, seed=self.draw, **PLAIN))
        made, calibration = self.made[way.levels], self.prepared.calibration
        program = with_clock(made.program, options, calibration.x)
        some = {self.input: calibration.x[self.input][:COUNTED]}
        plain = measure.layers(made.graph, made.program, self.prepared.runner.of(made.graph), some)
        right, answered = [], []
        for start in range(0, len(self.x), PIECE):
            codes = encode_all(program, {self.input: self.x[start : start + PIECE]})
            values = run_codes(program, codes, program.decoded())
            right.append(self._right(program, values, start))
            if program.clock is not None and program.clock.margin is not None:
                tops, lead = leads(program, values)
                at = exits(lead, program.clock.margin)
                early = tops[np.arange(len(at)), at - 1] == self.y[start : start + PIECE]
                answered.append(np.stack([at, early]))
        flags = np.concatenate(right, axis=1)  # (after the window, after settling) x images
        row: dict[str, Any] = {"right": "".join("01"[int(v)] for v in flags[1]), "window": float(flags[0].mean()),
                               "end": float(flags[1].mean()), "images": flags.shape[1]}  # fmt: skip
        if program.clock is None:
            said = plain.energy["totals"]
            row |= {"spikes": float(sum(r["spikes"] for r in plain.layers[1:] if r["levels"])), "state": 0.0,
                    "synaptic": said["events"], "energy": said["integer"], "settle": 0}  # fmt: skip
        else:
            totals = over_time.measured(program, plain.layers, plain.energy, some)["totals"]
            row |= {"spikes": totals["spikes"], "synaptic": totals["synaptic_events"], "energy": totals["integer"],
                    "state": totals["state"], "differ": totals["differ_after_window"],
                    "differ_end": totals["differ_at_end"], "settle": program.settle}  # fmt: skip
        if answered:
            out = np.concatenate(answered, axis=1)
            row |= {"mean_steps": float(out[0].mean()), "early": float(out[1].mean())}
        return row

    def _right(self, program: Any, values: Any, start: int) -> np.ndarray:
        name, y = program.outputs[0].value, self.y[start : start + PIECE]
        ends = [program.timesteps, None] if program.clock is not None else [None, None]
        return np.stack([_top(after_step(program, values, t)[name]) == y for t in ends])


def _top(x: np.ndarray) -> np.ndarray:
    return np.asarray(x).reshape(len(x), -1).argmax(axis=1)


def table(network: str, rows: dict[str, dict[str, Any]], float_top1: float) -> Iterator[str]:
    """Yield the lines of a network's table."""
    found = {k: v for k, v in rows.items() if v["network"] == network}
    yield f"\n### {network}: float {100 * float_top1:.1f} %\n"
    names = ("N", "T (+ settling)", "neuron", "draw", "images", "top-1 after T", "settled", "settled less T = 1",
             "early: steps, top-1", "counts off after T", "k spikes", "M synaptic events", "E1 / E2 / E3 / E4, nJ",
             "state, nJ")  # fmt: skip
    yield f"| {' | '.join(names)} |"
    yield "|---" * 14 + "|"
    for row in sorted(found.values(), key=lambda r: (r["levels"], r["steps"], r["draw"], r["order"])):
        base = next((v for v in found.values() if v["levels"] == row["levels"] and v["steps"] == 1
                     and v["draw"] == row["draw"]), None)  # fmt: skip
        yield _line(row, base)


def _line(row: dict[str, Any], base: dict[str, Any] | None) -> str:
    less = "-"
    if base is not None and row["steps"] > 1:
        a, b = (np.array(list(r["right"]), int) for r in (row, base))
        d = a - b
        less = f"{100 * d.mean():+.1f} +- {100 * d.std() / np.sqrt(len(d)):.1f}"
    neuron = "one timestep" if row["steps"] == 1 else row["neuron"]
    neuron += f", M = {row['burst']}" if row["burst"] else ""
    neuron += ", v0 = 0" if row["potential"] == "zero" else ""
    early = f"{row['mean_steps']:.2f}, {100 * row['early']:.1f} %" if "early" in row else "-"
    energy = " / ".join(f"{row['energy'][k] / 1000:,.0f}" for k in ("E1", "E2", "E3", "E4"))
    off = f"{100 * row['differ']:.1f} %" if "differ" in row else "-"
    cells = [
        row["levels"], f"{row['steps']} (+ {row['settle']})", neuron, row["draw"], row["images"],
        f"{100 * row['window']:.1f} %", f"{100 * row['end']:.1f} %", less, early, off, f"{row['spikes'] / 1000:,.0f}",
        f"{row['synaptic'] / 1e6:.1f}", energy, f"{row['state'] / 1000:,.0f}",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Measure what is not measured yet, and print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--draws", default="0")
    parser.add_argument("--minutes", type=float, default=75.0)
    given = parser.parse_args()
    end = time.monotonic() + 60 * given.minutes
    rows = _known(given.scratch)
    for draw in map(int, given.draws.split(",")):
        for name in given.networks.split(","):
            _measure(name, draw, given, rows, end)
    for name in given.networks.split(","):
        first = next((v for v in rows.values() if v["network"] == name), None)
        for line in table(name, rows, first["float"]) if first is not None else ():
            print(line)


def _known(scratch: Path) -> dict[str, dict[str, Any]]:
    lines = scratch.read_text(encoding="utf-8").splitlines() if scratch.exists() else []
    return {row["key"]: row for row in map(json.loads, lines)}


def _measure(name: str, draw: int, given: Any, rows: dict[str, dict[str, Any]], end: float) -> None:
    with tempfile.TemporaryDirectory() as place:
        network: Network | None = None
        for order, way in enumerate(dict.fromkeys(ways())):
            key = f"{name} {draw} {given.images} {way}"
            if key in rows or time.monotonic() > end:
                continue
            network = network or Network(name, given.images, draw, Path(place))
            about = {"key": key, "network": name, "draw": draw, "order": order, **vars(replace(way))}
            about["float"] = float((network.float_top == network.y).mean())
            rows[key] = about | network.measured(way)
            with given.scratch.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[key]) + "\n")


if __name__ == "__main__":
    main()
