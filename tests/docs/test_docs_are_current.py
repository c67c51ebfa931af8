"""The documents say what the code says: generated pages are current, links resolve, worked examples work."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from sfn_compile.cli.main import cli
from sfn_compile.foundation.codes import CODES
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.frontend import operators
from sfn_compile.testing.conformance import CASES, check

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *(ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")),
    ROOT / "models" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
WRITTEN_LATER = {"docs/results.md"}  # by `make results`, which needs networks that are not in this repository
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_generated_pages_are_current():
    stale = runpy.run_path(str(ROOT / "docs" / "generate.py"))["stale"]()
    assert not stale, f"run `python docs/generate.py`: {stale}"


def test_every_code_is_on_the_page_of_codes():
    text = (ROOT / "docs" / "codes.md").read_text(encoding="utf-8")
    assert [c for c in CODES if f"### {c}:" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page):
    broken = [
        link for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))) if not resolves(page, link)
    ]
    assert broken == []


def resolves(page: Path, link: str) -> bool:
    if link.startswith(("http://", "https://", "mailto:")):
        return True
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if target.is_relative_to(ROOT) and name_of(target) in WRITTEN_LATER:
        return True
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_code_and_command_that_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"SFN\d{3}", text)) <= set(CODES)
    options = {o for c in cli.commands.values() for p in c.params for o in (*p.opts, *p.secondary_opts)} | {
        "--help",
        "--version",
    }
    named = {
        o
        for line in re.findall(r"^ *\$? *(?:\.venv/bin/)?sfnc .*$", text, re.MULTILINE)
        for o in re.findall(r"(?<= )--[a-z-]+", line)
    }
    assert named <= options
    assert CliRunner().invoke(cli, ["--help"]).exit_code == 0


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_back_end_of_the_howto_passes_the_conformance_suite_or_refuses(case, tmp_path):
    example = python_blocks("add_a_back_end.md")[0]
    space: dict[str, Any] = {"__name__": "sfnc_rows"}
    exec(compile(example, "add_a_back_end.md", "exec"), space)
    if case.name in ("mlp", "mlp_table", "mlp_table_unsorted", "signed_codes"):
        check(space["RowsBackend"](), case, tmp_path)
    else:
        with pytest.raises(CompileError, match="SFN402"):
            check(space["RowsBackend"](), case, tmp_path)


def test_the_options_of_the_howto_are_options_of_a_back_end():
    space: dict[str, Any] = {}
    exec(compile(python_blocks("add_a_back_end.md")[1], "add_a_back_end.md", "exec"), space)
    values = {o.name: o.parsed(text, o.name) for o, text in zip(space["OPTIONS"], ("down", "4"), strict=True)}
    assert values == {"order": "down", "buffers": 4}
    for o in space["OPTIONS"]:
        o.check(values[o.name])


def test_the_operator_of_the_howto_is_imported_as_onnxruntime_computes_it(tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    from sfn_compile.compiler.compilation import compile_model
    from sfn_compile.foundation.options import Options
    from sfn_compile.frontend.operators import activations

    space = dict(vars(activations))
    exec(compile(python_blocks("add_an_operator.md")[0], "add_an_operator.md", "exec"), space)
    monkeypatch.setitem(operators.IMPORTERS, "HardSigmoid", space["hard_sigmoid"])
    body = "{ a = Gemm(x, w) h = HardSigmoid<alpha=0.3>(a) y = Gemm(h, v) }"
    head = '<ir_version: 10, opset_import: ["" : 17]> g (float[N,4] x) => (float[N,3] y)'
    model = onnx.parser.parse_model(f"{head} {body}")
    rng = np.random.default_rng(0)
    for name, shape in (("w", (4, 5)), ("v", (5, 3))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(rng.standard_normal(shape, np.float32), name))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    program = compile_model(tmp_path / "m.onnx", Options()).program  # raises SFN107 where a value differs
    assert [type(s.ladder).__name__ for s in program.populations()] == ["Uniform", "Readout"]


def python_blocks(page: str) -> list[str]:
    text = (ROOT / "docs" / "howto" / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
