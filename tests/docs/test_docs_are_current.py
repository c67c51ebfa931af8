"""The documents say what the code says: generated pages are current, links resolve, what they name exists."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner

from sfn_compile.cli.main import cli
from sfn_compile.foundation.codes import CODES

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
    return target.is_file() and (not anchor or anchor in anchors(target))


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
