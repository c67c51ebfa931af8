"""`docs/spec/files.md` says of every file of a build what `sealed.py` says: sealed or living."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sfn_compile.files import sealed

FILES = Path(__file__).parents[2] / "docs" / "spec" / "files.md"
ROWS = re.findall(r"^\| (`.+?) \| (sealed|living) \|", FILES.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("part", sealed.PARTS, ids=lambda part: part.name)
def test_every_part_is_in_the_table_with_its_kind(part):
    kinds = {kind for names, kind in ROWS for file in part.files if f"`{file}`" in names}
    assert kinds == {"sealed" if part.sealed else "living"}


def test_the_table_has_no_other_file():
    named = {file for names, _ in ROWS for file in re.findall(r"`([a-z_]+\.[a-z]+)`", names)}
    assert named == {file for part in sealed.PARTS for file in part.files}
