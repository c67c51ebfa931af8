"""A Program as the artifact's layers and tensors, and back: the two directions of the same table."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from typing_extensions import assert_never

from sfn_backends.lava import clocks, connections, neurons, products
from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import Origin
from sfn_compile.program.network import (
    Identity,
    MaxPool,
    Move,
    Normalization,
    Population,
    Program,
    Projection,
    Ratio,
    Reshape,
    RowSum,
    Shape,
    Step,
)

Array = NDArray[Any]
Json = dict[str, Any]
Tensors = dict[str, Array]


def describe(program: Program) -> tuple[Json, Tensors]:
    """Return the part of the manifest that says what the network is, and its integer arrays."""
    inputs = [
        {"id": f"in{i}", "name": e.value, "shape": e.shape, "lo": e.lo, "hi": e.hi}
        for i, e in enumerate(program.inputs)
    ]
    describer = _Describer(program)
    layers = [describer.layer(i, step) for i, step in enumerate(program.steps)]
    outputs = program.decoded()
    latency = max(describer.depth.values())
    network = {"inputs": inputs, "layers": layers, "outputs": outputs, "latency": latency}
    return clocks.describe(program, network, describer.tensors)


class _Describer:
    """Follows the depth of every value (connections in front of it) and the shape of the port that carries it."""

    def __init__(self, program: Program):
        self.info = program.values()
        self.depth = {e.value: 0 for e in program.inputs}
        self.port: dict[str, Shape] = {e.value: e.shape for e in program.inputs}
        self.tensors: Tensors = {}

    def layer(self, number: int, step: Step) -> Json:
        """Return the record of a step; its tensors are added to :attr:`tensors`."""
        record: Json = {
            "id": f"layer{number:04d}",
            "name": step.name,
            "shape": step.shape,
            "origin": {"nodes": step.origin.nodes, "passes": step.origin.passes},
        }
        before = max(self.depth[s] for s in step.sources)
        self.port[step.name] = self.port[step.sources[0]] if isinstance(step, Move) else step.shape
        self.depth[step.name] = before + isinstance(step, Population | Normalization)
        record["depth"] = self.depth[step.name]
        if isinstance(step, Population):
            return record | self._population(record["id"], step, before)
        if isinstance(step, Normalization):
            return record | self._normalization(record["id"], step, before)
        if isinstance(step, MaxPool | Move):
            return record | self._other(step)
        assert_never(step)

    def _population(self, key: str, step: Population, before: int) -> Json:
        wires = []
        for i, p in enumerate(step.projections):
            wire, arrays = connections.encode(p, f"{key}_{i}", self.info[p.source].shape, self.port[p.source])
            wires.append(wire | {"delay": before - self.depth[p.source]})
            self.tensors |= arrays
        pairs = []
        for i, q in enumerate(step.products):
            shapes = self.info[q.left].shape, self.info[q.right].shape
            pair, arrays = products.encode(q, f"{key}_p{i}", *shapes)
            pairs.append(pair | {"delays": [before - self.depth[s] for s in (q.left, q.right)]})
            self.tensors |= arrays
        neuron, arrays = neurons.encode(step.ladder, key, len(step.shape))
        self.tensors |= arrays
        bounds = [step.acc_min, step.acc_max]
        driven = {"connections": wires, "products": pairs, "neuron": neuron, "norm": self._norm(step.norm, before)}
        return {"kind": "population", "accumulator": bounds, "relation": program_files.to_tree(step.relation), **driven}

    def _norm(self, norm: RowSum | None, before: int) -> Json | None:
        if norm is None:
            return None
        shape, delay = self.info[norm.source].shape, before - self.depth[norm.source]
        return {"source": norm.source, "axis": norm.axis, "shape": shape, "delay": delay}

    def _normalization(self, key: str, step: Normalization, before: int) -> Json:
        ladder = step.ladder
        arrays = {"gain": step.gain, "theta": ladder.theta, "offset": ladder.offset}
        arrays |= {f"weight{i}": p.map.weight for i, p in enumerate(step.projections)}
        self.tensors |= {f"{key}_{name}": program_files.smallest_int(x) for name, x in arrays.items()}
        plain = {"axes": step.axes, "centred": step.centred, "epsilon": step.epsilon, "bits": step.bits}
        read = step.projections
        sources = [{"source": p.source, "role": p.role, "delay": before - self.depth[p.source]} for p in read]
        record = {"kind": "normalization", "sources": sources, **plain, "lo": ladder.lo, "hi": ladder.hi}
        return record | {name: f"{key}_{name}" for name in arrays}

    def _other(self, step: MaxPool | Move) -> Json:
        if isinstance(step, Move):
            return {"kind": "flatten", "source": step.sources[0]}
        extra = len(step.shape) == 2  # a map of height 1 in Lava: reversed, the height comes last
        record: Json = {"kind": "max_pool", "source": step.source, "fill": self.info[step.source].lo}
        for name, filler in (("kernel", 1), ("strides", 1), ("pads", (0, 0)), ("dilations", 1)):
            record[name] = [*reversed(getattr(step, name)), *[filler] * extra]
        return record


def rebuild(network: Json, tensors: Tensors) -> tuple[Step, ...]:
    """Return the steps of a network, every weight and threshold read from ``tensors``."""
    ports = {v["name"]: tuple(v["shape"]) for v in network["inputs"]}
    steps: list[Step] = []
    for record in network["layers"]:
        name, shape = record["name"], tuple(record["shape"])
        origin = Origin(tuple(record["origin"]["nodes"]), tuple(record["origin"]["passes"]))
        ports[name] = ports[record["source"]] if record["kind"] == "flatten" else shape
        if record["kind"] == "flatten":
            steps.append(Move(name, (record["source"],), Reshape(shape), shape, origin))
        elif record["kind"] == "max_pool":
            steps.append(_max_pool(record, name, shape, origin))
        elif record["kind"] == "normalization":
            steps.append(_normalization(record, tensors, origin))
        else:
            wires = tuple(connections.decode(c, tensors, ports[c["source"]]) for c in record["connections"])
            pairs = tuple(products.decode(p, tensors) for p in record["products"])
            ladder = neurons.decode(record["neuron"], tensors, len(shape))
            low, high = record["accumulator"]
            norm = RowSum(record["norm"]["source"], record["norm"]["axis"]) if record["norm"] else None
            relation = program_files.from_tree(record["relation"])
            steps.append(Population(name, wires, ladder, shape, low, high, origin, pairs, norm, relation))
    return tuple(steps)


def _normalization(record: Json, tensors: Tensors, origin: Origin) -> Normalization:
    gain, theta, offset = (tensors[record[k]] for k in ("gain", "theta", "offset"))
    read = tuple(
        Projection(s["source"], Identity(tensors[record[f"weight{i}"]]), s["role"])
        for i, s in enumerate(record["sources"])
    )
    axes, shape = tuple(record["axes"]), tuple(record["shape"])
    ladder = Ratio(theta, offset, record["lo"], record["hi"])
    plain = record["centred"], record["epsilon"], record["bits"]
    return Normalization(record["name"], read, axes, *plain, gain, ladder, shape, origin)


def _max_pool(record: Json, name: str, shape: Shape, origin: Origin) -> MaxPool:
    n = len(shape) - 1
    kernel, strides, dilations = (tuple(reversed(record[k][:n])) for k in ("kernel", "strides", "dilations"))
    pads = tuple((p[0], p[1]) for p in reversed(record["pads"][:n]))
    return MaxPool(name, record["source"], kernel, strides, pads, dilations, shape, origin)
