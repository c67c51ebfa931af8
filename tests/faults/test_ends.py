"""An output that is decoded from several values, read from damaged parts: refused with SFN503, or it can be decoded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sfn_compile.files import program_files
from sfn_compile.files.program_checks import check_program
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.host.codec import decoded, encode_all
from sfn_compile.program.network import Decoding, HostOp, Program
from sfn_compile.simulator.run import run_codes

from ..compiler.end_networks import X, compiled, network
from .test_programs import Parts, damaged_parts

END = """
a = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (h) b = Resize <mode = "linear"> (a, empty, up)
c = Resize <mode = "linear"> (g, empty, odd) d = GlobalMaxPool (c) e = Add (b, d) f = Concat <axis = 1> (e, b)
y = Softmax <axis = 1> (f)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Program:
    return compiled(network(END), tmp_path_factory.mktemp("ends"))


def fault_of(parts: Parts, x: dict[str, np.ndarray]) -> str:
    try:
        found = check_program(program_files.from_parts(*parts))
    except CompileError as error:
        return "" if error.diagnostics[0].code == "SFN503" else str(error)
    try:
        values = run_codes(found, encode_all(found, x))
        with np.errstate(all="ignore"):
            made = [decoded(d, values) for d in found.outputs]
    except Exception as error:
        return f"it was taken for a Program and ended in {error!r}"
    return "" if all(len(y) == 2 for y in made) else "an output has lost its samples"


def test_the_program_holds_every_operation_that_is_damaged(program):
    kinds = {op.kind for op in program.outputs[0].host}
    assert {"max_pool", "linear", "add", "move", "softmax"} <= kinds
    assert program_files.digest(program) == program_files.digest(
        program_files.from_parts(*_read(program_files.to_parts(program)))
    )


def _read(parts: tuple[str, dict[str, np.ndarray]]) -> Parts:
    return json.loads(parts[0]), parts[1]


def test_damaged_ends_are_refused_or_decoded(program):
    found = ((label, fault_of(parts, {"x": X[:2]})) for label, parts in damaged_parts(program, 3, 40))
    faults = [f"{label}: {what}" for label, what in found if what]
    assert not faults, "\n".join(faults)


CHANGES: dict[str, Callable[[Decoding], Decoding]] = {
    "reads what comes later": lambda d: replace(d, host=(replace(d.host[0], reads=(9,)), *d.host[1:])),
    "reads before the first": lambda d: replace(d, host=(replace(d.host[0], reads=(-1,)), *d.host[1:])),
    "several of one": lambda d: replace(d, host=(*d.host, replace(d.host[-1], reads=(0, 1)))),
    "nothing joins": lambda d: replace(d, host=()),
    "another shape": lambda d: replace(d, joined=(replace(d.joined[0], shape=(1,)),)),
    "a step too long": lambda d: replace(d, joined=(replace(d.joined[0], step=np.ones(77)),)),
    "no such value": lambda d: replace(d, joined=(replace(d.joined[0], value="nobody"),)),
    "a sum of other shapes": lambda d: replace(d, host=(*d.host, HostOp("add", (), (0, _last(d))))),
    "windows of nothing": lambda d: replace(d, host=(HostOp("max_pool", (("kernel", (99, 99)), ("strides", (1, 1)), (
        "pads", ((0, 0), (0, 0))), ("dilations", (1, 1))), (0,)), *d.host)),
}  # fmt: skip


def _last(d: Decoding) -> int:
    return len(d.parts) + len(d.host) - 1


@pytest.mark.parametrize("change", CHANGES)
def test_an_end_that_does_not_fit_is_refused(change, program):
    with pytest.raises(CompileError) as caught:
        check_program(replace(program, outputs=tuple(map(CHANGES[change], program.outputs))))
    assert caught.value.diagnostics[0].code == "SFN503"


def test_an_input_has_operations_in_a_row_only(program):
    (encoding,) = program.inputs
    odd = replace(encoding, host=(HostOp("relu", (), (0,)),))
    with pytest.raises(CompileError, match="in a row"):
        check_program(replace(program, inputs=(odd,)))
