"""The inputs of a model: which are real, which shape and type one sample of each has, which batch they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from ..foundation.diagnostics import CompileError, Diagnostic, fail
from ..foundation.samples import ModelInput

TYPES = {
    ir.DataType.FLOAT: "float32", ir.DataType.DOUBLE: "float64", ir.DataType.FLOAT16: "float16",
    ir.DataType.UINT8: "uint8", ir.DataType.INT8: "int8", ir.DataType.UINT16: "uint16", ir.DataType.INT16: "int16",
    ir.DataType.UINT32: "uint32", ir.DataType.INT32: "int32", ir.DataType.INT64: "int64",
}  # fmt: skip
_FIXES = {
    ir.DataType.BOOL: "turn the flag into a float input, or export the model with it fixed",
    ir.DataType.BFLOAT16: "onnxruntime computes no bfloat16 on the CPU: export in float32 or float16",
}


def read_inputs(
    model: ir.Model, input_shapes: Mapping[str, tuple[int, ...]]
) -> tuple[tuple[ModelInput, ...], int | None]:
    """Return the inputs that some output depends on, and their common batch size (None: any); pins their shapes.

    Initializers that are listed as inputs (old exporters) are constants. Raises SFN103, SFN105, all of them at once.
    """
    real = [v for v in model.graph.inputs if v.name not in model.graph.initializers]
    needed = needed_values(model)
    used = [v for v in real if v.name in needed]
    for value in list(model.graph.inputs):
        if value not in real:
            model.graph.inputs.remove(value)
    if not used:
        names = ", ".join(repr(v.name) for v in real) or "none"
        raise fail("SFN105", f"no output depends on an input (inputs: {names})", fix="export the model with an input")
    _check_names(input_shapes, real)
    found: list[ModelInput] = []
    batches: dict[str, int | None] = {}
    problems: list[Diagnostic] = []
    for value in used:
        try:
            shape, batches[str(value.name)] = _pin(value, input_shapes)
            found.append(ModelInput(str(value.name), shape, _dtype(value)))
        except CompileError as error:
            problems += error.diagnostics
    fixed = {name: b for name, b in batches.items() if b is not None}
    if not problems and len(set(fixed.values())) > 1:
        what = f"its inputs have different batch sizes: {', '.join(f'{b} of {n!r}' for n, b in fixed.items())}"
        problems.append(Diagnostic("SFN105", what, fix="axis 0 of every input must count the same samples"))
    if problems:
        raise CompileError(problems)
    batch = next(iter(fixed.values()), None)
    for value, one in zip(used, found, strict=True):
        value.shape = ir.Shape([batch or 1, *one.shape])
    return tuple(found), batch


def needed_values(
    model: ir.Model, outputs: Sequence[ir.Value] | None = None, given: frozenset[str] = frozenset()
) -> set[str]:
    """Return the names of the values that some output of the model, or some of ``outputs``, depends on.

    What the values of ``given`` are computed from is not needed.
    """
    found: set[str] = set()
    waiting = list(model.graph.outputs if outputs is None else outputs)
    while waiting:
        value = waiting.pop()
        if str(value.name) in found:
            continue
        found.add(str(value.name))
        node = None if str(value.name) in given else value.producer()
        waiting += () if node is None else [v for v in reads(node) if v is not None]
    return found


def reads(node: ir.Node) -> Iterator[ir.Value | None]:
    """Yield what a node reads, the values used inside its branches included."""
    yield from node.inputs
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.value:
                yield from reads(inner)


def _check_names(input_shapes: Mapping[str, tuple[int, ...]], real: list[ir.Value]) -> None:
    names = [str(v.name) for v in real]
    wrong = sorted(set(input_shapes) - set(names))
    if wrong:
        have = f"input is {names[0]!r}" if len(names) == 1 else f"inputs are {', '.join(map(repr, names))}"
        raise fail("SFN105", f"--input-shape names {wrong[0]!r}; the model's {have}")


def _pin(value: ir.Value, input_shapes: Mapping[str, tuple[int, ...]]) -> tuple[tuple[int, ...], int | None]:
    """Return the shape of one sample and the batch size (None: any)."""
    name = str(value.name)
    if value.shape is None or len(value.shape) < 2:
        what = f"its shape is {value.shape}; the first axis must be the batch and at least one more must follow"
        raise fail("SFN105", what, f"input {name!r}", "export with a batch axis")
    dims = [d if isinstance(d, int) else None for d in value.shape]
    given = input_shapes.get(name)
    if given is not None:
        if len(given) != len(dims) or any(d not in (None, g) for d, g in zip(dims[1:], given[1:], strict=True)):
            raise fail(
                "SFN103", f"--input-shape {list(given)} does not fit the model's {value.shape}", f"input {name!r}"
            )
        dims = [dims[0], *given[1:]]
    if any(d is None or d < 1 for d in dims[1:]):
        example = ",".join(str(d) if d else "N" for d in [1, *dims[1:]])
        fix = f"pin it: --input-shape {name}={example} with a number for each N"
        raise fail("SFN103", f"the shape {value.shape} has a symbolic axis besides the batch", f"input {name!r}", fix)
    return tuple(d for d in dims[1:] if d is not None), dims[0]


def _dtype(value: ir.Value) -> str:
    if value.dtype not in TYPES:
        what = f"its type is {value.dtype}; supported: {', '.join(TYPES.values())}"
        raise fail("SFN105", what, f"input {value.name!r}", _FIXES.get(value.dtype, ""))  # type: ignore[arg-type]
    return TYPES[value.dtype]
