"""The site is built without a warning, with every page in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .test_docs_are_current import PAGES, ROOT, name_of


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("sphinx", reason="the extra docs is not installed (it needs Python 3.11)")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", ".", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_every_page_is_on_the_site(site):
    assert [p for p in PAGES if not (site / name_of(p)).with_suffix(".html").is_file()] == []


def test_the_front_page_leads_to_the_index_which_answers_in_one_click(site):
    assert "docs/index.html" in (site / "index.html").read_text(encoding="utf-8")
    index = (site / "docs" / "index.html").read_text(encoding="utf-8")
    for page in ("guide/install", "guide/data", "guide/report", "glossary", "options", "codes", "spec/proof"):
        assert f'href="{page}.html"' in index


def test_the_python_reference_has_what_the_docstrings_say(site):
    page = (site / "docs" / "api.html").read_text(encoding="utf-8")
    assert "sfn_compile.api.compile" in page
    assert "Raises" in page
