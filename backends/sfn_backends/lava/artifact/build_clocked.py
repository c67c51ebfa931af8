# mypy: ignore-errors
"""A network over time out of Lava processes: what answers at once stays as it is, between charges and paces.

Spikes travel as graded messages, positive or negative; what is held (codes that are there in every step) has ports of
its own. Importing this file does no work.
"""

from __future__ import annotations

from build import Network, _reshaped
from lava.proc.io.source import RingBuffer
from layout import lava_shape, sources, to_time_last
from over_time import in_line, period, told
from sfnproc.clock import Change, Charge, Pace, SoFar
from sfnproc.neurons import Readout
from sfnproc.pool import MaxPool
from sfnproc.rows import RowSum
from sfnproc.sink import FileSink

PARTS = ("sent", "held")


class ClockedNetwork(Network):
    """As :class:`Network`; ``lines[part]`` has ports and depths of what is sent, and of what is held."""

    def __init__(self, manifest, tensors, given, folder):
        """Start from a source for every given value."""
        self.clock = manifest["clock"]
        self.values = {v["name"]: v for v in manifest["inputs"] + manifest["layers"]}
        super().__init__(manifest, tensors, {}, folder)
        self.time = {"timesteps": self.clock["timesteps"], "period": period(self.clock)}
        self.count = len(next(iter(given.values()))) * self.time["period"]
        self.lines = {"sent": self.ports, "held": {}}
        for name, codes in given.items():
            value = self.values[name]
            data = to_time_last(in_line(codes, value, self.clock), value["shape"])
            self.sources[name] = RingBuffer(data=data)
            self.lines["held" if value["parts"]["held"] else "sent"][name] = [(self.sources[name].s_out, 0)]

    def add(self, number):
        """Add layer ``number`` and the sinks that record it."""
        layer = self.layers[number]
        name, kind = layer["name"], layer["kind"]
        if kind == "flatten":  # only another view of the same ports
            for lines in self.lines.values():
                if layer["source"] in lines:
                    lines.setdefault(name, lines[layer["source"]])
            return
        makers = {"population": self._fires, "normalization": self._normalizes, "max_pool": self._pools}
        ports, depth = makers[kind](layer)
        for part, port in ports.items():
            self.lines[part].setdefault(name, [(port, depth)])
        if told(layer, self.clock):
            self._record(next(iter(ports.values())), depth, f"{number}.npy")
        self.latency = max(self.latency, depth)

    def _record(self, port, depth, file, every=1):
        sink = FileSink(shape=port.shape, path=self.folder / file, skip=depth, count=self.count // every, every=every)
        port.connect(sink.a_in)
        self.last = sink

    # -- what is read -------------------------------------------------------------------------------------------------
    def _parts(self, name):
        return [part for part in PARTS if self.values[name]["parts"][part]]

    def _depth(self, layer):
        return max(self.lines[part][name][0][1] for name in sources(layer) for part in self._parts(name))

    def _so_far(self, name, depth):
        """Return a port with what has come of a value so far, at a depth."""
        process = SoFar(shape=lava_shape(self.values[name]["shape"]), time=self.time, depth=depth)
        for part in self._parts(name):
            port = self._delayed(name, depth, self.lines[part])
            into = process.h_in if part == "held" else process.s_in
            _reshaped(port, into.shape).connect(into)
        return process.s_out

    def _weighed(self, layer, depth, into, shape):
        """Connect every part of every source through its weights to the port of that part."""
        for connection in layer["connections"]:
            for part in self._parts(connection["source"]):
                port = self._delayed(connection["source"], depth, self.lines[part])
                process = self._connection(connection, port, shape)
                _reshaped(port, process.s_in.shape).connect(process.s_in)
                _reshaped(process.a_out, shape).connect(into[part])

    # -- layers -------------------------------------------------------------------------------------------------------
    def _fires(self, layer):
        depth, shape = self._depth(layer), lava_shape(layer["shape"])
        if layer["name"] not in self.clock["paces"]:  # it holds moved codes
            neurons = {part: Readout(shape=shape, offset=[0]) for part in self._parts(layer["name"])}
            self._weighed(layer, depth, {part: n.a_in for part, n in neurons.items()}, shape)
            return {part: n.s_out for part, n in neurons.items()}, depth + 1
        pace = self.clock["paces"][layer["name"]]
        arrays = {key: self.tensors[pace[key]] for key in ("initial", "bias")}
        charge = Charge(shape=shape, time=self.time, depth=depth + 1, **arrays)
        self._weighed(layer, depth, {"sent": charge.a_in, "held": charge.h_in}, shape)
        for product in layer["products"]:
            self._product(product, depth, shape).connect(charge.p_in)
        neuron = self._neuron(layer, shape)
        charge.s_out.connect(neuron.a_in)
        if layer["norm"]:
            norm = layer["norm"]
            process = RowSum(sample=norm["shape"], axis=norm["axis"])
            _reshaped(self._so_far(norm["source"], depth), process.s_in.shape).connect(process.s_in)
            process.a_out.connect(neuron.r_in)
        number = self.layers.index(layer)
        self._record(charge.s_out, depth + 1, f"{number}.charge.npy", every=self.time["period"])
        if layer["neuron"]["kind"] == "readout":
            return {"sent": neuron.s_out}, depth + 1
        return {"sent": self._paced(neuron.s_out, pace, depth + 1)}, depth + 1

    def _paced(self, port, pace, depth):
        limits = {key: pace[key] for key in ("least", "most", "start")}
        process = Pace(shape=port.shape, time=self.time, depth=depth, **limits)
        port.connect(process.s_in)
        return process.s_out

    def _normalizes(self, layer):
        depth = self._depth(layer)
        process = self._normalizer(layer)
        for source, port in zip(layer["sources"], (process.s_in, process.t_in), strict=False):
            _reshaped(self._so_far(source["source"], depth), port.shape).connect(port)
        return {"sent": self._paced(process.s_out, self.clock["paces"][layer["name"]], depth + 1)}, depth + 1

    def _pools(self, layer):
        depth = self._depth(layer)
        windows = {key: layer[key] for key in ("kernel", "strides", "pads", "dilations", "fill")}
        shapes = lava_shape(self.shapes[layer["source"]]), lava_shape(layer["shape"])
        pool = MaxPool(shape_in=shapes[0], shape_out=shapes[1], **windows)
        _reshaped(self._so_far(layer["source"], depth), pool.s_in.shape).connect(pool.s_in)
        change = Change(shape=shapes[1], time=self.time, depth=depth)
        pool.s_out.connect(change.s_in)
        return {"sent": change.s_out}, depth

    def _side(self, name, depth):
        """Return the port of a side of a product: products are products of counts."""
        return self._so_far(name, depth)
