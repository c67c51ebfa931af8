"""A network of NIR nodes as data, before any array exists: shapes, and where every number of the Program goes.

A :class:`Put` says ``node.param[place] = start + factor * array[index]``. Writing follows the puts forwards, reading a
file back follows them backwards, so there is one description of the layout and not two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]
BYTES = 4  # float32 throughout


@dataclass(frozen=True, eq=False)
class Put:
    """``node.param[place] = start + factor * array[index]``; ``array`` None puts the constant ``start``.

    ``array`` is flat; ``place`` is a tuple of broadcastable index arrays and ``index`` broadcasts against it.
    """

    node: str
    param: str
    place: tuple[Any, ...]
    array: Array | None = None
    index: Array | None = None
    start: float = 0.0
    factor: float = 1.0


@dataclass(frozen=True, eq=False)
class Node:
    """One NIR node. ``params``: array parameters as (shape, fill value); ``attrs``: its small integer attributes."""

    kind: str
    params: dict[str, tuple[Shape, float]]
    attrs: dict[str, Any]
    macs: int = 0


@dataclass(eq=False)
class Net:
    """Nodes, edges and puts; ``values`` says for every Program value where its codes stand (see
    :mod:`.stage`), ``thresholds`` holds the arrays that the puts of each
    population's ladder refer to, ``why`` the layer that made the chain leave maps for one vector."""

    dry: bool = False
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    puts: list[Put] = field(default_factory=list)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    thresholds: dict[str, Array] = field(default_factory=dict)
    why: str = ""

    def add(
        self,
        name: str,
        kind: str,
        params: dict[str, tuple[Shape, float]],
        sources: Iterable[str] = (),
        puts: Callable[[], Iterable[Put]] | None = None,
        macs: int = 0,
        **attrs: Any,
    ) -> str:
        """Add a node behind ``sources`` and return its name. A dry net counts sizes only and never calls ``puts``."""
        self.nodes[name] = Node(kind, params, attrs, macs)
        self.edges += [(source, name) for source in dict.fromkeys(sources)]
        if puts is not None and not self.dry:
            self.puts += puts()
        return name

    def bytes(self, per_neuron: int = 3) -> int:
        """Return the size of all arrays, uncompressed: an IF neuron has 3 numbers, an LIF neuron 5."""
        return BYTES * sum(
            int(np.prod(shape)) * (per_neuron if n.kind == "Neuron" else 1)
            for n in self.nodes.values()
            for shape, _ in n.params.values()
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulates per sample of the dense arithmetic that the readers do."""
        return sum(n.macs for n in self.nodes.values())

    def arrays(self) -> dict[str, dict[str, Array]]:
        """Return every array parameter, float32, by node and name."""
        made = {
            name: {p: np.full(shape, fill, np.float32) for p, (shape, fill) in node.params.items()}
            for name, node in self.nodes.items()
        }
        for put in self.puts:
            value: Any = put.start
            if put.array is not None:
                value = put.start + put.factor * put.array[put.index]
            made[put.node][put.param][put.place] = value
        return made

    def read_back(self, arrays: dict[str, dict[str, Array]]) -> None:
        """Write the numbers found in ``arrays`` into the Program arrays that the puts refer to."""
        for put in self.puts:
            if put.array is not None:
                found = (arrays[put.node][put.param][put.place].astype(np.float64) - put.start) / put.factor
                put.array[np.broadcast_to(np.asarray(put.index), found.shape)] = np.rint(found)


def conv(net: Net, name: str, source: str, weight: Shape, shape: Shape, out: Shape,
         stride: Shape = (1, 1), padding: Shape = (0, 0), dilation: Shape = (1, 1),
         puts: Callable[[], Iterable[Put]] | None = None) -> str:  # fmt: skip
    """Add a Conv2d from a map of ``shape`` to one of ``out`` (both ``(c, h, w)``)."""
    params = {"weight": (weight, 0.0), "bias": (weight[:1], 0.0)}
    macs = int(np.prod(weight)) * int(np.prod(out[1:]))
    return net.add(name, "Conv2d", params, [source], puts, macs, input_shape=shape[1:], stride=stride,
                   padding=padding, dilation=dilation, out=out)  # fmt: skip


def affine(net: Net, name: str, source: str, weight: Shape, puts: Callable[[], Iterable[Put]] | None = None) -> str:
    """Add an Affine node with ``weight`` ``(n_out, n_in)``."""
    params = {"weight": (weight, 0.0), "bias": (weight[:1], 0.0)}
    return net.add(name, "Affine", params, [source], puts, int(np.prod(weight)))


def flatten(net: Net, name: str, source: str, shape: Shape) -> str:
    """Add Flatten(-3, -1): the only spelling that every reader takes the same way, with and without a batch axis."""
    return net.add(name, "Flatten", {}, [source], None, 0, shape=shape)
