"""Code on the pages runs: ``python`` blocks and ``console`` lines of a page, in order, in a folder as a user has it.

A ``console`` line begins with ``$ sfnc``; one that ends in ``# exit status N`` has to end with it. Blocks of the
language ``text`` are output, or need what a test does not have, and are not run. A python block that imports torch
runs in the environment of the stock readers; the lines behind it then compile the network that it exported.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from sfn_compile.cli.main import cli

from ..torch_python import run_with_torch
from .test_docs_are_current import PAGES, ROOT, name_of

BLOCK = re.compile(r"^( *)```(\S*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
LANGUAGES = {"python", "console", "text", "json", "toml", "yaml", "{toctree}", "{eval-rst}"}
# Run by tests of their own; the specification's by doctest.
ELSEWHERE = {"docs/guide/python.md", "docs/howto/add_a_back_end.md", "docs/howto/add_an_operator.md"}
NOT_OURS = ("pip install",)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of every fenced block."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(language, re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)) for indent, language, text in found]


def runs(page: Path) -> bool:
    text = page.read_text(encoding="utf-8")
    return any(language in ("python", "console") for language, _ in blocks(page)) and ">>>" not in text


def needs_torch(text: str) -> bool:
    return "import torch" in text


RUN = [page for page in PAGES if name_of(page) not in ELSEWHERE and runs(page)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_its_language(page):
    assert {language for language, _ in blocks(page)} <= LANGUAGES


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    a_users_folder(tmp_path)
    if name_of(page) == "docs/guide/data.md":
        with_photos(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    space: dict[str, Any] = {"__name__": "page"}
    for language, text in blocks(page):
        if language == "console":
            for line in text.splitlines():
                command(line)
        elif language == "python" and not needs_torch(text):
            exec(compile(text, name_of(page), "exec"), space)


@pytest.mark.parametrize("page", [p for p in RUN if any(map(needs_torch, (t for _, t in blocks(p))))], ids=name_of)
def test_the_code_of_a_page_that_needs_torch_runs_and_what_follows_compiles_its_network(page, tmp_path, monkeypatch):
    a_users_folder(tmp_path)
    for made in ("net.onnx", "calib.npz"):
        (tmp_path / made).unlink()
    monkeypatch.chdir(tmp_path)
    for language, text in blocks(page):
        if language == "python" and needs_torch(text):
            (tmp_path / "block.py").write_text(text, encoding="utf-8")
            run_with_torch(tmp_path / "block.py", tmp_path)
        elif language == "console" and (tmp_path / "net.onnx").exists():
            for line in text.splitlines():
                command(line)


def a_users_folder(folder: Path) -> None:
    """The shipped networks under their own names, and the small one as the network of the reader."""
    shutil.copytree(ROOT / "models", folder / "models")
    for own in ("model.onnx", "net.onnx"):
        shutil.copy(ROOT / "models" / "digits.onnx", folder / own)
    for own, data in (("data", "digits_calib"), ("calib", "digits_calib"), ("test", "digits_test")):
        shutil.copy(ROOT / "models" / f"{data}.npz", folder / f"{own}.npz")


def with_photos(folder: Path) -> None:
    """A network for photos of 224 x 224 and two folders of them, two classes in each."""
    pillow = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for split in ("photos", "photos_test"):
        for name in ("cat", "dog"):
            (folder / split / name).mkdir(parents=True)
            for i in range(10):
                pixels = rng.integers(0, 256, (240, 300, 3), np.uint8)
                pillow.fromarray(pixels).save(folder / split / name / f"{i}.jpg")
    body = "c = Conv<strides=[16, 16]>(x, w) r = Relu(c) g = GlobalAveragePool(r) f = Flatten(g) y = Gemm(f, k)"
    head = '<ir_version: 10, opset_import: ["" : 17]> g (float[N,3,224,224] x) => (float[N,2] y)'
    model = onnx.parser.parse_model(f"{head} {{ {body} }}")
    for name, shape in (("w", (4, 3, 16, 16)), ("k", (4, 2))):
        weight = rng.standard_normal(shape, np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    onnx.save(model, folder / "net.onnx")


def command(line: str) -> None:
    """Run one ``$ sfnc ...`` line; it has to end with the status that the line states, 0 without one."""
    assert line.startswith("$ "), line
    if line[2:].startswith(NOT_OURS):
        return
    name, *arguments = shlex.split(line[2:], comments=True)
    assert name == "sfnc", line
    stated = re.search(r"# exit status (\d+)", line)
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == (int(stated[1]) if stated else 0), f"{line}\n{done.output}"
