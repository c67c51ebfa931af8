"""Every document of real builds is what its JSON Schema says, and the schemas say enough to be broken."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from sfn_compile.commands.schemas import schemas

from ..frontend.detectors import yolo
from ..frontend.host_heads import spectrogram
from ..frontend.tiny_onnx import noise, saved, tiny
from .cli_helpers import CALIB, DIGITS, TEST, refused, sfnc, succeeds

SCHEMAS = schemas()
FILES = {"manifest": "manifest.json", "report": "report.json", "eval": "eval.json", "proof": "proof.json",
         "bisect": "bisect.json"}  # fmt: skip


def faults(name: str, found: object) -> list[str]:
    validator = jsonschema.Draft202012Validator(SCHEMAS[name])
    return [f"{list(e.absolute_path)}: {e.message[:200]}" for e in validator.iter_errors(found)]


def networks(folder: Path) -> dict[str, tuple[Path, Path, tuple[object, ...]]]:
    """Models, data and options that fill the documents in every way: tail, head, two outputs, targets, refusals."""
    saved(yolo(), folder, "yolo.onnx")
    np.savez(folder / "yolo.npz", x=noise(128, 3, 8, 8))
    saved(spectrogram(), folder, "audio.onnx")
    np.savez(folder / "audio.npz", x=noise(96, 512), labels=np.arange(96) % 4)
    gate = "a = Conv(x, w) b = Conv(x, v) q = Mul(a, b) f = Flatten(q) y = Gemm(f, k)"
    saved(tiny(gate, w=noise(4, 3, 3, 3), v=noise(4, 3, 3, 3) + 1, k=noise(64, 1)), folder, "gate.onnx")
    np.savez(folder / "gate.npz", x=noise(40, 3, 6, 6), y=noise(40, 1))
    at = {name: (folder / f"{name}.onnx", folder / f"{name}.npz") for name in ("yolo", "audio", "gate")}
    return {
        "digits": (DIGITS, CALIB, ("--samples", 120, "--target", "sim,nir,onnx", "--site", "relu_3:levels=7",
                                   "--max-drop", 20)),
        "yolo": (*at["yolo"], ()), "audio": (*at["audio"], ()), "gate": (*at["gate"], ("--target", "sim,nir")),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["digits", "yolo", "audio", "gate"])
def test_the_documents_of_a_build_are_what_their_schemas_say(name, tmp_path):
    model, calib, options = networks(tmp_path)[name]
    out, data = tmp_path / "o", TEST if name == "digits" else calib
    done = sfnc(model, "--calib", calib, "-o", out, *options, "--json")
    assert done.exit_code == (4 if name == "gate" else 0), done.output
    sfnc("verify", out, "--on", "sim")
    sfnc("eval", out, "--data", data, "--samples", 90, "--min-sqnr", 300, "--min-map", 0.5)
    sfnc("bisect", out, "--data", data, "--samples", 20, "--limit", 90 if name == "digits" else 1)
    found = {kind: json.loads((out / file).read_text()) for kind, file in FILES.items() if (out / file).is_file()}
    assert {"manifest", "report", "eval", "proof"} <= set(found)
    assert {kind: faults(kind, document) for kind, document in found.items()} == {kind: [] for kind in found}
    printed = json.loads(done.stdout)
    assert printed.pop("output") == str(out)
    assert faults("report", printed) == []


def test_what_is_printed_is_what_its_schema_says(made, tmp_path):
    checked = json.loads(succeeds("check", DIGITS, "--json").stdout)
    assert faults("check", checked) == []
    assert faults("diff", json.loads(succeeds("diff", made, made, "--json").stdout)) == []
    said = json.loads(refused("SFN503", 3, "eval", tmp_path, "--data", TEST, "--json"))
    assert faults("diagnostics", said) == []


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_a_schema_is_valid_and_an_empty_object_is_not_what_it_describes(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    assert faults(name, {})
    assert json.loads(succeeds("schema", name).stdout) == SCHEMAS[name]


def test_a_field_that_is_lost_or_of_another_type_is_found(made):
    report = json.loads((made / "report.json").read_text())
    for key in SCHEMAS["report"]["required"]:
        lost = copy.deepcopy(report)
        del lost[key]
        assert faults("report", lost), key
    for key in SCHEMAS["report"]["properties"]["layers"]["items"]["required"]:
        odd = copy.deepcopy(report)
        odd["layers"][0][key] = object()
        assert faults("report", odd), key


def test_schemas_are_listed_and_an_unknown_one_is_wrong_usage():
    assert [line.split()[0] for line in succeeds("schema").stdout.splitlines()] == list(SCHEMAS)
    assert sfnc("schema", "reports").exit_code == 2
