# mypy: ignore-errors
"""Build the network, or any of its layers, out of Lava processes. Importing this file does no work.

Dense and Sparse drop the last bit of a weight of mixed sign, so they take twice the weight and halve the sum
(weight_exp = -1), which is exact; Conv takes weights as they are and wraps its sums to 24 bits, which the compiler has
proved wide enough. Every connection takes one time step, everything else none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv.process import Conv
from lava.proc.dense.process import Dense
from lava.proc.io.source import RingBuffer
from lava.proc.sparse.process import Sparse
from lava.utils.weightutils import SignMode
from layout import lava_shape, sources, to_time_last
from scipy.sparse import csr_matrix
from sfnproc.neurons import Readout, Table, Uniform
from sfnproc.pool import MaxPool
from sfnproc.product import Matmul, Product
from sfnproc.rows import Normalization, Ratio, RowSum, RowTable
from sfnproc.sink import FileSink

_DOUBLED = {"weight_exp": -1, "num_weight_bits": 8, "num_message_bits": 24, "sign_mode": SignMode.MIXED}


def run_layers(manifest, tensors, numbers, given, folder):
    """Run the layers ``numbers`` in one Lava network fed with the codes ``given``.

    ``given`` maps value names to ``(n, *shape)``; a given value is never computed from the layers. What layer ``i``
    computes lands in ``folder/<i>.npy`` as ``(n, *lava_shape)``.
    """
    made = Network
    if manifest.get("clock"):
        from build_clocked import ClockedNetwork as made
    network = made(manifest, tensors, given, Path(folder))
    for number in numbers:
        network.add(number)
    network.run()


class Network:
    """Lava processes wired up layer by layer; ``ports`` holds an output port and its depth for every value."""

    def __init__(self, manifest, tensors, given, folder):
        """Start from a source for every given value."""
        self.layers, self.tensors, self.folder = manifest["layers"], tensors, folder
        self.shapes = {v["name"]: v["shape"] for v in manifest["inputs"] + manifest["layers"]}
        self.count = len(next(iter(given.values()), ()))
        self.sources = {name: RingBuffer(data=to_time_last(x, self.shapes[name])) for name, x in given.items()}
        self.ports = {name: [(source.s_out, 0)] for name, source in self.sources.items()}
        self.latency = 0
        self.last = None

    def add(self, number):
        """Add layer ``number`` and the sink that records it."""
        made = self.wire(self.layers[number])
        if made is None:
            return
        port, depth = made
        path = self.folder / f"{number}.npy"
        self.last = FileSink(shape=port.shape, path=path, skip=depth, count=self.count)
        port.connect(self.last.a_in)
        self.latency = max(self.latency, depth)

    def wire(self, layer):
        """Add a layer; return its port and depth, None for a flatten."""
        kind, name = layer["kind"], layer["name"]
        if kind == "flatten":  # only another view of the same port: Dense columns are in Lava's order
            self.ports.setdefault(name, self.ports[layer["source"]])
            return None
        makers = {"population": self._population, "normalization": self._normalization, "max_pool": self._max_pool}
        port, depth = makers[kind](layer)
        self.ports.setdefault(name, [(port, depth)])
        return port, depth

    def delayed(self, name, depth):
        """Return the port of a value as it was ``depth - its own depth`` steps ago."""
        port = self._delayed(name, depth)
        return _reshaped(port, lava_shape(self.shapes[name]))

    def run(self):
        """Run one sample per time step, and on until the last one has come out of the pipeline."""
        steps = RunSteps(num_steps=self.count + self.latency)
        try:
            self.last.run(steps, run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        finally:
            self.last.stop()

    def _population(self, layer):
        depth = max(self.ports[name][0][1] for name in sources(layer))
        shape = lava_shape(layer["shape"])
        neuron = self._neuron(layer, shape)
        for connection in layer["connections"]:
            port = self._delayed(connection["source"], depth)
            process = self._connection(connection, port, shape)
            _reshaped(port, process.s_in.shape).connect(process.s_in)
            _reshaped(process.a_out, shape).connect(neuron.a_in)
        for product in layer["products"]:
            self._product(product, depth, shape).connect(neuron.a_in)
        if layer["norm"]:
            norm = layer["norm"]
            process = RowSum(sample=norm["shape"], axis=norm["axis"])
            _reshaped(self._delayed(norm["source"], depth), process.s_in.shape).connect(process.s_in)
            process.a_out.connect(neuron.r_in)
        return neuron.s_out, depth + 1

    def _normalization(self, layer):
        depth = max(self.ports[s["source"]][0][1] for s in layer["sources"])
        process = self._normalizer(layer)
        ports = (process.s_in, process.t_in)[: len(layer["sources"])]
        for source, port in zip(layer["sources"], ports, strict=True):
            _reshaped(self._delayed(source["source"], depth), port.shape).connect(port)
        return process.s_out, depth + 1

    def _normalizer(self, layer):
        fields = {key: layer[key] for key in ("axes", "centred", "epsilon", "bits", "lo", "hi")}
        arrays = {key: self.tensors[layer[key]] for key in ("gain", "theta", "offset")}
        weights = [self.tensors[layer[f"weight{i}"]] for i in range(len(layer["sources"]))]
        return Normalization(sample=layer["shape"], weights=weights, **fields, **arrays)

    def _product(self, product, depth, shape):
        sides = product["left_shape"], product["right_shape"]
        options = {"shape": shape, "shape_left": lava_shape(sides[0]), "shape_right": lava_shape(sides[1])}
        options["weight"] = self.tensors[product["weight"]]
        matrices = product["form"] == "Matmul"
        process = Matmul(left=sides[0], right=sides[1], **options) if matrices else Product(**options)
        for name, port in ((product["left"], process.left_in), (product["right"], process.right_in)):
            _reshaped(self._side(name, depth), port.shape).connect(port)
        return process.a_out

    def _side(self, name, depth):
        return self._delayed(name, depth)

    def _neuron(self, layer, shape):
        neuron = layer["neuron"]
        arrays = {key: self.tensors[neuron[key]] for key in ("theta", "offset", "thresholds", "codes") if key in neuron}
        if neuron["kind"] == "uniform":
            return Uniform(shape=shape, lo=neuron["lo"], hi=neuron["hi"], **arrays)
        if neuron["kind"] == "rowtable":
            return RowTable(sample=layer["shape"], axis=neuron["axis"], **arrays)
        if neuron["kind"] == "ratio":
            rows = list(layer["norm"]["shape"])
            rows[layer["norm"]["axis"]] = 1
            return Ratio(sample=layer["shape"], rows=rows, lo=neuron["lo"], hi=neuron["hi"], **arrays)
        return (Table if neuron["kind"] == "table" else Readout)(shape=shape, **arrays)

    def _connection(self, connection, port, shape):
        weight, shift = self.tensors[connection["weight"]].astype(np.int32), connection["exponent"]
        doubled = {**_DOUBLED, "weight_exp": shift - 1}
        if connection["process"] == "Dense":
            return Dense(weights=weight, **doubled)
        if connection["process"] == "Sparse":
            source, size = lava_shape(connection["source_shape"]), int(np.prod(port.shape))
            index = self.tensors[connection["index"]] if "index" in connection else _grid(source)
            return Sparse(weights=_matrix(index, weight, int(np.prod(shape)), size), **doubled)
        options = {key: tuple(connection[key]) for key in ("stride", "padding", "dilation")}
        source = lava_shape(connection["source_shape"])
        return Conv(
            weight=weight << shift, input_shape=source, groups=connection["groups"], num_message_bits=24, **options
        )

    def _delayed(self, name, depth, lines=None):
        """Return the port of a value as it was ``depth - its own depth`` steps ago, through identity connections."""
        line = (self.ports if lines is None else lines)[name]
        while line[-1][1] < depth:
            port, reached = line[-1]
            size = int(np.prod(port.shape))
            delay = Sparse(weights=_matrix(_grid((size,)), np.full((1, 1), 2), size, size), **_DOUBLED)
            _reshaped(port, (size,)).connect(delay.s_in)
            line.append((delay.a_out, reached + 1))
        return next(port for port, reached in line if reached == depth)

    def _max_pool(self, layer):
        port, depth = self.ports[layer["source"]][0]
        windows = {key: layer[key] for key in ("kernel", "strides", "pads", "dilations", "fill")}
        pool = MaxPool(
            shape_in=lava_shape(self.shapes[layer["source"]]), shape_out=lava_shape(layer["shape"]), **windows
        )
        _reshaped(port, pool.s_in.shape).connect(pool.s_in)
        return pool.s_out, depth


def _reshaped(port, shape):
    return port if port.shape == shape else port.reshape(tuple(shape))


def _grid(shape):
    """Return the index that reads every element of a port at its own place."""
    return np.arange(int(np.prod(shape))).reshape(*shape, 1)


def _matrix(index, weight, n_out, n_in):
    """Return the matrix with ``out[o] = sum over t of weight[o, t] * in[index[o, t]]``; an index of -1 adds nothing."""
    index, weight = (x.reshape(n_out, -1) for x in np.broadcast_arrays(index, weight))
    rows = np.broadcast_to(np.arange(n_out)[:, None], index.shape)
    read = index >= 0
    return csr_matrix((weight[read].astype(np.int32), (rows[read], index[read])), shape=(n_out, n_in), dtype=np.int32)
