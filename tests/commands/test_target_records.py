"""What a target is was decided when it was built: later commands read its record, and verify does not take its word."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sfn_compile.files import program_files
from sfn_compile.program.network import Population, Program
from sfn_compile.targets import target_build
from sfn_compile.targets.backend import Capabilities
from sfn_compile.targets.legalize import legalize

from ..frontend.tiny_onnx import noise, saved, tiny
from .cli_helpers import document, refused, reseal, succeeds

BODY = "a = Conv(x, w, b) r = Relu(a) t = Transpose<perm=[0,2,3,1]>(r) f = Flatten(t) y = Gemm(f, k)"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a model, ``data.npz`` and a build for the targets sim and onnx."""
    place = tmp_path_factory.mktemp("records")
    model = saved(tiny(BODY, w=noise(4, 3, 3, 3), b=noise(4), k=noise(64, 2)), place)
    np.savez(place / "data.npz", x=noise(20, 3, 6, 6))
    compiled(place, model)
    return place


def compiled(place: Path, model: Path) -> None:
    succeeds(model, "--calib", place / "data.npz", "--target", "sim,onnx", "--no-reconstruct", "-q", "-o",
             place / "out")  # fmt: skip


@pytest.fixture
def built(home, tmp_path) -> Path:
    """A copy of the build that a test may spoil."""
    return Path(shutil.copytree(home / "out", tmp_path / "out"))


def never(*_: object) -> Program:
    raise AssertionError("it was legalised again")


def test_verify_eval_and_run_legalise_nothing(home, built, tmp_path, monkeypatch):
    monkeypatch.setattr(target_build, "legalize", never)
    succeeds("verify", built, "-q")
    assert document(built / "proof.json")["targets"]["onnx"]["proved"] is True
    found = {}
    for on in ("sim", "onnx"):
        succeeds("eval", built, "--data", home / "data.npz", "--on", on, "-q")
        succeeds("run", built, "--input", home / "data.npz", "--on", on, "-o", tmp_path / f"{on}.npz", "-q")
        found[on] = dict(np.load(tmp_path / f"{on}.npz"))
    assert np.array_equal(found["sim"]["y"], found["onnx"]["y"])


def elsewhere(program: Program, target: str, capabilities: Capabilities) -> Program:
    """Legalisation that gives the last population, which is the output, another name."""
    *steps, last = legalize(program, target, capabilities).steps
    (only,) = program.outputs
    assert last.name == only.value
    renamed = replace(last, name="elsewhere")
    return replace(program, steps=(*steps, renamed), outputs=(replace(only, value="elsewhere"),))


def test_the_value_that_holds_an_output_is_the_one_of_the_record(home, tmp_path, monkeypatch):
    place = Path(shutil.copytree(home, tmp_path / "home"))
    shutil.rmtree(place / "out")
    with monkeypatch.context() as then:
        then.setattr(target_build, "legalize", elsewhere)
        compiled(place, next(place.glob("*.onnx")))
    assert document(place / "out" / "targets.json")["targets"]["onnx"]["outputs"] == {"y": "elsewhere"}
    for on in ("sim", "onnx"):
        succeeds("run", place / "out", "--input", home / "data.npz", "--on", on, "-o", tmp_path / f"{on}.npz", "-q")
        succeeds("eval", place / "out", "--data", home / "data.npz", "--on", on, "-q")
    found = [np.load(tmp_path / f"{on}.npz")["y"] for on in ("sim", "onnx")]
    assert np.array_equal(*found)


def test_a_target_says_of_which_program_it_was_made_and_what_its_legal_one_is(built):
    records = document(built / "targets.json")
    assert records["program"] == program_files.digest(program_files.load(built))
    assert records["targets"]["sim"]["digest"] == records["program"]
    succeeds("verify", built, "-q")
    row = document(built / "proof.json")["targets"]["sim"]
    assert row["reload"]["digest"] == records["targets"]["sim"]["digest"]
    assert row["legal"]["made_from"] == records["program"]
    assert (row["legal"]["different"], row["legal"]["error"]) == (0, None)
    assert row["legal"]["compared"] == row["compared"]


