"""A proof is of something: what a back end does not say is never counted as said, and each of its files is read."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sfn_backends.sim import SimBackend

from sfn_compile.files import build_folder, program_files
from sfn_compile.foundation.diagnostics import fail
from sfn_compile.program.network import Move
from sfn_compile.targets.backend import Capabilities, RunResult

from .cli_helpers import TEST, document, refused, reseal, succeeds

RUN, RELOAD = SimBackend.run, SimBackend.reload


def answers(monkeypatch, change) -> None:
    """Let the target answer what `change` makes of its answer."""
    monkeypatch.setattr(SimBackend, "run", lambda self, folder, request: change(RUN(self, folder, request)))


def test_an_untouched_build_is_proved_with_everything_that_a_proof_requires(out):
    succeeds("verify", out, "-q")
    proof = document(out / "proof.json")
    sim = proof["targets"]["sim"]
    assert proof["proved"] is sim["proved"] is True
    assert sim["reload"] == {
        "digest": program_files.digest(build_folder.open_build(out)[1]),
        "equal": True,
        "error": None,
    }
    assert sim["decoded"] == {"compared": 80, "different": 0, "error": None}
    assert sim["encoded"]["compared"] == 8 * 8 * 8
    assert sim["encoded"]["different"] == 0


def test_a_target_that_answers_nothing_is_not_proved(out, monkeypatch):
    answers(monkeypatch, lambda result: replace(result, values={}))
    refused("SFN501", 1, "verify", out)
    assert document(out / "proof.json")["targets"]["sim"]["proved"] is False


@pytest.mark.parametrize("number", range(8))
def test_a_target_that_leaves_out_any_layer_is_not_proved(number, out, monkeypatch):
    _, program = build_folder.open_build(out)
    name = program.steps[number].name

    def without(result):
        return replace(result, values={k: v for k, v in result.values.items() if k != name})

    answers(monkeypatch, without)
    assert repr(name) in refused("SFN501", 1, "verify", out)


def test_a_move_may_be_missing_only_where_the_target_takes_none(out, monkeypatch):
    _, program = build_folder.open_build(out)
    (move,) = [s.name for s in program.steps if isinstance(s, Move)]
    answers(monkeypatch, lambda result: replace(result, values={k: v for k, v in result.values.items() if k != move}))
    refused("SFN501", 1, "verify", out)
    has: Capabilities = SimBackend.capabilities
    monkeypatch.setattr(SimBackend, "capabilities", replace(has, moves=frozenset()))
    succeeds("verify", out)  # what sim/ is was decided when it was built: nothing is legalised again
    assert document(out / "proof.json")["targets"]["sim"]["different"] == 0


def test_integers_of_another_shape_or_that_are_none_are_different(out, monkeypatch):
    _, program = build_folder.open_build(out)
    name = program.steps[0].name
    answers(monkeypatch, lambda result: replace(result, values={**result.values, name: result.values[name][:, :1]}))
    refused("SFN501", 1, "verify", out)
    answers(monkeypatch, lambda result: replace(result, values={**result.values, name: result.values[name] + np.nan}))
    refused("SFN501", 1, "verify", out)
    assert document(out / "proof.json")["targets"]["sim"]["first_difference"]["got"] == "nan"


def test_a_mode_that_is_none_is_no_proof(out, monkeypatch):
    answers(monkeypatch, lambda result: replace(result, mode=""))
    refused("SFN507", 1, "verify", out)


@pytest.mark.parametrize("reader", [{"name": "r"}, {"name": "r", "compared": 0, "different": 0, "layers": 3},
                                    {"name": "r", "compared": 9, "different": 0, "layers": 0}])  # fmt: skip
def test_a_reader_that_compared_nothing_is_a_failure(reader, out, monkeypatch):
    answers(monkeypatch, lambda result: replace(result, readers=(reader,)))
    assert "reader r of target sim" in refused("SFN507", 1, "verify", out)


def test_files_that_read_back_as_another_network_are_a_failure_whatever_the_samples_show(out, monkeypatch):
    def other(self, folder):
        program = RELOAD(self, folder)
        first = program.steps[0]
        return replace(program, steps=(replace(first, acc_max=first.acc_max + 1), *program.steps[1:]))

    _, program = build_folder.open_build(out)
    values = {}
    answers(monkeypatch, lambda result: values.update(result.values) or result)
    succeeds("verify", out, "-q")
    monkeypatch.setattr(SimBackend, "run", lambda self, folder, request: RunResult(values, "from before"))
    monkeypatch.setattr(SimBackend, "reload", other)
    assert "another network" in refused("SFN501", 1, "verify", out)
    sim = document(out / "proof.json")["targets"]["sim"]
    assert (sim["different"], sim["reload"]["equal"], sim["proved"]) == (0, False, False)
    assert sim["reload"]["digest"] != program_files.digest(program)


@pytest.mark.parametrize("error", [fail("SFN503", "damaged"), KeyError("theta"), IndexError("7")])
def test_files_that_cannot_be_read_back_are_a_failure_and_not_executed(error, out, monkeypatch):
    def broken(self, folder):
        raise error

    monkeypatch.setattr(SimBackend, "reload", broken)
    assert "do not read back" in refused("SFN501", 1, "verify", out)
    sim = document(out / "proof.json")["targets"]["sim"]
    assert (sim["mode"], sim["compared"], sim["proved"]) == (None, 0, False)


def test_another_decoding_in_the_files_of_a_target_shows_in_its_real_outputs(out):
    program = program_files.load(out / "sim")
    (only,) = program.outputs
    program_files.save(replace(program, outputs=(replace(only, step=only.step * 2),)), out / "sim")
    reseal(out)
    assert "decoded numbers differ" in refused("SFN501", 1, "verify", out)
    sim = document(out / "proof.json")["targets"]["sim"]
    assert (sim["different"], sim["encoded"]["different"]) == (0, 0)
    assert sim["decoded"]["different"] > 0


def test_another_encoding_in_the_files_of_a_target_shows_in_its_codes(out):
    program = program_files.load(out / "sim")
    (only,) = program.inputs
    program_files.save(replace(program, inputs=(replace(only, step=only.step * 3),)), out / "sim")
    reseal(out)
    assert "encoded numbers differ" in refused("SFN501", 1, "verify", out)


def test_no_target_asked_for_is_no_proof(out):
    refused("SFN507", 1, "verify", out, "--on", ",")
    assert document(out / "proof.json")["proved"] is False


def test_no_target_in_the_build_is_no_proof(out):
    manifest = document(out / "manifest.json")
    reseal(out, options={**manifest["options"], "targets": []})
    refused("SFN507", 1, "verify", out)


def test_golden_inputs_without_a_sample_are_no_proof(out):
    x, values = build_folder.load_golden(out)
    build_folder.save_golden(out, {k: v[:0] for k, v in x.items()}, {k: v[:0] for k, v in values.items()})
    reseal(out)
    assert "no samples" in refused("SFN503", 3, "verify", out)


def test_a_golden_layer_that_is_missing_is_no_proof(out):
    x, values = build_folder.load_golden(out)
    values.pop(list(values)[1])
    build_folder.save_golden(out, x, values)
    reseal(out)
    assert "other values than the Program" in refused("SFN503", 3, "verify", out)


def test_a_proof_on_data_is_printed_with_the_same_document(out):
    printed = json.loads(succeeds("verify", out, "--data", TEST, "--samples", 2, "--json").stdout)
    assert printed == document(out / "proof.json")
    assert printed["targets"]["sim"]["decoded"]["compared"] == 20
