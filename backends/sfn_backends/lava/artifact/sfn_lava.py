# mypy: ignore-errors
"""The network of this folder as Lava processes with ports, for a Lava program of yours. README.md has an example.

Import it before anything else of Lava. It reads the files beside it, and imports ``build``, ``compat``, ``guard``,
``host``, ``layout`` and ``sfnproc`` from there: no module of yours may have one of these names. An error inside one of
the network's processes ends your program (SIGTERM to its process group), because Lava would wait for ever.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))


def network():
    """Return the network, wired up and not started: an :class:`Embedded`."""
    import compat

    compat.prepare()
    from build import Network
    from sfnproc.entry import Entry

    manifest = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))
    if manifest.get("clock"):
        raise NotImplementedError("a network over time is run by run.py")
    return Embedded(manifest, Network, Entry)


class Embedded:
    """``inputs``: ports that take codes, by the name of the model's input; ``outputs``: ports that send the integers of
    the last layers, by value name. A sample enters in every step; its integers leave ``latency`` steps later.
    """

    def __init__(self, manifest, network, entry):
        """Wire every layer, without the sinks that run.py records them with."""
        from host import Host
        from layout import lava_shape

        self.manifest = manifest
        self.shapes = {v["name"]: tuple(v["shape"]) for v in manifest["inputs"] + manifest["layers"]}
        self.host = Host(manifest, _arrays("host.npz"))
        made = network(manifest, _arrays("tensors.npz"), {}, HERE)
        entries = {v["name"]: entry(shape=lava_shape(v["shape"])) for v in manifest["inputs"]}
        made.ports.update({name: [(one.s_out, 0)] for name, one in entries.items()})
        for layer in manifest["layers"]:
            made.wire(layer)
        named = {e["value"]: e["name"] for e in manifest["host"]["inputs"]}
        self.inputs = {named[name]: one.a_in for name, one in entries.items()}
        deepest = max(made.ports[name][0][1] for name in manifest["outputs"])
        self.outputs = {name: made.delayed(name, deepest) for name in manifest["outputs"]}
        self.latency = deepest

    def encode(self, samples):
        """Return what the port of each input takes in each step, ``(*port shape, n)``, by the name of the input.

        ``samples`` are as the model takes them, ``(n, ...)`` by the name of its input.
        """
        from layout import to_time_last

        codes = self.host.encode(samples)
        named = {e["value"]: e["name"] for e in self.manifest["host"]["inputs"]}
        return {named[value]: to_time_last(x, self.shapes[value]) for value, x in codes.items()}

    def decode(self, sent):
        """Return the model's outputs ``(n, ...)`` by name, for what the ports sent, ``(*port shape, steps)``.

        The first ``latency`` steps, in which the network was still empty, are left out.
        """
        return self.host.decode(self._values(sent))

    def classes(self, sent):
        """Return the class of every sample, by output."""
        return self.host.classes(self._values(sent))

    def _values(self, sent):
        from layout import to_samples

        columns = {name: np.moveaxis(np.asarray(x), -1, 0)[self.latency :] for name, x in sent.items()}
        return {name: to_samples(x, self.shapes[name]).astype(np.int64) for name, x in columns.items()}


def _arrays(file):
    with np.load(HERE / file, allow_pickle=False) as npz:
        return {key: npz[key] for key in npz.files}
