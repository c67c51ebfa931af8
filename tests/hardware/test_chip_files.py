"""Chips are data: every number has a source, and what is wrong in a file is said by its key."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import pytest

from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.hardware import chip_files
from sfn_compile.hardware.chip import Chip, WordMemory
from sfn_compile.hardware.chip_files import load_chip, names

OWN = """format = 1
extends = "loihi2"
name = "mine"
title = "Mine"
[memory]
neurons = { value = 64, source = "a guess", confidence = "inferred" }
"""


def figures(thing: object) -> list:
    if hasattr(thing, "confidence"):
        return [thing]
    inner = (
        thing
        if isinstance(thing, tuple)
        else [getattr(thing, f.name) for f in fields(thing)]
        if is_dataclass(thing)
        else []
    )
    return [f for one in inner for f in figures(one)]


def written(tmp_path, text: str) -> str:
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    return str(tmp_path / "mine.toml")


@pytest.mark.parametrize("name", names())
def test_every_number_of_a_chip_has_a_source(name):
    found = figures(load_chip(name))
    assert len(found) > 20
    assert all(f.source.strip() for f in found)


def test_the_chips_of_the_package():
    assert names() == ["loihi1", "loihi2", "loihi2-2023"]
    chip = load_chip("loihi2")
    assert (chip.cores.count.value, chip.memory.total_words.value, chip.memory.neurons.value) == (120, 20000, 4095)


def test_a_board_is_named_behind_a_colon():
    assert load_chip("loihi2").most_chips == 1152
    assert load_chip("loihi2:kapoho-point").most_chips == 8


def test_a_file_extends_a_chip(tmp_path):
    chip = load_chip(written(tmp_path, OWN))
    assert isinstance(chip.memory, WordMemory)
    assert (chip.memory.neurons.value, chip.memory.total_words.value, chip.title) == (64, 20000, "Mine")
    assert load_chip(written(tmp_path, OWN) + ":vpx").most_chips == 16


def test_a_file_extends_one_beside_it(tmp_path):
    (tmp_path / "base.toml").write_text(OWN, encoding="utf-8")
    text = OWN.replace('"loihi2"', '"base.toml"').replace("64", "32")
    assert load_chip(written(tmp_path, text)).memory.neurons.value == 32


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('source = "a guess", ', "", "memory.neurons: it has no source"),
        ('"inferred"', '"certain"', "memory.neurons: confidence 'certain'"),
        ("value = 64", "value = 6.5", "memory.neurons: beside source and confidence value = a whole number"),
        ("value = 64", "value = 0", "memory.neurons: beside source"),
        ("value = 64", "low = 1, high = 2", "memory.neurons: beside source"),
        ("neurons =", "neuron =", "memory.neuron: there is no such key; 'neurons' is one"),
        ("format = 1", "format = 2", "format: 2; this version reads"),
        ("[memory]", "[memory", "it is not TOML"),
        ('"Mine"', "3", "title: a text is needed"),
        ('extends = "loihi2"\n', "", "memory.kind: one of words, blocks"),
        ("[memory]", '[memory]\nkind = "pages"', "memory.kind"),
        ("[memory]", "boards = []\n[memory]", "boards: at least one table"),
        ("[memory]", "cores = 5\n[memory]", "cores: a table is needed"),
        ("[memory]", "[time]\nfloor_us = { low = 2, high = 1, source = 'a', confidence = 'proxy' }\n[memory]",
         "time.floor_us"),
        ("[memory]", "[time]\nfloor_us = 3\n[memory]", "time.floor_us: a number is written as"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_file_is_said_by_its_key(tmp_path, old, new, said):
    assert old in OWN
    with pytest.raises(CompileError) as error:
        load_chip(written(tmp_path, OWN.replace(old, new)))
    (problem,) = error.value.diagnostics
    assert problem.code == "SFN409"
    assert said in problem.what
    assert "mine.toml" in problem.where


def test_files_that_extend_one_another_in_a_circle(tmp_path):
    with pytest.raises(CompileError, match="not in a circle"):
        load_chip(written(tmp_path, OWN.replace('"loihi2"', '"mine.toml"')))


@pytest.mark.parametrize(
    ("asked", "fix"),
    [("loihi", "loihi2? there are"), ("loihi2:kapoho", "kapoho-point? there are"), ("none.toml", "a file, or one of")],
)
def test_an_unknown_chip_or_board_is_wrong_usage(asked, fix):
    with pytest.raises(CompileError) as error:
        load_chip(asked)
    assert error.value.diagnostics[0].code == "SFN605"
    assert fix in error.value.diagnostics[0].fix


def test_a_missing_key_is_named(tmp_path, monkeypatch):
    whole = dict(chip_files._read("loihi2"))
    whole["time"] = {k: v for k, v in whole["time"].items() if k != "synop_ns"}
    with pytest.raises(CompileError, match=r"time\.synop_ns: it is missing"):
        chip_files._chip(whole, "whole.toml")
    assert isinstance(chip_files._chip(chip_files._read("loihi2"), "whole.toml"), Chip)
