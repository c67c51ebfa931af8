"""The Lava folder reads back as the Program it was written from, and every change of it is seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sfn_backends.lava import LavaBackend

from sfn_compile.files import program_files
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.program.network import (
    Conv,
    Population,
)
from sfn_compile.targets.legalize import legalize
from sfn_compile.testing import conformance
from sfn_compile.testing.conformance import CASES, SEVERAL_INPUTS

from .lava_programs import odd_shapes, products_of_all_ranks, rows_of_all_ranks
from .lava_runs import digest_or_code, edit, emit, put


# -- reload --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("case", [*CASES, *SEVERAL_INPUTS, conformance.Case("odd_shapes", odd_shapes)], ids=str)
def test_reload_is_the_inverse_and_two_emits_are_byte_identical(case: conformance.Case, tmp_path: Path) -> None:
    program = emit(case.make(), tmp_path / "a")
    emit(case.make(), tmp_path / "b")
    assert program_files.digest(LavaBackend().reload(tmp_path / "a")) == program_files.digest(program)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "b") for p in (tmp_path / "b").rglob("*") if p.is_file())
    assert [f for f in files if (tmp_path / "a" / f).read_bytes() != (tmp_path / "b" / f).read_bytes()] == []


def drifts() -> list[tuple[str, str]]:
    """Every integer array of a network that has all kinds of connections and neurons."""
    return [
        (f.__name__, key)
        for f in (odd_shapes, conformance.conv_chain, conformance.gather, products_of_all_ranks, rows_of_all_ranks)
        for key in _tensors(f)
    ]


def _tensors(make: Any) -> list[str]:
    from sfn_backends.lava.describe import describe

    return list(describe(legalize(make(), "lava", LavaBackend.capabilities))[1])


@pytest.mark.parametrize(("make", "key"), drifts())
def test_reload_sees_one_changed_integer_in_any_tensor(make: str, key: str, tmp_path: Path) -> None:
    program = emit(globals().get(make, getattr(conformance, make, None))(), tmp_path)
    edit(tmp_path / "tensors.npz", **{key: lambda x: x + 2 * (np.arange(x.size).reshape(x.shape) == x.size // 2)})
    assert digest_or_code(tmp_path) not in (program_files.digest(program), "SFN901")


@pytest.mark.parametrize("change", [("stride", [1, 1]), ("padding", [0, 0]), ("source", "c1"), ("delay", 1)])
def test_reload_refuses_a_manifest_that_makes_lava_run_another_network(change: Any, tmp_path: Path) -> None:
    emit(conformance.conv_chain(), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["layers"][0]["connections"][0][change[0]] = change[1]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CompileError, match="SFN503"):
        LavaBackend().reload(tmp_path)


def test_a_drifted_weight_reads_back_as_that_weight(tmp_path: Path) -> None:
    emit(conformance.conv_chain(), tmp_path)
    edit(tmp_path / "tensors.npz", layer0001_0_weight=put((0, 0, 2, 1), 77))
    first = LavaBackend().reload(tmp_path).steps[1]
    assert isinstance(first, Population)
    linear = first.projections[0].map
    assert isinstance(linear, Conv)
    assert linear.weight[0, 1, 0, 2] == 77  # (o, kw, kh, c) flipped is (o, c, kh, kw)
