"""A second opinion on what an estimate adds up: SANA-FE, given our constants and the events of one sample.

Outside CI: `make sanafe` creates its environment (GPL-3; nothing of it is in this repository). The constants are those
of `loihi2`; what is compared is the model, not the chip.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from sfn_backends.loihi1.synapses import of_map

from sfn_compile.files import program_files
from sfn_compile.foundation.installation import find_python, lacks
from sfn_compile.hardware.chip_files import load_chip
from sfn_compile.hardware.demand import demand_of
from sfn_compile.hardware.estimates import Work, core_us
from sfn_compile.host.codec import encode_all
from sfn_compile.program.network import MaxPool, Population, Program
from sfn_compile.report.fanout import fan_out
from sfn_compile.simulator.run import run_codes
from sfn_compile.targets.backend import Capabilities
from sfn_compile.targets.legalize import legalize
from tests.commands.cli_helpers import CALIB, DIGITS, TEST, succeeds

PYTHON, PROBLEM = find_python("SFNC_SANAFE_PYTHON", ".venv-sanafe", lambda python: lacks(python, ("sanafe",))[0])
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason=f"SANA-FE, an optional oracle: {PROBLEM}. `make sanafe`"),
]
CHIP = load_chip("loihi2")
MOST_NEURONS = 1024  # of a core, which SANA-FE has written into its code


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Program:
    out = tmp_path_factory.mktemp("sanafe") / "out"
    succeeds("compile", DIGITS, "--calib", CALIB, "--samples", 120, "-o", out, "--quiet")
    maps = frozenset({"Dense", "Conv", "SumPool", "Identity", "Gather"})
    return legalize(program_files.load(out), "test", Capabilities(maps, frozenset(), True, 64, 8))


@pytest.fixture(scope="module")
def case(program) -> dict:
    """Events of one sample, layers in shards of 1,024 neurons; input and max pools fire from cores of their own."""
    with np.load(TEST) as data:
        codes = run_codes(program, encode_all(program, {"image": data["image"][:1]}))
    core, layers, synapses = 0, [], []
    shapes = {name: v.shape for name, v in program.values().items()}
    flat = {s.name: s.sources[0] for s in program.steps if not isinstance(s, Population | MaxPool)}
    for name in [e.value for e in program.inputs] + [s.name for s in program.steps if s.name not in flat]:
        fires = (
            (codes[name][0].ravel() != 0).tolist() if name not in program.decoded() else [False] * codes[name][0].size
        )
        n = len(fires)
        layers.append({"name": name, "cores": [core + i // MOST_NEURONS for i in range(n)], "fires": fires})
        core += -(-n // MOST_NEURONS)
    for step in program.populations():
        for p in step.projections:
            found = of_map(p.map, shapes[p.source])
            synapses.append(
                (flat.get(p.source, p.source), step.name, np.stack([found.source, found.target], 1).tolist())
            )
    constants = {"synop_pj": CHIP.energy.synop_low_pj.low, "synop_ns": CHIP.time.synop_ns.high,
                 "neuron_ns": CHIP.time.neuron_ns.high, "event_ns": CHIP.time.event_out_ns.high}  # fmt: skip
    return {"cores": core, "per_tile": 4, "constants": constants, "layers": layers, "synapses": synapses}


@pytest.fixture(scope="module")
def replayed(case, tmp_path_factory) -> dict:
    place = tmp_path_factory.mktemp("replay")
    (place / "case.json").write_text(json.dumps(case))
    script = Path(__file__).with_name("sanafe_replay.py")
    done = subprocess.run([str(PYTHON), str(script), str(place)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def events(case: dict) -> dict[str, np.ndarray]:
    return {layer["name"]: np.array(layer["fires"]) for layer in case["layers"]}


def synops(case: dict) -> dict[int, int]:
    """Synaptic events by core, counted one by one."""
    fires, cores = events(case), {x["name"]: np.array(x["cores"]) for x in case["layers"]}
    found: dict[int, int] = {}
    for source, target, pairs in case["synapses"]:
        src, dst = np.array(pairs).T
        for core, n in zip(*np.unique(cores[target][dst[fires[source][src]]], return_counts=True), strict=True):
            found[int(core)] = found.get(int(core), 0) + int(n)
    return found


def test_the_energy_is_the_weighted_sum_of_our_counts(case, replayed):
    total = sum(synops(case).values())
    assert replayed["energy"]["total"] == pytest.approx(total * case["constants"]["synop_pj"] * 1e-12, rel=1e-6)
    assert replayed["spikes"] == total  # that pass a synapse


def test_the_counts_are_those_that_the_report_prices(case, program):
    """Every event times the fan-out of its neuron, as the report's energy counts them."""
    fires, info = events(case), program.values()
    total = 0
    for step in program.populations():
        for p in step.projections:
            source = p.source if p.source in fires else p.source.removesuffix(".flat")
            each = np.broadcast_to(fan_out(p.map, info[p.source].shape), info[p.source].shape).ravel()
            total += int(each[fires[source]].sum())
    assert total == sum(synops(case).values())
    density = {name: float(f.mean()) for name, f in fires.items()}
    demand = demand_of(program, CHIP.limits.neurons_known.names)
    ours = sum(k.macs * density[k.source] for layer in demand.layers for k in layer.links)
    assert total <= ours <= 1.35 * total  # fit counts reads of padding, too


def test_the_step_of_the_busiest_core_lies_between_its_two_timing_models(case, replayed):
    """80.4 us, against 74.2 us of its model without messages that wait and 87.1 us of the one with them: 8 % apart."""
    fires = events(case)
    neurons: dict[int, list[bool]] = {}
    for layer in case["layers"]:
        for core, f in zip(layer["cores"], fires[layer["name"]], strict=True):
            neurons.setdefault(core, []).append(bool(f))
    counts = synops(case)
    works = [Work(counts.get(core, 0), len(f), sum(f)) for core, f in neurons.items()]
    busiest = max(core_us(CHIP.time, w)[1] for w in works)
    assert replayed["simple"] * 1e6 <= busiest <= replayed["detailed"] * 1e6
    assert replayed["detailed"] * 1e6 < 1.1 * busiest
