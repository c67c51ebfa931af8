"""A network of NIR nodes as data, before any array exists: shapes, and the place of every number of the Program.

A :class:`Put` says ``node.param[place] += start + factor * array[index]``. Writing follows the puts forwards, reading a
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
LARGEST_HALF = 2**11  # every integer up to here is a float16
DT = 1e-4  # the time step that readers assume; one step is one inference
# Neuron parameters besides the threshold, in the narrowest types (readers convert them). After one step from rest each
# gives v = its input, exactly: IF v += DT * r * input; LIF v += DT / tau * (r * input - v).
NEURONS: dict[str, dict[str, Any]] = {
    "IF": {"r": np.int16(10_000), "v_reset": np.int8(0)},
    "LIF": {"tau": np.int8(1), "r": np.int16(10_000), "v_leak": np.int8(0), "v_reset": np.int8(0)},
}


@dataclass(frozen=True, eq=False)
class Put:
    """``node.param[place] += start + factor * array[index]``; ``array`` None puts the constant ``start``.

    ``array`` is flat; ``place`` is a tuple of broadcastable index arrays and ``index`` broadcasts against it. No place
    occurs twice within a put. ``given``: the array is known otherwise when a file is read back (another array is
    at the same places).
    """

    node: str
    param: str
    place: tuple[Any, ...]
    array: Array | None = None
    index: Array | None = None
    start: float = 0.0
    factor: float = 1.0
    given: bool = False

    def numbers(self) -> Any:
        """Return what is added, in float64."""
        return self.start if self.array is None else self.start + self.factor * self.array[self.index]


@dataclass(frozen=True)
class Param:
    """One array of a node: its shape, its type in the file, and what is where nothing is put."""

    shape: Shape
    dtype: str = "float32"
    fill: float = 0.0

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Its size in the file, uncompressed."""
        return self.size * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, eq=False)
class Node:
    """One NIR node: its array parameters, and ``attrs``, its small integer attributes."""

    kind: str
    params: dict[str, Param]
    attrs: dict[str, Any]
    macs: int = 0


@dataclass(eq=False)
class Net:
    """Nodes, edges and puts; ``values`` says for every Program value where its codes are (see
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
        params: dict[str, Param],
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

    def bytes(self, neuron: str) -> int:
        """Return the size of all arrays in the file with that kind of neurons (:data:`NEURONS`), uncompressed."""
        each = sum(v.nbytes for v in NEURONS[neuron].values())
        return sum(
            p.nbytes + (each * p.size if n.kind == "Neuron" else 0)
            for n in self.nodes.values()
            for p in n.params.values()
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulates per sample of the dense arithmetic that the readers do."""
        return sum(n.macs for n in self.nodes.values())

    def arrays(self) -> dict[str, dict[str, Array]]:
        """Return every array parameter by node and name. Raises ArithmeticError where its type cannot hold a number."""
        made = {
            name: {p: np.full(param.shape, param.fill, param.dtype) for p, param in node.params.items()}
            for name, node in self.nodes.items()
        }
        for put in self.puts:
            array = made[put.node][put.param]
            value = array[put.place].astype(np.float64) + put.numbers()
            array[put.place] = value
            if not np.array_equal(array[put.place], value):
                raise ArithmeticError(f"{put.node}.{put.param} holds numbers that are no {array.dtype}")
        return made

    def read_back(self, arrays: dict[str, dict[str, Array]]) -> None:
        """Write the numbers found in ``arrays`` into the Program arrays that the puts refer to."""
        rest: dict[tuple[str, str], Array] = {}
        for put in self.puts:
            if put.given:
                key = (put.node, put.param)
                rest.setdefault(key, arrays[put.node][put.param].astype(np.float64))[put.place] -= put.numbers()
        for put in self.puts:
            if put.array is not None and not put.given:
                from_file = rest.get((put.node, put.param), arrays[put.node][put.param])
                found = (from_file[put.place].astype(np.float64) - put.start) / put.factor
                put.array[np.broadcast_to(np.asarray(put.index), found.shape)] = np.rint(found)


def weights_of(shape: Shape, narrow: bool) -> dict[str, Param]:
    """Return the parameters of a linear node: weights in float16 (``narrow``: it holds them all), and a bias."""
    return {"weight": Param(shape, "float16" if narrow else "float32"), "bias": Param(shape[:1])}


def conv(net: Net, name: str, source: str, weight: Shape, shape: Shape, out: Shape,
         stride: Shape = (1, 1), padding: Shape = (0, 0), dilation: Shape = (1, 1),
         puts: Callable[[], Iterable[Put]] | None = None, narrow: bool = False) -> str:  # fmt: skip
    """Add a Conv2d from a map of ``shape`` to one of ``out`` (both ``(c, h, w)``)."""
    macs = int(np.prod(weight)) * int(np.prod(out[1:]))
    return net.add(name, "Conv2d", weights_of(weight, narrow), [source], puts, macs, input_shape=shape[1:],
                   stride=stride, padding=padding, dilation=dilation, out=out)  # fmt: skip


def affine(net: Net, name: str, source: str, weight: Shape, puts: Callable[[], Iterable[Put]] | None = None,
           narrow: bool = False) -> str:  # fmt: skip
    """Add an Affine node with ``weight`` ``(n_out, n_in)``."""
    return net.add(name, "Affine", weights_of(weight, narrow), [source], puts, int(np.prod(weight)))


def flatten(net: Net, name: str, source: str, shape: Shape) -> str:
    """Add Flatten(-3, -1): the only spelling that every reader takes the same way, with and without a batch axis."""
    return net.add(name, "Flatten", {}, [source], None, 0, shape=shape)


def halves(*arrays: Array) -> bool:
    """Return whether float16 holds every one of the integers."""
    return all(
        np.abs(a).max(initial=0) <= np.finfo(np.float16).max and np.array_equal(np.asarray(a, np.float16), a)
        for a in arrays
    )
