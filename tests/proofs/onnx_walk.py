"""Walk an emitted ONNX graph, node by node, and prove each tensor that holds a value of the Program."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from .functions import Function
from .ladders import compare, same_form
from .modular import FIELD
from .onnx_operators import apply
from .onnx_tensors import Form, Tensor, Unknown, form
from .program_values import Sums, Value, seen, values_of
from .reading import NotProved, Record


@dataclass(frozen=True)
class Claim:
    """What was proved of a value, and how; or why it was not."""

    value: str
    proved: bool
    how: str


@dataclass(frozen=True, eq=False)
class Facts:
    """The Program's side: its steps, what its values are, what its neurons see."""

    steps: dict[str, Record]
    values: dict[str, Value]
    sums: dict[str, Sums]


def prove_onnx(program: Record, path: Path, seed: int) -> list[Claim]:
    """Return one claim per value that a step makes, and one per output of the graph."""
    rng = np.random.default_rng(seed)
    FIELD.draw(rng)
    facts = Facts({s.name: s for s in program.steps}, *values_of(program, rng))
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    if {o.domain for o in model.opset_import} != {""}:
        raise NotProved("operators of another domain")
    places = _places(model)
    tensors: dict[str, Tensor] = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    claims: dict[str, Claim] = {}
    radicands = [s.radicand for s in facts.sums.values() if s.radicand is not None]
    for given in model.graph.input:
        kind = onnx.helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type)
        tensors[given.name] = _named(facts, given.name, 0, kind)
    for node in model.graph.node:
        if len(node.output) != 1:
            raise NotProved(f"{node.name}: several outputs")
        name = node.output[0]
        tensors[name] = _bounded(_made(node, tensors), radicands)
        for value, zero in places.get(name, ()):
            claims[value] = _claim(facts, value, tensors[name], zero)
            tensors[name] = _renamed(facts, value, zero, tensors[name])
    return [*_every(facts, claims), *(_output(facts, o.name, tensors, program) for o in model.graph.output)]


def _places(model: Any) -> dict[str, list[tuple[str, int]]]:
    """Return for each tensor the values that the file says it holds, and the number added to their codes."""
    (text,) = (m.value for m in model.metadata_props if m.key == "sfnc")
    found: dict[str, list[tuple[str, int]]] = {}
    for value, place in json.loads(text)["values"].items():
        found.setdefault(place["tensor"], []).append((value, int(place["zero"])))
    return found


def _made(node: Any, tensors: dict[str, Tensor]) -> Tensor:
    inputs = [tensors[name] for name in node.input if name]
    unknown = next((x for x in inputs if isinstance(x, Unknown)), None)
    if unknown is not None:
        return unknown
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    try:
        return apply(node.op_type, inputs, attributes)
    except NotProved as e:
        return Unknown(f"{node.name or node.op_type}: {e}")


def _bounded(tensor: Tensor, radicands: list[Value]) -> Tensor:
    """Return a form that is a radicand of the Program with its bounds: intervals cannot tell that it is positive."""
    for r in radicands:
        if isinstance(tensor, Form) and tensor.v.shape == r.v.shape and np.array_equal(tensor.v, r.v):
            return Form(tensor.v, r.lo[None], r.hi[None], tensor.dtype)
    return tensor


def _named(facts: Facts, value: str, zero: int, kind: Any) -> Tensor:
    if value not in facts.values:
        return Unknown(f"{value} is no value of the Program")
    found = facts.values[value]
    return form((found.v + zero) % FIELD.p, found.lo[None] + zero, found.hi[None] + zero, kind)


def _renamed(facts: Facts, value: str, zero: int, tensor: Tensor) -> Tensor:
    """Return a tensor as the value that it was proved to hold, or is from here on assumed to hold."""
    if value not in facts.values:
        return tensor
    kind = tensor.dtype if isinstance(tensor, Form | Function) else np.int64
    return _named(facts, value, zero, kind)


def _claim(facts: Facts, value: str, tensor: Tensor, zero: int) -> Claim:
    if value not in facts.values:
        return Claim(value, True, "no value of the Program: followed as it is")
    try:
        return Claim(value, True, _proved(facts, value, tensor, zero))
    except NotProved as e:
        return Claim(value, False, str(e))


def _proved(facts: Facts, value: str, tensor: Tensor, zero: int) -> str:
    if isinstance(tensor, Unknown):
        raise NotProved(tensor.reason)
    if isinstance(tensor, Form) and _fires(facts, value):
        tensor = tensor.function()
    if isinstance(tensor, Function):
        if value not in facts.sums:
            raise NotProved("codes of neurons, where the Program has none")
        return compare(tensor, zero, *seen(facts.steps[value], facts.sums[value]))
    if not isinstance(tensor, Form):
        raise NotProved("a number that was never rounded")
    return same_form(Value(tensor.v, tensor.lo, tensor.hi), zero, facts.values[value])


def _fires(facts: Facts, value: str) -> bool:
    return value in facts.sums and facts.steps[value].ladder.tag != "Readout"


def _every(facts: Facts, claims: dict[str, Claim]) -> list[Claim]:
    """Return the claims, with one of nothing proved for each value that no tensor holds."""
    missing = [Claim(n, False, "no tensor of the file holds it") for n in facts.steps if n not in claims]
    return [*claims.values(), *missing]


def _output(facts: Facts, name: str, tensors: dict[str, Tensor], program: Record) -> Claim:
    decoded = {d.value for d in program.outputs} | {p.value for d in program.outputs for p in d.joined}
    tensor = tensors[name]
    if name not in decoded or not isinstance(tensor, Form):
        return Claim(name, False, "an output that the Program does not have, or that is not known")
    try:
        return Claim(name, True, f"output: {same_form(Value(tensor.v, tensor.lo, tensor.hi), 0, facts.values[name])}")
    except NotProved as e:
        return Claim(name, False, f"output: {e}")