def off_by_one(program: Program, target: str, capabilities: Capabilities) -> Program:
    """Legalisation with a fault: a weight of the first population is another, and so is what is proved of it."""
    legal = legalize(program, target, capabilities)
    steps = list(legal.steps)
    at = next(i for i, s in enumerate(steps) if isinstance(s, Population))
    ladder = steps[at].ladder
    steps[at] = replace(steps[at], ladder=replace(ladder, offset=ladder.offset + ladder.theta))
    return replace(legal, steps=tuple(steps))


def test_a_fault_of_legalisation_is_found_although_the_files_say_what_was_recorded(home, tmp_path, monkeypatch):
    place = Path(shutil.copytree(home, tmp_path / "home"))
    shutil.rmtree(place / "out")
    monkeypatch.setattr(target_build, "legalize", off_by_one)
    compiled(place, next(place.glob("*.onnx")))
    assert "integers differ in the simulator" in refused("SFN501", 1, "verify", place / "out", "--on", "sim")
    row = document(place / "out" / "proof.json")["targets"]["sim"]
    assert row["reload"]["equal"] is True
    assert row["legal"]["different"] > 0
    assert row["different"] > 0  # the files compute what they say


def test_a_program_that_no_sample_tells_from_the_one_it_was_made_of_is_another(built):
    program = program_files.load(built)
    first, *others = program.steps
    program_files.save(replace(program, steps=(replace(first, acc_max=first.acc_max + 1), *others)), built)
    reseal(built)
    assert "made from another Program" in refused("SFN501", 1, "verify", built)
    rows = document(built / "proof.json")["targets"].values()
    assert [(row["different"], row["legal"]["different"], row["proved"]) for row in rows] == [(0, 0, False)] * 2


@pytest.mark.parametrize(
    ("change", "said"),
    [(lambda t: t["targets"]["onnx"].update(digest="0" * 64), "another network than compile wrote"),
     (lambda t: t.update(program="0" * 64), "made from another Program"),
     (lambda t: t["targets"]["onnx"].update(outputs={"y": "r"}), "other values of its outputs"),
     (lambda t: t["targets"]["onnx"]["placement"].pop(), "it places"),
     (lambda t: t["targets"]["onnx"]["placement"][0]["shards"][0].__setitem__(2, 7), "do not hold each")],
    ids=["digest", "program", "outputs", "a step less", "a neuron less"],
)  # fmt: skip
def test_a_record_that_says_other_things_than_the_files_is_no_proof(change, said, built):
    tree = document(built / "targets.json")
    change(tree)
    (built / "targets.json").write_text(json.dumps(tree))
    reseal(built)
    assert said in refused("SFN501", 1, "verify", built, "--on", "onnx")
    assert document(built / "proof.json")["targets"]["onnx"]["proved"] is False


def test_without_its_record_a_target_is_not_executed(home, built, tmp_path):
    (built / "targets.json").unlink()
    refused("SFN506", 1, "verify", built)
    assert document(built / "proof.json")["targets"] == {}
    for command in (("eval", built, "--data", home / "data.npz"),
                    ("run", built, "--input", home / "data.npz", "-o", tmp_path / "y.npz")):  # fmt: skip
        assert "targets.json is missing" in refused("SFN503", 3, *command, "--on", "onnx")
        succeeds(*command, "--on", "sim")


def test_an_output_that_the_target_holds_elsewhere_is_damage(home, built, tmp_path):
    tree = document(built / "targets.json")
    tree["targets"]["onnx"]["outputs"]["y"] = "r"  # of another shape
    (built / "targets.json").write_text(json.dumps(tree))
    reseal(built)
    answer = ("run", built, "--input", home / "data.npz", "-o", tmp_path / "y.npz", "--on", "onnx")
    assert "value 'r'" in refused("SFN503", 3, *answer)
