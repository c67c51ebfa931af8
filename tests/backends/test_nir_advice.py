"""A refusal for size names only what is possible: every form of NIR that it names is written under the same limits."""

from __future__ import annotations

import pytest
from sfn_backends.nir import NirBackend, _nets, limits
from sfn_backends.nir.compact import compact

from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.program.network import Program
from sfn_compile.targets.legalize import legalize
from sfn_compile.testing.conformance import CASES

OTHERS = ("unary", "sar")


def sizes_of(program: Program) -> dict[str, int]:
    """The bytes of every form that has nodes for the program."""
    found = {}
    for form in ("binary", *OTHERS):
        try:
            found[form] = max(limits.size(net, form) for net in _nets(compact(program), form, dry=True))
        except CompileError:
            continue
    return found


def written(program: Program, folder, form: str) -> None:
    folder.mkdir()
    NirBackend().emit(program, folder, {"form": form})


def refused_advice(program: Program, folder) -> str:
    with pytest.raises(CompileError, match="SFN403") as caught:
        written(program, folder, "binary")
    return caught.value.diagnostics[0].fix


PROGRAMS = {c.name: c for c in CASES if not c.products and not c.adaptive}


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_every_form_that_is_named_is_written(name, tmp_path, monkeypatch):
    program = legalize(PROGRAMS[name].make(), "nir", NirBackend.capabilities)
    sizes = sizes_of(program)
    below = [size for size in sizes.values() if size < sizes["binary"]]
    for limit in {1, *below}:
        monkeypatch.setattr(limits, "MAX_BYTES", limit)
        fix = refused_advice(program, tmp_path / f"{limit}")
        named = [form for form in OTHERS if f"--nir-form {form}" in fix]
        assert named == [form for form in OTHERS if sizes.get(form, limit + 1) <= limit]
        for form in named:
            written(program, tmp_path / f"{limit}.{form}", form)
        assert fix
        if limit == 1:
            assert "--nir-form" not in fix
            assert "--levels" not in fix


def test_the_forms_are_tried_on_networks_that_only_the_binary_form_takes():
    """Else the test above says nothing of what was wrong: a form that refuses what it was advised for."""
    forms = [sizes_of(legalize(c.make(), "nir", NirBackend.capabilities)).keys() for c in PROGRAMS.values()]
    assert any("sar" not in f for f in forms)
    assert any("sar" in f for f in forms)
