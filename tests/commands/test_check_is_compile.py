"""`check` says what compile will do: for hundreds of models the same refusals, places, exit status, counts."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from sfn_compile.commands.check import Checked, check
from sfn_compile.compiler.compilation import compile_model
from sfn_compile.foundation.diagnostics import CompileError, Diagnostic
from sfn_compile.foundation.options import Options

from ..corpus import corpus_data
from ..frontend import parity_cases, test_refusals
from ..frontend.detectors import ssd, yolo
from ..frontend.host_heads import HEADS
from ..frontend.tiny_onnx import saved, tiny

MODELS = {
    **{f"refused: {name}": (body, keywords) for name, (body, keywords, *_) in test_refusals.CASES.items()},
    **{f"parity: {name}": case for name, case in parity_cases.CASES.items()},
}
OF_OTHERS = (*corpus_data.PROMISED, *corpus_data.QUANTISED, *corpus_data.MOBILENETS, "cifar_vit_ibp", "go1_policy",
             "super_resolution", "ultraface_rfb_320", "refuse_dtln_lstm", "refuse_silero_vad_if")  # fmt: skip
OPTIONS = Options(samples=4)


def compiled(path: Path, options: Options = OPTIONS) -> tuple[list[Diagnostic], int, dict[str, int] | None]:
    """What compile says: its refusals, its exit status, and its counts where it refuses nothing."""
    try:
        return [], 0, compile_model(path, options).loaded.coverage()
    except CompileError as error:
        return list(error.diagnostics), error.exit_code, None


def checked(path: Path, options: Options) -> Checked | CompileError:
    """What check says, or raises."""
    try:
        return check(path, options, ("sim",))
    except CompileError as error:
        return error


def assert_the_same(path: Path, options: Options = OPTIONS) -> None:
    problems, status, counts = compiled(path, options)
    found = checked(path, options)
    if isinstance(found, CompileError):  # a file that cannot be looked at
        assert (list(found.diagnostics), found.exit_code) == (problems, status)
        return
    assert (found.problems, found.exit_code) == (problems, status)
    assert counts is None or found.coverage == counts
    refused = {place for d in problems for place in d.where.split(", ")}
    assert [label for label, state in found.nodes if state == "ok" and label in refused] == []
    assert (found.targets_ok == ["sim"]) is (not problems)


@pytest.mark.parametrize("name", list(MODELS))
def test_a_small_model(name, tmp_path):
    body, keywords = MODELS[name]
    assert_the_same(saved(tiny(body, **keywords), tmp_path))


@pytest.mark.parametrize("make", [yolo, ssd, *HEADS.values()])
@pytest.mark.parametrize("batch", [1, "N"])
def test_a_model_with_parts_on_the_host(make, batch, tmp_path):
    model: onnx.ModelProto = make(batch)
    assert_the_same(saved(model, tmp_path))


@pytest.mark.skipif(not corpus_data.present(), reason=corpus_data.MISSING)
@pytest.mark.parametrize("name", OF_OTHERS)
def test_a_model_of_others(name):
    assert_the_same(corpus_data.model_path(name))
