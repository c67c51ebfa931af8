"""Random ONNX graphs over the operators that the importer knows: a number says all of a graph.

Every graph is valid by onnx's checker and runs in onnxruntime; opsets 7 to 23, float32, float16, double, stored
integers as inputs, branches, several inputs and outputs, steps, quantisers, networks of pools and moves alone.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from .layers import LAYERS, POOLS, Maker
from .moves import MOVES
from .scalars import FLOAT, FUNCTIONS, QUANTISERS, STEPS
from .writer import Unfit, Value, Writer, answers, samples

Array = NDArray[Any]
FAMILIES: dict[str, tuple[Maker, ...]] = {
    "mixed": (*LAYERS, *LAYERS, *FUNCTIONS, *FUNCTIONS, *STEPS, *MOVES, *POOLS, *QUANTISERS),
    "network": (*LAYERS, *LAYERS, *FUNCTIONS, *POOLS),
    "steps": (*LAYERS, *STEPS, *STEPS),
    "moves": (*MOVES, *POOLS),
    "quantised": (*QUANTISERS, *QUANTISERS, *MOVES, *POOLS, *FUNCTIONS[:2]),
}
SHAPES = ((5,), (1,), (17,), (4, 6), (1, 5), (3, 7), (2, 5, 5), (3, 6, 4), (1, 8, 3), (4, 4, 4), (2, 1, 6))
CALIBRATION = 24  # samples


@dataclass(frozen=True)
class RandomGraph:
    """A model, samples for it by input name, and what was asked of the generator."""

    model: onnx.ModelProto
    calibration: dict[str, Array]
    about: str


def random_graph(seed: int) -> RandomGraph:
    """Return the graph of a number; the same number makes the same graph."""
    for attempt in range(100):
        try:
            return _attempt(random.Random(1000 * seed + attempt))
        except Unfit:  # of the whole: onnxruntime has no kernel for a number type, or the shapes of outputs
            continue
    raise AssertionError(f"no graph of seed {seed} in 100 attempts")


def operators(graph: RandomGraph) -> Iterator[str]:
    """Yield the operators of a graph as the importer names them."""
    for node in graph.model.graph.node:
        yield f"{node.domain}::{node.op_type}" if node.domain else node.op_type


def _attempt(rng: random.Random) -> RandomGraph:
    fixed = rng.random() < 0.3
    opset = rng.randint(7, 23)
    dtype = rng.choices(["float32", "float16", "double"], [8, 1, 1])[0]
    family = rng.choices(list(FAMILIES), [4, 3, 2, 1, 1])[0]
    writer = Writer(rng, opset, dtype, 1 if fixed else 3, fixed)
    values = _sources(writer, rng.choices([1, 2], [5, 1])[0])
    wanted = len(values) + rng.randint(1, 12)
    for _ in range(40):
        if len(values) < wanted:
            values += _added(writer, values, rng.choice(FAMILIES[family]))
    outputs = _ends(writer, values)
    model = writer.model(outputs)
    _check(model, writer)
    numbers = np.random.default_rng(rng.getrandbits(32))
    n = CALIBRATION if rng.random() < 0.8 else 3
    calibration = {
        i.name: samples(numbers, (n, *i.shape), str(i.array.dtype))
        for i in writer.inputs if i.name in {k.name for k in model.graph.input}
    }  # fmt: skip
    return RandomGraph(model, calibration, f"{family}, opset {opset}, {dtype}, batch {1 if fixed else 'free'}")


def _sources(writer: Writer, n: int) -> list[Value]:
    """The inputs; two are of one shape and meet at once."""
    first = _begun(writer, writer.rng.choice(SHAPES))
    if n == 1:
        return [first]
    second = writer.node(writer.rng.choice(["Relu", "Neg", "Sigmoid"]), _begun(writer, first.shape))
    op = writer.rng.choice(["Add", "Mul", "Concat"])
    return [first, second, writer.node(op, first, second, **({"axis": 1} if op == "Concat" else {}))]


def _begun(writer: Writer, shape: tuple[int, ...]) -> Value:
    """An input, of stored integers at times, which are cast and scaled."""
    if writer.rng.random() > 0.12:
        return writer.input(shape)
    x = writer.input(shape, writer.rng.choice(["uint8", "int8"]))
    scaled = writer.node("Cast", x, to=FLOAT[writer.dtype])
    return writer.node("Mul", scaled, writer.constant(1 / 64))


def _added(writer: Writer, values: list[Value], maker: Maker) -> list[Value]:
    """The value that a maker adds behind a late one, nothing where it has none for it; what it left is taken back."""
    source = values[-1] if writer.rng.random() < 0.75 else writer.rng.choice(values)
    before = len(writer.nodes)
    try:
        made = maker(writer, source)
    except Unfit:
        made = None
    if made is None:
        del writer.nodes[before:]
    elif len(values) > 2 and writer.rng.random() < 0.3:
        made = _joined(writer, made, values)
    return [] if made is None else [made]


def _joined(writer: Writer, made: Value, values: list[Value]) -> Value:
    """The sum or product with an earlier value that fits, the value itself where none does."""
    for other in reversed(values):
        if other.shape == made.shape and other is not made:
            try:
                return writer.node(writer.rng.choice(["Add", "Sub", "Mul", "Max", "Concat"]), made, other)
            except Unfit:
                return made
    return made


def _ends(writer: Writer, values: list[Value]) -> list[Value]:
    """The outputs: the last value, with softmax or ArgMax at times, and an earlier one at times."""
    computed = [v for v in values if v not in writer.inputs]
    if not computed:
        raise Unfit("empty")
    last = computed[-1]
    if last.shape and writer.rng.random() < 0.15:
        op = writer.rng.choice(["Softmax", "LogSoftmax", "Sigmoid", "Tanh"])
        last = writer.node(op, last, **({"axis": len(last.shape)} if "Softmax" in op else {}))
    if last.shape and last.shape[-1] > 1 and writer.rng.random() < 0.05:
        last = writer.node(writer.rng.choice(["ArgMax", "ArgMin"]), last, axis=len(last.shape))
    others = [v for v in computed[:-1] if v is not last]
    return [last, *([writer.rng.choice(others)] if others and writer.rng.random() < 0.25 else [])]


def _check(model: onnx.ModelProto, writer: Writer) -> None:
    """Raise Unfit where the whole is not valid, or where an output does not depend on an input."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise Unfit(str(error)) from error
    if not model.graph.input:
        raise Unfit("no input")
    known = {i.name: i.array for i in writer.inputs}
    if Counter(o.name for o in model.graph.output).most_common(1)[0][1] > 1:
        raise Unfit("an output twice")
    answers(model, {i.name: known[i.name] for i in model.graph.input})
