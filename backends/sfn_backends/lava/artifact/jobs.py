# mypy: ignore-errors
"""Split a run into Lava networks, one forked process each: the whole network at once, or every layer alone."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from importlib.metadata import version
from pathlib import Path

import compat
import guard
import numpy as np
import over_time
import plan
from layout import sources, to_samples


def execute(here, manifest, codes, mode, whole_limit, only=None):
    """Return the integers of every population and pooling by name, and the mode: ``whole`` or ``layerwise``.

    Over time also, as ``NAME.charge``, what each population has summed up at the end.

    ``codes`` holds those of the inputs; with those of every value too, layers can run alone. ``mode`` auto runs the
    whole network where that is predicted to take at most ``whole_limit`` seconds. ``only``: ids of layers that are run
    alone, whatever the mode; their own integers need not be in ``codes``.
    """
    inputs = {v["name"]: codes[v["name"]] for v in manifest["inputs"]}
    layers = [(i, layer) for i, layer in enumerate(manifest["layers"]) if layer["kind"] != "flatten"]
    numbers = [i for i, layer in layers if only is None or layer["id"] in only]
    alone = [_alone(i, manifest, codes) for i in numbers]
    if only is not None:
        if None in alone or len(numbers) != len(only):
            raise SystemExit("the layers asked for are not there, or their sources' codes are not in the input")
        mode = "layerwise"
    if mode == "auto":
        n_samples = len(next(iter(inputs.values())))
        mode = "whole" if plan.whole_seconds(manifest, n_samples) <= whole_limit else "layerwise"
    if None in alone:
        mode = "whole"
    tasks = alone if mode == "layerwise" else [(list(range(len(manifest["layers"]))), inputs)]
    with np.load(here / "tensors.npz", allow_pickle=False) as npz:
        tensors = {key: npz[key] for key in npz.files}
    with tempfile.TemporaryDirectory(dir=os.environ[guard.WORK]) as folder:
        _run_all(manifest, tensors, tasks, folder)
        return _found(Path(folder), manifest, numbers), mode


def _found(folder, manifest, numbers):
    """Return what the sinks of layers have recorded, by the names of their values."""
    values, clock = {}, manifest.get("clock")
    for i in numbers:
        layer = manifest["layers"][i]
        if over_time.told(layer, clock):
            line = to_samples(np.load(folder / f"{i}.npy"), layer["shape"])
            values[layer["name"]] = over_time.by_sample(line, layer, clock)
        charge = folder / f"{i}.charge.npy"
        if charge.exists():
            values[f"{layer['name']}.charge"] = to_samples(np.load(charge), layer["shape"])
    return values


def versions():
    """Return the programs that compute, with their versions."""
    return f"lava-nc {version('lava-nc')}, Python {platform.python_version()}, NumPy {np.__version__}"


def _alone(number, manifest, codes):
    """Return (layers, codes of their sources) that make layer ``number`` run alone, None where a code is missing."""
    flat = {x["name"]: (i, x["source"]) for i, x in enumerate(manifest["layers"]) if x["kind"] == "flatten"}
    layer = manifest["layers"][number]
    layers, given = [number], {}
    for source in sources(layer):
        while source in flat:
            layers, source = [flat[source][0], *layers], flat[source][1]
        if source not in codes:
            return None
        given[source] = codes[source]
    return list(dict.fromkeys(layers)), given


def _run_all(manifest, tensors, tasks, folder):
    """Run every task in a process of its own, as many at a time as there are cores.

    A process that has run Lava can crash when it collects the runtime, so none runs it twice and each leaves at once.
    """
    compat.prepare()
    import build

    running, waiting = 0, list(tasks)
    while waiting or running:
        while waiting and running < (os.cpu_count() or 1):
            _fork(lambda task: build.run_layers(manifest, tensors, *task, folder), waiting.pop(0))
            running += 1
        if os.wait()[1]:
            raise SystemExit(5)
        running -= 1


def _fork(work, task):
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        return
    status = 5
    try:
        work(task)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
