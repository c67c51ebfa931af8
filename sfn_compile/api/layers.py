"""The layers of a compiled network, by the names of their populations or of the ONNX nodes that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from numpy.typing import NDArray

from ..program.network import Step
from .text import html_table, table

Array = NDArray[Any]
_HEAD = ("layer", "shape", "codes", "SQNR here", "all")
Compute = Callable[[Any], Mapping[str, Array]]


@dataclass(frozen=True, eq=False, repr=False)
class Layer:
    """A population, or an input: what the report says of it (``row``), its integers, and its ``step`` of the Program
    (None for an input)."""

    row: Mapping[str, Any]
    step: Step | None
    scale: Array
    _codes: Compute

    @property
    def name(self) -> str:
        """The name of the population."""
        return str(self.row["name"])

    @property
    def origin(self) -> tuple[str, ...]:
        """The ONNX nodes that it stands for, as ``name (Operator)``."""
        return tuple(self.row["origin"])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.row["shape"])

    @property
    def lo(self) -> int | None:
        """The lowest code; None where the layer is an accumulator."""
        return self.row["lo"]

    @property
    def hi(self) -> int | None:
        """The highest code; None where the layer is an accumulator."""
        return self.row["hi"]

    @property
    def sqnr_db(self) -> float | None:
        """Signal to noise that its codes cost, in decibels; None where they cost nothing or nothing was measured."""
        return self.row["sqnr_db"]

    @property
    def sqnr_accumulated_db(self) -> float | None:
        """Signal to noise with all errors that came before, in decibels."""
        return self.row["sqnr_accumulated_db"]

    def codes(self, x: Any) -> Array:
        """Return its integers ``(n, *shape)`` for samples."""
        return self._codes(x)[self.name]

    def values(self, x: Any) -> Array:
        """Return the real numbers ``(n, *shape)`` that its integers stand for."""
        return self.codes(x) * self.scale

    def __repr__(self) -> str:
        codes = "accumulator" if self.lo is None else f"codes {self.lo}..{self.hi}"
        shape = "x".join(map(str, self.shape)) or "one number"
        return f"<layer {self.name!r}: {shape}, {codes}, from {', '.join(self.origin) or 'the input'}>"


class Layers(Mapping[str, Layer]):
    """Layers in the order in which they compute. A key is the name of a population or of an ONNX node."""

    def __init__(self, layers: Sequence[Layer]):
        self._by_name = {layer.name: layer for layer in layers}
        self._by_node: dict[str, list[str]] = {}
        for layer in layers:
            for node in layer.origin:
                self._by_node.setdefault(node.rpartition(" (")[0] or node, []).append(layer.name)

    def __getitem__(self, key: str) -> Layer:
        found = [key] if key in self._by_name else self._by_node.get(key, [])
        if len(found) == 1:
            return self._by_name[found[0]]
        if found:
            raise KeyError(f"{key!r} is in {len(found)} layers: {', '.join(found)}")
        near = get_close_matches(str(key), [*self._by_name, *self._by_node], 1, 0.4)
        raise KeyError(f"no layer {key!r}{f'; {near[0]!r}?' if near else ''}; there are: {', '.join(self._by_name)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return table(_HEAD, map(_row, self.values()))

    def _repr_html_(self) -> str:
        return html_table(_HEAD, map(_row, self.values()))


def _row(layer: Layer) -> tuple[str, ...]:
    """Return what a line of a table says of a layer."""
    codes = "accumulator" if layer.lo is None else f"{layer.lo}..{layer.hi}"
    numbers = (layer.sqnr_db, layer.sqnr_accumulated_db)
    here, both = ("" if db is None else f"{db:.1f} dB" for db in numbers)
    return layer.name, "x".join(map(str, layer.shape)), codes, here, both
