"""An option is said once: command line, Python, documents, manifest and JSON Schema agree, and help can be read."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import click
import numpy as np
import pytest

import sfn_compile
from sfn_compile.cli.main import cli
from sfn_compile.commands.request import Request, compile_options, request_of
from sfn_compile.foundation.declaration import GROUPS, options_of
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Machine, Options, SiteOptions
from sfn_compile.search.plan import Limit, Search

from ..commands.cli_helpers import document, refused, reseal, succeeds

ROOT = Path(__file__).parents[2]
PYTHON = {o.name for o in compile_options()}


def command_line() -> dict[str, click.Parameter]:
    return {str(p.name): p for p in cli.commands["compile"].params}


def stub() -> ast.FunctionDef:
    tree = ast.parse((ROOT / "sfn_compile" / "__init__.pyi").read_text(encoding="utf-8"))
    return next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "compile")


# -- one declaration, many readers ---------------------------------------------------------------------------------
def test_every_field_of_the_options_is_declared():
    assert [o.field for o in options_of(Options)] == [f.name for f in fields(Options)]
    assert {o.group for o in options_of(Options)} < set(GROUPS)


def test_the_command_line_has_the_options_of_python_and_its_own():
    assert command_line().keys() - PYTHON == {"model", "output", "quiet", "as_json", "junit", "markdown"}
    assert command_line().keys() >= PYTHON


def test_defaults_of_the_command_line_are_those_of_the_options():
    context = click.Context(cli.commands["compile"])
    given = {name: p.get_default(context) for name, p in command_line().items() if name in PYTHON}
    assert request_of(given) == request_of({}) == Request()
    assert request_of({}).options == Options()


def test_the_documents_have_the_defaults_of_the_options():
    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    entries = re.split(r"^### ", page, flags=re.MULTILINE)[1:]
    facts = [dict(re.findall(r"^\* ([\w ]+): (.*)", entry, re.MULTILINE)) for entry in entries]
    rows = {
        f["In Python"].strip("`"): f.get("Default", "") for f in facts if re.fullmatch(r"`\w+`", f.get("In Python", ""))
    }
    assert rows.keys() == PYTHON
    plain = {f.name: getattr(Options(), f.name) for f in fields(Options)} | {"workers": Machine().workers}
    for name, default in plain.items():
        if isinstance(default, (int, str)) and not isinstance(default, bool):
            assert rows[name] == str(default)
    assert rows["targets"] == ",".join(Options().targets)
    assert rows["carry"] == "carry"
    assert rows["objective"] == Search("grid").objective


def test_python_has_the_signature_that_type_checkers_read():
    read = stub().args
    assert [a.arg for a in read.args] == ["model", "out"]
    written = dict(zip([a.arg for a in read.kwonlyargs], read.kw_defaults, strict=True))
    own = inspect.signature(sfn_compile.compile).parameters
    assert list(own) == ["model", "out", *written]
    for name, default in written.items():
        held = ast.literal_eval(default)
        assert held == ({} if held is Ellipsis else own[name].default) or (held is Ellipsis and own[name].default == {})
    types = {a.arg: ast.unparse(a.annotation) for a in read.kwonlyargs}
    assert types["levels"] == "int"
    assert types["targets"] == "str | Sequence[str]"
    assert types["method"].startswith("Literal['mse', ")


def test_a_manifest_keeps_to_the_schema(made):
    schema = json.loads((ROOT / "docs" / "spec" / "options.schema.json").read_text(encoding="utf-8"))
    said = document(made / "manifest.json")["options"]
    assert conforms(said, schema)
    assert said.keys() == schema["properties"].keys()
    own = {**said, "sites": {"relu": {"levels": 7, "stretch": 1.5}}, "method_options": {"p": "99.9"}}
    assert conforms(own, schema)
    wrong = [{"levels": 0}, {"levels": 31.5}, {"method": "best"}, {"targets": []}, {"sites": {"r": {"leaves": 3}}},
             {"carry": None}, {"level": 3}, {"method_options": {"p": 99}}]  # fmt: skip
    assert not [change for change in wrong if conforms({**said, **change}, schema)]


KINDS = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}


def conforms(value: object, schema: dict) -> bool:
    """Whether a value keeps to those words of JSON Schema that ours has."""
    words = schema.get("type", [*KINDS, "boolean"])
    kinds = [words] if isinstance(words, str) else words
    if isinstance(value, bool):
        return "boolean" in kinds
    if not any(isinstance(value, KINDS[kind]) for kind in kinds if kind != "boolean"):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, (int, float)):
        return schema.get("minimum", value) <= value <= schema.get("maximum", value)
    if isinstance(value, list):
        return len(value) >= schema.get("minItems", 0) and all(conforms(v, schema["items"]) for v in value)
    if isinstance(value, dict):
        known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
        named = all(name in value for name in schema.get("required", []))
        others = [v for name, v in value.items() if name not in known]
        there = all(conforms(v, known[name]) for name, v in value.items() if name in known)
        return (
            named
            and there
            and (all(conforms(v, other) for v in others) if isinstance(other, dict) else other or not others)
        )
    return True


def test_options_survive_a_manifest():
    options = Options(targets=("sim", "nir"), levels=15, sites={"a/b": SiteOptions(levels=7, stretch=1.5)},
                      method_options={"p": "99.9"}, target_options={"nir.form": "sar"})  # fmt: skip
    back = Options.from_dict(json.loads(json.dumps(options.as_dict())))
    assert back.as_dict() == options.as_dict()
    assert (back.targets, back.sites, back.reconstruct) == (options.targets, options.sites, True)


def test_a_build_with_options_of_another_version_is_refused_where_they_matter(out):
    options = document(out / "manifest.json")["options"]
    reseal(out, options={**options, "nir_form": "binary"})
    message = refused("SFN505", 3, "bisect", out, "--data", ROOT / "models" / "digits_test.npz", "--samples", 4)
    assert "no option 'nir_form'" in message
    assert "compile again" in message


# -- help ----------------------------------------------------------------------------------------------------------
def test_help_is_grouped_and_fits_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = succeeds("compile", "--help").stdout
    assert re.findall(r"^(\w+):", text, re.MULTILINE)[1:] == [group.title() for group in GROUPS]
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert not set(text) - set("\n" + "".join(map(chr, range(32, 127))))
    missing = [flag for p in command_line().values() for flag in p.opts if flag.startswith("--") and flag not in text]
    assert missing == []
    for words in ("--levels <1..255>", "[default: 31]", "--granularity <channel|tensor>", "sfn, qcfs"):
        assert words in text


def test_help_has_no_colours_in_a_pipe_wherever_it_runs():
    places = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "PY_COLORS")} | {"GITHUB_ACTIONS": "true"}
    command = [sys.executable, "-m", "sfn_compile.cli.main", "compile", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, env=places).stdout
    assert "--levels" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("command", ["check", "run", "verify", "eval", "bisect"])
def test_shared_options_are_said_alike(command):
    own = {p.name: p for p in cli.commands[command].params}
    for name in own.keys() & {"targets", "target_options", "input_shapes", "seed", "threads", "engine", "workers"}:
        known = {o.name: o for o in (*compile_options(), *options_of(Machine))}
        assert own[name].opts[0] == known[name].flag
        if name not in ("targets",):
            assert known[name].help in str(own[name].help)


# -- Python --------------------------------------------------------------------------------------------------------
def test_the_same_options_read_from_texts_and_from_python():
    texts = {"targets": "sim, nir", "method_options": ("p=99.9",), "sites": ("a:b:levels=7,weight-bits=4",),
             "input_shapes": ("x=1,3,8,8",), "calib": Path("d.npz"), "search": "grid", "budget": ("spikes=0.5",),
             "target_options": ("nir.form=sar",)}  # fmt: skip
    values = {
        "targets": ["sim", "nir"],
        "method_options": {"p": 99.9},
        "sites": {"a:b": {"levels": np.int64(7), "weight_bits": 4}},
        "input_shapes": {"x": [1, 3, 8, 8]},
        "calib": "d.npz",
        "search": "grid",
        "budget": {"spikes": 0.5},
        "target_options": {"nir.form": "sar"},
    }
    assert request_of(texts) == request_of(values)
    found = request_of(values)
    assert found.options.targets == ("sim", "nir")
    assert found.options.sites == {"a:b": SiteOptions(levels=7, weight_bits=4)}
    assert found.search == Search("grid", budget={"spikes": Limit(0.5, True)})
    assert request_of({"search": Search("grid", 9)}).search == Search("grid", 9)
    assert request_of({"budget": "spikes=0.5", "search": "grid"}).search == found.search


def test_numbers_of_numpy_become_numbers_of_json():
    options = request_of({"levels": np.int64(15), "fine_share": np.float32(0.5), "epochs": np.uint8(2)}).options
    assert json.loads(json.dumps(options.as_dict()))["levels"] == 15
    assert type(options.fine_share) is float


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"level": 15}, "no option 'level'"), ({"nir_form": "sar"}, "no option 'nir_form'"),
        ({"levels": "15"}, "--levels '15'; an integer is needed"), ({"levels": 15.5}, "an integer is needed"),
        ({"levels": True}, "an integer is needed"), ({"carry": 1}, "True or False is needed"),
        ({"levels": None}, "an integer is needed"), ({"reconstruct": "yes"}, "True or False is needed"),
        ({"levels": 256}, "--levels 256; it must lie in 1..255"), ({"samples": 0}, "at least 1 is needed"),
        ({"seed": -1}, "at least 0 is needed"), ({"method": "best"}, "--method 'best'"),
        ({"require_accuracy_drop": float("nan")}, "is not a number"), ({"targets": ()}, "names no target"),
        ({"sites": {"relu": {"leaves": 3}}}, "no option of --site relu 'leaves'"),
        ({"sites": {"relu": {"levels": 300}}}, "--site relu: levels 300"),
        ({"trials": 3}, "without --search"), ({"search": Search("grid"), "trials": 3}, "say them in the Search"),
        ({"search": "anneal"}, "anneal"),
    ],
)  # fmt: skip
def test_what_python_is_refused(given, words, tmp_path):
    with pytest.raises(CompileError, match="SFN605") as caught:
        sfn_compile.compile("never_read.onnx", tmp_path / "o", **given)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "nearest"), [("level", "levels"), ("weightbits", "weight_bits"), ("target", "targets")]
)
def test_an_unknown_name_is_answered_with_the_nearest(wrong, nearest):
    with pytest.raises(CompileError) as caught:
        request_of({wrong: 1})
    assert caught.value.diagnostics[0].fix.startswith(f"{nearest}?")


def test_python_compiles_as_the_command_line_does(little, tmp_path):
    built = sfn_compile.compile(little, str(tmp_path / "a"), targets="sim,onnx", levels=15, reconstruct=False)
    succeeds(little, "-o", tmp_path / "b", "--target", "sim,onnx", "--levels", 15, "--no-reconstruct", "--quiet")
    manifests = [document(tmp_path / name / "manifest.json") for name in "ab"]
    assert manifests[0] == manifests[1]
    assert built.report["options"]["targets"] == ["sim", "onnx"]
