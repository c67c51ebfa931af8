"""How the values of a Program are held in the graph: as 8-bit tensors where they fit, and converted where asked for.

A value of at most 256 codes is a uint8 tensor ``raw = code + zero``, with ``zero = -lo`` for signed codes: the one
type that the integer kernels of every machine take. Other values (readouts, wide codes) are int32 or int64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import onnx

from sfn_backends.onnx.net import Net
from sfn_compile.program.network import ValueInfo

TYPES = {
    "uint8": onnx.TensorProto.UINT8, "int8": onnx.TensorProto.INT8, "int32": onnx.TensorProto.INT32,
    "int64": onnx.TensorProto.INT64, "float32": onnx.TensorProto.FLOAT, "float64": onnx.TensorProto.DOUBLE,
}  # fmt: skip


@dataclass(frozen=True)
class Held:
    """A value's tensor: ``tensor = code + zero`` of type ``kind`` (uint8, int8, int32, int64)."""

    tensor: str
    kind: str
    zero: int
    info: ValueInfo

    @property
    def byte_zero(self) -> int:
        """The zero of the value as uint8. Inputs that use the whole of int8 get 128: their bits stay as they are."""
        if self.kind == "uint8":
            return self.zero
        return 128 if self.kind == "int8" and self.info.lo < -64 else zero_of(self.info)


def zero_of(info: ValueInfo) -> int:
    """Return what is added to a code so that none is negative."""
    return max(0, -info.lo)


def fits_byte(info: ValueInfo) -> bool:
    """Whether all codes, shifted to be not negative, fit uint8."""
    return info.hi + zero_of(info) <= 255


def integer_kind(lo: int, hi: int) -> str:
    """Return int32 where the range fits it, else int64."""
    return "int32" if lo >= -(2**31) and hi < 2**31 else "int64"


class Values:
    """The values made so far, by name, and their conversions, each written once."""

    def __init__(self, net: Net, info: Mapping[str, ValueInfo]):
        self.net = net
        self.info = info
        self.held: dict[str, Held] = {}
        self._made: dict[tuple[str, str], str] = {}

    def __getitem__(self, name: str) -> Held:
        return self.held[name]

    def hold(self, name: str, tensor: str, kind: str, zero: int = 0) -> None:
        """Enter the value that a step has made. Codes that are in the tensor as they are give it their name."""
        if zero == 0 and tensor != name:
            tensor = self.net.rename(tensor, name)
        self.held[name] = Held(tensor, kind, zero, self.info[name])

    def raw(self, name: str, zero: int | None = None) -> Held:
        """Return a value as uint8, ``zero`` its smallest possible or the one asked for."""
        held = self.held[name]
        want = held.byte_zero if zero is None else zero
        if held.kind == "uint8" and held.zero == want:
            return held
        made = self._once(name, f"uint8 {want}", lambda: self._shifted(held, want))
        return replace(held, tensor=made, kind="uint8", zero=want)

    def real(self, name: str) -> str:
        """Return the codes as a float32 tensor."""
        return self.number(name, "float32")

    def number(self, name: str, kind: str) -> str:
        """Return the codes as a tensor of type float32, float64, int32 or int64."""
        held = self.held[name]
        return self._once(name, kind, lambda: self._codes(held, kind))

    def _once(self, name: str, what: str, make: Callable[[], str]) -> str:
        if (name, what) not in self._made:
            self._made[name, what] = make()
        return self._made[name, what]

    def _codes(self, held: Held, kind: str) -> str:
        if held.kind == kind and held.zero == 0:
            return held.tensor
        cast = held.tensor if held.kind == kind else self.net.add("Cast", held.tensor, to=TYPES[kind])
        return self.net.add("Sub", cast, self.net.constant(held.zero, kind)) if held.zero else cast

    def _shifted(self, held: Held, zero: int) -> str:
        if held.kind == "int8" and zero == 128:  # two's complement: the highest bit is the sign
            bits = self.net.add("Cast", held.tensor, to=TYPES["uint8"])
            return self.net.add("BitwiseXor", bits, self.net.constant(128, "uint8"))
        wide = self.net.add("Cast", held.tensor, to=TYPES["int32"])
        moved = self.net.add("Add", wide, self.net.constant(zero - held.zero, "int32"))
        return self.net.add("Cast", moved, to=TYPES["uint8"])
