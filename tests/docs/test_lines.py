"""Lines of documents are below 120 characters, so that a change of one sentence is a change of one line."""

from __future__ import annotations

import pytest

from .test_docs_are_current import PAGES, ROOT, name_of

LONGEST = 120
MEASURED = {"docs/accuracy.md", "docs/results.md", "docs/time.md"}  # tables written by scripts, a row per measurement
EMITTED = sorted((ROOT / "backends").rglob("*.md"))  # beside the files of a target


@pytest.mark.parametrize("page", [*PAGES, *EMITTED], ids=name_of)
def test_no_line_is_longer_than_120_characters(page):
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
    long = [n for n, line in lines if len(line) > LONGEST and not (name_of(page) in MEASURED and line.startswith("|"))]
    assert long == [], f"{page.relative_to(ROOT)}: {long}"
